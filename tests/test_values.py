"""What crosses between host and child comes out as it went in; what is hostile is refused."""

from __future__ import annotations

import base64
import collections
import contextlib
import datetime
import decimal
import enum
import json
import math
import os
import pathlib
import re
import struct
import subprocess
import sys
import tracemalloc
import types
import uuid
import zlib
import zoneinfo
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from smol_kernel.executors import tables, values
from smol_kernel.executors.descriptions import describe, told
from smol_kernel.executors.launchers.child_modules import load_code
from smol_kernel.executors.pickles import encode_input, plain_form
from smol_kernel.executors.values import CROSSES, MalformedValue, NotPortable, RemoteValue, decode, encode
from smol_kernel.runs.same import difference
from smol_kernel.tools import checking


def crossed(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value), allow_nan=False)))


def packed(raw: bytes) -> dict:
    return {"$": "bytes", "v": base64.b64encode(raw).decode()}


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


# Round trips

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")

PLAIN = [
    None,
    True,
    0,
    -(2**63),
    2**53 + 1,
    2**9000,
    1.5,
    -0.0,
    1e308,
    math.inf,
    -math.inf,
    1 - 0.0j,
    complex(math.inf, -1),
    "",
    "grün 🎈 \x00",
    "lone \ud83d surrogate",
    b"",
    b"\x00\xff",
    [],
    [1, 2.5, "a", None, [True]],
    [1, True, 0, False],
    [2**64, 1],
    ["a", "\udc80"],
    (),
    (1, (2, [3])),
    set(),
    {1, "a", (2, 3)},
    frozenset({1.5}),
    {},
    {"b": 1, "a": {"c": [1]}},
    {"$": "bytes", "v": "x"},
    {1: "a", None: "b", (1, 2): "c", 2.5: "d", "s": "e", frozenset({1}): "f", b"x": "g"},
    {"\ud800": 1},
    datetime.date(2024, 2, 29),
    datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
    datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc),
    datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone(datetime.timedelta(hours=-3, minutes=-30))),
    datetime.time(23, 59, 59, 999999),
    datetime.time(1, tzinfo=datetime.timezone.utc),
    datetime.timedelta(days=-1, microseconds=1),
    decimal.Decimal("1.10"),
    decimal.Decimal("-Infinity"),
    uuid.UUID(int=7),
    pathlib.Path("a/b c"),
    pathlib.PurePosixPath("a/b"),
    pathlib.PureWindowsPath("C:\\a"),
    pathlib.Path("odd\udcff"),
]


@pytest.mark.parametrize("value", PLAIN, ids=[f"{number}-{type(value).__name__}" for number, value in enumerate(PLAIN)])
def test_a_plain_value_comes_out_as_it_went_in(value):
    result = crossed(value)
    assert result == value
    assert type(result) is type(value)
    assert repr(result) == repr(value) or isinstance(value, (set, frozenset))


def test_nan_stays_nan_and_plain_data_stays_as_it_is():
    assert math.isnan(crossed(math.nan))
    data = {"a": [1, None, True, "x", 1.5], "b": {}}
    assert encode(data) == data


def test_the_encoded_list_is_a_copy():
    data = [1, 2]
    encoded = encode(data)
    data.append(3)
    assert encoded == [1, 2]


def test_a_zone_and_the_second_of_two_equal_hours_cross():
    moment = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)
    result = crossed(moment)
    assert (result, result.tzinfo, result.fold, result.utcoffset()) == (moment, BERLIN, 1, moment.utcoffset())


def test_a_subclass_of_a_builtin_crosses_as_the_builtin():
    point = collections.namedtuple("point", "x y")
    color = enum.IntEnum("color", "RED")
    name = enum.Enum("name", {"A": "a"}, type=str)
    given = [point(1, 2), collections.OrderedDict(a=1), collections.Counter("aa"), color.RED, name.A]
    result = crossed(given)
    assert result == [(1, 2), {"a": 1}, {"a": 2}, 1, "a"]
    assert [type(item) for item in result] == [tuple, dict, dict, int, str]


