"""Models: what the loop asks for the next action. The seam is `base.Model`; LiteLLM is imported by one file only."""

from functools import partial
from typing import TYPE_CHECKING

from smol_kernel.errors import no_name_here

if not TYPE_CHECKING:
    __getattr__ = partial(no_name_here, __name__)
