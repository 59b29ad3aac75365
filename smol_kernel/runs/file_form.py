"""An answer in the form that a file of some ending has: JSON, a table as CSV, TSV or Parquet, else whole text. Used by
`smol run -o`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

from smol_kernel.errors import ConfigError, MissingDependencyError
from smol_kernel.executors.values import RemoteValue, a_name, package
from smol_kernel.runs.plain_json import plain_json

SEPARATORS = {".csv": ",", ".tsv": "\t"}
NO_TEXT = {".avif", ".bmp", ".bz2", ".db", ".doc", ".docx", ".duckdb", ".feather", ".gif", ".gz", ".h5", ".hdf5",
           ".ipynb", ".jpeg", ".jpg", ".mp3", ".mp4", ".npy", ".npz", ".ods", ".orc", ".pdf", ".pickle", ".pkl", ".png",
           ".ppt", ".pptx", ".sqlite", ".tar", ".tif", ".tiff", ".wav", ".webp",
           ".xls", ".xlsx", ".xz", ".zip"}  # fmt: skip
"""Endings of files that no answer is written as, and that no text can be."""
_LEFT_OUT = ("...", "…")
"""What marks a shortened text: of pandas, NumPy and IPython, of this package."""


def require_form(ending: str, option: str) -> None:
    """Raises ConfigError, which names the `option`, for an ending that no answer can be written as, and
    MissingDependencyError where that needs a package."""
    if ending in NO_TEXT:
        raise ConfigError(
            f"{option}: an answer is written as text, .json, .csv, .tsv or .parquet; name such a file, or let the task "
            f"say that a {ending} file is to be made, and keep it by --save-files"
        )
    if ending == ".parquet" and not all(map(find_spec, ("pandas", "pyarrow"))):
        raise MissingDependencyError(f"{option} needs pandas and pyarrow: pip install 'smol-kernel[demo]'")


def file_form(value: Any, shown: str, ending: str) -> tuple[bytes, str]:
    """`value`, an answer, as the bytes of a file, and what is to be said of that; `shown` is its text as a person is
    shown it. Raises ValueError, with the reason, where it has no such form, or is not here as a whole."""
    left_out = shown if not isinstance(value, str) and any(mark in shown for mark in _LEFT_OUT) else ""
    if isinstance(value, RemoteValue) and (left_out or value.shape is not None):
        raise ValueError(f"it stayed in the agent's kernel, which has ended: {value.type_name}")
    if ending == ".json":
        plain = plain_json(value)
        text = json.dumps(plain, ensure_ascii=False, indent=2)
        if any("\ud800" <= each <= "\udfff" for each in text):  # halves of characters, which JSON writes as escapes
            text = json.dumps(plain, indent=2)
        return f"{text}\n".encode(), ""
    if ending in SEPARATORS and (table := _table(value)) is not None:
        frame, index, header = table
        text = frame.to_csv(sep=SEPARATORS[ending], index=index, header=header, lineterminator="\n")
        return text.encode("utf-8", "replace"), ""
    if ending == ".parquet":
        return _parquet(value), ""
    text = f"{_whole(value) if left_out else shown}\n"
    return text.encode("utf-8", "replace"), " as its text: it is no table" if ending in SEPARATORS else ""


def _parquet(value: Any) -> bytes:
    table = _table(value)
    if table is None:
        raise ValueError(f"{a_name(type(value))} is no table, which a .parquet file holds")
    frame, index, _ = table
    try:
        return (frame if index else frame.reset_index(drop=True)).to_parquet(index=index)
    except (TypeError, ValueError, OverflowError, NotImplementedError) as error:  # of pyarrow's own too
        raise ValueError(f"it does not fit into Parquet ({error})") from None


def _table(value: Any) -> tuple[Any, bool, bool] | None:
    """A table as pandas has it, whether the labels of its rows say something, and whether its columns have names; None
    for what is no table. Records, a list of dicts of plain values, are one."""
    try:
        import pandas as pd
    except ImportError:
        return None
    kind = f"{package(type(value))} {type(value).__name__}"
    if kind == "builtins list" and value and all(isinstance(row, dict) and row for row in value):
        plain = not any(isinstance(cell, dict | list | tuple | set) for row in value for cell in row.values())
        return (pd.DataFrame(value, dtype=object), False, True) if plain else None  # a column of int may have gaps
    if kind == "numpy ndarray" and value.ndim in (1, 2) and not value.dtype.names:
        return pd.DataFrame(value), False, False
    made = {"pandas DataFrame": "copy", "pandas Series": "to_frame", "pyarrow Table": "to_pandas"}.get(kind)
    if made is None:
        return None
    frame = getattr(value, made)()
    return frame, type(frame.index).__name__ != "RangeIndex" or frame.index.name is not None, True


def _whole(value: Any) -> str:
    """The text of `value` as IPython shows it, with nothing left out; a table of pyarrow as pandas has it."""
    from IPython.lib.pretty import pretty

    value = value.to_pandas() if package(type(value)) == "pyarrow" and hasattr(value, "to_pandas") else value
    with ExitStack() as held:
        if find_spec("numpy"):
            import numpy as np

            held.enter_context(np.printoptions(threshold=2**62))
        if find_spec("pandas"):
            import pandas as pd

            names = ("max_rows", "max_columns", "max_colwidth", "max_seq_items", "width")
            options = [each for name in names for each in (f"display.{name}", None)]
            held.enter_context(pd.option_context(*options, "display.expand_frame_repr", False))
        return pretty(value, max_seq_length=0)
