"""The agent that acts by structured calls: calls side by side, on which thread, their results, errors and ends."""

import asyncio
import contextvars
import functools
import json
import signal
import sqlite3
import threading
import wave
from collections import namedtuple
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from scripted_replies import calls, final, images, of, read

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.agents.tool_calling_agent import MOST_CALLS, ToolCallingAgent
from smol_kernel.errors import (
    AgentError,
    AgentGenerationError,
    AgentToolCallError,
    AgentToolExecutionError,
    ConfigError,
)
from smol_kernel.events import (
    ActionFinished,
    ModelDelta,
    RunFinished,
    RunStarted,
    StepFinished,
    ToolCalled,
    ToolProgress,
    ToolReturned,
    emit,
    watched,
)
from smol_kernel.journal import Journal
from smol_kernel.memory.budget import Budget
from smol_kernel.memory.messages import ChatMessage, ChatMessageStreamDelta, MessageRole
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.memory.rich_values import AgentImage
from smol_kernel.memory.steps import ActionStep
from smol_kernel.models.base import Model
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.tools.base import Tool, tool

WAIT = 20
"""Seconds after which something that should have come long ago counts as missing."""


@pytest.fixture
def make(tmp_path):
    def make(replies, tools=(), **options):
        model = replies if isinstance(replies, Model) else ScriptedModel(replies)
        options = {"journal": tmp_path / "journal.sqlite", "verbosity_level": LogLevel.OFF, **options}
        return ToolCallingAgent(list(tools), model, **options)

    return make


class Called(Tool):
    """A tool of any name that does what it is given to do."""

    description = "Does something."
    skip_forward_signature_validation = True

    def __init__(self, name, work, output_type="any", threaded=False):
        self.name, self.output_type, self.threaded = name, output_type, threaded
        self.inputs = {"text": {"type": "string", "description": "Any.", "nullable": True}}
        self.work = work

    def forward(self, text=None):
        return self.work(text)


echo = Called("echo", lambda text: text)


def step(agent, number=1):
    return agent.memory.steps[number]


# side by side


def test_calls_of_one_reply_run_side_by_side_and_are_read_in_their_order(make):
    meeting = threading.Barrier(3)

    def meet(text):
        meeting.wait(WAIT)
        return f"met {text}"

    @tool
    async def later(text: str) -> str:
        """Meets as well.

        Args:
            text: what to say.
        """
        return await asyncio.to_thread(meet, text)

    tools = [Called("plain", meet), Called("pooled", meet, threaded=True), later]
    agent = make(
        [calls(("later", {"text": "a"}), ("plain", {"text": "b"}), ("pooled", {"text": "c"})), final("ok")], tools
    )
    events = list(agent.events("meet"))
    assert step(agent).observations == "met a\nmet b\nmet c"
    assert [event.blocking for event in of(ToolCalled, events)] == [False, False, False, True]
    assert all(event.ok for event in of(ToolReturned, events))


def test_arguments_of_a_user_s_own_model_may_be_anything(make, tmp_path):
    """JSON, in which the journal keeps them, has no set."""
    agent = make(
        [
            calls(
                ("echo", {"text": {1}}),
            ),
            final("ok"),
        ],
        [Called("echo", lambda text: "told")],
    )
    agent.model.model_id = tmp_path
    assert agent.run("tell") == "ok"
    told = [
        event for event in Journal(tmp_path / "journal.sqlite").events(agent.run_id) if isinstance(event, RunStarted)
    ]
    assert [event.model for event in told] == [str(tmp_path)]


def test_no_more_calls_run_at_once_than_allowed(make):
    pair, lock, inside = threading.Barrier(2), threading.Lock(), []

    def work(text):
        with lock:
            inside.append(1)
            most = len(inside)
        pair.wait(WAIT)
        with lock:
            inside.pop()
        return most

    tools = [Called("work", work)]
    agent = make([calls(*[("work", {})] * 6), final("ok")], tools, max_tool_threads=2)
    agent.run("work")
    assert max(map(int, step(agent).observations.split("\n"))) == 2


@pytest.mark.parametrize("name", ["max_tool_threads", "max_print_outputs_length"])
@pytest.mark.parametrize("number", [-1, 2.5, "4"])
def test_a_number_that_is_none_is_refused(make, name, number):
    with pytest.raises(ConfigError, match=name):
        make([], **{name: number})


@pytest.mark.parametrize(("limit", "left_out"), [(None, ""), (1_000, "44,000 characters left out")])
def test_of_a_result_and_of_an_error_as_much_is_read_as_is_set(make, limit, left_out):
    def fail(text):
        raise ValueError("e" * 44_000)

    tools = [Called("page", lambda text: "r" * 45_000), Called("fail", fail)]
    replies = [calls(("page", {})), calls(("fail", {})), final("ok")]
    agent = make(replies, tools, max_print_outputs_length=limit)
    agent.run("read")
    for text in (step(agent).observations, step(agent, 2).error.message):
        assert len(text) > 44_000 if limit is None else len(text) < 1_100
        assert "characters left out" in text or limit is None
    assert left_out in step(agent).observations


def test_a_single_plain_tool_runs_on_the_thread_of_the_run(make):
    table = sqlite3.connect(":memory:")
    table.execute("create table t as select 7 as x")
    query = Called("query", lambda text: table.execute(text).fetchone()[0])
    agent = make([calls(("query", {"text": "select x from t"})), final("ok")], [query])
    events = list(agent.events("query"))
    assert step(agent).observations == "7"
    assert of(ToolCalled, events)[0].blocking
    table.close()


