"""Tool as programs for smolagents use it: ways to call it, what its definition has to say, changes under a run."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import pickle
import re
from typing import Annotated, Any, Optional

import numpy as np
import pytest

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.errors import AgentExecutionError, ToolError
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.memory.rich_values import AgentText
from smol_kernel.tools.base import Tool, bind_arguments, tool, validate_tool_arguments
from smol_kernel.tools.collection import ToolCollection


class Weather(Tool):
    name = "weather"
    description = "Tells the weather."
    inputs = {  # noqa: RUF012
        "city": {"type": "string", "description": "Where."},
        "days": {"type": "integer", "description": "How far.", "nullable": True},
    }
    output_type = "string"

    def setup(self):
        self.prepared = getattr(self, "prepared", 0) + 1
        super().setup()

    def forward(self, city: str, days: Optional[int] = None) -> str:  # noqa: UP045
        return f"{type(city).__name__} {city} {days}"


@tool
def search(query: str, limit: int = 5, order: Optional[str] = None) -> str:  # noqa: UP045
    """Searches.

    Args:
        query: What for (choices: ["a", "b"])
        limit: How many.
        order: Which way.
    """
    return f"{query} {limit} {order}"


# calls


@pytest.mark.parametrize("call", [lambda t: t("Bern", 2), lambda t: t({"city": "Bern", "days": 2}), lambda t: t(
    city="Bern", days=2
)])  # fmt: skip
def test_one_dict_of_inputs_stands_for_keyword_arguments(call):
    assert call(Weather()) == "str Bern 2"
    assert search({"query": "a"}) == "a 5 None"


def test_a_dict_with_other_keys_is_an_argument():
    assert Weather()({"city": "Bern", "zip": 1}) == "dict {'city': 'Bern', 'zip': 1} None"
    assert Weather()({}) == "dict {} None"


def test_a_call_from_a_child_is_read_the_same_way():
    assert bind_arguments(search, [{"query": "a", "limit": 3}], {}) == {"query": "a", "limit": 3}
    assert bind_arguments(search, [{"other": 1}], {}) == {"query": {"other": 1}}


def test_inputs_and_outputs_are_sanitized_if_asked():
    weather = Weather()
    assert weather(AgentText("Bern")) == "AgentText Bern None"
    result = weather(AgentText("Bern"), sanitize_inputs_outputs=True)
    assert result == "str Bern None" and type(result) is AgentText


def test_what_an_async_tool_gives_is_sanitized_too():
    @tool
    async def later(text: str) -> str:
        """Waits.

        Args:
            text: It.
        """
        return text

    assert type(asyncio.run(later(AgentText("a"), sanitize_inputs_outputs=True))) is AgentText
    assert type(asyncio.run(later("a"))) is str


def test_none_for_a_default_of_another_type_means_left_out():
    assert search("a", None) == search(query="a", limit=None) == search("a", limit=None, order=None) == "a 5 None"
    validate_tool_arguments(search, {"query": "a", "limit": None, "order": None})


def test_setup_by_hand_is_not_repeated():
    weather = Weather()
    weather.setup()
    assert weather.is_initialized and weather("Bern") and weather.prepared == 1


def test_a_copied_tool_works():
    assert copy.deepcopy(Weather())("Bern") == copy.copy(Weather())("Bern") == "str Bern None"
    assert pickle.loads(pickle.dumps(Weather()))("Bern") == "str Bern None"
    assert copy.deepcopy(search)("a") == "a 5 None"


# descriptions


def test_choices_in_the_docstring_are_an_enum():
    assert search.inputs["query"] == {"type": "string", "enum": ["a", "b"], "description": "What for"}

    @tool
    def several(names: list[str], one: str) -> None:
        """Does.

        Args:
            names: These (choices: ["x"])
            one: This (choices: up, down)
        """

    assert several.inputs["names"]["items"] == {"type": "string", "enum": ["x"]}
    assert several.inputs["one"]["enum"] == ["up", "down"]


def test_a_note_on_the_hint_is_a_description():
    @tool
    def far(distance: Annotated[float, "in metres"]) -> None:
        """Goes."""

    assert far.inputs == {"distance": {"type": "number", "description": "in metres"}}
    assert far.signature == "far(distance: float) -> None"


def test_a_default_may_be_what_json_cannot_say():
    ones = np.ones(2)

    @tool
    def near(limit: float = float("inf"), weights: Any = ones) -> float:
        """Tells what is near.

        Args:
            limit: How far.
            weights: By what.
        """
        return limit * weights.sum()

    assert near() == float("inf") and near(limit=2.0) == 4.0
    json.dumps(near.inputs, allow_nan=False)
    assert near.signature.startswith("near(limit: float = inf, weights: Any = array([1., 1.]))")


def test_the_prompt_for_structured_calls():
    assert search.to_tool_calling_prompt().splitlines()[0] == "search: Searches."
    assert '"enum": ["a", "b"]' in search.to_tool_calling_prompt()
    assert search.to_tool_calling_prompt().endswith("Output: string")


def test_an_output_schema_is_shown():
    class Shaped(Weather):
        output_type = "object"
        output_schema = {"type": "object", "properties": {"degrees": {"type": "number"}}}  # noqa: RUF012

    shown = '{"type": "object", "properties": {"degrees": {"type": "number"}}}'
    prompt = Shaped().to_code_prompt()
    assert shown in prompt and "Returns:\n        " in prompt
    assert shown in Shaped().to_tool_calling_prompt()
    compile(prompt, "<prompt>", "exec")


# definitions


def broken(message: str, **attributes: Any) -> None:
    with pytest.raises(ToolError) as caught:
        type("Broken", (Weather,), attributes)()
    assert message in str(caught.value)


def test_what_may_be_left_out_is_said_in_both_places():
    city = {"type": "string", "description": "Where."}
    days = {"type": "integer", "description": "How far."}
    broken("'days' has a default in forward(), but inputs do not say so", inputs={"city": city, "days": days})
    broken(
        "inputs say that 'city' may be left out, but forward() does not",
        inputs={"city": {**city, "nullable": True}, "days": {**days, "nullable": True}},
    )

    def forward(self, city: str | None):
        return city

    broken("'city' may be None in forward()", inputs={"city": city}, forward=forward)


def test_a_tool_has_to_say_what_it_does():
    class Nothing(Tool):
        name, description, output_type = "nothing", "Does nothing.", "null"
        inputs = {"a": {"type": "any", "description": "It."}}  # noqa: RUF012

    with pytest.raises(ToolError, match=re.escape("`def forward(self, a): ...`")):
        Nothing()


def test_wrong_kinds_are_type_errors_too():
    with pytest.raises(TypeError):
        type("Broken", (Weather,), {"inputs": []})()
    with pytest.raises(TypeError, match="output_schema has to be a dict"):
        type("Broken", (Weather,), {"output_schema": "x"})()


def test_the_check_of_forward_can_be_left_out():
    class Loose(Weather):
        skip_forward_signature_validation = True

        def forward(self, anything):
            return anything

    assert Loose()("x") == "x"


def test_a_constructor_may_pass_anything_on():
    class Passing(Weather):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    assert Passing(1, key=2)("Bern") == "str Bern None"


# methods and decorated functions


class Shop:
    def __init__(self, stock):
        self.stock = stock

    def count(self, thing: str) -> int:
        """Counts.

        Args:
            thing: What.
        """
        return self.stock[thing]

    @tool
    @staticmethod
    def hello() -> str:
        """Greets."""
        return "hello"

    @staticmethod
    @tool
    def bye() -> str:
        """Greets."""
        return "bye"

    @classmethod
    def kind(cls) -> str:
        """Says what it is."""
        return cls.__name__


def test_a_method_of_an_object_becomes_a_tool():
    count = tool(Shop({"pear": 3}).count)
    assert count("pear") == 3 and list(count.inputs) == ["thing"]
    assert tool(Shop.kind)() == "Shop"


def test_static_methods_are_tools_in_either_order():
    assert Shop.hello() == "hello" and Shop.bye() == "bye"
    assert isinstance(Shop.hello, Tool) and isinstance(Shop.bye, Tool)


def test_a_method_without_its_object_is_refused():
    with pytest.raises(
        ToolError, match=re.escape("Shop.count(), which needs an object. Make the tool from the object")
    ):
        tool(Shop.count)
    with pytest.raises(ToolError, match="cannot stand above @classmethod"):
        tool(vars(Shop)["kind"])


def test_a_decorated_function_keeps_its_schema():
    def twice(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs) * 2

        return wrapper

    @tool
    @twice
    def echo(text: str) -> str:
        """Echoes.

        Args:
            text: It.
        """
        return text

    assert echo("a") == "aa" and list(echo.inputs) == ["text"]


# changed under a run


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"inputs": None}, "its `inputs` were changed to None"),
        ({"inputs": {"city": "where"}}, None),
        ({"inputs": {"city": {}}}, None),
        ({"inputs": {"town": {"type": "string", "description": "x"}}}, "has no argument 'city'. Its signature: "),
        ({"inputs": {"city": {"type": "strange"}}}, None),
        ({"output_type": "strange"}, None),
        ({"name": 3}, None),
    ],
)
@pytest.mark.parametrize("make", [Weather, lambda: copy.copy(forecast)])
def test_a_changed_tool_does_not_crash_the_check(make, changes, problem):
    changed = make()
    for name, value in changes.items():
        setattr(changed, name, value)
    with pytest.raises(ToolError):  # each refusal writes the signature
        validate_tool_arguments(changed, {"nonsense": 1})
    if problem is None:
        validate_tool_arguments(changed, {"city": "Bern"})
        return
    with pytest.raises(ToolError) as caught:
        validate_tool_arguments(changed, {"city": "Bern"})
    assert problem in str(caught.value)


@tool
def forecast(city: str) -> str:
    """Tells it.

    Args:
        city: Where.
    """
    return city


@pytest.mark.parametrize(
    ("owner", "name", "instead"),
    [
        *[(Tool, name, "save() writes a file") for name in ("from_hub", "push_to_hub")],
        *[(Tool, name, "call gradio_client in a @tool") for name in ("from_space", "from_gradio")],
        (Tool, "from_langchain", "call the tool's invoke()"),
        (ToolCollection, "from_hub", "load them with Tool.from_code()"),
        *[(CodeAgent, name, "save() writes files to upload") for name in ("from_hub", "push_to_hub")],
    ],
)
def test_a_method_of_smolagents_that_is_not_here_says_what_to_do_instead(owner, name, instead):
    assert not hasattr(owner, name)
    with pytest.raises(AttributeError, match=f"{owner.__name__}: .*{name}.* not built: .*{re.escape(instead)}"):
        getattr(owner, name)


def test_a_call_reaches_a_tool_as_it_was_written_where_the_order_is_its_own():
    """A decorator that takes positional arguments alone, and parameters that are given by name alone."""

    def memo(function):
        @functools.wraps(function)
        def inner(*args):
            return function(*args)

        return inner

    @tool
    @memo
    def square(x: int) -> int:
        """Squares.

        Args:
            x: a number
        """
        return x * x

    @tool
    def listed(a: int, b: int = 1, *, c: int) -> list:
        """Lists them.

        Args:
            a: one
            b: two
            c: three
        """
        return [a, b, c]

    assert listed.signature == "listed(a: int, b: int = 1, *, c: int) -> list"
    executor = KernelExecutor()
    executor.send_tools({"square": square, "listed": listed})
    assert executor("square(3), listed(1, 2, c=3), listed(1, c=2)").output == (9, [1, 2, 3], [1, 1, 2])
    with pytest.raises(AgentExecutionError, match="needs the argument 'c'"):
        executor("listed(1, 2)")
    executor.cleanup()
