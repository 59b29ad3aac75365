"""What a model is told of a value that it has not seen: its type, its size, and a little of what is in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from smol_kernel.executors import pickles, values
from smol_kernel.executors.addresses import without_addresses
from smol_kernel.memory.known_secrets import redacted
from smol_kernel.memory.text_room import ShortRepr, is_long

SHORT_TEXT = 300
"""Characters of a text that is told whole to every agent."""
LONGEST = 20_000
"""Characters of an input that are told to an agent that cannot print it."""
_DEEPEST = 20  # levels of a value that are told


def describe(value: Any) -> str:
    """One line of at most 200 characters for a prompt: type, size, columns or first items; no memory addresses, and no
    known secrets."""
    try:
        text = redacted(without_addresses(" ".join(_summary(value).split())))
    except Exception:  # noqa: BLE001 - boundary: any class's own methods run here
        text = type(value).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"


def told(value: Any, *, in_full: bool) -> str:
    """What a model is told of an input, after its type: a description, or the text of a short one; `in_full`, all of
    plain data up to 20,000 characters, for a model that cannot have it printed. Known secrets are left out."""
    short = isinstance(value, str) and len(value) <= SHORT_TEXT
    if short or (in_full and isinstance(value, bool | int | float | str | list | tuple | set | frozenset | dict)):
        try:
            size = f" of {_size(value)}:" if hasattr(value, "__len__") else ""
            return redacted(f"{type(value).__name__}{size} {_whole(value)}")
        except Exception:  # noqa: BLE001 - boundary: any class's own methods run here; an int can be too long
            pass
    return describe(value if in_full else pickles.as_handed_over(value))


def _whole(value: Any) -> str:
    if isinstance(value, str):
        left = len(value) - LONGEST
        return repr(_beginning(value)) + (f"… [{left:,} more characters are left out here]" if left > 0 else "")
    text = ""
    for piece in _pieces(value):
        text += piece
        if len(text) > LONGEST:
            return f"{text[:LONGEST]}… [the rest of the {_size(value)} is left out here]"
    return text


def _beginning(text: str) -> str:
    """As much of it as is told. What is known to be secret is taken out first: half of it would not be found."""
    return redacted(text[: 2 * LONGEST])[:LONGEST]


def _pieces(value: Any, depth: int = 0) -> Iterator[str]:
    """The value as Python writes it, but for objects, which are described."""
    if isinstance(value, str):
        yield repr(_beginning(value))
    elif value is None or isinstance(value, bool | int | float):
        yield repr(value)
    elif not isinstance(value, list | tuple | set | frozenset | dict) or depth > _DEEPEST:
        yield describe(value)
    else:
        names: tuple[str, ...] = getattr(value, "_fields", ()) if isinstance(value, tuple) else ()
        opening, closing = _brackets(value)
        yield opening
        for number, item in enumerate(cast("Iterable[Any]", value)):
            yield ", " * (number > 0) + (f"{names[number]}=" if names else "")
            yield from _pieces(item, depth + 1)
            if isinstance(value, dict):
                yield ": "
                yield from _pieces(value[item], depth + 1)
        yield closing


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, tuple):
        named = hasattr(value, "_fields")
        return (type(value).__name__ if named else "") + "(", ",)" if len(value) == 1 and not named else ")"
    if isinstance(value, frozenset):
        return ("frozenset({", "})") if value else ("frozenset(", ")")
    if isinstance(value, set):
        return ("{", "}") if value else ("set(", ")")
    return ("[", "]") if isinstance(value, list) else ("{", "}")


class _Short(ShortRepr):
    """What is known to be secret is taken out before anything is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 100

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(redacted(x), level)

    def repr_instance(self, x: Any, level: int) -> str:
        text = redacted(self.without_its_text(x, level) if is_long(x) else repr(x))
        return text if len(text) <= self.maxother else f"{text[:48]}...{text[-49:]}"


def _size(value: Any) -> str:
    unit = "characters" if isinstance(value, str) else "bytes" if isinstance(value, bytes) else "items"
    return f"{len(value):,} {unit}"


def _summary(value: Any) -> str:
    name = type(value).__name__
    kind = f"{values.package(type(value))}.{name}"
    if kind in ("pandas.DataFrame", "pyarrow.Table"):
        is_frame = kind == "pandas.DataFrame"
        labels, dtypes = (value.columns, value.dtypes) if is_frame else (value.column_names, value.schema.types)
        columns = [f"{label} ({dtype})" for label, dtype in zip(labels[:20], dtypes[:20], strict=True)]
        return f"{name} {value.shape[0]} x {value.shape[1]}, columns {', '.join(columns) or 'none'}"
    if kind == "pandas.Series":
        return f"Series of {len(value):,} items, {value.dtype}, name {value.name!r}"
    if kind == "numpy.ndarray":
        return f"ndarray {' x '.join(map(str, value.shape)) or 'of one item'}, {value.dtype}"
    if kind.startswith("PIL."):
        return f"{name} {value.width} x {value.height}, {value.mode}"
    if isinstance(value, values.RemoteValue) or value is None:
        return repr(value)
    short = _Short()
    if hasattr(value, "__len__"):
        return f"{name} of {_size(value)}: {short.repr(value)}"
    text = short.repr(value)
    return text if name in text.partition("(")[0] else f"{name} {text}"
