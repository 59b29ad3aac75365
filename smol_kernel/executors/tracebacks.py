"""Errors and warnings of an action as text for the model: its own frames, the last one of a library, the causes.

Travels into the child as source, for `child.py`; needs the standard library alone.
"""

from __future__ import annotations

import itertools
import linecache
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterator

MAX_TEXT = 20_000
"""Characters of a traceback."""
MAX_CAUSES = 8
MAX_PARTS = 10
_FRAMES = 6  # of an action's own, at each end


class Tracebacks:
    """Writes tracebacks. `files` are the names under which IPython compiled actions, all of them in `folder()`; the
    texts call them `<action>`. Frames of files that begin with one of `hidden` are of no interest to the model."""

    def __init__(self, folder: Callable[[], str], *hidden: str) -> None:
        self.files: set[str] = set()
        self._folder = folder
        self._hidden = hidden

    def text(self, error: BaseException) -> str:
        """The error and what caused it, the cause first, as Python prints it."""
        parts = [self._one(error)]
        while len(parts) < 2 * MAX_CAUSES:
            if error.__cause__ is not None:
                parts.append("\nThe above exception was the direct cause of the following exception:\n")
                error = error.__cause__
            elif error.__context__ is not None and not error.__suppress_context__:
                parts.append("\nDuring handling of the above exception, another exception occurred:\n")
                error = error.__context__
            else:
                break
            parts.append(self._one(error))
        text = "\n".join(reversed(parts))
        for file in self.files:
            text = text.replace(file, "<action>")
        return shorten(text, MAX_TEXT)

    def warning(
        self, message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        """What `warnings.formatwarning` makes of a warning, without the names of temporary files."""
        of_an_action = filename in self.files or os.path.dirname(filename) == self._folder()  # where it is still parsed
        place = "<action>" if of_an_action else _place(filename)
        source = (linecache.getline(filename, lineno) if line is None else line).strip()
        return f"{place}:{lineno}: {category.__name__}: {message}\n" + (f"  {source}\n" if source else "")

    def within(self, frame: types.FrameType | None) -> bool:
        """Whether code of an action is at work in this frame, or waits there for what it called."""
        while frame is not None and frame.f_code.co_filename not in self.files:
            frame = frame.f_back
        return frame is not None

    def _one(self, error: BaseException) -> str:
        lines = list(self._frames(error))
        if lines:
            lines.insert(0, "Traceback (most recent call last):")
        lines += [line.rstrip("\n") for line in traceback.format_exception_only(type(error), error)]
        lines += _parts(error)
        return "\n".join(shorten(line, 2_000) for line in lines)

    def _frames(self, error: BaseException) -> Iterator[str]:
        found = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
        own = [index for index, (code, _) in enumerate(found) if code.co_filename in self.files]
        if not own:
            return
        kept = [found[index] for index in own]
        beyond = [item for item in found[own[-1] + 1 :] if not item[0].co_filename.startswith(self._hidden)]
        if len(kept) > 2 * _FRAMES:
            yield from itertools.starmap(_frame, kept[:_FRAMES])
            yield f"  … {len(kept) - 2 * _FRAMES} frames left out …"
            kept = kept[-_FRAMES:]
        yield from itertools.starmap(_frame, kept + beyond[-1:])


def message(error: BaseException) -> str:
    """What the error says, and of a group what those in it say; never raises."""
    try:
        return "\n".join([str(error), *_parts(error)])
    except Exception:  # noqa: BLE001 - boundary: any class's __str__ runs here
        return "<its message cannot be shown>"


def _parts(group: BaseException) -> list[str]:
    """The first errors in a group, and in the groups in it, a line for each; of what is no group none."""
    lines: list[str] = []
    waiting: list[BaseException] = [group]
    for _ in range(10 * MAX_PARTS):  # any class may claim to be a group, even of itself
        if not waiting or len(lines) == MAX_PARTS:
            break
        error = waiting.pop()
        inner = getattr(error, "exceptions", None)  # the class itself came with Python 3.11
        if inner and isinstance(inner, tuple):
            waiting += reversed(inner[:MAX_PARTS])
        elif error is not group:
            lines.append(f"  {len(lines) + 1}. {type(error).__name__}: {shorten(message(error), 500)}")
    return lines


def shorten(text: str, limit: int) -> str:
    """The text, its middle left out if it has more than `limit` characters."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]} … {len(text) - limit:,} characters left out … {text[-(limit // 2) :]}"


def _frame(code: types.CodeType, line: int) -> str:
    name = "<module>" if code.co_name.startswith("<cell line") else code.co_name
    source = linecache.getline(code.co_filename, line).strip()
    return f'  File "{_place(code.co_filename)}", line {line}, in {name}' + (
        f"\n    {shorten(source, 300)}" if source else ""
    )


def _place(file: str) -> str:
    """The file as an import sees it, `pandas/core/frame.py`: short, and the same on every machine."""
    folders = [os.path.join(folder, "") for folder in sys.path if folder and file.startswith(os.path.join(folder, ""))]
    return file[len(max(folders, key=len, default="")) :]