def test_a_single_async_tool_is_awaited(make):
    @tool
    async def later(text: str) -> str:
        """Comes later.

        Args:
            text: what to say.
        """
        await asyncio.sleep(0)
        return text * 2

    assert make([calls(("later", {"text": "ab"})), lambda said: final(read(said)[-4:])], [later]).run("x") == "abab"


def test_tools_see_the_context_of_the_run(make):
    who = contextvars.ContextVar("who")
    who.set("me")
    look = Called("look", lambda text: who.get())
    agent = make([calls(("look", {})), calls(("look", {}), ("look", {})), final("ok")], [look])
    agent.run("look")
    assert (step(agent, 1).observations, step(agent, 2).observations) == ("me", "me\nme")


def test_calls_with_the_same_id_are_different_calls(make):
    replies = [calls(("echo", {"text": "a"}), ("echo", {"text": "b"}), ids=["same", "same"]), final("ok")]
    agent = make(replies, [echo])
    events = list(agent.events("twice"))
    assert step(agent).observations == "a\nb"
    assert len({event.call for event in of(ToolCalled, events)}) == 3


# errors


def test_of_several_calls_one_fails_and_the_results_of_the_others_are_kept(make):
    def fail(text):
        raise LookupError("no such page")

    replies = [calls(("echo", {"text": "a"}), ("fail", {}), ("echo", {"text": "b"})), final("ok")]
    agent = make(replies, [echo, Called("fail", fail)])
    events = list(agent.events("try"))
    assert step(agent).observations == "a\nb"
    assert type(step(agent).error).__name__ == "AgentToolExecutionError"
    for told in ("'fail'", "LookupError: no such page", "a\nb"):
        assert told in read(agent.model.requests[-1])
    assert sorted(event.ok for event in of(ToolReturned, events)) == [False, True, True, True]
    assert agent.answer == "ok"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("ekko", {}), "There is no tool 'ekko'; there are: echo"),
        (("echo", {"txt": "a"}), "did you mean 'text'"),
        (("echo", {"text": 3}), "a string for 'text'"),
        (("echo", {3: "a"}), "no argument 3"),
        (("echo", [1]), "a string for 'text'"),
        (("final_answer", {}), "needs the argument 'answer'"),
        ((None, {}), "There is no tool None"),
        ((["echo"], {}), "There is no tool ['echo']"),
        (({}, None), "There is no tool {}"),
        (("echo", '{"text": "half of the te'), "no valid JSON, so nothing was called"),
        (("final_answer", '{"answer": "He said "hi""}'), "no valid JSON, so nothing was called"),
        (("final_answer", ' {\n "answer": "He'), "no valid JSON, so nothing was called"),
        (("echo", "{'text': 'half of the te"), "no valid JSON, so nothing was called"),
        (("echo", "{'text': true}"), "a string for 'text'"),
        (("echo", '{text: "a"}'), "no valid JSON, so nothing was called"),
        (("echo", "{'txt': 'a'}"), "did you mean 'text'"),
    ],
)
def test_a_call_that_cannot_be_made_is_told_and_none_beside_it_is_made(make, wrong, said):
    agent = make([calls(wrong), calls(("echo", {"text": "a"}), wrong), final("ok")], [echo])
    events = list(agent.events("try"))
    assert said in read(agent.model.requests[1])
    assert [event.tool for event in of(ToolCalled, events)] == ["final_answer"]
    assert agent.answer == "ok"


@tool
def delete(path: str, force: bool = False) -> str:
    """Deletes.

    Args:
        path: Which.
        force: Whether.
    """
    return f"{path} {force}"


@pytest.mark.parametrize(
    "text",
    [
        "{'path': 'a', 'force': True}",
        " {'path': 'a', 'force': True,}\n",
        "{'path': 'a', 'force': true}",
        json.dumps('{"path": "a", "force": true}'),
    ],
)
def test_arguments_written_as_python_or_encoded_twice_are_taken(make, text):
    agent = make([calls(("delete", text)), final("ok")], [delete])
    assert agent.run("delete it") == "ok"
    assert step(agent).observations == "a True"


@pytest.mark.parametrize("text", ["{a: 1}", "{'a', 'b'}", "{'path': 'a', 'force': maybe}"])
def test_of_several_arguments_a_broken_object_is_told(make, text):
    agent = make([calls(("delete", text)), final("ok")], [delete])
    assert agent.run("delete it") == "ok"
    assert "no valid JSON" in step(agent).error.message


@pytest.mark.parametrize(
    "text",
    [
        *("{{ name }} and {x}", "{x for x in y}", "{", "{x}", "{1, 2}", "{1: 2}", "{1: 2}["),
        *("{a: 1}", "{x: y} is LaTeX", "{'a', 'b'}", "{'result': 5}", "{'result': "),
    ],
)
def test_the_value_alone_may_begin_with_a_brace(make, text):
    agent = make([calls(("final_answer", text))])
    assert agent.run("answer") == text


@pytest.mark.parametrize("beside", [[("echo", {"text": "a"})], [("final_answer", {"answer": 1})]])
def test_final_answer_beside_other_calls_is_no_answer(make, beside):
    agent = make([calls(("final_answer", {"answer": 2}), *beside), final("ok")], [echo])
    events = list(agent.events("answer"))
    assert agent.answer == "ok"
    assert "alone" in step(agent).error.message
    assert len(of(ToolCalled, events)) == 1


