"""`python -m smol_kernel` is the `smol` command; with `-f CONNECTION_FILE [--ext NAME]`, as kernel.json calls it, it is
the Agent kernel.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    if any(word.partition("=")[0] in ("-f", "--f") for word in sys.argv[1:]):
        from smol_kernel.serve.agent_kernel import launch

        launch()
    else:
        from smol_kernel.serve.cli import process

        sys.exit(process())
