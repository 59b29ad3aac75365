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
from collections.abc import Iterator
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
"""Of an integer in a key, unless it is trusted: to compare it with a Decimal takes a
time that grows with their square."""


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
    shared = Counter(compress(hashes, map(operator.eq, hashes, hashes[1:])))
    if shared.total() > 1000 or (shared and sum(shared[hash(key)] * weight(key) for key in keys) > MOST_WEIGHT):
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
    weights = _timed(_weights, keys)
    if len(items) <= FEW:
        _put(table, items, weights)
        return table
    place = 0
    for twin in _grown_twins(type(table)):
        room = max(len(twin) - 1 - len(table), 0)
        while place < len(items) and room:
            end = min(place + room, len(items))
            _put(table, items[place:end], weights[place:end])
            place, room = end, max(len(twin) - 1 - len(table), 0)
        held = list(table)[:-8]  # with all of them it would grow again
        _put(twin, list(_items(twin, held)), _timed(_weights, held) if weights else [])
        if place == len(items):
            break
    return table


def are_short(keys: list[Any]) -> bool:
    """Whether they can be sorted without an eye on the clock."""
    return _are_texts(keys) or max(_weights(keys), default=1) < 10


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


def _put(table: Any, items: list[Any], weights: list[int]) -> None:
    """Put them in, as many at a time as may be; without weights all are short."""
    start = total = 0
    for place, each in enumerate(weights or repeat(1, len(items))):
        total += each
        if place > start and total > PIECE:
            _timed(table.update, items[start:place])
            start, total = place, each
    _timed(table.update, items[start:])


def _weights(keys: list[Any]) -> list[int]:
    """What each weighs; none where all are short, which of the usual kinds is told at once."""
    parts = keys
    if tuple in map(type, keys) and max(len(key) for key in keys if type(key) is tuple) < 10:
        parts = list(chain.from_iterable(key if type(key) is tuple else (key,) for key in keys))
    if set(map(type, parts)) <= {str, int, float, bool, type(None)}:
        numbers = [part for part in parts if type(part) is int]
        if not numbers or (max(numbers) < 1 << 127 and min(numbers) > -1 << 127):
            return []
    return [1 + weight(key) // 10 for key in keys]


def weight(key: Any) -> int:
    """How many short keys take as long to be compared. Refuses integers that are too long."""
    kind = type(key)
    if kind is tuple:
        return 1 + sum(map(weight, key))
    if kind is frozenset:  # its items are looked for in the other, and may all walk the same way
        return (1 + sum(map(weight, key))) ** 2
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
