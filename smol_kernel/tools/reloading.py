"""Has IPython's `%autoreload` renew the tools that `@tool` made in a file that was edited, as it does functions."""

from __future__ import annotations

import sys
from typing import Any

AUTORELOAD = "IPython.extensions.autoreload"


def renew_on_reload(kind: type) -> None:
    """If the extension is loaded, have an object of this class become the one that takes its name in its module.

    To be called when one is made: a module that is run again makes its tools before old ones are looked for.
    """
    rules: Any = getattr(sys.modules.get(AUTORELOAD), "UPDATE_RULES", None)
    if rules is not None and all(update is not _become for _, update in rules):
        rules.append((lambda old, new: isinstance(old, kind) and isinstance(new, kind), _become))


def _become(old: Any, new: Any) -> None:
    old.__dict__ = {**vars(new)}  # at once: a run may be using it
