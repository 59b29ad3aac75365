"""The finished work as cells: they run on their own, twice, give the answer, and leave the user's variables alone."""

from __future__ import annotations

import ast
import copy

import pytest

from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    FinalAnswer,
    Output,
    RunStarted,
    StepFinished,
    ToolCalled,
    ToolReturned,
)
from smol_kernel.executors.summaries import brief
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.named_answer import with_answer_in
from smol_kernel.runs.notebook import to_notebook
from smol_kernel.runs.script import ScriptCell, script_cells
from smol_kernel.runs.source import indented
from smol_kernel.runs.tokens import effort


def a_run(*steps, inputs=None, final=True, tools=()):
    """The transcript of a run; a step is its code, or a dict of that and more."""
    start = {"task": "t", "agent": "a", "model": "m", "isolation": "none", "max_steps": 9, "system_prompt": ""}
    events = [RunStarted(run="r", inputs=inputs or {}, tools=list(tools), **start)]
    for number, step in enumerate(steps, 1):
        step = {"code": step} if isinstance(step, str) else step
        at = {"run": "r", "step": number}
        ok = step.get("status", "ok") == "ok"
        is_final = final and number == len(steps)
        completed = step.get("completed", statements(step["code"]) if ok else 0)
        events.append(ActionProposed(**at, thought=step.get("thought", f"thought {number}"), code=step["code"]))
        if "result" in step:
            data = {"text/plain": step["result"], **step.get("data", {})}
            events.append(Output(**at, channel="result", text=step["result"], data=data))
        events += [Output(**at, channel="display", data=data) for data in step.get("displays", [])]
        for place, (tool, args, gave) in enumerate(step.get("calls", [])):
            call = {**at, "call": f"c{number}.{place}", "tool": tool}
            events.append(ToolCalled(**call, args=args, summary=f"{tool}({args})"))
            events.append(ToolReturned(**call, ok=True, summary=brief(gave, 120)))
        events.append(
            ActionFinished(
                **at, status=step.get("status", "ok"), completed=completed, final=is_final,
                value_text=step.get("value_text", ""), error_type=None if ok else "KeyError",
            )
        )  # fmt: skip
        events.append(StepFinished(**at, error_type=None if ok else "AgentExecutionError"))
    if final:
        events.append(FinalAnswer(run="r", value=1, text="1"))
    return Transcript.from_events(events)


def statements(code):
    try:
        return len(ast.parse(code).body)
    except SyntaxError:
        return 1


def code_of(*steps, **kwargs):
    return [cell.source for cell in script_cells(a_run(*steps, **kwargs)) if cell.kind == "code"]


def run_cells(sources, namespace):
    """Run the cells as a notebook does; gives the value the last one shows."""
    shown = None
    for source in sources:
        body = ast.parse(source).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
        shown = eval(compile(ast.Expression(last.value), "cell", "eval"), namespace) if last else None
    return shown


def twice(*steps, inputs=None, **values):
    """The value of the cells, run twice in one namespace; the inputs are the same afterwards."""
    summaries = {name: f"{type(value).__name__} of something" for name, value in values.items()}
    sources = code_of(*steps, inputs=inputs or summaries)
    namespace, before = dict(values), copy.deepcopy(values)
    first = run_cells(sources, namespace)
    assert {name: namespace[name] for name in values} == before
    assert all(namespace[name] is values[name] for name in values)
    assert run_cells(sources, namespace) == first
    return first


def test_each_step_becomes_its_thought_and_its_code():
    cells = script_cells(a_run({"code": "x = 1", "thought": "Set x."}, "final_answer(x)"))
    assert cells == [
        ScriptCell("markdown", "Set x.", 1),
        ScriptCell("code", "x = 1", 1),
        ScriptCell("markdown", "thought 2", 2),
        ScriptCell("code", "x", 2),
    ]


def test_comments_and_layout_stay():
    code = "# why\nx = [\n    1,  # one\n]  # end\n\n\n# then\ny = x\n# last words"
    assert code_of(code, "final_answer(y)")[0] == code


@pytest.mark.parametrize(
    ("completed", "kept"),
    [
        (0, []),
        (1, ["# one\na = 1  # first"]),
        (2, ["# one\na = 1  # first\nb = 2"]),
        (3, ["# one\na = 1  # first\nb = 2; c = 3"]),
    ],
)
def test_of_a_failed_step_the_statements_that_completed_stay(completed, kept):
    code = "# one\na = 1  # first\nb = 2; c = 3\n# never\nd = boom"
    step = {"code": code, "status": "error", "completed": completed}
    assert code_of(step, "final_answer(a)")[:-1] == kept


def test_a_step_that_completed_nothing_contributes_nothing():
    cells = script_cells(a_run({"code": "boom", "status": "error"}, "final_answer(1)"))
    assert {cell.step for cell in cells} == {2}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("final_answer(x)", "x"),
        ("final_answer( answer = x + 1 )", "x + 1"),
        ("y = x\nfinal_answer(y)\nprint('never')", "y = x\ny"),
        ("result = final_answer(x)", "x"),
        ("final_answer(x);", "x"),
        ("final_answer((1,\n  2))  # both", "(1,\n  2)  # both"),
        ("final_answer(\n    x +\n    1\n)", "(\n    x +\n    1\n)"),
        ("final_answer(\n    x,\n)", "x"),
        ("final_answer(i for i in x)", "(i for i in x)"),
        ("final_answer((y := 3))", "(y := 3)"),
        (
            "if x:\n    final_answer(1)\nelse:\n    final_answer(2)",
            "if x:\n    answer = 1\nelse:\n    answer = 2\nanswer",
        ),
        (
            "try:\n    final_answer(int(x))\nexcept ValueError:\n    final_answer(None)",
            "try:\n    answer = int(x)\nexcept ValueError:\n    answer = None\nanswer",
        ),
        ("answer = 5\nwith f() as g:\n    final_answer(g)", "answer = 5\nwith f() as g:\n    answer_ = g\nanswer_"),
    ],
)
def test_final_answer_becomes_a_last_expression(code, expected):
    step = {"code": code, "completed": statements(code.split("\nprint('never')")[0])}
    assert code_of(step) == [expected]


