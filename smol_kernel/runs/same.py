"""Whether a value or a picture is the same as another: by value, numbers with a tolerance.

Used by `prove` and `same_file`.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from importlib import import_module
from itertools import zip_longest
from typing import Any

from smol_kernel.executors.values import RemoteValue, a_name, package
from smol_kernel.memory.foreign_pictures import MAX_PIXELS, TooLarge, opened
from smol_kernel.memory.text_room import ShortRepr
from smol_kernel.render.plain import fixed, plain
from smol_kernel.runs.failed_cells import table_difference

TOLERANCE = 1e-11
"""Relative difference of two numbers up to which they are the same: more than rounding makes in another order, and less
than the seconds since 1970 change in 20 ms."""
NOISE = 1e-14
"""Up to which size a number of an array or a column may stand for 0: as a share of the median there. It is what
rounding left of larger ones, which depends on how these lie in memory."""
LARGEST_NOISE = 1e-9
"""Up to which size at most, however large the others are."""
MANY = 20
"""Numbers from which on they may be taken to be of one kind: fewer may be a count beside a probability."""
ONE_KIND = 1e6
"""How many times the smallest the largest of them may be, noise aside: else there are amounts beside rates."""
MOST = 0.9
"""Share of them that are no noise."""
LEVELS = 3
"""Difference of two pixels in a channel, of 255, that counts for nothing."""
PIXELS = 5
"""Pixels that may differ by more: too few for another digit in a label."""
_AROUND, _BEFORE = 60, 20
"""Characters that are shown of two texts around their first difference, and how many of them stand before it."""
_WORKED_OUT = re.compile(
    r"^Date: {5,}\w{3}, \d\d \w{3} \d{4}(?= )|^Time: {5,}\d\d:\d\d:\d\d(?= )"
    r"|^Date: {5,}\d{4}-\d\d-\d\d \d\d:\d\d(?= )"
    r"|^(\[(?:CV|Parallel|Pipeline|ColumnTransformer|FeatureUnion|Voting)\b[^\n]{0,500}?"
    r"\b(?:total|total time|elapsed)[=:])"
    r" {0,9}[\d.]{1,9} ?(?:s|min)\b",
    re.MULTILINE,
)
"""When statsmodels worked a summary out, and how long scikit-learn took."""
_INTERVALS = ("Interval", "IntervalIndex", "IntervalArray")


def difference(was: Any, now: Any, place: str = "the answer") -> str:
    """In what `now` is another value than `was`, in words; empty if they are the same.

    Types count, and so does the order of lists, but not that of dicts and sets; NaN is the same as NaN.
    """
    if type(was) is not type(now):
        return f"{place} is {a_name(type(now))} where the run had {a_name(type(was))}"
    if isinstance(was, RemoteValue):
        return f"{place} cannot be compared: it is {a_name(type(was))}"
    kind = package(type(was))
    if kind in ("numpy", "pandas", "pyarrow", "PIL"):
        return _of_package(kind, was, now, place)
    if isinstance(was, (float, complex)):
        return "" if _close(was, now) else _another(was, now, place)
    if isinstance(was, (list, tuple)):
        return _of_sequences(was, now, place)
    if isinstance(was, dict):
        before, after = ({_key(key): value for key, value in each.items()} for each in (was, now))
        if before.keys() != after.keys() or not len(before) == len(was) == len(now):  # of several NaN one counts
            return f"{place} has other keys: {_short(list(now))} where the run had {_short(list(was))}"
        return next(
            filter(None, (difference(before[_key(k)], after[_key(k)], f"{place}[{_short(k)}]") for k in was)), ""
        )
    if isinstance(was, (set, frozenset)):
        return "" if len(was) == len(now) and set(map(_key, was)) == set(map(_key, now)) else _another(was, now, place)
    return "" if _key(was) == _key(now) else _another(was, now, place)


def _key(value: Any) -> Any:
    """What stands for a value where it has to be equal to itself, which NaN is not."""
    if isinstance(value, (tuple, frozenset)):
        return type(value)(map(_key, value)) if type(value) in (tuple, frozenset) else value
    is_nan = value.is_nan() if isinstance(value, Decimal) else isinstance(value, float) and math.isnan(value)
    return (type(value), "NaN") if is_nan else value


def _of_sequences(was: Any, now: Any, place: str) -> str:
    if len(was) != len(now):
        return f"{place} has {len(now)} items where the run had {len(was)}"
    pairs = enumerate(zip(was, now, strict=True))
    found = next(filter(None, (difference(*pair, f"{place}[{at}]") for at, pair in pairs)), "")
    if found and _same_items(was, now):
        return f"{place} has the same items in another order: {_short(now)} where the run had {_short(was)}"
    return found


def _same_items(was: Any, now: Any) -> bool:
    try:
        return sorted(map(repr, was)) == sorted(map(repr, now))
    except Exception:  # noqa: BLE001 - boundary: methods of any value's class
        return False


def _of_package(kind: str, was: Any, now: Any, place: str) -> str:
    if kind == "pandas":
        return _of_tables(was, now, place)
    if kind == "PIL":
        if (was.mode, was.size) != (now.mode, now.size):
            return f"{place} is another image: {now.mode} {now.size} where the run had {was.mode} {was.size}"
        return "" if same_pixels(was, now) else f"{place} is another image: its pixels differ"
    if kind == "pyarrow":
        return "" if was.equals(now) else f"{place} is another table"
    np = import_module("numpy")
    if isinstance(was, np.dtype):
        return "" if was == now else _another(was, now, place)
    if was.dtype != now.dtype or was.shape != now.shape:
        return f"{place} is {now.dtype} {now.shape} where the run had {was.dtype} {was.shape}"
    if was.dtype.kind == "O":
        return _of_sequences(was.ravel().tolist(), now.ravel().tolist(), place)
    if was.dtype.kind in "fc":
        same = bool((np.isclose(now, was, rtol=TOLERANCE, atol=0, equal_nan=True) | _are_noise(was, now)).all())
    elif was.dtype.kind in "mM":
        same = bool(((was == now) | (np.isnat(was) & np.isnat(now))).all())
    else:
        same = bool((was == now).all())
    return "" if same else _another(was, now, place)


def _of_tables(was: Any, now: Any, place: str) -> str:
    pd = import_module("pandas")
    kinds = {
        pd.DataFrame: "assert_frame_equal",
        pd.Series: "assert_series_equal",
        pd.Index: "assert_index_equal",
        pd.api.extensions.ExtensionArray: "assert_extension_array_equal",
    }
    name = next((each for kind, each in kinds.items() if isinstance(was, kind)), "")
    if type(was).__name__ in _INTERVALS and was.closed == now.closed:  # by their ends, with the tolerance
        names = [getattr(each, "names", None) for each in (was, now)]
        ends = ((getattr(was, end), getattr(now, end), f"{place}.{end}") for end in ("left", "right"))
        found = next(filter(None, (difference(*each) for each in ends)), "")
        return found if names[0] == names[1] else f"{place} has the names {names[1]} where the run had {names[0]}"
    if not name:  # a Timestamp, NaT, …
        return "" if was is now or was == now else _another(was, now, place)
    exact = {"rtol": TOLERANCE, "atol": 0.0, "check_exact": False}
    try:
        try:
            getattr(pd.testing, name)(was, now, **exact)
        except AssertionError:
            getattr(pd.testing, name)(was, _without_noise(was, now), **exact)
    except AssertionError as error:
        return f"{place} is another table: {table_difference(str(error), was, now)}"
    except Exception as error:  # noqa: BLE001 - boundary: what a table holds may refuse to be compared
        return f"{place} cannot be compared: {error!r:.200}"
    return difference(was.attrs, now.attrs, f"{place}.attrs") if hasattr(was, "attrs") else ""


def _are_noise(was: Any, now: Any) -> Any:
    """Of each number whether it stands for 0 in both."""
    np = import_module("numpy")
    sizes = np.abs(np.ma.compressed(was)).astype(float)
    sizes = sizes[np.isfinite(sizes) & (sizes != 0)]
    most = min(NOISE * float(np.median(sizes)), LARGEST_NOISE) if sizes.size >= MANY else 0.0
    others = sizes[sizes > most]
    if others.size < MOST * sizes.size or (others.size and others.max() > ONE_KIND * others.min()):
        most = 0.0
    return (np.abs(was) <= most) & (np.abs(now) <= most)


def _without_noise(was: Any, now: Any) -> Any:
    """The table with the numbers that there were, where it has others by no more than noise."""
    np, pd = import_module("numpy"), import_module("pandas")
    if isinstance(was, pd.Series):
        return _without_noise(was.to_frame(), now.to_frame()).iloc[:, 0].rename(now.name)
    if not isinstance(was, pd.DataFrame) or was.shape != now.shape:
        return now
    now = now.copy()
    for place, kinds in enumerate(zip(was.dtypes, now.dtypes, strict=True)):
        if kinds[0] == kinds[1] and isinstance(kinds[0], np.dtype) and kinds[0].kind in "fc":
            before, after = (each.iloc[:, place].to_numpy() for each in (was, now))
            now.isetitem(place, np.where(_are_noise(before, after), before, after))
    return now


def _close(was: complex, now: complex) -> bool:
    if isinstance(was, complex) or isinstance(now, complex):
        return all(_close(*pair) for pair in ((was.real, now.real), (was.imag, now.imag)))
    return (math.isnan(was) and math.isnan(now)) or math.isclose(was, now, rel_tol=TOLERANCE, abs_tol=0.0)


def _another(was: Any, now: Any, place: str) -> str:
    is_noise = all(isinstance(each, (float, complex)) and abs(each) < NOISE for each in (was, now))
    remark = " (both may be 0, but for rounding)" if is_noise else ""
    if isinstance(was, str) and isinstance(now, str):
        before, after = _around_the_first(was, now)
        return f"{place} is {after!r} where the run had {before!r}"
    return f"{place} is {_short(now)} where the run had {_short(was)}{remark}"


def _short(value: Any) -> str:
    return " ".join(ShortRepr().repr(value).split())


# texts


def text_difference(was: str, now: str) -> str:
    """What a text shows that another one did not, as a part of a sentence; empty if they say the same. Addresses and
    spaces do not count, nor the times at which statistics were worked out, as their libraries print them."""
    lines = [list(filter(None, map(_bare, _WORKED_OUT.sub(r"\1", plain(text)).splitlines()))) for text in (was, now)]
    if " ".join(lines[0]) == " ".join(lines[1]):
        return ""
    before, after = next(pair for pair in zip_longest(*lines, fillvalue="") if pair[0] != pair[1])
    before, after = (repr(each) if each else "nothing" for each in _around_the_first(before, after))
    return f"shows {after} where the run had {before}"


def _bare(line: str) -> str:
    return " ".join(fixed(line).split())


def _around_the_first(was: str, now: str) -> tuple[str, str]:
    """Of two texts what is around the first difference."""
    differing = (place for place, pair in enumerate(zip_longest(was, now)) if pair[0] != pair[1])
    start = max(next(differing, 0) - _BEFORE, 0)
    end = start + _AROUND
    was, now = (f"{'…' * bool(start)}{each[start:end]}{'…' * (len(each) > end)}" for each in (was, now))
    return was, now


# pictures


def same_pixels(was: Any, now: Any) -> bool:
    """Whether two images of one mode and size look the same."""
    chops = import_module("PIL.ImageChops")
    if was.mode not in ("L", "RGB", "RGBA"):
        was, now = was.convert("RGBA"), now.convert("RGBA")
    counts = chops.difference(was, now).histogram()
    channels = [counts[start : start + 256] for start in range(0, len(counts), 256)]
    return all(sum(channel[LEVELS + 1 :]) <= PIXELS for channel in channels)


def same_picture(was: bytes, now: bytes) -> bool:
    """Whether two image files show the same; without Pillow whether they are the same."""
    try:
        return was == now or look_the_same(was, now, MAX_PIXELS)
    except TooLarge:
        return False


def look_the_same(was: bytes, now: bytes, most: int) -> bool:
    """Whether two image files show the same. Raises TooLarge for one of more than `most` pixels."""
    try:
        first, second = opened(was, most=most), opened(now, most=most)
        return (first.mode, first.size) == (second.mode, second.size) and same_pixels(first, second)
    except TooLarge:
        raise
    except Exception:  # noqa: BLE001 - boundary: Pillow raises anything on data that is no image, or is not there
        return False


def pictures(data: Mapping[str, str]) -> list[bytes]:
    """The images among the forms of an output."""
    found: list[bytes] = []
    for kind in ("image/png", "image/jpeg"):
        try:
            found += [base64.b64decode(data[kind])] if kind in data else []
        except (binascii.Error, ValueError):
            found.append(data[kind].encode(errors="replace"))
    return found[:1]
