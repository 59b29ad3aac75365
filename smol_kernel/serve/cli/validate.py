"""`smol validate PATHS`: runs notebooks again and compares what comes out with what is stored. For CI."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.render.plain import counted, plain
from smol_kernel.runs.validate import Validation, notebooks_in, validate


def add_commands(commands: Any) -> None:
    """Add `validate` to the subcommands."""
    parser = commands.add_parser(
        "validate",
        help="run notebooks again, and compare what comes out",
        description="Run each notebook in a fresh kernel and compare its outputs, plots included, with the stored "
        "ones. Cells with %%agent play their cassette (--cassette); no model is asked, and no key is needed. Exit "
        "status: 0 all is as it was, 1 something differs, 2 a path is no notebook.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a notebook, or a folder of notebooks")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="for each cell (default: 600)")
    parser.add_argument("--save-diff", type=Path, metavar="DIR", help="put plots that differ there, both of each")
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Carry out `smol validate`."""
    if not arguments.timeout > 0:
        raise ConfigError(f"--timeout is {arguments.timeout:g}: give seconds above 0")
    different = 0
    for path in notebooks_in(arguments.paths):
        result = validate(path, arguments.timeout)
        if result.ok:
            print(f"{path}: as it was ({counted(result.cells, 'cell')})", flush=True)
            continue
        different += 1
        print(f"{path}: code cell {result.cell} differs\n{_shown(result)}", flush=True)
        if arguments.save_diff is not None:
            _save(result, arguments.save_diff)
    return 1 if different else 0


def _shown(result: Validation) -> str:
    lines = [f"    > {plain(line)}" for line in result.source.splitlines()[:10]]
    return "\n".join([*lines, *(f"    {plain(line)}" for line in result.difference.splitlines())])


def _save(result: Validation, folder: Path) -> None:
    """Write the plots that differ."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, pair in enumerate(result.pictures, 1):
            for word, data in zip(("stored", "now"), pair, strict=True):
                target = folder / f"{result.path.stem}-cell{result.cell}-plot{number}-{word}.png"
                target.write_bytes(data)
                print(f"    Written: {target}")
    except OSError as error:
        raise ConfigError(f"--save-diff {folder}: {error.strerror}") from None
