"""Runs notebooks again, in fresh kernels, and compares what comes out with what is stored: text, errors, tables, plots.

Called by `smol validate`. What `pytest --nbval` compares is compared here as well, and images besides. Cells with
`%%agent` play their cassette; nothing is asked of a model.
"""

from __future__ import annotations

import base64
import difflib
import io
import os
import re
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from smol_kernel.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from nbformat import NotebookNode

WIDGET = "application/vnd.jupyter.widget-view+json"
NOT_COMPARED = ("text/latex", WIDGET)
"""MIME types of which nothing is compared: ids of widgets differ each time."""
IMAGES = ("image/png", "image/jpeg")
SKIPPED = ("nbval-skip",)
IGNORED = ("nbval-ignore-output", "nbval_ignore_output", "NBVAL_IGNORE_OUTPUT")
"""Tags, and words in the first line of a cell: run, and not compared."""
BLUR, MARGIN, LEVEL, SHARE = 3, 3, 48, 0.01
"""Pixels to blur by, pixels that the frames may differ by, shades that count as different, and the share of pixels that
may be: another version of matplotlib, or another font, moves letters by a pixel or two."""
LONGEST_DIFFERENCE = 60
"""Lines of a difference that are shown."""
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")


@dataclass
class Validation:
    """What came of one notebook; `cell` counts code cells from 1 and is the first that differs, None if none does."""

    path: Path
    cells: int = 0
    """Code cells that were run."""
    cell: int | None = None
    source: str = ""
    difference: str = ""
    """What is not as it was, to be read."""
    pictures: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Plots that differ: as stored, and as they are now."""

    @property
    def ok(self) -> bool:
        """Whether all is as it was."""
        return not self.difference


def notebooks_in(paths: Iterable[Path]) -> list[Path]:
    """The notebooks that `paths` name, folders with all that is below them. Raises ConfigError for what is none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = sorted(path.rglob("*.ipynb"))
            found += [each for each in below if not any(part.startswith(".") for part in each.relative_to(path).parts)]
        elif path.suffix == ".ipynb" and path.exists():
            found.append(path)
        else:
            raise ConfigError(f"{path}: there is no such notebook or folder")
    if not found:
        raise ConfigError(f"no notebooks in {', '.join(map(str, paths))}")
    return list(dict.fromkeys(found))


