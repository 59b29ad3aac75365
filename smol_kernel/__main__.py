"""`python -m smol_kernel` is the `smol` command; with `-f CONNECTION_FILE [--ext NAME]`, as kernel.json calls it, it is
the Agent kernel.
"""

from __future__ import annotations

import os
import sys


def leave_out_folder() -> None:
    """Take the current folder from the path, where `python -m` put it: a file there could stand in for a module that
    is imported from now on. A kernel puts it back, for its cells, once it has loaded what it needs."""
    try:
        here = os.getcwd()
    except FileNotFoundError:  # it is gone
        here = ""
    has_none = sys.flags.isolated or getattr(sys.flags, "safe_path", False)  # python -I, -P
    if not has_none and sys.path[:1] in ([""], [here]):
        del sys.path[0]


if __name__ == "__main__":
    leave_out_folder()
    if any(word.partition("=")[0] in ("-f", "--f") for word in sys.argv[1:]):
        from smol_kernel.serve.agent_kernel import launch

        launch()
    else:
        from smol_kernel.serve.cli import process

        sys.exit(process())
