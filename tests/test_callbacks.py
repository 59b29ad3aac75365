"""What a user's functions see of each step, and may change."""

import threading
from unittest.mock import MagicMock

import pytest
from PIL import Image
from scripted_replies import call, code, of, request

from smol_kernel import CodeAgent, MultiStepAgent, ToolCallingAgent
from smol_kernel.errors import AgentError, ConfigError
from smol_kernel.events import MemoryEdited, Notice
from smol_kernel.journal import Journal
from smol_kernel.memory.rich_values import AgentText
from smol_kernel.memory.steps import ActionStep, FinalAnswerStep, MemoryStep, PlanningStep, TaskStep
from smol_kernel.tools.base import tool
from smol_kernel.tools.not_built import NOT_CALLED


@tool
def look(place: str) -> str:
    """Looks somewhere.

    Args:
        place: where.
    """
    return f"nothing at {place}"


@tool
def draw(size: int) -> object:
    """Draws.

    Args:
        size: how large.
    """
    return Image.new("RGB", (size, size))


def looks(*places):
    return [*(call("look", place=place) for place in places), call("final_answer", answer="nothing")]


@pytest.fixture
def caller(make):
    return lambda replies, **options: make(replies, [look], kind=ToolCallingAgent, **options)


def test_functions_of_one_or_two_parameters_are_called_in_order(caller):
    seen = []
    callbacks = [
        lambda step: seen.append(("one", step.step_number)),
        lambda step, agent: seen.append(("two", step.observations, agent.step_number)),
        lambda step, agent=None: seen.append(("default", agent is not None)),
        lambda step, **named: seen.append(("all", sorted(named))),
    ]
    agent = caller(looks("a"), step_callbacks=callbacks)
    agent.run("search")
    assert seen[:4] == [("one", 1), ("two", "nothing at a", 1), ("default", True), ("all", ["agent"])]
    assert len(seen) == 8  # FinalAnswerStep and TaskStep are not among the actions


def test_functions_by_class_of_step(caller):
    seen = []

    def note(step):
        seen.append(type(step))

    callbacks = {PlanningStep: note, ActionStep: [note, note], FinalAnswerStep: note, MemoryStep: note}
    caller(["1. Look.", *looks("a")], step_callbacks=callbacks, planning_interval=5).run("search")
    assert seen == [PlanningStep] * 2 + [ActionStep] * 6 + [FinalAnswerStep] * 2


def test_the_answer_comes_as_run_gives_it(caller):
    seen = []
    answer = caller(looks(), step_callbacks={FinalAnswerStep: lambda step: seen.append(step.output)}).run("search")
    assert seen == ["nothing"]
    assert [type(value) for value in (*seen, answer)] == [AgentText, AgentText]


def test_an_answer_that_a_callback_changes_in_place_is_recorded_so(make, tmp_path):
    agent = make([code("final_answer([1])")], step_callbacks={FinalAnswerStep: lambda step: step.output.append(2)})
    assert agent.run("go") == [1, 2]
    assert Journal(tmp_path / "journal.sqlite").find(agent.run_id).answer == "[1, 2]"


@pytest.mark.parametrize("replies", [looks(), [call("look", place="a"), "nothing"]])
def test_what_a_callback_makes_of_the_answer_is_the_answer(caller, tmp_path, replies):
    def redact(step):
        step.output = f"{step.output} [redacted]"

    options = {"step_callbacks": {FinalAnswerStep: redact}, "max_steps": 1, "name": "seeker", "description": "seeks"}
    told = "nothing [redacted]"
    agent = caller(replies, **options)
    assert agent.run("search") == told == agent.answer
    assert Journal(tmp_path / "journal.sqlite").find(agent.run_id).answer == told
    assert caller(replies, **options).run("search", return_full_result=True).output == told
    assert list(caller(replies, **options).run("search", stream=True))[-1].output == told
    called = caller(replies, **options)
    manager = caller([call("seeker", task="look"), call("final_answer", answer=1)], managed_agents=[called])
    manager.run("search")
    assert told in request(manager)


def test_an_answer_may_come_from_a_callback_alone(caller):
    agent = caller(
        [call("look", place="a"), ""],
        max_steps=1,
        step_callbacks={FinalAnswerStep: lambda step: setattr(step, "output", "none")},
    )
    assert agent.run("search") == "none"


def test_a_step_that_failed_and_one_that_a_limit_made_are_shown_too(caller):
    seen = []
    agent = caller([call("nowhere"), "Nothing."], step_callbacks=[seen.append], max_steps=1)
    agent.run("search")
    assert [type(step.error).__name__ for step in seen] == ["AgentToolExecutionError", "AgentMaxStepsError"]
    assert all(step.timing.duration is not None for step in seen)
    assert seen == agent.memory.steps[1:]


