"""The loop with real child kernels and scripted replies."""

import threading
from itertools import pairwise

import pytest
from model_server import Cut, ModelServer, Status, Text, unused_address
from scripted_replies import code, request

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.errors import AgentError, AgentGenerationError, ConfigError
from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    FinalAnswer,
    ModelReplied,
    Notice,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
)
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.journal import Journal
from smol_kernel.memory.messages import ChatMessage, MessageRole
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.memory.steps import ActionStep, FinalAnswerStep
from smol_kernel.models.base import Model
from smol_kernel.models.litellm import LiteLLMModel
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.render.transcript import Transcript
from smol_kernel.tools.base import tool
from smol_kernel.tools.defaults.final_answer import FinalAnswerTool


@tool
def double(number: int) -> int:
    """Twice the number.

    Args:
        number: what to double.
    """
    return 2 * number


def test_steps_share_one_namespace_and_the_answer_comes_back(make):
    agent = make([code("x = 20"), code("final_answer(x + 1)")])
    assert agent.run("add") == 21


def test_a_run_is_told_in_events_in_order(make, tmp_path):
    agent = make([code("x = double(number=4)\nprint(x)"), code("final_answer(x)")], tools=[double])
    events = list(agent.events("double four"))
    durable = [type(event) for event in events if event.durable]
    assert durable[:4] == [RunStarted, StepStarted, ModelReplied, ActionProposed]
    assert durable[-3:] == [FinalAnswer, StepFinished, RunFinished]
    assert {event.run for event in events} == {agent.run_id}
    assert [event.step for event in events if isinstance(event, StepStarted)] == [1, 2]
    assert next(event for event in events if isinstance(event, ToolCalled)).tool == "double"
    assert events[-1].state == "success"
    stored = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    assert stored == [event for event in events if event.durable]


def test_the_model_reads_prints_and_the_last_value(make):
    agent = make([code("print('hello')\ny = 3"), code("final_answer(y)")])
    agent.run("look")
    assert "Execution logs:\nhello\nLast output from code snippet:\n3" in request(agent)


def test_an_error_becomes_the_next_observation_and_completed_statements_keep_their_effect(make):
    agent = make([code("a = 1\nprint('before')\nb = undefined"), code("final_answer(a)")])
    assert agent.run("err") == 1
    assert "before" in request(agent)
    assert "NameError: name 'undefined' is not defined" in request(agent)
    step = agent.memory.steps[1]
    assert isinstance(step, ActionStep) and step.error is not None


def test_a_reply_without_code_is_answered_with_the_form(make):
    agent = make(["It is 42.", code("final_answer(42)")])
    assert agent.run("ask") == 42
    assert "no code block" in request(agent)