@pytest.mark.parametrize("number", [0, MOST_CALLS + 1])
def test_a_reply_holds_a_sensible_number_of_calls(make, number):
    agent = make([calls(*[("echo", {})] * number, text="[]"), final("ok")], [echo])
    assert len(of(ToolCalled, agent.events("many"))) == 1
    assert type(step(agent).error).__name__ == "AgentParsingError"


class Unreadable:
    def __repr__(self):
        raise RuntimeError("nothing to see")


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("cannot say")


def unspeakable(text):
    raise Unspeakable


def test_what_cannot_be_encoded_is_kept_as_it_is(make):
    lock = threading.Lock()
    agent = make([calls(("give", {})), final("ok")], [Called("give", lambda text: lock)])
    events = list(agent.events("give"))
    assert step(agent).observations == str(lock)
    assert of(ToolReturned, events)[0].value["$"] == "remote"
    assert Journal(agent.journal).events(agent.run_id) == [event for event in events if event.durable]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Called("bad", lambda text: Unreadable()), "nothing to see"),
        (Called("bad", unspeakable), "Unspeakable"),
        (Called("bad", lambda text: 3, "image"), "AgentImage takes"),
        (Called("bad", lambda text: "/no/such/picture.png", "image"), "No such file"),
    ],
)
def test_a_result_that_cannot_be_read_is_an_error_of_its_tool(make, bad, said):
    agent = make([calls(("bad", {})), calls(("echo", {"text": "a"}), ("bad", {})), final("ok")], [echo, bad])
    events = list(agent.events("try"))
    assert agent.answer == "ok"
    assert said in step(agent, 1).error.message
    assert step(agent, 2).observations == "a"
    assert not [event for event in of(ToolReturned, events) if event.tool == "bad" and event.ok]


# replies


@pytest.mark.parametrize(
    "reply",
    [
        '{"name": "echo", "arguments": {"text": "hi"}}',
        'I call it.\n```json\n{"name": "echo", "arguments": "{\\"text\\": \\"hi\\"}"}\n```',
        ChatMessage(MessageRole.ASSISTANT, [{"type": "text", "text": '{"name": "echo", "arguments": "hi"}'}]),
        calls(("echo", '{"text": "hi"}')),
        calls(("echo", "hi")),
        calls(("echo", {"text": "hi"}), ids=[None]),
    ],
)
def test_a_call_is_read_in_whatever_form_it_comes(make, reply):
    agent = make([reply, final("ok")], [echo])
    agent.run("say hi")
    assert step(agent).observations == "hi"


@pytest.mark.parametrize("reply", ["", "Hello.", '{"name": "echo", "argum', ChatMessage(MessageRole.ASSISTANT, None)])
def test_a_reply_without_a_call_is_answered_with_the_form(make, reply):
    agent = make([reply, final("ok")], [echo])
    assert agent.run("say hi") == "ok"
    assert type(step(agent).error).__name__ == "AgentParsingError"


@pytest.mark.parametrize(
    "reply",
    [
        calls(("echo", {"text": "a"}), ("echo", '{"text": "half of the te')),
        calls(("echo", "")),
        ChatMessage(MessageRole.ASSISTANT, '{"name": "echo", "arguments": {"to": {"name": "echo"}, "text": "half'),
    ],
)
def test_of_a_reply_that_was_cut_off_no_call_is_made(make, reply):
    agent = make([replace(reply, cut_off=True), final("ok")], [echo])
    events = list(agent.events("say hi"))
    assert "cut off" in read(agent.model.requests[1])
    assert [event.tool for event in of(ToolCalled, events)] == ["final_answer"]


def test_of_a_reply_that_was_cut_off_behind_its_calls_they_are_made(make):
    agent = make([replace(calls(("echo", '{"text": "hi"}')), cut_off=True), final("ok")], [echo])
    agent.run("say hi")
    assert step(agent).observations == "hi"


@pytest.mark.parametrize("reply", [None, 3, ["a"], {"role": "assistant"}])
def test_a_model_that_returns_no_message_ends_the_run_with_its_reason(make, reply):
    agent = make([lambda said: reply])
    with pytest.raises(AgentGenerationError, match="has to return a ChatMessage"):
        agent.run("ask")


@pytest.mark.parametrize(
    "content", [3, b"x", {"text": "a"}, ["plain"], [3], [{"text": "a"}], [{"type": "text"}]], ids=str
)
def test_content_that_is_none_ends_the_run_with_its_reason(make, content):
    said = f'has to be text or a list of parts such as {{"type": "text", "text": "…"}}, not {content}'
    agent = make([ChatMessage("assistant", content)])
    with pytest.raises(AgentGenerationError) as caught:
        agent.run("ask")
    assert said in str(caught.value) and said in str(agent.memory.steps[-1].error)


class Odd(Model):
    """Streams one piece."""

    def __init__(self, piece):
        super().__init__(model_id="odd")
        self.piece = piece

    def generate_stream(self, messages, **options):
        yield self.piece


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        (ChatMessageStreamDelta(content=3), "content of a piece has to be text, not 3"),
        (
            ChatMessageStreamDelta(content="hi", token_usage={"input_tokens": 1}),
            "token_usage of its reply has to be a TokenUsage, not {'input_tokens': 1}",
        ),
    ],
)
def test_a_piece_that_is_not_sound_ends_the_run_with_its_reason(make, piece, said):
    agent = make(Odd(piece), stream_outputs=True)
    with pytest.raises(AgentGenerationError, match=said):
        agent.run("ask")
    whole = make([ChatMessage("assistant", piece.content, token_usage=piece.token_usage)], stream_outputs=True)
    with pytest.raises(AgentGenerationError, match="has to be"):
        whole.run("ask")


