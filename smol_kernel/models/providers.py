"""The models that smolagents has for each provider, with its constructor arguments, as models of LiteLLM's."""

from __future__ import annotations

import importlib
import os
from typing import Any

from smol_kernel.errors import ModelError
from smol_kernel.models import keys
from smol_kernel.models.address_in_name import in_environment
from smol_kernel.models.failures import Target
from smol_kernel.models.litellm import LiteLLMModel, load
from smol_kernel.models.requests import require_allowed, require_usable

HF_ROUTER = "https://router.huggingface.co/v1"
"""Hugging Face's Inference Providers (https://huggingface.co/docs/inference-providers), in OpenAI's protocol."""

_INFERENCE_CONFIG = {"maxTokens": "max_tokens", "temperature": "temperature", "topP": "top_p", "stopSequences": "stop"}
"""Bedrock's Converse API → OpenAI's."""
_AWS_CLIENT = {
    "region_name": "aws_region_name",
    "endpoint_url": "aws_bedrock_runtime_endpoint",
    "aws_access_key_id": "aws_access_key_id",
    "aws_secret_access_key": "aws_secret_access_key",
    "aws_session_token": "aws_session_token",
}
"""Arguments of `boto3.client` → LiteLLM's."""
_OPENAI_CLIENT = {
    "api_key": "api_key",
    "base_url": "api_base",
    "organization": "organization",
    "timeout": "timeout",
    "default_headers": "extra_headers",
}
"""Arguments of `openai.OpenAI` → LiteLLM's."""
_OF_THE_BODY = ("metadata", "reasoning_effort", "user", "verbosity")
"""Parameters of OpenAI's API that LiteLLM keeps for itself, or refuses for a name unknown to it."""
_OPENAI_CLIENT_ONLY = ("http_client", "default_query")
"""Arguments of `openai.OpenAI` for which a client is made, since LiteLLM does not take them."""
_AZURE_CLIENT = _OPENAI_CLIENT | {
    "azure_endpoint": "api_base",
    "api_version": "api_version",
    "azure_ad_token": "azure_ad_token",
    "azure_ad_token_provider": "azure_ad_token_provider",
}
"""Arguments of `openai.AzureOpenAI` → LiteLLM's."""
_HF_CLIENT = {"headers": "extra_headers", "timeout": "timeout", "token": "api_key", "api_key": "api_key"}
"""Arguments of `huggingface_hub.InferenceClient` → LiteLLM's."""