@pytest.mark.parametrize("finish", ["length", "content_filter"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_half_an_action_is_not_run_whatever_broke_it_off(make, finish, stream):
    with ModelServer(Text("<code>\nx = 1\n", finish=finish), Text(code("final_answer('x' in dir())"))) as server:
        agent = make([], stream_outputs=stream)
        agent.model = LiteLLMModel("openai/double", api_base=server.url)
        assert agent.run("go") is False


def test_half_an_action_is_not_run_also_not_from_the_record(make, tmp_path):
    half = ChatMessage(MessageRole.ASSISTANT, "<code>\nx = 1\nfor row in rows:", cut_off=True)
    agent = make([half, code("final_answer('x' in dir())")])
    script = [lambda: agent.model, lambda: ScriptedModel.from_run("last", tmp_path / "journal.sqlite")]
    for agent.model in (model() for model in script):
        assert agent.run("go") is False
        assert "cut off" in agent.memory.steps[1].error.message


def test_at_max_steps_the_best_answer_is_asked_for(make):
    agent = make([code("x = 1"), code("x = 2"), "About two."], max_steps=2)
    result = agent.run("count", return_full_result=True)
    assert (result.output, result.state) == ("About two.", "max_steps_error")
    assert "limit of 2 steps" in agent.memory.steps[-1].error.message
    assert "About two." not in agent.system_prompt


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (code("final_answer('about two')"), "about two"),
        (code("x = 2\nfinal_answer(x)", thought="About two."), "About two."),
        (code("x = 2", thought=""), "<code>\nx = 2\n</code>"),
        (code("final_answer(x + 1)", thought=""), "<code>\nfinal_answer(x + 1)\n</code>"),
        ("", None),
        ("```python\nfinal_answer([1])\n```", [1]),
        (code("final_answer(42)") + "\nThis is my best answer.", 42),
        (code("final_answer(42)") + "<end_code>", 42),
        (code("final_answer(42)") + "\nObservation: 41", 42),
        (code("42") + "<|im_end|>", 42),
        ("So:\n```python\nfinal_answer(42)\n```\nDone.", 42),
        ("<code>\nx = 1\n</code>\n<code>\nfinal_answer(42)\n</code>", 42),
        (code("final_answer(x)", thought="About two.") + "\nObservation: 42", "About two."),
        ("```python\nfinal_answer(42)\n```\n\n```\n42\n```", 42),
        ("```\nfinal_answer(42)\n```\nprints\n```\nTotal: 42\n```", 42),
        ("The best column is <code>price</code>.\n<code>\nfinal_answer(42)\n</code>", 42),
        ("It is 42: <code>final_answer(42)</code>", 42),
        ("Column <code>price</code> is best.\n<code>\nfinal_answer(x)\n</code>", "Column <code>price</code> is best."),
    ],
)
def test_a_best_answer_given_as_code_is_read_not_run(make, reply, answer):
    agent = make([code("x = 1"), reply], max_steps=1)
    result = agent.run("count", return_full_result=True)
    assert (result.output, result.state) == (answer, "max_steps_error")


@pytest.mark.parametrize(
    "answer",
    [
        "Here is the function:\n```python\ndef f(x):\n    return x + 1\n```\nIt adds one.",
        "Here is the function:\n```python\ndef f(x):\n    return x + 1\n```",
        "```python\ndef f(x):\n    return x + 1\n```",
        "The means per group:\n```\n| a | 3.2 |\n| b | 4.1 |\n```\nSo b is larger.",
        "Run <code>pip install pandas</code> first, then the mean is 3.2.",
        "[1, 2] are the two:\n```\n[1, 2]\n```",
        "```python\n[1, 2]\n```\nResult: these are the ids of the two shops.",
        "<code>\nprint(total)\n</code>\nResult: the mean price is 42.5 EUR.",
        "<code>\nfinal_answer(answer)\n</code>\nThe answer is 42.",
        "<code>\nfinal_answer(total)\n</code>\nResult: the mean is 42.5 EUR.",
        "<code>\nfinal_answer(total)\n</code>\nOutput: the mean is 42.5 EUR.",
        "Here is what I ran:\n```python\nfinal_answer(x)\n```\nResult: 42 is the sum of all.",
        "The best column is <code>price</code>",
        "The best columns are:\n- <code>price</code>\n- <code>'size'</code>",
        "Row <code>3</code>, column <code>7</code>",
        "To see more, call <code>df.head(20)</code>",
        "The answer is 42. Use\n```python\nfinal_answer(df.head())\n```\nto end.",
        "```python\nprint(sum([1, 2]))\n```\n\nThis adds the two and prints:\n\n```\n3\n```",
    ],
)
@pytest.mark.parametrize("tags", [None, "markdown"])
def test_a_best_answer_that_shows_code_is_whole(make, answer, tags):
    agent = make(["x = 1", answer], max_steps=1, code_block_tags=tags)
    assert agent.run("count") == answer


def test_a_last_reply_that_is_code_alone_gives_way_to_the_best_answer(make):
    agent = make([code("final_answer(3)"), code("final_answer(x)", thought="")], max_steps=1, checks=["answer > 3"])
    assert agent.run("count") == 3


def test_a_stream_ends_with_the_answer_also_where_there_is_none(make):
    for last, answer in ((code("final_answer(2)"), 2), ("", None), (ConnectionError("gone"), None)):
        ended = []
        agent = make([code("x = 1"), last], max_steps=1, step_callbacks={FinalAnswerStep: ended.append})
        *_, limit, end = agent.run("count", stream=True)
        assert isinstance(limit, ActionStep) and type(limit.error).__name__ == "AgentMaxStepsError"
        assert isinstance(end, FinalAnswerStep) and end.output == answer
        assert [step.output for step in ended] == [answer]


