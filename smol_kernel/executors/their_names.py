"""What programs written for smolagents look up on an executor, where it goes by another name here."""

from __future__ import annotations

from collections.abc import Sequence

from smol_kernel.executors.imports import allowed_modules
from smol_kernel.tools.not_built import NotBuilt


class TheirNames:
    """Names of smolagents' executor, for one that has `additional_authorized_imports`."""

    additional_authorized_imports: Sequence[str] | None

    static_tools = custom_tools = NotBuilt(
        "tools are kept in the child: add one to agent.tools, or a function to python_executor.additional_functions, "
        "both before a run"
    )

    @property
    def authorized_imports(self) -> tuple[str, ...]:
        """Modules that an action may import, the base ones as well; "*": all. Set it to change them."""
        return tuple(allowed_modules(self.additional_authorized_imports) or "*")

    @authorized_imports.setter
    def authorized_imports(self, modules: Sequence[str] | None) -> None:
        allowed_modules(modules)
        self.additional_authorized_imports = modules and list(modules)
