"""How much of a run is told to the person at the terminal."""

from __future__ import annotations

from enum import IntEnum


class LogLevel(IntEnum):
    """Verbosity of an agent."""

    OFF = -1
    ERROR = 0
    INFO = 1
    DEBUG = 2
