"""Where a child works: the folder that was named, or the host's own. And the user's home."""

from __future__ import annotations

import os
from pathlib import Path

from smol_kernel.errors import ConfigError


def working_folder(cwd: str | Path | None) -> str:
    """The real path of `cwd`, or of the host's own folder (None). Raises ConfigError if that is gone."""
    try:
        return os.path.realpath(cwd or os.getcwd())
    except FileNotFoundError:
        raise ConfigError("the working folder is gone; change to one that is there") from None


def home_folder() -> str | None:
    """The user's home, as it is named; None where none is known, neither by HOME nor by an entry for this user."""
    home = os.path.expanduser("~")
    return home if home.startswith("/") else None


def holds(above: str, path: str) -> bool:
    """Whether `path` is the folder `above`, or lies in it; both are real paths."""
    return path == above or path.startswith(above.rstrip("/") + "/")