class Halving(Model):
    """Streams the beginning of a reply, then breaks."""

    def generate_stream(self, messages, **options):
        yield ChatMessageStreamDelta(content='{"name": "echo", ')
        raise ConnectionError("gone")


def test_half_a_reply_is_no_reply(make):
    agent, events = make(Halving(), [echo], stream_outputs=True), []
    with pytest.raises(AgentGenerationError, match="gone"):
        list(watched(agent.events("ask"), events.append))
    assert [event.text for event in of(ModelDelta, events)] == ['{"name": "echo", ']
    stored = Journal(agent.journal).events(agent.run_id)
    assert (stored[-1].state, of(ToolCalled, stored)) == ("error", [])


# what is kept


def picture(text):
    return Image.new("RGB", (4, 3), text)


def test_an_image_is_shown_kept_and_named(make):
    seen = []

    @tool
    def size(of: Any) -> list:
        """Tells the size.

        Args:
            of: of which image.
        """
        seen.append(of)
        return list(of.size)

    replies = [
        calls(("draw", {"text": "red"})),
        calls(("draw", {"text": "blue"}), ("echo", {"text": "x"}), ("draw", {"text": "green"})),
        lambda said: calls(("size", {"of": name})) if (name := read(said).split("\n")[-1]) else None,
        final("image.png"),
    ]
    agent = make(replies, [Called("draw", picture, "image"), size, echo])
    answer = agent.run("draw")
    pixels = [image.getpixel((0, 0)) for image in images(agent.model.requests[2])]
    assert pixels == [(255, 0, 0), (0, 0, 255), (0, 128, 0)]
    names = [*step(agent, 1).observations.split("\n"), *step(agent, 2).observations.split("\n")]
    assert names[0] == "image.png" and names[2] == "x" and len(set(names)) == 4
    assert seen[0].getpixel((0, 0)) == (0, 128, 0)
    assert step(agent, 3).observations == "[4, 3]"
    assert answer.getpixel((0, 0)) == (255, 0, 0)
    assert agent.state["image.png"].size == (4, 3)


@pytest.mark.parametrize("text", ["Saved to image.png", "image.png", "1_image.png"])
def test_text_that_names_an_image_is_text(make, text):
    agent = make([calls(("echo", {"text": text})), final("ok")], [echo])
    assert agent.run("save") == "ok"
    assert (step(agent).observations, step(agent).observations_images) == (text, None)


def test_an_image_by_its_path_is_shown(make, tmp_path):
    path = str(tmp_path / "picture.png")
    picture("red").save(path)
    agent = make([calls(("draw", {})), final("image.png")], [Called("draw", lambda text: path, "image")])
    answer = agent.run("draw")
    assert images(agent.model.requests[1])[0].size == (4, 3)
    assert isinstance(answer, AgentImage) and answer.getpixel((0, 0)) == (255, 0, 0)


def test_a_sound_is_kept_under_a_name(make, tmp_path):
    path = str(tmp_path / "sound.wav")
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 10)
    heard = []
    tools = [Called("record", lambda text: path, "audio"), Called("hear", heard.append)]
    agent = make([calls(("record", {})), calls(("hear", {"text": "audio.mp3"})), final("ok")], tools)
    agent.run("listen")
    assert (step(agent).observations, step(agent).observations_images) == ("audio.mp3", None)
    assert heard == [path]


def test_variables_are_passed_by_name_and_last_as_long_as_the_conversation(make):
    table = pd.DataFrame({"x": [1, 2]})

    @tool
    def rows(of: Any) -> int:
        """Counts rows.

        Args:
            of: of what.
        """
        return len(of)

    count = calls(("rows", {"of": "table"}))
    agent = make([count, final("a"), count, final("b"), count, final("c")], [rows])
    agent.run("count", additional_args={"table": table})
    assert agent.state["table"] is table
    agent.run("again", reset=False)
    assert [agent.memory.steps[at].observations for at in (1, 4)] == ["2", "2"]
    agent.run("afresh")
    assert (agent.state, step(agent).observations) == ({}, "5")  # of the word itself


ORDERS = {"name": "Ada", "orders": [{"id": number, "paid": (1.5, None)} for number in range(30)]}
TABLE = pd.DataFrame({"n": [1]})
Pair = namedtuple("Pair", "n more")
KEY = "made-up-9f8e7d6c5b4a39281706"


class Holder:
    def __repr__(self):
        return f"{'x' * 80}{KEY}"


