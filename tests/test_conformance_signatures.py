"""Every name of the public API, against the signatures of smolagents 1.26 (`signatures_1_26.json`, facts of its API).

A call that 1.26 accepts, by position or by name, is accepted here and means the same; ours may take more. Where our
own description of the API writes otherwise, the table has that: `ChatMessageToolCallFunction(name, arguments)`, an
executor's `code`, and no `messages` of a RunResult, which 1.26 itself deprecates.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
from pathlib import Path

import pytest

import smol_kernel

TABLE = json.loads((Path(__file__).parent / "signatures_1_26.json").read_text())
AGENTS = ("MultiStepAgent", "CodeAgent", "ToolCallingAgent")
OTHER_DEFAULTS = {  # meant: our own limit for an action; no default that could be changed in place
    ("LocalPythonExecutor", "timeout_seconds"): 300,
    ("get_clean_message_list", "role_conversions"): None,
}
CALLS = [(name, None) for name in TABLE if "call" in TABLE[name]]
CALLS += [(name, method) for name in TABLE for method in TABLE[name].get("methods", ())]


def our_parameters(name: str, method: str | None) -> list[inspect.Parameter]:
    ours = getattr(smol_kernel, name)
    if method is None:
        return list(inspect.signature(ours).parameters.values())
    found = inspect.getattr_static(ours, method)
    parameters = list(inspect.signature(getattr(found, "__func__", found)).parameters.values())
    return parameters if isinstance(found, staticmethod) else parameters[1:]


def default_of(parameter: inspect.Parameter):
    value = parameter.default
    return value.value if isinstance(value, enum.Enum) else value


@pytest.mark.parametrize(
    ("name", "method"), CALLS, ids=[f"{name}.{method}" if method else name for name, method in CALLS]
)
def test_what_1_26_accepts_is_accepted(name, method):
    theirs = TABLE[name]["call"] if method is None else TABLE[name]["methods"][method]
    ours = our_parameters(name, method)
    kinds = {parameter.kind for parameter in ours}
    takes_any_name, takes_any_number = inspect.Parameter.VAR_KEYWORD in kinds, inspect.Parameter.VAR_POSITIONAL in kinds
    by_name = {parameter.name: parameter for parameter in ours}
    in_order = [each for each in ours if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]

    positional = [parameter for parameter in theirs if parameter[1] == "positional"]
    if not takes_any_number:
        assert [each.name for each in in_order][: len(positional)] == [each[0] for each in positional]
    for parameter, kind, default in theirs:
        if kind == "*":
            assert takes_any_number
        elif kind == "**":
            named = (
                {each[0] for each in TABLE["MultiStepAgent"]["call"]} if name in AGENTS and method is None else {"?"}
            )
            assert takes_any_name or named <= set(by_name)
        elif parameter in by_name and default != "required":
            if parameter != "user_agent":  # ours does not go out under another project's name
                assert default_of(by_name[parameter]) == OTHER_DEFAULTS.get((name, parameter), default)
        else:
            assert parameter in by_name or takes_any_name
    required = [
        each.name
        for each in ours
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    assert set(required) <= {each[0] for each in theirs}


@pytest.mark.parametrize("name", [name for name in TABLE if TABLE[name].get("bases")])
def test_classes_derive_from_the_same_public_classes(name):
    names = [base.__name__ for base in getattr(smol_kernel, name).__mro__]
    assert [base for base in TABLE[name]["bases"] if base not in names] == []


@pytest.mark.parametrize("name", [name for name in TABLE if "fields" in TABLE[name]])
def test_dataclasses_have_the_same_fields_in_the_same_order(name):
    ours = [field.name for field in dataclasses.fields(getattr(smol_kernel, name))]
    theirs = TABLE[name]["fields"]
    assert [field for field in ours if field in theirs] == theirs


@pytest.mark.parametrize("name", [name for name in TABLE if "values" in TABLE[name]])
def test_enumerations_have_the_same_values(name):
    assert {member.name: member.value for member in getattr(smol_kernel, name)} == TABLE[name]["values"]


@pytest.mark.parametrize("name", [name for name in TABLE if "properties" in TABLE[name]])
def test_properties_are_there(name):
    ours = getattr(smol_kernel, name)
    fields = {field.name for field in dataclasses.fields(ours)} if dataclasses.is_dataclass(ours) else set()
    assert [each for each in TABLE[name]["properties"] if not hasattr(ours, each) and each not in fields] == []


@pytest.mark.parametrize("name", [name for name in TABLE if "tool" in TABLE[name]])
def test_built_in_tools_have_the_same_name_inputs_and_output(name):
    ours, theirs = getattr(smol_kernel, name), TABLE[name]["tool"]
    assert (ours.name, ours.output_type) == (theirs["name"], theirs["output_type"])
    assert {key: value["type"] for key, value in ours.inputs.items()} == theirs["inputs"]


def test_names_that_stand_for_others():
    pairs = {
        "HfApiModel": "InferenceClientModel",
        "OpenAIServerModel": "OpenAIModel",
        "AzureOpenAIServerModel": "AzureOpenAIModel",
        "AmazonBedrockServerModel": "AmazonBedrockModel",
    }
    for other, name in pairs.items():
        assert getattr(smol_kernel, other) is getattr(smol_kernel, name)


def test_empty_prompt_templates_have_all_keys():
    templates = smol_kernel.EMPTY_PROMPT_TEMPLATES
    assert templates["system_prompt"] == ""
    assert {key: set(value) for key, value in templates.items() if isinstance(value, dict)} == {
        "planning": {"initial_plan", "update_plan_pre_messages", "update_plan_post_messages"},
        "managed_agent": {"task", "report"},
        "final_answer": {"pre_messages", "post_messages"},
    }