def test_what_a_callback_edits_of_earlier_steps_the_next_request_shows(caller, tmp_path):
    def shorten(step, agent):
        for earlier in agent.memory.steps:
            if isinstance(earlier, ActionStep):
                earlier.observations = "(looked)"
            elif isinstance(earlier, TaskStep):
                earlier.task = "search well"

    agent = caller(looks("a", "b"), step_callbacks=[shorten])
    events = list(agent.events("search"))
    assert "nothing at a" in request(agent, 1)
    assert "nothing at a" not in request(agent, 2)
    assert "(looked)" in request(agent, 2)
    assert "Task:\nsearch well" in request(agent, 1)
    edits = of(MemoryEdited, events)
    assert [(edit.step, edit.index, edit.changes) for edit in edits] == [
        (1, 0, {"task": "search well"}),
        (2, 1, {"observations": "(looked)"}),
        (3, 2, {"observations": "(looked)"}),
    ]
    assert of(MemoryEdited, Journal(tmp_path / "journal.sqlite").events(agent.run_id)) == edits


def test_pictures_may_be_dropped(make):
    def forget(step, agent):
        for earlier in agent.memory.steps:
            if isinstance(earlier, ActionStep) and earlier.step_number <= step.step_number - 1:
                earlier.observations_images = None

    replies = [call("draw", size=2), call("draw", size=3), call("final_answer", answer=1)]
    agent = make(replies, [draw], kind=ToolCallingAgent, step_callbacks=[forget])
    events = list(agent.events("draw"))

    def sizes(number):
        parts = [part for message in agent.model.requests[number] for part in message.content]
        return [part["image"].size for part in parts if part["type"] == "image"]

    assert [sizes(1), sizes(2)] == [[(2, 2)], [(3, 3)]]
    first, *_ = of(MemoryEdited, events)
    assert (first.index, first.changes) == (1, {"observations_images": ""})


def test_the_memory_holds_the_steps_before_the_one_shown(caller):
    seen = []
    callbacks = {MemoryStep: lambda step, agent: seen.append(step in agent.memory.steps or len(agent.memory.steps))}
    agent = caller(["1. Look.", *looks("a")], step_callbacks=callbacks, planning_interval=5)
    agent.run("search")
    assert seen == [1, 2, 3, 4]
    assert len(agent.memory.steps) == 4


def test_a_callback_may_show_the_model_a_picture(caller):
    def show(step, agent):
        step.observations_images = [Image.new("RGB", (4, 4))]

    agent = caller(looks("a"), step_callbacks=[show])
    events = list(agent.events("search"))
    kinds = [part["type"] for message in agent.model.requests[-1] for part in message.content]
    assert kinds.count("image") == 1
    assert of(MemoryEdited, events)[0].changes == {"observations_images": 1}


def test_a_callback_that_is_registered_later_is_told_as_well(caller):
    agent = caller(looks("a"))
    agent.step_callbacks.register(ActionStep, lambda step: setattr(step, "observations", "edited"))
    events = list(agent.events("search"))
    assert "edited" in request(agent)
    assert of(MemoryEdited, events)[0].changes == {"observations": "edited"}


def test_a_callback_that_raises_is_told_and_the_run_goes_on(caller):
    seen = []

    def breaks(step):
        raise KeyError("gone")

    agent = caller(looks("a"), step_callbacks=[breaks, seen.append])
    events = list(agent.events("search"))
    notices = [event.text for event in of(Notice, events)]
    assert len(notices) == 2
    assert notices[0] == "A step callback failed: KeyError: 'gone'"
    assert events[-1].state == "success"
    assert len(seen) == 2  # those after it are called
    assert agent.monitor.step_durations


def test_a_callback_may_stop_the_run(caller):
    def stop(step, agent):
        agent.interrupt()

    agent = caller(looks("a"), step_callbacks=[stop])
    with pytest.raises(AgentError, match="interrupted"):
        agent.run("search")
    agent.model.replies = [*agent.model.requests, *looks("b")]
    result = agent.run("search", return_full_result=True)
    assert (result.state, result.output) == ("interrupted", None)


def test_the_count_of_steps_goes_on_from_what_a_callback_set_it_to(caller):
    def enough(step, agent):
        agent.step_number = agent.max_steps

    agent = caller([*looks("a"), "Best."], step_callbacks=[enough], max_steps=5)
    agent.model.replies.pop(1)
    result = agent.run("search", return_full_result=True)
    assert (result.output, result.state, len(agent.model.requests)) == ("Best.", "max_steps_error", 2)

    def failures_are_free(step, agent):
        agent.step_number -= bool(step.error)

    failed = [call("nowhere"), call("elsewhere"), call("nobody")]
    agent = caller([*failed, *looks("a")], step_callbacks=[failures_are_free], max_steps=2)
    assert agent.run("search") == "nothing"
    assert [step.step_number for step in agent.memory.steps[1:]] == [1, 2, 3, 4, 5]  # each has a number of its own


