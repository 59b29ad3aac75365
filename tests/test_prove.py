"""Finished work is called proved where it gives the answer again in a fresh child, and nowhere else."""

from __future__ import annotations

import ast
import io
import os
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest
from noted_calls import noted
from scripted_replies import code

from smol_kernel import tool
from smol_kernel.events import ActionFinished, ActionProposed, FinalAnswer, RunStarted, StepFinished
from smol_kernel.journal import Journal
from smol_kernel.runs.hidden import hidden_from
from smol_kernel.runs.made_files import under_other_names
from smol_kernel.runs.prove import Prover
from smol_kernel.runs.same import difference, text_difference
from smol_kernel.runs.same_file import same_file
from smol_kernel.runs.turned import turns


@pytest.fixture
def prover(make, tmp_path):
    """Runs a script of actions, and gives what proves it; the agent stands at its `agent`."""

    def prover(*actions, tools=(), inputs=None, mounts=(), **options):
        options["mounts"] = mounts
        box = {"cwd": tmp_path, "mounts": mounts}
        agent = make([code(action) for action in actions], tools=tools, executor_kwargs=box)
        agent.run("work", additional_args=inputs)
        events = list(Journal(tmp_path / "journal.sqlite").events(agent.run_id))
        made = Prover(events, inputs=inputs, tools=agent.tools, cwd=tmp_path, made=agent.python_executor, **options)
        made.agent = agent
        return made

    return prover


def sources(proof):
    return [cell.source for cell in proof.cells if cell.kind == "code"]


def test_the_part_that_the_answer_needs_is_proved(prover):
    proof = prover("x = 20\nprint(x)", "y = [x]\nprint(y)", "z = x + 1", "final_answer(z)").prove()
    assert (proof.state, sources(proof), proof.reason) == ("proved", ["x = 20", "z = x + 1", "z"], "")
    assert len(proof.digest) == 16
    assert proof.line.startswith("Proved")


def test_the_run_has_what_a_table_notes_of_itself_as_its_cells_do(prover):
    df = pd.DataFrame({"v": [1.0] * 40_000})  # it goes by shared memory
    df.attrs["scale"] = 1000
    made = prover("final_answer(float(df.v.sum() * df.attrs.get('scale', 1)))", inputs={"df": df})
    proof = made.prove()
    assert proof.state == "proved"
    assert [event.value for event in made.events if isinstance(event, FinalAnswer)] == [40_000_000.0]


def test_recorded_inputs_have_their_classes(prover):
    made = prover("final_answer(counts.most_common(1))", inputs={"counts": Counter("aab")})
    for inputs in (made.inputs, None):
        assert Prover(made.events, inputs=inputs, cwd=made.cwd).prove().state == "proved"


def test_tool_calls_are_answered_from_the_record(prover):
    made, roll, note = noted()
    actions = [
        "print(roll(6))\nx = roll(6)\nlist(map(note, 'x'))",
        "try:\n    y = roll('six')\nexcept Exception:\n    y = 0",
    ]
    proof = prover(*actions, "final_answer(x + y)", tools=[roll, note]).prove()
    assert made == [6, 6, "x"]
    assert proof.state == "proved"
    # the second roll is another one, and the note was made for what it does
    assert sources(proof)[0] == "print(roll(6))\nx = roll(6)\nlist(map(note, 'x'))"


def shop():
    """Tools of a database, each of which may change it: one that gives rows, one that gives what it is told to."""
    rows = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    rows.execute("create table stock (item text, qty integer)")

    @tool
    def sql(query: str) -> list:
        """Asks.

        Args:
            query: What.
        """
        return rows.execute(query).fetchall()

    @tool
    def put(qty: int, gives: object) -> object:
        """Adds a row.

        Args:
            qty: How many there are.
            gives: What it gives back.
        """
        rows.execute("insert into stock values ('tea', ?)", [qty])
        return gives

    return [sql, put]


def test_calls_that_write_stay_whatever_they_give_and_looks_go(prover):
    writes = [
        "sql('create table tea as select 1 as n');",
        """print(sql("insert into stock values ('tea', 5), ('cake', 2) returning qty"))""",
        "def add(n):\n    put(n, ['a', 'b'])\nadd(3)",
        "for n in range(3): put(n, {'row': 'text'})\nids = [put(n, n) for n in range(3)]",
    ]
    looks = "print(sql('select * from tea'))\nprint(sql('pragma table_info(tea)'))"
    answer = "sql('select sum(qty) from stock') + sql('select n from tea')"
    proof = prover(
        f"{writes[0]}\n{looks}\nprint(put(1, 2.5))", *writes[1:], looks, f"final_answer({answer})", tools=shop()
    ).prove()
    assert (proof.state, sources(proof)) == ("proved", [*writes, answer])


def test_input_is_answered_as_it_was_by_a_person_or_by_none(prover, make, tmp_path):
    ask = "try:\n    k = input('q')\nexcept EOFError:\n    k = 'none'"
    proof = prover(ask, "final_answer(len(k))").prove()
    assert (proof.state, proof.reason) == ("proved", "")
    agent = make([code(ask), code("final_answer(len(k))")])
    agent.python_executor.ask_person = lambda prompt, password: "yes"
    assert agent.run("work") == 3
    events = list(Journal(tmp_path / "journal.sqlite").events(agent.run_id))
    assert Prover(events, cwd=tmp_path).prove().state == "proved"
    other = [replace(e, code=e.code.replace("'q'", "'w'")) if isinstance(e, ActionProposed) else e for e in events]
    proof = Prover(other, cwd=tmp_path).prove()
    assert (proof.state, "did not at this place" in proof.reason) == ("not reproduced", True)


def test_what_an_earlier_run_made_is_missed(prover):
    first = prover("x = 1", "final_answer(x)")
    agent = first.agent
    agent.model.replies += [code("final_answer(x + 1)")]
    agent.run("go on", reset=False)
    proof = Prover(list(agent.life.recorded_in.events(agent.run_id)), cwd=first.cwd).prove()
    assert proof.state == "not reproduced"
    assert "'x' is not defined" in proof.reason


