"""What counts as put down by the model from what it had read, and what as its own: by the text that was shown."""

from __future__ import annotations

import pytest
from test_script import a_run

from smol_kernel.runs import written
from smol_kernel.runs.script import sliced_cells
from smol_kernel.runs.written import Written

TABLE = (
    "   k      v  year\n0  a  10.50  2019\n1  b  20.25  2020\n2  c  31.00  2021\n3  a  44.00  2022\n4  b  58.50  2023"
)


def put_down(shown, answer, before=""):
    """Whether the answer rests on what was shown; `before` is done in the step that showed it."""
    look = {"code": f"{before}\nprint(df)", "result": shown}
    return sliced_cells(a_run(look, answer, inputs={"df": "DataFrame 5 x 3"}))[1]


@pytest.mark.parametrize(
    "before", ["YEARS = 5", "FIRST, LAST = 2018, 2023\nYEARS = LAST - FIRST", "YEARS = len('abcde')"]
)
def test_what_was_there_before_does_not_excuse_what_is_typed_after(before):
    assert put_down("164.25", "total = 164.25\nfinal_answer(total / YEARS)", before)
    assert not put_down("164.25", "total = 321.5\nfinal_answer(total / YEARS)", before)


def test_numbers_that_the_script_held_before_they_were_shown_are_its_own():
    before = "ages = [25, 30, 47]\nrates = {'old': 0.25}"
    assert not put_down("   age\n0   25\n1   30\n2   47", "final_answer(len([x for x in ages if x > 30]))", before)
    assert not put_down("old: 0.25", "rate = rates['old']\nfinal_answer([rate - 0.25, ages, ['old']])", before)
    assert not put_down("   age\n0  30.4", "final_answer(len([x for x in ages if x > 30]))", before)
    assert put_down("  mean\n0   34", "final_answer(len([x for x in ages if x > 34]))", before)


@pytest.mark.parametrize(
    "setting",
    [
        "import warnings\nwarnings.filterwarnings('ignore')",
        "import pandas as pd\npd.set_option('display.width', 90)",
        "import pandas as pd\nw = 10 * len(df.columns)\npd.options.display.width = w",
        "import pandas as pd\nwith pd.option_context('display.width', 90):\n    print(df)",
        "import numpy as np\nold = np.seterr(all='ignore')",
        "import matplotlib.pyplot as plt\nplt.style.use('ggplot')\nplt.rcParams['figure.figsize'] = (4, 3)",
        "import seaborn as sns\nsns.set_theme()",
        "import logging\nlogging.basicConfig(level=20)",
        "import warnings\nwith warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n    m = df.v.max()",
    ],
)
def test_settings_are_no_data(setting):
    for answer in ("99", "'The largest is 99.'", "{'largest': 58.5, 'comment': 'grows'}"):
        assert put_down(TABLE, f"final_answer({answer})", setting).how == "words"
    worked = "with warnings.catch_warnings():\n    d['largest'] = df.v.max()"
    for answer in ("final_answer(df.v.max())", f"import warnings\nd = {{'unit': 'm'}}\n{worked}\nfinal_answer(d)"):
        assert not put_down(TABLE, answer, setting)


TEXTS = [
    "import io, pandas as pd\nd = pd.read_csv(io.StringIO('k,v\\na,10.5\\nb,20.25'))\nfinal_answer(d.v.sum())",
    "import io, pandas as pd\ntext = 'k,v\\na,10.5\\nb,20.25'\nd = pd.read_csv(io.StringIO(text), sep=',')\n"
    "final_answer(d.v.sum())",
    "import io, pandas\nbuffer = io.StringIO('a 10.5\\nb 20.25')\nd = pandas.read_table(filepath_or_buffer=buffer)\n"
    "final_answer(d.v.sum())",
    "from io import StringIO\nimport numpy as np\nd = np.loadtxt(StringIO('10.5 20.25'))\nfinal_answer(d.sum())",
    'import json\nd = json.loads(\'{"a": 10.5, "b": 20.25}\')\nfinal_answer(sum(d.values()))',
    "from json import loads\ntext = '[10.5, 20.25]'\nd = loads(text)\nfinal_answer(sum(d))",
    "import io, json\nd = json.load(io.StringIO('[10.5, 20.25]'))\nfinal_answer(sum(d))",
]


