"""A child that speaks the protocol to harm its host: what random data (`test_fuzz`) found, and what it would not."""

from __future__ import annotations

import json
import threading
from collections import Counter

import pytest
from peer import DONE, IDLE, Peer, message

from smol_kernel.events import ToolCalled, ToolReturned
from smol_kernel.executors import outcome
from smol_kernel.tools import Tool, tool

MEBIBYTE = 1 << 20


class Choosy(Tool):
    name = "choosy"
    description = "Takes one of three numbers."
    inputs = {"a": {"type": "any", "description": "1, 2 or 3", "enum": [1, 2, 3]}}  # noqa: RUF012
    output_type = "integer"

    def forward(self, a):
        return a


@tool
def count(n: int) -> int:
    """Counts.

    Args:
        n: A number.
    """
    counted[n] += 1
    return n


@tool(threaded=True)
def hold(n: object) -> object:
    """Holds on.

    Args:
        n: Anything.
    """
    release.wait(60)
    return "done"


counted: Counter[int] = Counter()
release = threading.Event()
TOOLS = {"choosy": Choosy(), "count": count, "hold": hold}


@pytest.fixture
def peer():
    counted.clear()
    release.clear()
    peer = Peer()
    yield peer
    release.set()
    peer.end()


def act(peer, *messages, ask_person=None, each=lambda event: None):
    """The events of an action whose child sends these, each (channel, type, content), the last two when the host has
    read the others. Its outcome last."""

    def send():
        peer.request = peer.client.execute("code", 1, 20_000)
        whole = [encoded(peer.request, *message) for message in messages]
        peer.play(peer.request, whole[:-2], whole[-2:])
        return peer.request

    action = peer.action(TOOLS, ask_person)
    events = []
    for event in action.run(send):
        events.append(event)
        each(event)
    peer.answered = peer.answers()
    events.append(outcome.finished(action, []))
    for event in events:
        assert json.dumps(event.to_dict())
    return events


def encoded(request, channel, kind, content):
    return channel, message(request, kind, content if isinstance(content, bytes) else json.dumps(content).encode())


def call(tool="count", *args, **more):
    request = {"id": 1, "tool": tool, "args": list(args), "kwargs": {}, "printed": False, **more}
    return ("stdin", "input_request", {"prompt": "", "password": False, "smol": request})


def nested(depth, inside="1"):
    return f"{'[' * depth}{inside}{']' * depth}"


# ids


@pytest.mark.parametrize("number", ["NaN", "-Infinity", nested(700), '"x"', "[1]", "{}", "true", "1.5", "1" * 4000])
@pytest.mark.parametrize("kind", ["call", "wrong call", "leaving", "input", "stale"])
def test_an_id_that_is_none_is_answered_without_it_or_not_at_all(peer, number, kind):
    request = {
        "call": f'{{"id": {number}, "tool": "count", "args": [1], "kwargs": {{}}}}',
        "wrong call": f'{{"id": {number}, "tool": "nothing", "args": [], "kwargs": {{}}}}',
        "leaving": f'{{"id": {number}, "leaving": true}}',
        "input": f'{{"id": {number}, "input": true}}',
        "stale": f'{{"id": {number}}}',
    }[kind].encode()
    if kind == "stale":
        peer.tell("another", "stdin", "input_request", b'{"smol": %s}' % request)
    channel = ("iopub", "smol_leaving") if kind == "leaving" else ("stdin", "input_request")
    content = request if kind == "leaving" else b'{"prompt": "", "smol": %s}' % request
    *_, finished = act(peer, (*channel, content), DONE, IDLE)
    assert finished.status == "ok"
    assert all("smol" not in answer for answer in peer.answered)
    assert not counted


def test_an_id_used_twice_is_two_calls_and_each_gets_one_answer(peer):
    events = act(peer, call("count", 1), call("count", 2), call("count", 1), DONE, IDLE)
    assert [event.value for event in events if isinstance(event, ToolReturned)] == [1, 2, 1]
    assert [answer["smol"] for answer in peer.answered] == [{"ok": True, "value": n, "id": 1} for n in (1, 2, 1)]


# texts that are none


@pytest.mark.parametrize("depth", [300, 600, 900, 100_000])
def test_nested_data_where_text_belongs_is_no_text(peer, depth):
    deep = nested(depth)
    report = f'{{"source": "smol", "error": {{"type": {deep}, "message": {deep}, "traceback": {deep}}}, "log": {deep}}}'
    messages = [
        ("stdin", "input_request", f'{{"prompt": {deep}, "smol": {{"id": 1, "input": true}}}}'.encode()),
        ("iopub", "stream", f'{{"name": {deep}, "text": {deep}}}'.encode()),
        ("iopub", "display_data", f'{{"data": {{"text/plain": {deep}, "image/png": {deep}}}}}'.encode()),
        (
            "shell",
            "execute_reply",
            f'{{"status": {deep}, "ename": {deep}, "evalue": {deep}, "payload": [{report}]}}'.encode(),
        ),
        IDLE,
    ]
    *_, finished = act(peer, *messages, ask_person=lambda prompt, password: "yes")
    assert finished.status in ("error", "died")
    assert "[[[" not in finished.error


@pytest.mark.parametrize("depth", [63, 100, 250])
def test_a_value_as_deep_as_may_be_can_be_written_down(peer, depth):
    report = f'{{"status": "ok", "payload": [{{"source": "smol", "value": {nested(depth)}}}]}}'.encode()
    *_, finished = act(peer, ("shell", "execute_reply", report), IDLE)
    assert finished.status in ("ok", "error")


@pytest.mark.parametrize("completed", [-1, 2**70, True, 1.5, "1", None])
def test_a_number_of_statements_that_cannot_be_is_none(peer, completed):
    report = {"status": "ok", "payload": [{"source": "smol", "value": 1, "completed": completed}]}
    *_, finished = act(peer, ("shell", "execute_reply", report), IDLE)
    assert finished.completed == 0


# calls


@pytest.mark.parametrize("number", ["sNaN", "-sNaN7"])
def test_a_number_that_cannot_be_compared_is_a_wrong_argument(peer, number):
    events = act(peer, call("choosy", {"$": "Decimal", "v": number}), DONE, IDLE)
    assert not any(isinstance(event, ToolCalled) for event in events)
    assert [answer["smol"]["ok"] for answer in peer.answered] == [False]


def test_a_number_too_long_to_be_written_is_a_wrong_argument_like_others(peer):
    act(peer, call("choosy", {"$": "int", "v": "0x" + "f" * 9000}), DONE, IDLE)
    (answer,) = peer.answered
    assert "needs one of 1, 2, 3" in answer["smol"]["error"]


def test_calls_that_claim_to_follow_a_print_do_not_pile_up(peer):
    """Each is a reason to look once more for what was printed, and meanwhile the next one comes."""
    left = 500

    def answer_with_one_more(event):
        nonlocal left
        if isinstance(event, ToolCalled) and left:
            left -= 1
            for each in [call("count", 0, printed=True)] if left else [DONE, IDLE]:
                peer.send(*encoded(peer.request, *each))

    first = [call("count", n, printed=True) for n in range(3)]
    events = act(peer, *first, each=answer_with_one_more)
    returned = [event for event in events if isinstance(event, ToolReturned)]
    assert len(returned) >= 499  # those that come with the reply are refused
    assert events[-1].status == "ok"
