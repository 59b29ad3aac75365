"""Runs functions on smolagents and on Smol Kernel, each in a process of its own environment, and hands back results.

A function takes the library's module and returns JSON-plain data, so one text serves both. `run` starts this file as
the worker; programs, faults and side_by_side call it.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
THEIRS, OURS = "smolagents", "smol_kernel"
REQUIREMENTS = ["smolagents[toolkit,litellm]==1.26.0", "matplotlib", "pandas"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every comparison has."""
    parser.add_argument(
        "--smolagents",
        metavar="PYTHON",
        help=f"an interpreter that has {' '.join(REQUIREMENTS)}; without it a temporary environment is made",
    )
    parser.add_argument("--verbose", action="store_true", help="let the libraries print to standard error")


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of those that print a list of functions: which ones, and how."""
    parser.add_argument("--only", metavar="NAME", action="append", help="only what has this name; may be repeated")
    parser.add_argument("--markdown", action="store_true", help="print a table in Markdown")


def cell(text: str) -> str:
    """Text fit for a cell of a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


@contextmanager
def interpreter_with_smolagents(given: str | None) -> Iterator[str]:
    """`given`, or the interpreter of a temporary environment with smolagents, made by pip."""
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        print(f"installing {' '.join(REQUIREMENTS)} ...", file=sys.stderr)
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python"
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        yield str(python)


def functions_of(module: ModuleType) -> list[Callable[..., Any]]:
    """The functions a module of programs or faults defines for the table, in their order."""
    found = [value for name, value in vars(module).items() if inspect.isfunction(value) and not name.startswith("_")]
    return [
        each
        for each in found
        if each.__module__ == module.__name__ and [*inspect.signature(each).parameters] == ["lib"]
    ]


def run(
    python: str, library: str, functions: Sequence[Callable[..., Any]], *, seconds: float = 60, verbose: bool = False
) -> dict[str, Any]:
    """What each function returns on `library`, by its name; `{"raised": …}` where it raised or did not end in time.

    All run one after the other in one process. One that dies or lasts longer than `seconds` costs the process; the
    rest is run in a new one.
    """
    results: dict[str, Any] = {}
    left = list(functions)
    while left:
        for name, result in _worker(python, library, left, seconds, verbose):
            results[name] = result
        left = [function for function in left if function.__name__ not in results]
        if left:
            results[left[0].__name__] = {"raised": f"no answer within {seconds:g} s, or the process died"}
            left = left[1:]
    return results


def _worker(
    python: str, library: str, functions: Sequence[Callable[..., Any]], seconds: float, verbose: bool
) -> Iterator[tuple[str, Any]]:
    """Results as they come, until the process ends or is ended."""
    names = [f"{_module_name(function)}:{function.__name__}" for function in functions]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [python, str(HERE / "libraries.py"), library, *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if verbose else subprocess.DEVNULL,
            text=True,
            cwd=folder,
            env=_environment(library, folder),
        )
        assert process.stdout is not None
        alarm = _started(threading.Timer(seconds, process.kill))
        for line in process.stdout:
            alarm.cancel()
            yield json.loads(line)
            alarm = _started(threading.Timer(seconds, process.kill))
        alarm.cancel()
        process.wait()
        process.stdout.close()


def _module_name(function: Callable[..., Any]) -> str:
    """The name by which the worker imports the function's module, the started script's too."""
    started = function.__module__ == "__main__"
    return Path(inspect.getfile(function)).stem if started else function.__module__


def _started(timer: threading.Timer) -> threading.Timer:
    timer.daemon = True
    timer.start()
    return timer


def _environment(library: str, folder: str) -> dict[str, str]:
    paths = [str(HERE), *([str(HERE.parent)] if library == OURS else [])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "SMOL_JOURNAL": str(Path(folder) / "journal.sqlite"),
        "SMOL_ALLOW_MODEL_REQUESTS": "0",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "MPLBACKEND": "agg" if library == THEIRS else "",
        "HF_HUB_OFFLINE": "1",
    }


def main() -> None:
    """The worker: `libraries.py LIBRARY MODULE:FUNCTION …`; a line of JSON, name and result, for each."""
    library, *names = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is not for the reader of the results
    lib = importlib.import_module(library)
    for each in names:
        module, name = each.split(":")
        try:
            result = getattr(importlib.import_module(module), name)(lib)
            line = json.dumps([name, result])
        except Exception as error:  # noqa: BLE001  boundary: a program that raises is a result as well
            traceback.print_exc()
            line = json.dumps([name, {"raised": f"{type(error).__name__}: {error}"[:300]}])
        answers.write(line + "\n")
        answers.flush()
    answers.flush()
    os._exit(0)  # whatever threads a library left running


if __name__ == "__main__":
    main()