@pytest.mark.parametrize(
    "given",
    [
        "a" * 19_990 + KEY + "b" * 500,
        [1] * 6_660 + [KEY],
        [10**5_000, KEY],
        "a" * 30 + KEY + "b" * 300,
        {"of": Holder()},
        {"key": "a" * 30 + KEY + "b" * 300, "more": b"x" * 40 + KEY.encode() + b"x" * 40},
    ],
)
@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
def test_half_a_secret_is_not_told_either(monkeypatch, given, kind):
    monkeypatch.setenv("MADE_UP_API_KEY", KEY)
    agent = kind([], ScriptedModel([]), journal=False, verbosity_level=0)
    with pytest.raises(AgentGenerationError):
        agent.run("read", additional_args={"x": given})
    asked = agent.write_memory_to_messages()[1]
    assert "`x`: " in asked.text and "made-u" not in asked.text and KEY[-6:] not in asked.text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("fact\n" * 400, "str of 2,000 characters: '" + "fact\\n" * 400 + "'"),
        (ORDERS, f"dict of 2 items: {ORDERS}"),
        ([TABLE, True, {1}], "list of 3 items: [DataFrame 1 x 1, columns n (int64), True, {1}]"),
        (7, "int 7"),
        (TABLE, "DataFrame 1 x 1, columns n (int64)"),
        ("a" * 25_000, f"str of 25,000 characters: '{'a' * 20_000}'… [5,000 more characters are left out here]"),
        ([1] * 9_000, f"list of 9,000 items: [{'1, ' * 6_666}1… [the rest of the 9,000 items is left out here]"),
        ([10**5_000], "list"),
        (
            [(1,), (), {*()}, frozenset({1}), frozenset()],
            f"list of 5 items: {[(1,), (), {*()}, frozenset({1}), frozenset()]}",
        ),
        ([Pair(1, None)], "list of 1 items: [Pair(n=1, more=None)]"),
    ],
)
def test_what_it_is_given_it_reads_for_it_cannot_have_it_printed(make, given, told):
    agent = make([final("ok")])
    agent.run("read", additional_args={"x": given})
    said, _, listed = agent.model.requests[0][1].text.partition("\n- `x`: ")
    assert said.endswith("To hand one to a tool as it is, give its name as the argument:")
    assert listed == told


def test_of_what_has_no_end_it_reads_the_beginning(make):
    agent, given = make([final("ok")]), []
    given.append(given)
    agent.run("read", additional_args={"x": given})
    assert "list of 1 items: [[[" in agent.model.requests[0][1].text


# limits and stops


def test_a_budget_of_calls_holds_for_calls_side_by_side(make):
    made = []
    agent = make([calls(*[("note", {})] * 4), "two"], [Called("note", made.append)], budget=Budget(tool_calls=2))
    result = agent.run("note", return_full_result=True)
    assert (len(made), result.state, result.output) == (2, "budget", "two")


@pytest.mark.parametrize("beside", [[], [("echo", {"text": "a"})]])
def test_keyboard_interrupt_in_a_tool(make, beside):
    def press(text):
        raise KeyboardInterrupt

    agent = make([calls(("press", {}), *beside), final("ok")], [Called("press", press), echo])
    if beside:  # in a thread of the pool nobody has pressed anything
        assert agent.run("press") == "ok"
        assert "KeyboardInterrupt" in step(agent).error.message
        return
    with pytest.raises(KeyboardInterrupt):
        agent.run("press")
    assert Journal(agent.journal).events(agent.run_id)[-1].state == "interrupted"
    assert agent.run("again") == "ok"


def test_a_keyboard_interrupt_that_another_thread_hears_ends_the_wait_for_calls_side_by_side(make):
    seen, go_on, late = threading.Event(), threading.Event(), []

    def press(text):  # the main thread, which waits by then, is not woken by it
        emit(ToolProgress(tool="press", text="begun"))
        seen.wait(WAIT)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        late.append(not go_on.wait(WAIT))

    agent = make([calls(("press", {}), ("echo", {"text": "a"})), final("ok")], [Called("press", press), echo])

    def watch(came):
        for event in agent.events("press"):
            came.add(type(event))
            if came >= {ToolProgress, ToolReturned}:
                seen.set()

    with pytest.raises(KeyboardInterrupt):
        watch(set())
    assert late == []
    go_on.set()


def hanging(go_on, made):
    """A tool that says that it has begun, and hangs."""

    def hang(text):
        made.append(text)
        emit(ToolProgress(tool="hang", text="begun"))
        go_on.wait(WAIT)
        return "too late"

    return Called("hang", hang)


def left(tool_name):
    """Threads in which a call goes on though nobody waits for it."""
    return [thread for thread in threading.enumerate() if thread.name == f"tool {tool_name}"]


def test_an_interrupt_waits_for_no_call_and_those_that_wait_for_room_are_not_made(make):
    go_on, made = threading.Event(), []
    replies = [calls(*[("hang", {})] * 5), calls(("echo", {"text": "a"}), ("echo", {"text": "b"})), final("ok")]
    agent = make(replies, [hanging(go_on, made), echo], max_tool_threads=1)
    events, before = [], left("hang")  # of tests that ran before
    for event in agent.events("hang"):
        events.append(event)
        if isinstance(event, ToolProgress):  # all five have been started
            agent.interrupt()
    assert (events[-1].state, len(of(ToolReturned, events))) == ("interrupted", 5)
    others = [thread for thread in left("hang") if thread not in before]
    assert len(others) == 5
    assert agent.run("again") == "ok"  # while the first still hangs
    assert step(agent).observations == "a\nb"
    go_on.set()
    for thread in others:
        thread.join(WAIT)
    assert len(made) == 1


def test_an_interrupt_cancels_async_tools(make):
    canceled = threading.Event()

    @tool
    async def hang() -> str:
        """Hangs."""
        emit(ToolProgress(tool="hang", text="begun"))
        try:
            await asyncio.Event().wait()
        finally:
            canceled.set()

    agent = make([calls(("hang", {}))], [hang])
    for event in agent.events("hang"):
        if isinstance(event, ToolProgress):
            agent.interrupt()
    assert event.state == "interrupted"
    assert canceled.wait(WAIT)


def test_a_reader_that_leaves_stops_the_calls(make):
    go_on, made = threading.Event(), []
    replies = [calls(("hang", {}), ("hang", {})), final("ok")]
    agent = make(replies, [hanging(go_on, made)], max_tool_threads=1)
    before = left("hang")
    stream = agent.events("hang")
    next(event for event in stream if isinstance(event, ToolProgress))
    stream.close()
    others = [thread for thread in left("hang") if thread not in before]
    assert len(others) == 2
    go_on.set()
    for thread in others:
        thread.join(WAIT)
    assert len(made) == 1
    assert agent.run("again") == "ok"