ARRAYS = [
    np.arange(6),
    np.arange(24).reshape(2, 3, 4)[:, ::2, ::-1],
    np.asfortranarray(np.eye(3)),
    np.array(5.5),
    np.zeros((0, 3), "f4"),
    np.array(["ä", "bcd", ""]),
    np.array([b"x", b"yz"]),
    np.array([1, 2], ">i4"),
    np.array(["x"], ">U2"),
    np.array(["2020-01-01", "NaT"], "M8[D]"),
    np.array([1, 2], "m8[25s]"),
    np.array([1 + 2j], "c8"),
    np.array([True, False]),
    np.array([math.nan, -0.0, math.inf]),
    np.array([1.5], "f2"),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_an_array_comes_out_as_it_went_in(array):
    result = crossed(array)
    assert (result.dtype, result.shape) == (array.dtype, array.shape)
    assert result.tobytes() == array.tobytes()
    assert result.flags.writeable


@pytest.mark.parametrize(
    "scalar",
    [
        np.float64(1.5),
        np.int8(-3),
        np.bool_(True),
        np.str_("ä"),
        np.bytes_(b"x"),
        np.str_(""),
        np.bytes_(b""),
        np.complex64(1j),
        np.datetime64("2020"),
    ],
    ids=repr,
)
def test_a_numpy_scalar_keeps_its_type(scalar):
    result = crossed(scalar)
    assert result == scalar
    assert type(result) is type(scalar)
    assert result.dtype == scalar.dtype


LEVELS = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["letter", None])
FRAMES = {
    "plain": pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, math.nan], "d": [True, False]}),
    "empty": pd.DataFrame(),
    "rows only": pd.DataFrame(index=range(5)),
    "columns only": pd.DataFrame(columns=["a", "b"]),
    "no rows": pd.DataFrame({"a": pd.Series(dtype="int16"), "b": pd.Series(dtype="datetime64[ns, UTC]")}),
    "twice the same name": pd.DataFrame([[1, "a"], [2, "b"]], columns=["a", "a"]),
    "index of numbers without a name": pd.DataFrame({"v": [1, 2]}, index=[3, 1]),
    "index of fractions without a name": pd.DataFrame({"v": [1, 2]}, index=[0.5, 1.5]),
    "index of dates without a name": pd.DataFrame({"v": [1, 2]}, index=pd.to_datetime(["2020", "2022"])),
    "named index": pd.DataFrame({"v": [1, 2]}, index=pd.Index([3, 1], name="key")),
    "range index": pd.DataFrame({"v": [1, 2]}, index=pd.RangeIndex(10, 14, 2, name="r")),
    "two levels": pd.DataFrame({"v": range(4)}, index=LEVELS),
    "two levels of columns": pd.DataFrame([[1, 2, 3, 4]], columns=LEVELS),
    "with a frequency": pd.DataFrame({"v": [1.0, 2.0]}, index=pd.date_range("2020", periods=2, freq="W-SAT", name="t")),
    "labels of all sorts": pd.DataFrame([[1, 2, 3, 4]], columns=[1, "a", ("t", 2), None]),
    "labels that are dates": pd.DataFrame([[1, 2]], columns=pd.date_range("2020", periods=2, tz="Europe/Berlin")),
    "labels that are categories": pd.DataFrame([[1, 2]], columns=pd.CategoricalIndex(["u", "v"], name="c")),
    "categories": pd.DataFrame(
        {
            "ordered": pd.Categorical(["x", None, "x"], ["y", "x"], ordered=True),
            "numbers": pd.Categorical([3, 1, 3]),
            "dates": pd.Categorical(pd.to_datetime(["2020", "2021", "2020"])),
        }
    ),
    "index of categories": pd.DataFrame({"a": [1, 2]}, index=pd.CategoricalIndex(["q", "r"])),
    "times": pd.DataFrame(
        {
            "zone": pd.date_range("2020", periods=2, tz="Europe/Berlin"),
            "offset": pd.to_datetime(["2020-01-01T00:00+02:00"] * 2),
            "seconds": pd.to_datetime(["2020", None]).as_unit("s"),
            "span": pd.to_timedelta([1, None], unit="s"),
        }
    ),
    "nullable": pd.DataFrame(
        {
            "i": pd.array([2**60 + 1, None], dtype="Int64"),
            "f": pd.array([1.5, None], dtype="Float32"),
            "b": pd.array([True, None], dtype="boolean"),
            "s": pd.array(["a", None], dtype="string"),
        }
    ),
    "by Arrow": pd.DataFrame(
        {
            "i": pd.array([1, None], dtype="int64[pyarrow]"),
            "s": pd.array(["a", None], dtype=pd.ArrowDtype(pa.string())),
            "l": pd.array([[1], [2, 3]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
            "d": pd.array(["a", "a"], dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
        }
    ),
    "objects": pd.DataFrame({"o": [1, "a", None, (1, 2), {"k": [1]}, decimal.Decimal("1.0")]}),
    "one level": pd.DataFrame({"v": [1, 2]}, index=pd.MultiIndex.from_arrays([["a", "b"]], names=["letter"])),
    "small and odd numbers": pd.DataFrame(
        {"u8": np.array([2**64 - 1], "u8"), "f2": np.array([1.5], "f2"), "c": [1j], "i1": np.array([-1], "i1")}
    ),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_table_comes_out_as_it_went_in(frame):
    result = crossed(frame)
    pd.testing.assert_frame_equal(result, frame)
    assert result.columns.equals(frame.columns)
    assert list(result.dtypes) == list(frame.dtypes)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_column_comes_out_as_it_went_in(frame):
    for place in range(frame.shape[1]):
        column = frame.iloc[:, place]
        pd.testing.assert_series_equal(crossed(column), column)


def test_a_table_that_crossed_can_be_changed():
    frame = crossed(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [1, 2]}))
    frame.iloc[0, 0] = 5
    frame.loc[1, "c"] = 7
    series = crossed(pd.Series([1.0, 2.0]))
    series.iloc[0] = 9
    assert (frame.iloc[0, 0], frame.loc[1, "c"], series[0]) == (5, 7, 9)


def noting(table: Any, attributes: dict) -> Any:
    table.attrs = attributes
    return table


def test_a_table_takes_along_what_it_notes_of_itself_as_far_as_that_may_cross():
    own = {"scale": 1000, ("x", 1): {"a": [np.float64(2), None]}, 3: np.arange(2)}
    others = {
        "object": object(),
        "table": pd.DataFrame({"a": [1]}),
        "column": [pd.Series([1])],
        "long": "x" * (1 << 20),
    }
    for table in (pd.DataFrame({"v": [1.0], "w": ["a"]}), pd.Series([1.0]), pd.DataFrame()):
        found = crossed(noting(table, own | others)).attrs
        assert found.keys() == own.keys() and difference(own, found) == ""
        assert difference(table, table) == ""
        other = noting(table.copy(), own | {"scale": 1})
        assert difference(crossed(table), other) == "the answer.attrs['scale'] is 1 where the run had 1000"
    wide = noting(pd.DataFrame(np.zeros((1, 1000))), {"short": 1, "long": "x" * 20_000})
    assert crossed(wide).attrs == {"short": 1}  # pandas copies them with each column


def test_missing_values_in_objects_stay_the_kind_they_are():
    result = crossed(pd.Series([None, math.nan, pd.NA, pd.NaT, "x"], dtype=object))
    assert result[0] is None
    assert math.isnan(result[1])
    assert result[2] is pd.NA
    assert result[3] is pd.NaT


@pytest.mark.parametrize(
    "freq",
    [pd.DateOffset(months=1), pd.offsets.CustomBusinessDay(holidays=["2024-03-05"])],
    ids=["without a name", "with a name that does not say all"],
)
def test_dates_cross_without_a_frequency_that_its_name_does_not_tell(freq):
    column = pd.Series(range(4), index=pd.date_range("2024-03-04", periods=4, freq=freq))
    pd.testing.assert_series_equal(crossed(column), column, check_freq=False)
    assert crossed(column).index.freq is None


@pytest.mark.parametrize("freq", ["D", "another pandas knows it"])
def test_a_frequency_that_does_not_fit_costs_the_frequency_alone(freq):
    column = pd.Series([1, 2, 3], index=pd.date_range("2024", periods=3, freq="W"))
    data = encode(column)
    data["v"]["index"]["freq"] = freq
    pd.testing.assert_series_equal(decode(data), column, check_freq=False)


def test_a_frequency_longer_than_any_is_not_read():
    data = encode(pd.date_range("2024", periods=3, freq="W"))
    data["v"]["index"]["freq"] = f"{'0' * 60}1W"
    assert decode(data).freq is None


@pytest.mark.parametrize("name", ["CET", "IST"], ids=["of a zone with summer time", "of no zone"])
def test_an_offset_with_a_name_of_its_own_crosses_as_the_offset(name):
    zone = datetime.timezone(datetime.timedelta(hours=1), name)
    noon = datetime.datetime(2024, 7, 1, 12, tzinfo=zone)
    plain = datetime.timezone(zone.utcoffset(None))
    assert str(crossed(pd.Timestamp(noon))) == str(noon)
    frame = pd.DataFrame({"t": [noon]}, index=pd.DatetimeIndex([noon]))
    result = crossed(frame)
    pd.testing.assert_frame_equal(result, frame.tz_convert(plain).assign(t=frame["t"].dt.tz_convert(plain)))


def test_times_of_a_zone_that_only_its_own_package_knows_do_not_cross():
    zone = pytest.importorskip("dateutil.tz").gettz("Europe/Berlin")
    with pytest.raises(NotPortable, match="cannot cross"):
        encode(pd.Series(pd.date_range("2024", periods=2, tz=zone)))


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "UTC+02:00"])
@pytest.mark.parametrize("unit", ["s", "ns"])
def test_a_pandas_timestamp_keeps_zone_and_resolution(zone, unit):
    instant = pd.Timestamp("2024-10-27 00:30", tz="UTC").as_unit(unit).tz_convert(zone)
    result = crossed(instant)
    assert (result, result.unit, str(result.tz)) == (instant, unit, str(instant.tz))
    assert crossed(pd.Timedelta(5, unit=unit)) == pd.Timedelta(5, unit=unit)


