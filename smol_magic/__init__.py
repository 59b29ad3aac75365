"""The notebook front: `%load_ext smol_magic` gives a notebook `%%agent`, `%agent` and `%%py`.

IPython and JupyterLab call the functions below; everything else is loaded when the first agent command needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def _jupyter_labextension_paths() -> list[dict[str, str]]:  # pyright: ignore[reportUnusedFunction] - JupyterLab does
    """Where JupyterLab's tools find the extension that inserts cells; an install puts a copy where JupyterLab looks."""
    return [{"src": "labextension", "dest": "smol-kernel"}]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Give `shell` the magics."""
    from smol_magic.magics import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics from `shell` and end its child kernel."""
    from smol_magic.magics import unload

    unload(shell)
