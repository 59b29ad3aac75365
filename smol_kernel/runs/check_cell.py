"""A last cell that checks the answer again whenever the notebook is run: plain Python, without this package.

Made for `%%agent --prove-cell`.
"""

from __future__ import annotations

import ast
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from smol_kernel.executors.values import package
from smol_kernel.runs.named_answer import bound, last_code, last_name
from smol_kernel.runs.script import ScriptCell

LARGEST = 2_000
"""Characters of an answer up to which it stands in the cell; of a larger one the digest does."""
_WORDS = "Checks the answer again."


def with_check(cells: Sequence[ScriptCell], answer: Any) -> list[ScriptCell]:
    """The cells and one that checks that they give `answer`; without it where the answer cannot be written down."""
    found = list(cells)
    code = check(answer)
    place = last_code(found)
    if place is None or code is None:
        return found
    source, name = found[place].source, last_name(found[place].source)
    if name is None:
        name = _free([cell.source for cell in found if cell.kind == "code"])
        source = bound(source, name)
    if source is None:
        return found
    step = found[place].step
    found[place] = replace(found[place], source=source)
    found += [ScriptCell("markdown", _WORDS, step), ScriptCell("code", code.replace("ANSWER", name), step)]
    return found


def check(answer: Any) -> str | None:
    """The code that checks it, with ANSWER for the name; None where there is none."""
    kind = package(type(answer))
    if kind == "pandas":
        return _check_table(answer)
    if kind == "numpy":
        return _check_array(answer)
    if answer is None or isinstance(answer, bool):
        return f"assert ANSWER is {answer!r}"
    if isinstance(answer, float):
        return _check_number(answer)
    text = repr(answer)
    try:
        plain = ast.literal_eval(text) == answer
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not plain:
        return None
    if isinstance(answer, (list, tuple)) and answer and all(type(item) is float for item in answer):
        return _check_array(import_module("numpy").array(answer)) if len(text) > LARGEST else _check_numbers(answer)
    if len(text) > LARGEST:
        return f'import hashlib\n\nassert hashlib.sha256(repr(ANSWER).encode()).hexdigest() == "{_sha(text.encode())}"'
    return f"assert ANSWER == {text}"


def _check_number(answer: float) -> str:
    if math.isnan(answer):
        return "assert ANSWER != ANSWER  # NaN"
    if math.isinf(answer):
        return f'assert ANSWER == float("{answer}")'
    return f"assert abs(ANSWER - {answer!r}) <= 1e-9 * {abs(answer)!r}"


def _check_numbers(answer: Sequence[float]) -> str | None:
    if not all(map(math.isfinite, answer)):
        return None
    expected = list(answer)
    return f"expected = {expected!r}\nassert len(ANSWER) == len(expected)\n" + (
        "assert all(abs(a - b) <= 1e-9 * abs(b) for a, b in zip(ANSWER, expected))"
    )


def _check_table(answer: Any) -> str | None:
    pandas = import_module("pandas")
    if not isinstance(answer, (pandas.DataFrame, pandas.Series)):
        return None
    name = "frame" if isinstance(answer, pandas.DataFrame) else "series"
    if isinstance(answer, pandas.DataFrame):
        made, text = _written_table(pandas, answer)
        if made is not None and len(text) <= LARGEST and _same(pandas, name, answer, made):
            return (
                f"import pandas as pd\n\nexpected = {text}\n"
                "pd.testing.assert_frame_equal(ANSWER, expected, rtol=1e-9, atol=0)"
            )
    try:
        rows = pandas.util.hash_pandas_object(answer, index=True).to_numpy().tobytes()
    except TypeError:  # cells that cannot be hashed
        return None
    return (
        "import hashlib\n\nimport pandas as pd\n\n"
        "rows = pd.util.hash_pandas_object(ANSWER, index=True).to_numpy().tobytes()\n"
        f"assert ANSWER.shape == {tuple(answer.shape)!r}\n"
        f'assert hashlib.sha256(rows).hexdigest() == "{_sha(rows)}"'
    )


def _written_table(pandas: Any, table: Any) -> tuple[Any, str]:
    """The table made of plain lists, and the code that makes it so; None where that cannot be."""
    if table.size * 4 > LARGEST or table.columns.nlevels > 1 or table.index.nlevels > 1:
        return None, ""
    columns = {name: table[name].tolist() for name in table.columns}
    parts: dict[str, Any] = {"index": table.index.tolist(), "columns": table.columns.tolist()}
    rows = f"{columns!r}".replace(" nan", ' float("nan")').replace("[nan", '[float("nan")')
    text = f"pd.DataFrame({rows}, index={parts['index']!r})"
    named = [table.index.name, table.columns.name]
    plain = (str, int, float, bool, type(None))
    flat = [*columns, *parts["index"], *named, *(item for column in columns.values() for item in column)]
    if not all(type(item) in plain for item in flat) or "inf" in rows:
        return None, ""
    made = pandas.DataFrame(columns, index=parts["index"])
    if table.index.name is not None:
        made, text = made.rename_axis(table.index.name), f"{text}.rename_axis({table.index.name!r})"
    return made, text


def _same(pandas: Any, name: str, was: Any, made: Any) -> bool:
    try:
        getattr(pandas.testing, f"assert_{name}_equal")(was, made)
    except AssertionError:
        return False
    return True


def _check_array(answer: Any) -> str | None:
    if not hasattr(answer, "tobytes"):
        return None
    if answer.ndim and answer.size * 4 <= LARGEST and answer.dtype.kind in "iuf":
        values = repr(answer.tolist())
        if "nan" not in values and "inf" not in values and len(values) <= LARGEST:
            return f"import numpy as np\n\nnp.testing.assert_allclose(ANSWER, {values}, rtol=1e-9)"
    if not answer.ndim:
        return _check_number(float(answer)) if answer.dtype.kind == "f" else f"assert ANSWER == {answer.item()!r}"
    raw = answer.tobytes()
    return (
        f'import hashlib\n\nassert str(ANSWER.dtype) == "{answer.dtype}" and ANSWER.shape == {tuple(answer.shape)!r}\n'
        f'assert hashlib.sha256(ANSWER.tobytes()).hexdigest() == "{_sha(raw)}"'
    )


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _free(sources: Sequence[str]) -> str:
    name = "answer"
    while any(re.search(rf"\b{name}\b", source) for source in sources):
        name += "_"
    return name
