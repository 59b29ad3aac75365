"""Generators of hostile data: encoded values, requests, reports, and messages as they travel. Each takes a
`random.Random`, so that a seed and the number of a case give the same data again."""

from __future__ import annotations

import base64
import datetime
import decimal
import functools
import io
import json
import math
import pathlib
import random
import struct
import uuid
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from smol_kernel.executors.values import encode

TAGS = [
    "int",
    "float",
    "complex",
    "bytes",
    "str",
    "tuple",
    "set",
    "frozenset",
    "dict",
    "datetime",
    "time",
    "date",
    "timedelta",
    "Decimal",
    "UUID",
    "Path",
    "PurePath",
    "remote",
    "ndarray",
    "scalar",
    "image",
    "DataFrame",
    "Series",
    "Timestamp",
    "Timedelta",
    "NA",
    "Index",
    "pandas array",
    "Interval",
    "Period",
    "dtype",
    "Table",
    "pickle",
    "object",
    "os.system",
]
DTYPES = [
    "<f8",
    "<i8",
    ">i4",
    "|b1",
    "<U3",
    "|S4",
    "<U0",
    "|O",
    "|V8",
    "<f3",
    "<c16",
    "M8[ns]",
    "<M8[25s]",
    "<m8[D]",
    "<M8[generic]",
    "int64",
    "Int64",
    "float64",
    "bool",
    "boolean",
    "string",
    "str",
    "object",
    "category",
    "complex128",
    "datetime64[ns]",
    "datetime64[ns,UTC]",
    "timedelta64[ns]",
    "Sparse[object]",
    "period[D]",
    "int64[pyarrow]",
    "string[pyarrow]",
    "list<item:int64>[pyarrow]",
    "dictionary<values=string,indices=int32>[pyarrow]",
    "timestamp[ns,tz=UTC][pyarrow]",
    "extension<x>[pyarrow]",
    "decimal128(5,2)[pyarrow]",
    "interval[int64]",
    "datetime64[ns, Europe/Berlin]",
    "datetime64[ns, dateutil//etc/passwd]",
    "datetime64[s, ../../etc/passwd]",
]
WORDS = [
    *("", "a", "$", "v", "x" * 3000, "\0", "\ud800", "\udfff\ud800", "\U0001f388", "é" * 50, "../../etc/passwd"),
    *("UTC", "Europe/Berlin", "Europe", "dateutil//etc/passwd", "tzlocal()", "Etc/GMT+99", "posixrules", "localtime"),
    *("nan", "inf", "-inf", "1e999999999", "sNaN123", "0x" + "f" * 2000, "0x_", "1" * 5000, "NaT", "D", "B", "0ME"),
    *("2024-02-29", "2024-13-01T00:00:00", "9999-12-31T23:59:59.999999+23:59", "0001-01-01T00:00:00-23:59", "now"),
    *(
        "__import__('os')",
        "__class__",
        "cos\nsystem\n(S'id'\ntR.",
        "\x1b]0;x\x07",
        "\u202e",
        "<script>",
        "W-SAT",
        "1D1h",
    ),
]
NUMBERS = [0, 1, -1, 2, 3, 64, 255, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, -(2**63), 10**18, 10**30, -(10**30), 2**4000]
FLOATS = [0.5, -0.0, 1e308, -1e308, 5e-324, 1e16, math.nan, math.inf, -math.inf]


def pick(rng: random.Random, *options: Any) -> Any:
    """One of the options; of one that is a generator of this file, what it makes."""
    chosen = rng.choice(options)
    return chosen(rng) if callable(chosen) else chosen


# encoded values


