"""A child that harms its host below the messages: by bytes that are no ZMTP, by sizes, by floods, by not reading."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import struct
import time

import fuzz
import guard
import pytest
from peer import KEY, message
from test_fuzz import SEED, cases

from smol_kernel.errors import ChildDiedError
from smol_kernel.events import ToolReturned
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.transports.zmq import MAX_MESSAGE, ZmqTransport
from smol_kernel.executors.values import decode
from smol_kernel.tools import tool

FULL = os.environ.get("SMOL_ATTACKS") == "full"
MEBIBYTE = 1 << 20
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB"
HELLO = GREETING + READY


class Enemy:
    """Listens as a kernel does, on bare sockets; `ends` are those of the connections, by channel."""

    def __init__(self, folder) -> None:
        channels = ("shell", "iopub", "stdin", "control")
        ports = {f"{channel}_port": place for place, channel in enumerate(channels, 1)}
        connection = {"transport": "ipc", "ip": str(folder / "k"), "key": KEY.decode(), **ports}
        listeners = {}
        for channel in channels:
            listeners[channel] = socket.socket(socket.AF_UNIX)
            listeners[channel].bind(f"{connection['ip']}-{ports[f'{channel}_port']}")
            listeners[channel].listen()
        self.transport = ZmqTransport({**connection, "signature_scheme": "hmac-sha256"}, None, lambda: True)
        self.ends = {channel: listener.accept()[0] for channel, listener in listeners.items()}
        for channel in channels:
            listeners[channel].close()
            self.ends[channel].setblocking(False)

    def pour(self, channel, data, seconds=30) -> list:
        """Send bytes as fast as they are taken, and have the host read. Gives the messages; raises ChildDiedError."""
        view, got = memoryview(data), []
        deadline = time.monotonic() + seconds
        while view and time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                view = view[self.ends[channel].send(view) :]
            got += self.transport.receive(0)
        return got + self.transport.receive(0.05)

    def close(self) -> None:
        self.transport.close()
        for end in self.ends.values():
            end.close()


@pytest.fixture
def enemy(tmp_path_factory):
    enemy = Enemy(tmp_path_factory.mktemp("k"))
    yield enemy
    enemy.close()


def framed(parts, last=True):
    """Parts as frames; without the last one's end there are more to come."""
    data = list[bytes]()
    for place, part in enumerate(parts):
        more = 0 if last and place == len(parts) - 1 else 1
        head = struct.pack(">BB", more, len(part)) if len(part) < 256 else struct.pack(">BQ", more | 2, len(part))
        data += head, part
    return b"".join(data)


SOUND = framed(message("p", "stream", b'{"name": "stdout", "text": "x"}'))


def test_sound_bytes_are_read_however_they_come(enemy):
    assert [one.content["text"] for one in enemy.pour("iopub", HELLO + SOUND)] == ["x"]
    second = framed([b"topic", *message("p", "stream", b'{"text": "' + b"y" * 300_000 + b'"}')])
    got = []
    for place in range(0, len(second), 1777):
        enemy.ends["iopub"].send(second[place : place + 1777])
        got += enemy.transport.receive(0)
    assert [len(one.content["text"]) for one in got] == [300_000]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" * 10,
        GREETING.replace(b"NULL\0", b"PLAIN"),
        GREETING[:10] + b"\1" + bytes(200),
        GREETING + SOUND,
        HELLO + b"\xf8\0",
        HELLO + b"\x05\x01x",
        HELLO + b"\x02" + struct.pack(">Q", 2**63),
        HELLO + b"\x06" + struct.pack(">Q", 2**40),
        HELLO + framed([b""] * 100),
        HELLO + framed([b"x"] * 100, last=False),
        HELLO + framed([bytes(MEBIBYTE)] * 40, last=False),
        HELLO + framed([b"no message"]),
    ],
    ids=range(12),
)
def test_what_is_not_in_the_protocol_is_the_end_of_the_child(enemy, data):
    peak = guard.Peak()
    peak.begin()
    with pytest.raises(ChildDiedError):
        enemy.pour("iopub", data)
    assert peak.bytes < 110 * MEBIBYTE  # of a message of 32 at most: what was read, a copy with more room, its parts


def test_a_long_message_that_never_ends_takes_no_more_than_has_come(enemy):
    peak = guard.Peak()
    peak.begin()
    enemy.pour("shell", HELLO + b"\x02" + struct.pack(">Q", 127 * MEBIBYTE))
    for _ in range(2_000):
        enemy.pour("shell", b"x") if _ % 100 == 0 else enemy.ends["shell"].send(b"x")
    assert peak.bytes < 8 * MEBIBYTE
    assert enemy.transport.receive(0) == []


MANY = list(itertools.product(MAX_MESSAGE, ['"aa",', "{},", '{"a":{}},', "[[]],", "1000,"]))
"""Pairs of channel and item; each fourth of them has every channel and every item."""


