"""What an action has of dataclasses, pydantic models and Enum members goes to tools, to agents and into the answer."""

from __future__ import annotations

import collections.abc
import datetime
import enum
import sqlite3
from dataclasses import dataclass, field, replace

import pandas as pd
import pyarrow as pa
import pydantic
import pytest
from scripted_replies import code

from smol_kernel import tool
from smol_kernel.config import RunOptions
from smol_kernel.executors.fields import fields
from smol_kernel.executors.values import NotPortable, RemoteValue, decode, encode
from smol_kernel.journal import Journal
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.check_cell import with_check
from smol_kernel.runs.prove import Prover
from smol_magic.proving import CellProof
from smol_magic.session import Session


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


@dataclass
class Order:
    what: str
    price: float = 1.0
    unit: Unit = Unit.C
    label: str = field(init=False, default="")

    def __post_init__(self):
        self.label = f"{self.what} for {self.price}"


class Stop(pydantic.BaseModel):
    at: datetime.date
    unit: Unit = Unit.C
    next: Stop | None = None


@tool
def take(order: Order, more: list[Order] | None = None, by_name: dict[str, Order] | None = None) -> str:
    """Takes it.

    Args:
        order: What.
        more: More of it.
        by_name: And more.
    """
    return " ".join(f"{each.label} in {each.unit.name}" for each in [order, *(more or []), *(by_name or {}).values()])


@tool
def visit(stop: Stop) -> str:
    """Goes there.

    Args:
        stop: Where.
    """
    assert isinstance(stop, Stop)
    return f"{stop.at} {stop.unit} {stop.next}"


@tool
def see(anything: object) -> str:
    """Tells what it is.

    Args:
        anything: It.
    """
    return repr(anything)


DEFINED = """
import collections, dataclasses, datetime, enum, typing
from dataclasses import dataclass, field

class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"

@dataclass
class Order:
    what: str
    price: float = 1.0
    unit: Unit = Unit.C
    label: str = field(init=False, default="")

    def __post_init__(self):
        self.label = f"{self.what} for {self.price}"

@dataclass(frozen=True)
class P:
    x: typing.Any = 5
    _: dataclasses.KW_ONLY
    y: typing.Any = None

    def moved(self):
        return P(self.x + 1)
"""
MODELS = (
    DEFINED
    + """
import pydantic

class Stop(pydantic.BaseModel):
    at: datetime.date
    unit: Unit = Unit.C
    next: typing.Any = None

class Aliased(pydantic.BaseModel):
    inner: int = pydantic.Field(alias="in")
"""
)


@pytest.fixture
def answer_of(make):
    """The answer of one action; the agent stands at its `agent`."""

    def answer_of(action, tools=(take, visit, see), **options):
        answer_of.agent = make([code(action)] * 2, tools=tools, max_steps=1, **options)
        return answer_of.agent.run("work")

    return answer_of


@pytest.mark.parametrize(
    ("call", "gives"),
    [
        ("take(Order('tea'))", "tea for 1.0 in C"),
        ("take(order=Order('tea', 2.5, Unit.F))", "tea for 2.5 in F"),
        ("take(Order('a'), [Order('b')], {'k': Order('c')})", "a for 1.0 in C b for 1.0 in C c for 1.0 in C"),
        ("take({'what': 'tea', 'unit': Unit.F})", "tea for 1.0 in F"),
        ("visit(Stop(at=datetime.date(2024, 2, 29), unit=Unit.F))", "2024-02-29 Unit.F None"),
        ("visit(Stop(at='2024-02-29', next=Stop(at='2024-03-01')))",
         "2024-02-29 Unit.C at=datetime.date(2024, 3, 1) unit=<Unit.C: 'celsius'> next=None"),
        ("see(P())", "{'x': 5, 'y': None}"),
        ("see([P(), (P(6),), {'k': {'j': P(y={1, 2})}}])",
         "[{'x': 5, 'y': None}, ({'x': 6, 'y': None},), {'k': {'j': {'x': 5, 'y': {1, 2}}}}]"),
        ("see(P(P(P(Unit.C))))", "{'x': {'x': {'x': 'celsius', 'y': None}, 'y': None}, 'y': None}"),
        ("see(collections.defaultdict(list, a=[P()]))", "{'a': [{'x': 5, 'y': None}]}"),
        ("see(Aliased(**{'in': 3}))", "{'in': 3}"),
        ("see(enum.Flag('F', 'a b').b)", "2"),
        ("see(P)", "TypeError: see(): arguments[0] is a type, which cannot cross between host and child. "),
        ("see(Unit)", "TypeError: see(): arguments[0] is an EnumType, which cannot cross between host and child. "),
        ("see([P(x={'k': lambda: 1})])", "TypeError: see(): arguments[0][0]['x']['k'] is a function, which "),
        ("see({P()})", "TypeError: see(): arguments[0][0] is a P in a set or a key: put its fields there"),
        ("see({(1, P()): 2})", "TypeError: see(): arguments[0][(1, P(x=5, y=None))][1] is a P in a set or a key"),
        ("see({Unit.C: 2})", "TypeError: see(): arguments[0][<Unit.C: 'celsius'>] is an Unit in a set or a key: put "),
        ("see([{1}, {2: 3}, P({4})])", "[{1}, {2: 3}, {'x': {4}, 'y': None}]"),
        ("take({'what': 'tea', 'wat': 1})", "ToolError: take() cannot take 'order': Order refuses it: "),
        ("take(P())", "ToolError: take() needs the key 'what' in 'order'"),
    ],
)  # fmt: skip
def test_a_tool_gets_the_fields(answer_of, call, gives):
    said = answer_of(f"{MODELS}\ntry:\n    s = {call}\nexcept Exception as error:\n"
                     "    s = f'{type(error).__name__}: {error}'\nfinal_answer(s)")  # fmt: skip
    if "Error: " in gives:
        assert said.replace("ABCMeta", "type").replace("EnumMeta", "EnumType").startswith(gives)
    else:
        assert said == gives


