"""The logger, the monitor and the callbacks of an agent, as programs written for them use them."""

from __future__ import annotations

import copy
import functools
import inspect
import io

import pytest
from scripted_replies import code

from smol_kernel.errors import AgentExecutionError, ConfigError
from smol_kernel.memory.messages import ChatMessage, MessageRole
from smol_kernel.memory.monitoring import AgentLogger, CallbackRegistry, LogLevel, Monitor
from smol_kernel.memory.steps import ActionStep, MemoryStep, PlanningStep, TaskStep
from smol_kernel.memory.usage import Timing, TokenUsage

SHOWN_AT = [
    ("log_error", ("boo",), LogLevel.ERROR),
    ("log_markdown", ("# hi", "Title"), LogLevel.INFO),
    ("log_code", ("Code", "x = 1\n\ny"), LogLevel.INFO),
    ("log_rule", ("Step 1",), LogLevel.INFO),
    ("log_task", ("Count.", "a model", "helper"), LogLevel.INFO),
    ("log_messages", ([ChatMessage(MessageRole.USER, "Hm?"), {"role": "user", "content": "x"}],), LogLevel.DEBUG),
]


def action(cls=ActionStep, **fields):
    return cls(step_number=1, timing=Timing(1.0, 3.0), **fields)


@pytest.mark.parametrize(("method", "arguments", "at"), SHOWN_AT)
@pytest.mark.parametrize("level", list(LogLevel))
def test_what_is_logged_is_shown_from_its_level_on(method, arguments, at, level):
    stream = io.StringIO()
    getattr(AgentLogger(level, stream), method)(*arguments)
    assert bool(stream.getvalue()) == (at <= level)


def test_a_level_can_be_named_and_another_one_is_refused():
    assert AgentLogger("debug").level is LogLevel.DEBUG
    for level in ("high", None, 1.5):
        with pytest.raises(ConfigError, match=f"verbosity level {level!r}: give one of LogLevel, OFF, ERROR, INFO"):
            AgentLogger(level)


def test_what_each_kind_looks_like(capsys):
    logger = AgentLogger(LogLevel.DEBUG)
    for method, arguments, _ in SHOWN_AT:
        getattr(logger, method)(*arguments)
    text = capsys.readouterr().out
    assert text.startswith("boo\nTitle\n# hi\nCode\n> x = 1\n>\n> y\n── Step 1 ──")
    assert text.endswith("New task for helper\nCount.\na model\nuser:\n  Hm?\nuser:\n  x\n")


def test_a_task_and_what_stands_below_it_may_be_anything(capsys):
    AgentLogger().log_task(content={"k": 1}, subtitle={"a": 1}, title="Run")
    AgentLogger().log_task("Count.", None)
    assert capsys.readouterr().out == "New task for Run\n{'k': 1}\n{'a': 1}\nNew task\nCount.\n"


@pytest.mark.parametrize(
    ("level", "shown"), [(1, True), (2, False), ("INFO", True), ("debug", False), ("ERROR", True), ("nonsense", True)]
)
def test_a_level_may_be_a_number_or_a_name(level, shown, capsys):
    AgentLogger().log("a", 1, level=level)
    assert capsys.readouterr().out == ("a 1\n" if shown else "")


class Console:
    """As much of a rich console as matters here."""

    def __init__(self):
        self.calls = []

    def print(self, *objects, markup=True, highlight=None, style=None):
        self.calls.append((objects, markup, highlight, style))


def test_another_console_gets_text_as_text_and_options_of_its_own():
    console = Console()
    logger = AgentLogger(console=console)
    logger.log_error("[boo]")
    logger.log("[b]bold[/b]", style="red")
    assert logger.console is console
    assert console.calls == [(("[boo]",), False, False, None), (("[b]bold[/b]",), True, None, "red")]


class Recording(Console):
    record, file = True, None


def test_a_run_is_printed_by_a_console_that_records_or_has_no_file(make):
    for console in (Console(), Recording()):
        agent = make([code("print('[b]')\nfinal_answer(1)")], logger=AgentLogger(console=console))
        assert agent.run("add [i]") == 1
        lines = [objects[0] for objects, markup, *_ in console.calls if not markup]
        assert any("add [i]" in line for line in lines) and any("[b]" in line for line in lines)
        assert not any("\x1b" in line or "\n" in line for line in lines)


def test_the_console_without_another_has_what_is_used_most_and_names_the_other():
    stream = io.StringIO()
    console = AgentLogger(console=stream).console
    console.rule("[bold]Step[/]", style="red")
    console.rule()
    console.log("a", 1, style="red")
    console.print("b", end="")
    assert console.width == 88
    assert stream.getvalue().split("\n") == [f"── [bold]Step[/] {'─' * 71}", "─" * 88, "a 1", "b", ""]
    with pytest.raises(AttributeError, match=r"no 'status': .*AgentLogger\(console=rich.console.Console\(\)\)"):
        console.status("busy")
    assert not hasattr(console, "record")
    assert copy.copy(console).file is stream


