"""Hostile data, made at random, for all that reads what a child sends: no crash, no growth, no execution.

`SMOL_ATTACKS=full` tries twenty times as many cases. `SMOL_FUZZ_SEED` gives the seed, which is random otherwise;
with `SEED:NUMBER` it is that case alone. What fails names both.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import os
import random
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fuzz
import guard
import pytest
from peer import DONE, IDLE, Peer, message

from smol_kernel.errors import ChildDiedError, ExecutorError
from smol_kernel.events import ActionFinished, Event, ToolCalled, ToolReturned
from smol_kernel.executors import lookup, outcome, readings
from smol_kernel.executors.action import Action
from smol_kernel.executors.pictures import observed_images
from smol_kernel.executors.transports import Message
from smol_kernel.executors.transports.zmq import MAX_MESSAGE
from smol_kernel.executors.values import MalformedValue, decode
from smol_kernel.parsing import has_too_many_parts
from smol_kernel.tools import Tool, tool

SEED, _, ONLY = (os.environ.get("SMOL_FUZZ_SEED") or str(random.SystemRandom().randrange(10**9))).partition(":")
FULL, TIMES = os.environ.get("SMOL_ATTACKS") == "full", 20
pytestmark = pytest.mark.timeout(1_800 if FULL else 180)
ROOM, FACTOR = 48 << 20, 40
"""Bytes that reading anything may take at its peak, and how many more for each byte of it."""
BOMB = 450 << 20
"""Bytes that images may take: the pixels that one value may have, twice."""


def cases(name: str, sample: int) -> Iterator[tuple[int, random.Random]]:
    """So many cases (in the full tier TIMES as many), each with its own source of randomness."""
    assert importlib.resources  # loaded beforehand: time zones need it
    for number in [int(ONLY)] if ONLY else range(sample * (TIMES if FULL else 1)):
        yield number, random.Random(f"{SEED}:{name}:{number}")


@contextmanager
def harmless(name: str, number: int, size: int, bombs: bool = False) -> Iterator[None]:
    """What runs in it must neither raise, nor do anything but compute, nor take more memory than its input warrants."""
    peak = guard.Peak()
    peak.begin()
    watch = guard.Guard()
    try:
        with watch:
            yield
        problem = f"it did {watch.deeds[0]}" if watch.deeds else ""
        limit = ROOM + FACTOR * size + (BOMB if bombs else 0)
        if peak.bytes > limit:
            problem = f"it took {peak.bytes:,} bytes for an input of {size:,}"
        assert not problem, problem
    except BaseException as error:
        path = os.path.relpath(__file__)
        replay = f"SMOL_FUZZ_SEED={SEED}:{number} pytest {path}::test_{name}"
        raise AssertionError(
            f"case {number} of seed {SEED}: {type(error).__name__}: {error}"[:2_000] + f"\n{replay}"
        ) from error


def size_of(data: Any) -> int:
    try:
        return len(json.dumps(data))
    except (TypeError, ValueError, RecursionError):
        return 0


def as_sent(data: Any) -> tuple[dict[str, Any], int]:
    """The data as the host's reader of JSON gives it, empty if it is no dict, and the size it had."""
    text = fuzz.text(data)
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = {}
    return read if isinstance(read, dict) else {}, len(text)


def is_read(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict) and len(text) < 1_000_000
    except (ValueError, RecursionError):
        return False


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that read hostile data
        yield


@pytest.fixture(scope="module", autouse=True)
def _warm():
    """Whatever loads lazily is loaded before anything is watched."""
    for data in fuzz.corpus():
        decode(data)


# values


def test_values():
    seen: Counter[str] = Counter()
    for number, rng in cases("values", 1_500):
        data = fuzz.value(rng)
        with harmless("values", number, size_of(data), bombs=True):
            try:
                decode(data)
                seen["read"] += 1
            except MalformedValue as error:
                assert len(str(error)) < 600  # noqa: PT017 - it may as well be read
                seen["refused"] += 1
    assert ONLY or (seen["read"] > 50 and seen["refused"] > 50), seen  # both sides of the border were tried


