"""`LiteLLMModel`: any provider, through LiteLLM. The only file that imports litellm, and only when it is needed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
import warnings
from typing import Any, ClassVar

from smol_kernel.errors import MissingDependencyError, ModelError
from smol_kernel.memory.known_secrets import keep_secret, without_password
from smol_kernel.memory.loading import loading
from smol_kernel.models import keys
from smol_kernel.models.address_in_name import address_in, first_address_in, in_environment, provider_of
from smol_kernel.models.api import ApiModel
from smol_kernel.models.base import ADDRESSES
from smol_kernel.models.failures import Target, no_key, read_failure
from smol_kernel.models.quirks import Kind
from smol_kernel.models.requests import is_loopback, require_allowed, require_usable

_ONE_KEY = ("openai", "groq", "mistral", "deepseek", "openrouter")  # others take a key from several places
_IMPORT_SETTINGS = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
_FACTS: dict[str, str] = {
    "image": "supports_vision",
    "audio": "supports_audio_input",
    "video": "supports_video_input",
    "tools": "supports_function_calling",
    "response_schema": "supports_response_schema",
}
_PARAMETERS = {"tools": "tools", "response_schema": "response_format"}
_OF_A_REPLY = r"(?s)Pydantic serializer warnings:.* \[field_name='(content|arguments|tool_calls)'"
_import_lock = threading.Lock()
_module: Any = None


def load() -> Any:
    """The litellm module. The first import takes seconds; it calls no network and reads no `.env` file.

    Raises MissingDependencyError if it is not installed, ModelError if this system does not let it be imported.
    """
    if _module is None:
        with loading():
            _import()
    return _module


def _import() -> None:
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
            except OSError as error:  # read-only systems: it looks for a folder for temporary files
                raise ModelError(
                    f"LiteLLM cannot be imported ({error}). If a folder for temporary files is missing, mount a "
                    "writable one at /tmp, or set TMPDIR to one"
                ) from error
            finally:
                for name, value in ours.items():
                    if os.environ.get(name) == value:
                        del os.environ[name]
            module.suppress_debug_info = True  # it prints advice to stdout at every error
            _build_replies(module)
            _module = module


def _build_replies(module: Any) -> None:
    """Have pydantic build LiteLLM's classes now, and not warn of their insides, or of a reply's, in a user's cell."""
    for insides in (r"Items? '.*' on TypedDict class", _OF_A_REPLY):
        warnings.filterwarnings("ignore", message=insides, category=UserWarning)
    for name in ("ModelResponse", "StreamingChoices", "ModelResponseStream"):
        getattr(module, name, dict)()


def warm_up() -> None:
    """Start importing litellm in the background, so that the first request does not wait for it."""
    if _module is None:
        threading.Thread(target=_load_quietly, name="smol-load-litellm", daemon=True).start()


def _load_quietly() -> None:
    try:
        _import()  # nobody waits for it
    except Exception:  # noqa: BLE001 - the first request meets the same error and reports it
        return


