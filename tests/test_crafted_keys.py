"""Keys, labels and categories that were crafted to take endless time are refused, or told apart all the same."""

from __future__ import annotations

import decimal
import json
import os
import random
import subprocess
import sys
import tracemalloc
from itertools import islice, product
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from smol_kernel.executors import crafted_keys, sorted_levels
from smol_kernel.executors.values import MalformedValue, NotPortable, decode, encode

MANY = 20_000


def crossed(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value), allow_nan=False)))


def long_way(power: int) -> list[int]:
    """Keys all different in their hashes, of which the last walk a long way through a dict of 2**power places."""
    places = 1 << power
    chain = [0]
    while len(chain) < places * 6 // 10:
        chain.append((5 * chain[-1] + 1) % places)
    position = np.full(places, places)
    position[chain] = range(len(chain))
    found: list[int] = []
    for start in range(places, 1 << 40, 1 << 20):
        keys = np.arange(start, start + (1 << 20), dtype=np.int64)
        place, fit = keys % places, np.ones(len(keys), bool)
        for step in range(1, 15):  # after these only the place tells the next one
            fit &= position[place] < places
            place = (5 * place + (keys >> 5 * step) + 1) % places
        found += keys[fit & (position[place] < len(chain) // 3)].tolist()
        if len(found) > places * 2 // 3 - len(chain):
            break
    return (chain + found)[: places * 2 // 3 - 5]


def test_keys_that_walk_a_long_way_are_refused(monkeypatch):
    keys = long_way(17)
    monkeypatch.setattr(crafted_keys, "SECONDS_EACH", 0.0)
    monkeypatch.setattr(crafted_keys, "SECONDS", 0.3)
    with pytest.raises(MalformedValue, match="take too long"):
        decode({"$": "dict", "v": [[key, 0] for key in keys]})
    with pytest.raises(MalformedValue, match="take too long"):
        decode([{"$": "dict", "v": [[key, 0] for key in keys[n:] + keys[:n]]} for n in (0, 1)])


def of_one_hash(count: int, length: int) -> list[tuple[float, ...]]:
    """Tuples that differ at their end alone: -1 and -2 have one hash."""
    return [(0.5,) * length + end for end in islice(product((-1, -2), repeat=14), count)]


def test_long_keys_of_one_hash_are_refused_before_they_are_compared():
    assert crossed(dict.fromkeys(of_one_hash(100, 50))) == dict.fromkeys(of_one_hash(100, 50))
    with pytest.raises(MalformedValue, match="too many keys of one hash"):
        decode(encode(set(of_one_hash(300, 1_000))))


@pytest.mark.parametrize("items", [of_one_hash(300, 1_000), [frozenset(of_one_hash(30, 1)) for _ in range(300)]])
def test_the_clock_is_looked_at_before_all_of_few_keys_are_in(monkeypatch, items):
    monkeypatch.setattr(crafted_keys, "SECONDS_EACH", 0.0)
    monkeypatch.setattr(crafted_keys, "SECONDS", 0.0)
    for table in (set(), {}):
        crafted_keys.begin()
        with pytest.raises(MalformedValue, match="take too long"):
            crafted_keys.filled(table, [(item, 0) for item in items] if table == {} else items)
        assert len(table) < 3


@pytest.mark.parametrize("kind", [tuple, frozenset])
def test_long_keys_of_usual_kinds_are_weighed_by_their_length(monkeypatch, kind):
    monkeypatch.setattr(crafted_keys, "weight", lambda _: crafted_keys.values.refuse("it takes long"))
    table = {kind([n, str(n), None, *range(100)]): 1 for n in range(1_000, 1_300)} | {"a": 1, 2.5: 1}
    assert crossed(table) == table


LONG = (1 << 20_000) - 1


@pytest.mark.parametrize(
    "key",
    [LONG, (1, (LONG,)), (*range(20), "a", -LONG), frozenset([-LONG]), pd.Interval(0, LONG)],
    ids=["alone", "in a tuple", "in a long one", "in a set", "at an end"],
)
def test_an_integer_that_takes_long_to_be_compared_is_no_key(key):
    labels = pd.Index(pd.Series([key, decimal.Decimal(7)], dtype=object), dtype=object)
    levels = pd.MultiIndex(levels=[labels, [1]], codes=[[0, 1], [0, 0]], verify_integrity=False)
    for value in ({key}, {key: 1}, levels, labels):
        said = "an integer of 20,000 bits in a key|too large to convert"  # the latter by pandas 2
        with pytest.raises((MalformedValue, NotPortable), match=said):
            decode(encode(value))


def test_an_integer_of_any_length_crosses_where_it_is_no_key():
    value = [LONG, (LONG,), {"a": LONG, 1: LONG}]
    assert crossed(value) == value
    assert crossed(pd.Series([LONG, decimal.Decimal(7)], dtype=object)).tolist() == [LONG, 7]


def test_into_a_child_go_keys_of_any_length():
    value = [{LONG: 1}, {LONG, (LONG,)}]
    assert decode(encode(value), trusted=True) == value


def test_long_labels_are_sorted_with_an_eye_on_the_clock(monkeypatch):
    labels = pd.Index(of_one_hash(20, 1_000)[::-1], tupleize_cols=False)
    levels = pd.MultiIndex(levels=[labels, [1]], codes=[range(20), [0] * 20], verify_integrity=False)
    assert crossed(levels).levels[0].is_monotonic_increasing
    monkeypatch.setattr(crafted_keys.Compared, "__lt__", lambda *_: crafted_keys.values.refuse("it takes long"))
    with pytest.raises(MalformedValue, match="it takes long"):
        decode(encode(levels))


@pytest.mark.parametrize(
    "keys",
    [range(MANY), [random.getrandbits(60) for _ in range(MANY)], [(n, str(n)) for n in range(MANY)],
     [n << 33 for n in range(MANY)], [n / 7 for n in range(MANY)]],
    ids=["numbers", "random ones", "tuples", "steps", "fractions"],
)  # fmt: skip
def test_many_keys_cross(keys):
    table = dict.fromkeys(keys, 0)
    result = crossed([table, set(table), frozenset(table)])
    assert (result[0], list(result[0])) == (table, list(table))
    assert (result[1], result[2]) == (table.keys(), table.keys())


def test_many_keys_leave_random_numbers_as_they_are_seeded():
    state = random.getstate()
    decode({"$": "set", "v": list(range(MANY))})
    assert random.getstate() == state


@pytest.mark.parametrize("kind", [dict, set])
def test_a_twin_has_grown_with_its_last_key(kind):
    twins = crafted_keys._grown_twins(kind)
    sizes = [len(next(twins)) for _ in range(4)]
    room = []
    for keys in (size - 1 for size in sizes):
        table = kind((key, 0) for key in range(keys)) if kind is dict else kind(range(keys))
        before = sys.getsizeof(table)
        table.update({keys: 0} if kind is dict else {keys})
        room.append(sys.getsizeof(table) > before)
    assert room == [True] * 4 and sizes[0] > crafted_keys.FEW


# What pandas tells apart


def crafted(count: int) -> np.ndarray:
    """Numbers that are all one to the tables of pandas."""
    high = np.arange(1, count + 1, dtype=np.uint64)
    low = (high ^ (high << np.uint64(11)) ^ (high << np.uint64(22))) & np.uint64(0xFFFFFFFF)
    return ((high << np.uint64(33)) | low).astype(np.int64)[::-1].copy()


TEXTS = ["".join("Aa" if n >> bit & 1 else "BB" for bit in range(16)) for n in range(MANY)]
LABELS = {
    "numbers": pd.Index(crafted(MANY)),
    "large numbers": pd.Index(crafted(MANY).astype("u8")),
    "nullable": pd.Index(pd.array(crafted(MANY), "Int64")),
    "dates": pd.DatetimeIndex(crafted(MANY).astype("M8[ns]")),
    "objects": pd.Index(crafted(MANY), dtype=object),
    "texts": pd.Index(TEXTS, dtype="string"),
    "texts that are objects": pd.Index(TEXTS, dtype=object),
}


@pytest.mark.parametrize("given", LABELS.values(), ids=LABELS)
def test_crafted_labels_are_told_apart(given):
    codes = [np.arange(MANY), np.zeros(MANY, int)]
    index = crossed(pd.MultiIndex(levels=[given, ["a"]], codes=codes, verify_integrity=False))
    assert (index.get_level_values(0) == given).all() and index.levels[0].is_monotonic_increasing


@pytest.mark.parametrize("given", LABELS.values(), ids=LABELS)
def test_crafted_categories_are_told_apart(given):
    dtype = pd.CategoricalDtype._from_fastpath(given, ordered=True)
    result = crossed(pd.Series(pd.Categorical.from_codes([2, 0, -1], dtype=dtype)))
    assert (result.cat.categories == given).all() and result.cat.ordered
    assert result.tolist()[:2] == [given[2], given[0]] and result.isna().tolist() == [False, False, True]


def test_dates_at_crafted_distances_have_no_frequency():
    dates = pd.DatetimeIndex(np.cumsum(crafted(2_000)[::-1] % 2**40).astype("M8[ns]"))
    data = encode(dates)
    data["v"]["index"]["freq"] = "D"
    result = decode(data)
    assert result.freq is None and result.equals(dates)
    assert not sorted_levels.has_few_steps(dates) and sorted_levels.has_few_steps(
        pd.date_range("1700", freq="YE", periods=500)
    )


def test_labels_that_are_told_often_cross():
    letters = pd.Index(["a", "b", None] * 2_000, dtype=object)
    for index in (letters, pd.MultiIndex.from_arrays([letters, range(6_000)])):
        pd.testing.assert_index_equal(crossed(index), index)


SOME = pd.DataFrame(
    {
        "numbers": [3, 1, 3, 2],
        "fractions": [0.5, np.nan, -0.0, 0.0],
        "dates": pd.to_datetime(["2021", None, "2020", "2021"]),
        "zone": pd.to_datetime(["2021", None, "2020", "2021"]).tz_localize("Europe/Berlin"),
        "spans": pd.to_timedelta([2, 1, None, 2], unit="h"),
        "truth": [True, False, True, True],
        "complex": [1j, 2 + 1j, 2 - 1j, 1j],
        "mixed": pd.Series(["b", 1, None, "a"], dtype=object),
        "tuples": [("b", 1), ("a", 2), ("b", 1), ("a", 1)],
        "texts": pd.Series(["b", None, "a", "b"], dtype="string"),
        "nullable": pd.array([3, None, 1, 3], "Int64"),
        "periods": pd.PeriodIndex(["2021-02", None, "2020-01", "2021-02"], freq="M"),
        "intervals": pd.arrays.IntervalArray.from_tuples([(1, 2), None, (0, 1), (1, 2)]),
        "categories": pd.Categorical(["b", None, "a", "b"], ["b", "z", "a"], ordered=True),
        "by Arrow": pd.array([3, None, 1, 3], "int64[pyarrow]"),
    }
)


@pytest.mark.parametrize("name", SOME)
def test_levels_are_those_that_pandas_makes(name):
    made = pd.MultiIndex.from_arrays([SOME[name], range(4)], names=[name, None])
    result = crossed(made)
    pd.testing.assert_index_equal(result, made)
    pd.testing.assert_index_equal(result.levels[0], made.levels[0], exact=True)
    assert result.codes[0].tolist() == made.codes[0].tolist()


def of_arrow(array: pa.Array) -> pd.MultiIndex:
    level = pd.Index(pd.arrays.ArrowExtensionArray(pa.chunked_array([array])))
    rows = np.arange(len(array))
    return pd.MultiIndex(levels=[level, rows], codes=[rows, rows], verify_integrity=False)


def test_a_text_that_an_arrow_dictionary_has_once_is_not_made_for_each_row():
    texts = pa.array(["b" * 1_000_000, "z", "a", "b" * 1_000_000])
    data = encode(of_arrow(pa.DictionaryArray.from_arrays(pa.array([3, 2, *[0] * 50], pa.int8()), texts)))
    tracemalloc.start()
    index = decode(data)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20_000_000
    assert index.codes[0].tolist() == [1, 0, *[1] * 50]
    assert [len(label) for label in index.levels[0]] == [1, 1_000_000]


def test_labels_of_arrow_that_are_lists_are_refused_before_they_are_made():
    with pytest.raises(MalformedValue, match="labels of type list"):
        decode(encode(of_arrow(pa.array([["a"], ["b"]]))))


@pytest.mark.parametrize(("seed", "chosen"), [("random", False), ("", False), ("0", True), ("7", True)])
def test_texts_are_not_trusted_where_their_hashes_can_be_known_before(seed, chosen):
    code = "from smol_kernel.executors import crafted_keys; print(crafted_keys._are_texts(['a', 'b']))"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(not chosen)
