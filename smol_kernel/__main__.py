"""`python -m smol_kernel -f CONNECTION_FILE [--ext NAME]` starts the Agent kernel; kernel.json calls it."""

from __future__ import annotations

from smol_kernel.serve.agent_kernel import launch

if __name__ == "__main__":
    launch()
