"""How a child comes to be: a launcher starts one kernel process and says how to reach it. `choose` calls one."""

from __future__ import annotations

from typing import Protocol

from smol_kernel.executors.launchers.memory_line import MemoryLine
from smol_kernel.executors.transports import Transport


class Child(Protocol):
    """One kernel process, from its start to its end."""

    @property
    def transport(self) -> Transport:
        """The way to it."""
        ...

    @property
    def loaded(self) -> bool:
        """Whether our modules (see `child_modules`) are in it already."""
        ...

    @property
    def memory_line(self) -> MemoryLine | None:
        """By which it is passed descriptors of memory; None where it can be passed none."""
        ...

    @property
    def notices(self) -> list[str]:
        """What the person watching has to know of this child, in sentences."""
        ...

    def ending(self) -> str:
        """How the process ended and why that may be, to follow "it ended by itself"; empty if nobody knows."""
        ...

    def alive(self) -> bool:
        """Whether the process still runs."""
        ...

    def connected(self) -> None:
        """Called once the client is connected: what was needed for that alone may go."""
        ...

    def refresh(self, action: bool) -> None:
        """Let it see the working folder as it is now, whatever it saw there before, less what is to be hidden. By the
        thread that runs actions, before each `action` and within one after a tool."""
        ...

    def end_rehearsal(self, in_use: bool) -> bool:
        """Let it write to its mounts themselves, and reach its hosts, from now on (see `settings.BoxSettings`); gives
        whether it does. It does not if it is in such a mount, save if what is `in_use` may be lost. By the thread that
        runs actions."""
        ...

    def last_words(self) -> str:
        """The end of what the process wrote to its standard error before it was connected."""
        ...

    def kill(self) -> None:
        """End the process and all it started. Any thread, any number of times."""
        ...

    def close(self) -> None:
        """`kill`, and free what is held. By the thread that owns the child; more than once is fine."""
        ...