def test_an_arrow_table_comes_out_as_it_went_in():
    table = pa.table(
        {
            "n": [1, None],
            "l": [[1], []],
            "s": [{"a": "x"}, None],
            "d": pa.array(["u", "u"]).dictionary_encode(),
            "none": pa.nulls(2),
            "m": pa.array([decimal.Decimal("1.10"), None]),
        }
    )
    assert crossed(table).equals(table)
    assert crossed(pa.concat_tables([table, table]).slice(1, 2)).equals(pa.concat_tables([table, table]).slice(1, 2))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[], [None], [[None]]]),
        pa.array([{}, None, {}]),
        pa.array([[{}], [{}, None]]),
        pa.array([{"a": True}] * 1_200_000),
        pa.array([[True] * 2_000_000]),
        pa.array([[("k", None)], []], pa.map_(pa.string(), pa.null())),
        pa.array([None, "a"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_an_arrow_column_of_what_takes_no_room_comes_out_as_it_went_in(column):
    table = pa.table({"c": column})
    assert crossed(table).equals(table)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_an_image_comes_out_as_it_went_in(mode):
    image = Image.linear_gradient("L").resize((30, 20)).convert(mode)
    result = crossed(image)
    assert (result.mode, result.size) == (mode, (30, 20))
    assert result.tobytes() == image.tobytes()


def of_pandas():
    frame = pd.DataFrame({"age": [1, 5, 30], "n": ["x", "y", None]})
    yield frame.groupby(pd.cut(frame.age, [0, 18, 65]), observed=True).age.mean()
    yield pd.Series(range(60), pd.date_range("2020", periods=60)).pipe(
        lambda s: s.groupby(s.index.to_period("M")).sum()
    )
    yield frame.dtypes
    yield pd.DataFrame({"p": pd.period_range("2020", periods=2, freq="M"), "i": pd.interval_range(0, 2)})
    yield pd.Series(pd.cut([1.0, np.nan], 2))
    yield from (frame.columns, pd.RangeIndex(1, 9, 2), pd.Index([1, 2], name="k"), pd.Index([]), pd.Index(["a", 1]))
    yield pd.MultiIndex.from_product([[1, 2], ["a", "b"]], names=["x", None])
    yield pd.date_range("2020", periods=3, freq="D", tz="Europe/Berlin")
    yield from (pd.timedelta_range("1h", periods=3), pd.CategoricalIndex(["a", "b"]), pd.Index(pd.array([1, None])))
    yield from (pd.interval_range(0, 3), pd.interval_range(pd.Timestamp("2020", tz="UTC"), periods=2))
    yield from (pd.period_range("2020", periods=3, freq="W"), pd.period_range("2020", periods=3, freq="Q"))
    yield from (frame.n.unique(), pd.array([1, None]), pd.Categorical(["b", "a", None]), pd.cut([1, 2, 9], 3))
    yield pd.arrays.IntervalArray.from_tuples([(0, 1), None])


@pytest.mark.parametrize("value", of_pandas(), ids=lambda value: type(value).__name__)
def test_what_pandas_labels_with_crosses(value):
    result = crossed(value)
    assert type(result) is type(value)
    assert difference(value, result) == ""
    assert getattr(result, "freq", None) == getattr(value, "freq", None)


@pytest.mark.parametrize(
    "value",
    [
        pd.Interval(0, 1, closed="both"), pd.Interval(pd.Timestamp("2020"), pd.Timestamp("2021")),
        pd.Period("2020-03", "M"), pd.Period("2020", "Q-NOV"), np.dtype("int64"), np.dtype("M8[ns]"), pd.Int64Dtype(),
    ],
    ids=str,
)  # fmt: skip
def test_an_interval_a_period_and_a_dtype_cross(value):
    result = crossed(value)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize("array", [np.array(["a", None, [1, 2]], object), np.array([[1, "b"], [None, {}]], object),
                                   np.array([[1, 2], [3, 4]], object), np.array(5, object)], ids=str)  # fmt: skip
def test_an_array_of_objects_crosses_item_by_item(array):
    result = crossed(array)
    assert (result.dtype, result.shape, result.tolist()) == (array.dtype, array.shape, array.tolist())


@pytest.mark.parametrize(
    "data",
    [
        {"$": "Period", "v": [1, "M; import os"]},
        {"$": "Interval", "v": [1, 0, "right"]},
        {"$": "Interval", "v": ["a", "b", "right"]},
        {"$": "dtype", "v": "category"},
        {"$": "dtype", "v": "period[M"},
        {"$": "pandas array", "v": [[1]]},
        {"$": "Index", "v": {"index": {"names": [None], "range": [0, 10**12, 1]}, "arrow": None}},
        [{"$": "Index", "v": {"index": {"names": [None], "range": [0, 10**6, 1]}, "arrow": None}}] * 30,
        {
            "$": "DataFrame",
            "v": {**encode(pd.DataFrame(index=range(5)))["v"], "index": {"names": [None], "range": [0, 10**9, 1]}},
        },
        {"$": "ndarray", "v": ["|O", [10**8, 0], []]},
        [{"$": "ndarray", "v": ["<i8", [10**7, 0], {"$": "bytes", "v": ""}]}] * 8,
        {"$": "scalar", "v": ["<f8", [10**12, 0], {"$": "bytes", "v": ""}]},
        {"$": "ndarray", "v": ["|O", [3], [1, 2]]},
        {"$": "ndarray", "v": ["|O", [1], {"$": "bytes", "v": "AA=="}]},
        {"$": "ndarray", "v": ["<i8", [1], [1]]},
    ],
    ids=str,
)
def test_what_is_none_of_pandas_is_refused(data):
    with pytest.raises(MalformedValue):
        decode(data)


def test_pictures_without_a_mask_cross():
    for shape in ((0, 480, 640), (480, 640, 0)):
        assert [each.shape for each in crossed([np.zeros(shape, bool)] * 20)] == [shape] * 20


def test_empty_texts_of_numpy_cross():
    counts = dict(zip(*np.unique(np.array(["a", "", "a"]), return_counts=True), strict=True))
    assert crossed(counts) == {"": 1, "a": 2}
    assert crossed([*np.array(["", "b"])]) == ["", "b"]
    assert crossed(pd.Series([np.str_("")], dtype=object)).tolist() == [""]
    for hollow in (np.ndarray(3, "U0"), np.ndarray((2, 1), ">U0"), np.ndarray(2, "S0"), np.ndarray((), "U0")):
        result = crossed(hollow)
        assert (result.shape, result.tolist()) == (hollow.shape, hollow.tolist())
        assert result.dtype == hollow.copy().dtype  # NumPy's own copies too take a character


def test_a_table_of_rows_alone_crosses_as_long_as_it_may():
    most = values.MAX_WEIGHT // 8
    for rows in (5_000_000, most):
        assert len(crossed(pd.DataFrame(index=range(rows)))) == rows
    with pytest.raises(NotPortable, match="too large"):
        encode(pd.DataFrame(index=range(most + 1)))


def test_periods_and_intervals_cross_as_whole_columns():
    periods = pd.period_range("1900", periods=10_000, freq="h")
    frame = pd.DataFrame({"p": periods, "i": pd.interval_range(0, 10_000)}, index=periods)
    frame.loc[periods[3], "p"] = pd.NaT
    assert len(json.dumps(encode(frame))) < 50 * len(frame)
    pd.testing.assert_frame_equal(crossed(frame), frame)


# What may not cross


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (open, "value is a builtin_function_or_method, which cannot cross between host and child"),
        ({"a": [1, 2, 3, object()]}, "value['a'][3] is an object, which cannot"),
        ({1: object()}, "value[1] is an object"),
        ({object(): 1}, " is an object"),
        ((1, object()), "value[1] is an object"),
        (np.array([object()]), "value is an object, which cannot"),
        ([np.zeros(2, "i4,f4")], "value[0] is an ndarray of dtype [("),
        (np.ma.array([1], mask=[True]), "value is a masked array"),
        (np.matrix([[1]]), "value is a matrix"),
        (pd.DataFrame({"s": pd.arrays.SparseArray([1.0])}), "dtype Sparse"),
        (pd.Series(pd.Categorical(["a"])).dtype, "value is the dtype category"),
        (pd.RangeIndex(10**9), "value is a RangeIndex of 1,000,000,000 items"),
        (np.zeros((10**8, 0)), "value is too large to cross: it would take"),
        (pd.ArrowDtype(pa.string()), "value is the dtype string[pyarrow]"),
        (pd.ArrowDtype(pa.decimal128(10, 2)), "value is the dtype decimal128(10, 2)[pyarrow]"),
        (pd.DataFrame([[1]], columns=pd.arrays.SparseArray([1.0])), "dtype Sparse"),
        ([Image.new("L", (6000, 6000))] * 2, "value[1] is too large to cross: it would take"),
        (
            pd.DataFrame(np.zeros((1, 100_000))),
            "value is too large to cross: it has 100,000 columns, the limit is 97,656",
        ),
        ([pd.DataFrame(np.zeros((1, 50_000)))] * 2, "value[1] is too large to cross: it would take"),
        ({"df": pd.DataFrame({"o": [object()]})}, "value['df'] is a DataFrame with a cell or label that is an object"),
        (pa.table({"v": pa.array(["a"], pa.string_view())}), "'v' is of type string_view"),
        (Image.new("CMYK", (1, 1)), "value is an Image, which cannot cross: cannot write mode CMYK"),
        ((item for item in []), "value is a generator"),
    ],
    ids=lambda item: item[:40] if isinstance(item, str) else "",
)
def test_what_may_not_cross_is_named_with_its_place(value, message):
    with pytest.raises(NotPortable) as caught:
        encode(value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        ("polars.dataframe.frame", "DataFrame", "value is a polars.DataFrame, which"),
        ("sympy.core.numbers", "Integer", "value is a sympy.Integer, which"),
        ("astropy.units", "Image", "value is an astropy.Image, which"),
        ("__main__", "Image", "value is an Image, which"),
        ("builtins", "Odd", "value is an Odd, which"),
        ("_thread", "lock", "value is a lock, which"),
    ],
)
def test_of_a_class_of_a_library_it_is_told_whose_it_is(module, name, said):
    with pytest.raises(NotPortable) as caught:
        encode(type(name, (), {"__module__": module})())
    assert str(caught.value).startswith(said)
    assert caught.value.advice == CROSSES