class LiteLLMModel(ApiModel):
    """A model of any provider, named as `provider/name`: `openai/gpt-4.1-mini`, `ollama/qwen3`.

    Parameters: `api_base`, the server's address (any OpenAI-compatible one with `openai/NAME`); `api_key` (default:
    the provider's environment variable); `flatten_messages_as_text`: None sends plain text where a message has no
    images; `client`: an object with `completion(**request)` in LiteLLM's place (its module, a Router, your own), or a
    client of the package openai, which LiteLLM then uses; others as in ApiModel.

    With SMOL_ALLOW_MODEL_REQUESTS=0 in the environment only servers on this machine are asked; a client of your own
    in LiteLLM's place is not held back. Raises ModelError for a `model_id`, an address or a `client` that cannot serve.
    """

    _key_variable: ClassVar[str | None] = None  # where the key is taken from; None: where LiteLLM takes it from
    _made_by_name = True  # of this very class, not of those below it: they say so themselves

    def __init__(
        self,
        model_id: str | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        flatten_messages_as_text: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(model_id, str) or not model_id.strip():
            raise ModelError(
                f"{type(self).__name__} needs a model_id, not {model_id!r}; for LiteLLM it is written provider/name: "
                f"LiteLLMModel('openai/gpt-4.1-mini'), LiteLLMModel('ollama/qwen3')"
            )
        super().__init__(model_id, custom_role_conversions, flatten_messages_as_text=flatten_messages_as_text, **kwargs)
        self.api_base = api_base
        self.api_key = api_key
        for address in (api_base, *(self.kwargs.get(name) for name in ADDRESSES)):
            if isinstance(address, str) and address:
                keep_secret({"address": address})
                require_usable(address, self.litellm_name)

    @property
    def slow_start(self) -> str | None:
        """Says that LiteLLM is still to be loaded; None once it is."""
        if _module is not None or not self._through_litellm:
            return None
        return "Loading LiteLLM: this takes some seconds, once."

    @property
    def litellm_name(self) -> str:
        """The model as LiteLLM names it, `provider/name`."""
        return str(self.model_id)

    @property
    def named_as(self) -> list[str]:
        """Its name for LiteLLM, unless it is of a class that needs more, or has a client or a provider given to it."""
        own = (self._client is not None and self._client is not _module) or "custom_llm_provider" in self.kwargs
        return [self.litellm_name] if vars(type(self)).get("_made_by_name") and not own else []

    @property
    def server_address(self) -> str | None:
        """As of any Model; an address that LiteLLM takes from the name or the environment was given as well."""
        if self.named_as and (first := first_address_in(self.litellm_name)):
            return first
        prefix = provider_of(self.litellm_name).upper().removesuffix("_CHAT")  # ollama_chat
        address = super().server_address
        if address is not None:
            return address
        known = in_environment(prefix)
        return without_password(known) if known else address_in(self.litellm_name)

    @property
    def _asked_at(self) -> str | None:
        """Where LiteLLM asks, as far as that was told it, for the price; None: at the provider's own address."""
        handed = getattr(self._client, "base_url", None) if _is_openai(self._client) else None
        told = self.api_base or (str(handed) if handed else self.given_address)
        return told or (in_environment("OPENAI") if _named(self.litellm_name, None)[1] == "openai" else None)

    @property
    def _through_litellm(self) -> bool:
        """False where a client of the user's own is in LiteLLM's place: then nothing is known of where it goes."""
        kind = getattr(self._client, "__name__", None) or type(self._client).__module__
        return not _takes_requests(self._client) or kind.partition(".")[0] == "litellm"

    def _usable(self, client: Any) -> Any:
        if not _takes_requests(client) and not _is_openai(client):
            raise ModelError(
                f"client has to have completion(**request), as LiteLLM's module does, or be a client of the "
                f"package openai, not {client!r:.80}"
            )
        return client

    def _asked(self) -> Any:
        own = self._own_client()
        return own if _takes_requests(own) else load()

    def create_client(self) -> Any:
        """LiteLLM itself."""
        return load()

    def takes(self, kind: Kind) -> bool | None:
        """As `Model.takes`: by our own table, then by LiteLLM's, which is loaded for it."""
        known = super().takes(kind)
        if known is not None or not self._through_litellm:
            return known
        name, provider = _named(self.litellm_name, self.api_base)
        if kind in _PARAMETERS:
            accepted = load().get_supported_openai_params(name, provider) if provider else None
            if accepted is not None and _PARAMETERS[kind] not in accepted:
                return False
            return True if _fact(name, provider, _FACTS[kind]) else None
        return _fact(name, provider, _FACTS[kind])

    def _tool_choice(self, options: dict[str, Any]) -> str | None:
        if self._through_litellm:
            name, provider = _named(self.litellm_name, self.api_base)
            accepted = load().get_supported_openai_params(name, provider) if provider else None
            if "tool_choice" not in (accepted or ["tool_choice"]):
                return None
            if provider and _entry(name, provider).get("supports_tool_choice") is False:
                return None
        return super()._tool_choice(options)

    def _route(self, request: dict[str, Any]) -> Target:
        """Where `request` goes. Completes its address, key and stop sequences; refuses what cannot be asked.

        Retries are ours alone, so LiteLLM and its clients make none.
        """
        own = self._own_client()
        handed = own if _is_openai(own) else None
        ours = {"api_base": self.api_base, "api_key": self.api_key, "client": handed, **self._settings()}
        for name, value in ours.items():
            if value is not None:
                request.setdefault(name, value)
        held = [("", request), *keys.of_client(own)]
        keys.keep(held)
        request["model"] = self.litellm_name
        if not self._through_litellm:
            return self._target()
        request |= {"num_retries": 0, "max_retries": 0}
        if "tools" in request and importlib.util.find_spec("litellm.responses.mcp.chat_completions_handler"):
            request["_skip_mcp_handler"] = True  # it is for LiteLLM's own MCP gateway, and needs its packages
        return self._checked(request)

    def _settings(self) -> dict[str, Any]:
        """What a subclass adds to each request."""
        return {}

    def _checked(self, request: dict[str, Any]) -> Target:
        litellm = load()
        address = next((request[name] for name in ADDRESSES if request.get(name)), None)
        handed = request.get("client")
        address = str(getattr(handed, "base_url", None) or "") or address
        given = request.get("api_key") or getattr(handed, "api_key", None)
        try:
            name, provider, _, default_address = litellm.get_llm_provider(request["model"], api_base=address)
        except Exception as error:
            target = Target(str(self.model_id), address, "the key")
            raise ModelError(self._without_keys(read_failure(error, target).message, target)) from error
        if provider == "openai" and not address and not litellm.api_base and (address := in_environment("OPENAI")):
            require_usable(address, self.litellm_name)
            request["api_base"] = address  # LiteLLM would find it by itself; here it is known where that is
        needed: list[str] = litellm.validate_environment(request["model"])["missing_keys"]
        missing = [name for name in needed if not request.get(name.partition("_")[2].lower())]
        variable = self._key_variable or " and ".join(missing) or f"{provider.upper().removesuffix('_CHAT')}_API_KEY"
        asked = first_address_in(request["model"]) or address or default_address
        target = Target(str(self.model_id), asked, variable)
        if missing and not given:
            if address and provider in ("openai", "huggingface"):
                request["api_key"] = "none"  # local servers want none, the client library wants one
            elif provider in _ONE_KEY and not (litellm.api_key or getattr(litellm, f"{provider}_key", None)):
                raise ModelError(no_key(target))
        if provider == "huggingface":
            del request["max_retries"], request["num_retries"]  # they would travel to the server
        if "stop" not in (litellm.get_supported_openai_params(name, provider) or ["stop"]):
            request.pop("stop", None)
        held = [("", request), *keys.of_client(handed)]
        keys.require_sendable(str(self.model_id), held, () if given else target.key_variable.split(" and "))
        require_allowed(target.address, str(self.model_id))
        return target

    def _cost(self, usage: Any, reply: Any) -> float | None:
        """As in ApiModel, then by LiteLLM's price list.

        None for a model it does not know, one it has no price for (it says 0), and a server of the user's own.
        """
        known = super()._cost(usage, reply)
        if known is not None or not self._through_litellm:
            return known
        address = self._asked_at
        name, provider = _named(self._priced_name(reply), self.api_base)
        own = address and (is_loopback(address) or (provider == "openai" and "api.openai.com" not in address))
        if provider is None or own:
            return None
        try:
            costs = load().cost_per_token(model=name, custom_llm_provider=provider, usage_object=usage)
        except Exception:  # noqa: BLE001 - LiteLLM raises several kinds for a model it has no price of
            return None
        return sum(costs) or None

    def _priced_name(self, reply: Any) -> str:
        """The model that gave `reply`, as LiteLLM names it."""
        return self.litellm_name


def _takes_requests(client: Any) -> bool:
    """Whether `client` is asked in LiteLLM's way, in its place."""
    return callable(getattr(client, "completion", None))


def _is_openai(client: Any) -> bool:
    """Whether `client` is one of the package openai, which LiteLLM uses."""
    return not _takes_requests(client) and hasattr(getattr(client, "chat", None), "completions")


def _named(litellm_name: str, api_base: str | None) -> tuple[str, str | None]:
    """Name and provider as LiteLLM splits them; the provider is None where it knows none."""
    try:
        name, provider, _, _ = load().get_llm_provider(litellm_name, api_base=api_base)
    except Exception:  # noqa: BLE001 - LiteLLM raises several kinds; the request says which
        return litellm_name, None
    return name.removeprefix("converse/"), provider


def _entry(name: str, provider: str) -> dict[str, Any]:
    """LiteLLM's entry for a model; empty where it has none. For Ollama it would ask the server, so there is none."""
    litellm = load()
    if provider.startswith("ollama"):
        return {}
    try:
        entry = litellm.get_model_info(name, custom_llm_provider=provider)
    except Exception:  # noqa: BLE001 - LiteLLM raises several kinds for a model it does not know
        return {}
    listed: dict[str, Any] = litellm.model_cost.get(entry.get("key")) or {}
    return dict(entry) if listed.get("mode") else {}  # without one, LiteLLM or its Router made it up


def _fact(name: str, provider: str | None, fact: str) -> bool | None:
    entry = _entry(name, provider) if provider else {}
    return bool(entry.get(fact)) if entry else None


class LiteLLMRouterModel(LiteLLMModel):
    """A group of models behind LiteLLM's Router (https://docs.litellm.ai/docs/routing).

    Parameters: `model_id`, the group's name; `model_list`, the deployments as the Router takes them; `client_kwargs`,
    further arguments of the Router (`routing_strategy`, …). Its own retries are off unless `num_retries` is among
    them: each of our attempts may go to another deployment. Others as in LiteLLMModel. Raises ModelError for a group
    that is not in the list.
    """

    def __init__(
        self,
        model_id: str,
        model_list: list[dict[str, Any]],
        client_kwargs: dict[str, Any] | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        flatten_messages_as_text: bool | None = None,
        **kwargs: Any,
    ) -> None:
        self.model_list = model_list
        self.client_kwargs = client_kwargs or {}
        super().__init__(model_id, None, None, custom_role_conversions, flatten_messages_as_text, **kwargs)
        if not self._deployments():
            groups = sorted({str(entry.get("model_name")) for entry in model_list})
            raise ModelError(f"the model_list has no group {model_id!r}; its groups: {', '.join(groups) or 'none'}")

    def create_client(self) -> Any:
        """The Router."""
        load()
        router: Any = importlib.import_module("litellm.router")
        return router.Router(**{"num_retries": 0, **self.client_kwargs, "model_list": self.model_list})

    @property
    def litellm_name(self) -> str:
        """The first deployment as LiteLLM names it: what it takes, they all are expected to take."""
        return str(self._deployments()[0].get("model"))

    def _deployments(self) -> list[dict[str, Any]]:
        entries = [entry for entry in self.model_list if entry.get("model_name") == self.model_id]
        return [entry.get("litellm_params") or {} for entry in entries]

    def _route(self, request: dict[str, Any]) -> Target:
        for deployment in self._deployments():
            _, _, _, address = load().get_llm_provider(deployment["model"], api_base=deployment.get("api_base"))
            require_allowed(deployment.get("api_base") or address, str(self.model_id))
        held = [*keys.of_deployments(self.model_list), ("client_kwargs: ", self.client_kwargs), ("", request)]
        keys.keep(held)
        keys.require_sendable(str(self.model_id), held)
        if "num_retries" not in self.client_kwargs:
            request["num_retries"] = 0
        return self._target()

    def _priced_name(self, reply: Any) -> str:
        """The deployment that the Router says it chose."""
        chosen = (getattr(reply, "_hidden_params", None) or {}).get("model_id")
        client = self._own_client()  # in newer versions of LiteLLM it has a registry, and warns of what it had instead
        known: Any = client.registry().deployment if hasattr(client, "registry") else client.get_deployment
        deployment = known(chosen) if chosen else None
        return str(deployment.litellm_params.model) if deployment else self.litellm_name
