"""What an MCP server says of a tool, made a tool's name and inputs: checked, resolved, cut to size.

The schemas are JSON Schema (https://json-schema.org/draft/2020-12); nothing here fails on a strange one: what cannot
be read becomes "any", and the server has the last word on a call.
"""

from __future__ import annotations

import builtins
import json
import keyword
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

from smol_kernel.tools.base import RESERVED_NAMES
from smol_kernel.tools.mcp_servers import plain_text
from smol_kernel.tools.schema import PYTHON_NAMES

MAX_DESCRIPTION = 8_000
MAX_INPUT_DESCRIPTION = 2_000
MAX_INPUTS = 100
MAX_CHOICES = 200
MAX_CHOICE, MAX_CHOICES_TEXT = 200, 4_000
"""Characters of one choice, and of all those of an input. Of more it is told that there are choices, but not which."""
MAX_TEXT = 500
"""Characters of a pattern, or of another text that is for programs; a longer one is left out."""
MAX_DEPTH = 8
MAX_NODES = 1_000
"""Schemas within the inputs of one tool, and as many that stand for others; what comes after them is not described."""
MAX_INPUTS_TEXT = 20_000
"""Characters of all inputs of a tool; of those that are longer less is said, of the longest first."""
MAX_OUTPUT_SCHEMA = 20_000
"""Characters of an output schema; a longer one is not shown."""

ANY_INPUTS = "arguments"
"""The one input of a tool that takes any arguments."""
_KINDS = ("string", "number", "integer", "boolean", "object", "array", "null")
_COPIED = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "format")
_SEE = "See the tool's description."
_CHOICES_LEFT_OUT = "It takes certain values only, which are too many or too long to list."
_CUT = "What else it takes is too long to show."
_RESULTS_OF_ACTIONS = {*RESERVED_NAMES, "final_answer", "self"}


def python_name(name: str) -> str:
    """`name` as a Python identifier that is no keyword, builtin or reserved name.

    Dashes become underscores, other characters go; a digit in front gets an underscore before it, and a name that
    is taken one behind it.
    """
    name = "".join(c for c in name.replace("-", "_")[:100] if f"_{c}".isidentifier()) or "tool"
    if not name.isidentifier():
        name = f"_{name}"
    if keyword.iskeyword(name) or name in _RESULTS_OF_ACTIONS or hasattr(builtins, name):
        name = f"{name}_"
    return name


def tool_names(tools: Sequence[tuple[str, str]]) -> list[str]:
    """A name for each tool, given as pairs of server and name.

    What more than one server offers gets the server's name in front; what is still the same gets a number behind.
    """
    owners: dict[str, set[str]] = {}
    for server, name in tools:
        owners.setdefault(python_name(name), set()).add(server)
    names: list[str] = []
    for server, name in tools:
        plain = python_name(name)
        names.append(plain if len(owners[plain]) == 1 else python_name(f"{_input_name(server)}_{plain}"))
    return _numbered(names, [name for _, name in tools])


def _numbered(names: list[str], given: list[str]) -> list[str]:
    """The names with numbers where they are the same; one that is as it was `given` goes before the changed ones."""
    taken, again = set(names), Counter[str]()
    unique = list(names)
    for place in sorted(range(len(names)), key=lambda place: names[place] != given[place]):
        name = names[place]
        again[name] += 1
        candidate = name
        while again[name] > 1 and candidate in taken:
            candidate = f"{name}_{again[name]}"
            again[name] += candidate in taken
        taken.add(candidate)
        unique[place] = candidate
    return unique