@pytest.mark.parametrize("answer", TEXTS)
def test_data_put_down_as_text_and_read_again_is_put_down(answer):
    assert put_down(TABLE, answer)


@pytest.mark.parametrize(
    "answer",
    [
        "import pandas as pd\nd = pd.read_csv('sales_2019.csv')\nfinal_answer(d.v.sum() / 20.25)",
        "import json\nd = json.loads(open('sales_2019.json').read())\nfinal_answer(d['v'] / 20.25)",
        "import json\nd = json.load(open('sales_2019.json'))\nfinal_answer(d['v'] / 20.25)",
        "import io, pandas as pd\nd = pd.read_csv(io.StringIO(open('a').read()))\nfinal_answer(d[d.year == 2020])",
        "import io, pandas as pd\nd = pd.read_csv(io.StringIO(df.to_csv()))\nfinal_answer(d[d.year == 2020])",
        "import pickle\nd = pickle.loads(b'10.5 20.25')\nfinal_answer(d / 20.25)",
    ],
)
def test_what_is_read_from_files_and_inputs_is_not(answer):
    assert not put_down(TABLE, answer)


COUNTS = "k\na    2\nb    2\nc    1\nName: count, dtype: int64"


@pytest.mark.parametrize(
    ("shown", "answer"),
    [
        (COUNTS, "counts = {'a': 2, 'b': 2, 'c': 1}\nfinal_answer(sum(counts.values()) / len(counts))"),
        (COUNTS, "import numpy as np\nfinal_answer(np.array([2, 2, 1]).std())"),
        ("3 5", "good, every = 3, 5\nfinal_answer(good / every)"),
        ("3 5", "good = 3\nfinal_answer(good / 5)"),
        # other forms of a number
        ("2102650", "people = 2.1e6\nfinal_answer(people / 2)"),
        ("2102650", "people = 2_100_000\nfinal_answer(people / 2)"),
        ("2,102,650 people", "people = 2_103_000\nfinal_answer(people / 2)"),
        ("2.1 billion", "people = 2_100_000_000\nfinal_answer(people / 2)"),
        ("2.3 million", "people = 2_300_000\nfinal_answer(people / 2)"),
        ("5 million", "people = 5_000_000\nfinal_answer(people / 3)"),
        ("$5bn", "money = 5e9\nfinal_answer(money / 3)"),
        ("7%", "rate = 0.07\nfinal_answer(rate * 3)"),
        ("1_234_567", "people = 1234567\nfinal_answer(people / 2)"),
        ("1 234 567", "people = 1234567\nfinal_answer(people / 2)"),
        ("1\u2009234\u2009567.5 m", "people = 1234567.5\nfinal_answer(people / 2)"),
        ("1\u202f234\u202f567,5 m", "people = 1234567.5\nfinal_answer(people / 2)"),
        ("1.234.567,89", "money = 1234567.89\nfinal_answer(money / 3)"),
        ("1 234 567 164.25", "people = 1234567\nfinal_answer(people / 2)"),
        ("[100 200 300]", "low = 300\nfinal_answer(low / 2)"),
        ("1'234'567", "money = 1234567\nfinal_answer(money / 3)"),
        ("1,234 567,890", "a, b = 1234, 567890\nfinal_answer(a / b)"),
        ("100 200.5", "b = 200.5\nfinal_answer(b / 2)"),
        ("10.5,20.25,200", "b = 20.25\nfinal_answer(b / 2)"),
    ],
)
def test_numbers_are_known_again_in_whatever_form_they_were_shown(shown, answer):
    assert put_down(shown, answer)


