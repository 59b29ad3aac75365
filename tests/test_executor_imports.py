"""The policy for imports, and the options of executors."""

from __future__ import annotations

import math

import pytest

from smol_kernel import CodeAgent
from smol_kernel.errors import AgentExecutionError, ConfigError
from smol_kernel.executors.create import create
from smol_kernel.executors.imports import BASE_MODULES, allowed_modules, forbidden
from smol_kernel.executors.local import LocalPythonExecutor


@pytest.mark.parametrize(
    "code",
    [
        "import math, re as regex\nfrom collections import abc\nimport collections.abc",
        "import numpy as np\nimport numpy.random\nfrom numpy.linalg import norm",
        "import os.path\nfrom os import path\nfrom os.path import join",
        "import sklearn.cluster",
        "from . import anything",
        "%matplotlib inline\n!ls\nfiles = !ls\nimport math\nmath?",
        "await something()\nimport math",
        "this does not parse\nimport subprocess",
        "name = 'os'\n__import__(name)",
        "'import subprocess'  # import subprocess",
        "nul\0",
    ],
)
def test_what_may_be_imported(code):
    assert forbidden(code, ["numpy", "os.path", "sklearn.*"]) is None


@pytest.mark.parametrize(
    ("code", "module", "line"),
    [
        ("import os", "os", 1),
        ("import math\nimport os.pathway", "os.pathway", 2),
        ("from os import system", "os", 1),
        ("from os import path, system", "os", 1),
        ("from os import *", "os", 1),
        ("import numpyx", "numpyx", 1),
        ("def f():\n    try:\n        import subprocess as s\n    except ImportError:\n        pass", "subprocess", 3),
        ("import math\nmath.__import__('subprocess')", "subprocess", 2),
        ("importlib.import_module('subprocess.x')", "subprocess.x", 1),
        ("%time x = 1\n!ls\nimport subprocess", "subprocess", 3),
    ],
)
def test_what_may_not(code, module, line):
    told = forbidden(code, ["numpy", "os.path", "sklearn.*"])
    assert f"line {line}: importing {module!r} is not allowed" in told
    assert "collections, datetime" in told and "numpy, os.path" in told


@pytest.mark.parametrize("authorized", [None, ["*"], ["numpy", "*"]])
def test_everything_may_be_imported_unless_a_list_says_otherwise(authorized):
    assert forbidden("import os, subprocess", authorized) is None
    assert allowed_modules(authorized) is None


def test_a_list_is_added_to_the_base_modules():
    assert allowed_modules(["pandas.*", "math"]) == sorted([*BASE_MODULES, "pandas"])
    assert "'pandas'" in forbidden("import pandas", [])


def test_an_executor_refuses_the_action_before_anything_of_it_runs():
    executor = LocalPythonExecutor(["json"])
    try:
        assert executor("import json, math\nx = math.floor(1.5)").output == 1
        [finished] = executor.run("x = 2\nimport os")
        assert (finished.status, finished.error_type, finished.completed) == ("error", "ImportError", 0)
        assert finished.names == ["json", "math", "x"]
        with pytest.raises(AgentExecutionError, match="importing 'os' is not allowed"):
            executor("import os")
        assert executor("json.dumps(x)").output == "1"
    finally:
        executor.cleanup()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"box": "no"}, "give True, or False"),
        ({"network": "some"}, 'there are "none" and "full"'),
        ({"network": "full", "allow_hosts": ["example.org"]}, "leave one out"),
        ({"allow_hosts": ["http://example.org/"]}, "give the name of a host"),
        ({"mounts": ["/no/such/folder"]}, "there is no such file"),
        ({"mounts": ["/"]}, "name a folder below"),
        ({"limits": {"memry": 1}}, "there is no such limit; there are memory"),
        ({"limits": {"disk": "much"}}, "give a whole number above 0"),
        ({"limits": 5}, "limits 5: give a dict of numbers by name; there are memory"),
        ({"limits": {"memory": "1 MB"}}, "at least 256 MiB"),
        ({"box": False, "mounts": ["/tmp"]}, "only a box can hold to it"),
        ({"timeout": 3}, "do not fit"),
        ({"timeout_seconds": -1}, "give seconds above 0"),
        ({"timeout_seconds": "5"}, "timeout_seconds '5': give seconds above 0"),
        ({"max_print_outputs_length": -1}, "max_print_outputs_length -1: give a whole number"),
        ({"max_print_outputs_length": 2.5}, "max_print_outputs_length 2.5: give a whole number"),
        ({"interrupt_grace_seconds": -1}, "interrupt_grace_seconds -1: give seconds"),
        ({"interrupt_grace_seconds": math.inf}, "interrupt_grace_seconds inf: give seconds"),
    ],
)
def test_options_that_cannot_be_had_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        create("local", **options)


def test_options_that_can_be_had():
    executor = create("local", timeout_seconds=None, additional_authorized_imports=["numpy"])
    assert executor.additional_authorized_imports == ["numpy"]
    assert executor.timeout_seconds is None


def test_names_of_smolagents_are_there_or_say_what_is():
    executor = create("local", additional_authorized_imports=["numpy.*"])
    assert {"numpy", "math"} < set(executor.authorized_imports)
    executor.authorized_imports = None
    assert executor.authorized_imports == ("*",)
    with pytest.raises(ConfigError, match="give a list"):
        executor.authorized_imports = "numpy"
    with pytest.raises(AttributeError, match=r"python_executor\.additional_functions"):
        executor.static_tools.update({})
    assert not hasattr(executor, "custom_tools")


def test_an_agent_has_the_name_of_its_class_unless_it_is_given_another():
    class Own(CodeAgent):
        def __init__(self, **options):
            super().__init__([], lambda messages: "", **options)

    agent = Own()
    assert agent.agent_name == "Own"
    agent.agent_name = "Ada"
    assert agent.agent_name == "Ada"


@pytest.mark.filterwarnings("ignore:the CodeAgent is written without model")
@pytest.mark.parametrize(
    ("given", "additional", "allowed", "written"),
    [
        (None, ["*"], ["*"], ["*"]),
        ("*", ["*"], ["*"], ["*"]),
        (["os", "*"], ["os", "*"], ["*"], sorted([*BASE_MODULES, "os", "*"])),
        ([], [], [*BASE_MODULES], [*BASE_MODULES]),
        (["email.*"], ["email.*"], sorted([*BASE_MODULES, "email"]), sorted([*BASE_MODULES, "email.*"])),
    ],
)
def test_an_agent_tells_its_imports_in_lists(make, given, additional, allowed, written):
    agent = make([], additional_authorized_imports=given, journal=False)
    assert (agent.additional_authorized_imports, agent.authorized_imports) == (additional, allowed)
    assert agent.python_executor.authorized_imports == tuple(allowed)
    assert agent.to_dict()["authorized_imports"] == written
    assert (again := CodeAgent.from_dict(agent.to_dict(), model=agent.model)).authorized_imports == allowed
    assert again.system_prompt == agent.system_prompt == agent.another().system_prompt
    started = next(iter(make([], additional_authorized_imports=given).run_events("x")))
    assert started.settings["additional_authorized_imports"] == additional  # for a run that goes on
    agent.prompt_templates["system_prompt"] = "{{ authorized_imports }}"
    assert agent.system_prompt == ("*" if "*" in allowed else str(allowed))