def validate(path: Path, timeout: float = 600) -> Validation:
    """Run the notebook at `path` in its folder, until a cell's outputs differ; `timeout` in seconds for each cell.

    Raises ConfigError for a file that is no notebook, and MissingDependencyError without nbclient.
    """
    try:
        import nbformat
        from nbclient import NotebookClient
        from traitlets.config import Config
    except ImportError:
        raise MissingDependencyError("smol validate needs nbclient: pip install 'smol-kernel[ci]'") from None
    try:
        stored: Any = nbformat.read(path, as_version=4)
    except Exception as error:  # noqa: BLE001 - boundary: json, nbformat and its validation each have their own
        raise ConfigError(f"{path} cannot be read as a notebook: {error}") from None
    result = Validation(path)
    fresh: Any = nbformat.from_dict(stored)
    where = {"metadata": {"path": str(path.parent)}}
    with _alone() as folder:
        sockets = {} if os.name == "nt" else {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
        client = NotebookClient(
            fresh,
            timeout=timeout,
            allow_errors=True,
            kernel_name=_kernel(stored),
            resources=where,
            config=Config(KernelManager=sockets),
        )
        _run(client, stored, fresh, result)
    return result


def _run(client: Any, stored: Any, fresh: Any, result: Validation) -> None:
    """Run the cells one after the other until one differs, and put that into `result`."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    with client.setup_kernel():
        for place, (old, new) in enumerate(zip(stored.cells, fresh.cells, strict=True)):
            if old.cell_type != "code" or _tagged(old, SKIPPED):
                continue
            result.cells += 1
            before = list(old.outputs)
            try:
                client.execute_cell(new, place)
            except (CellTimeoutError, DeadKernelError) as error:
                said = str(error).strip().splitlines()
                result.difference = f"the cell did not come to its end: {said[0] if said else type(error).__name__}"
            else:
                compare = not _tagged(old, IGNORED)
                result.difference, result.pictures = _difference(before, new.outputs, compare=compare, cell=old)
            if result.difference:
                result.cell, result.source = result.cells, old.source
                break


def _kernel(notebook: Any) -> str:
    """The notebook's kernel, if it is here, else Python's."""
    from jupyter_client.kernelspec import KernelSpecManager

    name = notebook.metadata.get("kernelspec", {}).get("name", "python3")
    return name if name in KernelSpecManager().find_kernel_specs() else "python3"


@contextmanager
def _alone() -> Generator[str]:
    """Meanwhile no model can be asked, and nothing is written into the user's journal; gives a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = {
            "SMOL_CASSETTE_MODE": "replay",
            "SMOL_ALLOW_MODEL_REQUESTS": "0",
            "SMOL_JOURNAL": str(Path(folder, "journal.sqlite")),
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


def _tagged(cell: NotebookNode, tags: Iterable[str]) -> bool:
    first = cell.source.split("\n", 1)[0].replace(" ", "")
    return any(tag in cell.metadata.get("tags", []) or first == f"#{tag}" for tag in tags)


def _difference(old: list[Any], new: list[Any], *, compare: bool, cell: Any) -> tuple[str, list[tuple[bytes, bytes]]]:
    """What differs, and the plots that do."""
    failed = next((output for output in new if output.output_type == "error"), None)
    expected = any(output.output_type == "error" for output in old) or _tagged(cell, ("raises-exception",))
    if failed is not None and not expected:
        trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(failed.traceback)).strip().splitlines()
        return "\n".join(["the cell fails now:", *trace[-LONGEST_DIFFERENCE:]]), []
    if not compare:
        return "", []
    before, after = _texts(old), _texts(new)
    told: list[str] = []
    for kind in dict.fromkeys([*before, *after]):
        one, other = before.get(kind, ""), after.get(kind, "")
        if one != other:
            lines = difflib.unified_diff(
                one.splitlines(), other.splitlines(), f"stored {kind}", "now", lineterm="", n=2
            )
            told += list(lines)[:LONGEST_DIFFERENCE]
    pictures: list[tuple[bytes, bytes]] = []
    stored, shown = list(_images(old)), list(_images(new))
    if len(stored) != len(shown):
        told.append(f"stored were {len(stored)} plots, and now there are {len(shown)}")
    for number, (one, other) in enumerate(zip(stored, shown, strict=False), 1):
        if differs := _unlike(one, other):
            told.append(f"plot {number}: {differs}")
            pictures.append((one, other))
    return "\n".join(told), pictures


def _texts(outputs: list[Any]) -> dict[str, str]:
    """What is compared, by its kind: each stream and MIME type, all outputs of the cell together."""
    found: dict[str, list[str]] = {}
    for output in outputs:
        if output.output_type == "stream":
            found.setdefault(output.name, []).append(output.text)
        elif output.output_type == "error":
            found.setdefault("error", []).append(f"{output.ename}: {output.evalue}\n")
        else:
            data = cast("Mapping[str, Any]", output.get("data", {}))
            for kind, text in data.items():
                if kind not in (*NOT_COMPARED, *IMAGES) and not (kind == "text/plain" and IMAGES[0] in data):
                    found.setdefault(kind, []).append(("".join(text) if isinstance(text, list) else str(text)) + "\n")
    return {kind: _ADDRESS.sub("0x…", "".join(texts)) for kind, texts in found.items()}


def _images(outputs: list[Any]) -> Iterator[bytes]:
    for output in outputs:
        for kind in IMAGES:
            if text := output.get("data", {}).get(kind):
                yield base64.b64decode(text)


def _unlike(one: bytes, other: bytes) -> str:
    """How two pictures differ, in words; empty if no eye would tell them apart."""
    if one == other:
        return ""
    try:
        from PIL import Image, ImageChops, ImageFilter
    except ImportError:
        raise MissingDependencyError("comparing plots needs Pillow: pip install 'smol-kernel[ci]'") from None
    first, second = (Image.open(io.BytesIO(data)).convert("RGB") for data in (one, other))
    if max(abs(first.width - second.width), abs(first.height - second.height)) > MARGIN:
        return f"it was {first.width} x {first.height} pixels, and is {second.width} x {second.height}"
    blurred = [image.resize(first.size).filter(ImageFilter.BoxBlur(BLUR)) for image in (first, second)]
    shades = ImageChops.difference(*blurred).convert("L").histogram()
    share = sum(shades[LEVEL + 1 :]) / (first.width * first.height)
    return f"{share:.1%} of its pixels differ" if share > SHARE else ""