@pytest.mark.parametrize(
    "answer",
    [
        "total = 0\nfor i in range(90):\n    total += i * i\nfinal_answer(total)",
        "total = 0.0\nlow, high = 0, 1\nfor i in range(90):\n    total += i / 7\nfinal_answer(total)",
        "found = [0, 1]\nwhile found[-1] < 90:\n    found.append(found[-1] + found[-2])\nfinal_answer(found)",
        "n = 1000\nfinal_answer(sum(i * i for i in range(n)))",
        "alpha = 0.05\nfinal_answer(1 - (1 - alpha) ** 7)",
        "n = 1_000_000\nfinal_answer(sum(i * i for i in range(n)))",
        "grid = [[8, 6], [7, 9]]\nfinal_answer(grid[0][0] * grid[1][1])",
        "grid = [[1, 2], [3, 4]]\nfinal_answer(grid[0][0] * grid[1][1] + sum(x * x for x in [1, 2, 3]))",
        "import matplotlib.pyplot as plt\nplt.figure(figsize=(4, 2))\nfinal_answer(max(map(abs, range(90))))",
    ],
)
def test_what_stands_in_any_code_is_not_put_down(answer):
    assert not put_down(TABLE, answer)


@pytest.mark.parametrize("n", ["100", "90.0", "2e6", "2_000_000", "1500", "7.5e5", "250_000", "300_000", "1e9"])
def test_round_numbers_are_not_taken_for_what_was_shown(n):
    shown = "0  98.6  3589\n1  1984765  8957\n2  1500.7  299123\n25%  254321"
    assert not put_down(shown, f"n = {n}\nfinal_answer(sum(i * i for i in range(int(n))))")


SALES = """
   order_id region  product  amount  qty        date
0     10432  north   widget   60.11    3  2024-01-05
1     10433   west   gadget  120.50   12  2024-02-11
count  1204.000000  1204.000000
mean     60.110000    12.500000
25%      37.250000    10.000000
75%      82.750000    15.000000
north    60.11
south    59.77
west     69.39
"""
FORMS = ["final_answer({})", "x = {}\nfinal_answer(x)", "x = {{}}\nx['a'] = {}\nx['b'] = df.qty.max()\nfinal_answer(x)"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "value",
    [
        "{'day': '2024-02-11', 'total': df.groupby('region').amount.sum().max()}",
        "{'north': 60.11, 'max': df.amount.max()}",
        "{'least': -60.11, 'max': df.amount.max()}",
        "dict(rows=1204, max=df.amount.max())",
        "(59.77, df.amount.sum())",
        "{'a': {'b': [59.77, 1]}, 'c': df.amount.max()}",
        "f'The mean is 60.11, of {len(df)}'",
        "f'60.11 of {len(df)}' if len(df) > 3 else f'of {len(df)}'",
        "'mean 60.11, max ' + str(df.amount.max())",
        "'mean {} max {}'.format(60.11, df.amount.max())",
        "json.dumps({'text': 'Mean is 60.11', 'max': df.amount.max()}, indent=2)",
        "pd.DataFrame({'region': ['north', 'south'], 'mean': [60.11, df.amount.mean()]})",
        "{'mean': float(60.11), 'max': df.amount.max()}",
    ],
)
def test_beside_inputs_what_goes_into_the_answer_as_it_was_shown_is_put_down(value, form):
    assert put_down(SALES, form.format(value))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "value",
    [
        "{'region': 'north', 'total': df[df.region == 'north'].amount.sum()}",
        "{'metric': 'amount', 'total': df.amount.sum()}",
        "{'winner': 'west', 'total': df.groupby('region').amount.sum().max()}",
        "('west', df.amount.sum())",
        "[('north', df.amount.sum()), ('south', df.qty.sum())]",
        "{'best': df.region.max(), 'statistic': 'mean', 'value': df.amount.max()}",
        "{'year': 2024, 'total': df[df.date.dt.year == 2024].amount.sum()}",
        "{'year': [2030, 'the task'], 'total': df.amount.sum()}",
        "[('north', df[df.region == 'north'].qty.max()), ('west', df[df.region == 'west'].qty.max())]",
        "{'widget': df[df['product'] == 'widget'].amount.sum(), 'ok': True}",
        "{'winner': 'west' if df.amount.sum() > 5 else 'east', 'n': len(df)}",
        "{'text': f'region {df.region.iloc[0]}', 'n': len(df)}",
        "f'Top 10: {df.nlargest(10, \"qty\")}'",
        "df.amount.quantile([0.25, 0.5, 0.75])",
        "f'75% of the rows are below {df.amount.quantile(.75)}'",
        "{'text': 'below 75 %', 'is': df.amount.quantile(0.75)}",
        "pd.DataFrame(df.groupby('region').sum(), columns=['amount', 'qty'])",
        "df[(df.amount - 60.11).abs() > 37.25]",
        "df[df.order_id.isin([10432, 10433])]",
        "round(df.amount.mean(), 12)",
        "', '.join(df[df.qty > 12].region)",
    ],
)
def test_beside_inputs_what_is_looked_for_and_what_labels_it_is_not(value, form):
    assert not put_down(SALES, form.format(value))


