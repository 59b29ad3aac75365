"""Dataclasses, TypedDicts and pydantic models as parameters and results of `@tool`."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict

import pytest
from scripted_replies import call, code, final

import smol_kernel
from smol_kernel import CodeAgent, ScriptedModel, ToolCallingAgent
from smol_kernel.errors import ToolError, ToolTypeError
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.models.base import get_tool_json_schema
from smol_kernel.tools.base import tool, validate_tool_arguments
from smol_kernel.tools.hints import type_schema
from smol_kernel.tools.records import build, to_plain

pydantic = pytest.importorskip("pydantic")


@dataclass
class Place:
    """A point on the map."""

    lat: float
    lon: Annotated[float, "degrees east"]
    name: str | None = None
    tags: list[str] = field(default_factory=list)

    def __post_init__(self):
        if abs(self.lat) > 90:
            raise ValueError("lat is at most 90")


class Size(TypedDict, total=False):
    width: int
    place: Place


class Unit(enum.Enum):
    C = "celsius"


class Stop(pydantic.BaseModel):
    place: Place
    at: datetime.date
    nights: int = pydantic.Field(default=1, ge=1, description="how many")
    unit: Unit = Unit.C


class Trip(pydantic.BaseModel):
    stops: list[Stop]
    back: Trip | None = None


PLACE = {
    "type": "object",
    "description": "A point on the map.",
    "properties": {
        "lat": {"type": "number"},
        "lon": {"type": "number", "description": "degrees east"},
        "name": {"type": ["string", "null"], "default": None},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["lat", "lon"],
    "additionalProperties": False,
}
BERN = {"lat": 46.9, "lon": 7.4}


@tool
def visit(place: Place, others: list[Place] | None = None, by_name: dict[str, Place] | None = None) -> Place:
    """Visits it.

    Args:
        place: Where to.
        others: More of them.
        by_name: And more.
    """
    assert isinstance(place, Place)
    assert all(isinstance(each, Place) for each in [*(others or []), *(by_name or {}).values()])
    return place


@tool
def book(trip: Trip) -> list[Stop]:
    """Books it.

    Args:
        trip: All of it.
    """
    return trip.stops


def test_a_dataclass_is_described_by_its_fields():
    assert type_schema(Place, "it") == PLACE
    assert visit.inputs["place"] == {**PLACE, "description": "Where to."}
    assert visit.inputs["others"] == {
        "type": "array", "items": PLACE, "nullable": True, "description": "More of them."
    }  # fmt: skip
    assert (visit.output_type, visit.output_schema) == ("object", PLACE)


def test_a_typed_dict_is_described_by_its_keys():
    assert type_schema(Size, "it") == {"type": "object", "properties": {"width": {"type": "integer"}, "place": PLACE}}
    assert type_schema(NewType("Big", Size), "it")["properties"]["width"] == {"type": "integer"}


def test_a_pydantic_model_is_described_without_references():
    schema = type_schema(Trip, "it")
    stop = schema["properties"]["stops"]["items"]
    assert stop["properties"]["place"]["required"] == ["lat", "lon"]
    assert stop["properties"]["nights"] == {"type": "integer", "minimum": 1, "default": 1, "description": "how many"}
    assert stop["properties"]["unit"] == {"type": "string", "const": "celsius", "default": "celsius"} or stop[
        "properties"
    ]["unit"] == {"type": "string", "enum": ["celsius"], "default": "celsius"}
    assert schema["properties"]["back"] == {"anyOf": [{"type": "object"}, {"type": "null"}], "default": None}
    assert "$" not in json.dumps(schema)
    given = {**stop["properties"], "at": {"type": "object"}}  # a date goes to an action as one
    assert book.output_schema["items"] == {**stop, "properties": given}


def test_what_a_provider_gets_is_json_schema():
    parameters = get_tool_json_schema(visit)["function"]["parameters"]
    assert '"any"' not in json.dumps(parameters)
    assert parameters["required"] == ["place"]


def test_the_prompt_shows_the_shape():
    prompt = visit.to_code_prompt()
    assert prompt.startswith("def visit(place: dict, others: list[dict] | None = None")
    assert "-> dict:" in prompt
    assert '        place: Where to. JSON schema: {"type": "object", "properties": {"lat": {"type": "number"}' in prompt
    assert f"it has this JSON schema: {json.dumps(visit.output_schema)}" in prompt


def test_a_dict_becomes_the_record_and_a_record_stays():
    assert visit(BERN) == visit(place=BERN) == Place(46.9, 7.4)
    assert visit(Place(1, 2), [BERN, Place(3, 4)], {"a": BERN}) == Place(1, 2)
    (stop,) = book({"stops": [{"place": BERN, "at": "2026-01-02", "nights": 3}]})
    assert stop == Stop(place=Place(46.9, 7.4), at=datetime.date(2026, 1, 2), nights=3)


@pytest.mark.parametrize(
    ("called", "arguments", "problem"),
    [
        (visit, {"place": {"lat": 1}}, "needs the key 'lon' in 'place' (its keys: 'lat', 'lon', 'name', 'tags')"),
        (visit, {"place": {**BERN, "nam": "x"}}, "has no key 'nam' in 'place' (did you mean 'name'?)"),
        (visit, {"place": {"lat": "1", "lon": 2}}, "needs a number for \"place['lat']\", not the str '1'"),
        (visit, {"place": BERN, "others": [{"lat": 1}]}, "needs the key 'lon' in 'others[0]'"),
        (visit, {"place": BERN, "by_name": {"a": 1}}, "needs a dict or an object for \"by_name['a']\""),
        (visit, {"place": {**BERN, "name": 5}}, "needs a string or None for \"place['name']\", not the int 5"),
        (book, {"trip": {"stops": [{"place": BERN}]}}, "needs the key 'at' in \"trip['stops'][0]\""),
        (book, {"trip": {"stops": [], "back": 3}}, "needs a dict or an object or None for \"trip['back']\""),
    ],
)
def test_a_wrong_dict_is_refused_with_its_place(called, arguments, problem):
    with pytest.raises(ToolError) as caught:
        validate_tool_arguments(called, arguments)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: visit({"lat": 100, "lon": 0}), "visit() cannot take 'place': Place refuses it: lat is at most 90."),
        (lambda: visit("Bern"), "visit() cannot take 'place': it needs a dict with the fields of Place, not 'Bern'."),
        (lambda: visit(BERN, others=[3]), "visit() cannot take 'others[0]': it needs a dict"),
        (
            lambda: book({"stops": [{"place": BERN, "at": "never", "nights": 0}]}),
            "\"trip['stops'][0]['nights']\": Input should be greater than or equal to 1. Its signature: book(",
        ),
    ],
)
def test_what_a_record_itself_refuses_is_told(call, problem):
    with pytest.raises(ToolError) as caught:
        call()
    assert problem in str(caught.value)


def test_a_date_passes_for_a_text_with_a_format():
    validate_tool_arguments(book, {"trip": {"stops": [{"place": BERN, "at": datetime.date(2026, 1, 2)}]}})


def test_a_union_takes_the_record_that_fits():
    @tool
    def either(thing: Size | Place | str) -> Any:
        """Takes it.

        Args:
            thing: Any of them.
        """
        return thing

    assert either({"width": 1}) == {"width": 1}
    assert either("text") == "text"
    validate_tool_arguments(either, {"thing": "text"})
    with pytest.raises(ToolTypeError, match="needs a dict or an object or a string for 'thing', not the int 3"):
        validate_tool_arguments(either, {"thing": 3})


class Color(str, enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


@dataclass
class Pen:
    color: Color = Color.BLUE


@tool
def paint(
    color: Color,
    level: Level = Level.HIGH,
    more: list[Color] | None = None,
    pen: Pen | None = None,
    widths: dict[Color, int] | None = None,
    other: Color | str = "none",
) -> Color:
    """Paints.

    Args:
        color: In which color.
        level: How much.
        more: Other colors.
        pen: What with.
        widths: How broad.
        other: A color, or a name for one.
    """
    seen.append((color, level, more, pen, widths, other))
    return color


seen = []


def test_an_enum_is_shown_by_its_values():
    assert paint.inputs["color"] == {"type": "string", "enum": ["red", "blue"], "description": "In which color."}
    assert paint.inputs["level"] == {
        "type": "integer", "enum": [1, 2], "nullable": True, "default": 2, "description": "How much."
    }  # fmt: skip
    assert paint.inputs["pen"]["properties"]["color"]["default"] == "blue"
    assert (paint.output_type, paint.output_schema) == ("string", {"type": "string", "enum": ["red", "blue"]})
    parameters = get_tool_json_schema(paint)["function"]["parameters"]
    assert parameters["properties"]["color"]["enum"] == ["red", "blue"]
    json.dumps(parameters)
    prompt = paint.to_code_prompt()
    assert prompt.startswith("def paint(color: Literal['red', 'blue'], level: Literal[1, 2] = 2, ")
    assert "more: list[Literal['red', 'blue']] | None = None" in prompt
    assert '"enum": ["red", "blue"]' in paint.to_tool_calling_prompt()


def test_a_value_becomes_the_member_and_a_member_stays():
    paint("red")
    assert seen.pop() == (Color.RED, Level.HIGH, None, None, None, "none")
    arguments = {"level": 1, "more": ["red"], "pen": {"color": "red"}, "widths": {"blue": 3}, "other": "red"}
    validate_tool_arguments(paint, {"color": "blue", **arguments})
    paint("blue", **arguments)
    made = seen.pop()
    assert made == (Color.BLUE, Level.LOW, [Color.RED], Pen(Color.RED), {Color.BLUE: 3}, Color.RED)
    assert all(isinstance(each, Color) for each in (made[0], *made[2], made[3].color, *made[4], made[5]))
    assert paint(Color.RED, Level.LOW, other="green") is Color.RED
    assert seen.pop() == (Color.RED, Level.LOW, None, None, None, "green")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            {"color": "green"},
            "needs one of 'red', 'blue' for 'color', not 'green'. Its signature: paint(color: ",
        ),
        ({"color": 1}, "needs a string for 'color', not the int 1"),
        ({"color": "red", "level": 3}, "needs one of 1, 2 for 'level', not 3"),
        ({"color": "red", "more": ["red", "RED"]}, "needs one of 'red', 'blue' for 'more[1]', not 'RED'"),
        ({"color": "red", "pen": {"color": "x"}}, "needs one of 'red', 'blue' for \"pen['color']\", not 'x'"),
    ],
)
def test_a_value_of_no_member_is_refused_with_those_there_are(arguments, problem):
    with pytest.raises(ToolError) as caught:
        validate_tool_arguments(paint, arguments)
    assert problem in str(caught.value)


def test_a_function_called_by_its_own_program_gets_no_wrong_member_either():
    with pytest.raises(ToolError, match="cannot take 'color': it needs one of 'red', 'blue', not 'green'"):
        paint("green")


def test_a_set_of_values_becomes_one_of_members():
    @tool
    def mix(colors: set[Color]) -> Any:
        """Mixes.

        Args:
            colors: All of them.
        """
        return colors

    (mixed,) = mix({"red"})
    assert mixed is Color.RED


def test_results_cross_as_plain_data():
    stop = Stop(place=Place(1, 2), at=datetime.date(2026, 1, 2))
    place = {"lat": 1, "lon": 2, "name": None, "tags": []}
    plain = {"place": place, "at": datetime.date(2026, 1, 2), "nights": 1, "unit": "celsius"}
    assert to_plain(stop) == plain
    assert to_plain({"a": [stop, 1], "b": (Unit.C,)}) == {"a": [plain, 1], "b": ("celsius",)}
    same = {"a": [1, 2], "b": object()}
    assert to_plain(same) is same and to_plain(Place) is Place


def test_pydantic_is_not_loaded_by_us():
    code = f"""
