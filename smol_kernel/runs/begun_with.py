"""The values that the cells of a run begin with: those that it was given, else those of its record. Used by `prove`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smol_kernel.events import RunStarted
from smol_kernel.executors.kept_values import recorded_value
from smol_kernel.executors.values import MalformedValue, decode
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.proof import Unknown
from smol_kernel.runs.recording import is_foreign


def begun_with(transcript: Transcript, started: RunStarted | None, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values by their names; of the record of somebody else in the plain form alone: a pickle could be any code.
    Raises Unknown for one that is neither `given` nor recorded."""
    values: dict[str, Any] = {}
    recorded = started.values if started else {}
    for name in transcript.inputs:
        if given is not None and name in given:
            values[name] = given[name]
        elif "value" in recorded.get(name, {}):
            try:
                decode(recorded[name]["value"])
                values[name] = recorded_value(recorded[name], for_child=started is not None and not is_foreign(started))
            except MalformedValue:
                raise Unknown(f"the value of `{name}`, which was handed in, cannot be read from the record") from None
        else:
            raise Unknown(f"the value of `{name}`, which was handed in, is not in the record")
    return values
