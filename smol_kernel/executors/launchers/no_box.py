"""Says why no box could be built, and what helps, from what the process that builds it said. For `box`."""

from __future__ import annotations

import errno
from typing import Any

from smol_kernel.errors import BoxUnavailableError
from smol_kernel.executors.launchers.mountinfo import mounts_below
from smol_kernel.executors.launchers.settings import OPT_OUT

_IN_A_CONTAINER = (
    "In a container, its runtime has to allow namespaces: for Docker --security-opt seccomp=unconfined "
    "--security-opt apparmor=unconfined --cap-add SYS_ADMIN, or run as an ordinary user under rootless Podman"
)
REMEDIES = {
    "user namespace": "This system lets ordinary users make no user namespaces. On Ubuntu 23.10 and later: "
    "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns,` for this "
    "Python or for an installed bubblewrap. On Debian: sudo sysctl -w kernel.unprivileged_userns_clone=1. Elsewhere: "
    f"sudo sysctl -w user.max_user_namespaces=10000. {_IN_A_CONTAINER}",
    "namespaces": _IN_A_CONTAINER,
    "mounts: /proc": "The container masks parts of /proc, which keeps a fresh one from being mounted: for Docker "
    "--security-opt systempaths=unconfined, for Podman --security-opt unmask=ALL, in Kubernetes procMount: Unmasked",
}


def no_box(message: dict[str, Any], last_words: str = "") -> BoxUnavailableError:
    """The error for a `message` of that process: at what it failed, and why. Without one it has ended, with these last
    words."""
    step, said = message.get("failed"), message.get("error")
    if step is None:
        said, step = last_words[-500:] or "the process that builds it ended", "start"
    if message.get("errno") == errno.ETOOMANYREFS:  # see unix(7)
        return BoxUnavailableError(
            f"no box can be built now ({said}): what processes of yours sent, maybe a child, was not taken yet"
        )
    if message.get("errno") == errno.EAGAIN:  # see fork(2)
        return BoxUnavailableError(
            f"no box can be built now ({said}): no further process can be had here. End some, or allow more: "
            "ulimit -u, or the limits of the container"
        )
    remedy = REMEDIES.get(str(step), "See `smol doctor`")
    if message.get("errno") == errno.EINVAL and (points := mounts_below(str(step).removeprefix("mounts: "))):
        remedy = f"{points[0]} is a file system of its own, and the box of an ordinary user cannot show the folder "
        remedy += "around it: work in another one"
    return BoxUnavailableError(f"no box can be built here: {step}: {said}. {remedy}. Or, {OPT_OUT}")
