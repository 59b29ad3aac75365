"""What may cross between host and child: a closed list of types, and their JSON-plain form.

Called by the executor and the tool bridge in the host, and by the child, into which this file travels as source: at
import it needs the standard library alone and nothing of this package; heavy packages load when a value needs them.

None, bool, float, str, list, ints of 64 bits and dicts with str keys stand for themselves. Any other value is
`{"$": tag, "v": parts}`, its parts being simpler values in the same form; the calls of `crosses` list them all.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import pathlib
import re
import reprlib
import sys
import uuid
from collections.abc import Callable
from importlib import import_module
from typing import Any

MAX_DEPTH = 64  # how deep lists and dicts may nest
MAX_BYTES = 1 << 31
"""Size of an encoded value. Parts count as often as they are met: a list shared at every level would never end."""
MAX_PIXELS = 50_000_000  # of an image
MAX_WEIGHT = 4 * MAX_PIXELS
"""Bytes that images, columns and the like (`_HEAVY`) of one value take together, beyond what they took on the way."""
MAX_TEXT = 2_000  # characters of a RemoteValue's text
CROSSES = ". Give text, numbers, lists, dicts, arrays, pandas or Arrow tables or images"  # behind an error
_SURROGATES = re.compile("[\ud800-\udfff]")
Instead = Callable[[type, bool], Callable[[Any], Any] | None]  # of a type not on the list, to be hashed or not


class NotPortable(TypeError):
    """A value cannot cross; the message names its type and its place, such as `value['a'][3]`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason, self.path = reason, ""
        self.advice = ". Give less of it" if "is too large" in reason else CROSSES

    def __str__(self) -> str:
        return f"value{self.path[:117]}{self.path[117:] and '...'} {self.reason}"


class MalformedValue(ValueError):
    """What was to be decoded is not an encoded value."""


class RemoteValue:
    """A value that stayed in the child: `type_name`, `shape` (None if it has none), `text` (its repr, shortened) and
    the `handle` under which the child keeps it."""

    def __init__(self, type_name: str, shape: tuple[int, ...] | None, text: str, handle: str) -> None:
        self.type_name, self.shape, self.text, self.handle = type_name, shape, text, handle

    def __repr__(self) -> str:
        shape = f" {' x '.join(map(str, self.shape))}" if self.shape else ""
        return f"<{self.type_name}{shape}, which stayed in the child kernel: {self.text}>"


def encode(value: Any, *, limit: int | None = None, instead: Instead | None = None, lost: Any = None) -> Any:
    """The JSON-plain form of `value`, of at most `limit` bytes (None: MAX_BYTES).

    As in `json`, subclasses of builtins cross as those, namedtuples as tuples; `lost` gathers them. Raises NotPortable.
    """
    try:
        return _Encoder(limit or MAX_BYTES, instead, set() if lost is None else lost)(value)
    except NotPortable:
        raise
    except Exception as error:  # boundary: a class's own methods, a dict another thread changed, a full stack
        raise NotPortable(f"cannot be read through: {error}") from error


def decode(data: Any, *, trusted: bool = False) -> Any:
    """The value whose encoded form is `data`, as a Decoder gives it."""
    return Decoder(trusted).decode(data)


def remote(value: Any, handle: str, text: str | None = None) -> Any:
    """The encoded RemoteValue for `value`, which stays where it is, under `handle`; `text` is in place of its repr."""
    try:
        shape = shape_of([n.__index__() for n in value.shape])
    except Exception:  # noqa: BLE001 - boundary: any class's own methods run here
        shape = None
    try:
        text = repr(value) if text is None else text
    except Exception as error:  # noqa: BLE001 - boundary: any class's __repr__ runs here
        text = f"a {type(value).__name__} whose repr fails: {error!r}"
    name = re.sub(r"^(builtins|__main__)\.", "", f"{type(value).__module__}.{type(value).__qualname__}")
    return encode(RemoteValue(name[:MAX_TEXT], shape, text[:MAX_TEXT], handle))