def recorded(*actions):
    """The events of a run of these actions, which was never made; its answer was 1."""
    start = {"task": "t", "agent": "a", "model": "m", "isolation": "box", "max_steps": 9, "system_prompt": ""}
    yield RunStarted(run="r", **start)
    for step, action in enumerate(actions, 1):
        at = {"run": "r", "step": step}
        yield ActionProposed(**at, thought="", code=action)
        final = step == len(actions)
        yield ActionFinished(**at, status="ok", final=final, completed=len(ast.parse(action).body))
        yield StepFinished(**at)
    yield FinalAnswer(run="r", value=1, text="1")


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        (["import time\nt = time.time()", "final_answer(t)"], "read the clock"),
        (["from time import time\nt = time() - 5", "final_answer(t - 1)"], "read the clock"),
        (["import time\nstart = time.time()\nday = start // 86400", "final_answer(day)"], "read the clock"),
        (["from datetime import datetime as dt\ny = dt.now().year", "final_answer(y)"], "read the clock"),
        (["import pandas as pd\ny = pd.Timestamp.now().year", "final_answer(y)"], "read the clock"),
        (["import time\ny = time.strftime('%Y')", "final_answer(y)"], "read the clock"),
        (["import pandas as pd\ny = pd.Timestamp('now').year", "final_answer(y)"], "read the clock"),
        (["import numpy as np\nt = np.datetime64('today')", "final_answer(t)"], "read the clock"),
        (["import datetime\nnow = datetime.datetime.now\ny = now().year", "final_answer(y)"], "read the clock"),
        (["import random\nx = random.choice([1, 2])", "final_answer(x)"], "without a seed"),
        (["from random import choice\nx = choice([1, 2])", "final_answer(x)"], "without a seed"),
        (["import random\nx = random.Random().random()", "final_answer(x)"], "without a seed"),
        (["import numpy as np\nx = np.random.default_rng().normal()", "final_answer(x)"], "without a seed"),
        (["import numpy as np\nnp.random.seed()\nx = np.random.rand()", "final_answer(x)"], "without a seed"),
        (
            ["import random\nimport numpy as np\nrandom.seed(1)\nx = np.random.rand()", "final_answer(x)"],
            "without a seed",
        ),
        (["import pandas as pd\ny = pd.Period.now('Y').year", "final_answer(y)"], "read the clock"),
        (["import pandas as pd\ny = pd.Timestamp(ts_input='now').year", "final_answer(y)"], "read the clock"),
        (["import pandas as pd\ny = pd.to_datetime(arg='today').year", "final_answer(y)"], "read the clock"),
        (["import pandas as pd\nd = pd.to_datetime(['now', '1990-01-01'])", "final_answer(d)"], "read the clock"),
        (["import pandas as pd\nd = pd.date_range(end='today', periods=2)", "final_answer(d)"], "read the clock"),
        (["x = df.sample(n=3)", "final_answer(x)"], "without a seed"),
        (["x = df.sample()", "final_answer(x)"], "without a seed"),
        (["x = df[df.a > 1].sample(5)", "final_answer(x)"], "without a seed"),
        (["x = df.groupby('k').sample(1, random_state=None)", "final_answer(x)"], "without a seed"),
        (["few = df[df.a > 1]\nfew = few.dropna()\nx = few.sample(2)", "final_answer(x)"], "without a seed"),
        (["df = load_table('a')\nx = df.sample(3)", "final_answer(x)"], "without a seed"),
        (["def clean(df):\n    return df\nx = clean(df).sample(3)", "final_answer(x)"], "without a seed"),
        (["x = [part.sample(1) for key, part in df.groupby('k')]", "final_answer(x)"], "without a seed"),
        (["game.set_state('on')\nx = df.sample(3)", "final_answer(x)"], "without a seed"),
        (["x = df.sample(frac=1, random_state=0)\nx = x.sample(50)", "final_answer(x)"], "without a seed"),
        (
            ["few = df[df.a > 1]\nfew = few.head() if n else few\nx = few.sample(2)", "final_answer(x)"],
            "without a seed",
        ),
        (["rows = rows or None\nx = rows.sample()", "final_answer(x)"], "without a seed"),
        (["a = b.head()\nb = a.head()\nx = a.sample()", "final_answer(x)"], "without a seed"),
        (["import random\nrng = random.Random()\nrng.seed()\nx = rng.random()", "final_answer(x)"], "without a seed"),
        (
            ["import random\na = random.Random()\nb.seed(1)\nx = a.random()", "final_answer(x)"],
            "without a seed",
        ),
        (["df = Loader('x').to_pandas()\nx = df.sample(n=3)", "final_answer(x)"], "without a seed"),
        (["import pandas as pd\nx = pd.Series([0, 1]).sample(1)", "final_answer(x)"], "without a seed"),
        (["import random\nrandom.seed(1)\nx = df.sample(3)", "final_answer(x)"], "without a seed"),
        (["import numpy as np\nx = np.random.sample(3)", "final_answer(x)"], "without a seed"),
        (["from scipy import stats\nx = stats.bernoulli.rvs(0.97)", "final_answer(x)"], "without a seed"),
        (["from scipy.stats import norm\nx = norm(0, 1).rvs(size=5)", "final_answer(x)"], "without a seed"),
        (["import random\nrandom.seed(None)\nx = random.random()", "final_answer(x)"], "without a seed"),
        (["import numpy as np\nx = np.random.default_rng(None).normal()", "final_answer(x)"], "without a seed"),
        (["import uuid\nx = uuid.uuid4()", "final_answer(x)"], "random"),
        (["import secrets\nx = secrets.token_hex()", "final_answer(x)"], "random"),
    ],
)
def test_the_clock_and_chance_are_never_called_proved(actions, reason):
    proof = Prover(recorded(*actions)).prove()
    assert proof.state == "not reproduced" and reason in proof.reason


TIMER = """\
from time import perf_counter

class Timer:
    def start(self):
        self.begun = perf_counter()
    def took(self):
        return perf_counter() - self.begun"""
WELL = """\
class Well:
    def sample(self, n=1):
        return n

x = Well().sample() + well.sample(n=2)"""


@pytest.mark.parametrize(
    "cell",
    [
        "import time\nstart = time.time()\nwork()\ntook = time.time() - start",
        "import time\nstart = time.monotonic()\nwork()\nend = time.monotonic()\nprint(end - start)",
        TIMER,
        "import random\nrandom.seed(1)\nx = random.random()\ny = random.Random(3).random()",
        "import random\nrng = random.Random(3)\nx = rng.sample([1, 2], k=1)\ny = df.date.today",
        "import random\nrng = random.Random(3)\nx = rng.sample([1, 2], 1)",
        "import numpy as np\nx = np.random.default_rng(0).normal()\ny = df.sample(3, random_state=1)",
        "import numpy as np\nnp.random.seed(1)\nx = df.sample(5)\ny = norm.rvs(size=3)\nz = np.random.sample()",
        "x = norm.rvs(size=3, random_state=1)\ny = df.sample(3, seed=0)\nz = df.sample(**options)",
        "from numpy.random import RandomState\nrng = RandomState(3)\nx = rng.sample(3) + RandomState(1).sample(2)",
        "import torch\ntorch.manual_seed(0)\nx = distribution.sample()",
        "import polars as pl\npl.set_random_seed(0)\nx = df.sample(3)",
        "import numpy as np\nnp.random.set_state(s)\nx = df.sample(3)",
        "from decklib import Deck\nd = Deck(seed=1)\nx = d.sample(3)",
        "from sklearn.mixture import GaussianMixture\nx = GaussianMixture(2, random_state=0).fit(X).sample(10)",
        "from types import SimpleNamespace\nx = SimpleNamespace(sample=lambda: 3).sample()",
        "import random\nrng: random.Random = random.Random(0)\nx = rng.sample(range(9))",
        "from scipy import stats\nk = stats.norm(0, 1)\nk.random_state = 7\nx = k.rvs(5)",
        "R = namedtuple('R', 'sample')\nr = R(1)\nx = r.sample(3)",
        "import rasterio\nwith rasterio.open('dem.tif') as src:\n    v = list(src.sample([(1, 2)]))",
        "import pymc as pm\nwith pm.Model():\n    t = pm.sample(1000, random_seed=3)",
        "def two(rng, xs):\n    return rng.sample(xs, k=2)",
        "env.action_space.seed(0)\nx = env.action_space.sample()",
        "from scipy import stats\nstats.norm.random_state = state\nx = stats.norm.rvs(size=5)",
        "import time\ndef fit(n):\n    t: float = time.perf_counter()\n    print(time.perf_counter() - t)",
        "import time\nend = time.monotonic() + 5\nwhile time.monotonic() < end:\n    work()",
        WELL,
        "from sklearn import mixture\nm = mixture.GaussianMixture(2, random_state=0)\nm = m.fit(X)\nx, y = m.sample(9)",
        "import random\nrng = random.Random(3)\nrng = rng or None\nx = rng.sample(xs)",
        "import random\ndef two(xs, rng=None):\n    rng = rng or random.Random(0)\n    return rng.sample(xs)",
        "import random\nrng = random.Random(3) if rng is None else rng\nx = rng.sample(xs)",
        "import random\nrng = random.Random()\nrng.seed(3)\nx = rng.random() + rng.sample(xs)",
        "import random\nclass Die:\n    def start(self):\n        self.rng = random.Random()\n        self.rng.seed(3)",
        "import numpy as np\nrng: np.random.RandomState = np.random.RandomState()\nrng.set_state(s)\nx = rng.rand()",
        "import random\nrandom.setstate(s)\nx = random.random()",
        "import datetime\nx = datetime.datetime(2024, 1, 1)\ny = time.strftime('%Y', x)",
        "import pandas as pd\nx = pd.date_range('2024-01-01', name='today', periods=2)\ny = pd.to_datetime(d['now'])",
    ],
)
def test_a_stopwatch_is_no_clock_and_a_seed_no_chance(cell):
    from smol_kernel.runs.chance import chance

    assert chance([cell]) == ""


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        (["words = {'a', 'b'}", "final_answer(list(words))"], "order"),
        (["first = next(iter(set('xy')))", "final_answer(first)"], "order"),
        (["a = dict(x=1, y=2, z=3)\nboth = list(a.keys() & {**a})", "final_answer(both)"], "order"),
        (["x = hash('word')", "final_answer(x)"], "the run had"),
        (["import os\nopen('made', 'w').close()", "final_answer(os.stat('made').st_mtime)"], "the run had"),
    ],
)  # fmt: skip
def test_what_comes_out_otherwise_is_not_called_proved(prover, actions, reason):
    proof = prover(*actions).prove()
    assert proof.state == "not reproduced"
    assert reason in proof.reason
    assert proof.digest == ""


def test_sets_whose_order_does_not_count_are_no_hindrance(prover):
    action = "a = {'x', 'y', 'z'}\nb = sorted(a | set('w')) + [len(a), 'x' in a, isinstance(a, set)]"
    assert prover(action, "final_answer((b, a))").prove().state == "proved"


