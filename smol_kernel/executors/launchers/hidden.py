"""What of a folder a boxed child must not see: hidden files, private keys and credentials by their names, and what is
no file at all. The box's launchers call it.

It judges by names (the contents of one kind of file apart): a secret under an ordinary name is seen.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Container, Iterable
from copy import copy

from smol_kernel.executors.launchers.identity import Identity, identity
from smol_kernel.executors.launchers.mountinfo import file_system


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BUDGET = 100_000
"""Entries to look at."""
SETTLED_SECONDS = 1.0
"""A folder that was changed less than so long before a look may be again, and still have the same date: clocks tick."""
DATED = _words("bcachefs btrfs ext2 ext3 ext4 f2fs overlay tmpfs xfs")
"""File systems that date each change of a folder by this machine's clock. Others, such as NFS, may not."""

ENDINGS = _words(
    "pem key p12 pfx p8 pk8 jks jceks bks keystore keytab kdb kdbx ppk ovpn psafe3 1pux agekey keychain keychain-db env"
    " tfstate tfvars kubeconfig htpasswd netrc pgpass pypirc dockercfg"
)
"""What the names of keys and credentials end with, after a dot."""
BACKUPS = _words("bak old orig save backup tmp swp")
"""Endings of a copy that somebody put aside; so are numbers and "~"."""
NAMES = _words(
    "netrc _netrc pgpass.conf htpasswd kubeconfig pypirc dockercfg dockerconfig.json kaggle.json rclone.conf wallet.dat"
    " cookies.sqlite cookies.txt logins.json key3.db key4.db secring.gpg jupyter_cookie_secret wg0.conf"
    " credentials.py creds.py api_key.py api_keys.py apikey.py apikeys.py pgpass wp-config.php"
)
"""Whole names."""
FOLDERS = frozenset(("secrets",))
"""Folders hidden whole."""
BEGINNINGS = ("secrets.", "jpserver-", "nbserver-")
"""What names begin with; the last two are the records of running Jupyter servers, with their tokens."""

PLACES = _words("production prod staging development dev test local")
"""What stands behind "env." in names of files with settings."""
PARTS = _words("env tfstate tfvars")
"""Between two dots of a name, as in prod.env.local, whose ending is one of PLACES or CONFIGURATION."""

CONFIGURATION = _words("json yaml yml toml ini cfg conf xml properties")
"""Endings under which programs keep their settings."""
TEXTS = frozenset(("", "txt"))
TOKEN_STORES = frozenset(("json", "pickle"))

# Words, set apart from others in a name by - _ . or a space, written here with _:
WITHIN = (
    *("credential", "credentials", "creds", "secrets", "client_secret", "service_account", "serviceaccount"),
    *("adminsdk", "kubeconfig"),
)
"""Anywhere in the name of a CONFIGURATION file they mean credentials."""
LAST = (
    *("credential", "credentials", "creds", "secret", "secrets", "token", "oauth", "kubeconfig"),
    *("password", "passwords", "passwd", "passphrase", "vault_pass"),
    *("access_tokens", "refresh_tokens", "api_tokens", "auth_tokens", "sa_key"),
    *("api_key", "api_keys", "apikey", "apikeys", "access_key", "access_keys", "accesskey", "accesskeys"),
    *("secret_key", "secretkey", "private_key", "privatekey", "privkey"),
)
"""At the end of the name of a CONFIGURATION file or of TEXTS they mean it, a number behind them or not."""
TABLES = _words("csv tsv xls xlsx ods")
LAST_OF_TABLES = (
    *("credentials", "accesskey", "accesskeys", "access_key", "access_keys", "rootkey", "root_key"),
    *("password", "passwords"),
)
"""At the end of the name of one of TABLES, in which browsers and clouds hand them out."""
FIRST_OF_TOKENS = ("token", "tokens")
"""At the beginning of the name of one of TOKEN_STORES."""
SSH_KEYS = ("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_xmss")
"""Anywhere in a name without an ending, or of TEXTS."""