@pytest.mark.parametrize(
    "code",
    [
        "for n in range(10):\n    if n == 3:\n        final_answer(n)",
        "n = 0\nwhile True:\n    n += 1\n    if n == 3:\n        final_answer(n)",
        "def give(n):\n    final_answer(n)\n\ngive(3)",
        "print(final_answer(3))",
        "if True:\n    final_answer(3)\n    1 / 0",
        "try:\n    final_answer(3)\nfinally:\n    pass\n",
        "try:\n    for _ in range(2):\n        final_answer(3)\nexcept Exception:\n    final_answer(4)",
        'for text in ["""a\n  b"""]:\n    assert text == "a\\n  b"\n    final_answer(3)',
        "for text in [f'''a\n  {1}''']:\n    assert text == 'a\\n  1'\n    final_answer(3)",
    ],
)
def test_an_answer_from_anywhere_within_ends_the_statement(code):
    assert twice(code) == 3


@pytest.mark.parametrize(
    "code",
    [
        "final_answer()",
        "x = final_answer()",
        "for n in range(3):\n    final_answer()",
        "if True:\n    final_answer()\nelse:\n    final_answer(3)",
        "if True:\n    final_answer(*[None])\nelse:\n    final_answer(3)",
        "if False:\n    final_answer(3)\nelse:\n    give = final_answer; give()",
    ],
)
def test_an_answer_may_be_nothing(code):
    assert twice(code) is None


def test_a_function_of_an_earlier_step_may_give_the_answer():
    assert twice("def give(n):\n    final_answer(n)", "give(3)") == 3


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"code": "f();"}, "f();"),
        ({"code": "f() ; # quiet"}, "f() ; # quiet"),
        ({"code": "f(\n  1\n);"}, "f(\n  1\n);"),
        ({"code": "x = 1;"}, "x = 1;"),
        ({"code": "a; b"}, "a; b"),
        ({"code": "x.plot()", "value_text": "[<Line2D at 0x7f00aa>]"}, "x.plot();"),
        ({"code": "x.plot()", "result": "<Axes object at 0x7F12>"}, "x.plot();"),
        ({"code": "x.plot()  # a", "result": "<Axes object at 0x7F12>"}, "x.plot();  # a"),
        ({"code": "x.plot();", "result": "<Axes object at 0x7F12>"}, "x.plot();"),
        (
            {
                "code": "t.style",
                "value_text": "<Styler at 0x7f12>",
                "result": "<Styler at 0x7f12>",
                "data": {"text/html": ""},
            },
            "t.style",
        ),
        ({"code": "picture", "result": "<Image at 0x7f12>", "data": {"image/png": "iVBO"}}, "picture"),
        ({"code": "(\n  x)", "value_text": "<f at 0xabcd>"}, "(\n  x);"),
        ({"code": "y = x", "value_text": "<object at 0x7f00>"}, "y = x"),
        ({"code": "x", "value_text": "at noon"}, "x"),
        ({"code": "ax.plot(x)\nboom", "status": "error", "completed": 1}, "ax.plot(x);"),
        ({"code": "print(x)\nboom", "status": "error", "completed": 1}, "print(x)"),
    ],
)
def test_nothing_is_shown_that_the_run_did_not_show_or_that_differs_each_time(step, expected):
    assert code_of(step, final=False) == [expected]


def test_an_answer_whose_text_holds_an_address_is_not_shown():
    assert code_of({"code": "final_answer(f)", "value_text": "<f at 0x7f00>"}) == ["f;"]
    assert code_of({"code": "final_answer(f);", "value_text": "<f at 0x7f00>"}) == ["f;"]
    assert code_of({"code": "final_answer(f);", "value_text": "1"}) == ["f"]


def test_what_the_script_reads_as_the_last_value_is_shown():
    made = {"code": "A()", "value_text": "<A at 0x7f00>"}
    assert code_of(made, "b = _", "final_answer(b)") == ["A()", "b = _", "b"]
    assert code_of(made, "for _ in 'ab':\n    b = _", "final_answer(b)")[0] == "A();"
    failed = {"code": "f()\nboom", "status": "error", "completed": 1}
    assert code_of("1 + 2", failed, "final_answer(_)") == ["1 + 2", "f();", "_"]


def test_an_answer_in_words_that_names_an_address_is_shown():
    assert code_of({"code": "final_answer(f)", "value_text": "'It crashes at 0x00401136.'"}) == ["f"]


def test_an_answer_that_is_not_shown_goes_into_the_name_that_was_asked_for():
    cells = script_cells(a_run({"code": "y = 1\nfinal_answer(f)", "value_text": "<f at 0x7f00>"}))
    assert with_answer_in(cells, "where")[-1].source == "y = 1\nwhere = f"


