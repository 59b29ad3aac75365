"""The files that boxed children made: told after each action, and kept when a child has ended until they are saved.

`kernel` tells a `MadeFiles` when a child begins, ends, and has carried out an action.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from smol_kernel.errors import ExecutorError
from smol_kernel.events import ActionFinished, Event, FilesMade, Notice
from smol_kernel.executors.launchers.working_folder import working_folder
from smol_kernel.executors.overlay import MAX_TOLD, Layer, Made
from smol_kernel.executors.saved_files import SavedFiles, Saver
from smol_kernel.executors.stand_ins import why_kept_out
from smol_kernel.memory.process_lock import ProcessLock

_UNLISTED = "({:,} more) cannot be listed: too many, too deep, or closed to you; name those you want"
_NOTHING = (
    "there is nothing to save: no child of this executor works in a box that keeps its files (without a box they are "
    "in the folder itself), or they are gone with it"
)


class MadeFiles:
    """The files that children of one executor made: of the one there is, and of the one before if that died.

    What a child made stays until the next one begins; if it died, until the one after that. Any thread, any time.
    """

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._layers: list[Layer] = []
        """The newest first."""
        self._writable: list[str] = []
        """The mounts in which the children can write themselves, and so make links."""
        self._told: tuple[list[Made], int] = ([], 0)
        self._afresh = True
        """Whether the next child begins anew, and is no stand-in for one that died."""
        self._died = False
        """Whether a child died, and nobody has been told of its files."""

    def begin(self, child: object, folder: str | Path | None) -> None:
        """A child has started in `folder` (None: the host's)."""
        descriptor, settings = getattr(child, "upper", None), getattr(child, "settings", None)
        with self._lock.here:
            kept = [] if self._afresh else self._layers[:1]
            gone, self._layers = self._layers[len(kept) :], kept
            for layer in gone:
                layer.close()
            if descriptor is not None and settings is not None:
                below = working_folder(folder)
                placed = getattr(child, "placed", {})
                self._layers = [Layer(descriptor, below, settings.limits.disk, placed), *kept]
                self._writable = [mount.path for mount in settings.mounts if mount.writable]
            if self._afresh:
                self._told, self._died, self._afresh = ([], 0), False, False

    def child_ended(self) -> None:
        """The child has ended, one way or another. Its files stay; if there are none, its memory is free."""
        with self._lock.here:
            if self._layers and self._found(self._layers[:1]) == ([], 0):
                self._layers.pop(0).close()
            self._died = True

    def begin_afresh(self) -> None:
        """The end of the child was meant."""
        with self._lock.here:
            self._afresh, self._died = True, False

    def listing(self) -> FilesMade:
        """What there is now."""
        with self._lock.here:
            found, more = self._tell()
        return FilesMade(files=[made.told() for made in found], more=more)

    def news(self, ended: ActionFinished) -> Iterator[Event]:
        """What to tell after an action, its end the last: the files if they are others than before, and that a child
        died which had made some."""
        with self._lock.here:
            told = self._tell()
            before, self._told = self._told, told
            died, self._died = self._died and bool(told[0]), False
        if died:
            yield Notice(text="The child's files are not in the folder of the next one; they can still be saved.")
            names = ", ".join(made.shown for made in told[0][:20])
            if ended.status != "ok":
                ended = replace(ended, error=f"{ended.error}. What was done to these files is undone in it: {names}")
        if told != before:
            known = set(before[0])
            new = [made.shown for made in told[0] if made not in known]
            yield FilesMade(files=[made.told() for made in told[0]], more=told[1], new=new)
        yield ended

    def save(self, names: Iterable[str] | None, folder: str | Path | None, overwrite: bool) -> SavedFiles:
        """Copy files into `folder` (None: the working folder). See `PythonExecutor.save_files`."""
        with self._lock.here:
            if not self._layers:
                raise ExecutorError(_NOTHING)
            target = Path(self._layers[0].below if folder is None else folder).expanduser().absolute()
            with Saver(target, self._layers[0].room, overwrite, self._writable) as saver:
                if names is None:
                    found, more = self._found(self._layers)
                    kept_out = [  # of all before the first is saved: then there are other folders
                        why_kept_out(made.path, [str(target), layer.below]) if made.change == "made" else ""
                        for layer, made in found
                    ]
                    for (layer, made), why_not in zip(found, kept_out, strict=True):
                        self._save(saver, layer, made, None, why_not)
                    if more:
                        saver.refuse("…", _UNLISTED.format(more))
                for name in [names] if isinstance(names, str) else dict.fromkeys(names or ()):
                    self._save_named(saver, name)
            return saver.saved

    def _save_named(self, saver: Saver, name: str) -> None:
        parts = name.removeprefix("./").rstrip("/").split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            saver.refuse(name, "is no name below the working folder; names are as they are listed")
            return
        path = "/".join(parts)
        for layer in self._layers:
            kind = layer.kind(parts)
            if kind == "folder":
                listing = layer.files_in(path)
                for made in listing.files:
                    self._save(saver, layer, made, path)
                if listing.more:
                    saver.refuse(f"{path}/…", _UNLISTED.format(listing.more))
            elif kind:
                self._save(saver, layer, Made(path, "made", type=kind), path)
            if kind:
                return
        saver.refuse(name, "is not among the files made")

    def _save(self, saver: Saver, layer: Layer, made: Made, named: str | None, why_not: str = "") -> None:
        if why_not := made.why_not(named) or why_not:
            saver.refuse(made.shown, why_not)
        else:
            saver.save(made.path.split("/"), layer.open)

    def _tell(self) -> tuple[list[Made], int]:
        found, more = self._found(self._layers)
        return [made for _, made in found], more

    def _found(self, layers: Sequence[Layer]) -> tuple[list[tuple[Layer, Made]], int]:
        """The files of layers in the order of their paths, with the layer each is in, and how many others there are."""
        found: dict[str, tuple[Layer, Made]] = {}
        more = 0
        for layer in layers:
            listing = layer.listing()
            more += listing.more
            for made in listing.files:
                if layer is layers[0] or made.change != "removed":  # what an earlier child removed is there again
                    found.setdefault(made.path, (layer, made))
        paths = sorted(found)
        return [found[path] for path in paths[:MAX_TOLD]], more + len(paths[MAX_TOLD:])
