"""Whether cells give an answer, found out without `smol_kernel`: plain IPython runs them in a process of its own.

Started as `python -m benchmarks.finished_work.independent FOLDER` it is that process: it reads cells and results of
tool calls from FOLDER/in.pickle and leaves what the last cell gave in FOLDER/out.pickle.
"""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any


def gives(cells: list[tuple[int, str]], calls: list[tuple[int, str, Any, Any]], answer: Any, folder: Path) -> str:
    """Why the cells, run in `folder`, do not give the answer; empty if they do.

    `cells` are step and source; `calls` are step, tool, arguments by position or name, and result or exception.
    """
    place = folder / "independent"
    place.mkdir()
    (place / "in.pickle").write_bytes(pickle.dumps((cells, calls)))
    environment = {**os.environ, "MPLBACKEND": "agg", "IPYTHONDIR": str(place / "ipython")}
    environment["PYTHONHASHSEED"] = str(sum(map(len, (source for _, source in cells))) % 1000 + 1)
    done = subprocess.run(
        [sys.executable, __file__, str(place)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode or not (place / "out.pickle").exists():
        return f"failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}"
    now = pickle.loads((place / "out.pickle").read_bytes())
    return "" if same(answer, now) else f"{now!r:.60} is not {answer!r:.60}"


def same(was: Any, now: Any) -> bool:
    """Whether two answers are the same."""
    if type(was) is not type(now):
        return False
    if hasattr(was, "columns") or hasattr(was, "dt"):
        return was.equals(now) or bool(((was - now).abs() <= 1e-11 * was.abs()).all(axis=None))
    if type(was).__name__ == "Series":
        return bool(was.index.equals(now.index)) and all(math.isclose(a, b, rel_tol=1e-11) for a, b in zip(was, now))  # noqa: B905
    if hasattr(was, "dtype"):
        return was.dtype == now.dtype and was.shape == now.shape and bool((abs(was - now) <= 1e-11 * abs(was)).all())
    if hasattr(was, "tobytes"):
        return was.size == now.size and was.tobytes() == now.tobytes()
    if isinstance(was, float):
        return math.isclose(was, now, rel_tol=1e-11)
    if isinstance(was, (list, tuple)):
        return len(was) == len(now) and all(map(same, was, now))
    if isinstance(was, dict):
        return was.keys() == now.keys() and all(same(was[key], now[key]) for key in was)
    return bool(was == now)


def _run(place: Path) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    cells, calls = pickle.loads((place / "in.pickle").read_bytes())
    shell = InteractiveShell.instance()
    at = [0]

    def made(name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            for record in calls:
                step, tool, given, result = record
                if (step, tool, given) == (at[0], name, [list(args), kwargs]):
                    calls.remove(record)
                    if isinstance(result, Exception):
                        raise result
                    return result
            raise SystemExit(f"{name}{args} was not called in the run")

        return call

    for name in ("price", "lookup", "roll", "note"):
        shell.user_ns[name] = made(name)
    value = None
    for step, source in cells:
        at[0] = step
        done = shell.run_cell(source, silent=False)
        done.raise_error()
        value = done.result
    (place / "out.pickle").write_bytes(pickle.dumps(value))


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