# events


def test_progress_tells_its_call_and_a_flood_of_it_is_thinned_out(make):
    def work(text):
        for number in range(1000):
            emit(ToolProgress(tool="work", done=number, total=1000))
        return text

    agent = make([calls(("work", {"text": "a"}), ("work", {"text": "b"})), final("ok")], [Called("work", work)])
    events = list(agent.events("work"))
    told = of(ToolProgress, events)
    assert {event.call for event in told} == {event.call for event in of(ToolCalled, events)[:2]}
    assert len(told) < 500
    assert all(event.run == agent.run_id for event in told)
    for call in {event.call for event in told}:
        assert [event.done for event in told if event.call == call][-1] == 999


def test_a_step_is_told_in_order(make):
    agent = make([calls(("echo", {"text": "a"}), text="I ask."), final(["x", {"y": 1}])], [echo])
    events = list(agent.events("ask"))
    kinds = [event.kind for event in events if event.step == 1]
    assert kinds == [
        "step_started", "model_replied", "action_proposed", "tool_called", "tool_returned", "action_finished",
        "step_finished",
    ]  # fmt: skip
    last = of(ActionFinished, events)[-1]
    assert (last.final, last.value) == (True, ["x", {"y": 1}])
    assert of(RunFinished, events)[-1].state == "success"


# a subclass between a reply and its calls


class Guarded(ToolCallingAgent):
    def execute_tool_call(self, tool_name, arguments):
        self.asked = [*getattr(self, "asked", []), (tool_name, arguments)]
        if arguments == {"text": "rm"}:
            return "denied"
        return super().execute_tool_call(tool_name, arguments)


@pytest.fixture
def guard(tmp_path):
    def guard(replies, tools, **options):
        options = {"journal": tmp_path / "journal.sqlite", "verbosity_level": LogLevel.OFF, **options}
        return Guarded(list(tools), ScriptedModel(replies), **options)

    return guard


def test_a_subclass_may_refuse_a_call(guard):
    done = []
    agent = guard([calls(("do", {"text": "ls"}), ("do", {"text": "rm"})), final("x")], [Called("do", done.append)])
    events = list(agent.events("go"))
    assert done == ["ls"] and agent.answer == "x"
    assert sorted(agent.asked, key=str) == [
        ("do", {"text": "ls"}),
        ("do", {"text": "rm"}),
        ("final_answer", {"answer": "x"}),
    ]
    assert [event.value for event in of(ToolReturned, events)][1:] == ["denied", "x"]
    assert "denied" in step(agent).observations


def test_what_a_tool_says_and_raises_passes_a_subclass_unchanged(guard, make):
    def fail(text):
        emit(ToolProgress(tool="fail", text="half-way"))
        raise KeyError("k")

    told = []
    for made in (guard, make):
        agent = made([calls(("fail", {})), final(1)], [Called("fail", fail)])
        events = list(agent.events("go"))
        returned = of(ToolReturned, events)[0]
        told.append((step(agent).error.message, returned.error_type, returned.error, of(ToolProgress, events)[0].text))
    assert told[0] == told[1]


def test_what_a_subclass_says_of_an_error_is_told_as_it_says_it(tmp_path):
    class Strict(ToolCallingAgent):
        def execute_tool_call(self, tool_name, arguments):
            try:
                return super().execute_tool_call(tool_name, arguments)
            except AgentToolExecutionError as error:
                raise AgentToolExecutionError("ask a person first") from error

    quiet = {"journal": tmp_path / "journal.sqlite", "verbosity_level": LogLevel.OFF}
    agent = Strict([Called("fail", int)], ScriptedModel([calls(("fail", {"text": "b"})), calls(("echo", {}))]), **quiet)
    list(agent.events("go", max_steps=1))
    assert step(agent).error.message == "ask a person first"


class Denied(AgentError):
    """What a guard raises for the model to read."""

    def __init__(self, rule):
        Exception.__init__(self, "denied", rule)
        self.message = rule


def denies(*errors):
    """In place of `execute_tool_call`: makes the call, then raises the next of the errors, if it is one."""
    left = list(errors)

    def around(call):
        def execute_tool_call(tool_name, arguments):
            value = call(tool_name, arguments)
            if (error := left.pop(0) if left else None) is not None:
                raise error
            return value

        return execute_tool_call

    return around


def put_around(agent, wrap):
    agent.execute_tool_call = wrap(agent.execute_tool_call)
    return agent


def test_a_function_set_in_place_of_the_method_is_called_from_then_on(make):
    asked = []

    def audit(call):
        def audited(tool_name, arguments):
            asked.append(tool_name)
            return call(tool_name, arguments)

        return audited

    agent = make([calls(("echo", {"text": "a"})), final(1)] * 2, [echo])
    agent.run("go")
    assert not asked
    agent.step_callbacks.register(ActionStep, lambda step, agent: step.step_number == 1 and put_around(agent, audit))
    assert agent.run("go") == 1
    assert asked == ["final_answer"]


def test_a_function_set_in_the_class_is_called_as_well(make, monkeypatch):
    asked, ours = [], ToolCallingAgent.execute_tool_call

    @functools.wraps(ours)
    def audited(self, tool_name, arguments):
        asked.append(tool_name)
        return ours(self, tool_name, arguments)

    monkeypatch.setattr(ToolCallingAgent, "execute_tool_call", audited)
    assert make([calls(("echo", {"text": "a"})), final(1)], [echo]).run("go") == 1
    assert asked == ["echo", "final_answer"]


