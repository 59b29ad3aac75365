"""`smol validate PATHS`: runs notebooks again and compares what comes out with what is stored. For CI."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ElementTree, SubElement

from smol_kernel.errors import ConfigError, SmolError
from smol_kernel.executors.launchers.working_folder import working_folder
from smol_kernel.render.plain import counted, plain, plain_code
from smol_kernel.runs.validate import Stopped, Validation, notebooks_in, validate

_UNFIT = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no place for."""


MOST_SECONDS = 1 << 30
"""Of a cell; as good as no limit."""


def add_commands(commands: Any) -> None:
    """Add `validate` to the subcommands."""
    parser = commands.add_parser(
        "validate",
        help="run notebooks again, and compare what comes out",
        description="Run each notebook in a fresh kernel and compare its outputs, plots included, with the stored "
        "ones. Cells with %%agent play their cassette (--cassette); no model is asked, and no key is needed. Exit "
        "status: 0 all is as it was, 1 something differs or could not be run, else 2 where a path is no notebook.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a notebook, or a folder of notebooks")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="for each cell (default: 600)")
    parser.add_argument("--save-diff", type=Path, metavar="DIR", help="put plots that differ there, both of each")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write what came of it as JUnit's XML, for CI")
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Carry out `smol validate`."""
    if not arguments.timeout > 0:
        raise ConfigError(f"--timeout is {arguments.timeout:g}: give seconds above 0")
    if arguments.junit is not None and (arguments.junit.is_dir() or not arguments.junit.parent.is_dir()):
        raise ConfigError(f"--junit {arguments.junit}: it is a folder, or lies in one that is not there")
    if arguments.save_diff is not None and arguments.save_diff.exists() and not arguments.save_diff.is_dir():
        raise ConfigError(f"--save-diff {arguments.save_diff}: it is a file; name a folder")
    working_folder(None)
    seconds = min(arguments.timeout, MOST_SECONDS)
    results: list[Validation] = []
    names: list[str] = []
    for path in notebooks_in(arguments.paths):
        try:
            result = validate(path, seconds)
        except Stopped as stop:
            if arguments.junit is not None:
                _write_junit([*results, stop.result], arguments.junit)
            print(_account(stop.result), flush=True)
            raise
        results.append(result)
        names.append(_free_name(result.path.stem, names))
        print(_account(result), flush=True)
        if arguments.save_diff is not None:
            _save(result, arguments.save_diff, names[-1])
    if len(results) > 1:
        different = sum(not result.ok for result in results)
        print(f"{counted(len(results), 'notebook')}, {different or 'none'} of them not as it was")
    if arguments.junit is not None:
        _write_junit(results, arguments.junit)
    if any(not result.ok and result.is_notebook for result in results):
        return 1
    return 0 if all(result.ok for result in results) else 2


def _account(result: Validation) -> str:
    if result.ok and result.cells and not result.compared:
        ran = counted(result.cells, "cell")
        return f"{result.path}: {ran} run, none compared: none of them had been run before it was saved"
    if result.ok:
        return f"{result.path}: as it was ({counted(result.cells, 'cell')})"
    if result.cell is None:
        return f"{result.path}: {plain(result.difference) or _where(result)}"
    return f"{result.path}: {_where(result)}\n{_shown(result)}"


def _where(result: Validation) -> str:
    """In a few words, what there is to be told of one that is not as it was."""
    if result.stopped:
        return f"stopped while code cell {result.cell} ran" if result.cell else "stopped before its first cell ran"
    return f"code cell {result.cell} differs" if result.cell else "it could not be run"


def _shown(result: Validation) -> str:
    lines = [f"    > {line}" for line in plain_code(result.source).split("\n")[:10]]
    return "\n".join([*lines, *(f"    {plain(line)}" for line in result.difference.splitlines())])


def _free_name(name: str, taken: Sequence[str]) -> str:
    """`name`, with a number if another notebook has it."""
    numbered = (f"{name}-{number}" for number in count(2))
    return next(each for each in chain([name], numbered) if each not in taken)


def _save(result: Validation, folder: Path, name: str) -> None:
    """Write the plots that differ, in files whose names begin with `name`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, pair in enumerate(result.pictures, 1):
            for word, data in zip(("stored", "now"), pair, strict=True):
                target = folder / f"{name}-cell{result.cell}-plot{number}-{word}.png"
                target.write_bytes(data)
                print(f"    Written: {target}")
    except OSError as error:
        raise SmolError(f"--save-diff {folder}: {error.strerror}") from None


def _write_junit(results: Sequence[Validation], path: Path) -> None:
    """One test case a notebook, in the form that JUnit's readers agree on (https://github.com/testmoapp/junitxml)."""
    failures, seconds = sum(not result.ok for result in results), sum(result.seconds for result in results)
    suite = Element(
        "testsuite", name="smol validate", tests=str(len(results)), failures=str(failures), time=f"{seconds:.3f}"
    )
    for result in results:
        name = _UNFIT.sub("�", str(result.path))
        case = SubElement(suite, "testcase", name=name, classname="notebook", time=f"{result.seconds:.3f}")
        if not result.ok:
            SubElement(case, "failure", message=_where(result)).text = _UNFIT.sub("�", _account(result))
    try:
        ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise SmolError(f"--junit {path}: {error.strerror}") from None
