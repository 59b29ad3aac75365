"""The links on the way to a path, each at its own real place, and those by which a child finds what it is shown.

A box shows folders at their real paths. Code may name them as its user does, by way of a link: where home is one, say.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from smol_kernel.executors.launchers.settings import BoxSettings
from smol_kernel.executors.launchers.working_folder import holds, home_folder

MOST = 40
"""As many the system follows, see path_resolution(7)."""


def links_to(path: str, within: Collection[str] = ("/",)) -> tuple[str, dict[str, str]]:
    """The real path of an absolute one, and by its real place what each link leads to that is followed on the way. No
    link is looked at but those in the folders `within`."""
    here, found, follow = "/", dict[str, str](), path.split("/")[::-1]
    hops = 0
    while follow:
        name = follow.pop()
        if name == "..":
            here = os.path.dirname(here)
        elif name not in ("", "."):
            place = os.path.join(here, name)
            try:
                target = os.readlink(place) if hops < MOST and any(holds(each, place) for each in within) else ""
            except (OSError, ValueError):  # no path at all: a child may have written it
                target = ""
            if target:
                hops += 1
                found[place] = target
                here = "/" if target.startswith("/") else here
                follow += target.split("/")[::-1]
            else:
                here = place
    return here, found


def leads_out(path: str, shown: Collection[str]) -> bool:
    """Whether the path begins in one of these folders, and a link in them leads to what lies in none of them."""
    real, _ = links_to(path, shown)
    return any(holds(each, path) for each in shown) and not any(holds(each, real) for each in shown)


def other_names(settings: BoxSettings, cwd: str, named: str | Path | None = None) -> dict[str, str]:
    """Paths by which the user names what a child is shown, where these are not real ones, and the real ones. `cwd` is
    the working folder, `named` how it was given."""
    given = [mount.named for mount in settings.mounts] + [home_folder() or ""]
    for path in (os.path.abspath(named) if named else "", os.environ.get("PWD", "")):
        given += [path] if path.startswith("/") and os.path.realpath(path) == cwd else []
    real = {path: os.path.realpath(path) for path in given if path}
    return {path: leads for path, leads in real.items() if path != leads}


def links_for(names: Iterable[str], shown: Collection[str], never: Collection[str]) -> dict[str, str]:
    """Links for a box in which these names lead where they do here. None in what is `shown`, which has its own, nor in
    place of what that lies in, nor below one of the folders `never`: then the whole name is a link, if that can be."""
    links: dict[str, str] = {}
    for name in names:
        real, found = links_to(name)
        if any(holds(link, place) for link in found for place in shown):
            found = {name: real}
        for link, leads in found.items():
            if not any(holds(place, link) or holds(link, place) for place in shown):
                links |= {link: leads} if not any(holds(each, link) for each in never) else {}
    return {link: links[link] for link in links if not any(holds(each, link) for each in links if each != link)}
