"""The check of a tool call's arguments: what passes, and what the refusals say."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from smol_kernel.errors import ToolError
from smol_kernel.tools.base import bind_arguments, tool, validate_tool_arguments


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


class RemoteValue:
    """Stands for the class of that name, which lives above the tools."""

    def __repr__(self):
        return "RemoteValue(socket)"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"qury": "a"}, "search() has no argument 'qury' (did you mean 'query'?). Its signature: search(query: str"),
        ({"zzz": 1}, "search() has no argument 'zzz'. Its"),
        ({}, "search() needs the argument 'query'"),
        ({"query": 7}, "search() needs a string for 'query', not the int 7"),
        ({"query": None}, "search() needs a string for 'query', not the NoneType None"),
        ({"query": "a", "limit": "5"}, "search() needs an integer for 'limit', not the str '5'"),
        ({"query": "a", "limit": 5.0}, "search() needs an integer for 'limit', not the float 5.0"),
        ({"query": "a", "limit": True}, "search() needs an integer for 'limit', not the bool True"),
        ({"query": "a", "tags": "x"}, "search() needs a list for 'tags', not the str 'x'"),
        ({"query": "a", "tags": ["x", 1]}, "search() needs a string for 'tags[1]', not the int 1"),
        ({"query": "a", "order": "up"}, "search() needs one of 'new', 'old' for 'order', not 'up'"),
        ({"query": RemoteValue()}, "cannot take 'query': RemoteValue(socket) stayed in the child"),
    ],
)
def test_wrong_arguments_are_refused_with_the_signature(arguments, problem):
    with pytest.raises(ToolError) as caught:
        validate_tool_arguments(search, arguments)
    assert problem in str(caught.value)
    assert "Its signature: search(query: str, limit: int = 5" in str(caught.value)


def test_a_long_value_is_shortened_in_the_message():
    with pytest.raises(ToolError) as caught:
        validate_tool_arguments(search, {"query": ["x" * 1000] * 1000})
    assert len(str(caught.value)) < 700


def test_right_arguments_pass():
    validate_tool_arguments(search, {"query": "a"})
    validate_tool_arguments(search, {"query": "a", "limit": 3, "tags": ["x"], "order": "old"})
    validate_tool_arguments(search, {"query": "a", "tags": None})


@tool
def measure(value: float, table: dict, rows: list, anything: Any = None) -> float:
    """Measures.

    Args:
        value: a
        table: b
        rows: c
        anything: d
    """
    return value


@pytest.mark.parametrize("value", [1, 1.5])
def test_an_int_passes_for_a_number(value):
    validate_tool_arguments(measure, {"value": value, "table": {}, "rows": []})


def test_a_bool_is_no_number():
    with pytest.raises(ToolError, match="needs a number for 'value', not the bool True"):
        validate_tool_arguments(measure, {"value": True, "table": {}, "rows": []})


def test_numpy_scalars_tables_and_arrays_pass():
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [1]})
    arguments = {"value": numpy.float32(1), "table": table, "rows": numpy.array([1]), "anything": table}
    validate_tool_arguments(measure, arguments)
    validate_tool_arguments(search, {"query": "a", "limit": numpy.int64(3)})


@pytest.mark.parametrize("value", ["df", 1, None, [1], True])
def test_an_object_is_no_plain_scalar(value):
    with pytest.raises(ToolError, match="needs a dict or an object for 'table'"):
        validate_tool_arguments(measure, {"value": 1, "table": value, "rows": []})


def test_a_nullable_parameter_without_default_still_has_to_be_given():
    @tool
    def f(x: int | None) -> str:
        """Does it.

        Args:
            x: it
        """
        return str(x)

    validate_tool_arguments(f, {"x": None})
    with pytest.raises(ToolError, match="needs the argument 'x'"):
        validate_tool_arguments(f, {})


def test_positional_arguments_are_bound_by_name():
    assert bind_arguments(search, ["a", 3], {"order": "old"}) == {"query": "a", "limit": 3, "order": "old"}
    with pytest.raises(ToolError, match="takes 4 arguments, but 5 were given"):
        bind_arguments(search, [1, 2, 3, 4, 5], {})
    with pytest.raises(ToolError, match="got 'query' twice"):
        bind_arguments(search, ["a"], {"query": "b"})


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"query": 7}, TypeError),
        ({"query": "a", "limit": "5"}, TypeError),
        ({"query": "a", "tags": ["x", 1]}, TypeError),
        (7, TypeError),
        ({"zzz": 1}, ValueError),
        ({}, ValueError),
    ],
)
def test_a_wrong_type_is_a_type_error_and_any_refusal_a_value_error(arguments, kind):
    with pytest.raises(kind) as caught:
        validate_tool_arguments(search, arguments)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError) == (kind is TypeError)


def test_a_single_value_stands_for_the_first_input():
    validate_tool_arguments(search, "a")
    validate_tool_arguments(convert, 3)
    with pytest.raises(ToolError, match="needs a number for 'value', not the str 'x'"):
        validate_tool_arguments(convert, "x")
    with pytest.raises(ToolError, match="needs the argument 'table'"):
        validate_tool_arguments(measure, 3)


@tool
def convert(value: float, pair: tuple[int, str] = (1, "m"), names: dict[str, list[int]] | None = None) -> float:
    """Converts.

    Args:
        value: a
        pair: b
        names: c
    """
    return value


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"pair": (1, 2)}, "needs a string for 'pair[1]', not the int 2"),
        ({"pair": [1]}, "needs 2 items in 'pair', not 1"),
        ({"names": {"a": [1, "x"]}}, "needs an integer for \"names['a'][1]\", not the str 'x'"),
        ({"names": [1]}, "needs a dict or an object for 'names', not the list [1]"),
    ],
)
def test_parts_are_checked_and_named_by_their_place(arguments, problem):
    with pytest.raises(ToolError) as caught:
        validate_tool_arguments(convert, {"value": 1, **arguments})
    assert problem in str(caught.value)


def test_an_unhashable_value_is_no_choice():
    with pytest.raises(ToolError, match="needs one of 'new', 'old' for 'order'"):
        validate_tool_arguments(search, {"query": "a", "order": "other"})
    with pytest.raises(ToolError, match="needs a string for 'order'"):
        validate_tool_arguments(search, {"query": "a", "order": ["new"]})
