"""A child that speaks the protocol to harm its host: what random data (`test_fuzz`) found, and what it would not."""

from __future__ import annotations

import json
import threading
from collections import Counter

import pytest
from peer import DONE, IDLE, Peer, message

from smol_kernel.errors import ExecutorError
from smol_kernel.events import ToolCalled, ToolReturned
from smol_kernel.executors import asides, lookup, outcome
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


def act(peer, *messages, ask_person=None, each=lambda event: None, tools=None):
    """The events of an action whose child sends these, each (channel, type, content), the last two when the host has
    read the others. Its outcome last."""

    def send():
        peer.request = peer.client.execute("code", 1, 20_000)
        whole = [encoded(peer.request, *message) for message in messages]
        peer.play(peer.request, whole[:-2], whole[-2:])
        return peer.request

    peer.running = action = peer.action(tools or TOOLS, ask_person)
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


# answers to what a tool asks while its call waits


def asks(peer, *messages, ways=1, **question):
    """What a tool gets that asks so many times, of a child that sends these whenever it is asked."""
    got = []

    @tool
    def ask() -> None:
        """Asks."""
        for _ in range(ways):
            try:
                with peer.running.asides.turn() as child:
                    got.append(child.ask("smol_request", {"read": "x"}, **{"seconds": 0.2, **question}))
            except ExecutorError as error:
                got.append(str(error))

    peer.to_a_question = [(channel, kind, json.dumps(content).encode()) for channel, kind, content in messages]
    *_, finished = act(peer, call("ask"), DONE, IDLE, tools={"ask": ask})
    assert finished.status == "ok"
    return got


def answer(**content):
    return ("stdin", "smol_answer", content)


def test_only_the_answer_to_the_very_question_counts(peer):
    wrong = [answer(), answer(key="1"), answer(key=[1]), answer(key={"1": 1}), answer(key=None), answer(key=2, found=1)]
    right = answer(key=1, status="ok", found=True, value={"$": "pickle", "v": 1})
    (got,) = asks(peer, *wrong, right, answer(key=1, late=True), seconds=60)
    assert got == right[2]
    with pytest.raises(ExecutorError, match="unknown tag 'pickle'"):
        lookup.variable(got, "x")


def test_a_child_that_does_not_answer_costs_the_time_of_one_question(peer):
    assert asks(peer, answer(key=7)) == [None]
    assert asks(peer, answer(key=1, gone=True), seconds=60) == [asides.BUSY]


def test_names_in_an_answer_are_names_or_nothing():
    assert lookup.names(["x", "a b", 1, ["y"], "x" * 1000, "__import__('os')"]) == ["x"]
    assert lookup.names({"x": 1}) == lookup.names("xyz") == []


def test_a_child_that_pours_out_while_it_is_asked_is_not_listened_to(peer, monkeypatch):
    monkeypatch.setattr(asides, "MAX_KEPT", MEBIBYTE)
    lines = [("iopub", "stream", {"name": "stdout", "text": "x" * MEBIBYTE})] * 4
    got = asks(peer, *lines, ways=8)
    assert got[-1] == "the child kernel sends too much to be asked something"


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