_APART = str.maketrans("-. ()", "_____")
_NUMBER = "_0123456789"
_WITHIN = tuple(f"_{words}_" for words in WITHIN)
_WITHIN_ENDS = frozenset(words.rpartition("_")[2] for words in WITHIN)  # one look at these spares most names the rest
_LAST = tuple(f"_{words}" for words in LAST)
_LAST_OF_TABLES = tuple(f"_{words}" for words in LAST_OF_TABLES)
_FIRST_OF_TOKENS = tuple(f"_{words}_" for words in FIRST_OF_TOKENS)
_SSH_KEYS = tuple(f"_{words}_" for words in SSH_KEYS)
_CAPITAL = re.compile("(?<=[a-z0-9])(?=[A-Z])")
_EDITORS = re.compile(r"^#(.*)#$|^(.*?)___jb_(?:tmp|old)___$")
_HEX = frozenset("0123456789abcdef-")


class Masked:
    """Something to hide: its `path` below the folder, slashes between; its `kind` ("file", "folder", "link", "other");
    and `why`: "hidden", "key", "special" (a socket, a pipe, a device), "unreadable", or "budget": not looked at."""

    __slots__ = ("kind", "path", "why")

    def __init__(self, path: str, kind: str, why: str) -> None:
        self.path, self.kind, self.why = path, kind, why

    @property
    def unseen(self) -> bool:
        """Whether it is hidden because there was too much to look at."""
        return self.why == "budget"

    def __repr__(self) -> str:
        return f"Masked({self.path!r}, {self.kind!r}, {self.why!r})"


_Stamp = tuple[int, int, int, int]


class _Look:
    """A folder as it was found at a `place`: how many `entries`, the folders `below` to look at, what is `hidden`; and
    its `stamp` before that, None if it does not tell whether the folder has changed. Its `identity` it keeps.
    """

    __slots__ = ("below", "entries", "hidden", "identity", "place", "stamp")

    def __init__(self, place: str, entries: int) -> None:
        self.place, self.entries = place, entries
        self.below: list[tuple[str, bool]] = []
        self.hidden: list[Masked] = []
        self.stamp: _Stamp | None = None
        self.identity: Identity | None = None