def test_what_is_too_large_is_not_told_what_kinds_may_cross():
    with pytest.raises(NotPortable) as caught:
        encode({"a": "x" * 100}, limit=50)
    assert (caught.value.advice, "too large" in str(caught.value)) == (". Give less of it", True)


def test_a_table_that_is_too_large_is_not_said_to_have_a_cell_that_is():
    for table in (pd.DataFrame(np.zeros((100, 4))), pd.Series(np.zeros(400)), pd.DataFrame({"a": ["x" * 4000]})):
        with pytest.raises(NotPortable) as caught:
            encode(table, limit=2000)
        said = f"value is a {type(table).__name__} that is too large to cross: it makes "
        assert str(caught.value).startswith(said) and caught.value.advice == ". Give less of it"


def test_a_value_that_contains_itself_or_is_too_deep_is_refused():
    endless: list = []
    endless.extend([endless, endless])
    with pytest.raises(NotPortable, match="contains itself"):
        encode(endless)
    deep: Any = 0
    for _ in range(values.MAX_DEPTH):
        deep = [deep]
    assert crossed(deep) == deep
    with pytest.raises(NotPortable, match="deeper than 64"):
        encode([deep])


def test_a_list_shared_at_every_level_is_refused_by_its_size():
    shared: Any = [0] * 1000
    for _ in range(20):
        shared = [shared] * 1000
    with pytest.raises(NotPortable, match="too large"):
        encode(shared, limit=1_000_000)


