"""Keys of a dict or set that a child chose: put in so that such as were crafted to take long are refused in time.

Numbers hash to themselves, or nearly: some can be found that all walk the same long way through a table. `values` and
`sorted_levels` call this, in the child as well, into which it travels as source.
"""

from __future__ import annotations

import math
import operator
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, compress, repeat
from typing import Any

from . import values

SECONDS = 5.0
"""Processor time that the keys of one value may take, beyond SECONDS_EACH for each of them, ten times what is usual."""
SECONDS_EACH = 5e-6
FEW = 10_000
"""A table of so many can take no long time to grow."""
PIECE = 250
"""Short keys that are put in at one stretch, or fewer that are long."""
MOST_WEIGHT = 10_000_000
"""Of keys that share a hash, each compared with each."""
MOST_BITS = 10_000
"""Of an integer in a key, unless it is trusted: to compare it with a Decimal takes a time that grows with their
square."""


class _Spent(threading.local):
    seconds, most_bits = 0.0, math.inf


_spent = _Spent()


def begin(trusted: bool = False) -> None:
    """Count anew in this thread."""
    _spent.seconds, _spent.most_bits = 0.0, math.inf if trusted else MOST_BITS


def checked(table: Any, items: list[Any]) -> Any:
    """As `filled`; refuses keys of which many share a hash: they take a time that grows with the square."""
    check_hashes([key for key, _ in items] if isinstance(table, dict) else items)
    return filled(table, items)


def check_hashes(keys: list[Any]) -> None:
    """Of keys that are no two equal."""
    if _are_texts(keys):
        return
    hashes = sorted(map(hash, keys))
    found = list(compress(hashes, map(operator.eq, hashes, hashes[1:])))
    shared = Counter(found) if found else {}
    if len(found) > 1000 or (shared and sum(shared.get(hash(key), 0) * weight(key) for key in keys) > MOST_WEIGHT):
        values.refuse("too many keys of one hash")


def filled(table: Any, items: list[Any]) -> Any:
    """The empty dict or set with these pairs or items put in.

    It is done in pieces, for nothing can interrupt one. A table that grows moves all that it has to another at one
    stretch: that is tried before, in a twin that has just grown and holds other keys, where each of them walks at least
    as far.
    """
    _spent.seconds -= SECONDS_EACH * len(items)
    keys = [key for key, _ in items] if isinstance(table, dict) else items
    if _are_texts(keys):
        _timed(table.update, items)
        return table
    weigh = _weigher(keys)
    if len(items) <= FEW:
        _put(table, items, keys, weigh)
        return table
    place = 0
    for twin in _grown_twins(type(table)):
        room = max(len(twin) - 1 - len(table), 0)
        while place < len(items) and room:
            end = min(place + room, len(items))
            _put(table, items[place:end], keys[place:end], weigh)
            place, room = end, max(len(twin) - 1 - len(table), 0)
        held = list(table)[:-8]  # with all of them it would grow again
        _put(twin, list(_items(twin, held)), held, weigh)
        if place == len(items):
            break
    return table


def are_short(keys: list[Any]) -> bool:
    """Whether they can be sorted without an eye on the clock."""
    return _are_texts(keys) or max(map(_weigher(keys), keys), default=1) < 10


class Compared:
    """An item while it is sorted: what compares it looks at the clock."""

    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item

    def __lt__(self, other: Compared) -> bool:
        return _timed(operator.lt, self.item, other.item)


def _are_texts(keys: list[Any]) -> bool:
    """Whether nobody can choose their hashes: those of texts hold a random number of this process, unless a seed for it
    was given."""
    return os.environ.get("PYTHONHASHSEED", "random") in ("", "random") and all(type(key) is str for key in keys)


def _put(table: Any, items: list[Any], keys: list[Any], weigh: Callable[[Any], int]) -> None:
    """Put them in, as many at a time as may be."""
    start = total = 0
    if weigh is _one and len(items) <= PIECE:
        _timed(table.update, items)
        return
    for place, each in enumerate(repeat(1, len(keys)) if weigh is _one else map(weigh, keys)):
        total += each
        if place > start and total > PIECE:
            _timed(table.update, items[start:place])
            start, total = place, each
    _timed(table.update, items[start:])


def _weigher(keys: list[Any]) -> Callable[[Any], int]:
    """What tells how much each of these weighs, in tens: by its length alone if they are of the usual kinds, or tuples
    and sets of such."""
    holders = set(map(type, keys)) & {tuple, frozenset}

    def parts() -> Iterator[Any]:
        return chain.from_iterable(key if type(key) in holders else (key,) for key in keys) if holders else iter(keys)

    kinds = set(map(type, parts()))
    if not kinds <= {str, int, float, bool, type(None)}:
        return lambda key: 1 + weight(key) // 10
    if int in kinds:
        numbers = parts() if kinds == {int} else (part for part in parts() if type(part) is int)
        if max(map(int.bit_length, numbers)) > 127:
            return lambda key: 1 + weight(key) // 10
    return _by_length if holders else _one


def _one(key: Any) -> int:
    return 1


def _by_length(key: Any) -> int:
    kind = type(key)
    return 1 + (len(key) if kind is tuple else (1 + len(key)) ** 2 if kind is frozenset else 0) // 10


def weight(key: Any) -> int:
    """How many short keys take as long to be compared. Refuses integers that are too long."""
    kind = type(key)
    if kind is tuple:
        return 1 + sum(map(weight, key))
    if kind is frozenset:  # its items are looked for in the other, and may all walk the same way
        return (1 + _timed(sum, map(weight, key))) ** 2  # one in another is weighed again with that
    if kind is int:
        if (bits := key.bit_length()) > _spent.most_bits:
            values.refuse(f"an integer of {bits:,} bits in a key or label, the limit is {MOST_BITS:,}")
        return 1 + (bits >> 7) ** 2
    ends = [key.left, key.right] if kind.__name__ == "Interval" else []
    return 1 + (sys.getsizeof(key) >> 6) + sum(map(weight, ends))


def _grown_twins(kind: type) -> Iterator[Any]:
    """Tables of random keys, each at the moment when it has grown; a larger one each time."""
    noise, chance = list[int](), random.Random()  # not that which an action may have seeded
    while True:
        more = len(noise) - 4 if noise else FEW  # it grows at twice as many or later, but for what is rounded
        noise += [chance.getrandbits(61) for _ in range(more)]
        twin = kind(_items(kind(), noise))
        size = sys.getsizeof(twin)
        while sys.getsizeof(twin) == size:
            noise.append(chance.getrandbits(61))
            twin.update(_items(twin, noise[-1:]))
        yield twin


def _items(table: Any, keys: list[Any]) -> Any:
    return zip(keys, keys, strict=True) if isinstance(table, dict) else keys


def _timed(work: Any, *given: Any) -> Any:
    begun = time.thread_time()
    done = work(*given)
    _spent.seconds += time.thread_time() - begun
    if _spent.seconds > SECONDS:
        values.refuse("keys that take too long to be told apart")
    return done