class Watch:
    """Looks at a folder and those below it, as often as it is asked; what has not changed is not read again.

    Links are not followed. `skip` are absolute paths that stay as they are, such as the interpreter's (of a link: the
    link itself); in a hidden folder on the way to one all else is hidden. After `budget` entries those folders are
    hidden whole that were not looked at, which are the deepest. Never raises for what it finds: a folder that cannot be
    read is hidden, "." if it is the folder itself.
    """

    def __init__(self, folder: str | os.PathLike[str], skip: Iterable[str] = (), budget: int = BUDGET) -> None:
        self.folder, self._most = os.path.realpath(folder), budget
        self._looks: dict[str, _Look] = {}
        self._places: dict[Identity, set[str]] | None = None
        """Where each folder has been, in a copy: since the child is there for which it looks."""
        self._all: list[Masked] = []
        self._is_whole = False
        """Whether the last look came to its end, and all was readable: what was not looks the same when it is."""
        self.changed = True
        """Whether at the last look a name had come or gone since the one before, as far as that can be told."""
        self._kept: set[str] = set()
        self._ways = {""}
        """Folders that have something kept in them: looked at in any case."""
        for path in skip:
            above, name = os.path.split(path.rstrip("/"))
            relative = os.path.relpath(os.path.join(os.path.realpath(above), name), self.folder)
            if relative != "." and relative.split("/")[0] != "..":
                self._kept.add(relative)
                while relative := os.path.dirname(relative):
                    self._ways.add(relative)

    def copy(self) -> Watch:
        """Another, which knows what this one has seen, and which of the folders are moved from then on."""
        other = copy(self)
        other._places = {look.identity: {path} for path, look in self._looks.items() if look.identity}
        other.changed = True
        return other

    def masked(self) -> list[Masked]:
        """What is to be hidden now; what lies below something hidden is not listed. The same list as before, if all is
        as it was."""
        if self._is_as_before():
            self.changed = False
            return self._all
        self._is_whole = False  # also if this look is broken off
        self._found: list[Masked] = []
        self._is_readable = True
        self._budget, self._before, self._looks = self._most, self._looks, {}
        self._settled = time.time_ns() - int(SETTLED_SECONDS * 1e9)
        self._dated: dict[int, bool] = {}
        self.changed = False
        level = [("", False)]
        while level:
            level = [below for path, closed in level for below in self._look(path, closed)]
        self._all = sorted(self._found, key=lambda each: each.path)
        self._is_whole = self._is_readable
        return self._all

    def exposed(self, path: str, known: Container[str]) -> list[str]:
        """Folders in which a process may be still, or that it may hold open, and then sees what is at `path` though
        that is hidden now: one that was moved, by the names that it had. None in which `path` was hidden as well;
        `known` are the paths hidden."""
        parts = path.split("/")
        for end in range(len(parts), 0, -1):
            place = "/".join(parts[:end])
            if not os.path.isdir(f"{self.folder}/{place}"):
                continue
            found = identity(f"{self.folder}/{place}")
            if self._places and found and (before := self._places.get(found, set()) - {place}):
                return [old for old in before if not _is_known([*old.split("/"), *parts[end:]], known)]
        return []

    def _is_as_before(self) -> bool:
        """Whether no folder has changed since the last look. It is asked before each action and each reply of a tool:
        what the looks would do costs several times as much."""
        try:
            for look in self._looks.values():
                found = os.lstat(look.place)
                if look.stamp != (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns):
                    return False
        except OSError:
            return False
        return self._is_whole

    def _look(self, path: str, closed: bool) -> list[tuple[str, bool]]:
        """Look at a folder, all of which is hidden but the ways if it is `closed`; gives those to look at below it."""
        must = path in self._ways
        if self._budget <= 0 and not must:
            return self._unseen(path, "budget")
        look, place = self._before.get(path), f"{self.folder}/{path}"
        stamp = _stamp(place)
        if look is None or look.stamp is None or look.stamp != stamp:
            self.changed = True
            entries: list[tuple[str, str]] = []
            try:
                with os.scandir(place) as listing:
                    for entry in listing:
                        entries.append((entry.name, _kind(entry)))
                        if len(entries) > self._budget and not must:
                            break
            except OSError:
                return self._unseen(path or ".", "unreadable")
            look = self._judge(path, entries, closed)
            look.stamp = stamp if self._tells(stamp, entries) else None
            look.identity = identity(place)
            if self._places is not None and look.identity:
                self._places.setdefault(look.identity, set()).add(path)
        self._budget -= look.entries
        if self._budget < 0 and not must:
            return self._unseen(path, "budget")
        self._looks[path] = look
        self._found += look.hidden
        return look.below

    def _unseen(self, path: str, why: str) -> list[tuple[str, bool]]:
        self._is_readable = self._is_readable and why != "unreadable"
        self._found.append(Masked(path, "folder", why))
        return []

    def _tells(self, stamp: _Stamp | None, entries: list[tuple[str, str]]) -> bool:
        """Whether a folder of this stamp would have another once something is to be hidden in it that was not."""
        if stamp is None or stamp[-1] > self._settled or any(_may_be_cloud_key(name) for name, _ in entries):
            return False
        if stamp[0] not in self._dated:
            self._dated[stamp[0]] = file_system(stamp[0]) in DATED
        return self._dated[stamp[0]]

    def _judge(self, folder: str, entries: list[tuple[str, str]], closed: bool) -> _Look:
        prefix = f"{folder}/" if folder else ""
        look = _Look(f"{self.folder}/{folder}", len(entries))
        with_public_half = {name[:-4] for name, _ in entries if name[-4:] == ".pub"}
        for name, kind in entries:
            path = prefix + name
            hidden = closed or name[0] == "."
            if path in self._kept:
                continue
            if path in self._ways and kind == "folder":
                look.below.append((path, hidden or name.lower() in FOLDERS))
            elif hidden:
                look.hidden.append(Masked(path, kind, "hidden"))
            elif kind == "folder":
                if name.lower() in FOLDERS:
                    look.hidden.append(Masked(path, kind, "key"))
                else:
                    look.below.append((path, False))
            elif kind == "other":
                look.hidden.append(Masked(path, kind, "special"))
            elif name in with_public_half or is_key(name) or self._is_cloud_key(path, name):
                look.hidden.append(Masked(path, kind, "key"))
        return look

    def _is_cloud_key(self, path: str, name: str) -> bool:
        """Whether it is a Google Cloud key; what cannot be read counts as one."""
        if not _may_be_cloud_key(name):
            return False
        try:
            descriptor = os.open(f"{self.folder}/{path}", os.O_RDONLY | os.O_NONBLOCK)
            try:
                return b'"private_key"' in os.read(descriptor, 4096)
            finally:
                os.close(descriptor)
        except OSError:
            return True