@pytest.mark.parametrize(
    "code",
    [
        "df = [9]",
        "df += [9]",
        "df.append(9)",
        "df[0] = 9",
        "del df[0]",
        "df: list = [9]",
        "for df in [[9]]: pass",
        "import math as df",
        "from math import pi as df",
        "with open('/dev/null') as df: pass",
        "try:\n    1 / 0\nexcept ZeroDivisionError as df:\n    print(df)\ndf = [3]",
        "def df(): return 9",
        "class df: pass",
        "[df := 9]",
        "print([df := n for n in [1, 2]])",
        "match [7, 8]:\n    case [a, *df]: pass",
        "match 7:\n    case df: pass",
        "match {'a': 1}:\n    case {**df}: pass",
        "match 7:\n    case int() as df: pass",
        "def f():\n    global df\n    df = 9\nf()",
        "alias = df\nalias.append(9)",
        "a = b = df\nb += [9]",
        "part = df\nother = part\nother[0] = 9",
        "def add(values):\n    values.append(9)\nadd(df)",
        "import random\nrandom.shuffle(df)",
        "df, other = [9], 2",
        "[df, *rest] = [9, 8]",
        "df.sort(reverse=True)",
        "(lambda: df.append(9))()",
        "if df:\n    df = df + [9]",
        "def add(values, more):\n    values.append(more)\nadd(more=9, values=df)",
        "def add(*values, **named):\n    values[0].append(9)\nadd(df)",
        "def add(*, values):\n    values.append(9)\nadd(**{'values': df})",
        "def add(values=df):\n    values.append(9)\nadd()",
        "def same(values):\n    return values\nother = same(df)\nother.append(9)",
        "def add(values):\n    values.append(9)\nplus = add\nplus(df)",
        "class Box:\n    def __init__(self, l):\n        self.l = l\n    def add(self):\n        self.l.append(9)\n"
        "box = Box(df)\nbox.add()",
        "class Tool:\n    def add(self, values):\n        values.append(9)\nTool().add(df)",
        "a, b = df, 1\na.append(9)",
        "first, *rest = df, 1\nfirst.append(9)",
        "a = df if df else None\na.append(9)",
        "a = df or []\na.append(9)",
        "box = {'l': df}\nbox['l'].append(9)",
        "box = [df]\nbox[0].append(9)",
        "box = {}\nbox['l'] = df\nbox['l'].append(9)",
        "(a := df).append(9)",
        "f = df.append\nf(9)",
        "import operator\noperator.iadd(df, [9])",
        "boxes = [b for b in [df]]\nboxes[0].append(9)",
        "for a in [df]:\n    a.append(9)",
        "a: list = df\na.append(9)",
        "if not df:\n    df = list(df)\ndf.append(9)",
        "def add(values):\n    if not values:\n        values = list(values)\n    values.append(9)\nadd(df)",
    ],
)
def test_an_input_is_neither_bound_anew_nor_changed(code):
    twice(code, "final_answer(1)", df=[1, 2, 3])


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("rows = list(v)\nfor r in rows:\n    r['n'] += 1", [{"n": 1}]),
        ("v = list(v)\nv[0]['n'] += 1", [{"n": 1}]),
        ("rows = [*v]\nrows[0]['n'] = 5", [{"n": 1}]),
        ("first = sorted(v, key=str)[0]\nfirst['n'] = 5", [{"n": 1}]),
        ("max(v, key=str)['n'] = 5", [{"n": 1}]),
        ("w = dict(v)\nw['l'].append(2)", {"l": [1]}),
        ("w = v.copy()\nw['l'].append(2)", {"l": [1]}),
        ("w = {**v}\nw['l'].append(2)", {"l": [1]}),
        ("v.get('l').append(2)", {"l": [1]}),
        ("(l := v['l']).append(2)", {"l": [1]}),
        ("for l in v.values():\n    l.append(2)", {"l": [1]}),
        ("v[0].append(2)", ([1],)),
        ("v.add(2)", {1}),
        ("v.difference_update({1})", {1}),
    ],
)
def test_what_an_input_holds_is_not_changed_either(code, value):
    twice(code, "final_answer(1)", v=value)


@pytest.mark.parametrize(
    "code",
    [
        "b = a.ravel()\nb += 1",
        "b = a.reshape(-1)\nb[0] = 7",
        "a.reshape(-1)[0] = 7",
        "import numpy as np\nnp.fill_diagonal(a, 7)",
        "import numpy as np\nnp.copyto(a, 7)",
        "import numpy as np\nnp.put(a, [0], 7)",
        "import numpy as np\nb = np.asarray(a)\nb[0] = 7",
    ],
)
def test_an_array_is_not_changed_through_a_view(code):
    numpy = pytest.importorskip("numpy")
    a = numpy.ones((2, 2))
    namespace = {"a": a}
    for _ in range(2):
        run_cells(code_of(code, "final_answer(float(a.sum()))", inputs={"a": "ndarray 2 x 2, float64"}), namespace)
        assert namespace["a"] is a and a.sum() == 4


def test_a_name_in_the_text_of_a_query_is_the_other_name_too():
    pandas = pytest.importorskip("pandas")
    steps = ["limit = limit * 2\nfound = df.query('a > @limit and a < 9')", "final_answer(len(found))"]
    sources = code_of(*steps, inputs={"limit": "int: 1", "df": "DataFrame 3 x 1, columns a (int64)"})
    namespace = {"df": pandas.DataFrame({"a": [1, 2, 3]}), "limit": 1}
    assert [run_cells(sources, namespace) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("found = df.query('a > ' + '@limit')", 1),
        ("found = df.query('a >'  # why\n  ' @limit')", 1),
        ("found = df.query('a > @limit' if limit else 'a > 0')", 1),
        ("wanted = 'a > @limit'\nfound = df.query(wanted)", 1),
        ("column = 'a'\nfound = df.query(f'{column} > @limit')", 1),
        ("rows = f\"{len(df.query('a > @limit'))}\"\nfound = 'x' * int(rows)", 1),
        ("def more(limit):\n    return df.query('a > @limit')\nfound = more(0)", 3),
        ("def more():\n    return df.query('a > @limit')\nfound = more()", 1),
        ("found = 'me@limit'", 8),
    ],
)
def test_a_name_behind_an_at_sign_is_the_other_name_too(code, count):
    pandas = pytest.importorskip("pandas")
    inputs = {"limit": "int: 1", "df": "DataFrame 3 x 1, columns a (int64)"}
    sources = code_of(f"limit = limit * 2\n{code}", "final_answer(len(found))", inputs=inputs)
    namespace = {"df": pandas.DataFrame({"a": [1, 2, 3]}), "limit": 1}
    assert [run_cells(sources, namespace) for _ in range(2)] == [count, count]
    assert namespace["limit"] == 1


