"""Runs notebooks again, in fresh kernels, and compares what comes out with what is stored: text, errors, tables, plots.

Called by `smol validate`. What `pytest --nbval` compares is compared here as well, and plots besides. Cells with
`%%agent` play their cassette; nothing is asked of a model.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smol_kernel.errors import ConfigError, MissingDependencyError
from smol_kernel.executors.launchers.plain import short_folder
from smol_kernel.runs.notebook import as_exported, is_exported, joined
from smol_kernel.runs.same_outputs import LONGEST, Pair, differences

SKIPPED = ("nbval-skip", "skip-execution")
IGNORED = ("nbval-ignore-output",)
RAISES = ("raises-exception", "nbval-raises-exception")
"""Tags of a cell, or words of a comment in it (NBVAL_SKIP): not run; not compared; may end in an error."""
STARTUP = 60
"""Seconds that a kernel may take to start."""


@dataclass
class Validation:
    """What came of one notebook; `cell` counts code cells from 1 and is the first that differs, None where none does or
    the notebook could not be run."""

    path: Path
    cells: int = 0
    """Code cells that were run."""
    compared: bool = True
    """False: not one of them had been run when the notebook was saved."""
    is_notebook: bool = True
    """False: the file is none at all."""
    seconds: float = 0.0
    cell: int | None = None
    source: str = ""
    difference: str = ""
    """What is not as it was, to be read."""
    pictures: list[Pair] = field(default_factory=list)
    """Plots that differ: as stored, and as they are now."""
    stopped: bool = False
    """It did not come to its end, see `Stopped`; `cell` is the one that ran."""

    @property
    def ok(self) -> bool:
        """Whether all is as it was."""
        return not self.difference and not self.stopped


class Stopped(KeyboardInterrupt):
    """Ctrl-C came while a notebook was run; `result` is what had come of it."""

    def __init__(self, result: Validation) -> None:
        super().__init__()
        self.result = result


def notebooks_in(paths: Iterable[Path]) -> list[Path]:
    """The notebooks that `paths` name, folders with all that is below them. Raises ConfigError for what is none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = sorted(path.rglob("*.ipynb"))
            found += [each for each in below if not any(part.startswith(".") for part in each.relative_to(path).parts)]
        elif path.suffix == ".ipynb" and path.exists():
            found.append(path)
        elif path.exists():
            raise ConfigError(f"{path} is no notebook: name an .ipynb or a folder")
        else:
            raise ConfigError(f"{path}: there is no such notebook or folder")
    if not found:
        raise ConfigError(f"no notebooks in {', '.join(map(str, paths))}")
    return list(dict.fromkeys(found))


def validate(path: Path, timeout: float = 600) -> Validation:
    """Run the notebook at `path` in its folder, until a cell's outputs differ; `timeout` in seconds for each cell.

    Raises MissingDependencyError without nbclient, `Stopped` at a Ctrl-C.
    """
    result, begun = Validation(path), time.monotonic()
    try:
        _validate(result, timeout)
    except KeyboardInterrupt:
        result.stopped = True
        raise Stopped(result) from None
    finally:
        result.seconds = time.monotonic() - begun
    return result


def _validate(result: Validation, timeout: float) -> None:
    path = result.path
    try:
        import nbformat
        from nbclient import NotebookClient
        from traitlets.config import Config
    except ImportError:
        raise MissingDependencyError("smol validate needs nbclient: pip install 'smol-kernel[ci]'") from None
    if why := _no_notebook(path):
        result.difference, result.is_notebook = f"it cannot be read as a notebook: {why}", False
        return
    try:
        stored: Any = nbformat.read(path, as_version=4)
        fresh: Any = nbformat.from_dict(stored)
        kernel, missing = _kernel(stored)
    except Exception as error:  # noqa: BLE001 - boundary: json, nbformat and its validation each have their own
        result.difference = f"it cannot be read as a notebook: {_first_line(error)}"
        return
    if missing:
        result.difference = f"its kernel {kernel!r} is not installed"
        return
    with _alone() as folder:
        sockets = {"transport": "ipc", "ip": f"{folder}/k", "connection_file": f"{folder}/kernel.json"}
        client = NotebookClient(
            fresh,
            timeout_func=lambda _: timeout,  # its `timeout` takes whole seconds alone
            startup_timeout=STARTUP,
            allow_errors=True,
            kernel_name=kernel,
            resources={"metadata": {"path": str(path.parent)}},
            config=Config(KernelManager=sockets),
        )
        _run(client, stored, fresh, result)