def read_inputs(schema: Any) -> tuple[dict[str, dict[str, Any]], dict[str, str | None], set[str], set[str]]:
    """The inputs of a tool from its input schema; with the server's name of each (None for an input that holds all
    arguments, of a tool that takes any), those that have to be given, and those that may be null: to the server that is
    not the same as left out.

    Those that have to be given come first, so that the rest can be left out of a call. Of several shapes that the
    arguments may have, all inputs are there.
    """
    reader = _Reader(schema)
    whole = reader.resolve(schema, 0)
    required = dict.fromkeys(_names(whole.get("required")))
    properties = reader.properties(whole)
    properties |= {name: {} for name in required if name not in properties}
    if not properties and whole.get("additionalProperties") not in (None, False):
        spec = {"type": "object", "description": "All arguments by name: the tool takes any.", "nullable": True}
        return {ANY_INPUTS: spec}, {ANY_INPUTS: None}, set(), set()
    found = list(properties.items())[:MAX_INPUTS]
    found.sort(key=lambda pair: pair[0] not in required)
    inputs: dict[str, dict[str, Any]] = {}
    wire: dict[str, str | None] = {}
    takes_null: set[str] = set()
    keys = [key for key, _ in found]
    for given, name in zip(keys, _numbered(list(map(_input_name, keys)), keys), strict=True):
        spec = reader.read(properties[given], 1)
        spec.setdefault("type", "any")
        spec.setdefault("description", _SEE)
        if told := _keys_text(spec):
            spec["description"] = plain_text(f"{spec['description'].rstrip('.')}. {told}", MAX_INPUT_DESCRIPTION)
        if spec.get("nullable"):
            takes_null.add(name)
        if given not in required:
            spec["nullable"] = True
        inputs[name], wire[name] = spec, given
    _cut_to_size(inputs)
    return inputs, wire, {name for name, given in wire.items() if given in required}, takes_null


def read_output(schema: Any) -> dict[str, Any] | None:
    """An output schema with its references resolved; None where there is none, or too much of it."""
    if not isinstance(schema, dict):
        return None
    resolved = _Reader(schema).whole(schema, 0)
    return resolved if _length(resolved) <= MAX_OUTPUT_SCHEMA else None


def read_description(tool: Any, server: str) -> str:
    """The description of an SDK's Tool."""
    text = plain_text(tool.description or "", MAX_DESCRIPTION).strip() or plain_text(tool.title or "", 200).strip()
    return text or f"The tool {plain_text(tool.name, 100)!r} of the MCP server {server}."


def type_text(spec: Mapping[str, Any]) -> str:
    """The type of an input as one writes it in Python: `list[str]`, `Literal['a', 'b']`, `int | None`."""
    kinds: list[str] = [spec["type"]] if isinstance(spec.get("type"), str) else list(spec.get("type") or ["any"])
    choices = spec.get("enum")
    if choices and len(choices) <= 20:
        words = [f"Literal[{', '.join(map(repr, choices))}]"]
    elif "anyOf" in spec:
        words = list(dict.fromkeys(type_text({**each, "nullable": False}) for each in spec["anyOf"]))
    elif kinds == ["array"] and "items" in spec:
        words = [f"list[{type_text(spec['items'])}]"]
    else:
        words = [PYTHON_NAMES[kind] for kind in kinds]
    if spec.get("nullable") and spec.get("default") is None and "Any" not in words:
        words.append("None")
    return " | ".join(words)


def _input_name(name: str) -> str:
    clean = "".join(c if f"_{c}".isidentifier() else "_" for c in name[:100]) or "_"
    clean = clean if clean.isidentifier() else f"_{clean}"
    return f"{clean}_" if keyword.iskeyword(clean) or clean == "self" else clean


def _length(value: Any) -> float:
    """The characters of a value as JSON."""
    try:
        return len(json.dumps(value, default=str, ensure_ascii=False))
    except (ValueError, RecursionError):  # a number of thousands of digits; too deep
        return float("inf")


def _cut_to_size(inputs: dict[str, dict[str, Any]]) -> None:
    """Say less of the longest inputs if all of them are too long: only what each is for, and at last only its name."""
    for cut in (_outline, _bare):
        lengths = {name: len(name) + _length(spec) for name, spec in inputs.items()}
        for name in sorted(inputs, key=lambda name: -lengths[name]):
            if sum(lengths.values()) <= MAX_INPUTS_TEXT:
                return
            inputs[name] = cut(inputs[name])
            lengths[name] = len(name) + _length(inputs[name])


def _outline(spec: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: spec[key] for key in ("type", "nullable") if key in spec}
    return {**told, "description": f"{plain_text(spec['description'], MAX_CHOICE).rstrip('.')}. {_CUT}"}