@pytest.mark.parametrize(
    "code",
    [
        "x = eval('n + 1')",
        "x = globals()['n']",
        "%timeit n",
        "exec('x = n')",
        "!echo $n",
        "text = 'n'\nx = eval(text)",
        "x = eval(f'{1} + n')",
        "x = globals().get('n')",
        "key = 'n'\nx = globals()[key]",
        "x = '{n}'.format(**locals())",
        "x = '%(n)s' % vars()",
        "x = df.query('a > \\x40n')",
        "import duckdb\nx = duckdb.sql('select sum(a) from n').df()",
        "import duckdb\nwanted = f'SELECT {column} FROM n'\nx = duckdb.query(wanted)",
        "import duckdb\nx = duckdb.connect().execute('summarize n')",
        "from duckdb import query\nname = 'n'\nx = query(f'select * from {name}')",
        "import polars as pl\nx = pl.sql('select * from other join n using (a)')",
        "x = f'{n=}'",
        "x = f'all: {m}={len(str(n)) = !s:>9}'",
        "import pandas as pd\nx = pd.eval('n * 2')",
        "import pandas\ntext = 'n * 2'\nx = pandas.eval(text)",
        "import numexpr as ne\nx = ne.evaluate('n * 2')",
    ],
)
def test_a_name_whose_places_cannot_all_be_told_keeps_its_name(code):
    assert code_of(f"n = n + 1\n{code}", final=False, inputs={"n": "int: 1"}) == [f"n = n + 1\n{code}"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("from PIL import ImageDraw\nd = ImageDraw.Draw(n)\nd.line([0, 0, 5, 5])", "PIL.Image RGB 20 x 20"),
        ("n.insert_column(0, 1)", "DataFrame of 3 items: shape (3, 2)"),
    ],
)
def test_what_is_drawn_on_or_is_a_table_of_others_is_copied_whole(code, kind):
    (cell,) = code_of(code, final=False, inputs={"n": kind})
    assert cell.startswith("from copy import deepcopy\nn_ = deepcopy(n)\n")


def test_a_name_in_a_cell_that_is_no_python_keeps_its_name():
    cells = ["n = n + 1", "%%time\nx = n"]
    assert code_of(*cells, final=False, inputs={"n": "int: 1"}) == cells


@pytest.mark.parametrize(
    "code",
    [
        "x = vars(row)['n']",
        "x = eval('1 + 1') + len('n')",
        "x = model.eval(text) or 'n'",
        "x = df.query('n > 3')",
        "x = 'n from here'",
        "x = df.query('a > 3')\nprint('n joined with others')",
        "import sqlite3\nx = sqlite3.connect(':memory:').execute('select * from n')",
    ],
)
def test_a_word_in_a_string_that_nothing_reads_as_a_name_is_no_place_of_it(code):
    assert code_of(f"n = n + 1\n{code}", final=False, inputs={"n": "int: 1"}) == [f"n_ = n\nn_ = n_ + 1\n{code}"]


@pytest.mark.parametrize(
    "code",
    ["f'n={{n}}={0}'", "f'{0 == 2} {0 != 3}={0:=5}'", "f'{max(0, key=None)}= {0}'", "f'{{n=}} {0}'", "f'{m=} {0}'"],
)
def test_an_equals_sign_in_an_fstring_may_stand_for_itself(code):
    before, after = (code.replace("0", name) for name in ("n", "n_"))
    cells = code_of(f"n = n + 1\nx = {before}", final=False, inputs={"n": "int: 1"})
    assert cells == [f"n_ = n\nn_ = n_ + 1\nx = {after}"]


@pytest.mark.parametrize(
    "code",
    [
        "yearly = df.groupby('y').mean()\nyearly['x'] = 1",
        "copy = df.copy()\ncopy.loc[0, 'x'] = 1",
        "def clean(d):\n    d = d.copy()\n    d['x'] = 1\n    return d\nother = clean(df)",
        "rows = [r for r in df.itertuples()]\nn = len(rows)",
        "total = 0\nfor _, row in df.iterrows():\n    total += row['a']",
        "model = fitted(df)\nmodel.summary()",
        "import plotly.express as px\nfig = px.line(df, x='a', y='b')\nfig.update_layout(title='t')",
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot(df.index, df['x'])\nax.set_title('t')",
        "from sklearn.linear_model import LinearRegression\nmodel = LinearRegression().fit(df[['a']], df['b'])",
    ],
)
def test_a_table_that_is_only_read_is_not_copied(code):
    assert code_of(code, final=False, inputs={"df": "DataFrame 3 x 2"}) == [code]


@pytest.mark.parametrize(
    "code",
    [
        "total = 0\nfor item in xs:\n    total += item",
        "counts = {}\nfor item in xs:\n    counts[item] = counts.get(item, 0) + 1",
        "from collections import defaultdict\ncounts = defaultdict(int)\nfor item in xs:\n    counts[item] += 1",
        "from collections import defaultdict\nby = defaultdict(list)\nfor x in xs:\n    by[x % 2].append(x)",
        "groups = {}\nfor x in xs:\n    groups.setdefault(x % 2, []).append(x)",
        "from collections import Counter\nfound = Counter(xs)\nfound.update([1])",
        "import pandas as pd\ntable = pd.DataFrame(xs)\ntable['z'] = 1",
        "rest = sorted(xs)[1:]\nrest.append(2)",
        "import lib\nlib.compute(xs).show()",
    ],
)
def test_a_list_that_is_only_read_is_not_copied(code):
    assert code_of(code, final=False, inputs={"xs": "list of 3 items"}) == [code]