def test_text_of_values():
    """The same after a change in the text, where keys can come twice."""
    for number, rng in cases("text_of_values", 500):
        text = json.dumps(rng.choice(fuzz.corpus())).encode()
        text = fuzz.flipped(rng, text).replace(b'"v":', rng.choice((b'"v":', b'"v": 1, "v":', b'"$": "set", "v":')))
        own = contextlib.suppress(MalformedValue, ValueError)  # the second is json's
        with harmless("text_of_values", number, len(text), bombs=True), own:
            decode(json.loads(text))


# what the client reads


def test_readings():
    for number, rng in cases("readings", 400):
        channel, type, data = fuzz.reply(rng) if rng.random() < 0.3 else fuzz.content(rng, {"plain": [1]})
        data, size = as_sent(data)
        with harmless("readings", number, size):
            reading = readings.read(Message(channel, type, "p", data))
            assert reading is None or isinstance(reading, readings.Reading)
            if isinstance(reading, readings.Replied):
                assert isinstance(reading.report, dict) and isinstance(reading.error, str)


def test_lookups():
    for number, rng in cases("lookups", 200):
        (told, size), (report, more) = as_sent(fuzz.lookup(rng)), as_sent(fuzz.report(rng))
        with harmless("lookups", number, size + more, bombs=True):
            found = lookup.completions(told, 3, 5)
            assert 0 <= found["cursor_start"] <= 5 and all(isinstance(word, str) for word in found["matches"])
            assert isinstance(json.dumps(found), str)
            assert set(lookup.help_text(told)["data"]) <= {"text/plain"}
            assert all(isinstance(ok, bool) and isinstance(why, str) for ok, why in outcome.verdicts(report))
            try:
                lookup.variable(report, "x")
            except (KeyError, ExecutorError) as error:
                assert len(str(error)) < 200_000  # noqa: PT017 - it may as well be there


# messages


class Peers:
    """A peer; another one once that broke the protocol, after which nobody listens to it."""

    def __init__(self) -> None:
        self.now = Peer()

    def fresh(self) -> None:
        self.now.end()
        self.now = Peer()


@pytest.fixture(scope="module")
def peers():
    peers = Peers()
    yield peers
    peers.now.end()


def test_messages(peers):
    for number, rng in cases("messages", 500):
        channel, type, data = fuzz.content(rng, {"plain": [1]})
        text = fuzz.text(data)
        frames, sound = fuzz.frames(rng, Peer.sign, type, "parent", text)
        size = sum(map(len, frames))
        if size > MAX_MESSAGE[channel] - 50_000 or has_too_many_parts(text, MAX_MESSAGE[channel]):
            continue  # too long there, or too much, which `test_hostile_wire` tries
        peers.now.send(channel, frames)
        with harmless("messages", number, size):
            got: list[Message] = []
            try:
                while not got:
                    got = peers.now.transport.receive(10)
            except ChildDiedError as error:
                told = str(error)
                assert len(told) < 400 and not (sound and as_sent(data)[0]), told
            for one in got:
                assert (one.channel, isinstance(one.type, str), one.size) == (channel, True, size)
                assert isinstance(one.parent, str) and isinstance(one.content, dict)
        if not got and "broke the protocol" in told:
            peers.fresh()


# whole actions, and the calls in them


class Choosy(Tool):
    name = "choosy"
    description = "Takes one of three numbers."
    inputs = {"a": {"type": "integer", "description": "1, 2 or 3", "enum": [1, 2, 3]}}  # noqa: RUF012
    output_type = "integer"

    def forward(self, a):
        return noted("choosy", a in (1, 2, 3) and not isinstance(a, bool), a)


made: Counter[str] = Counter()
"""Calls that were made."""
wrong: list[str] = []
"""Those of them that no schema allows."""


def noted(name: str, fits: bool, result: Any) -> Any:
    made[name] += 1
    if not fits:
        wrong.append(f"{name} got {result!r:.200}")
    return result


@tool
def plain(a: int, b: str = "x") -> str:
    """Plain.

    Args:
        a: A number.
        b: A text.
    """
    return noted("plain", type(a) is int and isinstance(b, str), b)