@pytest.mark.parametrize(
    "value",
    [
        list(range(1000)),
        [0.1] * 1000,
        ["ä"] * 1000,
        {str(n): n for n in range(1000)},
        b"x" * 3000,
        np.zeros(1000),
        {3: "x" * 3000},
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_limit_is_that_of_the_json_text(value):
    size = len(json.dumps(encode(value), ensure_ascii=False).encode())
    encode(value, limit=size + 200)
    with pytest.raises(NotPortable, match=r"too large to cross: it makes [\d,]+ bytes or more, the limit is"):
        encode(value, limit=size * 8 // 10)


def test_a_large_array_is_refused_before_it_is_copied():
    huge = np.broadcast_to(np.float64(0), (10**6, 10**6))
    with pytest.raises(NotPortable, match="too large"):
        encode(huge, limit=10**6)


def test_a_class_that_breaks_while_it_is_read_is_not_portable():
    class Broken(np.ndarray):
        __module__ = "numpy"

        def tobytes(self, order: Any = None) -> bytes:
            raise OSError("gone")

    with pytest.raises(NotPortable, match="gone"):
        encode(np.zeros(2).view(Broken))


# Values that stay


def test_a_remote_value_says_what_it_is_and_crosses():
    class Odd:
        shape = (2, 3)

        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    result = decode(values.remote(Odd(), "h7"))
    assert isinstance(result, RemoteValue)
    assert (result.shape, result.handle) == ((2, 3), "h7")
    assert result.type_name.endswith("Odd")
    assert "no repr" in result.text
    assert "stayed in the child" in repr(result) and "2 x 3" in repr(result)
    assert vars(crossed(result)) == vars(result)
    assert len(decode(values.remote("x" * 10**6, "h")).text) == values.MAX_TEXT


def test_what_a_terminal_would_act_on_is_told_of_a_remote_value_as_an_escape():
    class Odd:
        def __repr__(self) -> str:
            return "\x1b]0;title\x07\x1b[2J\x9b1m\u202eevil\u2066 \u00a0größe 漢字 🙂\n\tend\r\b\u2028\U000e0041"

    Odd.__qualname__ = "\x1b[31mOdd"
    result = decode(values.remote(Odd(), "h"))
    assert result.text == (
        r"\x1b]0;title\x07\x1b[2J\x9b1m\u202eevil\u2066 \xa0größe 漢字 🙂" "\n\tend" r"\r\x08\u2028\U000e0041"
    )
    assert result.type_name.endswith(r".\x1b[31mOdd")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", repr(result) + str(result))
    assert vars(crossed(result)) == vars(result)
    many = decode(values.remote(range(1), "h", text="\x1b" * values.MAX_TEXT))
    assert len(many.text) == values.MAX_TEXT and vars(crossed(many)) == vars(many)


def test_a_shape_that_raises_leaves_the_text():
    class Odd:
        shape = property(lambda self: 1 / 0)

        def __repr__(self) -> str:
            return "an odd one"

    result = decode(values.remote(Odd(), ""))
    assert (result.shape, result.text) == (None, "an odd one")


@pytest.mark.parametrize("shape", [(-1,), (2**20_000,), (1,) * 65], ids=["below nothing", "endless", "too many sides"])
def test_a_shape_that_no_array_has_leaves_the_text(shape):
    result = decode(values.remote(types.SimpleNamespace(shape=shape), "h", "an odd one"))
    assert (result.shape, result.text) == (None, "an odd one")


# Inputs


def test_an_input_that_is_not_on_the_list_is_pickled_for_the_child_alone():
    encoded = json.loads(json.dumps(encode_input({"f": len, "n": 1})))
    assert decode(encoded, trusted=True) == {"f": len, "n": 1}
    with pytest.raises(MalformedValue, match="unknown tag 'pickle'"):
        decode(encoded)
    with pytest.raises(MalformedValue, match="unknown tag 'pickle'"):
        decode([{"a": encoded}])
    assert encode_input([1]) == [1]


class Row(NamedTuple):
    item: str
    price: float


class Unit(str, enum.Enum):
    F = "fahrenheit"


class Settings(dict):
    def __reduce__(self):
        raise TypeError("not this one")


@pytest.mark.parametrize(
    "value",
    [
        [Row("a", 2.0), Row("b", 3.0)],
        collections.Counter("aab"),
        {"deep": [collections.OrderedDict(a=1)]},
        collections.defaultdict(list, a=[1]),
        (Unit.F, {Row("a", 2.0): 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_input_keeps_a_class_that_is_made_of_a_builtin(value):
    encoded = json.loads(json.dumps(encode_input(value)))
    assert repr(decode(encoded, trusted=True)) == repr(value)
    assert decode(plain_form(encoded)) == decode(encode(value))
    with pytest.raises(MalformedValue, match="unknown tag 'pickle'"):
        decode(encoded)


def test_an_input_whose_class_the_child_lacks_or_cannot_run_is_of_the_builtin_there():
    class Local(dict):
        pass

    encoded = encode_input([Local(a=1)])
    plain, (pickled, version) = encoded["v"]
    assert version == list(sys.version_info[:2]) and encode_input(Row("a", 2.0))["v"][1][1] is None
    for other in ([packed(b"cgone_module\nRow\n."), None], [packed(b"cos\ngone\n."), None], [pickled, [3, 1]]):
        found = decode({"$": "pickle", "v": [plain, other]}, trusted=True)
        assert found == [{"a": 1}] and type(found[0]) is dict


def test_an_input_whose_class_cannot_be_pickled_is_of_the_builtin_and_told_so():
    assert encode_input(Settings(a=1)) == {"a": 1}
    assert told(Settings(a=1), in_full=False) == "dict of 1 items: {'a': 1}"
    assert told(collections.Counter("a"), in_full=False).startswith("Counter of 1")


def test_what_has_a_form_of_its_own_is_not_pickled():
    given = [np.float64(1), np.str_("a"), pd.Timestamp("2000"), pd.NaT, pathlib.Path("a"), pathlib.PurePosixPath("b")]
    given += [pd.DataFrame({"a": [1]}), pd.RangeIndex(3), Image.new("L", (1, 1)), (1,), {2}, 2**70, math.inf]
    assert encode_input(given) == encode(given)


def test_a_class_takes_no_secret_along_that_the_value_has_not(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-Q7fQ7fQ7fQ7f")
    key = os.environ["SOME_API_KEY"]

    class Asking(dict):
        def ask(self):
            return key

    assert encode_input(Asking(a=1)) == {"a": 1}
    assert encode_input(Asking(a=key))["$"] == "pickle"


def test_an_input_that_cannot_be_pickled_is_refused_with_advice():
    with pytest.raises(NotPortable, match=r"a generator, which can neither cross nor be pickled .*make it a tool"):
        encode_input(item for item in [])


def test_what_belongs_to_the_host_is_never_pickled():
    with pytest.raises(NotPortable, match="stays in the host"):
        encode_input({"model": [object, RemoteValue("t", None, "x", "h")]})


# The source in the child


def test_the_source_runs_by_itself_and_loads_only_the_standard_library_and_a_kernel():
    code = f"""
import sys
import ipykernel.compiler, ipykernel.zmqshell
before = set(sys.modules)
{load_code()}
kid = sys.modules["smol_in_child.values"]
assert kid.decode(kid.encode((1, {{2}}))) == (1, {{2}})
assert vars(kid.decode(kid.remote(1, "h")))["handle"] == "h"
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}} - {{"smol_in_child"}}
strangers = loaded - set(sys.stdlib_module_names)
assert not strangers, strangers
import pandas
frame = kid.decode(kid.encode(pandas.DataFrame({{"a": [1]}})))
assert frame.a[0] == 1
assert "smol_kernel" not in sys.modules
"""
    subprocess.run([sys.executable, "-I", "-"], input=code, text=True, check=True)


# Enemies


def frame_with(**changes: Any) -> dict:
    encoded = encode(pd.DataFrame({"a": [1, 2]}))
    encoded["v"].update(changes)
    return encoded


def arrow(table: pa.Table, **options: Any) -> dict:
    return {"$": "Table", "v": packed(stream(table, **options))}


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> dict:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]:
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return {"$": "image", "v": packed(data)}


def nested(times: int) -> Any:
    data: Any = 1
    for _ in range(times):
        data = {"$": "tuple", "v": [data]}
    return data


def listed(items: pa.Array, kind: Any = pa.ListArray, offset: Any = None) -> pa.Table:
    """One row with all of these in a list."""
    return pa.table({"l": kind.from_arrays(pa.array([0, len(items)], offset or pa.int32()), items)})


def labels(items: list[Any]) -> dict:
    return {"dtype": "object", "values": items}


def categories_of(items: list[Any]) -> dict:
    named = {"names": [None], "freq": None, "multi": False, "levels": [labels(items)]}
    return {"dtype": "int64", "ordered": False, "categories": named}


HOLLOW = pa.StructArray.from_buffers(pa.struct([]), 1_100_000, [None])
TWO_TEXTS = pa.table({"t": pa.array(["text", "text"]).dictionary_encode()})
ZEROS = pa.table({"a": np.zeros(10_000)})
COLLIDING = [n * (2**61 - 1) for n in range(20_000)]
HOSTILE: dict[str, Any] = {
    "not JSON": object(),
    "bytes": b"x",
    "nan": math.nan,
    "lone surrogate": "\ud800",
    "lone surrogate in a key": {"\ud800": 1},
    "key that is no str": {1: 1},
    "no tag": {"$": None, "v": 1},
    "unknown tag": {"$": "os.system", "v": "true"},
    "tag that is a list": {"$": [], "v": 1},
    "no parts": {"$": "bytes"},
    "too many parts": {"$": "bytes", "v": "", "w": 1},
    "pickle": {"$": "pickle", "v": packed(b"cos\nsystem\n(S'true'\ntR.")},
    "too deep": nested(5000),
    "deep lists": json.loads("[" * 500 + "]" * 500),
    "base64": {"$": "bytes", "v": "a b"},
    "base64 of other letters": {"$": "bytes", "v": "ä==="},
    "base64 cut": {"$": "bytes", "v": "abc"},
    "int": {"$": "int", "v": "0xzz"},
    "float": {"$": "float", "v": "no"},
    "complex": {"$": "complex", "v": ["1", 2]},
    "tuple of a str": {"$": "tuple", "v": "abc"},
    "set of lists": {"$": "set", "v": [[]]},
    "dict of triples": {"$": "dict", "v": [[1, 2, 3]]},
    "dict of lists": {"$": "dict", "v": [[[], 1]]},
    "colliding keys": {"$": "dict", "v": [[{"$": "int", "v": hex(n)}, 0] for n in COLLIDING]},
    "colliding items": {"$": "set", "v": [{"$": "int", "v": hex(n)} for n in COLLIDING]},
    "date": {"$": "date", "v": "2024-02-30"},
    "datetime": {"$": "datetime", "v": ["2024-13-01T00:00:00", None, 0]},
    "fold": {"$": "datetime", "v": ["2024-01-01T00:00:00", None, 2]},
    "zone": {"$": "datetime", "v": ["2024-01-01T00:00:00", "Nowhere/City", 0]},
    "zone that is a folder": {"$": "datetime", "v": ["2024-01-01T00:00:00", "Europe", 0]},
    "zone that is a path": {"$": "datetime", "v": ["2024-01-01T00:00:00", "../../etc/passwd", 0]},
    "timedelta": {"$": "timedelta", "v": [10**12, 0, 0]},
    "Decimal": {"$": "Decimal", "v": "1,5"},
    "UUID": {"$": "UUID", "v": "7"},
    "Path": {"$": "Path", "v": ["a"]},
    "remote": {"$": "remote", "v": ["t", [1], "x"]},
    "remote of a shape that has no repr": {
        "$": "remote",
        "v": ["t", {"$": "tuple", "v": [{"$": "int", "v": "0x" + "f" * 20_000}]}, "x", "h"],
    },
    "remote of a shape below nothing": {"$": "remote", "v": ["t", {"$": "tuple", "v": [-1]}, "x", "h"]},
    "remote of too many sides": {"$": "remote", "v": ["t", {"$": "tuple", "v": [1] * 65}, "x", "h"]},
    "remote with a long text": {"$": "remote", "v": ["t", None, "x" * 10**6, "h"]},
    "array of objects": {"$": "ndarray", "v": ["|O", [1], packed(b"\0" * 8)]},
    "array of structures": {"$": "ndarray", "v": ["i4,O", [1], packed(b"\0" * 12)]},
    "array of a void": {"$": "ndarray", "v": ["|V0", [10**9], packed(b"")]},
    "array of nothing": {"$": "ndarray", "v": ["<U0", [10**9], packed(b"")]},
    "array of odd floats": {"$": "ndarray", "v": ["<f3", [1], packed(b"\0" * 3)]},
    "array too short": {"$": "ndarray", "v": ["<f8", [2], packed(b"\0" * 8)]},
    "array too large": {"$": "ndarray", "v": ["<f8", [2**62, 4], packed(b"")]},
    "array of negative shape": {"$": "ndarray", "v": ["<f8", [-1, -1], packed(b"\0" * 8)]},
    "array of a shape of floats": {"$": "ndarray", "v": ["<f8", [1.0], packed(b"\0" * 8)]},
    "array of endless dimensions": {"$": "ndarray", "v": ["<f8", [1] * 1000, packed(b"\0" * 8)]},
    "array of what is not Unicode": {"$": "ndarray", "v": ["<U1", [1], packed(b"\xff" * 4)]},
    "scalar that is an array": {"$": "scalar", "v": ["<f8", "x", packed(b"\0" * 8)]},
    "Timestamp": {"$": "Timestamp", "v": ["x" * 100, None]},
    "Timestamp of a path": {"$": "Timestamp", "v": [encode(np.datetime64(0, "s")), "dateutil//etc/passwd"]},
    "Timedelta": {"$": "Timedelta", "v": []},
    "not Arrow": {"$": "Table", "v": packed(b"garbage" * 10)},
    "no Arrow": {"$": "Table", "v": packed(b"")},
    "Arrow cut": {"$": "Table", "v": packed(stream(ZEROS)[:5000])},
    "Arrow compressed": arrow(ZEROS, compression="zstd"),
    "Arrow dictionary compressed": arrow(
        pa.table({"a": pa.array(["a" * 9999]).dictionary_encode()}), compression="lz4"
    ),
    "Arrow extension": arrow(
        pa.table({"u": pa.array([b"x" * 16], pa.uuid() if hasattr(pa, "uuid") else pa.binary(16))})
    ),
    "Arrow views": arrow(pa.table({"v": pa.array(["a" * 100], pa.string_view())})),
    "Arrow runs": arrow(pa.table({"r": pa.RunEndEncodedArray.from_arrays(pa.array([2**31 - 1]), pa.array([1]))})),
    "Arrow nulls": arrow(pa.table({"n": pa.Array.from_buffers(pa.null(), 2**31 - 1, [None])})),
    "Arrow of bad UTF-8": arrow(
        pa.table(
            {
                "s": pa.Array.from_buffers(
                    pa.string(), 1, [None, pa.py_buffer(struct.pack("ii", 0, 1)), pa.py_buffer(b"\xff")]
                )
            }
        )
    ),
    "Arrow of bad offsets": {
        "$": "Table",
        "v": packed(stream(pa.table({"s": ["abcdefg"]})).replace(struct.pack("<ii", 0, 7), struct.pack("<ii", 0, 99))),
    },
    "Arrow list of nulls": arrow(listed(pa.nulls(1_100_000))),
    "Arrow large list of nulls": arrow(listed(pa.nulls(1_100_000), pa.LargeListArray, pa.int64())),
    "Arrow list of hollow structs": arrow(listed(HOLLOW)),
    "Arrow list of lists of nulls": arrow(listed(listed(pa.nulls(1_100_000)).column(0).chunk(0))),
    "Arrow list of structs of nulls": arrow(
        listed(pa.StructArray.from_arrays([pa.nulls(20_000)] * 60, [str(n) for n in range(60)]))
    ),
    "Arrow struct of nulls": arrow(
        pa.table({"s": pa.StructArray.from_arrays([pa.nulls(20_000)] * 60, [str(n) for n in range(60)])})
    ),
    "Arrow map of lists of nulls": arrow(
        pa.table({"m": pa.MapArray.from_arrays([0, 1], ["a"], listed(pa.nulls(1_100_000)).column(0).chunk(0))})
    ),
    "Arrow dictionary of nulls": arrow(
        pa.table({"d": pa.DictionaryArray.from_arrays(pa.array([0], "i1"), pa.nulls(1_100_000))})
    ),
    "frame of texts that one dictionary holds": frame_with(columns=[{"dtype": "string"}], arrow=arrow(TWO_TEXTS)),
    "frame of texts of a dictionary, as str": frame_with(columns=[{"dtype": "str"}], arrow=arrow(TWO_TEXTS)),
    "frame of objects of a dictionary": frame_with(columns=[{"dtype": "object"}], arrow=arrow(TWO_TEXTS)),
    "frame of objects of lists": frame_with(columns=[{"dtype": "object"}], arrow=arrow(pa.table({"l": [[1], [2]]}))),
    "frame of texts that are numbers": frame_with(columns=[{"dtype": "string"}]),
    "frame of numbers that are texts": frame_with(
        columns=[{"dtype": "int64"}], arrow=arrow(pa.table({"s": ["1", "2"]}))
    ),
    "frame of numbers that are bits": frame_with(
        columns=[{"dtype": "Int64"}], arrow=arrow(pa.table({"b": [True, False]}))
    ),
    "frame of periods of a dictionary": frame_with(
        columns=[{"dtype": "dictionary[pyarrow]", "period": "period[M]"}], arrow=arrow(TWO_TEXTS)
    ),
    "frame of codes of a dictionary": frame_with(
        columns=[
            {
                "dtype": "dictionary[pyarrow]",
                "ordered": False,
                "categories": {"names": [None], "range": [0, 2, 1]},
            }
        ],
        arrow=arrow(TWO_TEXTS),
    ),
    "frame of intervals of texts": frame_with(
        columns=[{"dtype": "interval[int64, right]", "closed": "right", "ends": [{"dtype": "a[pyarrow]"}] * 2}],
        arrow=arrow(pa.table([TWO_TEXTS.column(0)] * 2, names=["a", "b"])),
    ),
    "frame of a list": {"$": "DataFrame", "v": []},
    "frame without parts": {"$": "DataFrame", "v": {}},
    "frame of a dtype that is an import": frame_with(columns=[{"dtype": "Sparse[object]"}]),
    "frame of a zone that is not": frame_with(columns=[{"dtype": "datetime64[ns, Nowhere/City]"}]),
    "frame of more columns than there are": frame_with(columns=[{"dtype": "int64"}] * 2),
    "frame with an endless index": frame_with(columns=[], index={"names": [None], "range": [0, 10**15, 1]}),
    "frame with endless categories": frame_with(
        columns=[{"dtype": "int64", "ordered": False, "categories": {"names": [None], "range": [0, 10**9, 1]}}]
    ),
    "frame with bad codes": frame_with(
        columns=[{"dtype": "int64", "ordered": False, "categories": {"names": [None], "range": [0, 1, 1]}}]
    ),
    "frame with categories that are equal": frame_with(columns=[categories_of([1, 1])]),
    "frame with a category that is missing": frame_with(columns=[categories_of([1, None])]),
    "frame with levels of different lengths": frame_with(
        labels={"names": [None, None], "freq": None, "multi": True, "levels": [labels([1]), labels([1, 2])]}
    ),
    "frame of uneven columns": frame_with(columns=[{"dtype": "int64"}, {"dtype": "object", "values": [1]}]),
    "frame with labels that cannot be keys": frame_with(
        labels={"names": [None], "freq": None, "levels": [{"dtype": "object", "values": [[]]}]}
    ),
    "frame with attributes that are none": frame_with(attrs=[1]),
    "frame with attributes of a table": frame_with(attrs={"a": frame_with()}),
    "frame with attributes too long": frame_with(attrs={"a": "x" * (3 << 20)}),
    "frame of many columns with long attributes": frame_with(
        columns=[{"dtype": "object", "values": []}] * 5_000,
        attrs={"a": "x" * 10_000},
        index={"names": [None], "range": [0, 0, 1]},
        labels={"names": [None], "range": [0, 5_000, 1]},
    ),
    "frame with too few labels": frame_with(labels={"names": [None], "range": [0, 0, 1]}),
    "image": {"$": "image", "v": packed(b"\x89PNG\r\n\x1a\n" + b"IHDR" * 20)},
    "image that is a JPEG": {"$": "image", "v": packed(b"\xff\xd8\xff" + b"\0" * 100)},
    "image of too many pixels": png(100_000, 100_000),
    "images of too many pixels": [encode(Image.new("1", (6000, 6000)))] * 2,
    "image of two sizes": png(1, 1, (b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))),
    "image with packed text": png(1, 1, (b"zTXt", b"k\0\0" + zlib.compress(b"x" * 10**6))),
    "image of no size": png(0, 0),
    "image cut": png(50, 50),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_data_is_refused_in_one_way(data):
    with pytest.raises(MalformedValue) as caught:
        decode(data)
    assert len(str(caught.value)) < 600


def test_sizes_that_no_array_has_are_not_multiplied():
    size = encode(1 << 100_000)
    with pytest.raises(MalformedValue, match="no shape"):
        decode({"$": "ndarray", "v": ["|O", [size, size, 0], []]})


def test_columns_that_share_one_buffer_are_refused():
    shared = pa.table({f"c{n}": pa.array(np.zeros(1000)) for n in range(50)})
    raw = bytearray(stream(shared))
    assert tables.from_stream(bytes(raw)).num_columns == 50
    message = list(pa.ipc.MessageReader.open_stream(bytes(raw)))[1]
    start = bytes(raw).index(message.metadata.to_pybytes())
    for n in range(1, 50):  # offset and length of validity and data: now all columns lie where the first one does
        place = raw.index(struct.pack("<qqqq", n * 8000, 0, n * 8000, 8000), start)
        raw[place : place + 32] = struct.pack("<qqqq", 0, 0, 0, 8000)
    head = bytes(raw[: start + message.metadata.size]).replace(struct.pack("<q", 50 * 8000), struct.pack("<q", 8000))
    small = head + bytes(raw[-8000 - 8 :])
    assert pa.ipc.open_stream(small).read_all().num_columns == 50
    with pytest.raises(MalformedValue, match="lie in one another"):
        decode({"$": "Table", "v": packed(small)})


def dictionaries(*each: pa.Array) -> bytes:
    """A stream with one row for each of these dictionaries."""
    rows = [pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), dictionary) for dictionary in each]
    sink, schema = pa.BufferOutputStream(), pa.schema({"t": rows[0].type})
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)) as writer:
        for row in rows:
            writer.write_batch(pa.record_batch([row], schema=schema))
    return sink.getvalue().to_pybytes()


def test_a_dictionary_that_grows_is_refused():
    with pytest.raises(MalformedValue, match="a dictionary that grows"):
        tables.from_stream(dictionaries(pa.array(["a"]), pa.array(["a", "b"])))


def test_what_takes_more_room_than_its_bytes_is_refused_before_all_of_it_is_read():
    broken = pa.array([b"\xff" * 5_000]).view(pa.string())
    with pytest.raises(MalformedValue, match="unpacks to more than it holds"):
        tables.from_stream(dictionaries(broken, broken, broken))


def test_every_cut_and_flipped_encoded_value_is_refused_or_read_but_never_breaks():
    given = [PLAIN[31], FRAMES["times"], FRAMES["categories"], ARRAYS[5], Image.new("RGB", (3, 3))]
    text = json.dumps(encode(given))
    for place in range(0, len(text), 41):
        for changed in (text[:place] + text[place + 1 :], text[:place] + "7" + text[place + 1 :]):
            try:
                data = json.loads(changed)
            except ValueError:
                continue
            with contextlib.suppress(MalformedValue):
                decode(data)


# One line


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "None"),
        (5, "int 5"),
        ("a\nb", r"str of 3 characters: 'a\nb'"),
        ([0] * 3000, "list of 3,000 items: [0, 0, 0, 0, 0, 0, ...]"),
        ({"a": 1}, "dict of 1 items: {'a': 1}"),
        (pd.DataFrame({"a": [1], "b": [1.5]}), "DataFrame 1 x 2, columns a (int64), b (float64)"),
        (pd.Series([1], name="a"), "Series of 1 items, int64, name 'a'"),
        (pa.table({"a": [1]}), "Table 1 x 1, columns a (int64)"),
        (np.zeros((2, 3)), "ndarray 2 x 3, float64"),
        (Image.new("L", (4, 5)), "Image 4 x 5, L"),
    ],
    ids=lambda item: item[:20] if isinstance(item, str) else "",
)
def test_describe_says_type_and_size(value, line):
    assert describe(value) == line