class Account:
    """A class of the user's own."""

    def __init__(self, entries=()):
        self.entries = list(entries)

    def __eq__(self, other):
        return self.entries == other.entries

    def deposit(self, amount):
        self.entries.append(amount)
        return self

    @property
    def held(self):
        return self.entries


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("acc.deposit(10)", 11),
        ("acc.deposit(10).deposit(5)", 16),
        ("same = acc\nif same:\n    same.deposit(10)", 11),
        ("for each in range(3):\n    acc.deposit(each)", 4),
        ("def pay(to, more):\n    to.deposit(more)\npay(acc, 3)", 4),
        ("def pay(more):\n    acc.deposit(more)\npay(3)\npay(4)", 8),
        ("def pay(more):\n    acc.deposit(more)\ndef both():\n    pay(3)\nboth()", 4),
        ("def pay(to):\n    to.deposit(3)\ndef both(x):\n    pay(x)\nboth(acc)", 4),
        ("acc.held.insert(0, 3)", 4),
    ],
)
def test_an_object_is_copied_where_a_method_of_its_own_is_called_for_what_it_does(code, answer):
    assert twice(code, "final_answer(sum(acc.entries))", acc=Account([1])) == answer


@pytest.mark.parametrize(
    "code",
    [
        "n = acc.total()",
        "print(acc.total())",
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.bar(acc.names, acc.sums)\nax.set_title('t')",
        "import networkx as nx\nimport matplotlib.pyplot as plt\nfig, axes = plt.subplots(1, 2)\n"
        "for ax in axes.flat:\n    nx.draw(acc, ax=ax)\n    ax.set_title('t')",
        "def draw(ax, title):\n    ax.bar(acc.names, acc.sums)\n    ax.set_title(title)\n"
        "import matplotlib.pyplot as plt\nfig, axes = plt.subplots(2)\ndraw(axes[0], 'a')\ndraw(axes[1], 'b')",
        "import plotly.express as px\nfig = px.bar(acc.table)\nfig.update_layout(title='t')\nfig.show()",
        "report = Report(acc)\nreport.render()",
    ],
)
def test_an_object_is_not_copied_where_it_is_only_read(code):
    assert code_of(code, final=False, inputs={"acc": "Account <Account object>"}) == [code]


@pytest.mark.parametrize(
    ("summary", "copied"),
    [
        ("DataFrame 3 x 2, columns a (int64)", "df_ = df.copy()"),
        ("Series of 1,200 items, int64, name 'a'", "df_ = df.copy()"),
        ("ndarray of one item, int64", "df_ = df.copy()"),
        ("DataFrame of 3 items: shape: (3, 2)", "from copy import deepcopy\ndf_ = deepcopy(df)"),
        ("Series of 3 items: shape: (3,)", "from copy import deepcopy\ndf_ = deepcopy(df)"),
        ("DataFrame DataFrame[a: int]", "from copy import deepcopy\ndf_ = deepcopy(df)"),
        ("GeoDataFrame of 3 items: a", "from copy import deepcopy\ndf_ = deepcopy(df)"),
    ],
)
def test_only_tables_of_pandas_are_copied_as_these_are(summary, copied):
    assert code_of("df[0] = 1", final=False, inputs={"df": summary}) == [f"{copied}\ndf_[0] = 1"]


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        ("polars.DataFrame 3 x 2", "m = df.group_by('g').agg(pl.col('a').sum()).sort('a')"),
        ("polars.DataFrame 3 x 2", "m = df.with_columns(b=1)\nm[0, 'b'] = 2"),
        ("GeoDataFrame of 3 items: a", "m = df.to_crs(3857)\nm['area'] = m.area"),
        ("GeoDataFrame of 3 items: a", "import geopandas as gpd\nm = gpd.sjoin(df, gpd.read_file('a'))\nm['b'] = 1"),
        ("DataFrame 3 x 2", "import statsmodels.formula.api as smf\nm = smf.ols('a ~ b', data=df).fit()"),
        (
            "DataFrame 3 x 2",
            "import statsmodels.formula.api as smf\nm = smf.ols('a ~ b', data=df)\nf = m.fit(cov_type='HC3')\n"
            "print(f.summary())\nt = pd.DataFrame({'p': f.pvalues})\nt['b'] = 1",
        ),
    ],
)
def test_what_polars_geopandas_and_statsmodels_only_read_is_not_copied(summary, code):
    assert code_of(code, final=False, inputs={"df": summary}) == [code]


def test_a_model_of_a_formula_keeps_the_table():
    code = "import statsmodels.formula.api as smf\nm = smf.ols('a ~ b', data={df})\nm.data.frame['c'] = 1"
    cells = code_of(code.format(df="df"), final=False, inputs={"df": "DataFrame 3 x 2"})
    assert cells == ["df_ = df.copy()\n" + code.format(df="df_")]