class OpenAIModel(LiteLLMModel):
    """A model of OpenAI, or of any server that speaks its protocol (`api_base`).

    Parameters: `model_id`, the name at the server; `api_key` (default: OPENAI_API_KEY); `organization`; `project`;
    `client_kwargs`, arguments of `openai.OpenAI` (`timeout`, `default_headers`, `http_client`; `max_retries=0` is
    `retry=False`); others as in LiteLLMModel. Raises ModelError for a client argument that has no counterpart.
    """

    _prefix = "openai"
    _made_by_name = True
    _client_arguments = _OPENAI_CLIENT
    _client_only = _OPENAI_CLIENT_ONLY
    _client_class = "OpenAI"

    def __init__(
        self,
        model_id: str,
        api_base: str | None = None,
        api_key: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        client_kwargs: dict[str, Any] | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        flatten_messages_as_text: bool | None = False,
        **kwargs: Any,
    ) -> None:
        arguments = dict(client_kwargs or {})
        self.organization = organization
        self.project = project if project is not None else arguments.pop("project", None)
        self.client_kwargs = client_kwargs
        self._for_litellm: Any = None
        """A client of the package openai that LiteLLM uses, made here."""
        self._for_programs: Any = None
        """One that is not ours to use."""
        if arguments.pop("max_retries", None) == 0:
            kwargs.setdefault("retry", False)
        self._for_client = {name: arguments.pop(name) for name in self._client_only if name in arguments}
        if kwargs.get("extra_query") and "default_query" in self._client_only:
            self._for_client["default_query"] = {**self._for_client.get("default_query", {}), **kwargs["extra_query"]}
        others = (*self._client_only, "max_retries", "project")
        self._mapped = _mapped(type(self).__name__, arguments, self._client_arguments, others)
        super().__init__(
            model_id,
            api_base or self._mapped.pop("api_base", None),
            api_key or self._mapped.pop("api_key", None),
            custom_role_conversions,
            flatten_messages_as_text,
            **kwargs,
        )

    @property
    def litellm_name(self) -> str:
        """The model as LiteLLM names it, `provider/name`."""
        return f"{self._prefix}/{self.model_id}"

    @property
    def named_as(self) -> list[str]:
        """As of a LiteLLMModel, unless it has arguments that only this class takes."""
        return [] if self.client_kwargs or self.organization or self.project else super().named_as

    def _route(self, request: dict[str, Any]) -> Target:
        known = load().get_supported_openai_params(self.litellm_name) if self._through_litellm else _OF_THE_BODY
        own = [name for name in _OF_THE_BODY if name in request and (name == "metadata" or name not in known)]
        if self._through_litellm and own:
            request["extra_body"] = {**{name: request.pop(name) for name in own}, **request.get("extra_body", {})}
        if "default_query" in self._client_only and (query := request.pop("extra_query", None)):
            ours = self._own_client() is self._for_litellm
            if not ours or not query.items() <= self._for_client.get("default_query", {}).items():
                raise ModelError(
                    f"extra_query={query!r} is for {type(self).__name__}(…, extra_query=…); a client of your "
                    "own takes it as default_query"
                )
        return super()._route(request)

    def create_client(self) -> Any:
        """LiteLLM itself; a client of the package openai where one of its arguments is not LiteLLM's."""
        if not self._for_client:
            return super().create_client()
        self._for_litellm = self._openai_client(max_retries=0, **self._for_client)
        return self._for_litellm

    def _shown(self, own: Any) -> Any:
        """A client of the package openai where none was given, for a `generate` of a program's own."""
        if own is not load() and own is not self._for_litellm:
            return own
        if self._for_programs is None:
            given = {**(self.client_kwargs or {}), "organization": self.organization, "project": self.project}
            client = self._openai_client(**{name: value for name, value in given.items() if value is not None})
            require_allowed(str(client.base_url), str(self.model_id))
            self._for_programs = client
        return self._for_programs

    def _openai_client(self, **arguments: Any) -> Any:
        openai: Any = importlib.import_module("openai")
        arguments = {**arguments, **self._place()}
        keys.keep([("", arguments)])
        keys.require_sendable(str(self.model_id), [("", arguments)])
        try:
            return getattr(openai, self._client_class)(**arguments)
        except (TypeError, ValueError, openai.OpenAIError) as error:
            raise ModelError(
                f"{type(self).__name__}: no client can be made of its arguments and client_kwargs: {error}"
            ) from error

    def _place(self) -> dict[str, Any]:
        """Where such a client asks, and with which key."""
        address = self.api_base or in_environment("OPENAI")
        if address:
            require_usable(address, self.litellm_name)
        key = self.api_key or os.environ.get("OPENAI_API_KEY") or ("none" if address else None)
        return {"api_key": key, "base_url": address}

    def _settings(self) -> dict[str, Any]:
        settings = {**self._mapped}
        if self.organization is not None:
            settings["organization"] = self.organization
        if self.project is not None:
            settings["extra_headers"] = {**settings.get("extra_headers", {}), "OpenAI-Project": self.project}
        return settings