def test_a_stream_that_was_stopped_ends_with_no_answer(make):
    ended = []
    callbacks = {ActionStep: lambda step, agent: agent.interrupt(), FinalAnswerStep: ended.append}
    agent = make([code("x = 1")] * 2, max_steps=1, step_callbacks=callbacks)
    with pytest.raises(AgentError, match="interrupted"):
        list(agent.run("count", stream=True))
    assert not ended


def test_max_steps_without_a_best_answer_keeps_the_reason(make):
    agent = make([code("x = 1")], max_steps=1)
    result = agent.run("count", return_full_result=True)
    assert result.output is None
    assert "best answer failed" in list(agent.memory.steps)[-1].error.message


def test_the_prompt_only_grows_at_its_end(make):
    agent = make([code("x = 1"), code("1 / 0"), code("final_answer(x)")], tools=[double])
    agent.run("grow")
    requests = [[message.dict() for message in request] for request in agent.model.requests]
    for earlier, later in pairwise(requests):
        assert later[: len(earlier)] == earlier
    assert "def double(number: int) -> int:" in agent.system_prompt


def test_reset_starts_afresh_and_without_it_the_conversation_goes_on(make):
    script = [code("x = 5\nfinal_answer(x)"), code("final_answer(x + 1)"), code("final_answer('x' in globals())")]
    agent = make(script)
    assert agent.run("one") == 5
    assert agent.run("two", reset=False) == 6
    assert "Task:\none" in request(agent)
    assert agent.run("three") is False
    assert "Task:\none" not in request(agent)


def test_additional_args_are_summarised_in_the_prompt_and_whole_in_the_namespace(make):
    agent = make([code("final_answer(len(numbers))")])
    assert agent.run("count", additional_args={"numbers": list(range(3000))}) == 3000
    assert "`numbers`" in request(agent)
    assert len(request(agent)) < len(agent.system_prompt) + 500


def test_a_short_text_is_whole_in_the_prompt(make):
    agent = make([code("final_answer(1)")])
    agent.run("read", additional_args={"short": "a  b" * 75, "long": "c  d" * 76})
    assert f"`short`: str of 300 characters: '{'a  b' * 75}'" in request(agent)
    assert len(request(agent)) < len(agent.system_prompt) + 700


def test_a_fresh_run_knows_nothing_of_the_last_ones_variables(make):
    agent = make([code("final_answer(n)"), code("final_answer('n' in globals())")])
    assert agent.run("first", additional_args={"n": 3}) == 3
    assert agent.run("second") is False


def test_what_is_put_into_the_child_before_the_first_run_stays_and_into_the_state_in_each(make):
    replies = ["final_answer(sqrt(number))", "number = 1\nfinal_answer('sqrt' in globals())", "final_answer(number)"]
    agent = make([code(reply) for reply in [*replies, replies[2]]])
    agent.python_executor("from math import sqrt")
    agent.state["number"] = 16
    assert agent.run("root") == 4.0
    assert agent.run("another") is False
    assert agent.run("the user's") == 16
    agent.state["number"] = 25
    assert agent.run("the user's") == 25


def test_after_cleanup_a_conversation_that_goes_on_is_told_which_names_are_gone(make):
    replies = [code("made = given\nfinal_answer(1)"), code("final_answer(made)"), code("final_answer(given)")]
    agent = make([*replies, code("1"), code("final_answer('fresh')")])
    agent.run("make", additional_args={"given": [1]})
    agent.cleanup()
    assert agent.run("take", reset=False) == [1]
    assert agent.memory.steps[-2].error.message.endswith("These names are gone: made.")
    agent.cleanup()
    assert agent.run("afresh") == "fresh"
    assert "gone" not in agent.memory.steps[1].observations


