"""How arrays, tables and images cross between host and child.

`values` loads this module when it meets one, in the child as well, into which both travel as source.
"""

from __future__ import annotations

import datetime
import io
import math
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

from . import arrow_messages, sorted_levels, table_attributes, values

# numpy, Pillow

DTYPE = re.compile(r"[<>|](b1|[iuf]\d{1,2}|c\d{1,2}|[SU]\d{1,9}|[mM]8(\[\d{0,9}[a-zA-Zμ]{1,7}\])?)", re.ASCII)
"""Of arrays that cross: all that has a fixed size, in its `str`."""


def _array(value: Any) -> list[Any]:
    if hasattr(value, "mask") or type(value).__name__ in ("matrix", "chararray"):  # as plain arrays they compute others
        what = "masked array" if hasattr(value, "mask") else type(value).__name__
        raise values.NotPortable(f"is a {what}, which cannot cross between host and child")
    if value.dtype.kind == "O":
        return ["|O", list(value.shape), value.ravel().tolist()]
    if not DTYPE.fullmatch(value.dtype.str):
        raise values.NotPortable(
            f"is {values.a_name(type(value))} of dtype {value.dtype}, which cannot cross between host and child"
        )
    if not value.dtype.itemsize:  # empty texts: an array that NumPy makes of them has room for a character
        value = import_module("numpy").asarray(value, f"{value.dtype.str[:2]}1")
    return [value.dtype.str, list(value.shape), value.tobytes()]


def _from_array(parts: list[Any]) -> Any:
    np = import_module("numpy")
    name, shape, raw = values.row(parts, str, list, bytes | list)
    if name == "|O":
        array = np.empty(len(raw), object)
        for place, item in enumerate(values.need(raw, list)):  # at once numpy would look into lists
            array[place] = item
        return array.reshape([values.need(n, int) for n in shape])
    values.need(raw, bytes)
    dtype = np.dtype(name if DTYPE.fullmatch(name) else values.refuse(f"dtype {name[:40]!r}"))
    if dtype.itemsize == 0 or math.prod(values.need(n, int) for n in shape) * dtype.itemsize != len(raw):
        values.refuse(f"{len(raw)} bytes do not make an array of dtype {name} and shape {shape}"[:200])
    if dtype.kind == "U" and raw and np.frombuffer(raw, f"{dtype.str[0]}u4").max() > 0x10FFFF:
        values.refuse("characters beyond Unicode")
    return np.ndarray(shape, dtype, bytearray(raw))


def _png(image: Any) -> bytes:
    if image.width * image.height > values.MAX_PIXELS:
        raise values.NotPortable(
            f"is too large to cross: {image.width} x {image.height}, the limit is {values.MAX_PIXELS:,} pixels"
        )
    stream = io.BytesIO()
    image.save(stream, "PNG", icc_profile=None)
    return stream.getvalue()


def weight(parts: Any) -> int:
    """Bytes that a PNG, an array, a table or an index of these parts takes in memory, beyond what it holds: an array of
    nothing, which may become lists, as many as if there were a number in each of them."""
    if isinstance(parts, bytes):
        return 4 * _pixels(parts)
    if isinstance(parts, list):
        shape = values.shape_of(values.need(parts[1], list))
        return 8 * math.prod(shape[: shape.index(0)]) if 0 in shape else 0
    columns = parts.get("columns", ())
    levels = sum(len(parts[name].get("levels", ())) for name in ("index", "labels") if name in parts)
    counted = () if columns else range(*parts["index"].get("range", (0,)))
    return _COLUMN_BYTES * (len(columns) + levels) + 8 * len(counted)


_COLUMN_BYTES = 2048


