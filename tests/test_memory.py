"""What an agent remembers: the messages each step becomes, its plain form, and the memory as a whole."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import dataclass

import pytest
from pydantic import BaseModel, ConfigDict

from smol_kernel.errors import AgentExecutionError, AgentMaxStepsError
from smol_kernel.memory.messages import ChatMessage, MessageRole
from smol_kernel.memory.monitoring import AgentLogger, LogLevel
from smol_kernel.memory.steps import (
    ActionStep,
    AgentMemory,
    FinalAnswerStep,
    MemoryStep,
    PlanningStep,
    SystemPromptStep,
    TaskStep,
    ToolCall,
)
from smol_kernel.memory.usage import Timing, TokenUsage

ASSISTANT, CALL, RESPONSE, USER = (
    MessageRole.ASSISTANT,
    MessageRole.TOOL_CALL,
    MessageRole.TOOL_RESPONSE,
    MessageRole.USER,
)
CODE = {
    "model_output": "Look.\n<code>1</code>",
    "code_action": "1",
    "tool_calls": [ToolCall("python_interpreter", "1", "c1")],
}
CALLS = {"model_output": "", "tool_calls": [ToolCall("search", {"query": "é"}, "c1"), ToolCall("add", {"a": 1}, "c2")]}


def action(**fields):
    return ActionStep(step_number=1, timing=Timing(1.0, 3.0), **fields)


def planning():
    asked, reply = ChatMessage(USER, "What is the plan?"), ChatMessage(ASSISTANT, "First look.")
    return PlanningStep(
        model_input_messages=[asked], model_output_message=reply, plan="First look.", timing=Timing(1.0, 2.0)
    )


@pytest.mark.parametrize(
    ("fields", "roles"),
    [
        ({}, []),
        ({**CODE, "observations": "Execution logs:\n1"}, [ASSISTANT, RESPONSE]),
        ({**CODE, "observations": "o", "observations_images": ["i", "j"]}, [ASSISTANT, USER, RESPONSE]),
        ({**CODE, "observations": "o", "error": AgentExecutionError("boo")}, [ASSISTANT, RESPONSE, RESPONSE]),
        ({**CALLS, "observations": "o"}, [CALL, RESPONSE]),
        ({**CALLS, "model_output": "I search."}, [ASSISTANT, CALL]),
        ({"model_output": "no code", "error": AgentExecutionError("boo")}, [ASSISTANT, RESPONSE]),
    ],
)
def test_a_step_becomes_these_messages(fields, roles):
    step = action(**fields)
    assert [message.role for message in step.to_messages()] == roles
    assert [message.role for message in step.to_messages(summary_mode=True)] == [r for r in roles if r != ASSISTANT]


def test_structured_calls_can_be_read_in_the_history():
    call, seen = action(**CALLS, observations="found").to_messages()
    calls = json.loads(call.text.partition("\n")[2])
    assert [entry["function"] for entry in calls] == [
        {"name": "search", "arguments": {"query": "é"}},
        {"name": "add", "arguments": {"a": 1}},
    ]
    assert '"é"' in call.text
    assert seen.text == "Observation:\nfound"


def test_an_error_asks_for_another_way_unless_there_is_no_step_left():
    [error] = action(error=AgentExecutionError("boo")).to_messages()
    assert error.text.startswith("Error:\nboo\n")
    assert "another way" in error.text
    [error] = action(error=AgentMaxStepsError("no steps left")).to_messages()
    assert error.text == "Error:\nno steps left"


def test_what_a_callback_edits_is_what_the_next_request_shows():
    step = action(**CODE, observations="a very long table", observations_images=["i"])
    step.observations, step.observations_images = "a table", None
    assert [message.text for message in step.to_messages()] == [CODE["model_output"], "Observation:\na table"]


def test_the_requests_of_a_long_run_share_the_messages_of_a_step():
    step = action(**CODE, observations="a table")
    first, again = step.to_messages(), step.to_messages()
    assert first is not again and all(one is other for one, other in zip(first, again, strict=True))


def test_who_changes_a_message_changes_it_for_one_request():
    step = action(**CODE, observations="a table")
    step.to_messages()[-1].content.append({"type": "text", "text": "mine"})
    assert step.to_messages()[-1].text == "Observation:\na table"


def test_a_task_brings_what_was_given_with_it():
    [message] = TaskStep("Look", task_images=["i"], task_audio=["a"], task_videos=["v", "w"]).to_messages()
    assert message.role == USER
    assert message.content[1:] == [
        {"type": "image", "image": "i"},
        {"type": "audio", "audio": "a"},
        {"type": "video", "video": "v"},
        {"type": "video", "video": "w"},
    ]
    assert TaskStep("Look").dict() == {"task": "Look", "task_images": None}


def test_a_plan_is_followed_by_a_word_to_carry_it_out_and_left_out_of_a_summary():
    plan, word = planning().to_messages()
    assert (plan.role, plan.text, word.role) == (ASSISTANT, "First look.", USER)
    assert planning().to_messages(summary_mode=True) == []
    assert SystemPromptStep("Be good.").to_messages(summary_mode=True) == []


@dataclass
class Point:
    x: int


class Bare:
    def __init__(self):
        self.size = {1: (2, 3)}


class Number:
    """A number as numpy has it."""

    shape = ()

    def item(self):
        return 2.5


CIRCLE = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": (1, None), 2: "[1]"}, {"a": [1, None], "2": "[1]"}),
        (Number(), 2.5),
        (Point(1), {"_type": "Point", "x": 1}),
        (Bare(), {"_type": "Bare", "size": {"1": [2, 3]}}),
        (ValueError("no"), "no"),
        (b"ab", "b'ab'"),
        (Point, str(Point)),
    ],
)
def test_a_value_is_told_as_plain_data(value, told):
    step = action(action_output=value, tool_calls=[ToolCall("f", value, "c")])
    assert step.dict()["action_output"] == told
    assert step.dict()["tool_calls"][0]["function"]["arguments"] == told
    json.dumps(step.dict())


def test_an_agent_remembers_in_the_memory_that_it_is_given(make):
    class Own(AgentMemory):
        pass

    agent = make(["<code>\nfinal_answer(1)\n</code>"])
    agent.memory = own = Own("system")
    assert agent.run("go") == 1
    assert agent.memory is own and [type(step).__name__ for step in own.steps] == ["TaskStep", "ActionStep"]


def test_a_value_that_holds_itself_has_an_end():
    json.dumps(action(action_output=CIRCLE).dict())


def test_steps_with_pictures_are_told_plainly():
    from PIL import Image

    picture = Image.new("RGB", (1, 2), "red")
    asked = ChatMessage(USER, [{"type": "image", "image": picture}])
    told = action(observations_images=[picture], model_input_messages=[asked]).dict()
    assert told.pop("observations_images") == [b"\xff\0\0" * 2]
    assert "size=1x2" in told["model_input_messages"][0]["content"][0]["image"]
    json.dumps(told)


def test_the_fields_of_a_step_in_their_order():
    step = action(**CODE, token_usage=TokenUsage(3, 4), error=AgentExecutionError("boo"), is_final_answer=True)
    assert list(step.dict()) == [
        "step_number", "timing", "model_input_messages", "tool_calls", "error", "model_output_message", "model_output",
        "code_action", "observations", "observations_images", "action_output", "token_usage", "is_final_answer",
    ]  # fmt: skip
    assert step.dict()["error"] == {"type": "AgentExecutionError", "message": "boo"}
    assert step.dict()["timing"] == {"start_time": 1.0, "end_time": 3.0, "duration": 2.0}
    assert action().dict()["tool_calls"] == []
    assert isinstance(step, MemoryStep)


def memory():
    kept = AgentMemory("Be good.")
    asked = [ChatMessage(USER, [{"type": "text", "text": "Task: count"}, {"type": "image", "image": "i"}])]
    kept.steps = [
        TaskStep("Count them."),
        planning(),
        action(**CODE, observations="Execution logs:\n\x1b[2J1", model_input_messages=asked),
        action(code_action="x = 2", model_output="More."),
        FinalAnswerStep(3),
    ]
    return kept


def test_a_memory_tells_its_steps_and_its_code():
    kept = memory()
    assert [step.get("step_number") for step in kept.get_full_steps()] == [None, None, 1, 1, None]
    assert all("model_input_messages" not in step for step in kept.get_succinct_steps())
    assert kept.return_full_code() == "1\n\nx = 2"
    kept.reset()
    assert (kept.steps, kept.system_prompt) == ([], SystemPromptStep("Be good."))


@pytest.mark.parametrize("detailed", [False, True])
def test_a_memory_is_shown_again(detailed):
    stream = io.StringIO()
    memory().replay(AgentLogger(LogLevel.ERROR, stream), detailed)
    text = stream.getvalue()
    shown = ("Be good.", "Count them.", "First look.", "<code>1</code>", "Execution logs:", "More.", "Answer\n3")
    places = [text.index(words) for words in shown]
    assert places == sorted(places)
    assert ("What is the plan?" in text) == ("Task: count" in text) == ("[image]" in text) == detailed
    assert "\x1b" not in text


def test_a_logger_that_is_off_shows_nothing(capsys):
    memory().replay(AgentLogger(LogLevel.OFF), detailed=True)
    assert capsys.readouterr().out == ""


class Completion(BaseModel):
    """A reply as providers' packages have it."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())
    id: str
    choices: list[dict]