def test_sets_that_cannot_be_turned_round_are_tried_in_other_children(prover):
    action = (
        "words = set('ab')\nassert type(words) is type({1})\nkind = 'set' if type(words).__mro__[1] is object else 0"
    )
    assert prover(action + "\nn = 1 / len(kind)", "final_answer(n)").prove().state == "proved"


@pytest.mark.parametrize(
    "cell",
    [
        "import pandas as pd\nx = pd.Timestamp('09:30')",
        "x = pd.to_datetime(df['t']).max()",
        "from dateutil import parser\nx = [parser.parse(each) for each in ['08:15']]",
        "from dateutil.parser import parse\nx = parse('5 March').year",
    ],
)
def test_a_date_that_lacks_a_part_is_taken_from_the_day_of_today(prover, cell):
    import pandas as pd

    df = pd.DataFrame({"t": ["08:15", "17:40"]})
    proof = prover(f"import pandas as pd\n{cell}", "final_answer(x)", inputs={"df": df}).prove()
    assert (proof.state, "from the day of today" in proof.reason) == ("not reproduced", True), proof.reason


def test_times_of_a_day_are_no_dates_that_lack_one(prover):
    import pandas as pd

    df = pd.DataFrame({"t": ["08:15", "17:40"]})
    cell = "import pandas as pd\nfrom dateutil.parser import parse\nt = pd.to_datetime(df['t'])\n"
    cell += (
        "x = [t.max() - t.min(), pd.Timestamp('09:30').hour, parse('10:30').minute, parse('5/3/2021', default=t[0])]"
    )
    assert prover(cell, "final_answer(x)", inputs={"df": df}).prove().state == "proved"


@pytest.mark.parametrize(("drawn", "reason"), [(b"112211", "run a second time"), (b"112212", "a date that lacks")])
def test_what_comes_out_otherwise_now_and_then_is_told_as_a_date_only_if_the_day_decides(
    prover, tmp_path, drawn, reason
):
    os.mkfifo(tmp_path / "drawn")
    end = os.open(tmp_path / "drawn", os.O_RDWR)
    os.write(end, drawn)
    proof = prover(
        f"x = int(open('{tmp_path}/drawn', 'rb', 0).read(1))", "final_answer(x)", mounts=[str(tmp_path / "drawn")]
    ).prove()
    os.close(end)
    assert (proof.state, proof.reason[: len(reason)]) == ("not reproduced", reason), proof.reason


def test_what_rests_on_the_hash_of_a_text_is_not_called_proved_by_luck(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    luck = subprocess.run([sys.executable, "-c", "print(hash('w') % 2)"], capture_output=True, check=True, text=True)
    proof = Prover(recorded("x = hash('w') % 2", f"final_answer(int(x == {luck.stdout}))")).prove()
    assert (proof.state, "depends on what `hash` or `id` gives" in proof.reason) == ("not reproduced", True)


def test_hashes_that_no_answer_rests_on_are_no_hindrance(prover):
    made = "class P:\n    def __init__(self, k):\n        self.k = k\n"
    made += "    def __hash__(self):\n        return hash(self.k)\n"
    made += "    def __eq__(self, other):\n        return self.k == other.k\n"
    made += "n = len({hash(each) for each in 'abca'}) + len({P(each): 0 for each in 'aab'})"
    proof = prover(made, "final_answer((n, hash((1, 2.5)), hash(P(3)), id(n) == id(n)))").prove()
    assert (proof.state, proof.reason) == ("proved", "")


def test_what_cannot_be_looked_at_does_not_end_the_proof():
    class Sly(type):
        def __hash__(cls):
            raise ValueError("no hash")

    sly = Sly("Sly", (), {"__module__": "__main__"})
    assert "clock" in Prover(recorded("import time\nx = f\nprint(time.time())", "1"), inputs={"f": sly}).prove().reason


def test_what_hash_and_id_give_is_turned_no_more_than_twice():
    (turn,) = turns(["x = id(y) + hash('w')"])
    assert len(turn.before) == 2


def test_the_clock_in_a_module_of_the_folder_is_seen(prover, tmp_path):
    (tmp_path / "own.py").write_text(
        "from datetime import date\n\n\ndef age(born):\n    return date.today().year - born\n"
    )
    proof = prover("import own\nx = own.age(1990)", "final_answer(x)").prove()
    assert (proof.state, "`date.today` in `own.py`" in proof.reason) == ("not reproduced", True)


def test_the_clock_in_what_was_handed_in_is_seen(prover, tmp_path, monkeypatch):
    (tmp_path / "own_ages.py").write_text(
        "from datetime import date\n\n\ndef age(born):\n    return date.today().year\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from own_ages import age  # pyright: ignore

    proof = prover("x = f(1990)", "final_answer(x)", inputs={"f": age}).prove()
    assert (proof.state, "`date.today` in `f`" in proof.reason) == ("not reproduced", True)


def test_a_plot_that_seaborn_draws_at_random_is_told(prover, tmp_path):
    plot = "def barplot(x):\n    plt.bar([0, 1], [hash('x') % 1000, 1000])\n"
    (tmp_path / "seaborn.py").write_text(f"import matplotlib.pyplot as plt\n\n\n{plot}")
    proof = prover("import seaborn as sns\nsns.barplot([1, 2])", "final_answer(1)").prove()
    assert "a picture of step 1 looks otherwise: seaborn draws the error bars of a `barplot`" in proof.reason


def test_inputs_tables_pictures_and_files_are_compared(prover):
    import pandas as pd

    df = pd.DataFrame({"k": ["a", "b", "a"], "v": [1.0, 2.0, None]})
    draw = "import matplotlib.pyplot as plt\nprint(df.head())\ndf['v'].plot()\nplt.show()"
    actions = [
        draw,
        "m = df.groupby('k')['v'].sum()\nm.to_csv('sums.csv')\ndf.describe()",
        "final_answer(m.to_frame())",
    ]
    made = prover(*actions, inputs={"df": df})
    proof = made.prove()
    assert proof.state == "proved"
    assert sources(proof) == [
        "import matplotlib.pyplot as plt\ndf['v'].plot()\nplt.show()",
        "m = df.groupby('k')['v'].sum()\nm.to_csv('sums.csv');",
        "m.to_frame()",
    ]
    other = df.assign(v=[1.0, 2.0, 5.0])
    again = Prover(made.events, inputs={"df": other}, cwd=made.cwd).prove()
    assert (again.state, "another table" in again.reason) == ("not reproduced", True)
    assert Prover(made.events, cwd=made.cwd).prove().state in ("proved", "not proved")  # as the record has the value


@tool
def search(query: str) -> str:
    """Searches.

    Args:
        query: What for.
    """
    return "Berlin: 3,769,495 people" if query == "Berlin" else "1 table: sales (2024)"


@pytest.mark.parametrize(
    "answer",
    [
        "people = 3769495\nfinal_answer(sum(xs) / people)",
        "final_answer(sum(xs) / 3.77)",
        "final_answer([x / max([3769495, 1]) for x in xs])",
        "final_answer({'sum': sum(xs), 'people': 3769495})",
        "final_answer({'sum': sum(xs), 'found': search('sales'), 'people': 3_769_000})",
    ],
)
def test_a_call_of_which_the_numbers_were_typed_stays(prover, answer):
    tables = "print(search('sales'))" if "search" in answer else "print(xs[2024:])"
    proof = prover("print(search('Berlin'))", tables, answer, tools=[search], inputs={"xs": [3, 4]}).prove()
    assert (proof.state, sources(proof)[0]) == ("whole", "print(search('Berlin'))")


@pytest.mark.parametrize(
    "answer", ["sum(xs)", "sum(xs) * 2024", "[x for x in xs if x < 3769495]", "search('sales')[-5:]"]
)
def test_a_call_that_was_a_look_goes(prover, answer):
    looks = ["print(search('Berlin'))", "print(search('sales'))"]
    proof = prover(*looks, f"final_answer({answer})", tools=[search], inputs={"xs": [3, 4]}).prove()
    assert (proof.state, sources(proof)) == ("proved", [answer])


TIMED = "import time\nt = time.time()\ns = sum(xs)\nprint(s, time.time() - t, {'a', 'b', 'c', 'd', 'e'}, hash('word'))"


@pytest.mark.parametrize(
    ("look", "answer", "state"),
    [
        ("print(search('Berlin'))", "{'sum': s, 'people': 3769495}", "whole"),
        ("print(search('Berlin'))", "{'sum': s, 'unit': 'people'}", "whole"),
        ("print(search('tables'))", "f'In 2024 there were {s:,}'", "whole"),
        ("print({'mean': sum(xs) * 5.75})", "{'sum': s, 'text': 'The mean is 40.25.'}", "whole"),
        ("found = search('tables')\nprint({'tables', 'sales'})", "{'unit': 'sales', 'sum': s, 'of': found}", "proved"),
        ("print({'mean': sum(xs) * 5.75})", "{'sum': s, 'statistic': 'mean'}", "proved"),
    ],
)
def test_of_what_was_read_and_typed_beside_inputs_only_that_has_to_be_shown_again(prover, look, answer, state):
    proof = prover(look, TIMED, f"final_answer({answer})", tools=[search], inputs={"xs": [3, 4]}).prove()
    assert (proof.state, proof.reason) == (state, "")


def test_what_was_read_and_typed_beside_inputs_has_to_be_shown_again(prover, tmp_path):
    (tmp_path / "mean.txt").write_text("40.25")
    made = prover("print(open('mean.txt').read())", TIMED, "final_answer([s, 40.25])", inputs={"xs": [3, 4]})
    assert made.prove().state == "whole"
    (tmp_path / "mean.txt").write_text("40.5")
    assert "`40.25` was typed from what step 1 showed, which comes out otherwise now" in made.prove().reason


def test_so_has_what_was_typed_from_a_step_that_failed(prover, tmp_path):
    (tmp_path / "mean.txt").write_text("40.25")
    steps = "print(open('mean.txt').read())\n1 / 0", "s = sum(xs)\nprint(s)", "final_answer([s, 40.25])"
    made = prover(*steps, inputs={"xs": [3, 4]})
    assert made.prove().proved
    (tmp_path / "mean.txt").write_text("77.5")
    assert "`40.25` was typed from what step 1 showed" in made.prove().reason


def test_an_interactive_chart_stays_in_the_cells_that_are_proved(prover, tmp_path):
    bundle = {"application/vnd.plotly.v1+json": {"data": []}, "text/html": "<div></div><script>draw()</script>"}
    show = "def show(self): display(self._repr_mimebundle_(), raw=True)"
    forms = f"def _repr_mimebundle_(self, **options): return {bundle}"
    methods = f"    def __init__(self, x): self.x = x\n    {show}\n    {forms}\n"
    (tmp_path / "charts.py").write_text(f"from IPython.display import display\n\n\nclass Chart:\n{methods}")
    draw = "from charts import Chart\nxs = [1, 2]\nfig = Chart(xs)\nfig.show()\nfig"
    proof = prover(draw, "print(xs)", "final_answer(sum(xs))").prove()
    assert (proof.state, sources(proof)) == ("proved", [draw, "sum(xs)"])


DRAW = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2])\nplt.savefig('a.png')"