@functools.cache
def corpus() -> list[Any]:
    """Sound values in their encoded form: at least one of each type that crosses."""
    berlin = "Europe/Berlin"
    values: list[Any] = [
        *(None, True, 7, -1.5, "text", "lone \ud800", 2**90, math.nan, 1j, b"\x00bytes", (1, ("a",)), {1, "b"}),
        *(frozenset({2}), [1, [2.5, None]], {"a": {"b": [1]}}, {"$": 1}, {1: "a", (2,): None}),
        *(datetime.date(2024, 2, 29), datetime.time(1, 2), datetime.datetime(2024, 2, 29, 1, 2, 3)),
        pd.Timestamp("2024-10-27 00:30", tz=berlin).to_pydatetime().replace(tzinfo=datetime.timezone.utc),
        *(datetime.timedelta(days=-1), decimal.Decimal("1.10"), uuid.UUID(int=7), pathlib.Path("a/b")),
        *(np.arange(6).reshape(2, 3), np.array(["ä", "b"]), np.array(["2020", "NaT"], "M8[D]"), np.float32(1.5)),
        *(np.array([b"x"]), np.zeros((0, 3)), pd.Timestamp("2020", tz=berlin), pd.Timedelta(5, "s"), pd.NaT, pd.NA),
        *(
            pd.Index(["a", None]),
            pd.RangeIndex(3),
            pd.period_range("2020", periods=2, freq="M"),
            pd.interval_range(0, 2),
        ),
        *(pd.array([1, None]), pd.Categorical(["x"]), pd.Interval(0, 1), pd.Period("2020", "Q"), np.dtype("i4")),
        *(pd.StringDtype(), np.array([[1, "x"], [None, [2]]], object)),
        pd.Series([1, 2, 3], name="s", index=pd.date_range("2020", periods=3, freq="D")),
        pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, math.nan]}),
        pd.DataFrame({"k": pd.Categorical(["x", "y"]), "t": pd.date_range("2020", periods=2, tz=berlin)}),
        pd.DataFrame(
            {"i": pd.array([1, None], dtype="Int64"), "w": pd.array([1, None], dtype="int64[pyarrow]"), "o": [(1,), {}]}
        ),
        pd.DataFrame([[1, 2, 3, 4]], columns=pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["x", None])),
        pd.DataFrame({"v": range(4)}, index=pd.MultiIndex.from_product([["a", "b"], [1, 2]])),
        pa.table(
            {"n": [1, None], "l": [[1], []], "s": [{"a": "x"}, None], "d": pa.array(["u", "v"]).dictionary_encode()}
        ),
        *(Image.linear_gradient("L").resize((9, 7)).convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
    ]
    return [encode(value) for value in values] + [
        {"$": "remote", "v": ["module.Type", {"$": "tuple", "v": [2, 3]}, "its repr", "handle"]}
    ]


def sound(rng: random.Random) -> Any:
    """One of them."""
    return copied(rng.choice(corpus()))


def copied(data: Any) -> Any:
    """A copy of JSON-plain data, of any depth."""
    if type(data) is dict:
        return {key: copied(item) for key, item in data.items()}
    return [copied(item) for item in data] if type(data) is list else data


def value(rng: random.Random) -> Any:
    """Hostile encoded data: a changed sound value, or something made to break."""
    kind = rng.random()
    if kind < 0.6:
        return mutated(rng, sound(rng), times=rng.choice((1, 1, 2, 3, 6)))
    if kind < 0.7:
        return tagged(rng)
    if kind < 0.8:
        return {"$": "Table", "v": packed(arrow(rng))}
    if kind < 0.88:
        return {"$": "image", "v": packed(png(rng))}
    if kind < 0.94:
        return frame(rng)
    return rng.choice(_MADE)(rng)


