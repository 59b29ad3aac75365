"""The events of a run whose times are known: two steps, two tools side by side, and a kill between."""

from __future__ import annotations

from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    Event,
    FilesMade,
    FinalAnswer,
    ModelReplied,
    Output,
    RunFinished,
    RunResumed,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
    ToolReturned,
)

HOURS = 3_600.0


def a_run(text: str = "") -> list[Event]:
    """The run; it is taken up again two hours after the kill. `text` stands wherever somebody may write something."""
    one, two = {"run": "r", "step": 1}, {"run": "r", "step": 2}
    return [
        RunStarted(run="r", time=100.0, task=f"Count. {text}\nAll of them.", agent="CodeAgent", model="m/1",
                   isolation="box", max_steps=9, system_prompt=f"Be kind. {text}", tools=["find", text or "count"],
                   inputs={"df": f"a table {text}"}),
        StepStarted(**one, time=100.0),
        ModelReplied(**one, time=102.0, content="…", model="m/1", input_tokens=1000, output_tokens=50,
                     cached_tokens=400, cost=0.25, seconds=1.5),
        ActionProposed(**one, time=102.0, thought=f"Look for them. {text}", code=f"find('a')  # {text}"),
        ToolCalled(**one, time=102.0, call="c1", tool="find", args=[f"a {text}"], kwargs={"most": 3},
                   summary="find('a', most=3)", blocking=True),
        ToolCalled(**one, time=102.5, call="c2", tool="find", args=["b"], summary="find('b')"),
        ToolReturned(**one, time=103.0, call="c1", tool="find", ok=True, value=[{"title": f"One {text}"}],
                     summary="[…]", seconds=1.0),
        ToolReturned(**one, time=104.0, call="c2", tool="find", ok=False, error_type="KeyError", error=f"b {text}",
                     summary="KeyError: b", seconds=1.5),
        Output(**one, time=104.0, channel="stdout", text=f"found {text}\n"),
        Output(**one, time=104.0, channel="display", text="<HTML>", data={"text/html": f"<b>found</b> {text}"}),
        ActionFinished(**one, time=104.5, status="ok", completed=1, seconds=0.5),
        StepFinished(**one, time=104.5, seconds=4.5),
        StepStarted(**two, time=104.5),
        RunResumed(run="r", time=104.5 + 2 * HOURS, kept=12, differences=[f"The file changed. {text}"]),
        StepStarted(**two, time=104.5 + 2 * HOURS),
        ModelReplied(**two, time=105.5 + 2 * HOURS, content="…", model="m/1", seconds=1.0),
        ActionProposed(**two, time=105.5 + 2 * HOURS, thought="Done.", code="final_answer(1)"),
        ActionFinished(**two, time=106.0 + 2 * HOURS, status="ok", completed=1, final=True, seconds=0.1),
        StepFinished(**two, time=106.0 + 2 * HOURS, seconds=1.5),
        FilesMade(run="r", time=106.0 + 2 * HOURS, files=[{"path": f"a {text}.csv", "bytes": 2000, "change": "made"}]),
        FinalAnswer(run="r", time=106.0 + 2 * HOURS, value=f"One. {text}", text=f"One. {text}"),
        RunFinished(run="r", time=106.0 + 2 * HOURS, state="success", steps=2),
    ]  # fmt: skip
