"""tmp"""

import os
from dataclasses import dataclass


@dataclass
class Masked:
    path: str
    unseen: bool = False


def masked(folder, skip=(), budget=100000):
    out = []
    for base, dirs, files in os.walk(folder):
        for n in [*dirs, *files]:
            if n.startswith(".") and os.path.join(base, n) not in skip:
                out.append(Masked(os.path.relpath(os.path.join(base, n), folder)))
        dirs[:] = [d for d in dirs if not d.startswith(".") and os.path.join(base, d) not in skip]
    return out
