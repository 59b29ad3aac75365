"""`smol kernel install` and `uninstall`: makes the Agent kernel known to Jupyter, wherever JupyterLab lives."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from smol_kernel.errors import ConfigError


def add_commands(commands: Any) -> None:
    """Add `kernel` to the subcommands."""
    parser = commands.add_parser("kernel", help="install or uninstall the Agent kernel")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    install = actions.add_parser(
        "install",
        help="put Agent into Jupyter's launcher",
        description="Put Agent into Jupyter's launcher, running on this Python. Needed only when JupyterLab lives in "
        "another environment than this package.",
    )
    install.add_argument("--display-name", default="Agent", metavar="TEXT", help="name in the launcher")
    install.set_defaults(command=install_kernel)
    uninstall = actions.add_parser("uninstall", help="take it out again")
    uninstall.set_defaults(command=uninstall_kernel)
    for action in (install, uninstall):
        action.add_argument("--name", default="agent", metavar="NAME", help="name of the kernel's folder")
        place = action.add_mutually_exclusive_group()
        place.add_argument("--user", action="store_true", help="for this user (the default)")
        place.add_argument("--sys-prefix", action="store_true", help="in this Python's environment")
        place.add_argument("--prefix", metavar="FOLDER", help="in FOLDER/share/jupyter/kernels")


def install_kernel(arguments: argparse.Namespace) -> int:
    """Carry out `smol kernel install`. Only a kernel of ours is replaced."""
    from jupyter_client.kernelspec import KernelSpecManager

    prefix = _prefix(arguments)
    target = _folder(_kernels(prefix), arguments.name)
    if os.path.lexists(target) and not _is_ours(target):
        raise ConfigError(f"{target} is not an Agent kernel and would be replaced: choose another --name")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(kernelspec_folder(), folder, dirs_exist_ok=True)
        description = Path(folder, "kernel.json")
        spec = json.loads(description.read_text())
        spec["argv"][0] = sys.executable
        spec["display_name"] = arguments.display_name
        description.write_text(json.dumps(spec, indent=2) + "\n")
        try:
            target = KernelSpecManager().install_kernel_spec(
                folder, arguments.name, user=prefix is None, prefix=None if prefix is None else str(prefix)
            )
        except OSError as error:
            other = "set JUPYTER_DATA_DIR to one, or --sys-prefix" if prefix is None else "or --user"
            raise ConfigError(
                f"the kernel cannot be put into {target.parent} ({error.strerror or error}): give a folder where you "
                f"may write with --prefix FOLDER, {other}"
            ) from None
        except ValueError as error:  # a name that Jupyter does not allow
            raise ConfigError(f"the kernel could not be installed: {error}") from None
    print(f"Installed {arguments.display_name!r} in {target}.")
    return 0


def uninstall_kernel(arguments: argparse.Namespace) -> int:
    """Carry out `smol kernel uninstall`. Only a kernel of ours is removed."""
    kernels = _kernels(_prefix(arguments))
    target = _folder(kernels, arguments.name)
    if not target.is_dir():
        raise ConfigError(f"there is no kernel {arguments.name!r} in {kernels}; `jupyter kernelspec list` shows where")
    if not _is_ours(target):
        raise ConfigError(f"{target} is not an Agent kernel; it was left alone")
    if target.is_symlink():
        target.unlink()
    else:
        shutil.rmtree(target)
    print(f"Removed {target}.")
    return 0


def _folder(kernels: Path, name: str) -> Path:
    """The folder of the kernel `name`, as Jupyter calls it. Raises ConfigError for what is the name of none."""
    if not re.fullmatch(r"[a-z0-9._-]*[a-z0-9_-][a-z0-9._-]*", name, re.IGNORECASE | re.ASCII):
        raise ConfigError(f"--name {name!r}: a kernel's name is made of letters, digits, and . _ -")
    return kernels / name.lower()


def _kernels(prefix: Path | None) -> Path:
    """The folder of kernels below `prefix`; None: the user's own."""
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir() if prefix is None else prefix / "share" / "jupyter") / "kernels"


def _is_ours(folder: Path) -> bool:
    try:
        return "smol_kernel" in json.loads((folder / "kernel.json").read_text())["argv"]
    except (OSError, ValueError, LookupError, TypeError):
        return False


def kernelspec_folder() -> Path:
    """The folder with kernel.json and logos: inside the installed package, or at the root of a source tree."""
    package = Path(__file__).resolve().parent.parent.parent
    installed = package / "serve" / "kernelspec"
    return installed if installed.is_dir() else package.parent / "kernelspec"


def _prefix(arguments: argparse.Namespace) -> Path | None:
    """The prefix that was asked for; None: the user's own Jupyter folder."""
    if arguments.sys_prefix:
        return Path(sys.prefix)
    return Path(arguments.prefix).expanduser() if arguments.prefix else None
