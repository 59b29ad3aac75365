"""The events of a run whose agent plans, and has two agents at work side by side, one of which calls a third."""

from __future__ import annotations

from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    Checked,
    Compacted,
    Event,
    FinalAnswer,
    HandedOff,
    MemoryEdited,
    ModelDelta,
    ModelFellBack,
    ModelReplied,
    Notice,
    Output,
    PlanMade,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
    ToolProgress,
    ToolReturned,
)

PLAN = "1. Have both reports read.\n2. Compare what they say of 1990."


def started(run: str, task: str, **fields) -> RunStarted:
    fields = {"agent": "CodeAgent", "model": "m/1", "isolation": "none", "max_steps": 5, "system_prompt": "", **fields}
    return RunStarted(run=run, task=task, **fields)


def replied(run: str, step: int, read: int, written: int, cost: float | None = None, **fields) -> ModelReplied:
    fields = {"content": "…", "model": "m", **fields}
    return ModelReplied(run=run, step=step, input_tokens=read, output_tokens=written, cost=cost, **fields)


def call(run: str, step: int, call: str, tool: str, summary: str) -> ToolCalled:
    return ToolCalled(run=run, step=step, call=call, tool=tool, summary=summary)


def back(run: str, step: int, call: str, tool: str, summary: str, ok: bool = True) -> ToolReturned:
    return ToolReturned(run=run, step=step, call=call, tool=tool, ok=ok, summary=summary, seconds=0.5)


def the_plan() -> list[Event]:
    return [
        ModelDelta(run="p", step=1, text="1. Have both "),
        ModelDelta(run="p", step=1, text="reports read."),
        replied("p", 1, 100, 20, 0.0004, purpose="plan", content=PLAN),
        PlanMade(run="p", step=1, plan=PLAN),
    ]


def two_at_once(text: str = "") -> list[Event]:
    """What agents `a` and `b`, of one name, do at the same time, and `c`, which `a` calls."""
    a, b, c = ({"run": run, "step": 1} for run in "abc")
    return [
        started("a", f"Read the report of 1990. {text}", name="reader", parent="p", call="c1"),
        started("b", "Read the report of 1991.", name="reader", parent="p", call="c2", agent="ToolCallingAgent"),
        StepStarted(**a),
        StepStarted(**b),
        replied("a", 1, 1000, 50, 0.001),
        ActionProposed(**a, thought=f"Have it fetched. {text}", code=f"page = fetcher('1990')  # {text}"),
        call("a", 1, "c1", "fetcher", f"fetcher('1990'{text})"),
        replied("b", 1, 2000, 60, tool_calls=[{"id": "x"}]),
        ActionProposed(**b, thought="", code='fetch(year=1991)\nunit(of="co2")'),
        started("c", f"Fetch 1990 {text}", name="fetcher", parent="a", call="c1"),
        StepStarted(**c),
        call("b", 1, "x", "fetch", "fetch(year=1991)"),
        call("b", 1, "y", "unit", 'unit(of="co2")'),
        ToolProgress(**b, tool="fetch", call="x", text="pages", done=3, total=10),
        back("b", 1, "y", "unit", "'ppm'"),
        ActionProposed(**c, thought="Fetch it.", code=f"final_answer(get('1990'))  # {text}"),
        Output(**c, channel="stdout", text=f"200 OK {text}\n"),
        ActionFinished(**c, status="ok", completed=1, final=True),
        StepFinished(**c, seconds=0.2),
        FinalAnswer(run="c", value="354", text=f"354 {text}"),
        RunFinished(run="c", state="success", steps=1),
        back("a", 1, "c1", "fetcher", f"'354'{text}"),
        back("b", 1, "x", "fetch", "'355'"),
        ActionFinished(**b, status="ok", completed=2),
        StepFinished(**b, seconds=0.7),
        ActionFinished(**a, status="error", error_type="ValueError", error=f"no number {text}", traceback="Traceback"),
        StepFinished(**a, error_type="AgentExecutionError", error="ValueError", seconds=0.9),
        FinalAnswer(run="a", value="354 ppm", text="354 ppm"),
        RunFinished(run="a", state="max_steps_error", error="Out of steps.", steps=1, cost=0.001, seconds=1.5),
        FinalAnswer(run="b", value="355 ppm", text="355 ppm"),
        RunFinished(run="b", state="success", steps=1, input_tokens=2000, output_tokens=60, seconds=1.0),
    ]


def whole_run(text: str = "") -> list[Event]:
    """The whole family, in the order in which it happened."""
    one = {"run": "p", "step": 1}
    return [
        started("p", f"Compare the reports. {text}", tools=["reader", "final_answer"]),
        *the_plan(),
        StepStarted(**one),
        ModelFellBack(**one, failed="m/1", model="m/2", reason=f"overloaded {text}"),
        Compacted(**one, steps=[1, 2, 3]),
        replied("p", 1, 3000, 100, 0.01),
        ActionProposed(
            **one,
            thought="Have them read side by side.",
            code="import asyncio\none, two = await asyncio.gather(reader.aio('1990'), reader.aio('1991'))\ntwo - one",
        ),
        call("p", 1, "c1", "reader", "reader('1990')"),
        call("p", 1, "c2", "reader", "reader('1991')"),
        *two_at_once(text),
        back("p", 1, "c1", "reader", "'354 ppm'"),
        back("p", 1, "c2", "reader", "'355 ppm'"),
        Output(**one, channel="result", text="1"),
        ActionFinished(**one, status="ok", completed=3),
        Checked(**one, check="answer > 0", ok=True),
        Checked(**one, check=f"is_int {text}", ok=False, reason=f"a string {text}"),
        MemoryEdited(**one, index=1, changes={"observations": "…"}),
        HandedOff(**one, agent="writer", reason=f"it writes better {text}"),
        Notice(**one, text="One of two."),
        Notice(**one, text="Two of two."),
        StepFinished(**one, seconds=2.0),
        started("w", "Write it down.", name="writer", parent="p"),
        StepStarted(run="w", step=1),
        replied("w", 1, 10, 5, None),
        ActionProposed(run="w", step=1, thought="Write.", code="final_answer(1)"),
        ActionFinished(run="w", step=1, status="ok", completed=1, final=True),
        StepFinished(run="w", step=1, seconds=0.1),
        FinalAnswer(run="w", value=1, text="1 ppm more"),
        RunFinished(run="w", state="success", steps=1),
        FinalAnswer(run="p", value=1, text="1 ppm more"),
        RunFinished(run="p", state="success", steps=1, input_tokens=3100, output_tokens=120, cost=0.0104, seconds=3.0),
    ]
