"""The files that a run made, compared with those that its cells make again. Used by `prove`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.proof import NotReproduced, Unknown
from smol_kernel.runs.same_file import LARGEST_FILE, NotCompared, may_be_dated, same_content

if TYPE_CHECKING:
    from smol_kernel.executors.base import PythonExecutor

_REMOVE = """import contextlib, os
for path in {}:
    with contextlib.suppress(OSError):
        os.remove(path)"""

_RANDOM = re.compile(r"(?:^|(?<=/))[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}(?=(-\d{1,9})?\.parquet$)")
"""What is another each time in the names that pandas and pyarrow give the files of a table they write in parts."""


class FilesMadeAgain:
    """Those at `paths`, which are this run's and not of one before in the same child. `child` is the place that still
    has them, `cwd` the folder of the run."""

    def __init__(self, transcript: Transcript, paths: set[str], child: PythonExecutor | None, cwd: Path) -> None:
        self._transcript, self._paths, self._child, self._cwd = transcript, paths, child, cwd
        self._there: dict[str, int] = {}
        """Files that the run made and its folder has by now, with their sizes: they were saved, or made by cells."""
        self._named_otherwise: list[str] = []
        """Files that were made again under other random names."""

    def take_away(self, executor: KernelExecutor) -> None:
        """Take away, in the box, what the folder did not have when the run made it."""
        made = [path for path, file in self._files().items() if file["change"] == "made" and ".." not in path]
        found = {path: self._cwd / path for path in made if not Path(path).is_absolute()}
        self._there = {path: place.stat().st_size for path, place in found.items() if place.is_file()}
        if self._there:
            executor(f"exec({_REMOVE.format(list(self._there))!r}, {{}});")  # leaves no name

    @property
    def are_some(self) -> bool:
        """Whether the run made, changed or removed any."""
        return bool(self._files())

    def _files(self) -> dict[str, Mapping[str, Any]]:
        """The files that the run made, changed or removed, by their paths."""
        return {file["path"]: file for file in self._transcript.files if file["path"] in self._paths and _counts(file)}

    def compare(self, executor: KernelExecutor) -> None:
        """Raises NotReproduced unless the box has the same files now."""
        now, was = {file["path"]: file for file in executor.files().files}, self._files()
        as_there = {path for path in self._there if path not in now}  # made again, as the folder has them
        now |= {path: {"change": "made", "bytes": self._there[path]} for path in as_there}
        others = under_other_names(was, now)
        self._named_otherwise = list(others)
        to = {path: others.get(path, path) for path in was}
        for path, file in was.items():
            change = now[to[path]]["change"] if to[path] in now else None
            if change != file["change"] and not (path in self._there and change == "changed"):
                what = "removed" if file["change"] == "removed" else "made"
                raise NotReproduced(f"the file {path} is not {what} again")
        if self._child is None or not was:
            for path, file in was.items():
                if now[to[path]].get("bytes") != file.get("bytes"):
                    raise NotReproduced(f"the file {path} comes out otherwise{may_be_dated(path)}")
            return
        small = [path for path, file in was.items() if file["change"] != "removed" and file["bytes"] <= LARGEST_FILE]
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            self._child.save_files(small, first)
            executor.save_files([to[path] for path in small if path not in as_there], second)
            for path in small:
                before, after = Path(first, path), Path(second if path not in as_there else self._cwd, to[path])
                try:
                    same = same_content(before, after)
                except NotCompared as error:
                    raise Unknown(f"the file {path} {error}, so that it was not compared") from None
                if not same:
                    raise NotReproduced(f"the file {path} comes out otherwise{may_be_dated(path)}")

    @property
    def beside(self) -> str:
        """What the line of the proof says of files that each run makes under other names; empty if there are none."""
        if not self._named_otherwise:
            return ""
        return (
            f"; {self._named_otherwise[0]} has another name each time, so that run again they write a second such file"
        )


def under_other_names(was: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The files that were made and are not again, where another one was that has the same path but for what is random
    in it, and there is no third of which it may be."""

    def by_form(paths: Iterable[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in paths:
            if _RANDOM.search(path):
                found.setdefault(_RANDOM.sub("", path), []).append(path)
        return found

    made = {path for path, file in now.items() if file["change"] in ("made", "changed")}
    lost = by_form(path for path, file in was.items() if file["change"] == "made" and path not in made)
    new = by_form(made - was.keys())
    return {one[0]: new[form][0] for form, one in lost.items() if len(one) == len(new.get(form, [])) == 1}


def _counts(file: Mapping[str, Any]) -> bool:
    """Whether a file is one the script made: not a cache, and no pipe or link."""
    parts = str(file["path"]).split("/")
    return "type" not in file and not any(part.startswith(".") or part == "__pycache__" for part in parts)