@pytest.mark.parametrize("wrong", [None, "x"])
def test_a_count_of_steps_that_is_none_is_told_and_goes_on(caller, wrong):
    def forget(step, agent):
        agent.step_number = wrong

    *_, notice, finished, end = caller(looks("a"), step_callbacks=[forget]).events("search")
    assert f"step_number to {wrong!r}: the count goes on from 2" in notice.text
    assert (finished.counted, end.state) == (2, "success")


@pytest.mark.parametrize("max_steps", [1, 2])
def test_a_stop_in_the_last_step_is_a_stop(caller, max_steps):
    agent = caller(looks("a", "b"), step_callbacks=[lambda step, agent: agent.interrupt()], max_steps=max_steps)
    assert agent.run("search", return_full_result=True).state == "interrupted"
    assert len(agent.model.requests) == 1


def test_ctrl_c_in_a_callback_ends_the_run(caller, tmp_path):
    def pressed(step):
        raise KeyboardInterrupt

    agent = caller(looks("a"), step_callbacks=[pressed])
    with pytest.raises(KeyboardInterrupt):
        agent.run("search")
    assert Journal(tmp_path / "journal.sqlite").events(agent.run_id)[-1].state == "interrupted"


def test_an_async_callback_is_refused_for_it_would_never_run(caller):
    async def later(step):
        pass

    class Later:
        async def __call__(self, step):
            pass

    for callback in (later, Later()):
        with pytest.raises(ConfigError, match="callbacks are not awaited"):
            caller([], step_callbacks=[callback])


def test_what_is_no_callback_is_refused(caller):
    with pytest.raises(ConfigError, match="'print' is not callable"):
        caller([], step_callbacks=["print"])
    both = MagicMock()  # it can be gone through as well
    caller(looks(), step_callbacks={ActionStep: both}).run("search")
    assert both.call_count == 1
    for given in (3, [3], {ActionStep: 3}):
        with pytest.raises(ConfigError, match="3 is not callable: give a function that takes a step"):
            caller([], step_callbacks=given)
    with pytest.raises(ConfigError, match="'ActionStep' is not a class of steps"):
        caller([], step_callbacks={"ActionStep": print})


def test_the_monitor_counts_and_a_copy_has_callbacks_of_its_own(make, caller):
    seen, both = [], threading.Barrier(2)  # each waits for the other's request: they are at work at the same time
    first, last = looks("a")

    def asked(messages):
        both.wait(60)
        return first

    def note(step, agent):
        seen.append(agent)

    worker = caller([asked, asked, last, last], name="worker", description="Works.", step_callbacks=[note])
    text = "import asyncio\nfinal_answer(len(await asyncio.gather(worker.aio('a'), worker.aio('b'))))"
    boss = make([code(text)], managed_agents=[worker])
    assert boss.run("search") == 2
    assert len(seen) == 4
    assert len(set(map(id, seen))) == 2
    assert len(boss.monitor.step_durations) == 1


def test_a_copy_has_what_was_registered_later(caller):
    agent, seen = caller(looks("a")), []
    agent.step_callbacks.register(ActionStep, lambda step, agent: seen.append(agent))
    twin = agent.another()
    twin.step_callbacks.register(ActionStep, print)
    assert twin.run("search") == "nothing"
    assert seen == [twin] * 2
    assert (len(twin.monitor.step_durations), agent.monitor.step_durations) == (2, [])
    assert (len(twin.step_callbacks), len(agent.step_callbacks)) == (3, 2)


class Counting(ToolCallingAgent):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = []
        self.step_callbacks.register(ActionStep, self.see)

    def see(self, step):
        self.seen = [*self.seen, step]


def test_a_method_that_an_agent_registered_is_that_of_the_copy_in_a_copy(make):
    agent = make([call("final_answer", answer=1)], kind=Counting)
    twin = agent.another()
    assert twin.run("go") == 1
    assert (len(twin.seen), agent.seen) == (1, [])


def test_what_a_callback_makes_of_the_flag_of_a_step_decides_nothing(caller):
    def turn(step):
        step.is_final_answer, step.action_output = not step.is_final_answer, "turned"

    agent = caller(looks("a"), step_callbacks=[turn])
    assert agent.run("search") == "nothing"
    assert len(agent.memory.steps) == 3


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent, MultiStepAgent])
@pytest.mark.parametrize("name", NOT_CALLED)
def test_a_class_that_defines_what_nothing_would_call_is_refused(kind, name):
    with pytest.raises(ConfigError, match=rf"Guarded defines {name}\(\), which nothing here would call: "):
        type("Guarded", (kind,), {name: lambda self, *given: None})
    with pytest.raises(ConfigError, match=rf"Guarded defines {name}\(\)"):
        type("Guarded", (type("Mixin", (), {name: lambda self, *given: None}), kind), {})
    assert type("Own", (kind,), {"execute_tool_call": lambda self, name, arguments: None})


def test_in_place_of_what_comes_at_the_limit_of_steps_there_is_another_method():
    with pytest.raises(ConfigError, match=r"define provide_final_answer\(\)"):
        type("Guarded", (CodeAgent,), {"_handle_max_steps_reached": lambda self, task: "none"})
