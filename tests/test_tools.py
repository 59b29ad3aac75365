"""Tools: schema from functions, the Tool class, the check of a call's arguments."""

from __future__ import annotations

import asyncio
import enum
import inspect
import io
import os
import re
import subprocess
import sys
import threading
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Optional, Union

import pytest

from smol_kernel.errors import ToolError
from smol_kernel.tools.base import FunctionTool, Tool, tool
from smol_kernel.tools.defaults import FinalAnswerTool, UserInputTool
from smol_kernel.tools.hints import type_schema


@tool
def search(query: str, limit: int = 5, *, tags: list[str] | None = None, order: Literal["new", "old"] = "new") -> str:
    """Searches the archive.

    It knows the years since 1900.

    Args:
        query: What to look for,
            in plain words.
        limit (int): How many hits: at most 50.
        tags: Only hits with these tags.
        order: Which ones first.

    Returns:
        One hit a line.
    """
    return f"{query} {limit} {tags} {order}"


# @tool


def test_a_function_becomes_a_tool():
    assert isinstance(search, Tool)
    assert search.output_schema is None
    assert (search.name, search.output_type, search.threaded) == ("search", "string", False)
    assert search.description == "Searches the archive.\n\nIt knows the years since 1900."
    assert search.inputs == {
        "query": {"type": "string", "description": "What to look for, in plain words."},
        "limit": {
            "type": "integer",
            "nullable": True,
            "default": 5,
            "description": "How many hits: at most 50.",
        },
        "tags": {
            "type": "array",
            "items": {"type": "string"},
            "nullable": True,
            "description": "Only hits with these tags.",
        },
        "order": {
            "type": "string",
            "enum": ["new", "old"],
            "nullable": True,
            "default": "new",
            "description": "Which ones first.",
        },
    }


def test_a_tool_is_called_like_the_function_it_was():
    assert search("a") == "a 5 None new"
    assert search("a", 2, order="old") == search(query="a", limit=2, order="old") == "a 2 None old"
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        search("a", colour=1)


def test_a_tool_keeps_what_the_function_says_of_itself():
    assert search.__name__ == "search"
    assert search.__doc__.startswith("Searches the archive.")
    assert search.__wrapped__("a") == "a 5 None new"
    assert list(inspect.signature(search).parameters) == ["query", "limit", "tags", "order"]
    assert repr(search).startswith("<tool search(query: str")


def test_the_prompt_shows_head_and_docstring():
    assert search.to_code_prompt() == (
        "def search(query: str, limit: int = 5, tags: list[str] | None = None, "
        "order: Literal['new', 'old'] = 'new') -> str:\n"
        '    """Searches the archive.\n'
        "\n"
        "    It knows the years since 1900.\n"
        "\n"
        "    Args:\n"
        "        query: What to look for, in plain words.\n"
        "        limit: How many hits: at most 50.\n"
        "        tags: Only hits with these tags.\n"
        "        order: Which ones first.\n"
        "\n"
        "    Returns:\n"
        "        One hit a line.\n"
        '    """'
    )
    compile(search.to_code_prompt(), "<prompt>", "exec")


def test_a_prompt_follows_a_changed_description():
    @tool
    def now() -> str:
        """Tells the time."""
        return "noon"

    now.description = "Tells the time in Zurich."
    assert now.to_code_prompt() == 'def now() -> str:\n    """Tells the time in Zurich.\n    """'


def test_threaded_is_a_flag_of_the_tool():
    @tool(threaded=True)
    def fetch(url: str) -> str:
        """Fetches a page.

        Args:
            url: Its address.
        """
        return url

    assert isinstance(fetch, FunctionTool)
    assert fetch.threaded and fetch("x") == "x"


def test_an_async_function_gives_its_awaitable():
    @tool
    async def later(x: int) -> int:
        """Waits.

        Args:
            x: A number.
        """
        await asyncio.sleep(0)
        return x + 1

    assert later.is_async and not search.is_async
    assert asyncio.run(later(x=1)) == 2


def test_a_tool_defined_where_no_source_file_is_works():
    cell = """
from smol_kernel.tools import tool

@tool
def double(x: int) -> int:
    '''Doubles.

    Args:
        x: It.
    '''
    return 2 * x
"""
    namespace: dict[str, Any] = {}
    exec(compile(cell, "<cell 7>", "exec"), namespace)
    assert namespace["double"](4) == 8


def test_a_closure_keeps_its_state():
    seen = []

    @tool
    def note(text: str) -> None:
        """Notes it.

        Args:
            text: What to note.
        """
        seen.append(text)

    note(text="a")
    assert seen == ["a"] and note.output_type == "null"


def describe(function):
    """Decorates as @tool would and gives the message of the refusal."""
    with pytest.raises(ToolError) as caught:
        tool(function)
    return str(caught.value)


def test_a_missing_type_hint_is_named_with_the_line_to_write():
    def f(x, y: int) -> str:
        """Does it.

        Args:
            x: one
            y: two
        """

    assert describe(f) == "tool 'f': parameter 'x' has no type hint. Write it in the signature: `x: str`"