def test_describe_is_one_short_line_without_addresses():
    wide = pd.DataFrame({f"column {n}": [n] for n in range(1000)})
    broken = types.new_class("Broken", exec_body=lambda body: body.update(__len__=lambda self: 1 // 0))()
    for value in (wide, "x" * 10**6, object(), test_describe_says_type_and_size, broken, [[["x" * 500] * 9] * 9] * 9):
        line = describe(value)
        assert 0 < len(line) <= 200
        assert "\n" not in line and "0x" not in line


LONG_LABELS = ["x" * 100_000, *range(99)]
WITH_LONG_LABELS = {
    "labels": pd.Index(LONG_LABELS, dtype=object),
    "levels": pd.MultiIndex.from_arrays([LONG_LABELS, range(100)]),
    "categories": pd.CategoricalIndex(pd.Categorical.from_codes([0] * 100, ["x" * 100_000])),
    "an array": pd.array(list(map(str, LONG_LABELS)), dtype="string"),
    "a name": pd.Index(range(100), name=("x" * 100_000,), dtype="int64"),
    "rows": [pd.DataFrame({"a": range(100)}, index=LONG_LABELS)],
    "columns": [pd.DataFrame([[1] * 2] * 100, columns=["x" * 100_000, "a"])],
    "in an array": [np.array([pd.Index(LONG_LABELS, dtype=object), 1], dtype=object)],
}


@pytest.fixture
def shown_as_usual():
    """What pandas shows at most, whatever programs that ran in this process have set."""
    with pd.option_context("display.max_rows", 60, "display.max_columns", 20):
        yield


@pytest.mark.usefixtures("shown_as_usual")
@pytest.mark.parametrize("value", WITH_LONG_LABELS.values(), ids=WITH_LONG_LABELS)
def test_a_long_label_is_not_told_as_often_as_there_are_others(value):
    for tell in (describe, checking.brief):
        tracemalloc.start()
        line = tell(value)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 3_000_000, tell
        assert type(value if type(value) is not list else value[0]).__name__ in line


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (pd.Index(["a", "b"], dtype=object), "Index of 2 items: Index(['a', 'b'], dtype='object')"),
        (pd.array([1, None]), "IntegerArray of 2 items: <IntegerArray> [1, <NA>] Length: 2, dtype: Int64"),
        (pd.MultiIndex.from_tuples([("a", 1)]), "MultiIndex of 1 items: MultiIndex([('a', 1)], )"),
        ([pd.Series([1])], "list of 1 items: [0 1 dtype: int64]"),
    ],
    ids=["an index", "an array", "levels", "a column"],
)
def test_what_pandas_labels_with_is_told_as_it_writes_it(value, line):
    assert describe(value) == line


