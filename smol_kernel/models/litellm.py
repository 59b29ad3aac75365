"""`LiteLLMModel`: any provider, through LiteLLM. The only file that imports litellm, and only when it is needed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from smol_kernel.errors import MissingDependencyError, ModelError
from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    ChatMessageToolCallStreamDelta,
    MessageRole,
)
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.base import (
    TOOL_ROLE_CONVERSIONS,
    Model,
    can_begin_again,
    get_clean_message_list,
    get_tool_json_schema,
    pause,
    remove_content_after_stop_sequences,
    require_allowed,
)
from smol_kernel.models.failures import Target, no_completion, no_key, read_failure

if TYPE_CHECKING:
    from smol_kernel.tools.base import Tool

REMOVE_PARAMETER: Any = type("REMOVE_PARAMETER", (), {"__repr__": lambda self: "REMOVE_PARAMETER"})()
"""Given as the value of a keyword, it keeps that parameter out of the request."""

ATTEMPTS = 4
"""How often a request is tried."""
LONGEST_WAIT = 60.0
"""Seconds between two attempts at most; a server that asks for more ends the request."""

_NO_STOP = re.compile(r"(^|/)(o3|o4|gpt-5|grok-3-mini|grok-4|grok-code)([-.:@]|$)")
_ONE_KEY = ("openai", "groq", "mistral", "deepseek", "openrouter")  # others take a key from several places
_IMPORT_SETTINGS = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
_import_lock = threading.Lock()
_module: Any = None


def load() -> Any:
    """The litellm module. The first import takes seconds; it calls no network and reads no `.env` file.

    Raises MissingDependencyError if it is not installed.
    """
    global _module
    with _import_lock:
        if _module is None:
            # read by litellm while it is imported: no price list over HTTP, no ./.env into this process
            ours = {name: value for name, value in _IMPORT_SETTINGS.items() if name not in os.environ}
            os.environ.update(ours)
            try:
                module: Any = importlib.import_module("litellm")
            except ImportError as error:
                raise MissingDependencyError(f"LiteLLM cannot be imported ({error}): pip install litellm") from error
            finally:
                for name, value in ours.items():
                    if os.environ.get(name) == value:
                        del os.environ[name]
            module.suppress_debug_info = True  # it prints advice to stdout at every error
            _build_replies(module)
            _module = module
    return _module


def _build_replies(module: Any) -> None:
    """Have pydantic build LiteLLM's classes now, and not warn of their insides in a user's cell."""
    warnings.filterwarnings("ignore", message=r"Items? '.*' on TypedDict class", category=UserWarning)
    for name in ("ModelResponse", "StreamingChoices", "ModelResponseStream"):
        getattr(module, name, dict)()


def warm_up() -> None:
    """Start importing litellm in the background, so that the first request does not wait for it."""
    if _module is None:
        threading.Thread(target=_load_quietly, name="smol-load-litellm", daemon=True).start()


def _load_quietly() -> None:
    try:
        load()
    except Exception:  # noqa: BLE001 - the first request meets the same error and reports it
        return


def supports_stop_parameter(model_id: str) -> bool:
    """False for the models known to refuse stop sequences (OpenAI's o3, o4, gpt-5; some of xAI's)."""
    return not _NO_STOP.search(model_id)


class LiteLLMModel(Model):
    """A model of any provider, named as `provider/name`: `openai/gpt-4.1-mini`, `ollama/qwen3`.

    Parameters: `api_base`, the server's address (any OpenAI-compatible one with `openai/NAME`); `api_key` (default:
    the provider's environment variable); `custom_role_conversions`, role → role, over our own;
    `flatten_messages_as_text`: None sends plain text where a message has no images; `retry_wait`, seconds before the
    second attempt, doubled before each further one, with jitter; `on_retry(message, seconds)` is called before each
    wait; other keywords (`temperature`, `timeout`, …) go along with every request.

    A request is tried up to four times: after 429, 5xx or a broken connection, and never once a piece of the reply
    was handed on. `usage` sums the tokens of all requests. With SMOL_ALLOW_MODEL_REQUESTS=0 in the environment only
    servers on this machine are asked. Raises ModelError, whose `__cause__` is the provider's error.
    """

    def __init__(
        self,
        model_id: str | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        flatten_messages_as_text: bool | None = None,
        *,
        retry_wait: float = 1.0,
        on_retry: Callable[[str, float], None] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(model_id, str) or not model_id.strip():
            raise ModelError(
                f"LiteLLMModel needs a model_id written as provider/name, not {model_id!r}: "
                f"LiteLLMModel('openai/gpt-4.1-mini'), LiteLLMModel('ollama/qwen3')"
            )
        super().__init__(flatten_messages_as_text, model_id=model_id, **kwargs)
        self.api_base = api_base
        self.api_key = api_key
        self.custom_role_conversions = custom_role_conversions or {}
        self.retry_wait = retry_wait
        self.on_retry = on_retry
        self.usage = TokenUsage(0, 0)
        self._usage_lock = threading.Lock()

    def __repr__(self) -> str:
        return f"LiteLLMModel({self.model_id!r})"

    @property
    def slow_start(self) -> str | None:
        """Says that LiteLLM is still to be loaded; None once it is."""
        return None if _module is not None else "Loading LiteLLM: this takes some seconds, once."

    def generate(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, str] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The whole reply. Parameters as in `Model.generate`. Raises ModelError."""
        litellm = load()
        request = self._request(messages, stop_sequences, response_format, tools_to_call_from, kwargs)
        target = self._target(request)
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._message(litellm.completion(**request), stop_sequences)
            except Exception as error:  # noqa: BLE001 - each provider raises its own kinds: read_failure sorts them
                self._wait_or_raise(error, attempt, target)

    def generate_stream(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, str] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatMessageStreamDelta]:
        """The reply piece by piece; the last piece carries the usage. Raises ModelError, also in the middle."""
        load()
        request = self._request(messages, stop_sequences, response_format, tools_to_call_from, kwargs)
        request |= {"stream": True, "stream_options": {"include_usage": True}}
        target = self._target(request)
        attempt = 0
        while True:
            attempt += 1
            delivered = False
            try:
                for piece in self._pieces(request, stop_sequences, target):
                    delivered = True
                    yield piece
                return
            except Exception as error:  # noqa: BLE001 - as in generate()
                self._wait_or_raise(error, attempt, target, delivered and not can_begin_again())

    def _request(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None,
        response_format: dict[str, str] | None,
        tools: list[Tool] | None,
        options: dict[str, Any],
    ) -> dict[str, Any]:
        """The keywords for `litellm.completion`. Retries are ours alone, so LiteLLM and its clients make none."""
        roles = {**{old.value: new.value for old, new in TOOL_ROLE_CONVERSIONS.items()}, **self.custom_role_conversions}
        request: dict[str, Any] = {
            "model": self.model_id,
            "messages": get_clean_message_list(messages, roles, True, self.flatten_messages_as_text),
            "api_base": self.api_base,
            "api_key": self.api_key,
            "stop": stop_sequences if supports_stop_parameter(str(self.model_id)) else None,
            "response_format": response_format,
        }
        if tools:
            request |= {"tools": [get_tool_json_schema(tool) for tool in tools], "tool_choice": "required"}
            if importlib.util.find_spec("litellm.responses.mcp.chat_completions_handler"):
                request["_skip_mcp_handler"] = True  # it is for LiteLLM's own MCP gateway, and needs its packages
        request |= {**self.kwargs, **options, "num_retries": 0, "max_retries": 0}
        return {name: value for name, value in request.items() if value not in (None, REMOVE_PARAMETER)}

    def _target(self, request: dict[str, Any]) -> Target:
        """Where `request` goes. Completes its key and stop sequences; refuses what cannot or must not be asked."""
        litellm = load()
        model_id: str = request["model"]
        address = request.get("api_base") or request.get("base_url")
        try:
            name, provider, _, default_address = litellm.get_llm_provider(model_id, api_base=address)
        except Exception as error:
            target = Target(model_id, address, "the key")
            raise ModelError(self._without_keys(read_failure(error, target).message, target)) from error
        missing: list[str] = litellm.validate_environment(model_id)["missing_keys"]
        target = Target(model_id, address or default_address, " and ".join(missing) or f"{provider.upper()}_API_KEY")
        if missing and not request.get("api_key"):
            if address and provider == "openai":
                request["api_key"] = "none"  # local servers want none, the client library wants one
            elif provider in _ONE_KEY and not (litellm.api_key or getattr(litellm, f"{provider}_key", None)):
                raise ModelError(no_key(target))
        if "stop" not in (litellm.get_supported_openai_params(name, provider) or ["stop"]):
            request.pop("stop", None)
        require_allowed(target.address, model_id)
        return target

    def _wait_or_raise(self, error: Exception, attempt: int, target: Target, delivered: bool = False) -> None:
        """Wait before the next attempt, or raise ModelError where there is none."""
        if isinstance(error, ModelError):
            raise error
        failure = read_failure(error, target)
        wait = failure.retry_after
        if wait is None:
            wait = self.retry_wait * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        message = self._without_keys(failure.message, target)
        if delivered:
            message += " (in the middle of the reply)"
        elif failure.retry and attempt == ATTEMPTS:
            message += f" (tried {ATTEMPTS} times)"
        elif failure.retry and wait > LONGEST_WAIT:
            message += f" (it asks to wait {wait:.0f} seconds)"
        elif failure.retry:
            if self.on_retry is not None:
                self.on_retry(message, wait)
            pause(wait, f"{message}. Trying again in {max(1, round(wait))} s.")
            return
        raise ModelError(message) from error

    def _without_keys(self, message: str, target: Target) -> str:
        message = re.sub(r"(?<=://)[^/\s@]*@", "", message)  # user and password in an address
        for key in (self.api_key, os.environ.get(target.key_variable)):
            message = message.replace(key, "…") if key and key != "none" else message
        return message

    def _pieces(
        self, request: dict[str, Any], stop_sequences: list[str] | None, target: Target
    ) -> Iterator[ChatMessageStreamDelta]:
        stream = load().completion(**request)
        scan = StopScan(stop_sequences)
        said_something = False
        try:
            for chunk in stream:
                delta = chunk.choices[0].delta if chunk.choices else None
                text, calls = getattr(delta, "content", None), getattr(delta, "tool_calls", None)
                said_something = said_something or bool(text or calls)
                text = scan.feed(text or "")
                if text or calls:
                    yield ChatMessageStreamDelta(content=text or None, tool_calls=_call_pieces(calls))
        finally:
            close = getattr(getattr(stream, "completion_stream", None), "close", None)
            if close is not None:
                close()
        finish = getattr(stream, "received_finish_reason", "stop") or getattr(
            stream, "intermittent_finish_reason", None
        )
        if not said_something and not finish:
            raise ModelError(no_completion(target))
        if not said_something and finish == "length":
            raise ModelError(self._used_up())
        if finish is None:
            raise ModelError(f"model {self.model_id!r}: the connection broke off (in the middle of the reply)")
        told = [chunk.usage for chunk in getattr(stream, "chunks", []) if getattr(chunk, "usage", None)]
        usage, rest = self._count(told[-1] if told else None), scan.rest()
        if usage or rest:
            yield ChatMessageStreamDelta(content=rest or None, token_usage=usage)

    def _message(self, reply: Any, stop_sequences: list[str] | None) -> ChatMessage:
        if not reply.choices:
            raise ModelError(f"model {self.model_id!r} sent a reply without a choice; ask again, or try another model")
        choice = reply.choices[0]
        calls = [
            ChatMessageToolCall(ChatMessageToolCallFunction(call.function.name, call.function.arguments), call.id)
            for call in choice.message.tool_calls or []
        ]
        if not choice.message.content and not calls and choice.finish_reason == "length":
            raise ModelError(self._used_up())
        return ChatMessage(
            role=MessageRole.ASSISTANT,
            content=remove_content_after_stop_sequences(choice.message.content or "", stop_sequences) or None,
            tool_calls=calls or None,
            raw=reply,
            token_usage=self._count(getattr(reply, "usage", None)),
        )

    def _used_up(self) -> str:
        return f"model {self.model_id!r} used up its output tokens before it said anything; raise max_tokens"

    def _count(self, usage: Any) -> TokenUsage | None:
        """The usage a reply tells, also added to `self.usage`; None if it tells none (LiteLLM then puts zeros)."""
        if usage is None or not (usage.prompt_tokens or usage.completion_tokens):
            return None
        details = getattr(usage, "prompt_tokens_details", None)
        cached = getattr(details, "cached_tokens", None) or 0
        counted = TokenUsage(usage.prompt_tokens or 0, usage.completion_tokens or 0, cached)
        with self._usage_lock:
            self.usage = self.usage + counted
        return counted