def test_a_missing_return_type_is_named_with_the_line_to_write():
    def f(x: int, y: int):
        """Does it."""

    assert "tool 'f' has no return type. Write it in the signature: `def f(x, y) -> str:`" in describe(f)


@pytest.mark.parametrize("indent", ["", "    "])
def test_entries_that_are_not_indented_below_their_heading_are_read(indent):
    def where(city: str, days: int = 1) -> str:
        return city

    lines = ["Says it.", "", "Args:", "city: The city:", "    a long one.", "days (int): How far.", "Returns:", "Text."]
    where.__doc__ = "Says it.\n" + "".join(f"{indent}{line}\n" for line in lines[1:])
    inputs = tool(where).inputs
    assert [inputs[name]["description"] for name in ("city", "days")] == ["The city: a long one.", "How far."]
    where.__doc__ = "Says it.\n\nArgs:\n    city: The city.\n    days: How far.\n\ndays: are short in winter\n"
    assert tool(where).inputs["days"]["description"] == "How far."
    assert "days: are short in winter" in tool(where).description


@pytest.mark.parametrize("hint", [Literal["a", None], Literal["a"] | None, Union[Literal["a", None], int]])  # noqa: UP007
def test_a_parameter_without_a_default_may_take_none(hint):
    def choose(letter) -> str:
        """Chooses.

        Args:
            letter: Which.
        """
        return str(letter)

    choose.__annotations__["letter"] = hint
    made = tool(choose)
    assert made.inputs["letter"]["nullable"] is True
    assert (made(None), made(letter="a")) == ("None", "a")


def test_a_missing_docstring_is_shown_whole():
    def f(x: int) -> str: ...

    assert "has no docstring" in describe(f) and "    Args:\n        x: What it is." in describe(f)


def test_where_python_drops_docstrings_it_says_so(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "from smol_kernel.errors import ToolError\nfrom smol_kernel.tools.schema import read_function\n"
        'def price(item: str) -> float:\n    """Price.\n\n    Args:\n        item: Its name.\n    """\n'
        "try:\n    read_function(price)\nexcept ToolError as error:\n    print(error)\n"
    )
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.check_output([sys.executable, "-OO", program], env=path, text=True)
    assert "tool 'price' has no docstring" in said and "started with -OO or PYTHONOPTIMIZE=2" in said
    assert "Add below" not in said


def test_a_missing_description_is_named_with_the_line_to_add():
    def f(x: int) -> str:
        """Does it.

        Args:
            y: something
        """

    message = describe(f)
    assert "parameter 'x' is not described (its Args: describe 'y', which is no parameter)" in message
    assert message.endswith("    Args:\n        x: What it is.")


def test_what_a_model_cannot_be_told_of_is_refused():
    def many(*values: int) -> str:
        """Does it."""

    def options(**options: int) -> str:
        """Does it."""

    def positional(x: int, /) -> str:
        """Does it."""

    assert "tool 'many': *values cannot be described" in describe(many)
    assert "tool 'options': **options cannot be described" in describe(options)
    assert "Remove the '/'" in describe(positional)


def test_a_type_hint_that_is_not_defined_is_named():
    def f(x: DataFram) -> str:  # noqa: F821
        """Does it.

        Args:
            x: it
        """

    assert "names 'DataFram', which is not defined" in describe(f)


@pytest.mark.parametrize("name", ["input", "print", "get_ipython", "len", "range"])
def test_reserved_names_are_refused(name):
    def f() -> str:
        """Does it."""

    f.__name__ = name
    assert f"{name!r} cannot be the name of a tool" in describe(f)


def test_things_that_are_no_functions_are_refused():
    assert "@tool takes a function, not 5" in describe(5)
    assert "For a class, derive from Tool" in describe(type("Thing", (), {}))
    assert "'<lambda>' cannot be the name of a tool" in describe(lambda: 1)


# types


