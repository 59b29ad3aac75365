"""What is kept of what a run was given, variables and media: a digest of each, and of a small one its value.

The digest of a large table or array is taken beside the run, in a thread.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from smol_kernel.errors import ConfigError, NotPortableError
from smol_kernel.events import Event, InputsDigested, RunFinished
from smol_kernel.executors import table_attributes, tables
from smol_kernel.executors.no_secrets import no_secrets
from smol_kernel.executors.pickles import encode_input, plain_form
from smol_kernel.executors.values import MalformedValue, NotPortable, a_name, decode, encode, package

SMALL = 4 << 20
"""Characters of an encoded value up to which it is kept itself."""
LARGE = 64 << 20
"""Bytes of a table or array from which on its digest is taken of its parts as they lie in memory."""
LAST_SECONDS = 5.0
"""How long the end of a run waits for digests that are not there yet."""
_URLS = ("data:", "http://", "https://")


class EncodedInput:
    """A recorded variable that is handed to the child as it was: `data` is its encoded form, which may hold what only
    the child may read."""

    def __init__(self, data: Any) -> None:
        self.data = data


def given_variables(given: Any) -> dict[str, Any]:
    """`additional_args` of a run as a dict of its own. Raises ConfigError for what is none."""
    try:
        return dict(given or {})
    except (TypeError, ValueError):
        raise ConfigError(
            f"additional_args is {a_name(type(given))}: give a dict of variables by name, such as {{'rows': rows}}"
        ) from None


def encoded_variable(name: str, value: Any, encode: Callable[[Any], Any]) -> Any:
    """The encoded form of a variable. Raises NotPortableError, which names it, for a value that has none."""
    try:
        return value.data if isinstance(value, EncodedInput) else encode(value)
    except NotPortable as error:
        raise NotPortableError(f"variable {name!r}: {error}") from error


class KeptValues:
    """What is kept of `variables`, and of `media`: lists of images, sounds and videos, as the agent is given them.

    A value that holds a secret of the host's is not kept. Nothing is kept of one that cannot be handed over: that is an
    error where it is.
    """

    def __init__(self, variables: Mapping[str, Any], media: Mapping[str, Sequence[Any] | None] | None = None) -> None:
        self.values = {name: found for name, value in variables.items() if (found := _kept(value)) is not None}
        """Name → `bytes`, `digest` if it is known, and where that is small the encoded `value`, and the `pickle` that
        has its classes besides."""
        self.media = {kind: [_kept_medium(each) for each in given] for kind, given in (media or {}).items() if given}
        """Kind → the same of each; of a file what is in it."""
        self._large = {name: variables[name] for name, kept in self.values.items() if "digest" not in kept}
        self._digests: dict[str, str] = {}

    def beside(self, run: Generator[Event]) -> Generator[Event]:
        """The events of `run`, and among them the digests that were not taken yet when it began."""
        if not self._large:
            yield from run
            return
        taking = threading.Thread(target=self._take_digests, name="digests", daemon=True)
        first = None
        with closing(run):
            for event in run:
                if isinstance(event, RunFinished) and event.run == first:
                    taking.join(LAST_SECONDS)
                if first is None:
                    first = event.run
                    taking.start()
                elif self._digests and event.run == first and not taking.is_alive():
                    yield InputsDigested(run=first, step=event.step, digests=self._digests)
                    self._digests = {}
                yield event

    def _take_digests(self) -> None:
        digests: dict[str, str] = {}
        for name, value in self._large.items():
            try:
                digests[name] = _fast_digest(value)
            except Exception:  # noqa: BLE001 - boundary: the value's own methods, while others may change it
                digests[name] = ""
        self._digests = digests


def recorded_value(kept: Mapping[str, Any], for_child: bool) -> Any:
    """The variable of which this was kept, a `value` among it. Where the host may not read it an EncodedInput; so it is
    `for_child` where only a pickle has its classes."""
    if for_child and "pickle" in kept:
        return EncodedInput({"$": "pickle", "v": [kept["value"], kept["pickle"]]})
    try:
        return decode(kept["value"])
    except MalformedValue:  # it was pickled
        return EncodedInput(kept["value"])


def digest_of(value: Any) -> str:
    """The digest of a variable; empty where it has none."""
    kept = _kept(value)
    return "" if kept is None else kept.get("digest") or _fast_digest(value)


def recorded_medium(data: Any) -> Any:
    """The image, sound or video of which this `value` was kept. Raises MalformedValue for what it cannot be: a record
    may be somebody else's, and would have a file of this machine read that it names."""
    medium = decode(data)
    if isinstance(medium, str | Path) and not str(medium).startswith(_URLS):
        raise MalformedValue("a medium is recorded as what is in its file")
    return medium