@pytest.mark.parametrize(
    "made",
    ["range(3)", "collections.deque([1])", "{1: 2}.keys()", "{1: 2}.values()", "{1: 2}.items()", "map(str, [1])",
     "(n for n in [1])", "zip([1])", "enumerate([1])", "filter(None, [1])", "reversed([1])", "iter({1})"],
)  # fmt: skip
def test_what_makes_a_list_is_refused_with_the_way_to_make_it(answer_of, made):
    said = answer_of(f"import collections\ntry:\n    see([{made}])\nexcept TypeError as error:\n    s = str(error)\n"
                     "final_answer(s)")  # fmt: skip
    assert said.startswith("see(): arguments[0][0] is a")
    assert ", which cannot cross: make it a list with list(...). Give text, numbers, " in said
    assert answer_of(f"import collections\nfinal_answer(see([list({made})]))").startswith("[[")


@pytest.mark.parametrize(
    ("answer", "gives"),
    [
        ("P()", {"x": 5, "y": None}),
        ("Order('tea')", {"what": "tea", "price": 1.0, "unit": "celsius", "label": "tea for 1.0"}),
        ("Stop(at='2024-02-29')", {"at": datetime.date(2024, 2, 29), "unit": "celsius", "next": None}),
        ("[P(), {'k': (P(y={1}),)}]", [{"x": 5, "y": None}, {"k": ({"x": 5, "y": {1}},)}]),
        ("Unit.F", "fahrenheit"),
    ],
)
def test_an_answer_is_the_fields_and_is_proved(answer_of, tmp_path, answer, gives):
    assert answer_of(f"{MODELS}\nfinal_answer({answer})", executor_kwargs={"cwd": tmp_path}) == gives
    events = list(Journal(tmp_path / "journal.sqlite").events(answer_of.agent.run_id))
    proof = Prover(events, cwd=tmp_path).prove()
    assert proof.proved
    assert with_check(proof.cells, gives) == proof.cells  # `P(5) == {"x": 5}` would be false
    transcript = Transcript()
    for event in events:
        transcript.feed(event)
    shown = CellProof(Session(None), transcript, RunOptions(), {}, "answer", {})
    shown.proof = proof
    cells = shown.cells()
    assert "answer =" not in "".join(cell.source for cell in cells)  # it has the fields already
    assert "whose fields are in `answer`; run alone, these cells do not set that" in cells[0].source


def test_fields_that_come_out_otherwise_are_not_called_proved(make, tmp_path):
    agent = make([code(f"{DEFINED}\nclass Q:\n    n = 0"), code("Q.n += 1\nfinal_answer(P(Q.n))")],
                 executor_kwargs={"cwd": tmp_path})  # fmt: skip
    assert agent.run("work") == {"x": 1, "y": None}
    events = list(Journal(tmp_path / "journal.sqlite").events(agent.run_id))
    assert Prover(events, cwd=tmp_path).prove().proved
    (value,) = (event for event in events if type(event).__name__ == "FinalAnswer")
    other = [replace(event, value={"x": 2, "y": None}) if event is value else event for event in events]
    proof = Prover(other, cwd=tmp_path).prove()
    assert (proof.state, proof.reason) == ("not reproduced", "the answer['x'] is 1 where the run had 2")


