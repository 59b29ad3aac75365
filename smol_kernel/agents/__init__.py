"""The loop: thought, action, observation, until an answer. Read `multi_step.py` first, then `code_agent.py`."""

from functools import partial
from typing import TYPE_CHECKING

from smol_kernel.errors import no_name_here

if not TYPE_CHECKING:
    __getattr__ = partial(no_name_here, __name__)