@pytest.mark.parametrize(
    "answer",
    [
        "region = 'north'\nx = df[df.region == region]\nfinal_answer({'region': region, 'n': len(x)})",
        "ids = [10432, 10433]\nfinal_answer(df[df.order_id.isin(ids)])",
        "least = 60.11\nfinal_answer(len(df[df.amount > least]))",
        "bins = [0, 10, 12, 50]\nfinal_answer(pd.cut(df.qty, bins).value_counts())",
        "names = {'N': 'north', 'W': 'west'}\nfinal_answer(df.k.map(names))",
    ],
)
def test_beside_inputs_names_of_what_is_looked_for_are_not(answer):
    assert not put_down(SALES, answer)
    assert put_down(SALES, f"{answer[:-1]} if 1 else 0)\nfinal_answer({{'rows': 1204, 'n': len(df)}})")


def test_beside_inputs_what_the_script_held_before_is_its_own():
    before = "rate = 60.11\nprint(df.amount * rate)"
    answer = "rate = 60.11\nfinal_answer({'rate': rate, 'total': df.amount.sum()})"
    assert put_down(SALES, answer) and not put_down(SALES, answer, before)


DESCRIBED = "mean  18.3921\nrows  1234567\nshare  0.7512\nday  2024-02-11\ntotal  7 of 12"


@pytest.mark.parametrize(
    ("answer", "unshown"),
    [
        ("'At about 18.4 degrees, 75% or 75.1 percent of the 1,234,567 rows'", ""),
        ("'1.2 million rows, 1.23m, 1,235k, about 1200000; 1 234 567'", ""),
        ("{'mean': 18.4, 'mean, exactly': 18.39, 'share': 75.1, 'rows': 1_234_567}", ""),
        ("'On 11 February 2024, 7 of 12: the best of 3, or 40, or 30.5'", ""),
        ("'Mean {:.2f}, %5.1f'.format(18.39)", ""),
        ("f'Mean {18.3921:.14f}'", ""),
        ("-18.4", ""),
        ("True", ""),
        ("'=' * 50 + f'{2**11} of {60 * 70 > 41:d}: 18,39 Grad, 75,12%, {round(5.5, 12)}'", ""),
        ("{'at': 40.5 / 160.5, 'by': int('99', 16)}", "99 in it stands"),
        ("'Rome is the warmest, at about 18.5 degrees'", "18.5 in it stands"),
        ("{'mean': 99.9, 'rows': 1_234_567}", "99.9 in it stands"),
        ("'2,345 rows, 76%, 1.3 million'", "2,345, 76% and 1.3 million in it stand"),
        ("[32, 33, 34, 35.5, 35.5]", "32, 33, 34 and others in it stand"),
        ("18.3922", "18.3922 in it stands"),
    ],
)
def test_numbers_of_what_the_model_wrote_that_nothing_had_shown_are_named(answer, unshown):
    look = {"code": "least = 30.5\nprint(df)", "result": DESCRIBED}
    for steps in (
        [f"final_answer({answer})"],
        [{"code": f"a = {answer}\nprint(a)", "result": "99.9"}, "final_answer(a)"],
    ):
        answer_of = sliced_cells(a_run(look, *steps, inputs={"df": "DataFrame 5 x 3"}))[1]
        said = answer_of.never_shown({1: DESCRIBED, 2: "99.9 31 18.5", 3: "99.9 31"}, ["Of 40?"])
        assert said == (unshown and f"; {unshown} in no text that was shown before")


