"""What an agent is made and run with: inputs, pictures, executors, loggers, journals, and runs side by side."""

import io
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy
import pandas
import pytest
from PIL import Image
from scripted_replies import call, code, of, request

import smol_kernel
from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import (
    AgentBudgetError,
    AgentError,
    AgentExecutionError,
    AgentGenerationError,
    AgentParsingError,
    ConfigError,
    ModelError,
    NotPortableError,
)
from smol_kernel.events import ActionFinished, ModelFellBack, RunStarted
from smol_kernel.executors.base import CodeOutput, PythonExecutor
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.values import RemoteValue
from smol_kernel.journal import Journal
from smol_kernel.memory.budget import Budget
from smol_kernel.memory.monitoring import AgentLogger, LogLevel
from smol_kernel.memory.steps import ActionStep, FinalAnswerStep, TaskStep
from smol_kernel.memory.usage import Timing
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.tools.base import tool


@pytest.fixture(scope="module")
def child():
    executor = KernelExecutor()
    yield executor
    executor.cleanup()


@tool
def look(place: str) -> str:
    """Looks somewhere.

    Args:
        place: where.
    """
    return f"nothing at {place}"


def parts(agent, number=-1):
    """The parts of a request's messages that are no text."""
    return [part for message in agent.model.requests[number] for part in message.content if part["type"] != "text"]


# -- inputs


class Unpicklable:
    def __init__(self):
        self.lock = threading.Lock()


def test_inputs_are_whole_in_the_child_and_a_line_each_in_the_prompt(make, child):
    given = {
        "numbers": list(range(3000)),
        "table": pandas.DataFrame({"a": range(1000), "b": "x" * 500}),
        "grid": numpy.zeros((300, 300)),
        "picture": Image.new("RGB", (64, 48)),
        "text": "word " * 5000,
        "function": len,
        "nested": {"a": [{"b": [1, 2, {"c": "d" * 3000}]}]},
    }
    agent = make(
        [code("final_answer([len(numbers), table.shape, grid.shape, picture.size, len(text), function('abc')])")],
        executor=child,
    )
    answer = agent.run("look", reset=False, additional_args=given)
    assert answer == [3000, (1000, 2), (300, 300), (64, 48), 25000, 3]
    task = request(agent).partition("Task:\n")[2]
    assert len(task) < 1500
    lines = [line for line in task.splitlines() if line.startswith("- `")]
    assert [line.split("`")[1] for line in lines] == list(given)
    assert all("\n" not in line and len(line) < 300 for line in lines)
    assert "(1000, 2)" in task or "1,000" in task or "1000" in task
    assert set(agent.state) >= set(given)


def test_inputs_and_state_keep_classes_that_are_made_of_builtins(make, child):
    class Row(NamedTuple):
        item: str
        price: float

    actions = ["final_answer((sum(row.price for row in rows), counts.most_common(1)))", "final_answer(more['b'])"]
    agent = make(map(code, actions), executor=child)
    given = {"rows": [Row("a", 2.0), Row("b", 3.0)], "counts": Counter("aab")}
    assert agent.run("add", reset=False, additional_args=given) == (5.0, [("a", 2)])
    agent.state["more"] = defaultdict(list, a=[1])
    assert agent.run("look", reset=False) == []


class Dotted(dict):
    """Items are attributes."""

    __getattr__ = dict.get


class Strict(dict):
    """The same, and what is not there is an error of its own."""

    def __getattr__(self, name):
        return self[name]


class Sized(dict):
    """Its size is not to be had."""

    @property
    def nbytes(self):
        raise OSError("gone")


@pytest.mark.parametrize("kind", [Dotted, Strict, Sized])
def test_an_input_whose_attributes_are_anything_is_handed_over(make, child, kind):
    agent = make([code("final_answer(given['a'])")], executor=child)
    assert agent.run("look", reset=False, additional_args={"given": kind(a=1)}) == 1


def test_what_can_only_stay_in_the_host_is_refused_in_words_or_a_handle(make, tmp_path):
    agent = make([code("final_answer(type(thing).__name__)")])
    with pytest.raises(NotPortableError, match="variable 'thing'"):
        agent.run("look", additional_args={"thing": Unpicklable()})
    stored = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    assert stored[-1].state == "error" and "thing" in stored[-1].error