ARRAY_OF_INT = {"type": "array", "items": {"type": "integer"}}


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("values", "words"), [([], "not none at all"), ([1.5, "a"], "not 1.5, 'a'"), ([True], "not True"), ([None], "None")]
)
def test_an_enum_of_other_values_than_text_and_integers_is_refused(values, words):
    kind = enum.Enum("Kind", {f"M{place}": value for place, value in enumerate(values)})
    with pytest.raises(ToolError, match=f"^it is the Enum Kind, .* strings or integers, .*{re.escape(words)}$"):
        type_schema(kind, "it")


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None.__class__, {"type": "null"}),
        (Any, {"type": "any"}),
        (object, {"type": "any"}),
        (dict, {"type": "object"}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (dict[str, Any], {"type": "object"}),
        (dict[str, list[int]], {"type": "object", "additionalProperties": ARRAY_OF_INT}),
        (list[list[int]], {"type": "array", "items": ARRAY_OF_INT}),
        (list[int | None], {"type": "array", "items": {"type": ["integer", "null"]}}),
        (list[Any], {"type": "array"}),
        (set[int], ARRAY_OF_INT),
        (Annotated[int, "in metres"], {"type": "integer"}),
        (typing.NewType("Id", int), {"type": "integer"}),
        (list[int] | str, {"type": ["array", "string"], "anyOf": [ARRAY_OF_INT, {"type": "string"}]}),
        (Literal["a", 1], {"type": ["integer", "string"], "enum": ["a", 1]}),
        (Color, {"type": "string", "enum": ["red", "blue"]}),
        (enum.IntEnum("Level", "LOW HIGH"), {"type": "integer", "enum": [1, 2]}),
        (enum.Enum("Mixed", {"A": "a", "B": 1}), {"type": ["integer", "string"], "enum": ["a", 1]}),
        (Color | None, {"type": "string", "enum": ["red", "blue"], "nullable": True}),
        (list[Color], {"type": "array", "items": {"type": "string", "enum": ["red", "blue"]}}),
        (list, {"type": "array"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (typing.List[str], {"type": "array", "items": {"type": "string"}}),  # noqa: UP006
        (Sequence[float], {"type": "array", "items": {"type": "number"}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (tuple[int, str], {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}),
        (Optional[str], {"type": "string", "nullable": True}),  # noqa: UP045
        (str | None, {"type": "string", "nullable": True}),
        (Union[int, str], {"type": ["integer", "string"]}),  # noqa: UP007
        (int | float, {"type": "number"}),
        (int | Any, {"type": "any"}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal[1, None], {"type": "integer", "enum": [1], "nullable": True}),
        (threading.Event, {"type": "object"}),
    ],
)
def test_type_hints_become_schemas(hint, schema):
    assert type_schema(hint, "it") == schema


def test_tables_and_images_have_a_type():
    pandas, image = pytest.importorskip("pandas"), pytest.importorskip("PIL.Image")
    assert type_schema(pandas.DataFrame, "it") == {"type": "object"}
    assert type_schema(image.Image, "it") == {"type": "image"}


# Tool


class Weather(Tool):
    name = "weather"
    description = "Tells the weather."
    inputs = {  # noqa: RUF012
        "city": {"type": "string", "description": "Where."},
        "days": {"type": ["integer", "string"], "description": "How far.", "nullable": True},
    }
    output_type = "object"

    def __init__(self, key):
        self.key = key
        self.prepared = 0

    def setup(self):
        self.prepared += 1

    def forward(self, city: str, days: int | str | None = None):
        return {"city": city, "days": days, "key": self.key}


def test_a_tool_class_is_set_up_once_and_called():
    weather = Weather("secret")
    assert weather.prepared == 0
    assert weather("Bern", days=2) == weather(city="Bern", days=2) == {"city": "Bern", "days": 2, "key": "secret"}
    assert weather.prepared == 1


def test_a_tool_class_has_a_prompt_from_its_inputs():
    assert Weather("k").to_code_prompt() == (
        "def weather(city: str, days: int | str | None = None) -> dict:\n"
        '    """Tells the weather.\n'
        "\n"
        "    Args:\n"
        "        city: Where.\n"
        "        days: How far.\n"
        '    """'
    )


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"name": ""}, "attribute 'name' has to be a str, not ''"),
        ({"description": None}, "attribute 'description' has to be a str, not None"),
        ({"inputs": []}, "attribute 'inputs' has to be a dict"),
        ({"output_type": "text"}, "output_type 'text' is not one of string, boolean"),
        ({"name": "two words"}, "'two words' cannot be the name of a tool"),
        ({"name": "class"}, "'class' cannot be the name of a tool"),
        ({"name": "input"}, "it asks the person"),
        ({"inputs": {"city": {"type": "string"}}}, "input 'city' needs a type and a description"),
        ({"inputs": {"city": {"type": "str", "description": "x"}}}, "input 'city' has the type 'str'"),
        ({"inputs": {"a b": {"type": "string", "description": "x"}}}, "input 'a b' cannot be written"),
        ({"inputs": {}}, "forward() takes ['city', 'days'], but inputs describe []"),
    ],
)
def test_a_wrong_definition_is_refused_when_the_tool_is_built(attributes, message):
    with pytest.raises(ToolError, match=re.escape(message)):
        type("Broken", (Weather,), attributes)("key")


def test_attributes_set_in_init_are_checked_after_it():
    class Late(Tool):
        def __init__(self):
            self.name, self.description, self.output_type = "late", "Late.", "any"
            self.inputs = {}

        def forward(self):
            return 1

    assert Late()() == 1


def test_two_threads_set_a_tool_up_once():
    class Slow(Weather):
        def setup(self):
            super().setup()
            gate.wait()

    weather, gate = Slow("k"), threading.Event()
    threads = [threading.Thread(target=weather, args=("Bern",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert weather.prepared == 1


def test_the_default_tools(monkeypatch, capsys):
    assert FinalAnswerTool()(3) == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("42\n"))
    assert UserInputTool()(question="How old?") == "42"
    assert capsys.readouterr().out == "The agent asks. What you type goes to it:\n   | How old? "
