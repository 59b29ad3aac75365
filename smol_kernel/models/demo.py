"""`DemoModel`: the replies, tasks and data behind `--model demo`, for a first look without a key or a network.

The replies were written by hand, one mistake and its repair included; no language model is asked. What they say of
the data is computed by their code when it runs.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from smol_kernel.errors import ConfigError, MissingDependencyError, ModelError
from smol_kernel.memory.messages import ChatMessage, MessageRole
from smol_kernel.models.scripted import Reply, ScriptedModel

_LOOK = """I look at the table first: how long it is, which columns it has, and how its first rows read.

<code>
print(f"{len(df):,} rows; columns: {', '.join(df.columns)}")
df.head()
</code>"""

_YEARS_FROM_A_COLUMN = """A yearly mean needs the year of each row, which I take from its date.

<code>
import pandas as pd

years = pd.to_datetime(df["date"]).dt.year
yearly = df["co2"].groupby(years).mean()
</code>"""

_YEARS_FROM_THE_INDEX = """There is no such column: the dates are the index of the table. I group by the year of the \
index and add up the growth from year to year within each decade. Decades that are not covered whole are left out.

<code>
yearly = df["co2"].groupby(df.index.year).mean()
rise = yearly.diff().dropna()
decades = rise.groupby(rise.index // 10 * 10)
growth = decades.sum()[decades.count() == 10].rename_axis("decade")
growth.round(2)
</code>"""

_MEDIANS = """The median of each year, then, in place of its mean. The dates are the index of the table, so I group by \
its year. Decades that are not covered whole are left out.

<code>
yearly = df["co2"].groupby(df.index.year).median()
rise = yearly.diff().dropna()
decades = rise.groupby(rise.index // 10 * 10)
growth = decades.sum()[decades.count() == 10].rename_axis("decade")
growth.round(2)
</code>"""

_PLOT = """Now the drawing: a bar for each decade, the fastest one in color. {about_unit}

<code>
import matplotlib.pyplot as plt

unit = {unit}
fastest = growth.idxmax()
colors = ["#c8553d" if decade == fastest else "#b9c3cc" for decade in growth.index]
fig, ax = plt.subplots(figsize=(6, 3.5))
bars = ax.bar([f"{{decade}}s" for decade in growth.index], growth, color=colors)
ax.bar_label(bars, fmt="%.1f")
ax.margins(y=0.12)
ax.set_title(f"The yearly {middle} grew fastest in the {{fastest}}s")
ax.set_ylabel(f"growth within the decade ({{unit}})")
plt.show()
</code>"""

_ANSWER_DECADE = """Everything is computed, so I answer from these values.

<code>
final_answer(
    f"In the {fastest}s: the yearly MIDDLE grew by {growth[fastest]:.1f} {unit}, "
    f"from {yearly[fastest - 1]:.1f} in {fastest - 1} to {yearly[fastest + 9]:.1f} in {fastest + 9}."
)
</code>"""

_ANSWER_QUARTER = """The row with the largest value of `infl` names the quarter. I take it and answer from it.

<code>
peak = df.loc[df["infl"].idxmax()]
final_answer(f"Quarter {peak['quarter']:.0f} of {peak['year']:.0f}: {peak['infl']:.1f} % a year.")
</code>"""


def _plot(messages: list[ChatMessage], middle: str = "mean") -> str:
    """The plot, of yearly means or medians; its unit is asked of `fetch_unit` where the system prompt offers it."""
    if any(message.role == MessageRole.SYSTEM and "def fetch_unit(" in message.text for message in messages):
        return _PLOT.format(
            unit='fetch_unit(name="co2")', middle=middle, about_unit="The unit on its axis is looked up by a tool."
        )
    return _PLOT.format(unit='"ppm"', middle=middle, about_unit="The unit on its axis is parts per million.")


@dataclass(frozen=True)
class DemoTask:
    """A task the demo knows. It is about a table in the variable `df`."""

    task: str
    data: str
    """Name for `demo_data`."""
    column: str
    """A column by which the table is recognized."""
    replies: tuple[Reply, ...]


DEMO_TASKS = (
    DemoTask(
        "In which decade did the yearly mean grow fastest, and by how much? Draw it.",
        data="co2",
        column="co2",
        replies=(_LOOK, _YEARS_FROM_A_COLUMN, _YEARS_FROM_THE_INDEX, _plot, _ANSWER_DECADE.replace("MIDDLE", "mean")),
    ),
    DemoTask(
        "Which quarter had the highest inflation, and how high was it?",
        data="macrodata",
        column="infl",
        replies=(_LOOK, _ANSWER_QUARTER),
    ),
)
"""The tasks shipped with the package; the first is the one `smol demo` shows."""
DEMO_INSTRUCTION = DemoTask(
    "Use the median.",
    data="co2",
    column="co2",
    replies=(_MEDIANS, partial(_plot, middle="median"), _ANSWER_DECADE.replace("MIDDLE", "median")),
)
"""What a fork of the first task may be told after any of its steps."""


class DemoModel(ScriptedModel):
    """Gives hand-written replies to the shipped tasks (`DEMO_TASKS`; in a fork DEMO_INSTRUCTION) and refuses others.

    It asks no language model. It holds no place in a script: each reply follows from the messages, so one model serves
    any number of runs.
    Raises ModelError for another task, or where `df` is not the task's table.
    """

    def __init__(self) -> None:
        super().__init__((), model_id="demo")

    @property
    def named_as(self) -> list[str]:
        """Its name."""
        return ["demo"]

    @staticmethod
    def knows(task: str) -> bool:
        """True if `task` is one of the shipped tasks. Asked by the fronts before a run begins."""
        return demo_task(task) is not None

    def reply(self, number: int, messages: list[ChatMessage]) -> Reply:
        """The reply that follows in the script of the last task in `messages`."""
        place, text = _last_task(messages)
        demo = DEMO_INSTRUCTION if place > 1 and text == DEMO_INSTRUCTION.task else demo_task(text)
        if demo is None:
            raise ModelError(refusal(text))
        later = messages[place + 1 :]
        said = sum(message.role == MessageRole.ASSISTANT for message in later)
        if said and demo.column not in "".join(m.text for m in later if m.role == MessageRole.TOOL_RESPONSE):
            raise ModelError(
                f"the demo's script for this task needs a table with the column {demo.column!r} in the variable df: "
                f"df = demo_data({demo.data!r}) (from smol_kernel.models.demo), handed over with --in df"
            )
        if said >= len(demo.replies):
            raise ModelError(f"the demo's script for this task is over after {len(demo.replies)} replies")
        return demo.replies[said]


def refusal(task: str) -> str:
    """What to tell a person whose task the demo does not know."""
    shipped = "\n".join(f"  {demo.task}" for demo in DEMO_TASKS)
    return (
        f"the demo has no script for {task[:200]!r}. Its replies are written by hand, for these tasks only:\n"
        f"{shipped}\nFor any other task choose a real model, such as openai/gpt-4.1-mini or ollama/qwen3"
    )


def demo_task(task: str) -> DemoTask | None:
    """The shipped task that `task` is, if it is one."""
    words = task.split()
    return next((demo for demo in DEMO_TASKS if demo.task.split() == words), None)


def _last_task(messages: list[ChatMessage]) -> tuple[int, str]:
    """Place and text of the last task, without the list of variables that the loop puts below it."""
    for place in range(len(messages) - 1, -1, -1):
        text = messages[place].text
        if messages[place].role == MessageRole.USER and text.startswith("Task:"):
            task, _, listed = text.removeprefix("Task:").strip().partition("\n\n")
            is_list = all(line.startswith("- `") for line in listed.splitlines()[1:])
            return place, task if is_list else f"{task}\n\n{listed}"
    raise ModelError("the demo was sent no task")


def _co2() -> Any:
    return importlib.import_module("statsmodels.datasets.co2").load_pandas().data


def _macrodata() -> Any:
    return importlib.import_module("statsmodels.datasets.macrodata").load_pandas().data


_DATA: dict[str, Callable[[], Any]] = {"co2": _co2, "macrodata": _macrodata}


def demo_data(name: str = "co2") -> Any:
    """A DataFrame that statsmodels ships: "co2" (weekly CO2 in the air, 1958 to 2001) or "macrodata" (US quarters).

    Raises MissingDependencyError without the extra `[demo]`, ConfigError for another name.
    """
    if name not in _DATA:
        raise ConfigError(f"there is no demo data {name!r}; choose one of {', '.join(map(repr, _DATA))}")
    needed = ("matplotlib", "pandas", "pyarrow", "statsmodels")
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    if missing:
        raise MissingDependencyError(f"the demo needs {', '.join(missing)}: pip install 'smol-kernel[demo]'")
    return _DATA[name]()