class StopScan:
    """Lets streamed text through up to the first stop sequence, wherever the pieces happen to be cut."""

    def __init__(self, stop_sequences: list[str] | None) -> None:
        self._stops = stop_sequences or []
        self._held = ""
        self._over = False

    def feed(self, text: str) -> str:
        """What of the text so far may be shown; the beginning of a possible stop sequence is held back."""
        if self._over:
            return ""
        self._held += text
        shown = remove_content_after_stop_sequences(self._held, self._stops)
        self._over = len(shown) < len(self._held)
        if not self._over:
            shown = self._held[: len(self._held) - self._suspect()]
        self._held = self._held[len(shown) :]
        return shown

    def rest(self) -> str:
        """What was held back, once the reply is over."""
        return "" if self._over else self._held

    def _suspect(self) -> int:
        """Length of the longest end of the held text that begins a stop sequence."""
        sizes = (size for stop in self._stops for size in range(1, len(stop)) if self._held.endswith(stop[:size]))
        return max(sizes, default=0)


def _call_pieces(calls: Any) -> list[ChatMessageToolCallStreamDelta] | None:
    return [
        ChatMessageToolCallStreamDelta(
            index=call.index,
            id=call.id,
            type=call.type,
            function=ChatMessageToolCallFunction(call.function.name or "", call.function.arguments or ""),
        )
        for call in calls or []
    ] or None
