"""Runs a command as an ordinary user that nobody is, as root: `python ordinary_user.py REACHABLE... -- COMMAND...`.

In a mount namespace of its own the paths named are made reachable to all: a folder on the way that only root may enter
is covered by an empty one in which nothing but these paths is shown. Needs `unshare`, `mount` and `setpriv`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

USER = 54_321
PROGRAMS = ("unshare", "mount", "setpriv")
INSIDE = "--inside"


def main(words: list[str]) -> None:
    """Become that user, and the command."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        sys.exit(f"attacks as an ordinary user need {', '.join(missing)}: install util-linux")
    if words[0] != INSIDE:
        os.execvp(
            "unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, __file__, INSIDE, *words]
        )
    os.umask(0o022)
    cut = words.index("--")
    make_reachable([os.path.realpath(path) for path in words[1:cut]])
    home = tempfile.mkdtemp(prefix="home-", dir="/tmp")
    os.chown(home, USER, USER)
    privileges = [
        "--reuid",
        str(USER),
        "--regid",
        str(USER),
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]
    environment = {**os.environ, "HOME": home, "USER": "ordinary", "LOGNAME": "ordinary"}
    done = subprocess.run(["setpriv", *privileges, *words[cut + 1 :]], env=environment, cwd="/", check=False)
    shutil.rmtree(home, ignore_errors=True)
    sys.exit(done.returncode)


def make_reachable(paths: list[str]) -> None:
    """Let everybody come to these paths."""
    shut = {path: way for path in paths if (way := shut_way(path)) is not None}
    kept = {path: tempfile.mkdtemp(dir="/mnt" if os.path.isdir("/mnt") else "/tmp") for path in shut}
    for path, place in kept.items():
        run("mount", "--rbind", path, place)
    for way in dict.fromkeys(shut.values()):
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", way)
    for path in sorted(kept, key=len):
        os.makedirs(path, exist_ok=True)
        run("mount", "--rbind", kept[path], path)


def shut_way(path: str) -> str | None:
    """The first folder on the way to `path` that not everybody may enter."""
    way = ""
    for name in path.split("/")[1:-1]:
        way += f"/{name}"
        if not os.stat(way).st_mode & 0o001:
            return way
    return None


def run(*words: str) -> None:
    """Run a program; it has to succeed."""
    subprocess.run(words, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