def test_a_variable_that_hides_a_tool_is_named_in_the_error(make):
    agent = make([code("double = double(2)"), code("double(3)"), code("del double\nfinal_answer(double(3))")], [double])
    assert agent.run("twice") == 6
    error = agent.memory.steps[2].error.message
    assert "'int' object is not callable. double is a variable now, which hides the tool: del double first" in error


def test_an_answer_has_to_be_given_one(make):
    agent = make([code("final_answer()"), code("final_answer(None)")])
    assert agent.run("go") is None
    assert "TypeError: final_answer() missing 1 required positional argument: 'answer'" in request(agent)


def test_a_model_that_calls_no_constructor(make):
    class Bare(Model):
        def __init__(self):
            pass

        def generate(self, messages, **options):
            return ChatMessage(MessageRole.ASSISTANT, code("final_answer(1)"))

    assert CodeAgent([], Bare(), journal=False, verbosity_level=LogLevel.OFF).run("go") == 1


def test_stop_while_the_model_is_asked(make):
    asked, release = threading.Event(), threading.Event()

    def slow(messages):
        asked.set()
        release.wait(30)
        return code("final_answer(1)")

    agent = make([slow])
    states = []
    thread = threading.Thread(target=lambda: states.extend(list(agent.events("wait"))))
    thread.start()
    assert asked.wait(30)
    agent.interrupt()
    thread.join(30)
    release.set()
    assert not thread.is_alive()
    assert states[-1].state == "interrupted"


def test_stop_in_the_middle_of_an_action(make):
    agent = make([code("print('go', flush=True)\nwhile True: pass")])
    events = []
    for event in agent.events("loop"):
        events.append(event)
        if getattr(event, "channel", "") == "stdout":
            agent.interrupt()
    finished = next(event for event in events if isinstance(event, ActionFinished))
    assert finished.status == "interrupted"
    assert events[-1].state == "interrupted"
    assert "go" in finished.logs


def test_the_switch_of_smolagents_interrupts(make):
    agent = make([code("print('go', flush=True)\nwhile True: pass"), code("final_answer(1)")])
    assert not agent.interrupt_switch
    for event in agent.events("loop"):
        if getattr(event, "channel", "") == "stdout":
            agent.interrupt_switch = True
    assert event.state == "interrupted"
    assert agent.interrupt_switch
    agent.interrupt_switch = False
    assert agent.run("again") == 1


def test_a_stop_in_the_last_step_is_no_limit_of_steps(make):
    agent = make([code("print('go', flush=True)\nwhile True: pass"), "not asked for"], max_steps=1)
    events = []
    for event in agent.events("loop"):
        events.append(event)
        if getattr(event, "channel", "") == "stdout":
            agent.interrupt()
    assert (events[-1].state, len(agent.model.requests)) == ("interrupted", 1)


def test_a_stop_that_comes_after_the_answer_does_not_lose_it(make):
    agent = make([code("final_answer(42)")])
    events = []
    for event in agent.events("answer"):
        events.append(event)
        if isinstance(event, FinalAnswer):
            agent.interrupt()
    assert events[-1].state == "success"


def test_a_request_that_is_tried_again_is_told_in_the_run(tmp_path):
    with ModelServer(Status(500), Text(code("final_answer(1)"))) as server:
        model = LiteLLMModel("openai/double", api_base=server.url, retry_wait=0.001)
        with CodeAgent(tools=[], model=model, verbosity_level=LogLevel.OFF, journal=tmp_path / "j.sqlite") as agent:
            notices = [event.text for event in agent.events("try") if isinstance(event, Notice)]
    assert any("Trying again" in text for text in notices)


@pytest.mark.parametrize("half", ["<code>\nprint('ha", "x" * 40])
@pytest.mark.parametrize("clean", [True, False])
def test_a_reply_that_breaks_off_is_asked_for_once_more(half, clean, tmp_path):
    with ModelServer(Cut(half, clean=clean), Text(code("final_answer(1)"))) as server:
        model = LiteLLMModel("openai/double", api_base=server.url, retry_wait=0.001)
        options = {"tools": [], "model": model, "verbosity_level": LogLevel.OFF, "journal": tmp_path / "j.sqlite"}
        with CodeAgent(stream_outputs=True, **options) as agent:
            events = list(agent.events("try"))
    assert [event.content for event in events if isinstance(event, ModelReplied)] == [code("final_answer(1)")]
    assert Transcript.from_events(events).steps[0].reply == code("final_answer(1)")
    assert events[-1].state == "success"