class AzureOpenAIModel(OpenAIModel):
    """A deployment at Azure OpenAI.

    Parameters: `model_id`, the deployment's name; `azure_endpoint` (default: AZURE_OPENAI_ENDPOINT); `api_key`
    (default: AZURE_OPENAI_API_KEY); `api_version` (default: OPENAI_API_VERSION); `client_kwargs`, arguments of
    `openai.AzureOpenAI`; others as in LiteLLMModel. Raises ModelError for a client argument that has no counterpart,
    and at the first request where no address is known.
    """

    _prefix = "azure"
    _key_variable = "AZURE_OPENAI_API_KEY"
    _client_arguments = _AZURE_CLIENT
    _client_only = ("azure_ad_token", "azure_ad_token_provider")  # to LiteLLM they are no more than a key it may find
    _client_class = "AzureOpenAI"
    _unsaved = OpenAIModel._unsaved | {"api_base"}

    def __init__(
        self,
        model_id: str,
        azure_endpoint: str | None = None,
        api_key: str | None = None,
        api_version: str | None = None,
        client_kwargs: dict[str, Any] | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.azure_endpoint = azure_endpoint
        self.api_version = api_version
        super().__init__(
            model_id,
            azure_endpoint,
            api_key,
            client_kwargs=client_kwargs,
            custom_role_conversions=custom_role_conversions,
            **kwargs,
        )

    def _settings(self) -> dict[str, Any]:
        read = os.environ.get
        ours = {
            "api_base": self.api_base or read("AZURE_OPENAI_ENDPOINT") or read("AZURE_API_BASE"),
            "api_key": self.api_key or read("AZURE_OPENAI_API_KEY"),
            "api_version": self.api_version or self._mapped.get("api_version") or read("OPENAI_API_VERSION"),
        }
        ours |= {} if self._needs_client else self._for_client
        return super()._settings() | {name: value for name, value in ours.items() if value is not None}

    @property
    def _needs_client(self) -> bool:
        version = self.api_version or self._mapped.get("api_version") or os.environ.get("OPENAI_API_VERSION")
        return bool(self._for_client) and version not in ("v1", "latest", "preview")  # those LiteLLM knows better

    def create_client(self) -> Any:
        """LiteLLM itself; a client of the package openai where a token is given in place of a key."""
        if not self._needs_client:
            return LiteLLMModel.create_client(self)
        self._for_litellm = self._openai_client(**{**(self.client_kwargs or {}), "max_retries": 0})
        return self._for_litellm

    def _checked(self, request: dict[str, Any]) -> Target:
        if not (request.get("api_base") or request.get("client")):
            raise ModelError(
                f"model {self.model_id!r} needs the address of your resource: pass azure_endpoint=…, or set "
                f"AZURE_OPENAI_ENDPOINT"
            )
        return super()._checked(request)

    def _place(self) -> dict[str, Any]:
        read = os.environ.get
        endpoint = self.api_base or read("AZURE_OPENAI_ENDPOINT") or read("AZURE_API_BASE")
        endpoint = None if "base_url" in (self.client_kwargs or {}) else endpoint  # it takes one of the two
        version = self.api_version or self._mapped.get("api_version") or os.environ.get("OPENAI_API_VERSION")
        version = version or getattr(load(), "AZURE_DEFAULT_API_VERSION", None)
        given = {"azure_endpoint": endpoint, "api_key": self.api_key, "api_version": version}
        return {name: value for name, value in given.items() if value is not None}


class InferenceClientModel(LiteLLMModel):
    """A model at Hugging Face's Inference Providers, an endpoint of one's own there, or a local server.

    Parameters: `model_id`, the name at the Hub, or the URL of an endpoint; `provider`, such as "together" (default:
    Hugging Face chooses); `token` or `api_key` (default: HF_TOKEN, then the one of `hf auth login`); `timeout`,
    seconds; `client_kwargs`, arguments of `InferenceClient` (`headers`); `bill_to`, an organization; `base_url`, a
    server's address in place of a provider; others as in LiteLLMModel. Raises ModelError for `token` and `api_key`
    together, and for a client argument that has no counterpart.
    """

    _unsaved = LiteLLMModel._unsaved | {"api_base"}

    def __init__(
        self,
        model_id: str = "Qwen/Qwen3-Next-80B-A3B-Thinking",
        provider: str | None = None,
        token: str | None = None,
        timeout: int = 120,
        client_kwargs: dict[str, Any] | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        api_key: str | None = None,
        bill_to: str | None = None,
        base_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        if token is not None and api_key is not None:
            raise ModelError("InferenceClientModel takes token or api_key, which mean the same; pass one of them")
        self.provider = provider
        self.timeout = timeout
        self.client_kwargs = client_kwargs
        self.bill_to = bill_to
        self.base_url = base_url
        self._mapped = _mapped(type(self).__name__, dict(client_kwargs or {}), _HF_CLIENT)
        address = model_id if str(model_id).startswith(("http://", "https://")) else base_url
        key = token or api_key or self._mapped.pop("api_key", None)
        kwargs.setdefault("flatten_messages_as_text", False)
        super().__init__(model_id, address or HF_ROUTER, key, custom_role_conversions, **kwargs)

    @property
    def litellm_name(self) -> str:
        """The model as LiteLLM names it; the router reads a provider after a colon."""
        if self.api_base != HF_ROUTER:
            return "huggingface/tgi" if self.api_base == self.model_id else f"huggingface/{self.model_id}"
        chosen = f":{self.provider}" if self.provider not in (None, "auto") else ""
        return f"huggingface/{self.model_id}{chosen}"

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"timeout": self.timeout, **self._mapped}
        if self.bill_to is not None:
            headers: dict[str, str] = settings.get("extra_headers") or {}
            settings["extra_headers"] = {**headers, "X-HF-Bill-To": self.bill_to}
        if self.api_key is None and self.api_base == HF_ROUTER and self._through_litellm:
            hub: Any = importlib.import_module("huggingface_hub")
            settings["api_key"] = hub.get_token()
        return settings


class AmazonBedrockModel(LiteLLMModel):
    """A model at Amazon Bedrock, by its Converse API.

    Parameters: `model_id`, such as "us.amazon.nova-pro-v1:0"; `client`, a `bedrock-runtime` client of boto3, whose
    region, endpoint and credentials are used, or an object with `completion(**request)`; `client_kwargs`, arguments of
    `boto3.client`: `region_name`, `endpoint_url`, the `aws_…` credentials (default: those of the environment);
    `inferenceConfig`, `guardrailConfig`, … of the Converse API among the others, which are as in LiteLLMModel. Raises
    ModelError for what stands in `client_kwargs` or `inferenceConfig` and has no counterpart.
    """

    def __init__(
        self,
        model_id: str,
        client: Any = None,
        client_kwargs: dict[str, Any] | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.client_kwargs = client_kwargs
        self._mapped = _mapped(type(self).__name__, dict(client_kwargs or {}), _AWS_CLIENT)
        kwargs |= _mapped("inferenceConfig", dict(kwargs.pop("inferenceConfig", None) or {}), _INFERENCE_CONFIG)
        more: dict[str, Any] = kwargs.pop("additionalModelRequestFields", None) or {}
        kwargs |= more
        kwargs.setdefault("flatten_messages_as_text", False)
        super().__init__(model_id, custom_role_conversions=custom_role_conversions, client=client, **kwargs)

    @property
    def litellm_name(self) -> str:
        """The model as LiteLLM names it."""
        return f"bedrock/converse/{self.model_id}"

    def _usable(self, client: Any) -> Any:
        return client if hasattr(client, "converse") else super()._usable(client)

    def _settings(self) -> dict[str, Any]:
        own = self._own_client()
        return {**(_boto_settings(own) if hasattr(own, "converse") else {}), **self._mapped}


def _mapped(
    owner: str, arguments: dict[str, Any], names: dict[str, str], others: tuple[str, ...] = ()
) -> dict[str, Any]:
    """`arguments` under LiteLLM's names. Raises ModelError for one that has none; it tells of the `others` as well."""
    strangers = [name for name in arguments if name not in names]
    if strangers:
        known = ", ".join((*names, *others))
        raise ModelError(
            f"{owner}: {', '.join(strangers)} cannot be handed to LiteLLM (known: {known}); pass what "
            f"LiteLLM calls it as a keyword of the model, or a client of your own as client=…"
        )
    return {names[name]: value for name, value in arguments.items() if value is not None}


def _boto_settings(client: Any) -> dict[str, Any]:
    """What LiteLLM needs to ask as a client of boto3 would: its region, its address, its credentials of this moment."""
    settings = {
        "aws_region_name": client.meta.region_name,
        "aws_bedrock_runtime_endpoint": client.meta.endpoint_url,
    }
    credentials = getattr(getattr(client, "_request_signer", None), "_credentials", None)
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        settings["aws_access_key_id"] = frozen.access_key
        settings["aws_secret_access_key"] = frozen.secret_key
        settings["aws_session_token"] = frozen.token
    return {name: value for name, value in settings.items() if value is not None}


HfApiModel = InferenceClientModel
OpenAIServerModel = OpenAIModel
AzureOpenAIServerModel = AzureOpenAIModel
AmazonBedrockServerModel = AmazonBedrockModel