@pytest.mark.parametrize("close", ["plt.close()", "plt.close(fig)", "plt.close('all')", "fig.clf()", "end()"])
def test_a_figure_that_was_closed_is_not_shown_by_the_cells(prover, close):
    end = "\ndef end():\n    plt.close()" if close == "end()" else ""
    step = f"{DRAW}{end}\nprint(ax)\n{close}\nprint(1)"
    proof = prover(step, "x = 1\nprint(x)", "final_answer(x + 1)").prove()
    assert (proof.state, sources(proof)) == ("proved", [f"{DRAW}{end}\n{close};", "x = 1", "x + 1"])


def test_cells_that_show_more_pictures_than_the_run_are_not_called_proved(prover, tmp_path):
    hidden = f"{DRAW}\ngetattr(plt, 'close')('all')"
    proof = prover(hidden, "x = 1\nprint(x)", "final_answer(x + 1)").prove()
    assert proof.state == "whole" and "close" in sources(proof)[0]
    made = prover(f"{DRAW}\nimport os\nif not os.path.exists('b'): plt.close()", "final_answer(len(ax.lines))")
    (tmp_path / "b").touch()
    proof = made.prove()
    assert (proof.state, proof.reason) == (
        "not reproduced",
        "the answer came out the same, but step 1 showed 0 pictures, the cells show 1",
    )


def test_an_answer_may_be_a_picture_that_was_not_shown(prover):
    image = "from PIL import Image\nimage = Image.new('RGB', (9, 9), 'red')"
    assert prover(image, "final_answer(image.resize((5, 5)))").prove().state == "proved"
    draw = DRAW.replace("plt.savefig('a.png')", "plt.show()")
    assert prover(f"{image}\nprint(image)", f"{draw}\nfinal_answer(image)").prove().state == "proved"


def test_in_what_a_table_is_another_one_is_told_in_words():
    import pandas as pd

    table = pd.DataFrame({"n": [1, 2, 3], "s": [*"abc"]})
    place, begin = "the answer is another table: ", 'DataFrame.iloc[:, 0] (column name="n")'
    assert [difference(table, other).removeprefix(place) for other in (
        table[:2], table.assign(n=[1, 2, 4]), table.astype({"n": float}), table.assign(s="x" * 300),
    )] == [
        "DataFrame shape mismatch, (2, 2) where the run had (3, 2)",
        f"{begin} values are different (33.33333 %), at position 2: 4 where the run had 3",
        f'{begin}: "dtype" differs, float64 where the run had int64',
        'DataFrame.iloc[:, 1] (column name="s") values are different (100.0 %), '
        f"at position 0: '{'x' * 58}… where the run had 'a'",
    ]  # fmt: skip
    begin = "Series values are different (50.0 %), at position"
    for was, now, said in (
        (pd.Series([1, 2], dtype=object), pd.Series(["1", 2], dtype=object), f"{begin} 0: '1' where the run had 1"),
        (pd.Series(["a", None, "b"], dtype="string"), pd.Series(["a", None, "c"], dtype="string"),
         f"{begin} 2: 'c' where the run had 'b'"),
        (pd.Series([1, None, 2], dtype="Int64"), pd.Series([1, None, 3], dtype="Int64"),
         f"{begin} 2: 3 where the run had 2"),
        (pd.Series([None, 1, 2.5]), pd.Series([None, 1, 3.5]),
         "Series values are different (33.33333 %), at position 2: 3.5 where the run had 2.5"),
        (pd.DataFrame({"n": [1]}, index=["a"]), pd.DataFrame({"n": [1]}, index=["b"]),
         "DataFrame.index values are different (100.0 %), at position 0: 'b' where the run had 'a'"),
        (pd.array([1, 2]), pd.array([1, 3]),
         "ExtensionArray values are different (50.0 %), at position 1: 3 where the run had 2"),
    ):  # fmt: skip
        assert difference(was, now) == place + said


def test_in_a_conversation_the_files_of_the_run_itself_are_compared(make, tmp_path):
    """What an earlier run left unsaved in the child is not looked for, unless this run wrote it anew."""
    for name in ("shop.csv", "old.csv", "older.csv"):
        (tmp_path / name).write_text("n\n4\n")
    runs = [
        (
            "open('a.csv', 'w').write('one')\nimport pathlib\npathlib.Path('old.csv').unlink(missing_ok=True)\n"
            "final_answer(1)", True, "",
        ),
        ("final_answer(2)", True, ""),
        ("open('b.csv', 'w').write('two')\nfinal_answer(3)", True, ""),
        ("n = open('a.csv').read()\nopen('b.csv', 'w').write('two')\nfinal_answer(4)", False, "a.csv"),
        ("import os\nif os.path.exists('a.csv'): open('b.csv', 'w').write('two')\nfinal_answer(5)", False, "b.csv is"),
        ("import os\nif os.path.exists('a.csv'): os.remove('older.csv')\nfinal_answer(6)", False, "not removed"),
        ("open('shop.csv', 'a').write('5')\nimport os\nos.remove('a.csv')\nfinal_answer(7)", False, "a.csv"),
        ("open('c.csv', 'w').write(open('shop.csv').read())\nfinal_answer(8)", False, "c.csv"),
    ]  # fmt: skip
    agent = make([code(each) for each, _, _ in runs], executor_kwargs={"cwd": tmp_path})
    for number, (_, proved, reason) in enumerate(runs):
        agent.run("work", reset=not number)
        events = list(Journal(tmp_path / "journal.sqlite").events(agent.run_id))
        proof = Prover(events, cwd=tmp_path, made=agent.python_executor).prove()
        assert (proof.proved, reason in proof.reason) == (proved, True), (number, proof.line)