def test_a_model_that_fails_ends_the_run_with_its_record_intact(make, tmp_path):
    agent = make([code("x = 1"), ValueError("no such model")])
    with pytest.raises(AgentGenerationError, match="no such model"):
        agent.run("fail")
    last = Journal(tmp_path / "journal.sqlite").events(agent.run_id)[-1]
    assert (last.state, last.steps) == ("error", 2)
    assert "no such model" in last.error


def test_a_stream_gives_the_step_in_which_the_model_failed(make):
    stream = make([code("x = 1"), ValueError("no such model")]).run("fail", stream=True)
    steps = (step for step in stream if isinstance(step, ActionStep))
    assert next(steps).error is None
    failed = next(steps)
    with pytest.raises(AgentGenerationError, match="no such model") as raised:
        next(steps)
    assert failed.error is raised.value


def test_at_the_level_of_errors_they_alone_are_printed(make, capsys):
    replies = [code("print('printed')\n1 / 0"), code("final_answer(1)")]
    for level, shown in ((LogLevel.OFF, []), (LogLevel.ERROR, ["ZeroDivisionError: division by zero"])):
        agent = make(replies, verbosity_level=level)
        agent.run("divide")
        lines = capsys.readouterr().out.splitlines()
        assert "printed" not in lines
        assert [line for line in lines if line.startswith("ZeroDivision")] == shown


def test_called_as_a_function_it_reports_its_answer_whatever_a_run_gives(make):
    for options in ({}, {"return_full_result": True}):
        agent = make([code("final_answer(7)")], name="sub", description="Counts.", return_full_result=True)
        report = agent("count", **options)
        assert "7" in report and "RunResult" not in report


def test_an_executor_that_is_empty_is_one_all_the_same(make):
    class Empty(KernelExecutor):
        def __len__(self):
            return 0

    executor = Empty()
    assert make([], executor=executor).python_executor is executor


def test_state_can_be_set_whole(make):
    agent = make([code("final_answer(dict(x=x, known='y' in dir()))")])
    agent.state["y"] = 1
    agent.state = {"x": 2}
    assert agent.run("look", reset=False) == {"x": 2, "known": False}


def test_closing_the_stream_stops_the_run_and_is_recorded(make, tmp_path):
    agent = make([code("x = 1"), code("final_answer(x)")])
    stream = agent.events("close")
    for event in stream:
        if isinstance(event, StepFinished):
            break
    stream.close()
    assert Journal(tmp_path / "journal.sqlite").events(agent.run_id)[-1].state == "interrupted"
    agent.model.replies = [code("final_answer(2)")]


def test_one_agent_takes_one_task_at_a_time(make):
    agent = make([code("x = 1"), code("final_answer(x)"), code("final_answer(2)")])
    events = agent.events("first")
    first = next(events)
    with pytest.raises(AgentError, match=r"at work on another task: .* close\(\) events\(\) that you read no"):
        agent.run("second")
    assert (agent.task, agent.run_id) == ("first", first.run)
    assert list(events)[-1].state == "success"
    assert agent.run("third") == 2


def test_final_answer_ends_the_action(make):
    agent = make([code("final_answer('a')\nprint('never')")])
    events = list(agent.events("end"))
    assert not [event for event in events if getattr(event, "text", "") == "never\n"]
    assert events[-1].state == "success"


def test_a_reader_that_stops_at_the_end_has_not_interrupted_the_run(make, tmp_path):
    agent = make([code("final_answer(1)")])
    for event in agent.events("end"):
        if isinstance(event, RunFinished):
            break
    states = [
        event.state
        for event in Journal(tmp_path / "journal.sqlite").events(agent.run_id)
        if event.kind == "run_finished"
    ]
    assert states == ["success"]


