"""For tests: runs Python where no user namespace can be made, as in a locked-down container, so that no box can be had.

The program's own user namespace is made first, and forbids any further one; root and ordinary users can do so alike.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import smol_kernel

COMMAND = ("-c", "import sys; from smol_kernel.serve.cli import main; sys.exit(main())")
"""Arguments of Python that are the command `smol`."""


def run_without_namespaces(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments there, in `folder`."""
    unshare = shutil.which("unshare")
    assert unshare, "this test needs util-linux"
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    path = os.pathsep.join([str(Path(smol_kernel.__file__).parents[1]), str(Path(__file__).parent)])
    return subprocess.run(
        [unshare, "--user", "--map-root-user", "sh", "-c", forbid, "-", sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
