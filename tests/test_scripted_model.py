"""ScriptedModel, DemoModel and ModelCall: no network, no kernel."""

from __future__ import annotations

import contextlib
import contextvars
import io
import re
import threading
from unittest.mock import MagicMock, Mock, create_autospec

import pytest

from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import ConfigError, ModelError
from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    agglomerate_stream_deltas,
)
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.base import Model
from smol_kernel.models.call import ModelCall
from smol_kernel.models.cassette import CassetteModel
from smol_kernel.models.demo import DEMO_INSTRUCTION, DEMO_TASKS, DemoModel, demo_data
from smol_kernel.models.fallback import as_model
from smol_kernel.models.litellm import LiteLLMModel
from smol_kernel.models.scripted import ScriptedModel


def user(text):
    return ChatMessage(MessageRole.USER, text)


# ScriptedModel


def test_replies_come_in_their_order():
    model = ScriptedModel(["one", ChatMessage(MessageRole.ASSISTANT, "two")])
    assert [model.generate([user("a")]).text, model.generate([user("b")]).text] == ["one", "two"]


def test_a_reply_may_be_a_function_of_the_messages():
    model = ScriptedModel([lambda messages: f"you said {messages[-1].text}"])
    assert model.generate([user("hi")]).text == "you said hi"


def test_a_reply_that_is_an_exception_is_raised():
    with pytest.raises(TimeoutError, match="slow"):
        ScriptedModel([TimeoutError("slow")]).generate([])


def test_a_script_that_is_over_says_so():
    model = ScriptedModel(["only"], model_id="mine")
    model.generate([])
    with pytest.raises(ModelError, match="'mine' is over: it has 1 reply, and this is request 2"):
        model.generate([])


def test_requests_are_kept_as_they_were_when_asked():
    model = ScriptedModel(["a", "b"])
    messages = [user("first")]
    model.generate(messages)
    messages.append(user("second"))
    model.generate(messages)
    assert [len(request) for request in model.requests] == [1, 2]


@pytest.mark.parametrize(
    "text", ["", "one", "a line\n\n  another, indented, longer than a piece\n", "x" * 5_000, "\n\n"]
)
def test_a_streamed_reply_adds_up_to_the_same_text(text):
    pieces = list(ScriptedModel([text]).generate_stream([]))
    assert agglomerate_stream_deltas(pieces).text == text


def test_a_streamed_message_keeps_its_calls_and_usage():
    call = ChatMessageToolCall(ChatMessageToolCallFunction("search", '{"q": 1}'), "c1")
    message = ChatMessage(MessageRole.ASSISTANT, "so", tool_calls=[call], token_usage=TokenUsage(3, 2))
    streamed = agglomerate_stream_deltas(ScriptedModel([message]).generate_stream([]))
    assert (streamed.text, streamed.tool_calls, streamed.token_usage) == ("so", [call], TokenUsage(3, 2))


# as_model


def test_a_function_is_a_model_and_gets_the_parameters_it_names():
    seen = {}

    def mine(messages, stop_sequences=None):
        seen["stop"] = stop_sequences
        return messages[0].text.upper()

    model = as_model(mine)
    assert model.generate([user("hi")], stop_sequences=["x"], response_format=None).text == "HI"
    assert (model.model_id, seen) == ("mine", {"stop": ["x"]})


def test_a_function_that_returns_something_else_is_told_what_to_return():
    with pytest.raises(ModelError, match="returned 5; return a ChatMessage or a str"):
        as_model(lambda messages: 5).generate([])


def test_a_name_is_no_model():
    with pytest.raises(ModelError, match=re.escape("pass LiteLLMModel('gpt-4')")):
        as_model("gpt-4")
    with pytest.raises(ModelError, match="not 7"):
        as_model(7)


def test_a_model_stays_itself():
    model = ScriptedModel([])
    assert as_model(model) is model


MOCKS = [
    lambda: Mock(),
    lambda: Mock(spec=Model),
    lambda: MagicMock(spec=Model, model_id="m"),
    lambda: create_autospec(LiteLLMModel, instance=True),
]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("mock", MOCKS)
def test_a_mock_of_a_model_is_asked_as_a_model(mock, later):
    call = ChatMessageToolCall(ChatMessageToolCallFunction("final_answer", {"answer": 3}), "c")
    model = mock()
    plan, answer = ChatMessage(MessageRole.ASSISTANT, "A plan."), ChatMessage(MessageRole.ASSISTANT, None, [call])
    model.generate.side_effect = [plan, answer]
    given = ScriptedModel([]) if later else model
    agent = ToolCallingAgent([], given, planning_interval=1, verbosity_level=0, journal=False)
    if later:
        agent.model = model
    assert agent.run("t") == 3
    assert model.generate.call_count == 2
    assert agent.model.as_recorded()["model"] in ("m", type(model).__name__)


