"""Arguments and results of tools in the encoded form of `executors.values`, as text that people read."""

from __future__ import annotations

import json
from typing import Any, cast

from smol_kernel.render.plain import plain, shorten

MAX_CHARACTERS = 20_000
_AS_LIST = {"tuple", "set", "frozenset"}
_AS_TEXT = {"int", "float", "Decimal", "UUID", "Path", "PurePath", "date"}


def readable(value: Any) -> str:
    """`value` as text: a string as it is, the rest as JSON; of tables, pictures and the like the name of their type."""
    if isinstance(value, str):
        return shorten(plain(value), characters=MAX_CHARACTERS)
    text = json.dumps(_bare(value), ensure_ascii=False, indent=2)
    flat = json.dumps(_bare(value), ensure_ascii=False)
    return shorten(plain(flat if len(flat) <= 80 else text), characters=MAX_CHARACTERS)


def _bare(value: Any) -> Any:
    """The value without the tags of its encoded form."""
    if isinstance(value, list):
        return [_bare(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    data = cast("dict[str, Any]", value)
    tag = data.get("$")
    if not isinstance(tag, str):
        return {name: _bare(item) for name, item in data.items()}
    parts = data.get("v")
    if tag in _AS_LIST and isinstance(parts, list):
        return _bare(parts)
    if tag == "dict" and isinstance(parts, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in parts):
        return {str(_bare(pair[0])): _bare(pair[1]) for pair in cast("list[list[Any]]", parts)}
    if tag in _AS_TEXT and isinstance(parts, str):
        return parts
    return f"<{tag}>"