def _is_known(parts: list[str], known: Container[str]) -> bool:
    """Whether a path, or a folder in which it lies, is among those known."""
    return any("/".join(parts[:count]) in known for count in range(1, len(parts) + 1))


def _stamp(folder: str) -> _Stamp | None:
    """Device, inode and times of a folder. Its ctime, which nobody can set, changes with each name that comes or goes,
    see inode(7)."""
    try:
        found = os.lstat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _may_be_cloud_key(name: str) -> bool:
    """Whether it is named as Google Cloud hands out keys, PROJECT-<12 hex digits>.json. Many ordinary files are named
    so too, hence a look inside."""
    return name[-5:] == ".json" and name[-18:-17] == "-" and _HEX.issuperset(name[-17:-5])


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_file(follow_symlinks=False):
            return "file"
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        return "link" if entry.is_symlink() else "other"
    except OSError:
        return "other"


def is_hidden(name: str) -> bool:
    """Whether what has this name, without its folder, is hidden."""
    return name[:1] == "." or name.lower() in FOLDERS or is_key(name)


def is_key(name: str) -> bool:
    """Whether a file of this name holds a private key or credentials, as far as a name tells."""
    if not name.islower():
        name = _CAPITAL.sub("_", name).lower()
    if edited := _EDITORS.match(name):
        name = edited[1] or edited[2] or name
    name = name.rstrip("~")
    stem, dot, ending = name.rpartition(".")
    while dot and (ending in BACKUPS or ending.isdigit()):
        name = stem
        stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    if ending.split(" ")[0] in ENDINGS or name in NAMES or name.startswith(BEGINNINGS):
        return True
    if stem == "env" and ending in PLACES:
        return True
    if "." in stem and ending in _BEHIND_PARTS and not PARTS.isdisjoint(stem.split(".")[1:]):
        return True
    if ending not in _TELLING:
        return False
    words = f"_{stem.translate(_APART)}_"
    last = words.rstrip(_NUMBER)
    if ending in CONFIGURATION or ending in TEXTS:
        within = ending in CONFIGURATION and not _WITHIN_ENDS.isdisjoint(words.split("_"))
        if last.endswith(_LAST) or (within and any(each in words for each in _WITHIN)):
            return True
        if ending in TEXTS and (any(each in words for each in _SSH_KEYS) or _is_of_a_server(last)):
            return True
        if not ending:
            return words.startswith("_kubeconfig_")
    if ending in TOKEN_STORES:
        return words.startswith(_FIRST_OF_TOKENS) or _is_connection_file(stem)
    return ending in TABLES and last.endswith(_LAST_OF_TABLES)


_BEHIND_PARTS = PLACES | CONFIGURATION
_TELLING = CONFIGURATION | TEXTS | TOKEN_STORES | TABLES


def _is_of_a_server(words: str) -> bool:
    """Whether it is a key of an SSH server."""
    return words.startswith("_ssh_host_") and words.endswith("_key")


def _is_connection_file(stem: str) -> bool:
    """Whether it is one of Jupyter's, kernel-<id>.json, which opens a running kernel to who reads it."""
    number = stem[len("kernel-") :]
    return stem[:7] == "kernel-" and _HEX.issuperset(number) and any(map(str.isdigit, number))
