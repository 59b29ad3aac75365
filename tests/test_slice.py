"""Of a run's statements those the answer needs: enough of them whatever the code does, few where it looks around."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

import pytest
from slice_cases import BREAKING, DROPPING, cases
from test_script import a_run, run_cells

from smol_kernel.executors.displays import KINDS, LIVE
from smol_kernel.runs.script import script_cells, sliced_cells

DROPPED, BREAKS = cases(DROPPING), cases(BREAKING)


def cut(run):
    return sliced_cells(run)[0] or script_cells(run)


def kept(*steps, **options):
    """The code of the sliced cells, as one text."""
    return "\n".join(c.source for c in cut(a_run(*steps, **options)) if c.kind == "code")


def answers(*steps):
    """What the whole script answers, and what the sliced one does."""
    given = []
    for slice in (False, True):
        cells = [cell.source for cell in (cut if slice else script_cells)(a_run(*steps)) if cell.kind == "code"]
        namespace = dict[str, Any]()
        given.append(run_cells(cells, namespace))
        for value in namespace.values():
            if isinstance(value, sqlite3.Connection):
                value.close()
    return given


# what is dropped


@pytest.mark.parametrize("name", DROPPED)
def test_what_the_answer_does_not_need_is_dropped(name):
    steps, left = DROPPED[name]
    assert kept(*steps) == left


ACKNOWLEDGED = [True, 3, -1, [], {}, "", [(1,)], "3", {"id": 3}, '{"ok": true}', "OK", "Row 3 was added.", "out.csv"]
READ = [2.5, ["a"], [1, 2], {"name": "tea"}, "Berlin: 3,769,495 people", "a\nsaved", "sunny", "x" * 200]


@pytest.mark.parametrize("gave", [*ACKNOWLEDGED, *READ])
@pytest.mark.parametrize("code", ["print(put('a'))", "n = put('a')", "def do(x):\n    print(put(x))\ndo('a')"])
def test_a_call_whose_result_may_say_that_it_was_done_stays(code, gave):
    step = {"code": code, "calls": [("put", ["a"], gave)]}
    left = kept(step, "final_answer(len(get()))", tools=["put", "get"])
    assert left == (f"{code}\nlen(get())" if gave in ACKNOWLEDGED else "len(get())")


@pytest.mark.parametrize(
    "code",
    [
        "put('a')\nprint(1)",
        "for n in 'a': put(n)",
        "[put(n) for n in 'a'];\nprint(1)",
        "await put('a')\nprint(1)",
        "for n in 'a':\n    await put(n)",
        "for n in 'a':\n    _ = put(n)",
        "import asyncio\nawait asyncio.gather(*[put(n) for n in 'a'])\nprint(1)",
        "list(map(lambda n: put(n), 'a'))\nprint(1)",
        "{n: put(n) for n in 'a'}\nprint(1)",
        "None or put('a')\nprint(1)",
    ],
)
@pytest.mark.parametrize("given", ["a", "select 1"])
def test_a_call_whose_result_is_thrown_away_stays(code, given):
    code = code.replace("'a'", repr(given))
    step = {"code": code, "calls": [("put", [given], ["some", "text"])]}
    left = kept(step, "final_answer(len(get()))", tools=["put", "get"])
    assert (left != "len(get())") == (given == "a")


def test_a_call_that_is_recorded_otherwise_than_it_is_written_stays():
    step = {"code": "print(put('\\ud800'))", "calls": [("put", ["?"], None)]}
    assert kept(step, "final_answer(len(get()))", tools=["put", "get"]).startswith("print(put(")


def test_what_was_called_before_another_answer_to_the_same_question_stays():
    asked = {"code": "a = ask('n')", "calls": [("ask", ["n"], 1.5)]}
    between = {"code": "print(put(2))", "calls": [("put", [2], ["some"])]}
    again = {"code": "b = ask('n')", "calls": [("ask", ["n"], 3.5)]}
    left = kept(between, asked, between, again, "final_answer(b)", tools=["put", "ask"])
    assert left == "a = ask('n')\nprint(put(2))\nb = ask('n')\nb"


def test_a_step_of_which_nothing_is_needed_goes_with_its_thought():
    cells = cut(a_run("x = 1", "print(x)", "final_answer(x)"))
    assert [cell.source for cell in cells] == ["thought 1", "x = 1", "thought 3", "x"]


def test_of_a_failed_step_what_is_needed_later_stays():
    failed = {"code": "a = 1\nprint(a)\nb = 2\nc = nothing", "status": "error", "completed": 3}
    assert kept(failed, "final_answer(b)") == "b = 2\nb"
    assert kept(failed, "d = a", "final_answer(d)") == "a = 1\nd = a\nd"


def test_an_input_is_still_spared():
    code = kept("df['v'] = 1\nprint(df)", "final_answer(df)", inputs={"df": "DataFrame 3 x 2"})
    assert code == "df_ = df.copy()\ndf_['v'] = 1\ndf_"


CLEANING_WORDS = """drop(columns='a') drop([0]) set_axis(['x'],axis=1) asfreq('D') between_time('9','10') at_time('9')
first_valid_index() eq(1) ne(1) lt(1) le(1) gt(1) ge(1) subtract(1) multiply(2) divide(2) truediv(2) rename(columns={})
reorder_levels([0]) a.rename('z') a.str.slice(0,2) a.str.pad(3) a.str.wrap(3) a.str.partition('-') reindex_like(df)
align(df) product() a.cat.reorder_categories(['x']) a.cat.as_ordered() a.cat.remove_unused_categories()
truncate(after=2) a.cat.set_categories(['x'])"""
CLEANING = CLEANING_WORDS.split()


@pytest.mark.parametrize("call", CLEANING)
def test_methods_of_tables_are_looks(call):
    code = f"print(df.{call})\nx = df.{call}\nx['y'] = 1\nprint(x)"
    assert kept(code, "final_answer(float(df.v.sum()))", inputs={"df": "DataFrame 3 x 2"}) == "float(df.v.sum())"


@pytest.mark.parametrize("call", ["background_gradient()", "format('x').highlight_max().hide(axis=0)"])
def test_a_table_styled_for_a_look_is_one(call):
    code = kept(f"print(df.style.{call})", "final_answer(float(df.v.sum()))", inputs={"df": "DataFrame 3 x 2"})
    assert code == "float(df.v.sum())"


@pytest.mark.parametrize("call", ["drop(columns='a', inplace=True)", "rename(columns=str, inplace=True)"])
def test_methods_of_tables_that_change_them_are_not(call):
    code = f"df.{call};\nprint(df)"
    left = kept(code, "final_answer(float(df.v.sum()))", inputs={"df": "DataFrame 3 x 2"})
    assert left == f"df_ = df.copy()\ndf_.{call};\nfloat(df_.v.sum())"


@pytest.mark.parametrize(
    ("begin", "change"),
    [
        ("from shop import Basket\nb = Basket()", "b.drop(1)"),
        ("from shop import Basket\nb = Basket()", "b.align('left')"),
        ("from pathlib import Path\nb = Path('a')", "b = b.rename('b')"),
        ("import pandas as pd\nb = pd.DataFrame({'a': [1]}).style", "b.background_gradient()"),
        ("import pandas as pd\nb = pd.DataFrame({'a': [1]}).style", "b.format('x')"),
        ("import pandas as pd\nb = {'a': pd.DataFrame({'a': [1]})}", "b['a'].drop(columns='a', inplace=True)"),
        ("import pandas as pd\nb = pd.DataFrame({'a': [1]})\nopts = {'inplace': True}", "b.drop(**opts)"),
        ("import pandas as pd\nb = pd.DataFrame({'a': [1]})\nopts = {'inplace': True}", "b.fillna(0, **opts)"),
        ("from shop import read_basket\nb = read_basket('x')", "b.drop(1)"),
        ("from shop import read_basket\nb = read_basket('x')\nb = b['a'] * 2", "b.truncate(1)"),
        ("from shop import read_basket\nb = read_basket('x')", "b.rename(index=1)"),
        ("import scanpy as sc\nb = sc.read_h5ad('x')", "b.rename_categories('a', ['b'])"),
        ("from shop import Basket\nb = Basket()", "b.rename(index=1, to='x')"),
        ("from shop import Basket\nb = Basket()", "b.shelf.rename(mapper=1)"),
        ("from docx import Document\nb = Document('a.docx')", "b.style.hide()"),
        ("from bs4 import BeautifulSoup\nb = BeautifulSoup('<p/>', 'lxml')", "b.p.extract()"),
    ],
)
def test_methods_that_may_be_of_others_are_not(begin, change):
    assert kept(f"{begin}\nprint(1)", f"{change};", "final_answer(str(b))") == f"{begin}\n{change};\nstr(b)"


SAVING_WORDS = """to_json('o.json',orient='records') to_string('o.txt') to_markdown('o.md') to_html(buf='o.html')
to_csv(path_or_buf='o.csv') to_latex(**options) to_netcdf('o.nc') to_file('o.geojson') to_orc('o.orc')
to_zarr(path) to_xml(path)"""
SAVING = SAVING_WORDS.split()
TEXTS_WORDS = """to_json(orient='records') to_json(None) to_string() to_markdown(tablefmt='grid')
to_html(index=False) to_csv(index=False) to_csv(None,index=False) to_latex() to_dict('records')
to_numpy(float) to_frame('x') to_period('M')"""
TEXTS = TEXTS_WORDS.split()


@pytest.mark.parametrize("call", SAVING)
def test_what_is_saved_stays(call):
    code = f"path, options = 'o', {{}}\nc = df.head()\nc.{call};\nprint(c)"
    left = kept(code, "final_answer(float(df.v.sum()))", inputs={"df": "DataFrame 3 x 2"})
    assert left.replace("path, options = 'o', {}\n", "") == f"c = df.head()\nc.{call};\nfloat(df.v.sum())"


@pytest.mark.parametrize("call", TEXTS)
def test_what_gives_a_text_saves_nothing(call):
    code = f"c = df.head()\nc.{call}\nprint(c.{call})"
    assert kept(code, "final_answer(float(df.v.sum()))", inputs={"df": "DataFrame 3 x 2"}) == "float(df.v.sum())"


def test_what_polars_saves_stays():
    code = "import polars as pl\np = pl.from_pandas(df)\np.write_parquet('o')\np.lazy().sink_csv('o2');"
    left = kept(f"{code}\nprint(p)", "final_answer(float(df.v.sum()))", inputs={"df": "DataFrame 3 x 2"})
    assert left == f"{code}\nfloat(df.v.sum())"


def test_a_module_that_is_named_like_a_setting_sets_nothing():
    code = "from scipy import signal\npeaks, _ = signal.find_peaks(df.v)\nprint(peaks)"
    assert kept(code, "final_answer(float(df.v.sum()))", inputs={"df": "DataFrame 3 x 2"}) == "float(df.v.sum())"


@pytest.mark.parametrize(
    "code", ["import signal\nsignal.alarm(9)", "from signal import signal, SIGALRM\nsignal(SIGALRM, print)"]
)
def test_what_the_module_signal_sets_stays(code):
    assert kept(f"{code};\nprint(1)", "final_answer(len(open('t').read()))") == f"{code};\nlen(open('t').read())"


LOOKS = {
    "shown": ("fig = px.line(xs)\nfig.show()", "fig = px.line(xs)\nfig.show()"),
    "displayed": ("fig = px.line(xs)\ndisplay(fig)\nprint(1)", "fig = px.line(xs)\ndisplay(fig)"),
    "the last value": (
        "fig = px.line(xs)\nfig.update_layout(title='t')",
        "fig = px.line(xs)\nfig.update_layout(title='t')",
    ),
    "in a loop": ("for x in xs:\n    px.line(x).show()\nprint('done')", "for x in xs:\n    px.line(x).show()"),
    "in a function": (
        "def draw(x):\n    px.line(x).show()\n    return x\na = draw(1)\nb = len(xs)",
        "def draw(x):\n    px.line(x).show()\n    return x\na = draw(1)",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LOOKS)
def test_what_shows_a_chart_stays(name, kind):
    code, left = LOOKS[name]
    shown = {"code": code, "result": "Chart(...)", "data": {LIVE: kind}}
    begin = "import plotly.express as px\nimport plotly.io as pio\npio.renderers.default = 'svg'\nxs = [1, 2]"
    assert kept(begin, shown, "print(xs)", "final_answer(sum(xs))") == f"{begin}\n{left}\nsum(xs)"


LOOP = "for x in xs:\n    print(x)\n    display(make(x))"


@pytest.mark.parametrize(
    ("shown", "left"), [({}, ""), ({"image/png": "iVBO"}, f"{LOOP}\n")], ids=["tables", "pictures"]
)
def test_a_loop_that_shows_beside_a_plot_stays_if_it_showed_pictures(shown, left):
    plot = "import matplotlib.pyplot as plt\nplt.plot(xs)\nplt.show()"
    step = {"code": f"{LOOP}\n{plot}", "displays": [{"text/plain": "x", **shown}] * 2 + [{"image/png": "iVBO"}]}
    assert kept("xs = [1, 2]", step, "final_answer(sum(xs))") == f"xs = [1, 2]\n{left}{plot}\nsum(xs)"


def test_what_loads_the_library_of_a_chart_stays_with_it():
    shown = {"code": "p = figure()\np.line(xs, xs)\nshow(p)", "result": "p", "data": {LIVE: "chart"}}
    begin = (
        "from bokeh.io import output_notebook\nfrom bokeh.plotting import figure, show\noutput_notebook()\nxs = [1, 2]"
    )
    assert kept(begin, shown, "final_answer(sum(xs))") == f"{begin}\n{shown['code']}\nsum(xs)"


@pytest.mark.parametrize("answer", ["df.v.max()", "f'is {df.v.max()}'", "[df['v'].max(), len(df)]"])
def test_looks_at_an_input_are_dropped_where_the_answer_is_made_of_it_at_once(answer):
    looks = "print(df.columns.tolist())\ndf.tail(3)", "for i in range(10): print('line', i)"
    code = kept(*looks, f"final_answer({answer})", inputs={"df": "DataFrame 3 x 2"})
    assert code == answer


def test_looks_stay_where_the_words_around_an_input_hold_what_was_seen():
    look = {"code": "df.v.max()", "result": "42.5"}
    code = kept(look, "final_answer(f'The max is 42.5 of {len(df)} rows')", inputs={"df": "DataFrame 3 x 2"})
    assert code.startswith("df.v.max()\n")


def test_what_is_printed_to_a_stream_is_dropped_too():
    code = "import sys\nprint('e', file=sys.stderr)\nsys.stdout.write('a')\nsys.stderr.flush()\nx = len(sys.argv)"
    assert kept(code, "final_answer(x)") == "import sys\nx = len(sys.argv)\nx"


def test_messages_to_a_file_stay():
    code = (
        "import logging\nlogger = logging.getLogger('a')\nhandler = logging.FileHandler('a.log')\n"
        "logger.addHandler(handler)\nlogger.info('begun')\nx = 1"
    )
    assert kept(f"{code}\nprint(x)", "final_answer(x)") == f"{code}\nx"


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("import cfg\ncfg.TOTAL = float(df.y.sum())", "{'total': cfg.TOTAL}"),
        ("import cfg\ncfg.D['a'] = df.y.sum()", "f'The sum is {cfg.D[\"a\"]}'"),
        ("import os\nos.environ['N'] = str(len(df))", "'n is ' + os.environ['N']"),
        ("import os\nk = open('key.txt').read()\nos.environ['MODE'] = k", "os.getenv('MODE')"),
        ("import math\nmath.n = len(df)", "math.n"),
        ("import cfg\ndef load(d):\n    cfg.N = len(d)\nload(df)", "cfg.N"),
        ("from decimal import Decimal, getcontext\nn = len(df)\ngetcontext().prec = n", "str(Decimal(1) / 3)"),
        ("import pandas as pd\npd.set_option('display.width', int(df.y[1]))", "pd.get_option('display.width')"),
    ],
)
def test_data_that_goes_through_a_module_is_data(setting, answer):
    code = kept(f"{setting}\nprint(df)", f"final_answer({answer})", inputs={"df": "DataFrame 4 x 2"})
    assert code.replace(";", "") == f"{setting}\n{answer}"


def test_a_method_of_a_name_that_may_mean_anything_is_called():
    code = "import menu\nm = menu.M()\nm.select(len(df))"
    assert kept(f"{code}\nprint(1)", "final_answer(m.s)", inputs={"df": "DataFrame 4 x 2"}) == f"{code};\nm.s"


def test_a_decorated_function_goes_whole():
    code = "from functools import lru_cache\n\n# unused\n@lru_cache\ndef f(n):\n    return n\n\nx = 1"
    assert kept(code, "final_answer(x)") == "x = 1\nx"


CONNECTED = "import sqlite3\ncon = sqlite3.connect('x.db')"
READING = [
    "select 1",
    "SELECT COUNT(*) FROM t",
    "with a as (select 1) select * from a",
    "PRAGMA table_info(t)",
    "select replace(a, ';', 'insert') from t -- delete",
    "explain select 1",
    "select load from t;",
]
CHANGING = [
    "update t set a = 2",
    "with a as (select 1) insert into t select * from a",
    "PRAGMA user_version = 3",
    "select 1; drop table t",
    "/* select */ delete from t",
    "with a as (select 1) replace into t select * from a",
    "select nextval('s')",
    "select 1 into t",
]


SPOKEN = ["update on Berlin", "create a table of sales", "delete", "With best wishes, call me", "what is set: a, b"]


@pytest.mark.parametrize("sql", [*READING, *SPOKEN, *CHANGING, "create or replace temp table b as select 1", "Begin;"])
def test_a_call_that_was_given_sql_stays_if_that_may_change_something(sql):
    step = {"code": f"print(ask({sql!r}))", "calls": [("ask", [sql], ["rows"])]}
    left = kept(step, "final_answer(len(ask('b')))", tools=["ask"])
    assert (left != "len(ask('b'))") == (sql not in READING + SPOKEN)
    step["calls"] = [("ask", [sql], 3)]
    assert (kept(step, "final_answer(len(ask('b')))", tools=["ask"]) != "len(ask('b'))") == (sql not in READING)


@pytest.mark.parametrize("sql", READING)
def test_what_a_database_is_asked_for_a_look_is_dropped(sql):
    looks = f"print(con.execute({sql!r}).fetchall())\nfor t in ['a']:\n    print(con.execute(f{sql!r}).fetchone())"
    code = "x = con.execute('select sum(a) from t').fetchone()[0]"
    assert kept(CONNECTED, looks, code, "con.close()", "final_answer(x)") == f"{CONNECTED}\n{code}\nx"


@pytest.mark.parametrize("sql", CHANGING)
def test_what_a_database_is_told_stays(sql):
    told = f"con.execute({sql!r});\ncon.commit();\ncon.close();"
    assert kept(CONNECTED, told, "print(1)", "final_answer(len(open('t').read()))").startswith(f"{CONNECTED}\n{told}")


TOLD = {
    "what is not known": "q = len.__name__\ncon.execute(q);",
    "a cursor": "cur = con.cursor()\ncur.executemany('insert into t values (?)', [[1]]);\ncon.commit();",
    "a function": "def add(c):\n    c.execute('insert into t values (1)')\nadd(con.cursor());",
    "what closes": "from contextlib import closing\nwith closing(con.cursor()) as c:\n    c.execute('delete from t')",
    "with": "with con:\n    con.execute('delete from t')",
    "a table": "import pandas as pd\npd.DataFrame({'a': [1]}).to_sql('t', con);",
    "an archive": "from zipfile import ZipFile\nwith ZipFile('x.zip', 'a') as z:\n    z.writestr('a', 'b')",
    "a path": "from pathlib import Path\nwith Path('a').open('w') as f:\n    f.write('b')",
}


@pytest.mark.parametrize("name", TOLD)
def test_what_else_writes_stays(name):
    code = kept(CONNECTED, TOLD[name], "print(1)", "final_answer(len(open('t').read()))")
    begin = "" if name in ("an archive", "a path") else f"{CONNECTED}\n"
    assert code == f"{begin}{TOLD[name]}\nlen(open('t').read())"


def test_edits_of_rows_stay():
    rows = "con.row_factory = lambda c, r: {'a': r[0]}\nrows = list(con.execute('select * from t'))"
    edit = "for r in rows:\n    r['a'] *= 2"
    assert kept(CONNECTED, rows, "print(rows)", edit, "final_answer(rows)") == f"{CONNECTED}\n{rows}\n{edit}\nrows"


def test_what_a_cursor_was_asked_is_fetched():
    code = f"{CONNECTED}\ncur = con.cursor()\ncur.execute('select 1');\nx = cur.fetchone()[0]"
    assert kept(code, "print(x)", "final_answer(x)") == f"{code}\nx"


def test_looks_into_an_archive_are_dropped():
    code = "from zipfile import ZipFile\nimport pandas as pd\nz = ZipFile('x.zip')"
    read = "d = pd.read_csv(z.open('a.csv'))"
    left = kept(code, "print(z.namelist())", read, "print(d)", "final_answer(d.a.sum())")
    assert left == f"{code}\n{read}\nd.a.sum()"


# what is kept


@pytest.mark.parametrize("name", BREAKS)
def test_what_the_answer_needs_is_kept(name):
    whole, sliced = answers(*BREAKS[name][0])
    assert type(sliced) is type(whole) and sliced == whole


WHERE = "final_answer(len(open('t').read()))"
HANDED_ON = [
    "list(map(con.execute, ['delete from t']));",
    "m = map(con.execute, ['delete from t'])\nlist(m);",
    "import pandas as pd\npd.Series(['delete from t']).apply(con.execute);",
    "getattr(con, 'execute')('delete from t');",
    "execute = con.execute\nexecute('delete from t');",
    "def tell(told):\n    list(map(con.execute, told))\ntell(['delete from t']);",
]


@pytest.mark.parametrize("code", HANDED_ON)
def test_what_a_database_is_told_by_a_method_handed_on_stays(code):
    assert kept(CONNECTED, code, "print(1)", WHERE) == f"{CONNECTED}\n{code}\nlen(open('t').read())"


def test_a_field_of_a_cursor_is_no_method_that_is_handed_on():
    look = "cur = con.cursor()\nprint(cur.execute('select 1').description, cur.description)"
    code = "x = con.execute('select 2').fetchone()[0]"
    assert kept(CONNECTED, look, code, "final_answer(x)") == f"{CONNECTED}\n{code}\nx"


RETURNING = "insert into t values (5) returning a"
READ = [
    f"pd.read_sql({RETURNING!r}, con);",
    f"pd.read_sql_query(sql={RETURNING!r}, con=con);",
    f"from sqlalchemy import text\npd.read_sql(text({RETURNING!r}), con);",
    "pd.read_sql('insert into t values (%s) returning a' % 5, con);",
    "pd.read_sql('insert into t values ({}) returning a'.format(5), con);",
    f"import polars as pl\npl.read_database({RETURNING!r}, con);",
]


@pytest.mark.parametrize("code", READ)
def test_what_changes_a_database_and_gives_a_table_stays(code):
    left = kept(CONNECTED, f"import pandas as pd\n{code}", "print(1)", WHERE).replace("import pandas as pd\n", "")
    assert left == f"{CONNECTED}\n{code}\nlen(open('t').read())"


def test_what_gives_a_table_of_a_database_is_a_look():
    looks = (
        "import pandas as pd\nq = 'select a from t'\nprint(pd.read_sql(q, con), pd.read_sql('t', con))\n"
        "print(pd.read_sql('select a from ' + q, con), pd.read_sql_query(f'select {q}', con))"
    )
    code = "x = con.execute('select 2').fetchone()[0]"
    assert kept(CONNECTED, looks, code, "final_answer(x)") == f"{CONNECTED}\n{code}\nx"


def test_what_is_taken_out_of_an_archive_stays():
    code = "from zipfile import ZipFile\nwith ZipFile('x.zip') as z:\n    z.extract('a.csv')"
    assert kept(code, "print(1)", WHERE) == f"{code}\nlen(open('t').read())"
    look = "print(df.a.str.extract('(x)'), df['a'].astype(str).str.extract('(y)'))"
    assert kept(look, "final_answer(float(df.v.sum()))", inputs={"df": "DataFrame 3 x 2"}) == "float(df.v.sum())"


def test_an_archive_of_which_it_is_not_told_how_it_is_opened_is_written():
    code = "from zipfile import ZipFile\nargs = ('o.zip', 'w')\nz = ZipFile(*args)\nz.close();"
    assert kept(code, "print(1)", WHERE) == f"{code}\nlen(open('t').read())"
    code = "how = {'mode': 'a'}\nf = open('t', **how)"
    assert kept(code, "print(1)", WHERE) == f"{code}\nlen(open('t').read())"


def test_what_a_connection_was_asked_is_fetched_from_it():
    code = "import duckdb\ncon = duckdb.connect('x.db')\n_ = con.execute('select 1 a')\nx = con.fetchone()"
    assert kept(code, "print(x)", "final_answer(x[0])") == f"{code}\nx[0]"


def test_a_connection_to_which_a_table_was_written_is_closed():
    code = f"{CONNECTED}\ndf.to_sql('t', con)\ncon.close();"
    left = kept(code, "print(1)", "final_answer(float(df.v.sum()))", inputs={"df": "DataFrame 3 x 2"})
    assert left == f"{code}\nfloat(df.v.sum())"


LOOKED_AT = {
    "yaml": (
        "import yaml\nwith open('c.yml') as f:\n    c = yaml.safe_load(f)",
        "for k, v in c.items():\n    print(k, v)\nprint(sorted(c))\nother = dict(c)",
        "c['a']",
    ),
    "pickle": (
        "import pickle\nwith open('c', 'rb') as f:\n    c = pickle.load(f)",
        "for k in c:\n    print(k)\nrows = list(c.values())",
        "c['a']",
    ),
    "a table of json": (
        "import json\nimport pandas as pd\nwith open('c') as f:\n    c = json.load(f)",
        "d = pd.json_normalize(c['a'])\nd['x'] = 1\ne = pd.DataFrame.from_dict(c)\ne.columns = ['x']\nprint(d)",
        "c['a']",
    ),
    "openpyxl": (
        "import openpyxl\nwb = openpyxl.load_workbook('r.xlsx')\nws = wb['raw']",
        "for row in ws.iter_rows(values_only=True):\n    print(row)\n"
        "print(ws.cell(1, 1).value, ws.cell(row=1, column=2))",
        "ws['A1'].value",
    ),
    "text": (
        "with open('a.txt') as f:\n    t = f.read()",
        "i = t.find('x')\nwhile i >= 0:\n    i += 1\n    i = t.find('x', i)\nprint(i)",
        "len(t)",
    ),
    "lines": (
        "import re\np = re.compile('x')\nwith open('a.txt') as f:\n    t = f.readlines()",
        "rows = []\nfor line in t:\n    m = p.search(line)\n    d = m.groupdict()\n    d['v'] = 1\n"
        "    rows.append(d)\nprint(rows)",
        "p.sub('', t[0])",
    ),
}


@pytest.mark.parametrize("name", LOOKED_AT)
def test_looks_at_what_was_read_are_dropped(name):
    begin, look, answer = LOOKED_AT[name]
    used = begin.replace("import pandas as pd\n", "")
    left = kept(begin, look, f"final_answer({answer})").replace("import pandas as pd\n", "")
    assert left == f"{used}\n{answer}"


def test_looks_for_something_in_a_text_that_was_handed_in_are_dropped():
    look = "i = text.find('x')\ni += 1\nprint(text[i:])"
    assert kept(look, "final_answer(len(text))", inputs={"text": "str 'x'"}) == "len(text)"


EDITED = {
    "json": (
        "import json\nd = json.load(open('t.json'))",
        "for r in d:\n    r['t'] = [t for t in r['t'] if t != 9]",
        "d",
    ),
    "json in a with": (
        "import json\nwith open('t.json') as f:\n    d = json.load(f)",
        "d['users'][0]['name'] = 'Ann'",
        "d['users']",
    ),
    "json of several": (
        "import json\nfrom pathlib import Path\nd = [json.load(p.open()) for p in sorted(Path().glob('*.json'))]",
        "d[0]['a']['b'].append(1)",
        "d",
    ),
    "yaml": ("import yaml\nd = yaml.safe_load(open('c.yml'))", "d['model']['depth'] = 5", "d['model']"),
    "pickle": ("import pickle\nd = pickle.load(open('d', 'rb'))", "d['l'].append(3)", "d"),
    "joblib": ("import joblib\nm = joblib.load('m')", "m.steps[-1][1].tol = 1", "m.score([[1]], [1])"),
    "openpyxl": (
        "import openpyxl\nwb = openpyxl.load_workbook('r.xlsx')\nws = wb['raw']",
        "ws['A1'] = 'Total'",
        "wb['raw']['A1'].value",
    ),
    "a cell of openpyxl": (
        "import openpyxl\nwb = openpyxl.load_workbook('r.xlsx')\nws = wb['raw']",
        "ws.cell(1, 1, 5)\nws.cell(row=1, column=2).value = 3\nfor row in ws.iter_rows():\n    row[0].value = 1",
        "wb['raw']['A1'].value",
    ),
    "xarray": ("import xarray as xr\nds = xr.open_dataset('a.nc')", "ds['t'].values[:] = 0", "float(ds['t'].max())"),
    "a view": (
        "import xarray as xr\nda = xr.open_dataarray('a.nc')",
        "v = da.transpose()\nv[0] = 5",
        "float(da.max())",
    ),
    "loadmat": ("from scipy.io import loadmat\nm = loadmat('x.mat')", "m['A'][0, 0] = 5", "m['A'].sum()"),
    "load_iris": (
        "from sklearn.datasets import load_iris\niris = load_iris(as_frame=True)",
        "iris['data']['r'] = 2",
        "iris['data'].r.sum()",
    ),
    "fits": ("from astropy.io import fits\nh = fits.open('a.fits')", "h[0].data[0] = 1", "h[0].data.sum()"),
    "a response": ("import requests\nr = requests.get('http://a')", "r.encoding = 'utf-8'", "r.text"),
    "soup": (
        "from bs4 import BeautifulSoup\nsoup = BeautifulSoup('<nav/><p/>', 'html.parser')",
        "soup.find('nav').decompose()",
        "soup.get_text()",
    ),
    "in what is found": (
        "import jmespath\nd = {'a': [{'b': 1}]}",
        "for x in jmespath.search('a', d):\n    x['b'] = 2",
        "d",
    ),
    "a shelf": ("import shelve\nd = shelve.open('s')", "d['k'] = 1", "1 + len(open('t').read())"),
}


@pytest.mark.parametrize("name", EDITED)
def test_edits_inside_what_a_library_made_stay(name):
    begin, edit, answer = EDITED[name]
    assert kept(f"{begin}\nprint(1)", edit, f"final_answer({answer})") == f"{begin}\n{edit}\n{answer}"


def test_edits_of_what_a_chart_shows_stay():
    begin, edit, _ = EDITED["json"]
    chart = {"code": "import plotly.express as px\npx.line(d).show()", "result": "Chart", "data": {LIVE: KINDS[0]}}
    code = kept(begin, edit, chart, "final_answer(len(open('t.json').read()))")
    assert code == f"{begin}\n{edit}\n{chart['code']}\nlen(open('t.json').read())"


@pytest.mark.parametrize(
    "made",
    [
        "from sklearn.linear_model import Ridge\nm = Ridge()",
        "from sklearn.pipeline import make_pipeline\nfrom sklearn.svm import SVR\nm = make_pipeline(SVR())",
        "from xgboost import XGBRegressor\nm = XGBRegressor(n_estimators=3)",
    ],
)
def test_a_table_to_which_a_model_is_fitted_is_not_copied(made):
    code = f"{made}\nm.fit(df[['a']], df.b)\nm.alpha = 5\nr = m.fit(df[['a']], df.b)\nr.beta = 1"
    inputs = {"df": "DataFrame 3 x 2"}
    assert kept(code, "final_answer(m.score(df[['a']], df.b))", inputs=inputs).startswith(made)


LOOPS = "".join("    " * n + f"for i{n} in (0,):\n" for n in range(16)) + "    " * 16 + "total += 1"


def test_functions_that_call_many_others_are_each_read_once():
    functions = [f"def f{n}():\n    return f{n + 1}() + f{n + 2}()" for n in range(60)]
    code = "\n".join([*functions, "f60 = f61 = int"])
    assert kept(f"{code}\nprint(1)", "total = f0()", "final_answer(total)") == f"{code}\ntotal = f0()\ntotal"


@pytest.mark.parametrize(
    ("begin", "change"),
    [("x = []", "x.append(1)"), ("x = 0", "x += 1"), ("x = {}", "x['k'] = 1"), ("f, x = list.sort, []", "f(x)")],
)
def test_of_thousands_of_statements_that_change_one_thing_what_is_needed_is_found_soon(begin, change):
    changes = f"{change}\n" * 3_000
    assert kept(f"{begin}\nprint(x)\n{changes}", "final_answer(x)") == f"{begin}\n{changes}x"


@pytest.mark.parametrize("code", [LOOPS, "x = []\n" + "x.append(1)\n" * 4_000], ids=["loops", "statements"])
def test_what_is_too_long_to_be_followed_is_kept_whole(code):
    code = f"total = 0\nprint(1)\n{code}".rstrip()
    assert kept(code, "final_answer(total)") == f"{code}\ntotal"


def test_what_is_too_deep_to_be_followed_is_kept_whole():
    code = "\n".join(["print(1)", *(f"def f{n}():\n    return f{n + 1}()" for n in range(400)), "total = f0()"])
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(700)
    try:
        assert kept(code, "final_answer(total)") == f"{code}\ntotal"
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize(
    "code",
    [
        "".join(f"x{n} = 0\n" for n in range(10))
        + "".join("  " * n + f"for i{n} in range(2):\n" for n in range(10))
        + "".join("  " * 10 + f"x{n} = x{(n + 1) % 10} + i0\n" for n in range(10)),
        "x0 = g = []\n" + "g.append(lambda: [h() for h in g])\n" * 200 + "for h in g[:0]: h()",
    ],
    ids=["loops", "functions"],
)
def test_code_whose_values_hold_too_much_is_left_whole_soon(code):
    assert kept(f"{code}\nprint(x0)", "final_answer(x0)") == f"{code}\nprint(x0)\nx0"
