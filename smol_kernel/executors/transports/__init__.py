"""How messages travel between the client and a child kernel: the seam, and the message itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

Channel = Literal["iopub", "shell", "stdin", "control"]


READ = frozenset(("stream", "display_data", "execute_result", "status", "smol_leaving"))
"""Types of messages on iopub whose content somebody reads."""


@dataclass(frozen=True)
class Message:
    """A message from the child, its signature checked, its content not."""

    channel: Channel
    type: str
    parent: str
    """Id of the request that caused it; empty if it names none."""
    content: dict[str, Any]
    """Empty where nobody reads it."""
    size: int = 0
    """Bytes it had on the way."""


class Transport(Protocol):
    """The Jupyter messaging protocol over some wire (https://jupyter-client.readthedocs.io/en/stable/messaging.html).

    One thread at a time calls `send`, `receive` and `close`; any thread may call `wake`, at any time.
    """

    def send(self, channel: Channel, type: str, content: dict[str, Any]) -> str:
        """Send a message and give its id. Raises ChildDiedError."""
        ...

    def receive(self, timeout: float | None) -> list[Message]:
        """Wait up to `timeout` seconds (None: for ever) for messages; output comes before requests and replies.

        Empty after the time, or after `wake`. Raises ChildDiedError once the child is gone and nothing of it is left
        to read, or when it sent what cannot be trusted.
        """
        ...

    def wake(self) -> None:
        """Let `receive` return."""
        ...

    def close(self) -> None:
        """Free sockets and descriptors."""
        ...