class _Encoder:
    """One walk down a value."""

    def __init__(self, limit: int, instead: Instead | None, lost: set[type]) -> None:
        self.limit, self.size, self.depth, self.weight = limit, 0, 0, 0
        self.instead, self.hashed, self.lost = instead, False, lost

    def __call__(self, value: Any) -> Any:
        kind = type(value)
        if kind is list or kind is dict:
            return self.container(value)
        if kind is str:
            plain = _is_text(value)
        elif kind is float:
            plain = math.isfinite(value)
        else:
            plain = value.bit_length() < 64 if kind is int else value is None or kind is bool
        if plain:
            self.spend(len(value.encode()) + 2 if isinstance(value, str) else len(repr(value)))
        return value if plain else self.tagged(value)

    def container(self, value: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotPortable(f"nests deeper than {MAX_DEPTH} levels, or contains itself")
        self.spend(2 * len(value) + 16)  # more than in the text: in memory a list takes far more
        if type(value) is list:
            encoded = self.flat(value) or [self.item(place, item) for place, item in enumerate(value)]
        elif "$" not in value and all(type(key) is str and _is_text(key) for key in value):
            encoded = {self.item(key, key): self.item(key, item) for key, item in value.items()}
        else:
            encoded = {"$": "dict", "v": [[self.item(k, k, True), self.item(k, item)] for k, item in value.items()]}
        self.depth -= 1
        return encoded

    def flat(self, value: list[Any]) -> list[Any] | None:
        """A copy of a list whose items are all plain and of one type; None for other lists. Only for speed."""
        kinds = set(map(type, value))
        if kinds == {int}:
            plain = max(value) < 2**63 and min(value) >= -(2**63)
        elif kinds == {float}:
            plain = all(map(math.isfinite, value))
        else:
            plain = kinds == {str} and all(map(str.isascii, value))
        if plain:
            self.spend(sum(map(len, map(repr, value))))
        return value.copy() if plain else None

    def item(self, key: object, value: Any, hashed: bool = False) -> Any:
        before, self.hashed = self.hashed, self.hashed or hashed
        try:
            encoded = self(value)
        except NotPortable as error:
            error.path = f"[{reprlib.repr(key)}]{error.path}"
            raise
        self.hashed = before
        return encoded

    def tagged(self, value: Any) -> Any:
        kind = type(value)
        tag, parts = _form(kind, self.instead, self.hashed)
        if package(kind) not in _STANDARD and package(kind) not in _TABLED:
            self.lost.add(kind)
        if package(kind) in _TABLED:  # too large is told before any copy is made: a cell takes at least a bit
            sizes = (getattr(value, "nbytes", 0), getattr(value, "size", 0))
            self.spend(max((size // 8 for size in sizes if isinstance(size, int)), default=0), keep=False)
        try:
            simpler = parts(value)
        except ImportError as error:
            raise NotPortable(f"is {a_name(kind)}, which needs a package to cross: {_install(error)}") from error
        except NotPortable:
            raise
        except Exception as error:  # boundary: the value's own methods run here
            raise NotPortable(f"is {a_name(kind)}, which cannot cross: {error}") from error
        if not tag:
            return self(simpler)
        self.weight += _tables().weight(simpler) if tag in _HEAVY else 0
        if self.weight > MAX_WEIGHT:
            raise NotPortable(f"is too large to cross: it would take more than {MAX_WEIGHT:,} bytes in memory")
        before, self.hashed = self.hashed, self.hashed or tag in ("set", "frozenset")
        try:
            encoded = {"$": tag, "v": self(simpler)}
        except NotPortable as error:
            if type(simpler) is dict and error.reason.startswith("is "):
                which = "that" if "is too large" in error.reason else "with a cell or label that"
                error = NotPortable(f"is {a_name(kind)} {which} {error.reason}")
            if kind not in (tuple, set, frozenset):
                error.path = ""  # places among the parts mean nothing to a reader
            raise error from None
        self.hashed = before
        return encoded

    def spend(self, size: int, keep: bool = True) -> None:
        total = self.size + size
        if total > self.limit:
            raise NotPortable(f"is too large to cross: it makes {total:,} bytes or more, the limit is {self.limit:,}")
        self.size = total if keep else self.size


class Decoder:
    """One walk down encoded data, in which everything is checked. `trusted` allows pickles and long keys as well and is
    for the child alone. `weight` is in the end what MAX_WEIGHT limits."""

    def __init__(self, trusted: bool = False) -> None:
        self.trusted, self.weight, self.depth = trusted, 0, 0

    def decode(self, data: Any) -> Any:
        """The value whose encoded form is `data`. Raises MalformedValue and nothing else."""
        _beside("crafted_keys").begin(self.trusted)
        try:
            return self._read(data)
        except MalformedValue:
            raise
        except Exception as error:  # boundary: whatever the libraries raise on hostile data
            raise MalformedValue(f"{type(error).__name__}: {error}"[:500]) from error

    def _read(self, data: Any) -> Any:
        kind = type(data)
        if data is None or kind is bool or kind is int:
            return data
        if kind is str:
            return data if _is_text(data) else refuse("a str with lone surrogates")
        if kind is float:
            return data if math.isfinite(data) else refuse(f"a bare {data!r}")
        if kind not in (list, dict):
            return refuse(f"{a_name(kind)} is not JSON")
        self.depth += 1
        if self.depth > 4 * MAX_DEPTH:  # the parts of a tagged value take up to three levels of their own
            return refuse("nested too deeply")
        if kind is list:
            value = [self._read(item) for item in data]
        elif "$" in data:
            value = self._tagged(data)
        else:
            value = {need(self._read(key), str): self._read(item) for key, item in data.items()}
        self.depth -= 1
        return value

    def _tagged(self, data: dict[str, Any]) -> Any:
        if len(data) != 2 or "v" not in data:
            return refuse('a tagged value has "$" and "v" and nothing else')
        tag = need(data["$"], str)
        if tag == "pickle" and self.trusted:
            return _beside("unpickled").unpickled(data["v"], self._read)
        if tag not in _BUILDS:
            _tables()
        takes, build = _BUILDS.get(tag) or refuse(f"unknown tag {tag[:40]!r}")
        parts = need(self._read(data["v"]), takes)
        self.weight += _tables().weight(parts) if tag in _HEAVY else 0
        if self.weight > MAX_WEIGHT:
            return refuse(f"what would take more than {MAX_WEIGHT:,} bytes in memory")
        try:
            return build(parts)
        except MalformedValue:
            raise
        except ImportError as error:
            raise MalformedValue(f"{tag} needs a package to be read: {_install(error)}") from error
        except Exception as error:  # boundary: whatever the libraries raise on hostile data
            raise MalformedValue(f"not a valid {tag}: {type(error).__name__}: {error}"[:500]) from error


def _tables() -> Any:
    """The module `tables` beside this one, under whatever name this one runs; with it that which loads it is there."""
    return _beside("pandas_labels").tables


def _beside(name: str) -> Any:
    return import_module(f".{name}", __package__)


def refuse(reason: str) -> Any:
    """Raise MalformedValue."""
    raise MalformedValue(reason)


def need(value: Any, kind: Any) -> Any:
    """The value, which must be of this type or union of types."""
    if not isinstance(value, kind):
        refuse(f"{getattr(kind, '__name__', kind)} was expected, not {a_name(type(value))}")
    return value


def row(parts: list[Any], *kinds: Any) -> list[Any]:
    """The parts, which must be as many as the kinds, and of these."""
    if len(need(parts, list)) != len(kinds):
        refuse(f"{len(kinds)} parts were expected, not {len(parts)}")
    return [need(part, kind) for part, kind in zip(parts, kinds, strict=True)]


def _is_text(text: str) -> bool:
    """Whether the text has a UTF-8 form: lone surrogates have none."""
    return text.isascii() or not _SURROGATES.search(text)


def package(kind: type) -> str:
    """Name of the top package a type is from."""
    return kind.__module__.partition(".")[0]


def a_name(kind: type) -> str:
    """Name of a type with its article, and of one from a library with that: others have a DataFrame or Image too."""
    of_library = package(kind) not in {"__main__", *_TABLED, *sys.stdlib_module_names}
    name = f"{package(kind)}.{kind.__name__}" if of_library else kind.__name__
    return f"{'an' if re.match('[AEIOUaeiou]|ndarray', name) else 'a'} {name}"


def _install(error: ImportError) -> str:
    return f"pip install {(error.name or str(error)).replace('PIL', 'pillow')}"


_BASES: dict[type, Any] = {str: str.__str__, int: int.__index__, float: float.__float__, list: list, dict: dict}
"""Types that stand for themselves, and how a value of a subclass becomes one of the type itself."""
_HEAVY = ("image", "ndarray", "scalar", "DataFrame", "Series", "Index")  # a few bytes of these may be many in memory
_STANDARD = ("builtins", "datetime", "decimal", "pathlib", "uuid")  # subclasses of theirs cross, as those
_TABLED = ("numpy", "pandas", "pyarrow", "PIL")  # their types are in `tables`
_FORMS: dict[str, tuple[str, Callable[[Any], Any]]] = {}
_BUILDS: dict[str, tuple[type, Callable[[Any], Any]]] = {}


def crosses(types: str, tag: str, parts: Callable[[Any], Any], takes: type, build: Callable[[Any], Any]) -> None:
    """Put types on the list. `types` are given by top package and name; `parts` takes a value apart into one of type
    `takes`; `build` puts that together again."""
    _FORMS.update((name, (tag, parts)) for name in types.split())
    _BUILDS[tag] = (takes, build)


def _form(kind: type, instead: Instead | None, hashed: bool) -> tuple[str, Callable[[Any], Any]]:
    """Tag and parts of a type; an empty tag: its parts stand for themselves.

    Subclasses from elsewhere cross for the standard library's types alone: an array with units would lose them.
    """
    if package(kind) in _TABLED:
        _tables()
    for cls in kind.__mro__:
        if cls in _BASES and cls is not kind:
            return "", _BASES[cls]
        form = _FORMS.get(f"{package(cls)}.{cls.__qualname__}")
        if form and (package(cls) in _STANDARD or package(cls) == package(kind)):
            return form
    if instead and (simpler := instead(kind, hashed)):
        return "", simpler
    raise NotPortable(f"is {a_name(kind)}, which cannot cross between host and child")


def _moment(value: Any) -> list[Any]:
    """ISO 8601 text, key of the zone, fold. A tzinfo other than ZoneInfo becomes the offset in the text."""
    zone = getattr(value.tzinfo, "key", None)
    return [(value.replace(tzinfo=None) if zone else value).isoformat(), zone, value.fold]


def _from_moment(kind: Any) -> Callable[[list[Any]], Any]:
    def build(parts: list[Any]) -> Any:
        text, zone, fold = row(parts, str, str | None, int)
        moment = kind.fromisoformat(text).replace(fold=fold)
        return moment.replace(tzinfo=import_module("zoneinfo").ZoneInfo(zone_name(zone))) if zone else moment

    return build


def zone_name(name: str) -> str:
    """The name, which must look like that of a time zone."""
    return name if ZONE.fullmatch(name) else refuse(f"time zone {name[:40]!r}")


ZONE = re.compile(r"(?!dateutil)[A-Za-z][\w:+-]{0,40}(/[\w+-]{1,40}){0,3}", re.ASCII)
"""Names of time zones and offsets such as UTC+02:00, and never a path: dateutil would open it."""

crosses("builtins.int", "int", hex, str, lambda v: int(v, 16))
crosses("builtins.float", "float", repr, str, float)
crosses("builtins.complex", "complex", lambda v: [v.real, v.imag], list, lambda v: complex(*row(v, float, float)))
crosses("builtins.bytes", "bytes", lambda v: base64.b64encode(v).decode(), str,
         lambda v: base64.b64decode(v, validate=True))  # fmt: skip
crosses("builtins.str", "str", lambda v: v.encode("utf-8", "surrogatepass"), bytes,
         lambda v: v.decode("utf-8", "surrogatepass"))  # fmt: skip
crosses("builtins.tuple", "tuple", list, list, tuple)
crosses("builtins.set", "set", list, list, lambda v: _beside("crafted_keys").checked(set(), v))
crosses("builtins.frozenset", "frozenset", list, list, lambda v: frozenset(_beside("crafted_keys").checked(set(), v)))
crosses("", "dict", list, list, lambda v: _beside("crafted_keys").checked({}, [row(p, object, object) for p in v]))
crosses("datetime.datetime", "datetime", _moment, list, _from_moment(datetime.datetime))
crosses("datetime.time", "time", _moment, list, _from_moment(datetime.time))
crosses("datetime.date", "date", datetime.date.isoformat, str, datetime.date.fromisoformat)
crosses("datetime.timedelta", "timedelta", lambda v: [v.days, v.seconds, v.microseconds], list,
         lambda v: datetime.timedelta(*row(v, int, int, int)))  # fmt: skip
crosses("decimal.Decimal", "Decimal", str, str, decimal.Decimal)
crosses("uuid.UUID", "UUID", str, str, uuid.UUID)
for path in (pathlib.Path, pathlib.PurePath, pathlib.PureWindowsPath):
    crosses(f"pathlib.{path.__name__}", path.__name__, str, str, path)


def _from_remote(parts: list[Any]) -> RemoteValue:
    name, shape, text, handle = row(parts, str, tuple | None, str, str)
    if max(map(len, (name, shape or (), text, handle))) > MAX_TEXT:
        refuse("a text that should have been shortened")
    # What a terminal or page would act on stands there as the escape that it has in a string.
    fit = [re.sub("[^\n\t -~]", lambda c: c[0] if c[0].isprintable() else ascii(c[0])[1:-1], t) for t in (name, text)]
    return RemoteValue(fit[0][:MAX_TEXT], shape and shape_of(shape), fit[1][:MAX_TEXT], handle)


def shape_of(parts: Any) -> tuple[int, ...]:
    """The sizes, which must be such as arrays have: others have no repr, and take long to be multiplied."""
    return tuple(parts) if len(parts) <= 64 and all(0 <= need(n, int) < 2**63 for n in parts) else refuse("no shape")


crosses(f"{package(RemoteValue)}.RemoteValue", "remote", lambda v: list(vars(v).values()), list, _from_remote)