@pytest.mark.parametrize("still_there", [True, False], ids=["the child lives", "the child is gone"])
def test_files_that_were_saved_are_made_again(prover, tmp_path, still_there):
    """Only where the cells make them: what lies in the folder since then does not count."""
    name = "it's.txt"
    made = prover(f"open({name!r}, 'w').write('two')", f"final_answer(len(open({name!r}).read()))")
    made.made = made.agent.python_executor if still_there else None
    assert made.prove().proved
    assert made.agent.python_executor.save_files().refused == {}
    for text in ("two", "edited", ""):
        (tmp_path / name).write_text(text)
        proof = made.prove()
        assert proof.proved, proof.line
        assert (tmp_path / name).read_text() == text
    other = prover(
        "import os\nif not os.path.exists('b.txt'):\n"
        "    open(['b.txt', 'c.txt'][os.path.exists('c.txt')], 'w').write('3')",
        "final_answer(3)",
    )
    (tmp_path / "c.txt").write_text("")
    (tmp_path / "b.txt").write_text("3")
    assert "the file b.txt is not made again" in other.prove().reason


def test_tables_that_are_written_in_parts_have_other_names_each_time(prover):
    write = "import pyarrow as pa, pyarrow.parquet as pq\nt = pa.table({'v': [1, 2], 'g': ['a', 'b']})\n"
    made = prover(write + "pq.write_to_dataset(t, 'out', partition_cols=['g'])\nfinal_answer(t['v'].to_pylist())")
    assert len(made.agent.python_executor.save_files()) == 2
    proof = made.prove()
    assert proof.proved and "out/g=a/" in proof.line and "run again they write a second" in proof.line, proof.line


def test_which_files_are_the_same_but_for_a_random_name():
    one, two, three = (f"out/{uuid.uuid4().hex}-0.parquet" for _ in range(3))
    made, gone = {"change": "made", "bytes": 1}, {"change": "removed", "bytes": 0}

    def others(was, now):
        return under_other_names(dict.fromkeys(was, made), now)

    assert others([one], {two: made}) == others([one], {one: gone, two: made}) == {one: two}
    for was, now in (
        ([one], {one: made, two: made}),
        ([one], {two: gone}),
        ([one], {two: made, three: made}),
        ([one, two], {three: made}),
        ([one], {two.replace("-0.", "-1."): made}),
        ([one], {two.replace("out/", "in/"): made}),
        ([one], {two.replace("out/", "out/x"): made}),
        ([one.replace(".parquet", ".csv")], {two.replace(".parquet", ".csv"): made}),
        ([f"out/{'0' * 32}.parquet"], {f"out/{'1' * 32}.parquet": made}),
    ):
        assert others(was, now) == {}


def test_an_answer_in_words_rests_on_what_was_printed(prover):
    said = prover("print(2 + 2)", "final_answer('It is four.')").prove()
    assert (said.state, sources(said)) == ("whole", ["print(2 + 2)", "'It is four.'"])


@pytest.mark.parametrize(
    "answer",
    [
        "final_answer('Long.')",
        "answer = 'It took 0.1234.'\nfinal_answer(answer)",
        "final_answer(dict(seconds=0.1234))",
        "taken = 0.1234\nresult = {'seconds': [taken]}\nfinal_answer(result['seconds'])",
        "lines = []\nlines.append('It took {}.'.format(0.1234))\nfinal_answer('\\n'.join(lines))",
        "unit: str = 's'\nfinal_answer(f'It took {0.1234:.2f} ' + unit)",
        "import pandas as pd\ntable = pd.DataFrame({'seconds': [0.1234]})\nfinal_answer(table)",
        "import json\nfinal_answer(json.dumps({'seconds': 0.1234}))",
        "final_answer(412 - 398)",
        "final_answer('slow' if 0.1234 > 0.1 else 'fast')",
    ],
)
def test_words_rest_on_what_was_printed_whatever_holds_them(prover, answer):
    proof = prover("print(hash('word'))", answer).prove()
    assert (proof.state, "wrote the answer down itself" in proof.reason) == ("not reproduced", True)


def test_the_line_that_comes_out_otherwise_is_named(prover):
    proof = prover("print('first')\nprint('hash:', hash('word') % 2**61, 'x' * 99)", "final_answer('Long.')").prove()
    assert (
        "comes out otherwise now: step 1 shows 'hash: " in proof.reason and "where the run had 'hash: " in proof.reason
    )


@pytest.mark.parametrize(
    ("was", "now", "same"),
    [
        (
            "[CV 1/2] END .alpha=1;, score=0.9 total time=   0.1s",
            "[CV 1/2] END .alpha=1;, score=0.9 total time=   1.2s",
            1,
        ),
        (
            "[CV 1/2] END .alpha=1;, score=0.9 total time=   0.1s",
            "[CV 1/2] END .alpha=1;, score=0.8 total time=   0.1s",
            0,
        ),
        (
            "[Pipeline] . (step 1 of 2) Processing pca, total=   0.0s",
            "[Pipeline] . (step 1 of 2) Processing pca, total= 2.1min",
            1,
        ),
        (
            "[Parallel(n_jobs=1)]: Done 5 | elapsed:   0.1s finished",
            "[Parallel(n_jobs=1)]: Done 5 | elapsed:   0.3s finished",
            1,
        ),
        (
            "Date:               2026-11-30 04:35 BIC:                79.1",
            "Date:               2026-11-30 04:36 BIC:  79.1",
            1,
        ),
        (
            "Date:               2026-11-30 04:35 BIC:                79.1",
            "Date:               2026-11-30 04:36 BIC:  79.2",
            0,
        ),
        (
            "Date:                Mon, 30 Nov 2026   AIC:    76.39\nTime:                        03:56:28   BIC:   9",
            "Date:                Tue, 01 Dec 2026   AIC:    76.39\nTime:                        00:00:01   BIC:   9",
            1,
        ),
        ("Time: 12:30:15", "Time: 12:30:16", 0),
        ("a total=   0.1s", "a total=   0.2s", 0),
    ],
)
def test_when_a_library_worked_and_how_long_it_took_does_not_count(was, now, same):
    assert (text_difference(was, now) == "") is bool(same)


def test_of_two_texts_what_is_around_the_first_difference_is_shown():
    said = difference(f"{'a' * 99}\nTime: 1\n{'b' * 99}", f"{'a' * 99}\nTime: 2\n{'b' * 99}")
    assert "Time: 2" in said.partition("where the run had")[0] and "Time: 1" in said.partition("where the run had")[2]
    assert difference("a", "b") == "the answer is 'b' where the run had 'a'"


def test_what_is_made_of_data_that_the_script_holds_is_not_in_words(prover):
    looked = "rows = [('a', 1)]\nprint(hash('word'))"
    for answer in ("final_answer(rows)", "final_answer(rows[0])", "n = 2\nfinal_answer(sum([1, n]))"):
        assert prover(looked, answer).prove().state == "proved"


READ = "print(df.groupby('k').v.sum(), df.v.sum(), df.v.mean())"


@pytest.mark.parametrize(
    "answer",
    [
        "totals = {'a': 5.5, 'b': 2.5}\nbest = max(totals, key=totals.get)\nfinal_answer(f'{best}: {totals[best]}')",
        "total = 8.0\nn = 3\nfinal_answer(total / n)",
        "vals = [1.5, 2.5, 4]\nfinal_answer(sum(vals) / len(vals))",
        "def report(m):\n    return f'mean is {m}'\n\nfinal_answer(report(2.67))",
        "import pandas as pd\ntable = pd.Series([5.5, 2.5], list('ab'))\nfinal_answer(table.sort_values())",
    ],
)
def test_numbers_typed_from_what_was_read_rest_on_it(prover, answer):
    import pandas as pd

    df = pd.DataFrame({"k": ["a", "b", "a"], "v": [1.5, 2.5, 4]})
    made = prover(f"import pandas as pd\npd.set_option('display.width', 90)\n{READ}", answer, inputs={"df": df})
    proof = made.prove()
    assert (proof.state, READ in "\n".join(sources(proof))) == ("whole", True)
    other = Prover(made.events, inputs={"df": df.assign(v=9.0)}, cwd=made.cwd).prove()
    assert (other.state, "what it had read" in other.reason) == ("not reproduced", True)


@pytest.mark.parametrize(
    "work",
    [
        "import numpy as np\nrng = np.random.default_rng(0)\nm = float((rng.random((10_000, 2)) ** 2).mean())",
        "import math\nm = math.factorial(20)",
        "import os\nm = int(os.environ.get('SOME_N', '30')) * 12",
    ],
    ids=["numpy", "math", "os"],
)
def test_constants_that_were_not_shown_are_worked_with_not_typed_from_what_was_read(prover, work):
    import pandas as pd

    look = "print(df.sample(2))"
    proof = prover(look, f"{work}\nprint(m)", "final_answer(m)", inputs={"df": pd.DataFrame({"v": [1.5, 2.5]})}).prove()
    assert proof.state == "proved" and look not in sources(proof)


