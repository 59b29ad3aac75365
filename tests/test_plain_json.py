"""Answers as plain JSON: what any program reads, whatever Python has."""

from __future__ import annotations

import datetime
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from smol_kernel.executors.values import encode
from smol_kernel.runs.plain_json import plain_json
from smol_kernel.serve.cli.answer_file import AnswerFile
from smol_kernel.serve.cli.run import write_answer

FRAME = pd.DataFrame({"day": [pd.Timestamp("2020-01-01"), pd.NaT], "n": [1.5, float("nan")]})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({1980: 16.1, (1, 2): {3}}, {"1980": 16.1, "[1, 2]": [3]}),
        ((1, None, float("inf")), [1, None, None]),
        (datetime.date(2020, 1, 1), "2020-01-01"),
        ([10**5000], [hex(10**5000)]),
        (np.array([np.longdouble(1.5)]), [1.5]),
        (np.clongdouble(1), "(1+0j)"),
        (np.array(["2020-01-01", "NaT"], "datetime64[D]"), ["2020-01-01", None]),
        (FRAME, [{"day": "2020-01-01T00:00:00", "n": 1.5}, {"day": None, "n": None}]),
        (pd.Series(["a", None]).unique(), ["a", None]),
        (pd.period_range("2020-01", periods=2, freq="M"), ["2020-01", "2020-02"]),
        (np.dtype("int64"), "int64"),
        (pd.DatetimeIndex(["2020-01-01", None]), ["2020-01-01", None]),
        (pd.to_timedelta(["1h", None]), ["0 days 01:00:00", None]),
        (object(), "<object object>"),
    ],
)
def test_every_value_has_a_form(value, expected):
    plain = plain_json(value)
    assert plain == expected
    assert json.loads(json.dumps(plain)) == expected


@pytest.mark.parametrize("value", ["Größe", "half \ud83d", [10**5000], {"a": (1, 2)}])
def test_an_answer_is_in_its_file_as_it_was(value, tmp_path):
    transcript = SimpleNamespace(answer=encode(value), answer_text="", answer_label="Answer")
    assert write_answer(transcript, AnswerFile(str(tmp_path / "answer.json")), is_recorded=False) == 0
    assert json.loads((tmp_path / "answer.json").read_text("utf-8")) == plain_json(value)