@pytest.mark.parametrize("name", ["not a name", "a-b", "", "final_answer", "look"])
def test_an_input_needs_a_name_of_its_own(make, child, name):
    with pytest.raises(ConfigError, match=f"variable '{name}'"):
        make([], [look], executor=child).run("look", reset=False, additional_args={name: 1})


@pytest.mark.parametrize("given", [[1], 5, "rows", pandas.DataFrame({"a": [1]})])
def test_inputs_are_given_by_name(make, child, given):
    with pytest.raises(ConfigError, match=r"additional_args is (a|an) \w+: give a dict"):
        make([], executor=child).run("look", reset=False, additional_args=given)


def test_inputs_of_structured_calls_are_named_in_arguments(make):
    @tool
    def size(image: object) -> str:
        """The size.

        Args:
            image: a picture.
        """
        return str(image.size)

    agent = make([call("size", image="photo"), call("final_answer", answer="photo")], [size], kind=ToolCallingAgent)
    answer = agent.run("size", additional_args={"photo": Image.new("RGB", (3, 4))})
    assert "(3, 4)" in request(agent)
    assert answer.to_raw().size == (3, 4)
    assert "photo" in agent.state
    agent.model.replies.append(call("final_answer", answer="photo"))
    assert agent.run("again") == "photo"


# -- pictures, sounds, videos


@pytest.mark.parametrize(
    "sound", [b"sound", (8000, [0, 1]), (numpy.int64(8000), [0, 1])], ids=["bytes", "pair", "numpy"]
)
def test_a_single_picture_sound_or_video_need_not_be_in_a_list(make, sound):
    picture = Image.new("RGB", (3, 3))
    agent = make([call("final_answer", answer=1)], [look], kind=ToolCallingAgent)
    agent.run("see", images=picture, audio=sound, videos=("a.mp4", "b.mp4"))
    step = agent.memory.steps[0]
    assert isinstance(step, TaskStep)
    assert (step.task_images, step.task_audio, step.task_videos) == ([picture], [sound], ["a.mp4", "b.mp4"])


def test_media_go_with_the_task_and_stay_in_the_conversation(make):
    picture, sound, video = Image.new("RGB", (3, 3)), b"sound", b"video"
    agent = make([call("look", place="a"), call("final_answer", answer=1)], [look], kind=ToolCallingAgent)
    agent.run("see", images=[picture], audio=[sound], videos=[video])
    for number in (0, 1):
        assert parts(agent, number) == [
            {"type": "image", "image": picture},
            {"type": "audio", "audio": sound},
            {"type": "video", "video": video},
        ]
    step = agent.memory.steps[0]
    assert isinstance(step, TaskStep) and step.task_images == [picture]


def test_figures_of_an_action_come_back_as_pictures(make, child):
    pytest.importorskip("matplotlib")
    plot = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    picture = "from PIL import Image\nImage.new('RGB', (7, 5), 'red')"
    agent = make([code(plot), code(picture), code("final_answer(1)")], executor=child)
    agent.run("plot", reset=False)
    first, second = (part["image"] for part in parts(agent))
    assert first.size[0] > 100
    assert (second.size, second.getpixel((0, 0))) == ((7, 5), (255, 0, 0))
    assert [len(step.observations_images or []) for step in agent.memory.steps[1:]] == [1, 1, 0]


# -- conversations and steps of one's own


def test_without_reset_conversation_namespace_and_numbers_go_on(make, child):
    agent = make([code("n = 1\nfinal_answer(n)"), code("final_answer(n + 1)")], executor=child)
    first, *_ = agent.events("one", reset=False)
    events = list(agent.events("two", reset=False))
    assert (agent.answer, events[0].continues) == (2, first.run)
    assert [type(step).__name__ for step in agent.memory.steps] == ["TaskStep", "ActionStep"] * 2
    assert len(agent.monitor.step_durations) == 2


def test_a_step_of_ones_own(make, child):
    agent = make([code("x = 4"), "no code", code("1 / 0"), code("final_answer(x)")], executor=child)
    agent.memory.steps.append(TaskStep("four"))
    step = ActionStep(1, Timing())
    output = agent.step(step)
    assert (output.output, output.is_final_answer, step.code_action) == (4, False, "x = 4")
    agent.memory.steps.append(step)
    with pytest.raises(AgentParsingError):
        agent.step(ActionStep(2, Timing()))
    with pytest.raises(AgentExecutionError, match="ZeroDivisionError"):
        agent.step(ActionStep(3, Timing()))
    output = agent.step(ActionStep(4, Timing()))
    assert (output.output, output.is_final_answer) == (4, True)
    assert "Task:\nfour" in request(agent) and "x = 4" in request(agent)
    assert len(agent.memory.steps) == 2