@pytest.mark.parametrize("looked", ["print(look(1))", "print(open('n.txt').read())"])
def test_numbers_typed_from_tools_and_files_rest_on_them(prover, tmp_path, looked):
    (tmp_path / "n.txt").write_text("67")

    @tool
    def look(at: int) -> int:
        """A number.

        Args:
            at: Where.
        """
        return 67

    proof = prover(looked, "people = 67", "final_answer(round(people / 3))", tools=[look]).prove()
    assert (proof.state, sources(proof)[0]) == ("whole", looked)


@pytest.mark.parametrize(
    ("look", "answer"),
    [
        ("print(f'{sum(xs):,}')", "total = 1234567\nfinal_answer(round(total / 3))"),
        ("print(xs)", "text = '1000000 234567'\nfinal_answer(sum(int(x) for x in text.split()))"),
        ("print(f'a,{xs[0] / 8}\\nb,{xs[1] / 8}')", "a, b = 125000.0, 29320.875\nfinal_answer(round(a / b, 2))"),
        ("print(['Ann', 'Bob'][: len(xs)])", "found = ['Ann', 'Bob']\nfinal_answer(len(found) + 1)"),
        ("print(len(xs) + 6)", "rows = 8\nfinal_answer(rows / 3)"),
        (
            "import json\nyears = 5\nprint(json.dumps(xs))",
            "ys = json.loads('[1000000, 234567]')\nfinal_answer(sum(ys) / years)",
        ),
        ("print(f'{len(xs) * 6.25}%')", "rate = 0.125\nfinal_answer(rate * 80)"),
        ("print(f'${len(xs) * 6.25}k')", "rate = 12.5e3\nfinal_answer(rate / 3)"),
        (
            "print(f'20{len(xs) * 12}-03-05')",
            "from datetime import date\nday = date.fromisoformat('2024-03-05')\nfinal_answer(day.year)",
        ),
    ],
)
def test_what_is_put_down_in_another_form_rests_on_what_was_read(prover, look, answer):
    proof = prover(look, answer, inputs={"xs": [1_000_000, 234_567]}).prove()
    assert (proof.state, sources(proof)[0]) == ("whole", look)


def test_a_number_of_many_digits_is_compared_as_others_are(prover):
    proof = prover("print(xs)", f"n = {'7' * 400}\nfinal_answer(len(str(n)))", inputs={"xs": [12]}).prove()
    assert proof.state == "proved"


def test_what_is_worked_out_from_nothing_or_from_the_data_is_proved_by_its_part(prover):
    primes = "ps = [n for n in range(2, 40) if all(n % d for d in range(2, n))]"
    proof = prover(f"{primes}\nprint(ps)", "tenth = ps[9]\nprint(tenth)", "final_answer(tenth * 2)").prove()
    assert (proof.state, sources(proof)) == ("proved", [primes, "tenth = ps[9]", "tenth * 2"])
    actions = ["print(xs)", "total = sum(xs) * 2\nprint(total)", "final_answer(total / 3)"]
    proof = prover(*actions, inputs={"xs": [1, 2]}).prove()
    assert (proof.state, sources(proof)) == ("proved", ["total = sum(xs) * 2", "total / 3"])


@pytest.mark.parametrize("before", ["for _ in 'ab':\n    n = 1", "_, n = 1, 2", "n = 1"])
def test_a_large_answer_is_proved_whatever_the_cells_call_by_an_underscore(prover, before):
    proof = prover(f"{before}\nimport numpy as np", "x = np.arange(1_100_000.0)", "final_answer(x * n)").prove()
    assert (proof.state, proof.reason) == ("proved", "")


def test_what_is_not_shown_leaves_the_last_value_as_it_is(prover):
    shown = "class A:\n    def __del__(self): pass\n\nA()"
    assert prover(shown, "x = 21\nx + 0", "final_answer(_ * 2)").prove().proved
    quiet = prover("x = 20\nx + 1", "y = 0\nclass A: pass\na = A()", "final_answer(_ * 2)").prove()
    assert quiet.proved and sources(quiet)[-1] == "_ * 2"


@pytest.mark.parametrize("value", ["A()", "A();", "7", "7;", "(7, A())"])
def test_what_the_cells_hide_is_no_other_text_than_what_was_read(prover, value):
    proof = prover(f"class A: pass\nprint(5)\n{value}", "final_answer('It is five.')").prove()
    assert (proof.state, proof.reason) == ("whole", "")


def test_a_number_in_a_value_that_the_cells_hide_is_compared_as_well(prover):
    proof = prover("class A: pass\n(hash('word'), A())", "final_answer('Long.')").prove()
    assert proof.state == "not reproduced"


def test_where_the_part_does_not_prove_the_whole_script_does(prover):
    sly = "class A:\n    def __del__(self):\n        log.append(1)\n\nlog = []\na = A()\na = None\nprint(log)"
    proof = prover(sly, "final_answer(len(log))").prove()
    assert proof.state in ("proved", "whole")
    assert "a = None" in "\n".join(sources(proof))


@pytest.mark.parametrize("magic", ["%%time", "%%capture noise", "%%timeit -n 1 -r 1", "%%time\n%%capture"])
def test_an_answer_given_under_a_magic_is_given_without_it(prover, magic):
    proof = prover("n = 5", f"{magic}\nprint('noise')\nx = n * 4\nfinal_answer(x)\nx = 0").prove()
    assert (proof.state, sources(proof)) == ("proved", ["n = 5", "x = n * 4\nx"])


def test_pictures_that_a_magic_kept_back_in_the_answering_step_are_not_compared(prover):
    figures = "for i in range(3):\n    plt.plot([i])\n    plt.show()"
    looked = f"%%capture\nimport matplotlib.pyplot as plt\n{figures}\nfinal_answer(len([1, 2]))"
    proof = prover("x = 1", looked).prove()
    assert (proof.state, proof.reason) == ("whole", "")


@pytest.mark.parametrize(
    "said", ["# not kept back by %%capture\n", "s = '\\\n%%capture\\\n'\n", "%%capture --no-display\n"]
)
def test_pictures_of_the_answering_step_are_compared_where_no_magic_kept_them_back(prover, said):
    drawn = "import matplotlib.pyplot as plt\nplt.bar(['a', 'b'], [hash('word') % 97, hash('other') % 51])\nplt.show()"
    proof = prover("x = 1", f"{said}{drawn}\nfinal_answer(len([1, 2]))").prove()
    reason = "the answer came out the same, but a picture of step 2 looks otherwise"
    assert (proof.state, proof.reason) == ("not reproduced", reason)


@pytest.mark.parametrize(
    "action",
    [
        "%%time\nif n > 5:\n    final_answer(1)\nfinal_answer(n)",
        "%%time\ndef give(n):\n    final_answer(n)\n\ngive(n)",
        "import builtins\nbuiltins.final_answer(n)",
        "%%own\nfinal_answer(n)",
    ],
)
def test_an_answer_that_only_a_run_can_give_is_not_proved(prover, action):
    magic = "from IPython.core.magic import register_cell_magic\n@register_cell_magic\ndef own(_, cell): exec(cell)"
    proof = prover(f"n = 5\n{magic}", action).prove()
    assert (proof.state, "final_answer" in proof.reason) == ("not reproduced", True)


@pytest.mark.parametrize(
    "actions",
    [
        ("def give(n):\n    final_answer(n)", "x = 3\nx", "give(x)"),
        ("n = 5", "for each in range(9):\n    if each == n:\n        final_answer(each)"),
        ("n = 5", "eval('final_answer(n)')"),
        ("def give(n):\n    final_answer(n)", "%%time\ngive(final_answer('final_answer'))"),
    ],
)
def test_an_answer_given_from_within_is_proved(prover, actions):
    assert prover(*actions).prove().proved


@pytest.mark.parametrize(("answer", "tries"), [("n * sum({})", 4), ("n / sum({})", 2)])
def test_where_the_part_gave_something_else_the_whole_has_to_give_the_answer_more_than_once(
    prover, monkeypatch, answer, tries
):
    tried, once = [], Prover._try
    monkeypatch.setattr(Prover, "_try", lambda self, *given: tried.append(given) or once(self, *given))
    looked = "import decimal\nn = 1\nprint(decimal.Decimal(1) / 3)"
    flags = "decimal.getcontext().flags.values()"
    assert prover(looked, f"final_answer({answer.format(flags)})").prove().state == "whole"
    assert len(tried) == tries


