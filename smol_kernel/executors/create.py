"""Makes an agent's executor: by its name."""

from __future__ import annotations

from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.executors.base import PythonExecutor

_NOT_BUILT = ("blaxel", "docker", "e2b", "modal", "wasm")
"""Those of smolagents."""


def create(name: str, **kwargs: Any) -> PythonExecutor:
    """The executor of that name (`executor_type`), made with `kwargs` (`executor_kwargs`).

    Raises ConfigError for a name or an option that is unknown or not built yet.
    """
    if name != "local":
        known = "is not built yet" if name in _NOT_BUILT else "does not exist"
        raise ConfigError(f'executor_type {name!r} {known}; use "local", the child Jupyter kernel')
    from smol_kernel.executors.kernel import KernelExecutor

    try:
        return KernelExecutor(**kwargs)
    except TypeError as error:
        raise ConfigError(f'executor_kwargs {kwargs!r} do not fit executor_type "local": {error}') from None