def test_a_step_after_a_stopped_run_is_taken(make):
    replies = [call("look", place="a"), call("look", place="b"), "Nothing."]
    agent = make(replies, [look], kind=ToolCallingAgent, step_callbacks=[lambda step, agent: agent.interrupt()])
    with pytest.raises(AgentError, match="interrupted"):
        agent.run("search")
    step = ActionStep(2, Timing())
    agent.step(step)
    assert step.observations == "nothing at b"
    agent.interrupt()
    assert agent.provide_final_answer("search").text == "Nothing."


def test_a_last_answer_may_be_asked_for_at_any_time(make):
    agent = make([call("look", place="a"), call("final_answer", answer=1), "Nothing."], [look], kind=ToolCallingAgent)
    agent.run("search")
    message = agent.provide_final_answer("search well")
    assert (message.role, message.text) == ("assistant", "Nothing.")
    assert "The task was:\nsearch well" in request(agent)
    assert len(agent.memory.steps) == 3
    with pytest.raises(AgentGenerationError, match="script"):
        agent.provide_final_answer("search")


# -- where it acts, prints and is recorded


class Own:
    """An executor of another library: it has three methods and no base class."""

    def __init__(self):
        self.tools, self.variables = {}, {}

    def send_tools(self, tools):
        self.tools = tools

    def send_variables(self, variables):
        self.variables.update(variables)

    def __call__(self, code_action):
        if "fail" in code_action:
            raise ValueError("it failed")
        names = {"final_answer": lambda x: x, **self.tools, **self.variables}
        return CodeOutput(eval(code_action, names), "log", code_action.startswith("final_answer"))


class OwnOfOurs(Own, PythonExecutor):
    """The same as a subclass of ours."""

    def __init__(self):
        super().__init__()
        self.state = {}


@pytest.mark.parametrize("kind", [Own, OwnOfOurs])
def test_an_executor_of_ones_own(make, kind):
    own = kind()
    replies = [code("look(where)"), code("fail"), code("final_answer(double(4))")]
    agent = make(replies, [look], executor=own, checks=["answer > 7", lambda answer: answer < 9])
    own.variables["double"] = lambda x: 2 * x
    assert agent.run("search", additional_args={"where": "home"}) == 8
    assert "Execution logs:\nlog\nLast output from code snippet:\nnothing at home" in request(agent)
    assert "it failed" in request(agent)
    assert set(own.tools) == {"look", "final_answer"}
    agent.state["x"] = 5
    assert agent.state["x"] == 5
    agent.cleanup()


@pytest.mark.parametrize("wrong", [KernelExecutor, object(), "local"])
def test_what_is_no_executor_is_refused(make, wrong):
    with pytest.raises(ConfigError, match="executor"):
        make([], executor=wrong)


def test_the_state_is_the_childs(make):
    agent = make([code("x = [1]\nclass A: ...\na = A()\nfinal_answer(y)")])
    agent.state["y"] = 3
    assert agent.run("three", reset=False) == 3
    assert agent.state["x"] == [1]
    assert isinstance(agent.state["a"], RemoteValue)
    assert {"x", "y", "a", "A"} <= set(agent.state)
    agent.state.update(x=2)
    del agent.state["y"]
    agent.model.replies.append(code("final_answer([x, 'y' in globals()])"))
    assert agent.run("two", reset=False) == [2, False]


def test_the_executor_works_before_the_first_run(make):
    agent = make([])
    agent.python_executor.send_variables({"x": 2})
    assert agent.python_executor("x + 1").output == 3


@pytest.mark.parametrize(
    ("level", "shown", "hidden"),
    [(LogLevel.OFF, "", "Task"), (LogLevel.INFO, "search for it", "[no such]"), (LogLevel.DEBUG, "search for it", "")],
)
def test_what_is_printed(make, capsys, level, shown, hidden):
    agent = make([call("final_answer", answer=1)], kind=ToolCallingAgent, verbosity_level=level)
    agent.run("search for it")
    printed = capsys.readouterr().out
    assert shown in printed and bool(printed) == (level > 0)
    assert not hidden or hidden not in printed