class Pretending:
    """A wrapper that gives itself out for what it wraps in all that is asked, as `wrapt` makes them for tracing."""

    def __init__(self, wrapped, asked):
        self._wrapped, self._asked = wrapped, asked

    def __getattr__(self, name):
        return getattr(self._wrapped, name)

    def __eq__(self, other):
        return self._wrapped == other

    def __hash__(self):
        return hash(self._wrapped)

    def __call__(self, *given):
        self._asked.append(given[-2])
        return self._wrapped(*given)

    def __get__(self, instance, owner):
        return self if instance is None else functools.partial(self, instance)


def test_a_wrapper_that_pretends_to_be_the_method_is_called(make, monkeypatch):
    asked, script = [], [calls(("echo", {"text": "a"})), final(1)]
    agent = make(script, [echo])
    agent.execute_tool_call = Pretending(agent.execute_tool_call, asked)
    assert agent.run("go") == 1
    own = vars(ToolCallingAgent)["execute_tool_call"]
    monkeypatch.setattr(ToolCallingAgent, "execute_tool_call", Pretending(own, asked))
    assert make(script, [echo]).run("go") == 1
    assert asked == ["echo", "final_answer"] * 2


def test_an_exit_from_around_a_call_ends_the_run(make):
    agent = put_around(make([calls(("echo", {"text": "a"})), final(1)], [echo]), denies(SystemExit(3)))
    with pytest.raises(SystemExit):
        agent.run("go")
    assert len(agent.model.requests) == 1


def test_an_agent_error_from_around_a_call_is_the_error_of_the_step(make):
    raised = Denied("no echo")
    agent = put_around(make([calls(("echo", {"text": "a"})), final(1)], [echo]), denies(raised))
    events = list(agent.events("go"))
    assert step(agent).error is raised
    returned = of(ToolReturned, events)[0]
    assert (returned.ok, returned.error_type, returned.error, returned.around) == (False, "Denied", "no echo", True)
    finished = of(StepFinished, events)[0]
    assert (finished.error_type, finished.error) == ("Denied", "no echo")
    assert read(agent.model.requests[1]).count("no echo") == 1 and agent.answer == 1


def test_another_error_from_around_a_call_ends_the_run_and_is_in_the_record(make, tmp_path):
    agent = put_around(make([calls(("echo", {"text": "a"})), final(1)], [echo]), denies(PermissionError("no echo")))
    with pytest.raises(PermissionError, match="no echo"):
        agent.run("go")
    recorded = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    assert [event.kind for event in recorded][-4:] == [
        "tool_called", "tool_returned", "action_finished", "run_finished",
    ]  # fmt: skip
    returned, ended = of(ToolReturned, recorded)[0], of(RunFinished, recorded)[0]
    assert (returned.error_type, returned.around) == ("PermissionError", True)
    assert (ended.state, ended.error) == ("error", "no echo")
    assert step(agent).error.message == "Tool 'echo' failed: PermissionError: no echo"


def test_of_calls_side_by_side_all_come_to_their_end_before_the_run_does(make):
    done = []

    def work(text):
        done.append(text)
        if text == "c":
            raise KeyError(text)
        return text

    def around(call):
        def execute_tool_call(tool_name, arguments):
            value = call(tool_name, arguments)
            if arguments["text"] in errors:
                raise errors[arguments["text"]]
            return value

        return execute_tool_call

    errors = {"a": Denied("not a"), "b": PermissionError("not b")}
    reply = calls(*[("do", {"text": text}) for text in "abcd"])
    agent = put_around(make([reply], [Called("do", work)]), around)
    with pytest.raises(PermissionError, match="not b"):
        agent.run("go")
    assert sorted(done) == ["a", "b", "c", "d"]
    del errors["b"]
    agent.model = ScriptedModel([reply])
    events = []
    with pytest.raises(AgentGenerationError):
        events.extend(agent.events("go"))
    assert step(agent).error is errors["a"]
    assert step(agent).observations == "b\nd\nTool 'do' failed: KeyError: 'c'"  # the model learns of all


def test_what_ends_a_called_agent_is_told_to_the_one_that_called_it(make):
    worker = put_around(make([final("x")], name="worker", description="Works."), denies(PermissionError("no answer")))
    boss = make([calls(("worker", {"task": "work"})), final("y")], managed_agents=[worker])
    assert boss.run("go") == "y"
    assert step(boss).error.message == "Tool 'worker' failed: PermissionError: no answer"


def test_where_an_event_loop_runs_a_tool_that_runs_its_own_is_threaded_or_async(make):
    def own_loop(text):
        work = asyncio.sleep(0, "slept")
        try:
            return asyncio.run(work)
        finally:
            work.close()  # one that was not run

    tools = [Called("plain", own_loop), Called("aside", own_loop, threaded=True)]
    tools.append(Called("native", lambda text: asyncio.sleep(0, "slept")))

    async def notebook():
        agent = make([calls((each.name, {})) for each in tools] + [final(1)], tools)
        agent.run("go")
        return [each.error.message if each.error else each.observations for each in agent.memory.steps[1:4]]

    first, *others = asyncio.run(notebook())
    assert "asyncio.run() cannot be called from a running event loop" in first
    assert others == ["slept", "slept"]


def test_what_is_no_event_is_not_emitted(make):
    agent = make([calls(("tell", {})), final(1)], [Called("tell", lambda text: emit("half-way"))])
    assert agent.run("go") == 1
    assert "TypeError: emit() takes an event" in step(agent).error.message


