"""`ScriptedModel.from_run`: a recorded run's replies as a script, which plays the run again."""

from __future__ import annotations

import pytest
from scripted_replies import calls, code

from smol_kernel import ChatMessage, CodeAgent, Journal, MessageRole, ScriptedModel, ToolCallingAgent, tool
from smol_kernel.errors import ContextLengthError, ModelError, RunNotFoundError
from smol_kernel.events import ModelReplied, RunStarted
from smol_kernel.memory.usage import TokenUsage


def counted(text):
    return ChatMessage(MessageRole.ASSISTANT, text, token_usage=TokenUsage(5, 7, 1, 0.5))


def replied(events):
    kept = ("content", "purpose", "tool_calls", "input_tokens", "output_tokens", "cached_tokens", "cost")
    found = [event for event in events if isinstance(event, ModelReplied)]
    return [tuple(getattr(event, name) for name in kept) for event in found]


def test_plans_actions_and_the_answer_at_the_limit_play_again_without_those_of_other_agents(make, tmp_path):
    helper = CodeAgent([], ScriptedModel([code("final_answer('helped')")] * 2), name="helper", description="Helps.")
    replies = [
        counted("The plan."),
        counted(code("print(helper('help me'))")),
        counted(code("y = 2")),
        counted("Best."),
    ]
    agent = make(replies, managed_agents=[helper], planning_interval=5, max_steps=2)
    first = list(agent.events("the task"))
    script = ScriptedModel.from_run(agent.run_id, tmp_path / "journal.sqlite")
    assert (script.scripted, len(script.replies), script.model_id) == (True, 4, "scripted")
    again = make([], model=script, managed_agents=[helper], planning_interval=5, max_steps=2)
    second = [event for event in again.events("the task") if event.run in ("", again.run_id)]
    assert replied(second) == replied(event for event in first if event.run == agent.run_id)
    assert [reply[1] for reply in replied(second)] == ["plan", "action", "action", "answer"]
    assert (again.answer, again.life.answered) == ("Best.", True)
    assert next(event for event in second if isinstance(event, RunStarted)).scripted


def test_structured_calls_play_again(make, tmp_path):
    @tool
    def double(n: int) -> int:
        """Twice.

        Args:
            n: a number.
        """
        return 2 * n

    replies = [calls(("double", {"n": 2}), ("double", {"n": 3})), calls(("final_answer", {"answer": "6"}))]
    agent = make(replies, tools=[double], kind=ToolCallingAgent)
    agent.run("twice three?")
    script = ScriptedModel.from_run("last", Journal(tmp_path / "journal.sqlite"))
    again = make([], tools=[double], kind=ToolCallingAgent, model=script)
    assert again.run("twice three?") == "6"
    assert [[str(message) for message in asked] for asked in script.requests] == [
        [str(message) for message in asked] for asked in agent.model.requests
    ]


def test_a_conversation_that_was_too_long_is_so_again(make, tmp_path):
    replies = [code("print('word ' * 3000)"), ContextLengthError("too long"), code("final_answer(1)")]
    agent = make(replies)
    assert agent.run("one?") == 1
    again = make([], model=ScriptedModel.from_run(agent.run_id, tmp_path / "journal.sqlite"))
    assert again.run("one?") == 1
    assert again.model.replies[1].args == ("recorded: the conversation was longer than the model could read",)


def test_a_run_that_is_not_there_or_said_nothing(make, tmp_path):
    with pytest.raises(RunNotFoundError):
        ScriptedModel.from_run("abcdef", tmp_path / "journal.sqlite")
    agent = make([ModelError("no reply")])
    with pytest.raises(Exception, match="no reply"):
        agent.run("x")
    with pytest.raises(ModelError, match="nothing to make a script of"):
        ScriptedModel.from_run(agent.run_id, tmp_path / "journal.sqlite")
