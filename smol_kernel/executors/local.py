"""LocalPythonExecutor: the child kernel under the name and with the parameters that smolagents' users know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smol_kernel.executors.bridge import Function
from smol_kernel.executors.kernel import KernelExecutor


class LocalPythonExecutor(KernelExecutor):
    """The child kernel under the name and with the parameters smolagents' users know.

    `additional_authorized_imports` is added to the base modules, see `imports`; None, or "*" in it, allows all.
    `max_print_outputs_length` is characters of logs (None: 20,000), `additional_functions` are those an action may call
    by name, in the host, and `timeout_seconds` is the child's own time for one action (None: no limit). It is boxed as
    SMOL_BOX says. Raises ConfigError for a value out of range.
    """

    def __init__(
        self,
        additional_authorized_imports: Sequence[str] | None = None,
        max_print_outputs_length: int | None = None,
        additional_functions: Mapping[str, Function] | None = None,
        timeout_seconds: float | None = 300,
    ) -> None:
        super().__init__(
            timeout_seconds,
            max_print_outputs_length,
            additional_functions,
            additional_authorized_imports=additional_authorized_imports,
        )
