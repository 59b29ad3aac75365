"""The one stream of events: what a run did, as frozen plain data.

The loop and the executors yield them, the journal stores them, and everything people see is drawn from them.
"""

from smol_kernel.events.base import SCHEMA_VERSION, Event, from_dict
from smol_kernel.events.kinds import (
    ActionFinished,
    ActionProposed,
    Checked,
    Compacted,
    FilesMade,
    FinalAnswer,
    HandedOff,
    Instructed,
    MemoryEdited,
    ModelDelta,
    ModelFellBack,
    ModelReplied,
    Notice,
    Output,
    PlanMade,
    Progress,
    RunFinished,
    RunResumed,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
    ToolProgress,
    ToolReturned,
)
from smol_kernel.events.settled import settled
from smol_kernel.events.stream import current_call, emit, listening, watched

__all__ = [
    "SCHEMA_VERSION",
    "ActionFinished",
    "ActionProposed",
    "Checked",
    "Compacted",
    "Event",
    "FilesMade",
    "FinalAnswer",
    "HandedOff",
    "Instructed",
    "MemoryEdited",
    "ModelDelta",
    "ModelFellBack",
    "ModelReplied",
    "Notice",
    "Output",
    "PlanMade",
    "Progress",
    "RunFinished",
    "RunResumed",
    "RunStarted",
    "StepFinished",
    "StepStarted",
    "ToolCalled",
    "ToolProgress",
    "ToolReturned",
    "current_call",
    "emit",
    "from_dict",
    "listening",
    "settled",
    "watched",
]