def test_what_has_no_labels_of_its_own_is_told_as_it_writes_itself():
    groups = pd.DataFrame({"a": range(5), "b": range(5)}).groupby("a")["b"]
    itself = np.empty(1, dtype=object)
    itself[0] = itself
    assert describe(groups).startswith("SeriesGroupBy of 5 items: <pandas.")
    assert describe([groups, 1]).startswith("list of 2 items: [<pandas.")
    assert describe([itself]) == "list of 1 items: [array([array(..., dtype=object)], dtype=object)]"
    assert describe([np.array("x" * 2_000_000, dtype=object)]).startswith("list of 1 items: [<ndarray of ")


@pytest.mark.usefixtures("shown_as_usual")
@pytest.mark.parametrize(
    ("value", "begins"),
    [
        (np.array([f"word{n}" for n in range(100_000)], dtype=object), "array(['word0', 'word1', 'word2', ...,"),
        (np.array([["x" * 9] * 9] * 50_000, dtype=object), "array([['xxxxxxxxx', "),
        (pd.DataFrame(np.zeros((500, 100)), columns=[f"{n} {'x' * 110}" for n in range(100)]), "0 xxxxx"),
        (np.array([["x" * 3_000_000] * 3] * 2, dtype=object), "<ndarray of 2 x 3 items>"),
        (np.array(["x" * 3_000_000]), "<ndarray of 1 items>"),
        (np.array("x" * 3_000_000), "<ndarray of 1 items>"),
        (pd.DataFrame({"a" * 20_000: range(500), "b": 1}), "<DataFrame of 500 rows x 2 columns>"),
        (pd.DataFrame({"a": range(500)}).rename_axis(columns="b" * 20_000), "<DataFrame of 500 rows x 1 columns>"),
    ],
    ids=["words", "a table of words", "a survey", "long", "text", "one text", "a long column", "a long name"],
)  # fmt: skip
def test_of_a_large_value_as_much_counts_as_it_would_show(value, begins):
    assert describe([value, 1]).partition("[")[2].strip().startswith(begins)


def test_describe_tells_addresses_that_are_text():
    assert describe("it lies at 0x00401136") == "str of 21 characters: 'it lies at 0x00401136'"


@pytest.mark.parametrize("unit", ["0s", "as", "Y", "00"])
def test_a_column_of_times_in_a_unit_that_pandas_has_not_is_refused(unit):
    """numpy divides by zero where it converts some of them, which ends the process."""
    frame = encode(pd.DataFrame({"a": pd.to_datetime(["2020-01-01"]).as_unit("us")}))
    hostile = json.loads(json.dumps(frame).replace("datetime64[us]", f"datetime64[{unit}]"))
    assert hostile != frame
    with pytest.raises(MalformedValue):
        decode(hostile)
