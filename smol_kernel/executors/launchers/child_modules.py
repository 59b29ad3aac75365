"""Which modules of `executors` a child kernel has: they travel there as source, and make up a package of another name.

Sent by `client`; a zygote loads them before it forks.
"""

from __future__ import annotations

from pathlib import Path

MODULES = (
    "values",
    "crafted_keys",
    "unpickled",
    "sorted_levels",
    "arrow_messages",
    "fields",
    "table_attributes",
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
INSTALL = '__import__("sys").modules["smol_in_child.child"].install()\n'
"""Code for the kernel that makes it a child of ours, once they are loaded."""


def load_code() -> str:
    """Code that loads them, and leaves no name of its own."""
    executors = Path(__file__).parent.parent
    sources = {name: (executors / f"{name}.py").read_text(encoding="utf-8") for name in MODULES}
    return f"""\
def _smol_load():
    import sys
    from importlib.machinery import ModuleSpec
    from importlib.util import module_from_spec
    package = module_from_spec(ModuleSpec("smol_in_child", None, is_package=True))
    sys.modules["smol_in_child"] = package
    for name, source in {sources!r}.items():
        module = module_from_spec(ModuleSpec(f"smol_in_child.{{name}}", None))
        sys.modules[module.__name__] = module
        setattr(package, name, module)
        exec(compile(source, f"<smol_{{name}}>", "exec"), vars(module))
try:
    _smol_load()
finally:
    del _smol_load
"""