def _bare(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "any", "description": _SEE, **({"nullable": True} if spec.get("nullable") else {})}


def _are_listed(choices: list[Any]) -> bool:
    """Whether there are so few choices, and such short ones, that they are shown."""
    lengths = [_length(choice) for choice in choices[: MAX_CHOICES + 1]]
    return len(choices) <= MAX_CHOICES and max(lengths, default=0) <= MAX_CHOICE and sum(lengths) <= MAX_CHOICES_TEXT


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _keys_text(spec: Mapping[str, Any]) -> str:
    """The keys of an object, or of a list's objects, for its description; of each kind of object where several may be
    given."""
    inner = _one_of(spec)
    kinds = [
        ", ".join(
            f"{name} ({type_text(each)}{'' if name in kind.get('required', ()) else ', optional'})"
            for name, each in kind["properties"].items()
        )
        for kind in (inner, *map(_one_of, inner.get("anyOf", ())))
        if kind.get("properties")
    ]
    return f"Keys: {'; or '.join(kinds)}." if kinds else ""


def _one_of(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is in a list; what is none, itself."""
    return spec.get("items", spec) if spec.get("type") == "array" else spec


class _Reader:
    """Reads the schemas of one document, `root`, which their `$ref`s point into."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._nodes = self._merged = 0

    def resolve(self, schema: Any, depth: int, within: tuple[Any, ...] = ()) -> dict[str, Any]:
        """`schema` with what its `$ref` and `allOf` stand for put in its place; `within` are the `$ref`s that led to
        it, which say nothing new."""
        self._merged += bool(within)
        if not isinstance(schema, dict) or depth > MAX_DEPTH or self._merged > MAX_NODES:
            return {}
        merged: dict[str, Any] = {}
        reference = schema.get("$ref")
        parts = [self._target(reference)] if "$ref" in schema and reference not in within else []
        within = (*within, reference)
        parts += schema["allOf"][:20] if isinstance(schema.get("allOf"), list) else []
        for part in parts:
            for key, value in self.resolve(part, depth + 1, within).items():
                if key == "properties" and isinstance(value, dict) and isinstance(merged.get(key), dict):
                    value = {**merged[key], **value}
                elif key == "required":
                    value = [*_names(merged.get(key)), *_names(value)]
                merged[key] = value
        own = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        return {**merged, **own}

    def properties(self, whole: Mapping[str, Any]) -> dict[str, Any]:
        """The properties of a resolved schema, after those of the shapes that it may have."""
        found: dict[str, Any] = {}
        for key in ("anyOf", "oneOf"):
            shapes = whole.get(key)
            for shape in shapes[:50] if isinstance(shapes, list) else ():
                inner = self.resolve(shape, 1).get("properties")
                found |= inner if isinstance(inner, dict) else {}
        own = whole.get("properties")
        return found | own if isinstance(own, dict) else found

    def read(self, schema: Any, depth: int) -> dict[str, Any]:
        """A schema in the form of a tool's inputs: `type`, and where they apply `nullable`, `enum`, `items`, …"""
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            return {}
        given = self.resolve(schema, depth)
        spec: dict[str, Any] = {}
        variants = list(self._variants(given, depth))
        kinds = [kind for kind in _kinds(given) if kind != "null"]
        nullable = "null" in _kinds(given) or given.get("nullable") is True
        solid = [each for each in variants if each.get("type") != "null"]
        if variants:
            nullable = nullable or len(solid) < len(variants) or any(each.get("nullable") for each in variants)
            if len(solid) == 1:
                spec.update(solid[0])
            elif solid and not kinds:
                each_kinds = [kind for each in solid for kind in _kinds(each)]
                kinds = list(dict.fromkeys(each_kinds)) if all(map(_kinds, solid)) else []
                choices = [choice for each in solid for choice in each.get("enum", ())]
                if all("enum" in each for each in solid):
                    spec.update({"enum": choices} if _are_listed(choices) else {"left_out": True})
            if len(solid) > 1 and any(each.keys() & {"properties", "items", "anyOf"} for each in solid):
                spec["anyOf"] = solid
        if kinds:
            spec["type"] = kinds[0] if len(kinds) == 1 else kinds
        self._choices(given, spec)
        nullable = nullable or bool(spec.pop("has_null", False))
        if nullable:
            spec["nullable"] = True
        text = given.get("description") or given.get("title")
        if isinstance(text, str) and text.strip():
            spec["description"] = plain_text(text, MAX_INPUT_DESCRIPTION).strip()
        if spec.pop("left_out", False):
            before = f"{spec['description'].rstrip('.')}. " if "description" in spec else ""
            spec["description"] = f"{before}{_CHOICES_LEFT_OUT}"
        copied = {key: given[key] for key in _COPIED if isinstance(given.get(key), str | int | float)}
        spec.update({key: value for key, value in copied.items() if _length(value) <= MAX_TEXT})
        default = given.get("default")
        if default is not None and _length(default) <= MAX_CHOICE:
            spec["default"] = default
        self._inside(given, spec, depth)
        return spec

    def whole(self, schema: Any, depth: int) -> Any:
        """Any JSON Schema with its references resolved, as deep as MAX_DEPTH."""
        self._nodes += 1
        if depth > MAX_DEPTH * 2 or self._nodes > MAX_NODES * 5:
            return {}
        if isinstance(schema, list):
            return [self.whole(each, depth + 1) for each in cast("list[Any]", schema)]
        if not isinstance(schema, dict):
            return plain_text(schema, MAX_INPUT_DESCRIPTION) if isinstance(schema, str) else schema
        given = {**self.resolve(schema, 0)} if "$ref" in schema else cast("dict[str, Any]", schema)
        return {
            key: self.whole(value, depth + 1) for key, value in given.items() if key not in ("$defs", "definitions")
        }

    def _target(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            return {}  # nothing is fetched
        found = self._root
        for part in filter(None, unquote(reference[1:]).split("/")):
            part = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and part.isdigit() and int(part) < len(cast("list[Any]", found)):
                found = found[int(part)]
            elif isinstance(found, dict):
                found = found.get(part, {})
            else:
                return {}
        return found

    def _variants(self, given: Mapping[str, Any], depth: int) -> Iterator[dict[str, Any]]:
        for key in ("anyOf", "oneOf"):
            found = given.get(key)
            for each in found[:50] if isinstance(found, list) else ():
                whole = self.resolve(each, depth + 1)
                yield {"type": "null"} if _kinds(whole) == ["null"] else self.read(whole, depth + 1)

    def _choices(self, given: Mapping[str, Any], spec: dict[str, Any]) -> None:
        choices = [given["const"]] if "const" in given else given.get("enum")
        if isinstance(choices, list) and choices:
            kept = [choice for choice in cast("list[Any]", choices) if choice is not None]
            spec["has_null"] = len(kept) < len(cast("list[Any]", choices))
            spec.update({"enum": kept} if _are_listed(kept) else {"left_out": True})
            if "type" not in spec:
                kinds = list(dict.fromkeys(_kind_of(choice) for choice in kept))
                spec["type"] = kinds[0] if len(kinds) == 1 else "any"

    def _inside(self, given: Mapping[str, Any], spec: dict[str, Any], depth: int) -> None:
        properties = given.get("properties")
        if isinstance(properties, dict):
            found = list(cast("dict[str, Any]", properties).items())[:MAX_INPUTS]
            spec["properties"] = {plain_text(name, 100): self.read(each, depth + 1) for name, each in found}
            required = dict.fromkeys(_names(given.get("required")))
            spec["required"] = [name for name in required if name in spec["properties"]]
            spec.setdefault("type", "object")
        items = self.read(given["items"], depth + 1) if isinstance(given.get("items"), dict) else {}
        if "type" in items:
            spec["items"] = items
        if "items" in given or "prefixItems" in given:
            spec.setdefault("type", "array")


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    kinds = schema.get("type")
    listed = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    return list(dict.fromkeys(kind for kind in cast("list[Any]", listed) if kind in _KINDS))


def _kind_of(value: Any) -> str:
    kinds = {bool: "boolean", str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "any")
