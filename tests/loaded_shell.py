"""For tests: an IPython shell in this process, with the extension loaded and no page behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from IPython.core.interactiveshell import InteractiveShell


@contextmanager
def loaded_shell() -> Iterator[InteractiveShell]:
    """The shell, until the end of the `with` statement."""
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    shell.run_line_magic("load_ext", "smol_magic")
    shell.run_line_magic("config", "SmolMagic.prove = False")  # it takes a second child each time
    yield shell
    shell.run_line_magic("unload_ext", "smol_magic")
    shell.reset()
    InteractiveShell.clear_instance()