def test_a_logger_of_ones_own_has_its_own_level_and_place(make, capsys):
    where = io.StringIO()
    logger = AgentLogger(LogLevel.INFO, where)
    agent = make([call("final_answer", answer=1)], kind=ToolCallingAgent, logger=logger)
    assert agent.logger is logger
    agent.run("search for it")
    agent.replay()
    assert "search for it" in where.getvalue()
    assert capsys.readouterr().out == ""


def test_where_runs_are_recorded(make, tmp_path, monkeypatch):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "other.sqlite"))
    for journal in (False, None, str(tmp_path / "own.sqlite"), Journal(tmp_path / "open.sqlite")):
        agent = make([call("final_answer", answer=1)], kind=ToolCallingAgent, journal=journal)
        agent.run("one")
    files = {path.name.partition(".")[0] for path in tmp_path.iterdir()}
    assert files == {"other", "own", "open"}
    assert Journal(tmp_path / "open.sqlite").events(agent.run_id)[-1].state == "success"


# -- tools


def test_tools_may_change_between_runs_and_under_one(make, child):
    @tool
    def found(place: str) -> str:
        """Looks as well.

        Args:
            place: where.
        """
        return f"it is at {place}"

    agent = make([code("final_answer(look('a'))"), code("final_answer(found('a'))")], [look], executor=child)
    agent.run("search", reset=False)
    agent.tools["found"] = found
    assert agent.run("search", reset=False) == "it is at a"
    assert "def found" in request(agent)

    def give(step, agent):
        agent.tools["found"] = found
        agent.tools.pop("look", None)

    looks = [call(name, place="a") for name in ("look", "look", "found")]
    agent = make([*looks, call("final_answer", answer=1)], [look], kind=ToolCallingAgent, step_callbacks=[give])
    assert agent.run("search") == 1
    assert "nothing at a" in request(agent, 1)
    assert "There is no tool 'look'" in request(agent, 2)
    assert "it is at a" in request(agent, 3)


@pytest.mark.parametrize("kind", [smol_kernel.CodeAgent, ToolCallingAgent])
def test_names_that_clash_are_refused(make, kind):
    worker = make([], name="look", description="Looks.")
    twin = make([], name="twin", description="Looks.")
    for options in ({"tools": [look, look]}, {"managed_agents": [worker]}, {"managed_agents": [twin, twin]}):
        with pytest.raises(ConfigError, match=r"called '(look|twin)'"):
            make([], kind=kind, **{"tools": [look], **options})
    with pytest.raises(ConfigError, match="neither name nor description"):
        make([], kind=kind, managed_agents=[make([])])


def test_a_tool_of_that_name_replaces_ours(make):
    @tool
    def final_answer(answer: int) -> int:
        """Gives the answer.

        Args:
            answer: the answer.
        """
        return answer * 2

    assert make([call("final_answer", answer=4)], [final_answer], kind=ToolCallingAgent).run("four") == 8
    assert make([code("final_answer(4)")], [final_answer]).run("four") == 8


# -- models


@pytest.mark.parametrize("stream", [False, True])
def test_a_list_of_models_is_a_fallback_told_in_events(make, tmp_path, stream):
    broken = ScriptedModel([ValueError("down")], model_id="first")
    sound = ScriptedModel([call("look", place="a"), call("final_answer", answer=1)], model_id="second")
    agent = make([], [look], model=[broken, sound], kind=ToolCallingAgent, stream_outputs=stream)
    events = list(agent.events("search"))
    (fell,) = of(ModelFellBack, events)
    assert (fell.failed, fell.model, fell.step) == ("first", "second", 1)
    assert "down" in fell.reason
    assert events[-1].state == "success"
    assert of(ModelFellBack, Journal(tmp_path / "journal.sqlite").events(agent.run_id)) == [fell]


@pytest.mark.parametrize("wrong", ["gpt", None, 3, []])
def test_what_is_no_model_is_refused(make, wrong):
    with pytest.raises(ModelError):
        smol_kernel.CodeAgent(tools=[], model=wrong)


def test_a_function_may_be_the_model(make):
    def model(messages, stop_sequences=None, **options):
        return call("final_answer", answer=len(messages))

    assert make([], model=model, kind=ToolCallingAgent).run("count") == 2


