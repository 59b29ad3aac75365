"""Makes the model that a name stands for, and the one that a recorded run goes on with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.events import RunStarted
from smol_kernel.memory.known_secrets import without_password
from smol_kernel.models.address_in_name import address_in, first_address_in, provider_of
from smol_kernel.models.base import NOWHERE, Model
from smol_kernel.models.cassette import MARK, MODE_VARIABLE, mode_of
from smol_kernel.models.fallback import as_model

MODEL_VARIABLE, API_BASE_VARIABLE = "SMOL_MODEL", "SMOL_API_BASE"
DEMO = "demo"
"""Name of the model that plays shipped tasks."""

LOCAL = frozenset(
    ["ollama", "ollama_chat", "lm_studio", "hosted_vllm", "vllm", "llamafile", "xinference", "docker_model_runner"]
)
"""Providers that are servers of one's own."""
COMPATIBLE = frozenset(["openai", "text-completion-openai", "custom_openai", "openai_like", "litellm_proxy"])
"""Providers under which any server may be asked that speaks OpenAI's protocol."""
_AT_OWN_ADDRESS = {"azure": ("AZURE_API_BASE", "AZURE_OPENAI_ENDPOINT"), "azure_ai": ("AZURE_AI_API_BASE",)}
"""Providers that give each user an address of their own, and the variables that hold it."""

NO_MODEL = f"""No model is set, so nothing was run. Set one of:
  %agent model ollama/qwen3            for this notebook (any LiteLLM name)
  --model openai/gpt-4.1-mini          for one task, behind %%agent or smol run
  c.SmolMagic.model = "..."            in ipython_config.py
  {MODEL_VARIABLE}=openai/gpt-4.1-mini       in the environment
Keys are read from the environment, that of openai/gpt-4.1-mini from OPENAI_API_KEY.
Without a key or a network: the model demo plays shipped tasks from a script."""


def names_in(given: Sequence[str]) -> list[str]:
    """The names in all values of one option; NAME=FILE is one, whatever the file is called."""
    parts = [part for each in given for part in ([each] if "=" in each else each.split(","))]
    return [part.strip() for part in parts if part.strip()]


def make_model(
    name: str | Model | Sequence[str] | None,
    api_base: str | None = None,
    variables: Mapping[str, Any] | None = None,
    beside: Sequence[str] | None = None,
) -> Model:
    """The model that `name` stands for: a Model itself, one in `variables`, "demo", or a LiteLLM name.

    Of several names (a list, or a,b) each is asked when the one before it failed. Without a name the environment's
    SMOL_MODEL is taken, without an address its SMOL_API_BASE; "" is no address. `beside` are the models that the
    address was set for, those of SMOL_MODEL if there are none: it is meant for models of the same provider. None: it is
    for this very model, of whatever provider. Raises ConfigError when nothing is set, and where a provider's key would
    go to an address that is not meant for it.
    """
    if isinstance(name, Model):
        return name
    names = names_in([name] if isinstance(name, str) else name or [])
    usual = names_in([os.environ.get(MODEL_VARIABLE, "")])
    if api_base is None:
        api_base, beside = os.environ.get(API_BASE_VARIABLE), usual
    names = names or usual
    if not names:
        raise ConfigError(NO_MODEL)
    there = {provider_of(each) for each in (names if beside is None else beside or usual)}
    return _made(
        names, api_base, variables or {}, beside is None or {provider_of(each) for each in names} <= there - {""}
    )


def require_no_cassette(names: Sequence[str], variables: Mapping[str, Any], mode: str | None, *, told: bool) -> None:
    """Raises ConfigError where models of these names need a cassette, and none is named: the `mode` is `told` for this
    very run, or it is replay and a model would be asked that is made by its name. One in `variables` is the user's."""
    names = names or names_in([os.environ.get(MODEL_VARIABLE, "")])
    own = [variables.get(name) for name in names]
    if own and all(getattr(model, "mode", None) == mode_of(mode) for model in own if told):
        told = False  # cassettes of the user's
    if told and mode in ("replay", "record"):
        raise ConfigError(f"--cassette-mode {mode}: no cassette is named; add --cassette FILE")
    asked = [name for name, model in zip(names, own, strict=True) if model is None and name.removesuffix(MARK) != DEMO]
    if mode_of(mode) == "replay" and (asked or not names):
        set_by = (
            f"{MODE_VARIABLE}=replay, as smol validate sets it"
            if mode_of(None) == "replay"
            else "c.SmolMagic.cassette_mode"
        )
        raise ConfigError(
            f"no model is asked here ({set_by}), and no cassette is named for {' and '.join(asked) or 'this task'}: "
            "record the replies once, with --cassette FILE"
        )