@dataclass
class Plain:
    """A reply of another kind."""

    id: str
    more: object = None


class Odd:
    """One that is no data."""

    def model_dump(self, **options):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (None, None),
        ({"id": "r1", "more": [1, {"a": (2,)}]}, {"id": "r1", "more": [1, {"a": [2]}]}),
        (Completion(id="r1", choices=[{"index": 0}]), {"id": "r1", "choices": [{"index": 0}]}),
        (Plain("r1"), {"id": "r1", "more": None}),
        ([{"id": "r1"}], [{"id": "r1"}]),
        (Odd(), None),
        (Plain("r1", threading.Lock()), None),
        (object(), None),
        (Plain, None),
        ("text", None),
        ({"usage": {"total_tokens": 3}, "logprobs": [{"token": "v2"}]},) * 2,
        ({"api_key": "sk-1234567890ab", "headers": {"x": "y"}, "id": "r1"}, {"id": "r1"}),
        ({"said": "it is sk-known-1234567890"}, {"said": "it is (a secret of the host)"}),
    ],
)
def test_a_step_as_data_has_the_providers_reply_as_far_as_that_is_data(raw, told, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-known-1234567890")
    reply = ChatMessage(ASSISTANT, "x", raw=raw)
    plan = PlanningStep([], reply, "x", Timing(1.0, 2.0))
    memory = AgentMemory("")
    memory.steps = [action(model_output_message=reply), plan]
    for step in (*memory.get_full_steps(), *memory.get_succinct_steps()):
        assert step["model_output_message"]["raw"] == told
        json.dumps(step)
    assert reply.dict()["raw"] is None and reply.raw is raw


def test_nothing_took_less_than_no_time_though_the_clock_was_set_back():
    assert Timing(3_600.0, 2.5).duration == 0.0
    assert Timing(1.0, 3.5).duration == 2.5
    assert Timing(1.0).duration is None