@pytest.mark.parametrize("kind", ["module", "function", "type"])
def test_what_cannot_be_copied_is_not(kind):
    assert code_of("f.x = 1", final=False, inputs={"f": f"{kind}: f"}) == ["f.x = 1"]


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("df = df + [9]\ntotal = sum(df)", 15),
        ("df.append(4)\ntotal = sum(x for x in df)", 10),
        ("def f(df):\n    return len(df)\ndf = df + [1]\ntotal = f([1]) + len(df)", 5),
        ("df = df + [1]\ntotal = sum(df for df in range(3)) + len(df)", 7),
        ("df = df + [1]\ntotal = (lambda df=df: len(df))() + (lambda df: df)(1)", 5),
        ("df = df + [1]\ndef f():\n    df = 1\n    def g():\n        nonlocal df\n        df = 2\n    g()\n"
         "    return df\ntotal = f() + len(df)", 6),
        ("df = df + [1]\nclass C:\n    df = 1\n    def m(self): return len(df)\ntotal = C().m() + C.df", 5),
        ("df = df + [1]\ntotal = int(f'{len(df)}') + len(f'''\n{df[0]} df''')", 9),
        ("df = df + [1]\ntotal = len(f'{df!r:>20}' 'df') + len(dict(df=1))", 23),
        ("df = [[x, y] for x in df for y in df if (df and x)]\ntotal = len(df)", 9),
        ("é = 'é'; df = df + [1]; total = len(df)", 4),
        ("def f(n, df=df):\n    return n\ndf = df + [1]\ntotal = len(df) + f(1)", 5),
    ],
)  # fmt: skip
def test_the_other_name_stands_wherever_the_input_was_meant(code, answer):
    assert twice(code, "final_answer(total)", df=[1, 2, 3]) == answer


def test_a_name_is_followed_through_all_cells():
    cells = code_of(
        "df = df[:2]", "def size():\n    return len(df)", "final_answer(size())", inputs={"df": "list of 3"}
    )
    assert cells == ["df_ = df\ndf_ = df_[:2]", "def size():\n    return len(df_)", "size()"]


def test_a_table_is_copied_by_its_own_method_and_other_values_deeply():
    summaries = {"df": "DataFrame 3 x 2, columns a (int64)", "d": "dict of 1 items: {}", "l": "list of 1 items"}
    cells = code_of("df['x'] = 1\nd['a']['b'] = 1\nl.append(1)", final=False, inputs=summaries)
    assert cells == [
        "df_ = df.copy()\nfrom copy import deepcopy\nd_ = deepcopy(d)\nl_ = deepcopy(l)\n"
        "df_['x'] = 1\nd_['a']['b'] = 1\nl_.append(1)"
    ]


def test_what_is_copied_by_the_script_itself_is_not_copied_twice():
    cells = code_of("df = df.copy()\ndf['x'] = 1", final=False, inputs={"df": "DataFrame 3 x 2"})
    assert cells == ["df_ = df\ndf_ = df_.copy()\ndf_['x'] = 1"]


@pytest.mark.parametrize(
    "code",
    [
        "total = sum(df)",
        "def f(df):\n    df = 1",
        "squares = [df for df in range(3)]",
        "class C:\n    df = 1",
        "n = df\nn = n + [1]",
        "x = dict(df=1)",
        "other = list(df)\nother.append(1)",
    ],
)
def test_an_input_that_stays_as_it_is_keeps_its_name(code):
    assert code_of(code, final=False, inputs={"df": "list of 3 items"}) == [code]


def test_a_number_that_is_counted_up_under_another_name_is_left_alone():
    assert code_of("n = k\nn += 1", final=False, inputs={"k": "int: 3"}) == ["n = k\nn += 1"]


def test_other_names_are_free_ones():
    cells = code_of("df_ = 1\ndf = 2", final=False, inputs={"df": "list", "df__": "list"})
    assert cells == ["df___ = df\ndf_ = 1\ndf___ = 2"]


def test_pandas_tables_stay_as_they_are():
    pandas = pytest.importorskip("pandas")
    df = pandas.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]})
    steps = [
        "df['c'] = df.a + df.b",
        "df.loc[df.a > 1, 'b'] = 0\ndf.drop(columns='a', inplace=True)",
        "df.columns = ['x', 'y']",
        "final_answer(int(df['y'].sum()))",
    ]
    sources = code_of(*steps, inputs={"df": "DataFrame 3 x 2, columns a (int64), b (int64)"})
    namespace = {"df": df}
    assert run_cells(sources, namespace) == run_cells(sources, namespace) == 21
    assert namespace["df"] is df
    assert list(df.columns) == ["a", "b"]
    assert list(df["b"]) == [4, 5, 6]


@pytest.mark.parametrize(
    "code",
    [
        "list.sort(xs)",
        "r = list(map(xs.append, [1, 2]))",
        "for f in [xs.append]:\n    f(4)",
        "from functools import partial\npartial(xs.append, 4)()",
        "getattr(xs, 'append')(4)",
        "import random\nrng = random.Random(3)\nrng.shuffle(xs)",
        "def add(x):\n    x.append(1)\nlist(map(add, [xs]))",
        "def add(x):\n    x.append(1)\nfor step in [add]:\n    step(xs)",
        "add = lambda x: x.append(1)\nadd(xs)",
        "import threading\nt = threading.Thread(target=xs.append, args=(1,))\nt.start()\nt.join()",
        "from heapq import heappop as pop\npop(xs)",
        "from types import SimpleNamespace\ns = SimpleNamespace(xs=xs)\ns.xs.append(1)",
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    kept: list\n    def add(self):\n"
        "        self.kept.append(1)\nP(xs).add()",
        "class P:\n    kept = xs\nP.kept.append(1)",
        "ys = [[0]] + [xs]\nys[1].append(1)",
        "d = {'k': xs} | {'z': 1}\nd['k'].append(1)",
    ],
)
def test_an_input_that_is_changed_by_a_detour_stays_as_it_is(code):
    xs = [3, 1, 2]
    sources = code_of(code, "final_answer(xs)", inputs={"xs": "list of 3 items"})
    namespace = {"xs": xs}
    first, second = run_cells(sources, namespace), run_cells(sources, namespace)
    assert xs == [3, 1, 2] and first == second != xs


