"""A last cell that checks the answer again whenever the notebook is run: plain Python, without this package.

Made for `%%agent --prove-cell`.
"""

from __future__ import annotations

import ast
import hashlib
import math
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from smol_kernel.executors.values import package
from smol_kernel.runs.named_answer import bound, free_name_in, last_code, last_name
from smol_kernel.runs.script import ScriptCell

LARGEST = 2_000
"""Characters of an answer up to which it stands in the cell; of a larger one the digest does."""
_WORDS = "Checks the answer again."


def with_check(cells: Sequence[ScriptCell], answer: Any, taken: Container[str] = ()) -> list[ScriptCell]:
    """The cells and one that checks that they give `answer`; without it where the answer cannot be written down, or is
    what they give in another form. Its names are none of those `taken`."""
    found = list(cells)
    place = last_code(found)
    if place is None or found[place].as_fields:
        return found
    source, name = found[place].source, last_name(found[place].source)
    if name is None:
        name = free_name_in(found, taken=taken)
        source = bound(source, name)
    code = check(answer, name, lambda wanted: free_name_in(found, wanted, taken))
    if source is None or code is None:
        return found
    step = found[place].step
    found[place] = replace(found[place], source=source)
    return [*found, ScriptCell("markdown", _WORDS, step), ScriptCell("code", code, step)]


def check(answer: Any, name: str, free: Callable[[str], str] = str) -> str | None:
    """The code that checks that `name` is it; None where there is none. `free` makes a wanted name a free one."""
    kind = package(type(answer))
    if kind == "pandas":
        return _check_table(answer, name, free)
    if kind == "numpy":
        return _check_array(answer, name)
    if answer is None or isinstance(answer, bool):
        return f"assert {name} is {answer!r}"
    if isinstance(answer, float):
        return _check_number(answer, name)
    try:
        text = repr(answer)
        tree = ast.parse(text, mode="eval")
        plain = ast.literal_eval(tree) == answer
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not plain:
        return None
    if len(text) > LARGEST:
        if any(isinstance(node, ast.Set) for node in ast.walk(tree)):  # its order is another one in each process
            return None
        return f'import hashlib\n\nassert hashlib.sha256(repr({name}).encode()).hexdigest() == "{_sha(text.encode())}"'
    if isinstance(answer, (list, tuple)) and answer and all(type(item) is float for item in answer):
        return _check_numbers(answer, name, free("expected"))
    return f"assert {name} == {text}"


def _check_number(answer: float, name: str) -> str:
    if math.isnan(answer):
        return f"assert {name} != {name}  # NaN"
    if math.isinf(answer):
        return f"assert {name} == {_written(answer)}"
    return f"assert abs({name} - {answer!r}) <= 1e-9 * {abs(answer)!r}"


def _check_numbers(answer: Sequence[float], name: str, expected: str) -> str | None:
    if not all(map(math.isfinite, answer)):
        return None
    return f"{expected} = {list(answer)!r}\nassert len({name}) == len({expected})\n" + (
        f"assert all(abs(a - b) <= 1e-9 * abs(b) for a, b in zip({name}, {expected}))"
    )


def _written(value: Any) -> str:
    """A plain value as Python reads it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return f'float("{value}")' if isinstance(value, float) and not math.isfinite(value) else repr(value)


def _check_table(answer: Any, name: str, free: Callable[[str], str]) -> str | None:
    pandas = import_module("pandas")
    if not isinstance(answer, (pandas.DataFrame, pandas.Series)):
        return None
    if isinstance(answer, pandas.DataFrame):
        made, text = _written_table(pandas, answer)
        if made is not None and len(text) <= LARGEST and _same(pandas, answer, made):
            expected = free("expected")
            return (
                f"import pandas as pd\n\n{expected} = {text}\n"
                f"pd.testing.assert_frame_equal({name}, {expected}, rtol=1e-9, atol=0)"
            )
    try:
        digest = _sha(pandas.util.hash_pandas_object(answer, index=True).to_numpy().tobytes())
    except (TypeError, ValueError, OverflowError):  # cells that cannot be hashed, or written
        return None
    rows = free("rows")
    return (
        "import hashlib\n\nimport pandas as pd\n\n"
        f"{rows} = pd.util.hash_pandas_object({name}, index=True).to_numpy().tobytes()\n"
        f"assert {name}.shape == {tuple(answer.shape)!r}\n"
        f'assert hashlib.sha256({rows}).hexdigest() == "{digest}"'
    )


def _written_table(pandas: Any, table: Any) -> tuple[Any, str]:
    """The table made of plain lists, and the code that makes it so; None where that cannot be."""
    if table.size * 4 > LARGEST or table.columns.nlevels > 1 or table.index.nlevels > 1 or not table.columns.is_unique:
        return None, ""
    columns, index = {name: table[name].tolist() for name in table.columns}, table.index.tolist()
    flat = [
        *columns,
        *index,
        table.index.name,
        table.columns.name,
        *(item for each in columns.values() for item in each),
    ]
    if not all(type(item) in (str, int, float, bool, type(None)) for item in flat):
        return None, ""
    try:
        rows = ", ".join(f"{_written(name)}: {_written(column)}" for name, column in columns.items())
        text = f"pd.DataFrame({{{rows}}}, index={_written(index)})"
    except ValueError:  # thousands of digits
        return None, ""
    made = pandas.DataFrame(columns, index=index)
    if table.index.name is not None:
        made, text = made.rename_axis(table.index.name), f"{text}.rename_axis({table.index.name!r})"
    return made, text


def _same(pandas: Any, was: Any, made: Any) -> bool:
    try:
        pandas.testing.assert_frame_equal(was, made)
    except AssertionError:
        return False
    return True


def _check_array(answer: Any, name: str) -> str | None:
    if not hasattr(answer, "tobytes") or answer.dtype.hasobject:
        return None
    kind = answer.dtype.kind
    if answer.ndim and answer.size * 4 <= LARGEST and kind in "iuf":
        values = repr(answer.tolist())
        if "nan" not in values and "inf" not in values and len(values) <= LARGEST:
            return f"import numpy as np\n\nnp.testing.assert_allclose({name}, {values}, rtol=1e-9)"
    if not answer.ndim and kind in "biufUS":
        return _check_number(float(answer), name) if kind == "f" else f"assert {name} == {answer.item()!r}"
    return (
        f'import hashlib\n\nassert str({name}.dtype) == "{answer.dtype}" and {name}.shape == {tuple(answer.shape)!r}\n'
        f'assert hashlib.sha256({name}.tobytes()).hexdigest() == "{_sha(answer.tobytes())}"'
    )


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