@pytest.mark.parametrize(("channel", "item"), MANY if FULL else MANY[::4])
def test_many_small_items_are_refused_before_they_are_read(enemy, channel, item):
    items = item * (MAX_MESSAGE[channel] // len(item) - 1_000)
    long = framed(message("p", "status", f'{{"data": [{items}0]}}'.encode()))
    peak = guard.Peak()
    peak.begin()
    with pytest.raises(ChildDiedError, match="too many parts"):
        enemy.pour(channel, HELLO + long)
    assert peak.bytes < 700 * MEBIBYTE  # this test's own copies among it


def test_what_nobody_reads_is_not_parsed(enemy):
    items = '"aa",' * (6 * MEBIBYTE)
    (one,) = enemy.pour("iopub", HELLO + framed(message("p", "comm_msg", f'{{"data": [{items}0]}}'.encode())))
    assert (one.type, one.content) == ("comm_msg", {})


@pytest.mark.parametrize(
    "given",
    ["1.5,2.5,[3]\n" * 2_000_000, '{"a": "b", "c": "\\\\"}\n' * 1_000_000, [n * 1.1 for n in range(1_000_000)]],
    ids=["a table as text", "quotes", "numbers"],
)
def test_long_texts_and_a_million_numbers_are_read(enemy, given):
    (one,) = enemy.pour("stdin", HELLO + framed(message("p", "input_request", json.dumps({"smol": given}).encode())))
    assert one.content["smol"] == given


def test_commands_without_end_take_no_memory(enemy):
    peak = guard.Peak()
    peak.begin()
    assert enemy.pour("iopub", HELLO + (b"\x04\xff\x04PING" + bytes(250)) * 40_000) == []
    assert peak.bytes < 40 * MEBIBYTE  # this test's own bytes among it
    assert len(enemy.pour("iopub", SOUND)) == 1


def test_who_does_not_read_what_he_is_sent_is_dead_before_it_fills_the_host(enemy):
    enemy.pour("stdin", HELLO)
    big = {"value": "x" * (40 * MEBIBYTE)}
    peak = guard.Peak()
    peak.begin()
    with pytest.raises(ChildDiedError, match="does not read"):  # noqa: PT012 - which of them fails, the system decides
        for _ in range(20):
            enemy.transport.send("stdin", "input_reply", big)
    assert peak.bytes < 500 * MEBIBYTE


@pytest.mark.parametrize("channel", MAX_MESSAGE)
def test_hanging_up_is_the_end_and_what_was_said_before_is_read(enemy, channel):
    for end in enemy.ends.values():
        end.send(HELLO)
    enemy.ends["iopub"].send(SOUND)
    enemy.ends[channel].close()
    assert len(enemy.transport.receive(5)) == 1
    with pytest.raises(ChildDiedError, match="ended by itself"):
        enemy.transport.receive(5)


def test_bytes_at_random(tmp_path_factory):
    """Sound streams, damaged."""
    folder = tmp_path_factory.mktemp("r")
    whole = HELLO + SOUND * 2 + framed([b"t", *message("p", "status", b"{}")])
    for number, rng in cases("bytes_at_random", 100):
        case = folder / str(number)
        case.mkdir()
        enemy = Enemy(case)
        peak = guard.Peak()
        peak.begin()
        try:
            data = fuzz.flipped(rng, whole) if rng.random() < 0.8 else HELLO + rng.randbytes(500)
            with guard.Guard() as watch:
                got = enemy.pour(rng.choice(list(MAX_MESSAGE)), data)
            assert all(isinstance(one.content, dict) for one in got)
        except ChildDiedError:
            pass
        finally:
            enemy.close()
        assert not watch.deeds, (SEED, number, watch.deeds)
        assert peak.bytes < 16 * MEBIBYTE, (SEED, number)


# a real child


@tool
def linger() -> str:
    """Takes a while on the thread that reads what the child sends."""
    time.sleep(1.5)
    return "done"


@tool
async def same(n: int) -> int:
    """Gives it back.

    Args:
        n: A number.
    """
    return n


@pytest.fixture(scope="module")
def kernel():
    executor = KernelExecutor(timeout_seconds=60)
    executor.send_tools({"linger": linger, "same": same})
    list(executor.run("import threading, time, zmq"))
    yield executor
    executor.cleanup()


FLOODS = {
    "long messages": 'kernel.session.send(socket, "stream", {"name": "stdout", "text": "x" * (8 << 20)}, parent)',
    "parts": 'socket.send(b"x" * (1 << 20), zmq.SNDMORE)',
    "small messages": 'kernel.session.send(socket, "stream", {"name": "stdout", "text": "x"}, parent)',
    "calls": 'kernel.session.send(kernel.stdin_socket, "input_request", {"smol": call}, parent, ident=ident)',
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_while_the_host_is_busy_stays_in_the_child(kernel, flood):
    code = f"""
kernel = get_ipython().kernel
parent, ident, socket = kernel.get_parent(), kernel._parent_ident["shell"], kernel.iopub_thread.socket
call = {{"id": 7, "tool": "same", "args": ["x" * (1 << 20)], "kwargs": {{}}}}
def work():
    start = time.monotonic()
    while time.monotonic() - start < 1.5:
        {flood}
flood = threading.Thread(target=work, daemon=True)
flood.start()
linger()
"""
    peak = guard.Peak()
    peak.begin()
    list(kernel.run(code))
    assert peak.bytes < 160 * MEBIBYTE
    kernel.restart()
    assert decode(list(kernel.run("import threading, time, zmq\n1 + 1"))[-1].value) == 2


def test_any_number_of_calls_in_flight_is_answered(kernel):
    code = "import asyncio\nlate = threading.Thread(target=linger)\nlate.start()\n"
    code += (
        "found = await asyncio.gather(*[same.aio(n) for n in range(2_000)])\nlate.join()\nfound == list(range(2_000))"
    )
    events = list(kernel.run(code))
    assert decode(events[-1].value) is True, events[-1]
    assert sum(isinstance(event, ToolReturned) for event in events) == 2_001