@tool(threaded=True)
def threaded(a: list[int]) -> object:
    """In the pool.

    Args:
        a: Numbers.
    """
    is_list = isinstance(a, (list, tuple))  # what an array or a table holds is not looked at
    return noted("threaded", not is_list or all(isinstance(item, int) or hasattr(item, "dtype") for item in a), a)


@tool
async def flagged(flag: bool) -> bool:
    """On the loop.

    Args:
        flag: Yes or no.
    """
    return noted("flagged", flag in (True, False), flag)


def loose(a, b=1):
    """A function without types."""
    return noted("loose", True, a)


TOOLS: dict[str, Callable[..., Any]] = {t.name: t for t in (plain, threaded, flagged, Choosy())} | {"loose": loose}


FITTING: fuzz.Tools = {"plain": [1, "x"], "threaded": [[1, 2]], "flagged": [True], "choosy": [2], "loose": [None]}


def act(peer: Peer, send: Callable[[], str]) -> tuple[Action, list[Event]]:
    """One action: `send` gives the id of its request."""
    action = peer.action(TOOLS, lambda prompt, password: "an answer")
    return action, list(action.run(send))


def test_actions(peers):
    asked = answered = 0
    others = set(threading.enumerate())  # of tests before this one, in the same process
    for number, rng in cases("actions", 100):
        peer = peers.now
        messages = [fuzz.content(rng, FITTING) for _ in range(rng.choice((1, 5, 30)))]
        messages = [(channel, type, fuzz.text(data)) for channel, type, data in messages]
        messages = [one for one in messages if is_read(one[2]) or rng.random() < 0.02]  # what is not is the end
        ends = [fuzz.reply(rng) if rng.random() < 0.7 else DONE, IDLE]
        ends = [(channel, type, data if isinstance(data, bytes) else fuzz.text(data)) for channel, type, data in ends]
        for _ in range(rng.choice((0, 0, 0, 1))):  # a second reply, or one that comes too early
            messages.insert(rng.randrange(len(messages) + 1), rng.choice(ends))
        asked += sum(channel == "stdin" or type in ("smol_leaving", "input_request") for channel, type, _ in messages)

        def send(messages=messages, ends=ends, rng=rng, peer=peer) -> str:
            request = peer.client.execute("code", 1, 20_000)
            whole = []
            for channel, type, data in messages:
                parent = rng.choice((request, request, request, request, "", "another"))
                broken = rng.random() < 0.01
                frames = fuzz.frames(rng, peer.sign, type, parent, data)[0] if broken else message(parent, type, data)
                whole.append((channel, frames))
            peer.play(request, whole, [(channel, message(request, type, data)) for channel, type, data in ends])
            return request

        size = sum(len(data) for _, _, data in [*messages, *ends])
        with harmless("actions", number, size, bombs=True):
            action, events = act(peer, send)
            finished = outcome.finished(action, ["known"])
            told = json.dumps([event.to_dict() for event in [*events, finished]])
            assert len(told) < 10 * size + 4_000_000
            check_events(events)
            check_finished(finished)
            observed_images(events)
        answered += len(peer.answers())
        if action.died:
            peers.fresh()
        assert not wrong, (SEED, number, wrong)
        assert len(set(threading.enumerate()) - others) < 60
    assert answered <= asked
    assert ONLY or set(made) == set(TOOLS), made  # each was called in its right form, too


def check_events(events: list[Event]) -> None:
    called = [event.call for event in events if isinstance(event, ToolCalled)]
    returned = [event.call for event in events if isinstance(event, ToolReturned)]
    assert len(set(called)) == len(called)
    assert sorted(called) == sorted(returned)
    assert {event.tool for event in events if isinstance(event, ToolCalled)} <= {*TOOLS, "input"}


def check_finished(finished: ActionFinished) -> None:
    assert finished.status in ("ok", "error", "died")
    assert 0 <= finished.completed < 2**31
    assert all(name.isidentifier() for name in finished.names)
    decode(finished.value)
    for text in (finished.value_text, finished.logs, finished.error or "", finished.traceback):
        assert "\x1b" not in text and "\u202e" not in text