@pytest.mark.parametrize(
    ("shown", "answer"),
    [
        ("18.3921", "18,39 Grad, or 18.392"),
        ("0.1234", "12,34%"),
        ("1,5 and 12,25", "1.5 and 12.25"),
        ("a,7.5\nb,1234,x", "7.5 and 1234"),
        ("", "10. Oslo\n11. Bern\n- 12) Rome\n| 13 | Paris |\n**14.** Riga"),
        ("2024 2025", "2024/25, 2024-25, the 2020s and the '90s, the 19th"),
        ("1.234568e-05", "1.23 × 10^-5, 1.23·10⁻⁵, 1.23e-5"),
        ("1.23 × 10⁻⁵", "1.23e-5"),
        ("12500000000000", "12.5 trillion"),
        ("18.39", '<td style="width:50px;color:#336699">18.39</td><style>p {margin: 15px}</style> 1e-99999'),
        ("Q3_2024 USD12.5", "12.5 in 2024"),
        ("1234567", "12,34,567 or 1'234'567"),
    ],
)
def test_numbers_that_stand_elsewhere_in_another_form_are_not_named(shown, answer):
    assert Written("words", constants=[(2, answer)]).never_shown({1: shown}, []) == ""
    assert "99.9 in it" in Written("words", constants=[(2, f"{answer} 99.9")]).never_shown({1: shown}, [])


@pytest.mark.parametrize("answer", ["2**10", "365*24*60", "round(1500*1.05**10, 2)", "17*23 > 400"])
def test_what_python_worked_out_the_model_did_not_write(answer):
    assert sliced_cells(a_run(f"final_answer({answer})"))[1] == Written()
    seen = sliced_cells(a_run({"code": "print(40, 160)", "result": "40 160"}, f"final_answer({answer})"))[1]
    assert (seen.how, seen.constants) == ("words", [])


def test_most_numbers_are_found_without_going_through_all_that_was_shown(monkeypatch):
    """Where one is known by its value, or enough are not, the text is not searched."""
    searched = []

    class Text(str):
        def __contains__(self, part):
            searched.append(part)
            return super().__contains__(part)

    monkeypatch.setattr(written, "_joined", lambda texts: Text("\n".join(texts)))
    shown = "\n".join(f"{number}.37" for number in range(100, 400))
    numbers = " ".join(f"{number}.37" for number in range(100, 700))
    said = Written("words", constants=[(2, numbers)]).never_shown({1: shown}, [])
    assert said == "; 400.37, 401.37, 402.37 and others in it stand in no text that was shown before"
    assert searched == ["400.37", "401.37", "402.37", "403.37"]


def test_long_runs_of_digits_are_read_at_once():
    for text in ("1" * 100_000, "12," * 50_000, "1 × 10" * 30_000):
        assert Written("words", constants=[(2, text)]).never_shown({1: text}, []) == ""