def digest_of_medium(value: Any) -> str:
    """The digest of an image, a sound or a video; empty where it has none."""
    return _kept_medium(value).get("digest", "")


def _kept_medium(medium: Any) -> dict[str, Any]:
    """What is kept of an image, a sound or a video: of a file what is in it, not where it lies."""
    medium = medium.to_raw() if hasattr(medium, "to_raw") else medium
    if isinstance(medium, str | Path) and not str(medium).startswith(_URLS):
        path = Path(medium).expanduser()
        try:
            if (size := path.stat().st_size) > SMALL:
                return {"digest": _file_digest(path), "bytes": size}
            medium = path.read_bytes()
        except OSError:
            return {}  # the model's request will tell
    return _kept(medium, encode) or {}


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _kept(value: Any, encode: Callable[[Any], Any] = encode_input) -> dict[str, Any] | None:
    size = _size(value)
    if size > LARGE:
        return {"bytes": size}
    try:
        encoded = encode(value)
    except NotPortable:
        return None
    plain = plain_form(encoded)
    text = json.dumps(plain, sort_keys=True)  # the pickle of a class of the notebook is another in each process
    kept: dict[str, Any] = {"digest": hashlib.sha256(text.encode()).hexdigest(), "bytes": len(text)}
    if len(text) <= SMALL and no_secrets(plain)[0] is plain:
        kept["value"] = plain
        if plain is not encoded and len(json.dumps(encoded)) <= 2 * SMALL and no_secrets(encoded)[0] is encoded:
            kept["pickle"] = encoded["v"][1]
    return kept


def _size(value: Any) -> int:
    """Bytes of an array or a table; 0 of all else."""
    kind = type(value)  # its attributes: those of a value may be its items, or anything
    try:
        if hasattr(kind, "nbytes"):
            return size if type(size := value.nbytes) is int else 0
        if _is_of_polars(kind):
            return int(value.estimated_size())
        if hasattr(kind, "memory_usage") and hasattr(kind, "columns"):
            return int(value.memory_usage(index=False).sum())
    except Exception:  # noqa: BLE001 - boundary: any class's own methods run here
        pass
    return 0


def _is_of_polars(kind: type) -> bool:
    """Whether it is a class of tables or columns of polars."""
    return package(kind) == "polars" and hasattr(kind, "estimated_size")


def _fast_digest(value: Any) -> str:
    """Of a large array or table: an array of numbers as it lies in memory, a table of Arrow or polars as an Arrow
    stream, all else as pandas hashes it, with its index. Empty for what is neither, or cannot be hashed."""
    digest = hashlib.blake2b(digest_size=32)
    try:
        if _is_of_polars(type(value)):
            digest.update(type(value).__name__.encode())
            value = (value if hasattr(value, "columns") else value.to_frame()).to_arrow()
        if type(value).__module__.startswith("pyarrow."):
            digest.update(tables.stream(value))
        elif type(value).__module__ == "numpy" and value.dtype.kind in "biufc":
            import numpy as np

            digest.update(f" {value.dtype} {value.shape}".encode())
            digest.update(cast("Any", np.ascontiguousarray(value)).data.cast("B"))
        else:
            import pandas as pd

            frame: Any = pd.DataFrame(value)
            labels = [frame.columns.tolist(), frame.index.names, getattr(frame.index, "dtypes", frame.index.dtype)]
            digest.update(f"{type(value).__name__} {labels} {frame.dtypes.tolist()}".encode(errors="replace"))
            digest.update(cast("Any", pd).util.hash_pandas_object(frame).to_numpy().data)
            frame.attrs = dict(getattr(value, "attrs", None) or {})
            if noted := table_attributes.attributes(frame):
                digest.update(json.dumps(encode(noted), sort_keys=True).encode())
    except (AttributeError, ImportError, TypeError, ValueError):
        return ""
    return f"fast:{digest.hexdigest()}"