def model_to_go_on(
    started: RunStarted,
    name: str | None,
    api_base: str | None,
    variables: Mapping[str, Any] | None = None,
    usual: tuple[str | None, str | None] = (None, None),
) -> Model:
    """The model to go on with in a recorded run: the one called `name`, else that of the run, where the run asked it.

    `usual` are the name and the address that are set for new tasks (else those of the environment). They count where
    they are the run's; and for a run whose replies came from a script, which had no model. Raises ConfigError where the
    record is not enough to ask the run's again: its conversation is not sent to another model or server than the run's,
    nor a key to an address because a record says so, nor anything to one in a name that only the record of somebody
    else has.
    """
    asked, there = started.model.removesuffix(MARK), variables or {}
    recorded = started.named_as or [asked]
    server = first_address_in(recorded[0]) or started.server or address_in(recorded[0])
    foreign = bool(started.origin.get("imported"))
    usual_name = usual[0] or os.environ.get(MODEL_VARIABLE)
    usual_base = None if api_base == "" else usual[1] or os.environ.get(API_BASE_VARIABLE)
    meant = bool(api_base) or not name
    address = api_base or (usual_base if server and _address(usual_base) == _address(server) else None)
    if not name:
        for each in (there.get(asked), there.get(usual_name or "")):
            if isinstance(each, Model) and not api_base and _is_that_of(started, each):
                return each
        if started.scripted and asked != DEMO:
            if not usual_name or (server and not address):
                raise ConfigError(f"the replies of run {started.run} came from a script: name a model with --model")
            name = usual_name
    if name and isinstance(there.get(name), Model):
        return there[name]
    names = [each.removesuffix(MARK) for each in names_in([name])] if name else recorded
    if names == [asked] and len(recorded) == 1 and not foreign:
        names = recorded
    if not name and foreign and (held := [each for each in names if address_in(each)]):
        raise ConfigError(
            f"run {started.run} came in a file, and the name of its model is an address of its author's choice, "
            f"{without_password(held[0])!r:.300}: name a model with --model"
        )
    if server in NOWHERE and not name:
        raise ConfigError(f"run {started.run} asked {asked!r:.300}, {server}: name a model with --model")
    if server in NOWHERE or not set(names) & set(recorded):
        address = api_base or usual_base
    elif not address and _address(now := _made(names, None, there).server_address) != _address(server):
        raise ConfigError(
            f"run {started.run} asked {asked!r:.300} at {server!r}: give this address again with --api-base, or "
            "name another model with --model"
            if server
            else f"run {started.run} asked {asked!r:.300} at its provider's own server, and the environment says "
            f"{now!r} now: unset that, give it with --api-base to go on there, or name another model with --model"
        )
    if names != [DEMO] and mode_of(None) == "replay":
        raise ConfigError(
            f"{MODE_VARIABLE} is replay, so no model is asked, and a run that goes on has no cassette: unset it, or "
            f"play the run {started.run} from its beginning"
        )
    return _made(names, address, there, meant or bool(set(names) & set(recorded)))


def is_chosen(
    model: Model,
    name: str | None,
    variables: Mapping[str, Any] | None = None,
    usual: str | None = None,
) -> bool:
    """Whether the user chose the `model` that `model_to_go_on` gave: by this name, or as that for new tasks (`usual`).
    The demo is nobody's to choose: nothing is sent to it."""
    usual = usual or os.environ.get(MODEL_VARIABLE) or ""
    is_usual = model is (variables or {}).get(usual) or (bool(usual) and model.named_as == names_in([usual]))
    return bool(name) or is_usual or model.named_as == [DEMO]


def is_named(model: Model, names: Sequence[str], variables: Mapping[str, Any]) -> bool:
    """Whether `names` are those of this very model: then it is meant, where it is at hand."""
    own = model.named_as
    is_its_id = len(own) < 2 and list(names) == [str(model.model_id).removesuffix(MARK)]
    return (is_its_id or (bool(own) and list(names) == own)) and not any(name in variables for name in names)


def _is_that_of(started: RunStarted, model: Model) -> bool:
    """Whether a run with this model would be recorded as one with the same model at the same place."""
    name = str(model.model_id or type(model).__name__).removesuffix(MARK)
    same_place = _address(model.server_address) == _address(started.server)
    return same_place and name == started.model.removesuffix(MARK)


def _address(server: str | None) -> str | None:
    """An address in the form that is recorded, for comparing."""
    return without_password(server).rstrip("/") if server else None


def _made(names: Sequence[str], api_base: str | None, variables: Mapping[str, Any], meant: bool = True) -> Model:
    """The model of these names, those that the address is for asked there and nowhere else; None is its provider's own.

    Raises ConfigError where it is for none of them, and the key of one would go there.
    """
    names = [each.removesuffix(MARK) for each in names]
    litellms = [each for each in names if each not in variables and each != DEMO]
    at_address = _asked_there(litellms, meant) if api_base else []
    if api_base and not at_address and any(map(provider_of, litellms)):
        where = without_password(api_base)
        raise ConfigError(
            f"{litellms[0]}: its provider's key would go to {where}, the address of your own server (--api-base, "
            f"c.SmolMagic.api_base or {API_BASE_VARIABLE}). To ask it there name this one model with --api-base "
            f"{where}, or set it by %config SmolMagic.model = {litellms[0]!r}; to ask its provider give --api-base '', "
            "or unset the address, as by %config SmolMagic.api_base = ''"
        )
    models = [_make_model(each, api_base if each in at_address else None, variables) for each in names]
    return models[0] if len(models) == 1 else as_model(models)


def _asked_there(names: Sequence[str], meant: bool) -> list[str]:
    """Those of the names that a server's address is for: all where it is meant for them and they are of one provider,
    or have no other address, else the local ones, else those that are OpenAI-compatible."""
    providers = [provider_of(each) for each in names]
    if len(set(providers)) == 1 and (meant or _has_no_address(providers[0])):
        return list(names)
    for kinds in (LOCAL, COMPATIBLE):
        if there := [each for each, provider in zip(names, providers, strict=True) if provider in kinds]:
            return there
    return []


def _has_no_address(provider: str) -> bool:
    """Whether models of the provider are asked at a user's own address there, and none is set for it."""
    variables = _AT_OWN_ADDRESS.get(provider)
    return variables is not None and not any(map(os.environ.get, variables))


def _make_model(name: str, api_base: str | None, variables: Mapping[str, Any]) -> Model:
    if name in variables:
        named = variables[name]
        if isinstance(named, Model):
            return named
        raise ConfigError(f"variable {name!r} is of type {type(named).__name__}, not a model")
    if name == DEMO:
        from smol_kernel.models.demo import DemoModel

        return DemoModel()
    from smol_kernel.models.litellm import LiteLLMModel

    return LiteLLMModel(name, api_base=api_base or None)
