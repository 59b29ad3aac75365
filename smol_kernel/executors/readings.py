"""What the messages of a child say to the host, which keeps of each what has the form expected here.

Used by `client`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from smol_kernel.executors.observation import told, truncate
from smol_kernel.executors.transports import Message

MAX_TEXT = 2 << 20
"""Characters that a message may print: ours passes on half of that."""
MAX_PROMPT = 10_000
"""Characters of what `input()` asks."""


@dataclass(frozen=True)
class Printed:
    """Text on a stream."""

    stream: Literal["stdout", "stderr"]
    text: str


@dataclass(frozen=True)
class Displayed:
    """Display data, or the value of a last expression."""

    channel: Literal["display", "result"]
    data: dict[str, str]


@dataclass(frozen=True)
class Asked:
    """A tool call, or a genuine `input()`. `request` is as the child sent it, unchecked."""

    request: Any
    prompt: str
    password: bool
    printed: bool
    """Whether the action printed something just before: that comes by another channel, maybe a moment later."""
    size: int = 0
    """Bytes of the message it came in."""

    @property
    def number(self) -> int | None:
        """The id of a request of our own code in the child; None if it has none that ours would give."""
        number = self.request.get("id") if isinstance(self.request, dict) else None
        return number if type(number) is int and 0 < number < 2**53 else None

    @property
    def leaving(self) -> bool:
        """Whether it is no call: the child ends, once it has an answer."""
        return isinstance(self.request, dict) and "leaving" in self.request


@dataclass(frozen=True)
class Replied:
    """The action ended, or the checks. `report` is what the child says of it, unchecked; empty if it said nothing."""

    status: str
    report: dict[str, Any] = field(default_factory=dict)
    error_type: str = ""
    error: str = ""


@dataclass(frozen=True)
class Started:
    """The action is about to run: an interrupt reaches it from now on."""


@dataclass(frozen=True)
class Idle:
    """No more output of the action follows."""


@dataclass(frozen=True)
class Answered:
    """The answer to what a call was asked that waits, see `asides`. `report` is as the child sent it, unchecked."""

    report: dict[str, Any]
    size: int = 0
    """Bytes of the message it came in."""


Reading = Printed | Displayed | Asked | Replied | Started | Idle | Answered


def read(message: Message) -> Reading | None:
    """What it says; None: nothing that is of use here."""
    content = message.content
    match message.channel, message.type:
        case "iopub", "stream":
            return _printed(content)
        case "iopub", "display_data":
            return _displayed("display", content)
        case "iopub", "execute_result":
            return _displayed("result", content)
        case "iopub", "status" if content.get("execution_state") == "idle":
            return Idle()
        case "iopub", "execute_input" | "smol_started":
            return Started()
        case "iopub", "smol_leaving":
            return Asked(content, "", password=False, printed=False)
        case "stdin", "input_request":
            request = content.get("smol")
            printed = isinstance(request, dict) and request.get("printed") is True
            prompt, password = told(content, "prompt", MAX_PROMPT), content.get("password") is True
            return Asked(request, prompt, password, printed, message.size)
        case "stdin", "smol_answer":
            return Answered(content, message.size)
        case "shell", "execute_reply":
            return _replied(content)
        case "shell", "smol_reply":
            return Replied(status=told(content, "status", 20), report=content)
        case _:
            return None


def _printed(content: dict[str, Any]) -> Printed | None:
    text = content.get("text")
    if not isinstance(text, str):
        return None
    return Printed("stderr" if content.get("name") == "stderr" else "stdout", truncate(text, MAX_TEXT))


def _displayed(channel: Literal["display", "result"], content: dict[str, Any]) -> Displayed | None:
    data: Any = content.get("data")
    if not isinstance(data, dict):
        return None
    return Displayed(channel, {mime: text for mime, text in data.items() if isinstance(text, str)})


def _replied(content: dict[str, Any]) -> Replied:
    payload: Any = content.get("payload")
    reports = [
        part
        for part in (payload if isinstance(payload, list) else [])
        if isinstance(part, dict) and part.get("source") == "smol"
    ]
    return Replied(
        status=told(content, "status", 20),
        report=reports[-1] if reports else {},
        error_type=told(content, "ename", 200),
        error=told(content, "evalue", 10_000),
    )
