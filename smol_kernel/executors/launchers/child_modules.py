"""Which modules of `executors` a child kernel has: they travel there as source, and get names of their own.

Sent by `client`; a zygote loads them before it forks.
"""

from __future__ import annotations

from pathlib import Path

MODULES = (
    "values",
    "crafted_keys",
    "sorted_levels",
    "fields",
    "tables",
    "pandas_labels",
    "mapped",
    "tracebacks",
    "account",
    "sender",
    "streams",
    "displays",
    "host_line",
    "proxies",
    "questions",
    "child",
)
"""child.py, and what it needs before it."""
INSTALL = '__import__("sys").modules["smol_child"].install()\n'
"""Code for the kernel that makes it a child of ours, once they are loaded."""


def load_code() -> str:
    """Code that loads them, and leaves no name of its own."""
    executors = Path(__file__).parent.parent
    sources = {f"smol_{name}": (executors / f"{name}.py").read_text(encoding="utf-8") for name in MODULES}
    return f"""\
def _smol_load():
    import sys, types
    sources = {sources!r}
    sys.modules.update((name, types.ModuleType(name)) for name in sources)
    for name, source in sources.items():
        exec(compile(source, f"<{{name}}>", "exec"), vars(sys.modules[name]))
try:
    _smol_load()
finally:
    del _smol_load
"""
