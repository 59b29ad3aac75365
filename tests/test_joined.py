"""A run that goes on from others is proved with what it needs of them, and its cells make that themselves."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace

import pytest
from noted_calls import noted
from scripted_replies import code

from smol_kernel.events import ActionFinished, ActionProposed, RunStarted
from smol_kernel.journal import Journal
from smol_kernel.render.transcript import StepRecord
from smol_kernel.runs.earlier import runs_before
from smol_kernel.runs.joined import joined
from smol_kernel.runs.lent import read_of
from smol_kernel.runs.prove import Prover
from smol_kernel.runs.script import part_of


@pytest.fixture
def conversation(make, tmp_path):
    """Has runs go on from each other, a list of actions each; gives what proves the last one."""

    def conversation(*runs, given=(), tools=(), **options):
        replies = [code(action) for actions in runs for action in actions]
        agent = make(replies, tools=tools, executor_kwargs={"cwd": tmp_path})
        inputs = {}
        for number, _ in enumerate(runs):
            new = given[number] if number < len(given) else {}
            agent.run("work", reset=not number, additional_args=new)
            inputs |= new
        journal = Journal(tmp_path / "journal.sqlite")
        events = list(journal.events(agent.run_id))
        earlier = runs_before(journal, events)
        options = {"inputs": inputs, "tools": agent.tools, "cwd": tmp_path, "earlier": earlier} | options
        return Prover(events, **options)

    return conversation


def sources(proof):
    return [cell.source for cell in proof.cells if cell.kind == "code"]


def test_what_earlier_runs_had_made_is_made_by_the_cells(conversation):
    proof = conversation(
        ["import math\nprint('look')\nunused = 1\nx = [20]", "final_answer(len(x))"],
        ["x.append(1)", "final_answer(math.floor(sum(x)))"],
        ["y = sum(x) + 21", "final_answer(y)"],
    ).prove()
    assert (proof.state, proof.reason) == ("proved", "")
    assert sources(proof) == ["x = [20]", "x.append(1)", "y = sum(x) + 21", "y"]


def test_an_input_that_an_earlier_run_changed_is_not_taken_as_it_was(conversation):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"y": [1, 2, 30]})
    proof = conversation(
        ["df = df[df.y < 10]\nfinal_answer(float(df.y.mean()))"],
        ["final_answer(int(df.y.max()))"],
        given=[{"df": table}],
    ).prove()
    assert (proof.state, proof.reason) == ("proved", "")
    assert sources(proof) == ["df_ = df\ndf_ = df_[df_.y < 10]", "int(df_.y.max())"]


def test_a_table_that_an_earlier_run_had_cleaned_is_cleaned_by_the_cells(conversation):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({" Y": [1, 2, 30], "w": [1, 1, 1]})
    clean = "c = df.rename(columns=str.strip).drop(columns='w')\nd = c.set_axis(['y'], axis=1)"
    proof = conversation(
        [f"{clean}\nprint(d.y.ge(2))\nfinal_answer(len(d))"], ["final_answer(int(d.y.max()))"], given=[{"df": table}]
    ).prove()
    assert (proof.state, proof.reason) == ("proved", "")
    assert sources(proof) == [clean, "int(d.y.max())"]


def test_a_database_that_an_earlier_run_only_read_is_read_by_the_cells(conversation, tmp_path):
    pd = pytest.importorskip("pandas")
    con = sqlite3.connect(tmp_path / "x.db")
    pd.DataFrame({"a": [1, 2, 30]}).to_sql("t", con)
    con.close()
    read = (
        "import sqlite3\nimport pandas as pd\nwith sqlite3.connect('x.db') as con:\n"
        "    d = pd.read_sql('select a from t', con)"
    )
    look = "print(con.execute('select count(*) from t').fetchone())\ncon.close()"
    proof = conversation([read, f"{look}\nfinal_answer(len(d))"], ["final_answer(int(d.a.max()))"]).prove()
    assert (proof.state, proof.reason) == ("proved", "")
    assert sources(proof) == [read, "int(d.a.max())"]


def test_a_database_that_an_earlier_run_wrote_by_a_class_is_not_written_again(conversation, tmp_path):
    con = sqlite3.connect(tmp_path / "x.db")
    con.execute("create table t (a)")
    con.close()
    store = (
        "import sqlite3\nclass Store:\n    def __init__(self):\n        self.con = sqlite3.connect('x.db')\n"
        "    def add(self, a):\n        self.con.execute('insert into t values (?)', [a])\n        self.con.commit()\n"
        "    def total(self):\n        return self.con.execute('select sum(a) from t').fetchone()[0]\n"
        "s = Store()\ns.add(5)\nfinal_answer(1)"
    )
    assert conversation([store], ["final_answer(s.total())"]).prove().state == "not reproduced"


def test_a_run_that_needs_nothing_of_them_stays_as_it_is(conversation):
    proof = conversation(["x = 1\nfinal_answer(x)"], ["z = 4", "final_answer(z + 1)"]).prove()
    assert (proof.state, sources(proof)) == ("proved", ["z = 4", "z + 1"])


def test_words_rest_on_what_was_shown_in_this_run(conversation):
    proof = conversation(["x = [3]\nprint(x)\nfinal_answer(1)"], ["print(sum(x))", "final_answer('It is 3.')"]).prove()
    assert (proof.state, proof.word) == ("whole", "shown again")
    assert sources(proof) == ["x = [3]", "print(sum(x))", "'It is 3.'"]


@pytest.mark.parametrize(
    ("first", "second", "given"),
    [
        ("x = 1\nif x:\n    y = 2\n    final_answer(1)", "final_answer(y)", ()),
        ("final_answer(y := 2)", "final_answer(y)", ()),
        (
            "from xml.etree import ElementTree as E\ny = E.Element('a')\nE.indent(y)\nfinal_answer(1)",
            "final_answer(y.tag)",
            (),
        ),
        ("y = open('a', 'w').write('b')\nfinal_answer(1)", "final_answer(y)", ()),
        ("x.append(1)\ny = 5\nfinal_answer(1)", "final_answer(y)", ({"x": [1]}, {"x": [2]})),
        ("y = 5\nexec('z = 1')\nfinal_answer(1)", "final_answer(y)", ()),
        ("y = 5\n%cd .\nfinal_answer(1)", "final_answer(y)", ()),
    ],
    ids=["half-way", "in the answer", "outside", "a file", "given anew", "exec", "a magic"],
)
def test_where_it_cannot_be_told_what_is_needed_the_cells_are_those_of_the_run(conversation, first, second, given):
    prover = conversation([first], [second], given=given)
    (earlier,) = prover.earlier
    assert joined([earlier, prover.events]) is None
    proof = prover.prove()
    assert proof.state == "not reproduced"
    assert "such as a variable of an earlier run" in proof.reason
    assert len(sources(proof)) == 1


def test_files_and_figures_of_earlier_runs_are_not_made_again(conversation, tmp_path):
    plot = "import matplotlib.pyplot as plt\nplt.plot(x)\nplt.show()"
    first = f"x = [1, 2]\nopen('log', 'a').write('first')\n{plot}\nfinal_answer(1)"
    proof = conversation([first], [f"open('other', 'w').write('second')\n{plot}\nfinal_answer(sum(x))"]).prove()
    assert (proof.state, proof.made) == ("proved", "files and pictures")
    assert sources(proof)[0] == "x = [1, 2]"
    assert "log" not in "".join(sources(proof))


def test_calls_of_earlier_runs_are_answered_from_the_record_and_made_for_their_values_alone(conversation):
    made, roll, note = noted()
    proof = conversation(
        ["note('a')\ndef throw(): return roll(6)  # no note\nx = throw()\nfinal_answer(x)"],
        ["note('b')\nfinal_answer(x + 1)"],
        tools=[roll, note],
    ).prove()
    assert made == ["a", 6, "b"]
    assert proof.state == "proved"
    assert sources(proof) == ["def throw(): return roll(6)  # no note\nx = throw()", "note('b')\nx + 1"]
    assert proof.line.endswith("the same answer; when you run them, they call `roll` once more, as an earlier run had.")


def test_what_an_earlier_run_showed_is_not_shown_again(conversation):
    plot = "import matplotlib.pyplot as plt\nx = [1, 2]\nplt.plot(x)\nplt.show()\nfinal_answer(1)"
    proof = conversation([plot], ["final_answer(sum(x))"]).prove()
    assert (proof.state, sources(proof)) == ("proved", ["x = [1, 2]", "sum(x)"])


TABLES = {"df": {"x": [1, 2, 30], "y": 1.0}, "other": {"z": [4]}}


@pytest.mark.parametrize(
    ("actions", "names", "cells"),
    [
        (["final_answer(float(df.x.sum()))", "final_answer(float(df.y.mean()))"], ["df"], ["float(df.y.mean())"]),
        (["k = int(df.x.max())\nfinal_answer(k)", "final_answer(k + len(df))"], ["df"],
         ["k = int(df.x.max())", "k + len(df)"]),
        (["final_answer(len(df))", "final_answer(len(other))", "final_answer(len(df) + int(other.z[0]))"],
         ["df", "other"], ["len(df) + int(other.z[0])"]),
        (["final_answer(len(df))", "df['y'] = df.y + 1\nfinal_answer(float(df.y.mean()))"], ["df"],
         ["df_ = df.copy()\ndf_['y'] = df_.y + 1\nfloat(df_.y.mean())"]),
        (["df['y'] = df.y + 1\nfinal_answer(len(df))", "final_answer(float(df.y.mean()))"], ["df"],
         ["df_ = df.copy()\ndf_['y'] = df_.y + 1", "float(df_.y.mean())"]),
        (["df['y'] = df.y + 1\nfinal_answer(len(df))", "final_answer(len(df))", "final_answer(float(df.y.mean()))"],
         ["df", "df"], ["float(df.y.mean())"]),
        (["exec('')\nfinal_answer(len(df))", "df = len(df)\nfinal_answer(df)"], ["df"],
         ["df_ = df\ndf_ = len(df_)\ndf_"]),
    ],
    ids=["read", "and a variable", "two", "changed", "changed before", "given anew", "exec"],
)  # fmt: skip
def test_what_earlier_runs_were_given_is_in_the_notebook(conversation, actions, names, cells):
    pd = pytest.importorskip("pandas")
    tables = {name: pd.DataFrame(TABLES[name]) for name in names}
    given = [{name: tables[name].copy()} for name in names]
    prover = conversation(*([action] for action in actions), given=given, inputs={}, variables=tables)
    proof = prover.prove()
    assert (proof.state, proof.reason) == ("proved", "")
    assert sources(proof) == cells
    assert proof.transcript.inputs.keys() == {name for name in names if name in str(cells)}


@pytest.mark.parametrize(
    ("actions", "cells"),
    [
        (["df = 3\nfinal_answer(df + 1)"], ["df = 3\ndf + 1"]),
        (["import math as df\nfinal_answer(df.floor(2.5))"], ["import math as df\ndf.floor(2.5)"]),
        (
            ["t = [0]\nfor df in range(3):\n    t.append(df)\nfinal_answer(sum(t))"],
            ["t = [0]\nfor df in range(3):\n    t.append(df)\nsum(t)"],
        ),
        (["def f():\n    return df\nprint(1)\ndf = 4\nfinal_answer(f())"], ["def f():\n    return df\ndf = 4\nf()"]),
        (["df = 3\ny = df + 1\nfinal_answer(y)", "final_answer(y * 2)"], ["df = 3\ny = df + 1", "y * 2"]),
    ],
    ids=["a value", "a module", "a loop", "in a function", "in an earlier run"],
)
def test_what_a_run_makes_itself_it_does_not_have_from_an_earlier_one(conversation, actions, cells):
    actions = ["final_answer(len(df))", *actions]
    given, variables = [{"df": [1, 2]}], {"df": threading.Lock()}
    proof = conversation(*([each] for each in actions), given=given, inputs={}, variables=variables).prove()
    assert (proof.proved, proof.reason, sources(proof)) == (True, "", cells)


@pytest.mark.parametrize(
    "action",
    [
        "t = df\ndf = 3",
        "if t:\n    df = 3\nt = df",
        "for df in t:\n    pass\nt = df",
        "def f():\n    return df\nt = f()\ndf = 3",
        "t = eval('df')\ndf = 3",
        "t = t.query('x > @df')\ndf = 3",
        "try:\n    df = int(t)\nexcept ValueError:\n    pass\nprint(df)",
        "df += 1",
        "del df\ndf = 3",
        "%run a.py\ndf = 3\nprint(df)",
    ],
)
def test_what_a_run_may_read_before_it_binds_it_is_lent(action):
    step = StepRecord(1, code=action, state="ok")
    given = {"df": "int", "other": "int"}
    start = RunStarted(run="r", task="", agent="", model="", isolation="", max_steps=3, system_prompt="", inputs=given)
    assert read_of([start], [part for part in [part_of(step)] if part], None) == {"df"}


@pytest.mark.parametrize(
    ("variables", "said"),
    [({"x": [3], "y": 1}, "the answer is 4 where the run had 2"), ({"y": 1}, "name 'x' is not defined")],
)
@pytest.mark.parametrize("action", ["final_answer(x[0] + 1)", "y = k\nfinal_answer(x[0] + y)"])
def test_what_is_not_in_the_notebook_as_it_was_is_not_proved(conversation, variables, said, action):
    prover = conversation(
        ["k = y\nfinal_answer(k)"], [action], given=[{"x": [1], "y": 1}], inputs={}, variables=variables
    )
    proof = prover.prove()
    assert proof.state == "not reproduced"
    assert said in proof.reason


def test_the_name_that_no_run_had_made_is_told(conversation, tmp_path):
    prover = conversation(["a = 1\nfinal_answer(a)"], ["b = 2\nfinal_answer(a + b)"])
    events = [replace(each, code="final_answer(a + b)") if isinstance(each, ActionProposed) else each
              for each in prover.events]  # fmt: skip
    events = [replace(each, completed=1) if isinstance(each, ActionFinished) else each for each in events]
    said = "the cells use what neither they nor earlier runs make, such as a variable of a `%%py` cell or one "
    assert (
        Prover(events, cwd=tmp_path, earlier=prover.earlier)
        .prove()
        .reason.startswith(f"{said}deleted since (NameError: name 'b'")
    )