def mutated(rng: random.Random, data: Any, times: int = 1) -> Any:
    """JSON-plain data with so many places changed."""
    for _ in range(times):
        places = _places(data)
        if not places:
            return leaf(rng)
        holder, key = rng.choice(places)
        old = holder[key]
        change = rng.random()
        if change < 0.3 and isinstance(old, str) and len(old) > 2:
            holder[key] = _changed_text(rng, old)
        elif change < 0.45:
            holder[key] = sound(rng)
        elif change < 0.55:
            del holder[key]
        elif change < 0.62:
            holder[key] = [old] * rng.choice((0, 2, 3, 50))
        elif change < 0.68:
            holder[key] = {"$": rng.choice(TAGS), "v": old}
        elif change < 0.74 and isinstance(holder, dict):
            holder[rng.choice(["$", "v", "dtype", "values", "range", "categories", "freq", *WORDS[:4]])] = old
        elif change < 0.78:
            holder[key] = deep(rng, old)
        elif isinstance(old, bool | int) and change < 0.9:
            holder[key] = rng.choice(NUMBERS)
        else:
            holder[key] = leaf(rng)
    return data


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Every place in it, as what holds it and its key there; at most some thousands."""
    places: list[tuple[Any, Any]] = []
    open_ends = [data]
    while open_ends and len(places) < 5_000:
        holder = open_ends.pop()
        found = list(holder) if type(holder) is dict else range(len(holder)) if type(holder) is list else ()
        for key in found:
            places.append((holder, key))
            open_ends.append(holder[key])
    return places


def leaf(rng: random.Random) -> Any:
    """A value without parts, at the edge of what is allowed, or beyond."""
    kind = rng.randrange(6)
    if kind == 5:
        return packed(rng.randbytes(rng.choice((0, 1, 8, 100))))
    return rng.choice((WORDS, NUMBERS, FLOATS, (None, True, False, [], {}), DTYPES)[kind])


def _changed_text(rng: random.Random, text: str) -> str:
    """The text a little changed; of base64 what it stands for."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if len(raw) > 8 and rng.random() < 0.8:
        return base64.b64encode(flipped(rng, raw)).decode()
    place = rng.randrange(len(text))
    return rng.choice(
        (
            text[:place],
            text[:place] + rng.choice(WORDS)[:50] + text[place:],
            text[:place] + chr(rng.choice((0, 48, 57, 61, 255, 0x660, 0xD800, 0x1F388))) + text[place + 1 :],
            text * 3,
        )
    )