@pytest.mark.parametrize(
    ("task", "said"), [("", "empty"), ("   \n", "empty"), (3, "3, which is no text"), (None, "None, which is no text")]
)
def test_a_task_that_says_nothing_is_refused(make, task, said):
    with pytest.raises(ConfigError, match=f"the task is {said}: say what"):
        make([]).run(task)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_steps": 0}, "max_steps is 0"),
        ({"code_block_tags": "x"}, "code_block_tags is 'x'"),
        ({"prompt_templates": {"system_prompt": "{{ nope }}"}}, "nope"),
        ({"tools": [print]}, "is not a tool"),
        ({"tools": [FinalAnswerTool]}, r"FinalAnswerTool is a class of tools: make one, FinalAnswerTool\(\)"),
        ({"tools": [double, double]}, "two tools are called 'double'"),
        ({"tools": [double], "name": "double"}, "an agent and a tool of it are called 'double'"),
        ({"executor_type": "docker"}, "docker"),
        ({"additional_authorized_imports": "numpy"}, "additional_authorized_imports is 'numpy'"),
    ],
)
def test_wrong_settings_are_named(make, options, said):
    with pytest.raises(ConfigError, match=said.replace("{", r"\{")):
        make([], **options)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_run_over_http(make, stream):
    replies = [Text(code("x = 6")), Status(500), Text(""), Text(code("final_answer(7 * x)"))]
    with ModelServer(*replies) as server:
        agent = make([], stream_outputs=stream)
        agent.model = LiteLLMModel("openai/double", api_base=server.url, retry_wait=0)
        result = agent.run("multiply", return_full_result=True)
    assert (result.output, result.state) == (42, "success")
    assert result.token_usage is not None and result.token_usage.input_tokens > 0
    assert len(server.requests) == 4
    assert "Your reply was empty" in str(server.requests[-1])


def test_a_model_that_cannot_be_reached_ends_the_run_in_a_sentence(make):
    agent = make([])
    agent.model = LiteLLMModel("openai/double", api_base=unused_address())
    with pytest.raises(AgentGenerationError, match="nobody answers at"):
        agent.run("hello?")


def test_a_child_that_cannot_start_ends_the_run_in_a_sentence(make):
    agent = make([code("x = 1")], executor_kwargs={"python": "/nowhere/python"})
    with pytest.raises(ConfigError, match="/nowhere/python"):
        agent.run("start")


def test_an_error_that_the_user_handles_meanwhile_keeps_where_it_came_from():
    agent = CodeAgent([], ScriptedModel([code("1 / 0"), code("final_answer(5)")]), verbosity_level=LogLevel.OFF)

    def handle():
        try:
            int("no number")
        except ValueError:
            assert agent.run("Repair it.") == 5
            raise

    with agent, pytest.raises(ValueError, match="no number") as caught:
        handle()
    assert 'int("no number")' in [str(each.statement).strip() for each in caught.traceback]
    assert agent.memory.steps[1].error.__traceback__ is None


def test_the_providers_reply_is_in_the_steps_and_not_in_the_journal(make, tmp_path, monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "1")
    with ModelServer(Text(code("final_answer(1)"))) as server:
        agent = make([], model=LiteLLMModel("openai/m", api_base=server.url, api_key="sk-1234567890abcdef"))
        steps = agent.run("go", return_full_result=True).steps
    raw = steps[1]["model_output_message"]["raw"]
    assert raw["choices"][0]["finish_reason"] == "stop" and raw["usage"]["total_tokens"] > 0
    assert "sk-1234567890abcdef" not in repr(steps)
    assert not any(raw["id"] in repr(event) for event in Journal(tmp_path / "journal.sqlite").events(agent.run_id))


def test_the_model_reads_of_an_answer_as_much_as_of_any_value(make):
    agent = make([code("final_answer('word ' * 10_000)")], max_print_outputs_length=500)
    events = list(agent.events("write"))
    assert len(agent.memory.steps[1].observations) < 1_000
    assert "characters" in agent.memory.steps[1].observations
    assert next(event for event in events if isinstance(event, FinalAnswer)).text == "word " * 10_000
    assert agent.memory.steps[1].action_output == "word " * 10_000