def _pixels(png: bytes) -> int:
    """Pixels by the header (https://www.w3.org/TR/png/#11IHDR). Chunks that could unpack to any size are refused."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR":
        values.refuse("not a PNG")
    place, chunks = 8, list[bytes]()
    while place < len(png):
        length, name = struct.unpack_from(">I4s", png, place)
        chunks.append(name)
        place += 12 + length
    if chunks.count(b"IHDR") > 1 or {b"zTXt", b"iTXt", b"iCCP"} & set(chunks):
        values.refuse("a PNG with chunks that may not cross")
    return math.prod(struct.unpack(">II", png[16:24]))


def _from_png(png: bytes) -> Any:
    return import_module("PIL.Image").open(io.BytesIO(png), formats=["PNG"]).copy()


values.crosses("numpy.ndarray", "ndarray", _array, list, _from_array)
values.crosses("numpy.generic numpy.str_ numpy.bytes_", "scalar", _array, list, lambda v: _from_array(v)[()])
values.crosses("PIL.Image", "image", _png, bytes, _from_png)


# pandas: labels and objects value by value, all else as columns of one Arrow table

_UNIT = "(?:s|ms|us|ns)"  # those that pandas has; numpy divides by zero where it converts some others
_COLUMN = re.compile(
    rf"bool|u?int\d\d?|float\d\d|datetime64\[{_UNIT}(, {values.ZONE.pattern})?\]|timedelta64\[{_UNIT}\]"
    r"|U?Int\d\d?|Float\d\d|boolean|string|str|.{1,300}\[pyarrow\]",
    re.ASCII,
)
_BY_VALUE = re.compile(
    r"object|complex\d{2,3}|period\[[\w-]{1,30}\]|interval\[(u?int|float)\d\d, \w+\]"
    rf"|interval\[(datetime|timedelta)64\[{_UNIT}(, {values.ZONE.pattern})?\], \w+\]",
    re.ASCII,
)


def _zone(zone: datetime.tzinfo, moment: Any) -> str | None:
    """The name of a time zone, else its offset. What an offset itself is called may be the name of another zone."""
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)  # of zoneinfo, of pytz
    offset = None if name else zone.utcoffset(moment)
    return name if offset is None else str(datetime.timezone(offset))


def _column(series: Any, wholes: list[Any] | None) -> dict[str, Any]:
    """Parts of a column. It goes to `wholes` itself if it can cross as one; without these, value by value."""
    dtype = str(series.dtype)
    if (zone := getattr(series.dtype, "tz", None)) is not None:
        dtype = f"datetime64[{series.dtype.unit}, {_zone(zone, None) or repr(zone)}]"
    if dtype == "category":
        labels = index_parts(series.cat.categories, None, most=_most(len(series)))
        categories = {"categories": labels, "ordered": bool(series.cat.ordered)}
        codes = import_module("pandas").Series(series.array.codes, copy=False)  # those of `series.cat` are a copy
        return _column(codes, wholes) | categories
    if not is_dtype(dtype):
        raise values.NotPortable(f"has values of dtype {dtype}, which cannot cross between host and child")
    if wholes is not None and dtype.startswith("period"):
        ordinals = import_module("pandas").Series(series.array.asi8, copy=False)
        return _column(ordinals, wholes) | {"period": dtype}
    if wholes is not None and dtype.startswith("interval"):
        ends = [_column(end.to_series(), wholes) for end in (series.array.left, series.array.right)]
        return {"dtype": dtype, "ends": ends, "closed": series.array.closed}
    if wholes is None or _BY_VALUE.fullmatch(dtype):
        return {"dtype": dtype, "values": series.tolist()}
    wholes.append(series)
    return {"dtype": dtype}


def _from_column(parts: dict[str, Any], arrays: Iterator[Any]) -> Any:
    pd = import_module("pandas")
    name = parts["dtype"]
    if not is_dtype(name) or not is_dtype(parts.get("period", name)):
        values.refuse(f"dtype {name[:40]!r}")
    if "ends" in parts:
        if not all(is_dtype(f"interval[{end['dtype']}, right]") for end in parts["ends"]):
            values.refuse("an interval of other than numbers or times")
        left, right = (_from_column(end, arrays) for end in parts["ends"])
        return pd.Series(pd.arrays.IntervalArray.from_arrays(left, right, values.need(parts["closed"], str)))
    if "values" in parts:
        series = pd.Series(values.need(parts["values"], list), dtype=name)
    else:
        array = next(arrays)
        is_arrow = hasattr(array, "type")
        if is_arrow and not _fits(array.type, name):
            values.refuse(f"dtype {name[:40]!r} of an Arrow column of type {str(array.type)[:40]!r}")
        dtype = pd.ArrowDtype(array.type) if name.endswith("[pyarrow]") else pd.api.types.pandas_dtype(name)
        if not is_arrow:
            series = pd.Series(array, copy=False)
        elif hasattr(dtype, "__from_arrow__"):
            series = pd.Series(dtype.__from_arrow__(array))
        else:
            series = array.to_pandas()
            series = series.astype(dtype) if dtype.kind in "biufmM" else series
    if ("period" in parts or "categories" in parts) and not re.fullmatch(r"int\d\d?", name):
        values.refuse(f"codes of dtype {name[:40]!r}")
    if "period" in parts:
        series = pd.Series(pd.arrays.PeriodArray(series.to_numpy(), dtype=pd.api.types.pandas_dtype(parts["period"])))
    if "categories" in parts:
        categories = index_of(parts["categories"], arrays, _most(len(series)))
        series = pd.Series(sorted_levels.categorical(series, categories, values.need(parts["ordered"], bool)))
    return series


def _fits(kind: Any, name: str) -> bool:
    """Whether an Arrow column of this type has this dtype as it is: another could take far more room."""
    types = import_module("pyarrow.types")
    if name in ("string", "str"):
        return types.is_string(kind) or types.is_large_string(kind)
    numbers = types.is_primitive(kind) and types.is_boolean(kind) == name.startswith("bool")
    return name.endswith("[pyarrow]") or (numbers and bool(_COLUMN.fullmatch(name)))


def is_dtype(name: str) -> bool:
    """Whether a dtype of this name crosses, by its name alone."""
    return bool(_COLUMN.fullmatch(name) or _BY_VALUE.fullmatch(name))


def _most(rows: int) -> int:
    """How long a range may be that goes with so many rows: it takes no room on the way, but may at its end."""
    return max(rows, 1_000)


def index_parts(index: Any, wholes: list[Any] | None, most: int | None = None) -> dict[str, Any]:
    """Parts of an index; a range of more than `most` items crosses item by item."""
    names = list(index.names)
    if type(index).__name__ == "RangeIndex" and (most is None or len(index) <= most):
        return {"names": names, "range": [index.start, index.stop, index.step]}
    series = import_module("pandas").Series
    levels = [_column(series(index.get_level_values(i)), wholes) for i in range(index.nlevels)]
    return {"names": names, "levels": levels, "freq": _freq(index), "multi": type(index).__name__ == "MultiIndex"}


_LONGEST_FREQUENCY = 40  # characters: pandas takes a time that grows with their square


def _freq(index: Any) -> str | None:
    """The name of an index's frequency. One that its name does not tell, such as business days with holidays of their
    own, stays behind: the labels are the same without."""
    name = None if type(index).__name__ == "PeriodIndex" else getattr(index, "freqstr", None)  # its dtype tells it
    with suppress(ValueError):
        if name and import_module("pandas.tseries.frequencies").to_offset(name) == index.freq:
            return name
    return None


def index_of(parts: dict[str, Any], arrays: Iterator[Any], most: int) -> Any:
    """The index of such parts; `arrays` gives the columns that cross as wholes."""
    pd = import_module("pandas")
    names = values.need(parts["names"], list)
    if "range" in parts:
        if len(range(*parts["range"])) > most:
            values.refuse("a RangeIndex longer than its table")
        return pd.RangeIndex(*parts["range"], name=names[0])
    levels = [_from_column(level, arrays) for level in parts["levels"]]
    if parts.get("multi", len(levels) > 1):  # those recorded before say no more
        return sorted_levels.multi_index(levels, names)
    if levels[0].dtype == object:
        sorted_levels.check_labels(levels[0])
    index = pd.Index(levels[0], dtype=levels[0].dtype).rename(names[0])
    freq = values.need(parts["freq"], str | None) or ""
    with suppress(ValueError):  # one that another pandas wrote may not be known here, or not fit
        if 0 < len(freq) <= _LONGEST_FREQUENCY and sorted_levels.has_few_steps(index):
            index.freq = freq
    return index


def apart(frame: Any) -> tuple[dict[str, Any], list[Any]]:
    """Parts of a table, and the columns of it and of its index that cross as wholes, in their order."""
    wholes: list[Any] = []
    noted = table_attributes.attributes(frame)
    columns = [_column(frame.iloc[:, place], wholes) for place in range(frame.shape[1])]
    return {
        "columns": columns,
        "index": index_parts(frame.index, wholes),
        "labels": index_parts(frame.columns, None),
        **({"attrs": noted} if noted else {}),
    }, wholes


def together(parts: dict[str, Any], arrays: Iterator[Any], copy: bool = True, block: Any = None) -> Any:
    """The table of such parts and these columns: of Arrow, or of numpy, for which `copy` may be False. `block` is one
    array of all its columns, if there is one."""
    pd = import_module("pandas")
    columns = [_from_column(column, arrays) for column in parts["columns"]]
    index = index_of(parts["index"], arrays, len(columns[0]) if columns else values.MAX_WEIGHT // 8)  # see `weight`
    if any(len(column) != len(index) for column in columns):
        values.refuse("columns of different lengths")
    data = dict(enumerate(columns)) if block is None else block
    frame = pd.DataFrame(data, index=pd.RangeIndex(len(index)), copy=copy)
    frame.index, frame.columns = index, index_of(parts["labels"], arrays, _most(len(columns)))
    frame.attrs = table_attributes.checked(parts.get("attrs", {}), len(columns))
    return frame


def arrow(columns: list[Any]) -> Any:
    """An Arrow table of columns of pandas."""
    pa = import_module("pyarrow")
    return pa.table([pa.array(column) for column in columns], names=[str(place) for place in range(len(columns))])


def _frame(frame: Any) -> dict[str, Any]:
    if frame.shape[1] > (most := values.MAX_WEIGHT // _COLUMN_BYTES):  # told before seconds of work, see `weight`
        raise values.NotPortable(f"is too large to cross: it has {frame.shape[1]:,} columns, the limit is {most:,}")
    parts, wholes = apart(frame)
    return parts | {"arrow": arrow(wholes)}


def _from_frame(parts: dict[str, Any]) -> Any:
    return together(parts, iter(parts["arrow"].columns))


def _series(series: Any) -> dict[str, Any]:
    return _frame(series.to_frame(name=0)) | {"name": series.name}


def _from_series(parts: dict[str, Any]) -> Any:
    series = _from_frame(parts).iloc[:, 0].copy()
    series.name = parts["name"]
    return series


def _timestamp(value: Any) -> list[Any]:
    """The instant in UTC with its resolution, and the zone. NaT is a Timestamp too."""
    return [value.to_datetime64(), value.tzinfo and _zone(value.tzinfo, value)]


def _from_timestamp(parts: list[Any]) -> Any:
    instant, zone = parts
    timestamp = import_module("pandas").Timestamp(instant)
    return timestamp.tz_localize("UTC").tz_convert(values.zone_name(zone)) if zone else timestamp


values.crosses("pandas.DataFrame", "DataFrame", _frame, dict, _from_frame)
values.crosses("pandas.Series", "Series", _series, dict, _from_series)
values.crosses("pandas.Timestamp pandas.NaTType", "Timestamp", _timestamp, list, _from_timestamp)
values.crosses("pandas.Timedelta", "Timedelta", lambda v: [v.to_timedelta64()], list,
         lambda v: import_module("pandas").Timedelta(v[0]))  # fmt: skip
values.crosses("pandas.NAType", "NA", lambda v: [], list, lambda v: import_module("pandas").NA)


# Arrow: IPC streams that take no more room than they have bytes


def stream(table: Any) -> Any:
    """The table as an Arrow IPC stream, in a buffer of Arrow. Raises NotPortable."""
    pa = import_module("pyarrow")
    for field in table.schema:
        if not _is_allowed(field.type):
            raise values.NotPortable(
                f"is a table whose column {field.name!r} is of type {field.type}, which cannot cross"
            )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue()


def from_stream(raw: Any) -> Any:
    """The table in a stream, checked; `raw` are bytes or anything like them, of which the table is a view."""
    pa = import_module("pyarrow")
    if int(pa.__version__.partition(".")[0]) < 15:
        values.refuse("this pyarrow is too old to read tables safely: pip install -U pyarrow")  # CVE-2023-47248
    raw = pa.py_buffer(raw)
    for message in pa.ipc.MessageReader.open_stream(raw):
        arrow_messages.check(message)
    table = pa.ipc.open_stream(raw).read_all()
    if not all(_is_allowed(field.type) for field in table.schema):
        values.refuse("an Arrow stream with types that may not cross")
    table.validate()
    items = max(table.num_rows, sum(_items(chunk) for column in table.columns for chunk in column.chunks))
    if table.nbytes > raw.size or items > max(1_000_000, 8 * raw.size):
        values.refuse("an Arrow stream that unpacks to more than it holds")
    table.validate(full=True)  # what is told often is read as often
    return table


def _is_allowed(kind: Any) -> bool:
    """Whether a type has plain buffers: no views into shared ones, no runs, no extension."""
    types = import_module("pyarrow.types")
    if types.is_dictionary(kind):
        return _is_allowed(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_struct(kind) or types.is_map(kind):
        return all(_is_allowed(kind.field(place).type) for place in range(kind.num_fields))
    tests = "primitive string large_string binary large_binary decimal null"
    return any(getattr(types, f"is_{test}")(kind) for test in tests.split())


def _items(array: Any) -> int:
    """How many items an array has, with all within it: some take no byte. A struct is its fields."""
    types, kind = import_module("pyarrow.types"), array.type
    if types.is_struct(kind) and kind.num_fields:
        return sum(_items(array.field(place)) for place in range(kind.num_fields))
    if types.is_dictionary(kind):
        return len(array) + _items(array.dictionary)
    nested = types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind)
    return len(array) + (_items(array.values) if nested else 0)


values.crosses("pyarrow.Table", "Table", lambda v: stream(v).to_pybytes(), bytes, from_stream)