# -- wrong settings


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_steps": "3"}, "max_steps is '3'"),
        ({"max_steps": True}, "max_steps is True"),
        ({"planning_interval": -1}, "planning_interval is -1"),
        ({"name": "two words"}, "'two words' cannot be called"),
        ({"checks": [1]}, "check 1"),
    ],
)
def test_wrong_settings_are_named(make, options, said):
    with pytest.raises(ConfigError, match=said):
        make([], **options)


def test_a_run_has_a_limit_of_steps_of_its_own(make):
    agent = make([call("look", place="a"), "Nothing."] * 2, [look], kind=ToolCallingAgent)
    result = agent.run("search", max_steps=1, return_full_result=True)
    assert (result.state, result.output) == ("max_steps_error", "Nothing.")
    assert "limit of 1 step without" in result.error
    with pytest.raises(ConfigError, match="max_steps is 0"):
        agent.run("search", max_steps=0)
    assert agent.max_steps == 20
    assert agent.run("search", max_steps=1) == "Nothing."  # the refused run left nothing locked


class Stubborn(ToolCallingAgent):
    """Cannot give a last answer."""

    def provide_final_answer(self, task):
        raise ValueError("no answer")


def pressed(step):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("options", "raised", "state"),
    [
        ({"prompt_templates": {"final_answer": {"pre_messages": "{{ nothing }}"}}}, ConfigError, "error"),
        ({"kind": Stubborn}, ValueError, "error"),
        ({"replies": KeyboardInterrupt()}, KeyboardInterrupt, "interrupted"),
        ({"step_callbacks": {FinalAnswerStep: pressed}}, KeyboardInterrupt, "interrupted"),
    ],
)
def test_what_goes_wrong_at_the_end_of_a_run_is_its_end(make, tmp_path, options, raised, state):
    last = options.pop("replies", "Nothing.")
    agent = make([call("look", place="a"), last], [look], **{"kind": ToolCallingAgent, "max_steps": 1, **options})
    with pytest.raises(raised):
        agent.run("search")
    assert Journal(tmp_path / "journal.sqlite").events(agent.run_id)[-1].state == state


# -- side by side


def test_a_stop_of_a_copy_is_none_of_the_one_it_was_made_of(make):
    asked, go_on = threading.Event(), threading.Event()

    def model(messages):
        asked.set()
        assert go_on.wait(60)
        return call("final_answer", answer=1)

    agent = make([model], kind=ToolCallingAgent)
    with ThreadPoolExecutor() as pool:
        run = pool.submit(agent.run, "one")
        assert asked.wait(60)
        agent.another().interrupt()
        go_on.set()
        assert run.result(60) == 1
    assert len(agent.model.requests) == 1


def test_two_agents_in_two_threads_do_not_meet(make):
    answers, ready = {}, threading.Barrier(2)

    def work(name):
        def first(messages):
            ready.wait(60)
            return code(f"x = {name!r}\nprint(look(x))")

        agent = make([first, code("final_answer(x * 2)")], [look])
        answers[name] = (agent.run(f"find {name}"), request(agent))

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for name, other in ("ab", "ba"):
        answer, told = answers[name]
        assert answer == name * 2
        assert f"nothing at {name}" in told and f"nothing at {other}" not in told


def test_a_run_in_another_thread_ends_there(make, child):
    agent = make([code("print('on', flush=True)\nwhile True: pass")], executor=child, budget=Budget(seconds=60))
    result, seen = [], []

    def stop_when_it_runs(event):
        seen.append(event)
        if getattr(event, "channel", None) == "stdout":
            agent.interrupt()

    thread = threading.Thread(target=lambda: [stop_when_it_runs(event) for event in agent.events("hang", reset=False)])
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert (seen[-1].state, of(ActionFinished, seen)[0].status, result) == ("interrupted", "interrupted", [])
    assert of(RunStarted, seen)[0].max_steps == 20


def test_a_stop_before_the_run_does_not_keep_it_from_running(make):
    agent = make([call("final_answer", answer=1)], kind=ToolCallingAgent)
    agent.interrupt()
    assert agent.run("one") == 1


def test_a_budget_that_is_used_up_holds_for_steps_of_ones_own_too(make):
    agent = make([call("look", place="a"), "Nothing."], [look], kind=ToolCallingAgent, budget=Budget(tool_calls=1))
    agent.run("search", max_steps=1)
    agent.life.account.count(cost=None)
    agent.life.account._limits["cost"] = 1
    with pytest.raises(AgentBudgetError, match="unknown"):
        agent.step(ActionStep(2, Timing()))