def _run(client: Any, stored: Any, fresh: Any, result: Validation) -> None:
    """Run the cells one after the other until one differs, and put that into `result`. Cells whose displays later ones
    may update are compared in the end."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    began, exported = False, is_exported(stored)
    result.compared = False
    waiting: list[tuple[int, Any, Any]] = []
    try:
        with client.setup_kernel():
            began = True
            code = [place for place, cell in enumerate(stored.cells) if cell.cell_type == "code"]
            for number, place in enumerate(code, 1):
                old, new = stored.cells[place], fresh.cells[place]
                if not old.source.strip() or _marks(old).intersection(SKIPPED):
                    continue
                result.cells += 1
                result.compared = result.compared or old.execution_count is not None
                result.cell, result.source = number, old.source
                try:
                    client.execute_cell(new, place)
                except CellTimeoutError:
                    client.shutdown_kernel = "immediate"  # it would be waited for
                    result.difference = (
                        f"the cell did not come to its end within {client.timeout_func(new):g} s (--timeout)"
                    )
                except KeyboardInterrupt:
                    client.shutdown_kernel = "immediate"
                    raise
                except DeadKernelError:
                    result.difference = "the kernel died while the cell ran"
                else:
                    result.difference = _failure(old, new)
                    if result.ok and _can_be_updated(client, place):
                        waiting.append((number, old, new))
                    elif result.ok:
                        result.difference, result.pictures = _compared(old, new, exported)
                if not result.ok:
                    break
        for number, old, new in waiting:
            difference, pictures = _compared(old, new, exported)
            if difference:
                result.cell, result.source, result.difference, result.pictures = (
                    number,
                    old.source,
                    difference,
                    pictures,
                )
                break
        if result.ok:
            result.cell, result.source = None, ""
    except MissingDependencyError:
        raise
    except Exception as error:  # noqa: BLE001 - boundary: jupyter_client and nbclient raise RuntimeError and others
        what = "it cannot be run" if began else f"its kernel {client.kernel_name!r} cannot be started"
        result.difference = f"{what}: {_first_line(error)}"


def _can_be_updated(client: Any, place: int) -> bool:
    """Whether the cell shows something that has an id: `display(…, display_id=True).update(…)`."""
    return any(place in cells for cells in getattr(client, "_display_id_map", {}).values())


def _failure(old: Any, new: Any) -> str:
    failed = next((output for output in new.outputs if output.output_type == "error"), None)
    if failed is None or _marks(old).intersection(RAISES):
        return ""
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(failed.traceback)).strip().splitlines()
    return "\n".join(["the cell fails now:", *trace[-LONGEST:]])


def _compared(old: Any, new: Any, exported: bool) -> tuple[str, list[Pair]]:
    if old.execution_count is None:  # it was never run
        return ("it has outputs, but was not run: run it and save the notebook", []) if old.outputs else ("", [])
    if _marks(old).intersection(IGNORED):
        return "", []
    # One that was run and saved again holds what its kernel gave.
    cleaned = exported and joined(old.outputs) == as_exported(old.outputs)
    return differences(old.outputs, as_exported(new.outputs) if cleaned else new.outputs)


def _marks(cell: Any) -> set[str]:
    """The tags of a cell, and the comments in it that nbval takes for such (NBVAL_SKIP is nbval-skip)."""
    tags = cell.metadata.get("tags", [])
    lines = (line.strip() for line in cell.source.splitlines())
    comments = (line.lstrip("#").strip() for line in lines if line.startswith("#"))
    return {*(tags if isinstance(tags, list) else []), *(_as_tag(each) for each in comments if each.isupper())}


def _as_tag(comment: str) -> str:
    return comment.lower().replace("_", "-")


def _no_notebook(path: Path) -> str:
    """Why the file is no notebook at all; empty for one, be it sound or not, and for a file that cannot be read."""
    try:
        data = path.read_bytes()
        content = json.loads(data) if data.strip() else None
    except OSError:
        return ""
    except (ValueError, RecursionError):
        return "it is no JSON"
    if isinstance(content, dict) and not {"cells", "worksheets"}.isdisjoint(content):
        return ""
    return "its JSON has no cells" if data.strip() else "the file is empty"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _kernel(notebook: Any) -> tuple[str, bool]:
    """The notebook's kernel, if it is here, else Python's if that is its language; and whether there is none for it."""
    from jupyter_client.kernelspec import KernelSpecManager

    spec, info = (notebook.metadata.get(name, {}) for name in ("kernelspec", "language_info"))
    language = str(spec.get("language") or info.get("name") or "python").lower()
    name = str(spec.get("name") or (language if language != "python" else "python3"))
    if name in KernelSpecManager().find_kernel_specs():
        return name, False
    return ("python3", False) if language in ("python", "ipython") else (name, True)


@contextmanager
def _alone() -> Generator[Path]:
    """Meanwhile no model can be asked, and nothing is written into the user's journal; gives a folder of its own."""
    folder = short_folder()  # its kernel's sockets are there
    try:
        wanted = {
            "SMOL_CASSETTE_MODE": "replay",
            "SMOL_ALLOW_MODEL_REQUESTS": "0",
            "SMOL_JOURNAL": str(folder / "journal.sqlite"),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield folder
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
    finally:
        shutil.rmtree(folder, ignore_errors=True)