@pytest.mark.parametrize(
    ("work", "without"),
    [
        (
            "import requests\ntry:\n    n = requests.get('http://a.b').status_code\nexcept OSError:\n    n = 0",
            "the network",
        ),
        ("import os\nn = os.environ.get('APP_MODE', 'default')", "your environment variables"),
        ("import os\nos.makedirs('d', exist_ok=True)\nn = len(os.listdir('d'))", "your hidden files"),
        (
            "import os, socket\ntry:\n    n = socket.create_connection(('a.b', 80))\nexcept OSError:\n"
            "    n = [os.getenv('A'), len(os.listdir('/'))]",
            "the network, your environment variables and your hidden files",
        ),
    ],
)
def test_the_proof_says_what_a_box_had_kept_from_the_cells(prover, work, without):
    proof = prover(work, "print(n)", "final_answer(n)").prove()
    assert (proof.state, proof.besides) == ("proved", f"; they ran without {without}")
    assert proof.line.endswith(f"gave the same answer; they ran without {without}.")


@pytest.mark.parametrize(
    "cell",
    [
        "import urllib.request\nx = urllib.request.urlopen(u)",
        "from urllib.request import urlopen\nx = urlopen(u)",
        "import urllib.request as r",
        "from urllib import request",
        "import http.client",
        "import httpx as h",
        "import pandas as pd\nurl = 'https://a.b/c.csv'\ntry: df = pd.read_csv(url)\nexcept OSError: df = None",
        "import seaborn as sns\ndf = sns.load_dataset('tips')",
        "from os import environ\nx = environ['A']",
        "import os\nx = dict(os.environ)",
        "from os import getenv as g\nx = os.getenv('A')",
        "import os\nfor a, b, c in os.walk('.'): print(c)",
        "from pathlib import Path\nx = [*Path('.').iterdir()]",
        "from pathlib import Path\nx = [*Path('.').glob('*')]",
        "from pathlib import Path\nx = [*Path('.').rglob('*')]",
        "import pandas as pd\nBASE = 'https://a.b'\ndf = pd.read_csv(f'{BASE}/c.csv')",
        "import pandas as pd\ndf = [pd.read_json(path_or_buf=u) for u in ['https://a.b/' + n for n in names]]",
        "import pandas as pd\ndef load(u='https://a.b/c.csv'): return pd.read_csv(u)\ndf = load()",
        "import pandas as pd\nfor k, u in {'a': 'https://a.b/c.csv'}.items(): df = pd.read_csv(u)",
        "import socket\ns = socket.create_connection((socket.gethostname(), 80))",
        "import os\nos.environ['A'] = '1'\nx = os.environ['B']",
        "import os as o\nx = o.environ.get('HOME')",
        "import os\nx = os.path.expandvars('$HOME')",
        "from os import listdir as ls\nx = ls('.')",
        "import os\nfor f in os.listdir('.'): print(f)",
    ],
)
def test_what_asks_for_something_that_a_box_has_not_is_seen(cell):
    assert hidden_from([cell])


@pytest.mark.parametrize(
    "cell",
    [
        "from urllib.parse import quote, urlparse\nx = quote('a b')",
        "import os\nos.environ['A'] = '1'\nos.environ.setdefault('MPLBACKEND', 'agg')\ndel os.environ['A']",
        "import glob\nx = glob.glob('*') + glob.glob('*.csv')",
        "from pathlib import Path\nx = [*Path('.').glob('*.csv')] + [Path('a.csv').read_text()]",
        "import ast\nx = [*ast.walk(tree)]",
        "import pandas as pd\ndf = pd.read_csv('a.csv')\nx = df.walk.sum()",
        "x = 'https://a.b'\ny = f'<a href=\"{x}\">'",
        "requests = df.requests.sum()\nx = requests / 3",
        "import os\nx = os.path.exists('a.csv')",
        "import pandas as pd\ndf = pd.read_csv('a.csv')\ndf['link'] = 'https://shop.example/' + df.id",
        "import pandas as pd\ndf = pd.read_csv('a.csv')\nx = df[df.url == 'https://a.b']",
        "import pandas as pd\nNS = {'k': 'http://www.opengis.net'}\ndf = pd.read_xml('f.xml', namespaces=NS)",
        "from pathlib import Path\nx = sorted(Path('.').rglob('*.csv'))",
        "class A:\n    def listdir(self): return []\nx = A().listdir()",
        "import os\nx = [f for f in os.listdir('.') if f.endswith('.csv')]",
        "import os\nfor f in sorted(os.listdir('.')):\n    if f.endswith('.csv'):\n        print(f)",
        "from pathlib import Path\nx = [f for f in Path('.').iterdir() if f.suffix == '.csv']",
        "environ = df.environ.mean()\nx = environ + 1",
        "import os\nos.environ['A'] = '1'\nx = os.environ['A'] + os.environ.get('A') + os.getenv('A')",
        "import os\nif 'A' not in os.environ: os.environ['A'] = '1'",
        "from http.client import responses\nx = responses[404]",
        "import socket\nx = socket.gethostname()",
    ],
)
def test_other_work_misses_nothing_in_a_box(cell):
    assert hidden_from([cell]) == ""


def test_what_is_proved_is_not_doubted(prover):
    asked = []

    @tool
    def look(at: int) -> int:
        """A number.

        Args:
            at: Where.
        """
        asked.append(at)
        if len(asked) == 1:
            raise ValueError("later")
        return at

    proof = prover("xs = []\nxs.append(look(3))", "xs.append(look(3))", "final_answer(xs)", tools=[look]).prove()
    said = "Statement 2 of this step failed half-way. What it had changed by then is not repeated here."
    assert proof.proved and proof.told()[0].source == f"Next.\n\n{said}\n\n*{proof.line}*"
    undone = prover("xs = [1]\nfor n in [1, 0]: xs.append(1 / n)", "final_answer(xs)").prove()
    assert (undone.state, "may differ" in str(undone.cells)) == ("not reproduced", True)


def test_a_stopped_proof_proves_nothing(prover):
    made = prover("n = 0\nwhile n < 10 ** 7: n += 1", "final_answer(n)")
    made.stop()
    proof = made.prove()
    assert (proof.state, proof.reason) == ("not proved", "stopped")
    endless = prover("import os\nn = 0\nwhile os.path.exists('wait'):\n    n += 1", "final_answer(n)")
    (endless.cwd / "wait").touch()
    timer = threading.Timer(0.5, endless.stop)
    timer.start()
    assert endless.prove().state == "not proved"
    timer.join()


def test_without_a_box_nothing_is_run_again(prover, monkeypatch):
    made = prover("x = 1", "final_answer(x)")
    monkeypatch.setenv("SMOL_BOX", "off")
    proof = made.prove()
    assert proof.state == "not proved" and "box is off" in proof.reason


def test_a_run_without_its_inputs_is_not_tried(prover):
    made = prover("y = x + 1", "final_answer(y)", inputs={"x": 1})
    events = [e if not isinstance(e, RunStarted) else type(e)(**{**vars(e), "values": {}}) for e in made.events]
    proof = Prover(events, cwd=made.cwd).prove()
    assert proof.state == "not proved" and "`x`" in proof.reason


# comparing