@pytest.mark.parametrize(
    "code",
    [
        "np.add.at(a, [0, 0], 1)",
        "np.multiply(a, 2, a)",
        "b = np.nan_to_num(a, copy=False)\nb[0] = 5",
        "b = a.astype(float, copy=False)\nb[0] = 5",
        "b, c = np.split(a, 2)\nb[0] = 5",
        "b = np.atleast_2d(a)\nb[0, 0] = 5",
    ],
)
def test_an_array_that_is_changed_through_another_stays_as_it_is(code):
    import numpy as np

    a = np.ones(4)
    sources = code_of(f"import numpy as np\n{code}", "final_answer(a.tolist())", inputs={"a": "ndarray of 4"})
    assert run_cells(sources, {"a": a}) != [1.0] * 4
    assert a.tolist() == [1.0] * 4


def test_magics_stay_and_the_rest_is_still_edited():
    code = "%matplotlib inline\nfiles = !ls\nx = 1\n!echo hi\nx?\nf(x);"
    cells = code_of({"code": code, "completed": 6}, "final_answer(x)")
    assert cells == ["%matplotlib inline\nfiles = !ls\nx = 1\n!echo hi\nx?\nf(x);", "x"]


@pytest.mark.parametrize("magic", ["%timeit -n1 x", "größe = !ls -l ü", "if x:\n    !ls", "x?"])
def test_a_magic_that_is_kept_last_is_kept_whole(magic):
    failed = {"code": f"x = 5\n{magic}\n1/0", "status": "error", "completed": 2}
    assert code_of(failed, "final_answer(x)") == [f"x = 5\n{magic}", "x"]


@pytest.mark.parametrize("code", ["%%time\nx = 1", "%%bash\necho 'x", "this is no python"])
def test_what_is_not_python_is_kept_whole_if_it_went_well(code):
    assert code_of({"code": code}, final=False) == [code]
    assert code_of({"code": code, "status": "error"}, final=False) == []


@pytest.mark.parametrize("code", ["x = 'a'" + ".replace('1', 'b')" * 200, "x = " + " + ".join(["1"] * 600)])
def test_what_is_too_deep_to_be_read_is_kept_whole_if_it_went_well(code):
    assert code_of(code, "final_answer(x)") == [code, "x"]
    assert to_notebook(a_run(code, "final_answer(x)")).cells
    assert code_of({"code": code, "status": "error"}, final=False) == []


def test_first_lines_do_not_stand_before_a_cell_magic():
    cells = code_of("%%time\nx = 1", "df = 1", final=False, inputs={"df": "list"})
    assert cells == ["%%time\nx = 1", "df_ = df\ndf_ = 1"]


@pytest.mark.parametrize("code", ["", "  \n", "# only a comment"])
def test_a_step_without_statements_contributes_nothing(code):
    assert code_of({"code": code, "completed": 0}, final=False) == []


def test_thoughts_load_nothing():
    thought = "Look: ![x](http://evil/?q=1) <img src=http://evil> and <script>1</script> **bold** `a < b`"
    cell = script_cells(a_run({"code": "1", "thought": thought}, final=False))[0]
    assert "![" not in cell.source
    assert "<img" not in cell.source
    assert "<script" not in cell.source
    assert "http://" not in cell.source
    assert "**bold** `a < b`" in cell.source


def test_a_step_without_a_thought_has_a_heading_of_its_own():
    assert script_cells(a_run({"code": "1", "thought": ""}, final=False))[0].source == "Step 1"
    called = a_run({"code": "look_up(1)\nfinal_answer(2)", "thought": ""})
    called.steps[0].only_calls = True
    assert script_cells(called)[0].source == "Calls look_up, final_answer"


def test_every_cell_of_many_mixed_scripts_is_python():
    pieces = [
        "df = df + [1]",
        "x = 1;",
        "f'{df}';",
        "print(df)",
        "final_answer(df)",
        "for df in []:\n    final_answer(1)",
    ]
    for first in pieces:
        for second in pieces:
            for last in pieces[-2:]:
                for source in code_of(first, f"{first}\n{second}", last, inputs={"df": "list of 1 items"}):
                    ast.parse(source)


def test_indenting_leaves_the_inside_of_strings_alone():
    assert indented('x = """a\nb"""\n\ny = (1,\n2)') == '    x = """a\nb"""\n\n    y = (1,\n    2)'


HALFWAY = (
    "Statement 2 of this step failed half-way. "
    "What it had changed by then is not repeated here, so the answer may differ."
)


def failing(code, completed=1):
    return {"code": code, "status": "error", "completed": completed}


def words_of(*steps, **kwargs):
    return {cell.step: cell.source for cell in script_cells(a_run(*steps, **kwargs)) if cell.kind == "markdown"}


@pytest.mark.parametrize(
    ("failed", "later"),
    [
        ("tot = 0\nfor i in range(5):\n    tot += i\n    if i == 3: raise ValueError('x')", "final_answer(tot)"),
        ("l = []\nfor i in range(5):\n    l.append(1 // (3 - i))", "def f():\n    return len(l)\nfinal_answer(f())"),
        ("l = []\nl.extend(1 // (3 - i) for i in range(5))", "final_answer(l)"),
        ("l = []\nwith f() as g:\n    l.append(g())", "if a:\n    l = 1\nfinal_answer(l)"),
        ("t = 0\nwhile True:\n    t += 1 // (3 - t)", "if boom:\n    t = 0\nfinal_answer(t)"),
        ("d = {}\nfor i in range(5): d.update({i: 1 // (3 - i)})", "final_answer(d)"),
        ("it = iter([1, 2])\nv = next(it) + 1 / 0", "final_answer(next(it))"),
        ("l = []\ndef f(a=l.append(1), b=1 / 0): pass", "final_answer(l)"),
    ],
)
def test_a_statement_that_failed_half_way_is_told_where_later_ones_build_on_it(failed, later):
    assert words_of(failing(failed), later)[1] == f"thought 1\n\n{HALFWAY}"