def test_an_answer_that_cannot_cross_names_the_field(answer_of):
    said = answer_of(f"{DEFINED}\ntry:\n    final_answer([P(y=lambda: 1)])\nexcept TypeError as error:\n"
                     "    s = str(error)\nfinal_answer(s)")  # fmt: skip
    assert said.startswith("final_answer(): value[0]['y'] is a function, which cannot cross between host and child. ")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("@dataclass\nclass Odd:\n    a: int = field(init=False)\nodd = Odd()",
         "value is an Odd, which cannot cross: 'Odd' object has no attribute 'a'"),
        ("odd = P()\nobject.__setattr__(odd, 'x', odd)", "nests deeper than 64 levels, or contains itself"),
        ("odd = Stop(at='2024-02-29')\nodd.next = odd", "nests deeper than 64 levels, or contains itself"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_taken_apart_says_why(answer_of, made, said):
    action = f"{MODELS}\n{made}\ntry:\n    final_answer(odd)\nexcept TypeError as error:\n    s = str(error)"
    assert said in answer_of(f"{action}\nfinal_answer(s)")


def test_a_sub_agent_is_handed_the_fields_and_hands_them_back(make):
    helper = make([code(f"{DEFINED}\nfinal_answer([P(order['price']), unit])")], name="helper", description="Helps.")
    action = "final_answer(helper('work', additional_args={'order': Order('tea'), 'unit': Unit.F}))"
    agent = make([code(f"{DEFINED}\n{action}")], managed_agents=[helper])
    assert "[{'x': 1.0, 'y': None}, 'fahrenheit']" in agent.run("work")


def test_a_declared_type_takes_the_fields(make):
    agent = make([code(f"{MODELS}\nfinal_answer(Stop(at='2024-02-29', unit=Unit.F))")], output_type=Stop)
    assert agent.run("work") == Stop(at=datetime.date(2024, 2, 29), unit=Unit.F)


def test_elsewhere_a_record_stays_where_it_is(make):
    agent = make([code(f"{DEFINED}\np = P()\np"), code("final_answer([type(p).__name__, p.moved().x])")])
    assert agent.run("work") == ["P", 6]
    assert isinstance(agent.state["p"], RemoteValue)
    assert isinstance(agent.memory.steps[1].action_output, RemoteValue)


def test_checks_see_the_object_itself(make):
    replies = [code(f"{DEFINED}\nfinal_answer(P({n}))") for n in (1, 6)]
    agent = make(replies, checks=["answer.x > 5", "isinstance(answer, P)"])
    assert agent.run("work") == {"x": 6, "y": None}


# what libraries of databases and tables give


class Row(collections.abc.Sequence):
    """As SQLAlchemy's."""

    _mapping, _fields = {"a": 1, "b": "x"}, ("a", "b")

    def __hash__(self):
        return 1

    def __getitem__(self, place):
        return (1, "x")[place]

    def __len__(self):
        return 2


class RowMapping(collections.abc.Mapping):
    """As SQLAlchemy's `mappings()` gives."""

    def __getitem__(self, name):
        return {"a": 1}[name]

    def __iter__(self):
        return iter("a")

    def __len__(self):
        return 1


RowMapping.__module__ = "sqlalchemy.engine.row"


def rows_of(database):
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    return connection.execute("select 1 as a, 'x' as b").fetchall()


def test_rows_of_a_database_cross_as_tuples_and_dicts():
    given = [*rows_of(":memory:"), Row(), RowMapping(), {Row(): {Row()}}]
    assert decode(encode(given, instead=fields)) == [(1, "x"), (1, "x"), {"a": 1}, {(1, "x"): {(1, "x")}}]


@tool
def rows() -> list:
    """Gives rows."""
    return rows_of(":memory:")


def test_rows_of_a_tool_and_of_an_answer_cross_and_are_proved(answer_of, tmp_path):
    action = "import sqlite3\nc = sqlite3.connect(':memory:')\nc.row_factory = sqlite3.Row\n"
    action += "final_answer([rows(), c.execute('select 2').fetchone()])"
    gives = [[(1, "x")], (2,)]
    assert answer_of(action, tools=[rows], executor_kwargs={"cwd": tmp_path}) == gives
    events = list(Journal(tmp_path / "journal.sqlite").events(answer_of.agent.run_id))
    proof = Prover(events, tools=answer_of.agent.tools, cwd=tmp_path).prove()
    assert proof.proved
    assert with_check(proof.cells, gives) == proof.cells  # a Row is no tuple


class Frame(pd.DataFrame):
    pass


class Polars:
    """As its tables are."""

    def to_arrow(self):
        return pa.table({"a": [1]})


class PolarsSeries(Polars):
    def to_list(self):
        return [1]


@pytest.mark.parametrize(
    ("table", "remedy"),
    [
        (Polars(), "Polars, which cannot cross: make it an Arrow table with .to_arrow()"),
        (PolarsSeries(), "PolarsSeries, which cannot cross: make it a list with .to_list()"),
        (Frame({"a": [1]}), "Frame, which cannot cross: make it a table of pandas with pandas.DataFrame(...)"),
        (pa.RecordBatch.from_pydict({"a": [1]}), "RecordBatch, which cannot cross: make it a table with pyarrow.Table"),
        (pa.array([1]), "Int64Array, which cannot cross: make it a list with .to_pylist()"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_of_a_table_that_cannot_cross_it_is_told_how_it_can(table, remedy):
    with pytest.raises(NotPortable) as caught:
        encode([table], instead=fields)
    assert remedy in str(caught.value)
    assert caught.value.advice == ". Give text, numbers, lists, dicts, arrays, pandas or Arrow tables or images"