def tables():
    import numpy as np
    import pandas as pd

    df = pd.DataFrame({"a": [1.0, np.nan]})
    yield df, df.copy(), True
    yield df, df + 1e-12, True
    yield df, df.set_axis([1, 2]), False
    yield df, df.astype("float32"), False
    yield df, df.rename(columns={"a": "b"}), False
    yield np.array([1.0, np.nan]), np.array([1.0, np.nan]), True
    yield np.array([1.0]), np.array([1.1]), False
    yield np.array([1]), np.array([1.0]), False
    yield np.float64(1.0), 1.0, False
    yield pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-02"), False
    yield pd.Interval(0.0, 0.3), pd.Interval(0.0, 0.1 + 0.2), True
    yield pd.Interval(0.0, 0.3), pd.Interval(0, 0.4), False
    yield pd.Interval(0, 1), pd.Interval(0, 1, closed="left"), False
    yield pd.interval_range(0.0, 2.0), pd.IntervalIndex.from_breaks([0, 1 + 1e-12, 2.0]), True
    yield pd.interval_range(0.0, 2.0), pd.interval_range(0.0, 2.0, name="k"), False
    yield pd.IntervalDtype("int64"), pd.IntervalDtype("int64"), True
    yield pd.Index([1, 2]), pd.Index([1, 2]), True
    yield pd.Index([1, 2]), pd.Index([1, 3]), False
    yield df.a.array, df.a.copy().array, True
    yield pd.array(["a"]), pd.array(["b"]), False
    yield pd.Period("2020"), pd.Period("2021"), False
    yield np.dtype("i8"), np.dtype("i8"), True
    yield np.dtype("i8"), np.dtype("i4"), False
    yield np.array([[1], "a"], object), np.array([[1], "a"], object), True
    yield np.array([[1], "a"], object), np.array([[2], "a"], object), False
    many = np.linspace(-1, 1, 99)
    mixed = [1e9, *[0.001] * 50]  # of which most are small
    for kind in (np.array, pd.Series, lambda each: pd.DataFrame({"k": "a", "v": each, "w": each * 1e-9})):
        yield kind(many), kind(many + 1e-15), True
        yield kind(many), kind(many + 1e-12), False
        yield kind(many * 1e-20), kind(many * 1e-20 + 1e-18), False
        yield kind(np.array([*many, 0.3])), kind(np.array([*many, 0.3 + 1e-9])), False
        for amount, was, now in [
            (2.4e9, 0.049, 0.051), (1e9, 1e-4, 9e-3), (1e12, 0.3, 5.0), (1e12, 1e-8, 2e-8), (1.0, 1e-15, 1e-9)
        ]:  # fmt: skip
            yield kind(np.array([*[amount] * 24, was])), kind(np.array([*[amount] * 24, now])), False
        beside = [1e9, 0.03] * 15  # amounts and rates
        yield kind(np.array([*beside, 1e-12])), kind(np.array([*beside, 2e-12])), False
        yield kind(np.array([1.0, 1e-18] * 15)), kind(np.array([1.0, 2e-18] * 15)), False
        yield kind(np.array(mixed)), kind(np.array([*mixed[:-1], 0.0011])), False
        yield kind(np.array(mixed[:2])), kind(np.array([1e9, 0.001 + 1e-9])), False
    yield np.ma.masked_invalid([*many, np.nan]), np.ma.masked_invalid([*(many + 1e-15), np.nan]), True
    signal = pd.DataFrame({"a": [Decimal("sNaN")]})  # which nothing compares
    yield signal, signal.copy(), False


@pytest.mark.parametrize(("was", "now", "same"), [
    (1, 1, True), (1, 1.0, False), (1, True, False), (1.0, 1.0 + 1e-12, True), (1.0, 1.0 + 1e-6, False),
    (1.796e9, 1.796e9 + 0.1, False), ([1.796e12], [1.796e12 + 100], False),
    ({float("nan"): 1, float("nan"): 2}, {float("nan"): 3, float("nan"): 2}, False),
    ({float("nan"): 1}, {float("nan"): 1}, True), ({float("nan"): 1}, {float("nan"): 2}, False),
    ({(1, float("nan"))}, {(1, float("nan"))}, True), ({float("nan")}, {1.0}, False), ({1, 2}, {1}, False),
    (Decimal("NaN"), Decimal("NaN"), True), (Decimal(1), Decimal(2), False),
    (float("nan"), float("nan"), True), (0.0, 1e-300, False), ([1, [2.0]], [1, [2.0 + 1e-12]], True),
    ([1, 2], [2, 1], False), ((1,), [1], False), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
    ({"a": 1}, {"a": 2}, False), ({"a": 1}, {"b": 1}, False), ({1, 2}, {2, 1}, True), (1j, 1j + 1e-12j, True),
    ("a", "b", False), (None, None, True), (float("inf"), float("inf"), True), *tables(),
])  # fmt: skip
def test_values_are_compared_by_value(was, now, same):
    assert (difference(was, now) == "") is same


def test_a_number_of_which_rounding_may_be_all_is_said_to_be_one():
    assert difference(4.9e-17, 7.1e-18).endswith("7.1e-18 where the run had 4.9e-17 (both may be 0, but for rounding)")
    assert "rounding" not in difference(4.9e-7, 7.1e-18) + difference(0, 1)


def test_pictures_are_compared_by_pixels():
    from PIL import Image

    def png(color, level=6):
        stream = io.BytesIO()
        Image.new("RGB", (40, 40), color).save(stream, "PNG", compress_level=level)
        return stream.getvalue()

    assert png((9, 9, 9)) != png((9, 9, 9), 0)
    assert same_file("a.png", png((9, 9, 9)), png((10, 9, 9), 0))
    assert not same_file("a.png", png((9, 9, 9)), png((30, 9, 9)))
    assert not same_file("a.txt", b"one", b"two")


@pytest.mark.parametrize(
    ("actions", "line"),
    [
        (["{look}", "final_answer({'mean': 99.9, 'total': 7.0})"], "{words}; 99.9 in it stands in {none}."),
        (["{look}", "final_answer('The mean is about 2.3, the total 7.')"], "{words}."),
        (
            ["import warnings\nwarnings.filterwarnings('ignore')\n{look}", "final_answer('The largest is 99.9.')"],
            "{words}; 99.9 in it stands in {none}.",
        ),
        (["{look}\nfinal_answer({'mean': 99.9, 'total': 7.0})"], "{same}, which the model wrote itself{self}."),
        (["{look}", "final_answer(sum([1.0, 2.333333]))"], "{same} from what the model typed in, and showed {read}."),
        (
            ["{look}", "final_answer({'mean': 99.9, 'most': df.a.max(), 'less': 2.33, 'of': 40})"],
            "{same}; 99.9 in it, which the model wrote itself, stands in {none}.",
        ),
        (["{look}", "final_answer(df.a.max() + 99.9)"], "{same}."),
        (["final_answer(2**10)"], "{same}."),
        (["{look}\nopen('o.csv', 'w').write('1')", "final_answer('saved')"], "{made} files and {showed}."),
        (
            ["{look}\nopen('o.csv', 'w').write('1')", "final_answer('99.9, saved')"],
            "{again} files and {showed}; 99.9 in it stands in {none}.",
        ),
        (["{look}\ndf.plot();", "final_answer('plotted')"], "{made} pictures and {showed}."),
        (
            ["raise ValueError('there are %d rows' % 4711)", "final_answer('4711 rows, not 815')"],
            "{same}, which the model wrote itself.",
        ),
    ],
)
def test_the_line_says_what_the_model_wrote_itself(prover, actions, line):
    import pandas as pd

    look = "print(df.describe(), df.a.sum())"
    made = prover(
        *(action.replace("{look}", look) for action in actions), inputs={"df": pd.DataFrame({"a": [1.0, 2, 4]})}
    )
    events = [
        replace(each, task="Of 40?", system_prompt="815") if isinstance(each, RunStarted) else each
        for each in made.events
    ]
    begin, none, read = "run in a fresh kernel, these cells", "no text that was shown before", "what the model had read"
    assert replace(made, events=events).prove().line == line.format_map(
        {
            "words": f"Shown again: {begin} showed {read}; the model wrote the answer itself",
            "same": f"Proved: {begin} gave the same answer",
            "made": f"Proved: {begin} made the same",
            "again": f"Shown again: {begin} made the same",
            "showed": f"showed {read}; the model wrote the answer itself",
            "self": f"; 99.9 in it stands in {none}",
            "none": none,
            "read": read.replace("the model", "it"),
        }
    )


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        (["import os\nos.makedirs('plots')", "final_answer(len(os.listdir('plots')))"], "the cells fail (FileExists"),
        (
            [
                "text = open('in.csv').read()\nwith open('in.csv', 'w') as file:\n    file.write(text + 'more')",
                "final_answer(len(text))",
            ],
            "the answer is 6 where the run had 2",
        ),
        (
            ["with open('n.txt', 'a') as f:\n    n = f.write('x')", "final_answer(len(open('n.txt').read()))"],
            "the answer is 2 where the run had 1",
        ),
    ],
)
def test_cells_that_change_what_they_begin_with_are_proved_where_they_begin_afresh(prover, tmp_path, actions, said):
    (tmp_path / "in.csv").write_text("ab")
    proof = prover(*actions).prove()
    assert (proof.proved, proof.reason) == (True, "")
    assert f"gave the same answer; run a second time in the same place, {said}" in proof.line


def test_what_the_model_had_read_is_said_once_to_come_out_otherwise_in_the_same_place(prover):
    look = "with open('n.txt', 'a') as f:\n    f.write('x')\nprint(len(open('n.txt').read()))"
    line = prover(look, "final_answer('The log has 1 line.')").prove().line
    said = "run a second time in the same place, step 1 shows '2' where the run had '1'."
    assert line.endswith(f"; the model wrote the answer itself; {said}")
