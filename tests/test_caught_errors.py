"""An action catches the errors of tools by their classes, where its child has these."""

from __future__ import annotations

import decimal
import json
import sqlite3
import subprocess
import sys

import pytest

from smol_kernel import CodeAgent, ScriptedModel, tool
from smol_kernel.errors import AgentError
from smol_kernel.events import ToolReturned
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.recorded import RecordedCalls
from smol_kernel.executors.values import decode

SHOP = """
import builtins
import dataclasses

class Base(Exception):
    pass

class Gone(Base):
    def __new__(cls, key, near):
        return super().__new__(cls)

    def __init__(self, key, near):
        self.what, self.near, self._text = key, near, f'no {key}'

    def __str__(self):
        return self._text

    @property
    def first(self):
        return self.near[0]

    class Inner(LookupError):
        pass

@dataclasses.dataclass
class Record(Base):
    code: int
    kind: object

class Closed(ValueError):
    def __init_subclass__(cls, **more):
        raise RuntimeError('no more of them')

class Refused(Base, OSError, ValueError):
    pass

class Many(getattr(builtins, 'ExceptionGroup', Base)):
    def __new__(cls, errors, code):
        made = super().__new__(cls, 'of many', errors)
        made.code = code
        return made

    def __init__(self, errors, code):
        pass

    def derive(self, errors):
        return Many(errors, self.code)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "shop_of_tests.py").write_text(SHOP)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def kernel(folder):
    executor = KernelExecutor(cwd=folder, timeout_seconds=60)
    executor.send_tools({"fail": fail})
    yield executor
    executor.cleanup()


def gone():
    import shop_of_tests

    try:
        raise KeyError("k")
    except KeyError as error:
        raise shop_of_tests.Gone("k", ["l"]) from error


def of_shop(name, *arguments):
    import shop_of_tests

    raise getattr(shop_of_tests, name)(*arguments)


class Unknown(sqlite3.IntegrityError):
    """Of a module that the child lacks."""


def raises(error):
    raise error


WAYS = {
    "sql": lambda: sqlite3.connect(":memory:").execute("select * from t"),
    "json": lambda: json.loads("{"),
    "process": lambda: subprocess.run(["false"], check=True),
    "decimal": lambda: decimal.Decimal("x"),
    "alike": lambda: raises(type("ConnectionError", (OSError,), {"__module__": "requests.exceptions"})("refused")),
    "unknown": lambda: raises(Unknown("twice")),
    "gone": gone,
    "record": lambda: of_shop("Record", 7, object()),
    "closed": lambda: of_shop("Closed", "shut"),
    "refused": lambda: of_shop("Refused", "not here"),
    "many": lambda: of_shop("Many", [ValueError("bad")], 3),
}


@tool
def fail(way: str) -> None:
    """Raises.

    Args:
        way: Which error.
    """
    WAYS[way]()


def caught(kernel, way, kind, more="", told="str(e)"):
    """What `told` is of the error that `except kind` catches."""
    module = kind.rpartition(".")[0].partition(".")[0]
    code = f"{more or (f'import {module}' if module else '')}\nfound = 'missed'\n"
    code += f"try:\n    fail({way!r})\nexcept {kind} as e:\n    found = {told}\n"
    code += "except Exception as e:\n    found = f'missed {type(e)} {e}'\nfound"
    events = list(kernel.run(code))
    assert events[-1].status == "ok", events[-1]
    kernel.recorded = RecordedCalls(events).take
    try:
        again = list(kernel.run(code))
    finally:
        kernel.recorded = None
    assert next(event for event in again if event.kind == "tool_called").replays
    assert again[-1].value == events[-1].value
    returned = next(event for event in events if isinstance(event, ToolReturned))
    return decode(events[-1].value), returned.error_type


@pytest.mark.parametrize(
    ("way", "kind", "said"),
    [
        ("sql", "sqlite3.OperationalError", "no such table: t"),
        ("sql", "sqlite3.Error", "no such table: t"),
        ("json", "json.JSONDecodeError", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("json", "ValueError", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("process", "subprocess.CalledProcessError", "Command '['false']' returned non-zero exit status 1."),
        ("decimal", "decimal.InvalidOperation", "[<class 'decimal.ConversionSyntax'>]"),
        ("decimal", "ArithmeticError", "[<class 'decimal.ConversionSyntax'>]"),
        ("unknown", "sqlite3.IntegrityError", "twice"),
        ("unknown", "sqlite3.DatabaseError", "twice"),
        ("alike", "OSError", "refused"),
        ("gone", "shop_of_tests.Gone", "no k"),
        ("gone", "shop_of_tests.Base", "no k"),
        ("closed", "ValueError", "shut"),
        ("refused", "shop_of_tests.Refused", "not here"),
        ("refused", "ValueError", "not here"),
        ("refused", "OSError", "not here"),
    ],
)
def test_an_error_is_caught_by_its_class_or_a_base(kernel, way, kind, said):
    name = {"sql": "OperationalError", "json": "JSONDecodeError", "process": "CalledProcessError"}
    name |= {"decimal": "InvalidOperation", "alike": "ConnectionError"}
    assert caught(kernel, way, kind) == (said, name.get(way, way.capitalize()))


def test_one_that_is_alike_by_name_alone_is_another(kernel):
    said, _ = caught(kernel, "alike", "ConnectionError", "import decimal")
    assert said == "missed <class 'tools.ConnectionError'> refused"


def test_what_is_here_of_an_error_of_a_class_that_the_child_has(kernel):
    told = "e.what, hasattr(e, 'near'), hasattr(e, 'first'), repr(e), type(e).__module__, e.args"
    found = ("k", False, False, "Gone('no k')", "shop_of_tests", ("no k",))
    assert caught(kernel, "gone", "shop_of_tests.Gone", told=told)[0] == found
    assert caught(kernel, "record", "shop_of_tests.Record", told="e.code, repr(e)[:9]")[0] == (7, "Record('(")
    assert caught(kernel, "process", "subprocess.CalledProcessError", told="e.returncode")[0] == 1


def test_a_group_is_caught_by_its_class(kernel):
    if sys.version_info >= (3, 11):
        said = "of many (1 sub-exception)\n  1. ValueError: bad"
        assert caught(kernel, "many", "shop_of_tests.Many", told="str(e), e.code")[0] == (said, 3)
        assert caught(kernel, "many", "ExceptionGroup", "import shop_of_tests")[0] == said
        within = "try:\n    try:\n        fail('many')\n    except* ValueError:\n        pass\n"
        ended = list(kernel.run(f"{within}except shop_of_tests.Many as e:\n    found = str(e)\nfound"))[-1]
        assert decode(ended.value) == said


def test_a_class_of_an_error_is_not_imported_for_it(kernel):
    code = "import sys\nsys.modules.pop('shop_of_tests', None)\ntry:\n    fail('gone')\nexcept RuntimeError as e:\n"
    code += "    found = (str(e), 'shop_of_tests' in sys.modules)\nfound"
    assert decode(list(kernel.run(code))[-1].value) == ("no k", False)


def test_an_old_record_which_has_names_alone_gives_the_error_as_it_was(kernel):
    import dataclasses

    code = (
        "import sqlite3\ntry:\n    fail('sql')\nexcept Exception as e:\n    found = type(e).__mro__[1].__name__\nfound"
    )
    events = list(kernel.run(code))
    assert decode(events[-1].value) == "OperationalError"
    names = ["OperationalError", "DatabaseError", "Error", "Exception", "BaseException"]
    old = [dataclasses.replace(each, kinds=names) if isinstance(each, ToolReturned) else each for each in events]
    kernel.recorded = RecordedCalls(old).take
    try:
        assert decode(list(kernel.run(code))[-1].value) == "RuntimeError"
    finally:
        kernel.recorded = None


def test_an_error_of_a_managed_agent_is_caught_by_its_class():
    helper = CodeAgent([], ScriptedModel([AgentError("quota")] * 9), name="helper", description="Helps.")
    action = (
        "from smol_kernel import AgentError\ntry:\n    found = helper('t')\nexcept AgentError as e:\n    found = str(e)"
    )
    model = ScriptedModel([f"<code>\n{action}\nfinal_answer(found)\n</code>"])
    agent = CodeAgent([], model, managed_agents=[helper], additional_authorized_imports=["smol_kernel"])
    assert "quota" in agent.run("t")
    agent.cleanup()