@pytest.mark.parametrize(
    ("failed", "later"),
    [
        ("g = []\ndef h():\n    g.append(1)\n    1 / 0\nh()", "final_answer(g)"),
        ("n = 0\ndef h():\n    global n\n    n += 1\n    1 / 0\nx = h()", "final_answer(n)"),
        ("def h():\n    global n\n    n = 1\n    1 / 0\ndef k(): h()\nk()", "final_answer(n)"),
        ("d = {}\ndef put(i):\n    d[i] = 1 // (3 - i)\nfor i in range(5): put(i)", "final_answer(d)"),
        ("class C:\n    def m(self):\n        self.n = 1\n        1 / 0\nc = C()\nc.m()", "final_answer(c.n)"),
    ],
)
def test_a_call_that_failed_half_way_counts_with_all_that_it_changes(failed, later):
    completed = statements(failed) - 1
    words = words_of(failing(failed, completed), later)[1]
    assert words == "thought 1\n\n" + HALFWAY.replace("Statement 2", f"Statement {completed + 1}")


def test_a_first_statement_that_failed_half_way_is_told_too():
    words = words_of("tot = 0", failing("for i in range(5):\n    tot += 1 // (3 - i)", 0), "final_answer(tot)")
    assert words[2] == "thought 2\n\n" + HALFWAY.replace("Statement 2", "Statement 1")


def test_a_statement_that_failed_half_way_after_more_than_can_be_followed_is_told_too():
    failed = failing("l = []\n" + "l.append(1)\n" * 4_000 + "for i in range(5):\n    l.append(1 // (3 - i))", 4_001)
    assert words_of(failed, "final_answer(l)")[1] == "thought 1\n\n" + HALFWAY.replace("Statement 2", "Statement 4002")


def test_a_call_that_goes_too_deep_to_be_followed_may_have_changed_anything():
    calling = "".join(f"def f{number}(x):\n    return f{number + 1}(x)\n" for number in range(600))
    words = words_of(f"{calling}a = []", failing("f0(a)", 0), "final_answer(a)")
    assert words[2] == "thought 2\n\n" + HALFWAY.replace("Statement 2", "Statement 1")


@pytest.mark.parametrize(
    ("first", "of_a", "of_b"), [("a.append(b) and (n := boom)", [2], [3]), ("(b := a) and boom", [], [2, 3])]
)
def test_a_statement_that_failed_is_forgotten_when_the_next_that_failed_is_looked_at(first, of_a, of_b):
    steps = ["a = []\nb = []", failing(first, 0), failing("b.append(boom)", 0)]
    for name, expected in (("a", of_a), ("b", of_b)):
        words = words_of(*steps, f"final_answer({name})")
        assert [step for step in words if HALFWAY[11:] in words[step]] == expected


def test_a_function_is_known_to_give_what_was_bound_only_after_it():
    steps = ["def f():\n    return xs", failing("f()", 0), "xs = []", failing("f().append(boom)", 0)]
    assert [step for step, words in words_of(*steps, "final_answer(xs)").items() if HALFWAY[11:] in words] == [4]


def test_however_many_statements_failed_each_that_completed_is_read_once():
    def looked_at(count):
        begun = effort()
        words_of(*(failing(f"x = [{number}]\nprint(x)\nboom(x)", 2) for number in range(count)), "final_answer(x)")
        return effort() - begun

    assert looked_at(80) < 3 * looked_at(40)


@pytest.mark.parametrize(
    ("failed", "later"),
    [
        ("tot = 0\nfor i in range(5):\n    tot += 1 // (3 - i)", "tot = 6\nfinal_answer(tot)"),
        ("tot = 0\nfor i in range(5):\n    tot += 1 // (3 - i)", "total = [tot for tot in 'ab']\nfinal_answer(total)"),
        ("x = 1\nx = boom", "final_answer(x)"),
        ("x = {}\nx['a'] = boom", "final_answer(x)"),
        ("x = 1\nx += boom", "final_answer(x)"),
        ("x = 1\nprint(boom)", "final_answer(x)"),
        ("x = 1\nfor name in boom:\n    print(name)", "for name in 'ab':\n    print(name)\nfinal_answer(x)"),
    ],
)
def test_what_failed_without_a_trace_in_later_steps_is_not_spoken_of(failed, later):
    assert words_of(failing(failed), later)[1] == "thought 1"


@pytest.mark.parametrize(
    "steps",
    [
        ["fa = final_answer; fa(3)"],
        ["fa = final_answer\nfa(3)"],
        ["# why\nx = 1; fa = final_answer", "fa(x + 2)"],
        ["fa = final_answer", "final_answer(3)"],
        ["from functools import lru_cache\n@lru_cache\ndef give(n, to=final_answer):\n    to(n)", "give(3)"],
        ["give = {'a': final_answer}", "for n in range(9):\n    if n == 3:\n        give['a'](n)"],
    ],
)
def test_final_answer_under_another_name_is_defined_before_it_is_named(steps):
    assert twice(*steps) == 3
    assert "\n".join(code_of(*steps)).count("def final_answer") == 1


def test_an_input_that_keeps_its_name_though_it_is_changed_is_spoken_of_once():
    steps = ["n = n + 1\nx = eval('n')", "final_answer(x)"]
    words = [cell.source for cell in script_cells(a_run(*steps, inputs={"n": "int: 1"})) if cell.kind == "markdown"]
    assert words[0].startswith("thought 1\n\nThese cells change `n`")
    assert words[1] == "thought 2"