def flipped(rng: random.Random, raw: bytes) -> bytes:
    """Bytes with some of them changed, cut, doubled, or a number among them made extreme."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place = rng.randrange(len(data)) if data else 0
        kind = rng.random()
        if kind < 0.4 and data:
            data[place] ^= 1 << rng.randrange(8)
        elif kind < 0.7:
            number = rng.choice((0, 1, -1, 2**31 - 1, -(2**31), 64, 255, rng.randrange(2**31)))
            data[place : place + 4] = struct.pack("<i", number)
        elif kind < 0.8:
            data[place : place + 8] = struct.pack("<q", rng.choice((0, -1, 2**62, 2**31, 2**40, 10**6)))
        elif kind < 0.88:
            del data[place:]
        elif kind < 0.94:
            data[place:place] = data[: rng.randrange(64)]
        else:
            del data[place : place + rng.randrange(16)]
    return bytes(data)


def packed(raw: bytes) -> dict[str, Any]:
    """Encoded bytes."""
    return {"$": "bytes", "v": base64.b64encode(raw).decode()}


def deep(rng: random.Random, inside: Any = 1) -> Any:
    """Something nested deeply."""
    wrap: Callable[[Any], Any] = rng.choice(
        (
            lambda item: [item],
            lambda item: {"a": item},
            lambda item: {"$": "tuple", "v": [item]},
            lambda item: {"$": "frozenset", "v": [item]},
            lambda item: {"$": "dict", "v": [[0, item]]},
        )
    )
    for _ in range(rng.choice((3, 60, 66, 127, 250, 260, 400, 700, 900, 5000))):
        inside = wrap(inside)
    return inside


def tagged(rng: random.Random) -> Any:
    """A tag with parts that another one would take."""
    parts = [leaf(rng) for _ in range(rng.randrange(5))]
    given = rng.choice(
        (parts, leaf(rng), parts and parts[0], packed(rng.randbytes(20)), rng.choice(corpus()), {"names": parts})
    )
    return {"$": rng.choice(TAGS), "v": copied(given)}


def _laughs(rng: random.Random) -> Any:
    """Base64 of base64 of base64 …, or bytes under tags that take them."""
    raw = b"ha" * rng.choice((10, 5000))
    for _ in range(rng.randrange(1, 8)):
        raw = base64.b64encode(raw)
    return {"$": rng.choice(("bytes", "str", "image", "Table", "pickle")), "v": packed(raw)}


def _colliding(rng: random.Random) -> Any:
    """Keys of one hash."""
    keys = [{"$": "int", "v": hex(n * (2**61 - 1))} for n in range(rng.choice((500, 3000)))]
    return rng.choice(({"$": "set", "v": keys}, {"$": "dict", "v": [[key, 0] for key in keys]}))


def _small_and_many(rng: random.Random) -> Any:
    """Many things that are small when encoded."""
    item = rng.choice(([], {}, {"$": "set", "v": []}, {"$": "NA", "v": []}, {"$": "Path", "v": "a"}, 0.5, "ab"))
    return [copied(item) for _ in range(rng.choice((100, 100, 1_000, 20_000)))]


def _endless(rng: random.Random) -> Any:
    """What holds itself, which JSON cannot, and what is no JSON at all."""
    round_and_round: list[Any] = []
    round_and_round.append(round_and_round)
    return rng.choice((round_and_round, b"x", (1,), object(), {1: 2}, {("a",): 1}, {"$": {"$": "str"}, "v": 1}))


def _shape(rng: random.Random) -> Any:
    """An array whose dtype, shape and bytes need not fit."""
    shape = [rng.choice((0, 1, 2, 8, -1, 10**6, 2**31, 2**62, 1.0, True)) for _ in range(rng.choice((0, 1, 2, 3, 40)))]
    return {
        "$": rng.choice(("ndarray", "scalar")),
        "v": [rng.choice(DTYPES), shape, packed(b"\0" * rng.choice((0, 8, 64)))],
    }


_MADE = (deep, _laughs, _colliding, _small_and_many, _endless, _shape, _shape)


def frame(rng: random.Random) -> Any:
    """A table with parts of its own making: columns, index and labels, each of many kinds."""

    def column() -> dict[str, Any]:
        made: dict[str, Any] = {"dtype": rng.choice(DTYPES)}
        if rng.random() < 0.6:
            made["values"] = [leaf(rng) for _ in range(rng.choice((0, 1, 2, 2, 2, 7)))]
        if rng.random() < 0.25:
            made |= {"categories": index(), "ordered": rng.random() < 0.5}
        return made

    def index() -> dict[str, Any]:
        names = [rng.choice((None, "i", leaf(rng)))] * rng.choice((1, 1, 1, 2))
        if rng.random() < 0.4:
            stop = rng.choice((0, 1, 2, 2, 1000, 10**6, 10**9, 2**70))
            return {"names": names, "range": [0, stop, rng.choice((1, 1, 2, -1, 0))]}
        levels = [column() for _ in range(rng.choice((1, 1, 2, 3)))]
        return {"names": names * len(levels), "levels": levels, "freq": rng.choice((None, None, *WORDS))}

    table = pa.table({str(n): pa.array([1, 2]) for n in range(rng.randrange(3))})
    parts = {"columns": [column() for _ in range(rng.randrange(4))], "index": index(), "labels": index()}
    return {"$": rng.choice(("DataFrame", "Series")), "v": {**parts, "arrow": encode(table), "name": leaf(rng)}}


# Arrow and PNG


@functools.cache
def _tables() -> list[Any]:
    buffers = [None, pa.py_buffer(struct.pack("<iii", 0, 7, 8)), pa.py_buffer(b"\xff" * 8)]
    return [
        pa.table({"a": np.arange(200), "b": np.arange(200) / 3}),
        pa.table({"s": ["abc", None, "ü" * 20], "l": [[1], None, [2, 3]]}),
        pa.table({"d": pa.array(["u", "v", "u"]).dictionary_encode()}),
        pa.table({"s": pa.Array.from_buffers(pa.string(), 2, buffers)}),
        pa.table(
            {"n": pa.nulls(3), "m": pa.array([decimal.Decimal("1.10")] * 3), "t": pa.array([1, 2, 3], pa.time64("us"))}
        ),
        pa.table({"x": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "q": [{"a": {"b": [1]}}]}),
        pa.table({"r": pa.RunEndEncodedArray.from_arrays(pa.array([2**31 - 1]), pa.array([1]))}),
        pa.table({"n": pa.Array.from_buffers(pa.null(), 2**31 - 1, [None])}),
        pa.table({"v": pa.array(["a" * 100], pa.string_view()), "w": pa.array([[1]], pa.list_view(pa.int64()))}),
        pa.table({"u": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])}),
        pa.table({"f": pa.array([[1, 2]], pa.list_(pa.int64(), 2)), "e": pa.array([b"x" * 16], pa.binary(16))}),
    ]


def arrow(rng: random.Random) -> bytes:
    """An Arrow stream: of types that may cross and that may not, with metadata, compressed, and damaged."""
    table = rng.choice(_tables())
    if rng.random() < 0.2:
        name = rng.choice((b"arrow.py_extension_type", b"arrow.uuid", b"pandas.period"))
        keys = {b"ARROW:extension:name": name, b"ARROW:extension:metadata": b"\x80\x04cos\nsystem\n."}
        table = table.cast(pa.schema([field.with_metadata(keys) for field in table.schema]))
    options = pa.ipc.IpcWriteOptions(compression=rng.choice((None, None, None, "lz4", "zstd")))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rng.choice((None, 1, 2)) if table.num_rows < 1000 else None)
    raw = sink.getvalue().to_pybytes()
    return flipped(rng, raw) if rng.random() < 0.85 else raw


def png(rng: random.Random) -> bytes:
    """A PNG of any size, with chunks that may not cross, bombs among them, and damaged."""
    width, height = rng.choice(((1, 1), (3, 2), (0, 0), (100_000, 100_000), (2**31, 1), (300, 300), (50_000_000, 1)))
    header = struct.pack(
        ">IIBBBBB",
        width,
        height,
        rng.choice((1, 8, 16, 3)),
        rng.choice((0, 2, 3, 4, 6, 5)),
        0,
        0,
        rng.choice((0, 0, 1)),
    )
    chunks = [(b"IHDR", header)]
    extra = (
        b"zTXt",
        b"iTXt",
        b"tEXt",
        b"iCCP",
        b"PLTE",
        b"tRNS",
        b"acTL",
        b"fdAT",
        b"fcTL",
        b"eXIf",
        b"gAMA",
        b"IHDR",
        b"xxxx",
    )
    for _ in range(rng.choice((0, 0, 1, 3))):
        body = rng.choice((b"", header, b"k\0\0" + zlib.compress(b"x" * 100_000), rng.randbytes(30)))
        chunks.append((rng.choice(extra), body))
    chunks += [(b"IDAT", zlib.compress(b"\0" * rng.choice((4, 100, 500_000)))), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in chunks:
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    if rng.random() < 0.3:
        stream = io.BytesIO()
        Image.effect_noise((20, 20), 50).save(stream, "PNG")
        data = stream.getvalue()
    return flipped(rng, data) if rng.random() < 0.5 else data


# what the child's code says to the host


NUMBERS_OF_REQUESTS: list[Any] = [
    *(1, 2, 2, 3, 0, -1, True, 1.5, math.nan, math.inf, 10**40, "1", "", "\ud800", None, [], {}, [[]], {"a": math.nan}),
    *({"$": "pickle", "v": ""}, ["x" * 100_000]),
]


Tools = dict[str, list[Any]]
"""Names of tools, and arguments that each of them takes."""


def request(rng: random.Random, tools: Tools) -> Any:
    """What stands under "smol" in an input request: a call of a tool, mostly wrong in some way."""
    if rng.random() < 0.25:
        name = rng.choice(list(tools))
        return {"id": rng.randrange(1, 10**6), "tool": name, "args": copied(tools[name]), "kwargs": {}}
    if rng.random() < 0.1:
        return pick(rng, leaf, [], deep, "tool", {}, {"tool": next(iter(tools))})
    names = [*tools, *tools, *(f"{name}{rng.choice(('_', ' ', '.', chr(0)))}" for name in tools), *WORDS, "__class__"]
    names += [name.upper() for name in tools]
    good = [1, 2.5, "text", True, None, [1, 2], {"a": 1}]
    arguments = [pick(rng, *good, value, leaf) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 20)))]
    keywords = [
        "a",
        "b",
        "flag",
        "self",
        "args",
        "kwargs",
        "sanitize_inputs_outputs",
        "$",
        "__class__",
        "\ud800",
        "tool",
    ]
    made = {
        "id": rng.choice((rng.randrange(1, 10**6), rng.choice(NUMBERS_OF_REQUESTS))),
        "tool": rng.choice(names),
        "args": pick(rng, arguments, arguments, arguments, value),
        "kwargs": pick(rng, {}, {}, {rng.choice(keywords): rng.choice(good)}, value),
        "printed": rng.choice((True, False, False, 1, "yes", None)),
    }
    for key in list(made):
        if rng.random() < 0.04:
            del made[key]
    if rng.random() < 0.08:
        made[rng.choice(("leaving", "input", "value", "ok"))] = pick(rng, True, False, leaf)
    return mutated(rng, made) if rng.random() < 0.15 else made


def report(rng: random.Random) -> dict[str, Any]:
    """What the child tells of an action, of checks, or of a variable."""
    made: dict[str, Any] = {
        "source": "smol",
        "status": pick(rng, "ok", "ok", "error", "aborted", leaf),
        "value": pick(rng, None, value, sound),
        "value_text": pick(rng, "1", "x" * 120_000, leaf),
        "final": pick(rng, True, False, 1, leaf),
        "names": pick(rng, ["a", "b"], ["a"] * 11_000, [leaf, "x.y", "ünï", "1a", ["a"]], leaf),
        "completed": pick(rng, 1, 0, -1, True, 2**4000, leaf),
        "handle": pick(rng, "x", "a b", "x" * 500, leaf),
        "log": pick(rng, True, False, leaf),
        "error": pick(
            rng,
            {"type": "ValueError", "message": "no", "traceback": "Traceback"},
            lambda rng: {"type": leaf(rng), "message": pick(rng, deep, leaf), "traceback": pick(rng, deep, leaf)},
            value,
            deep,
        ),
        "checks": pick(rng, [[True, ""], [False, "why"]], [[1, "x"], [True, deep]], [[True]], value),
        "found": rng.choice((True, False, 1)),
    }
    for key in list(made):
        if rng.random() < (0.7 if key == "error" else 0.1):
            del made[key]
    return mutated(rng, made) if rng.random() < 0.3 else made


def lookup(rng: random.Random) -> dict[str, Any]:
    """The content of a reply to a completion or an inspection."""
    place = pick(rng, 0, 1, 3, 5, -1, 10**30, True, 2.0, leaf)
    kind = {"start": 0, "end": place, "text": "x", "type": pick(rng, "function", leaf), "signature": leaf(rng)}
    made = {
        "status": "ok",
        "matches": pick(rng, ["abc", leaf, "\x1b[31m", "x" * 5000], ["a"] * 2000, leaf, deep),
        "cursor_start": rng.choice((0, place)),
        "cursor_end": place,
        "metadata": pick(rng, {"_jupyter_types_experimental": [kind] * rng.choice((1, 1, 2000))}, leaf),
        "found": True,
        "data": rng.choice(({"text/plain": pick(rng, "help", "x" * 120_000, leaf), "text/html": "<b>"}, leaf(rng))),
    }
    return mutated(rng, made, times=rng.randrange(3))


def display(rng: random.Random) -> Any:
    """Display data: MIME types and contents."""
    kinds = (
        "text/plain",
        "text/html",
        "text/markdown",
        "text/latex",
        "image/png",
        "image/jpeg",
        "image/svg+xml",
        "x",
        "",
    )
    contents = (
        lambda: rng.choice(WORDS),
        lambda: base64.b64encode(png(rng)).decode(),
        lambda: base64.b64encode(flipped(rng, b"\xff\xd8\xff\xc0\0\x11\x08\0\x10\0\x10" + b"\xff" * 40)).decode(),
        lambda: "<script>alert(1)</script>" * rng.choice((1, 1, 1, 60_000)),
        lambda: leaf(rng),
    )
    return {rng.choice(kinds): rng.choice(contents)() for _ in range(rng.randrange(4))}


def printed(rng: random.Random) -> Any:
    """Text on a stream: escape sequences whole and cut, lines written over, and what is no text."""
    parts = (
        "plain",
        "\n",
        "\r",
        "\b",
        "\x1b[31m",
        "\x1b]0;",
        "\x1b]8;;http://x\x07",
        "\x1b[",
        "\x9b",
        "\x1bP",
        "\x1b\\",
    )
    parts += (
        "\x1b[2K",
        "\x1b[K",
        "\u202e",
        "\ud800",
        "\x85",
        "\u2028",
        "中" * 2000,
        "x" * 30_000,
        "\x1b[" + "9" * 6000,
    )
    if rng.random() < 0.1:
        return leaf(rng)
    return "".join(rng.choice(parts) for _ in range(rng.choice((1, 3, 30)))) * rng.choice((1, 1, 1, 20))


# messages


def content(rng: random.Random, tools: Tools) -> tuple[str, str, Any]:
    """Channel, type and content of a message from the child, in the right form outside and hostile inside."""
    kind = rng.random()
    if kind < 0.25:
        return "iopub", "stream", {"name": pick(rng, "stdout", "stderr", leaf), "text": printed(rng)}
    if kind < 0.4:
        data = {"data": display(rng), "metadata": leaf(rng), "transient": leaf(rng)}
        return "iopub", rng.choice(("display_data", "execute_result", "update_display_data")), data
    if kind < 0.7:
        asked = {"prompt": pick(rng, "? ", printed, deep), "password": pick(rng, True, False, leaf)}
        return "stdin", "input_request", {**asked, "smol": request(rng, tools)}
    if kind < 0.78:
        return "iopub", "smol_leaving", request(rng, tools)
    if kind < 0.86:
        other = (
            "status",
            "execute_input",
            "smol_started",
            "comm_open",
            "clear_output",
            "error",
            "iopub_welcome",
            "x" * 9000,
        )
        return "iopub", rng.choice(other), {"execution_state": pick(rng, "busy", "dead", leaf), "data": leaf(rng)}
    if kind < 0.94:
        channel = rng.choice(("iopub", "shell", "stdin", "control"))
        return channel, rng.choice(("kernel_info_reply", "input_request", "complete_reply", "stream")), lookup(rng)
    if kind < 0.97:
        return "stdin", "smol_answer", {**lookup(rng), "key": pick(rng, 1, leaf)}
    return "stdin", "input_request", pick(rng, report, leaf)


def reply(rng: random.Random) -> tuple[str, str, Any]:
    """The same of a message that ends an action."""
    reports = [report(rng) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    told = {"status": pick(rng, "ok", "ok", "error", leaf), "payload": pick(rng, reports, reports, leaf)}
    told |= {"ename": pick(rng, "KeyError", leaf, deep), "evalue": pick(rng, "why", deep)}
    return ("shell", "execute_reply", told) if rng.random() < 0.7 else ("shell", "smol_reply", report(rng))


DELIMITER = b"<IDS|MSG>"


def frames(
    rng: random.Random, sign: Callable[[list[bytes]], bytes], type: str, parent: str, content: bytes
) -> tuple[list[bytes], bool]:
    """The frames of a message, and whether they are in order: the rest is wrong in a way that `_damage` picks."""
    header = {"msg_id": uuid.UUID(int=rng.getrandbits(128)).hex, "msg_type": type, "version": "5.4"}
    header |= {"session": "s", "username": "u", "date": "2024-01-01T00:00:00.000000Z"}
    parts = [json.dumps(header).encode(), json.dumps({"msg_id": parent}).encode(), b"{}", content]
    damage = rng.choice((None, None, None, *_DAMAGE))
    if damage is None:
        return [b"topic", DELIMITER, sign(parts), *parts], True
    return damage(rng, sign, parts), False


def _reheaded(rng: random.Random, sign: Callable[[list[bytes]], bytes], parts: list[bytes]) -> list[bytes]:
    changed = mutated(rng, json.loads(parts[0]))
    if isinstance(changed, dict) and rng.random() < 0.5:
        changed["version"] = rng.choice(("4.1", "4", "3", "", "x", "5", 4, None, "9" * 5000))
    parts[0] = text(changed)
    return [DELIMITER, sign(parts), *parts]


def _broken_json(rng: random.Random, sign: Callable[[list[bytes]], bytes], parts: list[bytes]) -> list[bytes]:
    nested = rng.choice((900, 100_000))
    parts[rng.randrange(4)] = rng.choice(
        (
            *(
                b"",
                b"{",
                b"null",
                b"[]",
                b'"x"',
                b"1",
                b"NaN",
                b"\xff\xfe",
                b'{"a":1}{"a":2}',
                b"1" * 5000,
                b"\xef\xbb\xbf{}",
            ),
            *(b"[" * nested + b"]" * nested, b'{"a":' * nested + b"1" + b"}" * nested, b'{"msg_id":[],"msg_id":"x"}'),
            *(
                b'{"\\ud800":"\\ud800"}',
                b'{"a":1e400,"b":-1e400,"c":NaN,"d":-Infinity}',
                b"{" * 20_000,
                b'{"":{"":[[[]]]}}',
            ),
            flipped(rng, parts[rng.randrange(4)]),
        )
    )
    return [DELIMITER, sign(parts), *parts]


def _unsigned(rng: random.Random, sign: Callable[[list[bytes]], bytes], parts: list[bytes]) -> list[bytes]:
    good = sign(parts)
    wrong = rng.choice((b"", b"0" * 64, good[:-1], good.upper() + b"x", b"\xff" * 64, b"x" * 100_000))
    return [DELIMITER, wrong, *parts]


def _reframed(rng: random.Random, sign: Callable[[list[bytes]], bytes], parts: list[bytes]) -> list[bytes]:
    whole = [DELIMITER, sign(parts), *parts]
    return rng.choice(
        (
            whole[1:],
            [DELIMITER],
            [b""],
            whole[: rng.randrange(1, 6)],
            [*[b"id"] * 500, *whole],
            [*whole, *[b"buffer"] * 500],
            [DELIMITER, *whole],
            [rng.randbytes(20) for _ in range(rng.randrange(1, 9))],
            rng.sample(whole, len(whole)),
        )
    )


_DAMAGE = (_reheaded, _broken_json, _unsigned, _reframed)


def text(data: Any) -> bytes:
    """Data as the child would write it: NaN and lone surrogates too, and deeper than Python's own writer goes."""
    try:
        return json.dumps(data).encode()
    except (RecursionError, ValueError, TypeError):
        return b'{"smol":' * 1200 + b"1" + b"}" * 1200
