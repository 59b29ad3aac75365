"""What tells whether the card of a row has to be drawn again. Used by `view`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smol_kernel.render.records import PlanRecord, StepRecord
from smol_kernel.render.transcript import Transcript

if TYPE_CHECKING:
    from smol_kernel.render.transcript import Row


def fingerprint(row: Row) -> tuple[Any, ...]:
    """Changes whenever the card of the row does."""
    if isinstance(row, Transcript):
        return (row.state, row.answered, *map(fingerprint, row.rows))
    if isinstance(row, PlanRecord):
        return (row.state, len(row.text), row.totals.seconds)
    if not isinstance(row, StepRecord):
        return ()
    answered = sum(call.ok is not None for call in row.calls)
    length = sum(len(output.text) for output in row.outputs)
    parts = (len(row.reply), len(row.outputs), length, len(row.calls), answered, row.seconds)
    parts += (len(row.beforehand), len(row.notes))
    moving = (row.progress, *(call.progress for call in row.open_calls), *map(fingerprint, row.all_runs()))
    return (row.state, row.code, row.repaired_in, row.error, *parts, *moving)
