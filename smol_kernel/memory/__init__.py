"""What a run remembers: messages, steps, token counts. Knows nothing of models or kernels."""

from functools import partial
from typing import TYPE_CHECKING

from smol_kernel.errors import no_name_here

if not TYPE_CHECKING:
    __getattr__ = partial(no_name_here, __name__)