def test_a_model_that_is_set_later_is_made_one():
    agent = ToolCallingAgent([], ScriptedModel([]), verbosity_level=0, journal=False)
    agent.model = lambda messages: '{"name": "final_answer", "arguments": {"answer": 3}}'
    assert agent.run("t") == 3
    with pytest.raises(ModelError, match=re.escape("pass LiteLLMModel('gpt-4')")):
        agent.model = "gpt-4"


# ModelCall


def test_a_streamed_call_yields_pieces_and_then_has_the_message():
    call = ModelCall(ScriptedModel(["one two\nthree"]), [], stream=True)
    assert "".join(piece.content for piece in call) == "one two\nthree"
    assert call.message.text == "one two\nthree"


def test_a_plain_call_yields_nothing_and_then_has_the_message():
    call = ModelCall(ScriptedModel(["one"]), [])
    assert (list(call), call.message.text) == ([], "one")


def test_a_model_that_cannot_stream_is_asked_plainly():
    call = ModelCall(as_model(lambda messages: "plain"), [], stream=True)
    assert (list(call), call.message.text) == ([], "plain")


def test_what_the_model_raises_is_raised_by_the_iteration():
    error = LookupError("no such thing")
    with pytest.raises(LookupError) as caught:
        list(ModelCall(ScriptedModel([error]), []))
    assert caught.value is error


class StuckModel(Model):
    """Sends one piece, then waits for ever."""

    def __init__(self):
        super().__init__(model_id="stuck")
        self.stuck = threading.Event()

    def generate(self, messages, *args, **kwargs):
        self.stuck.set()
        threading.Event().wait()

    def generate_stream(self, messages, *args, **kwargs):
        yield from ScriptedModel(["first "]).generate_stream(messages)
        self.generate(messages)


@pytest.mark.parametrize(("stream", "heard"), [(False, 0), (True, 1)])
def test_a_call_is_left_at_once_from_another_thread(stream, heard):
    model = StuckModel()
    call = ModelCall(model, [], stream=stream)
    threading.Thread(target=lambda: (model.stuck.wait(), call.abandon()), daemon=True).start()
    assert len(list(call)) <= heard
    assert call.message is None


def test_a_call_abandoned_before_it_began_asks_nothing():
    model = ScriptedModel(["one"])
    call = ModelCall(model, [])
    call.abandon()
    assert (list(call), model.requests) == ([], [])


def test_the_model_sees_the_callers_context_variables():
    place = contextvars.ContextVar("place", default="nowhere")
    place.set("here")
    call = ModelCall(as_model(lambda messages: place.get()), [])
    list(call)
    assert call.message.text == "here"


# DemoModel


def conversation(task, *said, system=""):
    """A conversation in which each of the replies `said` was observed to print `co2 infl`."""
    messages = [ChatMessage(MessageRole.SYSTEM, system), user(f"Task:\n{task}")]
    for reply in said:
        messages.append(ChatMessage(MessageRole.ASSISTANT, reply))
        messages.append(ChatMessage(MessageRole.TOOL_RESPONSE, "Observation:\nco2 infl"))
    return messages


def replies_to(task, system=""):
    model, said = DemoModel(), []
    with contextlib.suppress(ModelError):
        while True:
            said.append(model.generate(conversation(task, *said, system=system)).text)
    return said


def code_of(reply):
    return re.search(r"<code>\n(.*)\n</code>", reply, re.DOTALL)[1]


def run_script(task, data, times=1, **names):
    """Runs a demo script as cells; returns answer and names of the errors met on the way."""
    import matplotlib as mpl

    mpl.use("Agg")
    answers, errors = [], []
    namespace = {"df": data, "final_answer": answers.append, **names}
    for reply in replies_to(task, system="def fetch_unit(" if "fetch_unit" in names else ""):
        for _ in range(times):
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(compile(code_of(reply).replace("plt.show()", "shown = fig"), "<action>", "exec"), namespace)
            except KeyError as error:
                errors.append(repr(error))
    return answers, errors, namespace


