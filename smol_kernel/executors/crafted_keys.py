"""Keys of a dict or set that a child chose: put in so that such as were crafted to take long are refused in time.

Numbers hash to themselves, or nearly: some can be found that all walk the same long way through a table. `values` and
`sorted_levels` call this, in the child as well, into which it travels as source.
"""

from __future__ import annotations

import operator
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from . import values

SECONDS = 5.0
"""Processor time that the keys of one value may take, beyond SECONDS_EACH for each of them, ten times what is usual."""
SECONDS_EACH = 5e-6
FEW = 10_000
"""A table of so many can take no long time to grow."""
PIECE = 250


class _Spent(threading.local):
    seconds = 0.0


_spent = _Spent()


def begin() -> None:
    """Count anew in this thread."""
    _spent.seconds = 0.0


def checked(table: Any, items: list[Any]) -> Any:
    """As `filled`; refuses keys of which many share a hash: they take a time that grows with the square."""
    check_hashes([key for key, _ in items] if isinstance(table, dict) else items)
    return filled(table, items)


def check_hashes(keys: list[Any]) -> None:
    """Of keys that are no two equal."""
    if _are_texts(keys):
        return
    hashes = sorted(map(hash, keys))
    if sum(map(operator.eq, hashes, hashes[1:])) > 1000:
        values.refuse("too many keys of one hash")


def filled(table: Any, items: list[Any]) -> Any:
    """The empty dict or set with these pairs or items put in.

    One that grows moves all that it has to another table at one stretch, which nothing can interrupt. So that is tried
    before, in pieces: in a twin that has just grown and holds other keys, where each of them walks at least as far.
    """
    _spent.seconds -= SECONDS_EACH * len(items)
    if len(items) <= FEW or _are_texts([key for key, _ in items] if isinstance(table, dict) else items):
        _timed(table.update, items)
        return table
    place = 0
    for twin in _grown_twins(type(table)):
        while place < len(items) and (room := len(twin) - 1 - len(table)):
            piece = items[place : place + min(PIECE, room)]
            _timed(table.update, piece)
            place += len(piece)
        held = list(table)[:-8]  # with all of them it would grow again
        for start in range(0, len(held), PIECE):
            _timed(twin.update, _items(twin, held[start : start + PIECE]))
        if place == len(items):
            break
    return table


def _are_texts(keys: list[Any]) -> bool:
    """Whether nobody can choose their hashes: those of texts hold a random number of this process, unless a seed for it
    was given."""
    return os.environ.get("PYTHONHASHSEED", "random") in ("", "random") and all(type(key) is str for key in keys)


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


def _timed(put: Any, items: Any) -> None:
    begun = time.thread_time()
    put(items)
    _spent.seconds += time.thread_time() - begun
    if _spent.seconds > SECONDS:
        values.refuse("keys that take too long to be told apart")