def test_a_call_by_itself(make):
    agent = make([], [echo, Called("later", lambda text: asyncio.sleep(0, f"slept {text}")), Called("fail", int)])
    agent.state["photo"] = "a.png"
    assert agent.execute_tool_call("echo", {"text": "photo"}) == "a.png"
    assert agent.execute_tool_call("later", "well") == "slept well"
    with pytest.raises(AgentToolExecutionError, match=r"Tool 'fail' failed: ValueError: invalid literal .* 'b'"):
        agent.execute_tool_call("fail", {"text": "b"})
    with pytest.raises(AgentToolExecutionError, match="There is no tool 'nothing'"):
        agent.execute_tool_call("nothing", {})
    with pytest.raises(AgentToolCallError):
        agent.execute_tool_call("echo", {"text": 3})


def test_a_subclass_may_give_the_last_answer(tmp_path):
    class Sober(ToolCallingAgent):
        def provide_final_answer(self, task):
            return ChatMessage(MessageRole.ASSISTANT, f"none for {task!r}")

    model = ScriptedModel([calls(("echo", {"text": "a"}))])
    quiet = {"journal": tmp_path / "journal.sqlite", "verbosity_level": LogLevel.OFF}
    assert Sober([echo], model, max_steps=1, **quiet).run("go") == "none for 'go'"
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    ("last", "answer"),
    [
        (final(5), 5),
        (final("data"), [1]),
        ('So: {"name": "final_answer", "arguments": {"answer": "done"}}', "done"),
        (calls(("final_answer", "5 of them")), "5 of them"),
        (calls(("echo", {"text": "b"}), text="I would call it again."), "I would call it again."),
        (calls(("final_answer", {"text": "b"}), text="Well."), "Well."),
        ('{"sum": 5}', '{"sum": 5}'),
        ("", None),
    ],
)
def test_the_last_reply_may_be_a_call_of_the_answer(make, last, answer):
    agent = make([calls(("echo", {"text": "a"})), last], [echo], max_steps=1)
    assert agent.run("go", additional_args={"data": [1]}) == answer


@pytest.mark.parametrize(
    ("inputs", "answer"),
    [({"result": 5, "unit": "m"}, {"result": 5, "unit": "m"}), ({"result": 5}, 5), ({"answer": 5, "unit": "m"}, 5)],
)
@pytest.mark.parametrize("write", [json.dumps, lambda said: calls((said["name"], said["arguments"]))])
def test_the_last_reply_may_be_a_call_of_an_answer_of_ones_own(make, inputs, answer, write):
    class Answer(Tool):
        name, description, output_type = "final_answer", "Gives it.", "any"
        skip_forward_signature_validation = True

        def forward(self, **given):
            return given

    Answer.inputs = {name: {"type": "any", "description": "A part."} for name in inputs}
    agent = make([calls(("echo", {"text": "a"})), write({"name": "final_answer", "arguments": inputs})],
                 [echo, Answer()], max_steps=1)  # fmt: skip
    assert agent.run("go") == answer


def test_a_function_set_in_place_may_give_the_last_answer(make):
    agent = make([calls(("echo", {"text": "a"}))], [echo], max_steps=1)
    agent.provide_final_answer = lambda task: ChatMessage(MessageRole.ASSISTANT, f"none for {task!r}")
    assert agent.run("go") == "none for 'go'"
    assert len(agent.model.requests) == 1


def test_what_is_put_into_the_state_stays_in_each_run(make):
    agent = make([calls(("echo", {"text": "photo"})), final(1)] * 5, [echo])

    def read_of_it():
        agent.run("go", additional_args={"given": 1})
        return step(agent).observations

    agent.state["photo"] = "a.png"
    assert [read_of_it(), read_of_it()] == ["a.png"] * 2  # a run begins anew, but for that
    agent.state["photo"] = "b.png"
    assert read_of_it() == "b.png"
    agent.state = {"other": 1}
    assert read_of_it() == "photo"
    agent.state["photo"] = "c.png"
    assert read_of_it() == "c.png"
    assert agent.state == {"photo": "c.png", "other": 1, "given": 1}


def test_what_a_subclass_chooses_may_have_names():
    class Named(ToolCallingAgent):
        tools_and_managed_agents = property(lambda self: {**self.tools, **self.managed_agents})

    assert Named([], ScriptedModel([final("ok")]), journal=False, verbosity_level=0).run("go") == "ok"


def test_a_subclass_chooses_what_the_model_is_offered(tmp_path):
    class Staged(ToolCallingAgent):
        @property
        def tools_and_managed_agents(self):
            return [each for each in super().tools_and_managed_agents if self.step_number > 1 or each.name != "echo"]

    class Noting(ScriptedModel):
        def generate(self, messages, *args, tools_to_call_from, **options):
            offered.append(sorted(each.name for each in tools_to_call_from))
            assert all(isinstance(each, Tool) for each in tools_to_call_from)
            return super().generate(messages, *args, **options)

    offered = []
    options = {"journal": tmp_path / "journal.sqlite", "verbosity_level": LogLevel.OFF}
    helper, heir = (
        ToolCallingAgent([], ScriptedModel([]), name=name, description="helps", **options)
        for name in ("helper", "heir")
    )
    model = Noting([calls(("other", {})), final(1)])
    Staged([echo, Called("other", str)], model, managed_agents=[helper], handoffs=[heir], **options).run("go")
    always = ["final_answer", "helper", "other", "transfer_to_heir"]
    assert offered == [always, ["echo", *always]]