import sys; sys.path.insert(0, {str(Path(smol_kernel.__file__).parent.parent)!r})
from dataclasses import dataclass
from smol_kernel.tools.base import tool
from smol_kernel.tools.records import build, to_plain
@dataclass
class P:
    x: int
@tool
def f(p: P) -> P:
    '''Does.

    Args:
        p: it
    '''
    return p
print(to_plain(f({{"x": 1}})), sorted({{"pydantic", "numpy", "PIL"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "{'x': 1} []\n"


class Day(TypedDict):
    on: datetime.date


WRITTEN = [
    (datetime.date, "2024-02-29", datetime.date(2024, 2, 29)),
    (datetime.datetime, "2024-02-29T08:30:00Z", datetime.datetime(2024, 2, 29, 8, 30, tzinfo=datetime.timezone.utc)),
    (datetime.datetime, "2024-02-29", datetime.datetime(2024, 2, 29)),
    (datetime.time, "08:30", datetime.time(8, 30)),
    (Path, "a/b.csv", Path("a/b.csv")),
    (decimal.Decimal, "19.90", decimal.Decimal("19.90")),
    (decimal.Decimal, 0.1, decimal.Decimal("0.1")),
    (uuid.UUID, "12345678123456781234567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    (datetime.date | None, "2024-02-29", datetime.date(2024, 2, 29)),
    (datetime.date | None, None, None),
    (list[datetime.date], ["2024-02-29"], [datetime.date(2024, 2, 29)]),
    (dict[str, Path], {"a": "b"}, {"a": Path("b")}),
    (Day, {"on": "2024-02-29"}, {"on": datetime.date(2024, 2, 29)}),
    (str | Path, "a/b.csv", "a/b.csv"),
    (str | Path, Path("a"), Path("a")),
    (datetime.date | int, 7, 7),
]


@pytest.mark.parametrize(("hint", "given", "taken"), WRITTEN)
def test_text_stands_for_what_json_cannot_write(hint, given, taken):
    def same(value):
        """Gives it back.

        Args:
            value: any
        """
        return value

    same.__annotations__.update({"value": hint, "return": Any})
    same = tool(same)
    for each in (given, taken):  # an action that is code may pass the value itself
        validate_tool_arguments(same, {"value": each})
        assert same(value=each) == taken and type(same(each)) is type(taken)


def test_a_date_is_described_by_its_format_and_as_a_result_is_one():
    @tool
    def later(day: datetime.date, days: int = 1, until: datetime.date = datetime.date(2030, 1, 1)) -> datetime.date:
        """A later day.

        Args:
            day: from here
            days: so much
            until: at most
        """
        return min(day + datetime.timedelta(days), until)

    assert later.inputs["day"] == {"type": "string", "format": "date", "description": "from here"}
    assert later.output_type == "object" and "day: date" in later.signature
    assert later("2024-02-29", until=None) == datetime.date(2024, 3, 1)
    with pytest.raises(
        ToolError, match=r"later\(\) cannot take 'day': it needs a date such as '2026-01-31', not 'soon'"
    ):
        later("soon")
    with pytest.raises(ToolTypeError, match="needs a string for 'day', not the int 3"):
        validate_tool_arguments(later, {"day": 3})


@pytest.mark.parametrize(
    ("hint", "given", "taken"),
    [
        (decimal.Decimal | None, 1.5, decimal.Decimal("1.5")),
        (int | decimal.Decimal, 3, 3),
        (int | decimal.Decimal, 1.5, decimal.Decimal("1.5")),
    ],
)
def test_a_decimal_in_a_union_is_one(hint, given, taken):
    built = build(hint, given, "price")
    assert built == taken and type(built) is type(taken)


def test_a_record_that_is_given_back_says_what_its_dates_are():
    @dataclass
    class Order:
        day: datetime.date
        price: decimal.Decimal
        name: str

    def order() -> Order:
        """An order."""

    order.__annotations__["return"] = Order
    assert {name: each["type"] for name, each in tool(order).output_schema["properties"].items()} == {
        "day": "object",
        "price": "object",
        "name": "string",
    }


def test_a_type_beside_shapes_without_one_holds():
    @tool
    def either(value: Any) -> None:
        """Takes it.

        Args:
            value: any
        """

    either.inputs["value"] = {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    with pytest.raises(ToolTypeError, match="needs a dict or an object for 'value', not the int 5"):
        validate_tool_arguments(either, {"value": 5})


class Point(NamedTuple):
    x: int
    y: Annotated[int, "to the north"] = 0


class Route(NamedTuple):
    name: str
    stops: list[Point]
    color: Color | None = None
    onward: Route | None = None


@dataclass
class Pin:
    at: Point
    paths: dict[str, Point] = field(default_factory=dict)


@tool
def move(to: Point, over: list[Point] | None = None, route: Route | None = None, other: Point | str = "no") -> Point:
    """Moves.

    Args:
        to: Where to.
        over: On the way.
        route: Or this.
        other: A point, or its name.
    """
    moved.append((to, over, route, other))
    return to


@tool
def pin(at: Pin, start: Point = Point(1, 2)) -> Pin:  # noqa: B008
    """Pins.

    Args:
        at: Where.
        start: From where.
    """
    moved.append((at, start))
    return at


moved = []
POINT = {
    "type": "array",
    "prefixItems": [
        {"type": "integer", "description": "x"},
        {"type": "integer", "description": "y: to the north", "default": 0},
    ],
    "minItems": 1,
}


def test_a_named_tuple_is_shown_as_a_list_with_the_names_of_its_items():
    assert move.inputs["to"] == {**POINT, "description": "Where to."}
    assert pin.inputs["at"]["properties"]["at"] == POINT
    assert (move.output_type, move.output_schema) == ("array", POINT)
    prompt = move.to_code_prompt()
    assert prompt.startswith("def move(to: tuple, over: list[tuple] | None = None, route: tuple | None = None, ")
    assert f"to: Where to. JSON schema: {json.dumps(POINT)}" in prompt
    assert "start: tuple = (1, 2)" in pin.to_code_prompt()
    for each in (move, pin):
        json.dumps(get_tool_json_schema(each))
    plain = collections.namedtuple("plain", "a b")
    assert type_schema(plain, "it") == {"type": "array", "prefixItems": [{"description": "a"}, {"description": "b"}]}


@pytest.mark.parametrize("point", [(1, 2), [1, 2], Point(1, 2)])
def test_a_list_becomes_the_named_tuple(point):
    moved.clear()
    given = {"to": point, "over": [point], "route": ["r", [point], "red", ["s", []]], "other": point}
    validate_tool_arguments(move, given)
    assert move(**given) == Point(1, 2)
    one = Point(1, 2)
    assert moved == [(one, [one], Route("r", [one], Color.RED, Route("s", [])), one)]
    assert all(type(each) is Point for each in (moved[0][0], moved[0][1][0], moved[0][2].stops[0], moved[0][3]))
    assert move([3], other="text") == Point(3)
    assert pin({"at": point, "paths": {"a": point}}) == Pin(one, {"a": one})
    assert moved[-1][1] == one


@pytest.mark.parametrize(
    ("given", "checked", "said"),
    [
        ([1, 2, 3], "needs 1 to 2 items in 'to', not 3", "'to': Point refuses it: "),
        ([], "needs 1 to 2 items in 'to', not 0", "'to': Point refuses it: "),
        ({"x": 1}, "needs a list for 'to', not the dict {'x': 1}", "'to': it needs a list with x, y of Point, not "),
        (["1", 2], "needs an integer for 'to[0]', not the str '1'", None),
    ],
)
def test_a_list_that_is_no_such_tuple_is_refused(given, checked, said):
    with pytest.raises(ToolError, match=re.escape(checked)):
        validate_tool_arguments(move, {"to": given})
    if said:
        with pytest.raises(ToolError, match=re.escape(said)):
            move(given)


def test_named_tuples_cross_and_come_back():
    assert to_plain(Route("r", [Point(1)], Color.RED)) == ("r", [(1, 0)], "red", None)
    assert type(to_plain(Point(1, 2))) is tuple
    agent = CodeAgent(
        [move, pin],
        ScriptedModel([code("p = move((1, 2))\nq = pin(at={'at': p})\nfinal_answer((p, move(p), move(q['at']), q))")]),
        verbosity_level=LogLevel.OFF,
        journal=False,
    )
    with agent:
        assert agent.run("move") == ((1, 2), (1, 2), (1, 2), {"at": (1, 2), "paths": {}})
    agent = ToolCallingAgent(
        [move], ScriptedModel([call("move", to=[5, 6]), final("ok")]), verbosity_level=LogLevel.OFF, journal=False
    )
    assert agent.run("move") == "ok"
    assert moved[-1][0] == Point(5, 6) and moved[-1][0].y == 6


def test_none_stands_for_a_default_that_is_a_record():
    moved.clear()
    pin({"at": (3, 4)}, start=None)
    seen.clear()
    paint("red", level=None, other=None)
    assert (moved[0][1], seen[0][1], seen[0][5]) == (Point(1, 2), Level.HIGH, "none")


@dataclass
class Brush:
    kind: Literal[Color.RED, "none"] = "none"


@tool
def choose(
    color: Literal[Color.RED, Color.BLUE, None],
    mixed: Literal[Level.LOW, "none", 7] | float = "none",
    brush: Brush | None = None,
) -> Literal[Color.RED, Color.BLUE, None]:
    """Chooses.

    Args:
        color: A color.
        mixed: How much.
        brush: What with.
    """
    seen.append((color, mixed, brush))
    return color


def test_members_of_an_enum_as_choices_are_shown_by_their_values():
    assert choose.inputs["color"] == {
        "type": "string", "enum": ["red", "blue"], "nullable": True, "description": "A color."
    }  # fmt: skip
    assert choose.inputs["brush"]["properties"]["kind"]["enum"] == ["red", "none"]
    assert "color: Literal['red', 'blue', None], mixed: Literal[1, 'none', 7] | float" in choose.to_code_prompt()
    json.dumps(get_tool_json_schema(choose))
    with pytest.raises(ToolError, match=r"^it is the Enum Odd, .* strings or integers, not 1\.5$"):
        type_schema(Literal[enum.Enum("Odd", {"A": 1.5}).A], "it")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (("red",), (Color.RED, "none", None)),
        ((Color.BLUE, 1), (Color.BLUE, Level.LOW, None)),
        ((None, 7, {"kind": "red"}), (None, 7, Brush(Color.RED))),
        (("red", 0.5, {"kind": "none"}), (Color.RED, 0.5, Brush("none"))),
    ],
)
def test_a_value_among_choices_becomes_the_member(given, taken):
    seen.clear()
    validate_tool_arguments(choose, dict(zip(choose.inputs, map(to_plain, given), strict=False)))
    assert choose(*given) is taken[0]
    assert seen == [taken]
    assert type(seen[0][0]) is type(taken[0])
    with pytest.raises(ToolError, match="needs one of 'red', 'blue'"):
        choose("green")