def test_a_console_that_fails_does_not_end_a_run():
    closed = io.StringIO()
    closed.close()
    logger = AgentLogger(console=closed)
    logger.log("x")
    logger.log_messages([3, {}, {"content": [{}, 3]}, ChatMessage("?", None)], level=LogLevel.INFO)
    logger.log_messages(None)
    AgentExecutionError("boo", logger)


def test_an_error_made_with_a_logger_is_logged(capsys):
    AgentExecutionError("\x1b[2Jboo", AgentLogger(LogLevel.ERROR))
    assert capsys.readouterr().out == "[2Jboo\n"


def test_a_tree_is_text_or_an_agent_that_draws_its_own(capsys):
    class Agent:
        def visualize(self):
            AgentLogger(LogLevel.OFF).visualize_agent_tree("CodeAgent · m")

    AgentLogger().visualize_agent_tree(Agent())
    assert capsys.readouterr().out == "CodeAgent · m\n"


def test_a_monitor_adds_up(capsys):
    monitor = Monitor("the model", AgentLogger(LogLevel.DEBUG))
    monitor.update_metrics(action(token_usage=TokenUsage(3, 4)))
    monitor.update_metrics(action())
    plan = ChatMessage(MessageRole.ASSISTANT, "P")
    monitor.update_metrics(PlanningStep([], plan, "P", Timing(1.0), TokenUsage(1000, 10)))
    assert monitor.step_durations == [2.0, 2.0, 0.0]
    assert (monitor.total_input_token_count, monitor.total_output_token_count) == (1003, 14)
    assert monitor.get_total_token_counts() == TokenUsage(1003, 14)
    assert "Step 3: 0.00 s · in all 1,003 tokens read and 14 written" in capsys.readouterr().out
    monitor.reset()
    assert (monitor.tracked_model, monitor.step_durations) == ("the model", [])
    assert monitor.get_total_token_counts().total_tokens == 0


class Special(ActionStep):
    pass


def test_callbacks_are_called_for_a_step_and_its_bases_nearest_first():
    registry, called = CallbackRegistry(), []
    for cls in (MemoryStep, ActionStep, Special, PlanningStep):
        registry.register(cls, lambda step, cls=cls: called.append(cls))
    for step, expected in [
        (action(Special), [Special, ActionStep, MemoryStep]),
        (action(), [ActionStep, MemoryStep]),
        (TaskStep("x"), [MemoryStep]),
    ]:
        called.clear()
        registry.callback(step, agent="A")
        assert called == expected


class Callbacks:
    """Callbacks as people write them; each tells what it got."""

    def one(self, step):
        return None

    def both(self, step, agent):
        return agent

    def maybe(self, step, agent=None):
        return agent

    def any(self, step, **options):
        return options["agent"]

    def other(self, step, limit=1):
        return limit


@pytest.mark.parametrize(
    ("name", "got"), [("one", None), ("both", "A"), ("maybe", "A"), ("any", "A"), ("other", 1), ("partial", "P")]
)
def test_a_callback_gets_what_its_parameters_ask_for(name, got):
    found = []
    function = functools.partial(Callbacks().both, agent="P") if name == "partial" else getattr(Callbacks(), name)

    def keep(*args, **kwargs):
        found.append(function(*args, **kwargs))

    keep.__signature__ = inspect.signature(function)
    registry = CallbackRegistry()
    registry.register(ActionStep, keep)
    options = {} if name == "partial" else {"agent": "A"}
    registry.callback(action(), **options)
    assert found == [got]


def test_a_builtin_and_an_object_may_be_callbacks():
    registry, seen = CallbackRegistry(), []
    registry.register(ActionStep, seen.append)
    registry.callback(step := action(), agent="A")
    assert seen == [step]


@pytest.mark.parametrize(("cls", "callback"), [("ActionStep", print), (ActionStep, "print")])
def test_what_is_no_class_of_steps_or_no_function_is_refused(cls, callback):
    with pytest.raises(ConfigError, match=r"'ActionStep'|'print'"):
        CallbackRegistry().register(cls, callback)


def test_an_error_of_a_callback_is_the_callers_to_handle():
    registry = CallbackRegistry()
    registry.register(ActionStep, lambda step: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        registry.callback(action())


def test_a_monitor_tells_the_cost_and_the_cached_tokens_too():
    monitor = Monitor(None, AgentLogger(LogLevel.OFF))
    monitor.update_metrics(action(token_usage=TokenUsage(10, 2, cached_tokens=4, cost=0.5)))
    monitor.update_metrics(action(token_usage=TokenUsage(1, 1, cached_tokens=1, cost=0.25)))
    monitor.update_metrics(action())
    assert monitor.get_total_token_counts() == TokenUsage(11, 3, cached_tokens=5, cost=0.75)
    monitor.update_metrics(action(token_usage=TokenUsage(1, 1)))
    assert monitor.get_total_token_counts() == TokenUsage(12, 4, cached_tokens=5)
    monitor.reset()
    assert monitor.get_total_token_counts() == TokenUsage(0, 0, cost=0.0)
