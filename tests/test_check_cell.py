"""The cell that checks an answer again: it passes for the answer, fails for another, and needs nothing of ours."""

from __future__ import annotations

import ast
import inspect
import math

import numpy as np
import pandas as pd
import pytest

from smol_kernel.runs import check_cell, named_answer, script
from smol_kernel.runs.check_cell import check, with_check
from smol_kernel.runs.names import called
from smol_kernel.runs.script import ScriptCell
from smol_magic.invented import any_invented

TABLE = pd.DataFrame({"k": ["a", "b"], "v": [1.5, math.nan]}, index=[3, 5])
GROUPED = pd.DataFrame({"k": ["a", None], "v": [1, 2]}).groupby("k", dropna=False).sum()
HUGE = pd.DataFrame({"n": pd.Series([10**5000], dtype=object)})


@pytest.mark.parametrize(
    ("answer", "close", "other"),
    [
        (12.5, 12.5 + 1e-11, 12.6),
        (0.0, 0.0, 1e-9),
        (math.nan, math.nan, 1.0),
        (math.inf, math.inf, 1.0),
        (True, True, False),
        (None, None, 0),
        (42, 42, 43),
        ("it's", "it's", "its"),
        ({"a": [1, (2, None)]}, {"a": [1, (2, None)]}, {"a": [1, (2, 0)]}),
        ([1.0, 2.0], [1.0, 2.0 + 1e-11], [1.0, 2.1]),
        ("x" * 5000, "x" * 5000, "x" * 5001),
        (TABLE, TABLE.assign(v=TABLE["v"] + 1e-12), TABLE.assign(k="a")),
        (TABLE.rename_axis("i"), TABLE.rename_axis("i"), TABLE),
        (pd.concat([TABLE] * 400), pd.concat([TABLE] * 400), pd.concat([TABLE] * 399 + [TABLE.assign(k="a")])),
        (TABLE["v"], TABLE["v"], TABLE["v"] + 1),
        (TABLE.astype({"v": "float32"}), TABLE.astype({"v": "float32"}), TABLE.assign(v=9)),
        (np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-11]), np.array([1.0, 2.1])),
        (np.arange(5000), np.arange(5000), np.arange(5000) + 1),
        (np.float64(2.5), np.float64(2.5), np.float64(2.6)),
        ("FINAL ANSWER: 42", "FINAL ANSWER: 42", "FINAL answer: 42"),
        ([n + 0.123456789 for n in range(200)], [n + 0.123456789 for n in range(200)], [0.5] * 200),
        (GROUPED, GROUPED, GROUPED + 1),
        (pd.DataFrame({"a": ["my nan", "[nan"], "b": [math.nan, math.inf]}), None, TABLE),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), None, pd.DataFrame([[1, 3]], columns=["a", "a"])),
        (np.datetime64("2024-01-01"), None, np.datetime64("2024-01-02")),
        (np.timedelta64(3, "D"), None, np.timedelta64(3, "h")),
        (np.array(["2024-01-01"], "datetime64[D]"), None, np.array(["2024-01-02"], "datetime64[D]")),
    ],
    ids=repr,
)
def test_it_passes_for_the_answer_and_fails_for_another(answer, close, other):
    code = check(answer, "ANSWER")
    assert code is not None and "smol" not in code and len(code) < 4000
    exec(code, {"ANSWER": answer})
    exec(code, {"ANSWER": answer if close is None else close})
    with pytest.raises(AssertionError):
        exec(code, {"ANSWER": other})


def test_the_last_expression_gets_a_name_that_is_free():
    cells = [ScriptCell("code", "answer = 2", 1), ScriptCell("code", "x = 1\n(answer +\n 1)  # three", 2)]
    *_, last, words, checked = with_check(cells, 3)
    namespace = {}
    for cell in (cells[0], last, checked):
        exec(cell.source, namespace)
    assert last.source.endswith("answer_") and words.kind == "markdown" and checked.source == "assert answer_ == 3"
    assert with_check([ScriptCell("code", "total", 1)], 3)[-1].source == "assert total == 3"


@pytest.mark.parametrize(
    "answer",
    [
        object(),
        {1: object()},
        pd.Timestamp("2024-01-01"),
        [10**5000],
        HUGE,
        np.array([object()]),
        [set(map(str, range(1000)))],  # too long to be written, and in another order elsewhere
    ],
)
def test_an_answer_that_cannot_be_written_down_gets_no_cell(answer):
    cells = [ScriptCell("code", "x", 1)]
    assert with_check(cells, answer) == cells


def test_its_names_are_none_that_are_taken():
    *_, last, _, checked = with_check([ScriptCell("code", "[0.5]", 1)], [0.5], {"answer", "answer_", "expected"})
    assert last.source == "answer__ = [0.5]\nanswer__"
    assert checked.source.startswith("expected_ = [0.5]\nassert len(answer__) == len(expected_)\n")


def test_a_notebook_is_asked_for_every_name_that_cells_may_bind_for_themselves():
    wanted = set()
    for module in (check_cell, named_answer, script):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and called(node) in ("free", "free_name", "free_name_in"):
                wanted |= {each.value for each in node.args if isinstance(each, ast.Constant)}
    assert {"answer", "rows"} <= wanted
    assert all(any_invented([name], []) and any_invented([f"{name}_"], []) for name in wanted)
    assert any_invented(["df_"], ["df"]) and not any_invented(["df", "x_"], ["df"])
