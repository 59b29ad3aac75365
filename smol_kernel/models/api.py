"""`ApiModel`: models behind a chat completions API. Pacing, retries, and what goes out and comes back; the client that
is asked is chosen by the classes built on it (`litellm.py`, `providers.py`)."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from smol_kernel.errors import ContextLengthError, ModelError, SmolError
from smol_kernel.memory.known_secrets import SHORTEST, redacted, without_password
from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCall,
    ChatMessageToolCallStreamDelta,
    MessageRole,
    pieces_of,
)
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models import unusable
from smol_kernel.models.base import Model
from smol_kernel.models.call import begin_again, can_begin_again, is_ended_by, pause
from smol_kernel.models.failures import Target, is_lost_connection, read_failure
from smol_kernel.models.pace import Pace
from smol_kernel.models.parts import TextOfParts
from smol_kernel.models.quirks import Kind, quirk_of
from smol_kernel.models.refused import RefusedParameters, refused_in
from smol_kernel.models.replies import StopScan, remove_content_after_stop_sequences
from smol_kernel.models.sent_media import SentMedia

if TYPE_CHECKING:
    from smol_kernel.tools.base import Tool

ATTEMPTS = 4
"""How often a request is tried."""
LONGEST_WAIT = 60.0
"""Seconds between two attempts at most; a server that asks for more ends the request."""
TOLD_WAIT = 2.0
"""A wait for the pace of `requests_per_minute` is told to the person from this many seconds on."""
BROKEN_OFF = ("length", "content_filter")
"""Finish reasons of a reply that lacks its end."""

T = TypeVar("T")


class ApiModel(Model):
    """Base of the models behind an API.

    Parameters: `custom_role_conversions`, role → role, over our own; `client`, an object whose
    `completion(**request)` is asked, with keywords and replies as OpenAI's chat completions API has them;
    `requests_per_minute`, at most so many, evenly spaced; `retry=False`, one attempt only; `retry_wait`, seconds
    before the second attempt, doubled before each further one, with jitter; `on_retry(message, seconds)`, called
    before each wait; `input_cost_per_token` and `output_cost_per_token`, prices in USD that go before LiteLLM's;
    `capabilities`, what `takes` shall say: a bool by "image", "audio", "video", "tools", "response_schema". Other
    keywords (`temperature`, …) go along with every request.

    A request is tried up to four times: after 429, 5xx or a broken connection, and, outside of a run, never once a
    piece of the reply was handed on. `usage` sums the tokens of all requests. Raises ModelError, whose `__cause__`
    is the provider's error, and ContextLengthError; ModelError at once for `requests_per_minute` not above 0.
    """

    def __init__(
        self,
        model_id: str,
        custom_role_conversions: dict[str, str] | None = None,
        client: Any = None,
        requests_per_minute: float | None = None,
        retry: bool = True,
        *,
        retry_wait: float = 1.0,
        on_retry: Callable[[str, float], None] | None = None,
        input_cost_per_token: float | None = None,
        output_cost_per_token: float | None = None,
        capabilities: dict[Kind, bool] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model_id=model_id, **kwargs)
        self.custom_role_conversions = custom_role_conversions or {}
        self.requests_per_minute = requests_per_minute
        self.retry = retry
        self.retry_wait = retry_wait
        self.on_retry = on_retry
        self.input_cost_per_token = input_cost_per_token
        self.output_cost_per_token = output_cost_per_token
        self.capabilities = capabilities or {}
        self.usage = TokenUsage(0, 0)
        self._client = None if client is None else self._usable(client)
        self._pace = Pace(requests_per_minute)
        self._lock = threading.Lock()
        self._media = SentMedia(self)
        self._parameters = RefusedParameters(self)

    @property
    def client(self) -> Any:
        """The client that was given, or made at the first request."""
        return self._shown(self._own_client())

    @client.setter
    def client(self, client: Any) -> None:
        self._client = None if client is None else self._usable(client)

    def _own_client(self) -> Any:
        """What is asked."""
        if self._client is None:
            self._client = self._usable(self.create_client())
        return self._client

    def _shown(self, own: Any) -> Any:
        """What a program gets as `client`, of which `own` is asked here."""
        return own

    def _usable(self, client: Any) -> Any:
        """`client`, if this class can ask it; subclasses raise ModelError if not."""
        return client

    def _asked(self) -> Any:
        """The object whose `completion` takes the requests."""
        return self._own_client()

    def create_client(self) -> Any:
        """Makes the client where none was given. Subclasses define it: here it raises ModelError."""
        raise ModelError(f"{type(self).__name__} needs a client: pass client=…, or define create_client()")

    def takes(self, kind: Kind) -> bool | None:
        """As `Model.takes`; `capabilities` go first. False also for media that it turned out to refuse."""
        if kind in self._media.refused:
            return False
        return self.capabilities[kind] if kind in self.capabilities else super().takes(kind)

    def generate(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The whole reply. Parameters as in `Model.generate`. Raises ModelError."""

        def ask(given: list[ChatMessage]) -> Iterator[ChatMessage]:
            request, target = self._ready(given, stop_sequences, response_format, tools_to_call_from, kwargs)
            request.pop("stream_options", None)

            def once(request: dict[str, Any]) -> Iterator[ChatMessage]:
                yield self._attempted(lambda: self._message(request, stop_sequences, target), target)

            yield from self._parameters.found_out(request, once)

        (reply,) = self._media.found_out(messages, ask)
        return reply

    def generate_stream(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatMessageStreamDelta]:
        """The reply piece by piece; the last piece carries the usage. Parameters as in `Model.generate`. Raises
        ModelError, also in the middle."""

        def ask(given: list[ChatMessage]) -> Iterator[ChatMessageStreamDelta]:
            request, target = self._ready(given, stop_sequences, response_format, tools_to_call_from, kwargs)
            request["stream"] = True
            if "stream_options" not in {*self.kwargs, *kwargs}:
                request["stream_options"] = {"include_usage": True}

            def once(request: dict[str, Any]) -> Iterator[ChatMessageStreamDelta]:
                if "stream" not in request:
                    whole = self._attempted(lambda: self._message(request, stop_sequences, target), target)
                    yield from pieces_of(whole)
                    return
                attempt = 0
                while True:
                    attempt += 1
                    delivered = False
                    try:
                        for piece in self._pieces(request, stop_sequences, target):
                            delivered = True
                            yield piece
                        return
                    except Exception as error:  # noqa: BLE001 - as in _attempted()
                        self._wait_or_raise(error, attempt, target, delivered and not can_begin_again())

            yield from self._parameters.found_out(request, once)

        yield from self._media.found_out(messages, ask)

    def retryer(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call `function`, again after trouble that passes; for subclasses with a `generate` of their own."""
        return self._attempted(lambda: function(*args, **kwargs), self._target())

    def _apply_rate_limit(self) -> None:
        """Wait until the next request is due."""
        wait = self._pace.reserve()
        if wait > 0:
            told = f"Waiting {wait:.0f} s: {self.model_id!r} may be asked {self.requests_per_minute:g} times a minute."
            pause(wait, told if wait >= TOLD_WAIT else None)

    def _ready(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None,
        response_format: dict[str, Any] | None,
        tools: list[Tool] | None,
        options: dict[str, Any],
    ) -> tuple[dict[str, Any], Target]:
        """The keywords for `client.completion`, and where they go."""
        request = {"model": self.model_id} | self._prepare_completion_kwargs(
            self._media.sendable(messages),
            stop_sequences,
            response_format,
            tools if tools and self.takes("tools") is not False else None,
            custom_role_conversions=self._roles(),
            convert_images_to_image_urls=True,
            **{"tool_choice": self._tool_choice(options) if tools else None, **options},
        )
        return request, self._route(request)

    def _route(self, request: dict[str, Any]) -> Target:
        """Where `request` goes; subclasses complete it here, and refuse what cannot be asked."""
        return self._target()

    def _target(self) -> Target:
        return Target(str(self.model_id), None, "the key")

    def _roles(self) -> dict[str, str]:
        quirk = quirk_of(self.model_id or "")
        without_system = {MessageRole.SYSTEM.value: MessageRole.USER.value} if quirk.system is False else {}
        return {**without_system, **self.custom_role_conversions}

    def _tool_choice(self, options: dict[str, Any]) -> str | None:
        """ "required" where the model can be told to call; None leaves it the choice."""
        asked = {**self.kwargs, **options}
        name = (self.model_id or "").lower()
        thinks = "claude" in name and bool(asked.get("thinking") or asked.get("reasoning_effort"))
        return None if thinks or quirk_of(name).forced_tools is False else "required"

    def _attempted(self, ask: Callable[[], T], target: Target) -> T:
        attempt = 0
        while True:
            attempt += 1
            try:
                return ask()
            except Exception as error:  # noqa: BLE001 - each provider raises its own kinds: read_failure sorts them
                self._wait_or_raise(error, attempt, target)

    def _wait_or_raise(self, error: Exception, attempt: int, target: Target, delivered: bool = False) -> None:
        """Wait before the next attempt, or raise ModelError where there is none."""
        if isinstance(error, SmolError) or is_ended_by(error):
            raise error
        failure = read_failure(error, target)
        attempts = ATTEMPTS if self.retry else 1
        wait = failure.retry_after
        if wait is None:
            wait = self.retry_wait * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        message = self._without_keys(failure.message, target)
        if failure.too_long:
            raise ContextLengthError(message) from error
        if delivered:
            message += " (in the middle of the reply)"
        elif failure.retry and attempt >= attempts:
            message += f" (tried {attempts} times)" if attempts > 1 else ""
        elif failure.retry and wait > LONGEST_WAIT:
            message += f" (it asks to wait {wait:.0f} seconds)"
        elif failure.retry:
            if self.on_retry is not None:
                self.on_retry(message, wait)
            begin_again()
            pause(wait, f"{message}. Trying again in {max(1, round(wait))} s.")
            return
        raise ModelError(message) from (None if failure.shows_key else error)

    def _without_keys(self, message: str, target: Target) -> str:
        message = without_password(message)
        for key in (getattr(self, "api_key", None), os.environ.get(target.key_variable)):
            if not isinstance(key, str):
                continue
            is_word = not key or (key.isalpha() and len(key) < SHORTEST)  # "none", "ollama", as local servers are given
            message = message if is_word else message.replace(key, "…")
        return redacted(message)

    def _sent(self, request: dict[str, Any], target: Target) -> Any:
        """What the client gives for `request`. Raises ModelError at once for what it refuses of it."""
        self._apply_rate_limit()
        try:
            given = self._asked().completion(**request)
        except Exception as error:
            if refused_in(error, request):
                raise ModelError(self._without_keys(read_failure(error, target).message, target)) from error
            raise
        unusable.require_reply(given, self.model_id)
        return given

    def _pieces(
        self, request: dict[str, Any], stop_sequences: list[str] | None, target: Target
    ) -> Iterator[ChatMessageStreamDelta]:
        stream = self._sent(request, target)
        if type(inner := getattr(stream, "completion_stream", None)).__module__.partition(".")[0] == "openai":
            stream.completion_stream = inner = TextOfParts(inner)
        scan = StopScan(stop_sequences)
        finished, usage, refusal, said, called, thought = None, None, "", "", False, False
        said_something = False
        try:
            for chunk in stream:
                choice = chunk.choices[0] if chunk.choices else None
                delta = getattr(choice, "delta", None)
                text, calls = getattr(delta, "content", None), getattr(delta, "tool_calls", None)
                said_something = said_something or bool(text or calls)
                called, thought = called or bool(calls), thought or unusable.thought_in(delta)
                refusal += getattr(delta, "refusal", None) or ""
                finished = getattr(choice, "finish_reason", None) or finished
                usage = getattr(chunk, "usage", None) or usage
                text = scan.feed(text or "")
                said += text
                if text or calls:
                    pieces = [ChatMessageToolCallStreamDelta.read(call) for call in calls or []]
                    yield ChatMessageStreamDelta(content=text or None, tool_calls=pieces or None)
        except Exception as error:
            began = said_something or getattr(inner, "began", False)
            if target.address and not began and "before a finish_reason was received" in str(error):
                raise unusable.no_stream(target, inner) from error
            finished = finished or getattr(stream, "received_finish_reason", None)
            if not (said_something and finished and is_lost_connection(error)):
                raise  # else it broke off behind the end of the reply
        finally:
            close = getattr(getattr(stream, "completion_stream", None), "close", None)
            if close is not None:
                close()
        if type(stream).__name__ == "CustomStreamWrapper":
            # LiteLLM ends every stream with a finish reason and a usage of its own; here is what came over the wire
            finished = stream.received_finish_reason or getattr(stream, "intermittent_finish_reason", None)
            usage = next((chunk.usage for chunk in reversed(stream.chunks) if getattr(chunk, "usage", None)), None)
        if not said_something and not finished:
            raise unusable.no_stream(target, inner)
        counted, rest = self._count(usage, stream), scan.rest()
        if not said_something:
            unusable.refuse_silence(self.model_id, finished, refusal, counted)
        if finished is None:
            unusable.refuse(self.model_id, "broke off the connection (in the middle of the reply)", counted)
        if not (called or scan.over) and (not said or can_begin_again()):
            unusable.require_not_stopped(request, finished, said + rest, thought, counted)
        cut_off = finished in BROKEN_OFF and not scan.over
        if counted or rest or cut_off:
            yield ChatMessageStreamDelta(content=rest or None, token_usage=counted, cut_off=cut_off)

    def _message(self, request: dict[str, Any], stop_sequences: list[str] | None, target: Target) -> ChatMessage:
        reply = self._sent(request, target)
        if not getattr(reply, "choices", None):
            raise ModelError(f"model {self.model_id!r} sent a reply without a choice; ask again, or try another model")
        choice = reply.choices[0]
        calls = [ChatMessageToolCall.read(call) for call in choice.message.tool_calls or []]
        counted = self._count(getattr(reply, "usage", None), reply)
        if not choice.message.content and not calls:
            unusable.refuse_silence(
                self.model_id, choice.finish_reason, getattr(choice.message, "refusal", None), counted
            )
        said = choice.message.content or ""
        kept = remove_content_after_stop_sequences(said, stop_sequences)
        if kept == said and not calls:
            unusable.require_not_stopped(
                request, choice.finish_reason, said, unusable.thought_in(choice.message), counted
            )
        return ChatMessage(
            role=MessageRole.ASSISTANT,
            content=kept or None,
            tool_calls=calls or None,
            raw=reply,
            token_usage=counted,
            cut_off=choice.finish_reason in BROKEN_OFF and kept == said,
        )

    def _count(self, usage: Any, reply: Any) -> TokenUsage | None:
        """The usage a reply tells, also added to `self.usage`; None if it tells none (LiteLLM then puts zeros)."""
        if usage is None or not (usage.prompt_tokens or usage.completion_tokens):
            return None
        details = getattr(usage, "prompt_tokens_details", None)
        cached = getattr(details, "cached_tokens", None) or 0
        counted = TokenUsage(usage.prompt_tokens or 0, usage.completion_tokens or 0, cached)
        counted.cost = self._cost(usage, reply)
        with self._lock:
            first = self.usage.total_tokens == 0
            self.usage = self.usage + counted
            self.usage.cost = counted.cost if first else self.usage.cost
        return counted

    def _cost(self, usage: Any, reply: Any) -> float | None:
        """What a reply cost in USD: by the prices that were given, or as the provider tells; None: unknown.

        Cached tokens count as others by given prices.
        """
        given = (self.input_cost_per_token, self.output_cost_per_token)
        if given != (None, None):
            return (usage.prompt_tokens or 0) * (given[0] or 0.0) + (usage.completion_tokens or 0) * (given[1] or 0.0)
        told = getattr(usage, "cost", None)
        return float(told) if isinstance(told, (int, float)) and not isinstance(told, bool) else None