def test_the_co2_script_makes_one_mistake_and_computes_its_answer():
    df = demo_data("co2")
    answers, errors, names = run_script(DEMO_TASKS[0].task, df)
    yearly = df["co2"].groupby(df.index.year).mean()
    by_decade = {decade: yearly[decade + 9] - yearly[decade - 1] for decade in (1960, 1970, 1980, 1990)}
    fastest = max(by_decade, key=by_decade.get)
    assert errors == ["KeyError('date')"]
    assert len(answers) == 1
    assert answers[0].startswith(f"In the {fastest}s: the yearly mean grew by {by_decade[fastest]:.1f} ppm, from ")
    assert len(names["shown"].axes[0].patches) == 4


def test_the_co2_script_asks_the_unit_tool_where_there_is_one():
    answers, _, _ = run_script(DEMO_TASKS[0].task, demo_data("co2"), fetch_unit=lambda name: f"<unit of {name}>")
    assert "<unit of co2>" in answers[0]


def test_each_cell_of_the_demo_may_run_twice():
    for demo in DEMO_TASKS:
        answers, _, _ = run_script(demo.task, demo_data(demo.data), times=2)
        assert len(answers) == 2 and answers[0] == answers[1]


def test_an_instruction_in_a_fork_of_the_first_task_is_scripted_too():
    df = demo_data("co2")
    task = conversation(DEMO_TASKS[0].task)[:2]
    told = [*task, conversation(DEMO_INSTRUCTION.task)[1]]
    yearly = df["co2"].groupby(df.index.year).median()
    assert code_of(DemoModel().generate(told).text) == code_of(DEMO_INSTRUCTION.replies[0])
    namespace = {"df": df}
    exec(code_of(DEMO_INSTRUCTION.replies[0]), namespace)
    assert namespace["growth"][1980] == pytest.approx(yearly[1989] - yearly[1979])
    assert not DemoModel.knows(DEMO_INSTRUCTION.task)
    with pytest.raises(ModelError, match="no script for 'Use the median"):
        DemoModel().generate(told[:1] + told[2:])


def test_the_macrodata_script_names_the_row_with_the_largest_inflation():
    df = demo_data("macrodata")
    answers, errors, _ = run_script(DEMO_TASKS[1].task, df)
    assert errors == []
    assert (
        answers == [f"Quarter 3 of 1974: {df['infl'].max():.1f} % a year."] or f"{df['infl'].max():.1f}" in answers[0]
    )


def test_the_demo_knows_its_tasks_however_they_are_wrapped():
    assert all(DemoModel.knows(demo.task) for demo in DEMO_TASKS)
    assert DemoModel.knows("  " + DEMO_TASKS[0].task.replace(" ", "\n") + "\n")


@pytest.mark.parametrize("task", ["", "Sum the table", DEMO_TASKS[0].task + " And in which year?"])
def test_the_demo_refuses_other_tasks_and_lists_its_own(task):
    assert not DemoModel.knows(task)
    with pytest.raises(ModelError) as caught:
        DemoModel().generate(conversation(task))
    assert all(demo.task in str(caught.value) for demo in DEMO_TASKS)


def test_the_demo_refuses_a_shipped_task_with_more_below_it():
    with pytest.raises(ModelError, match="no script"):
        DemoModel().generate(conversation(DEMO_TASKS[0].task + "\n\nThen write a poem\nabout it."))


def test_the_demo_reads_past_the_list_of_variables():
    task = DEMO_TASKS[0].task + "\n\nThese variables are defined already:\n- `df`: DataFrame 2284 x 1"
    assert "df.head()" in DemoModel().generate(conversation(task)).text


def test_the_demo_serves_a_second_task_of_the_same_conversation():
    first = conversation(DEMO_TASKS[0].task, "a", "b", "c")
    assert DemoModel().generate([*first, *conversation(DEMO_TASKS[1].task)[1:]]).text.startswith("I look at the table")


def test_the_demo_says_which_table_it_needs():
    messages = conversation(DEMO_TASKS[0].task, "a")
    messages[-1].content = "Error:\nNameError: name 'df' is not defined"
    with pytest.raises(ModelError, match=re.escape("df = demo_data('co2')")):
        DemoModel().generate(messages)


def test_unknown_demo_data_is_refused_by_name():
    with pytest.raises(ConfigError, match="no demo data 'iris'; choose one of 'co2', 'macrodata'"):
        demo_data("iris")


def test_a_text_in_place_of_a_list_is_refused():
    with pytest.raises(ConfigError, match="replies is a text: give a list"):
        ScriptedModel("text")
    with pytest.raises(ConfigError, match="the path of a cassette is a ScriptedModel"):
        CassetteModel("c.json", ScriptedModel([]))
