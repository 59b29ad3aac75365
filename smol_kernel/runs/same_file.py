"""Whether two files are the same, but for what differs each time one is written: the time, and random ids.

Used by `made_files`. What the files hold is untrusted: little is unpacked at a time, nothing is loaded.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path, PurePosixPath

from smol_kernel.executors.sqlite_log import log_parts
from smol_kernel.memory.foreign_pictures import MAX_COMPARED, TooLarge
from smol_kernel.runs.same import look_the_same

LARGEST_FILE = 64 << 20
"""Bytes of a file whose content is compared; of a larger one only its size."""
MAX_PARTS, MAX_UNPACKED = 10_000, 256 << 20
"""Parts of an archive, and bytes of them all, up to which it is compared by them."""
MAX_IDS = 1_000_000
"""What may be an id in a text, up to which they are told from what is none."""
LARGEST_WITH_IDS = 8 << 20
"""Bytes of a text up to which ids are looked for in it: it may be made such that this takes long."""
DATED = "such files hold the time of writing"
_BOUNDED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # of these no more is unpacked than a piece at a time
_PIECE = 1 << 18
_TIMES_OF_OFFICE = ("docProps/core.xml",)
"""Parts of a spreadsheet or document that say when it was written."""
_PICTURES = frozenset([".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp"])
_PACKED = {".tgz": ".tar", ".svgz": ".svg"}
"""Endings of what gzip packed that name no `.gz`, and what is in it."""
_PDF = re.compile(
    rb"/(?:CreationDate|ModDate) ?\([^()\\]{0,40}\)|/ID\s{0,9}\[\s{0,9}<[0-9a-fA-F]{0,64}>\s{0,9}<[0-9a-fA-F]{0,64}>"
    rb"|<(?:xmp:\w{1,20}Date|xmpMM:\w{1,20}ID)>[^<]{0,99}<"
)
_TIMES = {
    ".svg": re.compile(rb"<dc:date>[^<]{0,99}</dc:date>"),
    ".pdf": _PDF,
    ".ps": re.compile(rb"^%%CreationDate: [^\r\n]{0,99}", re.MULTILINE),
    ".mat": re.compile(rb"\AMATLAB 5\.0 MAT-file[ -~]{0,100}"),
    ".gpkg": re.compile(
        rb"(?:attributes|features|tiles)[^\x00-\x1f]{0,200}?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    ),  # in `gpkg_contents`, behind the kind of the table and its title
    ".dta": re.compile(rb"(?s)\A.{91}\d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d|<timestamp>.{0,20}</timestamp>"),
}
"""Where files say when they were written, by the ending of their names."""
_TIMES[".eps"] = _TIMES[".ps"]
_UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_NAMED = rb"(?:\bid=[\"']|\bvar |\"(?:doc)?id\": ?\")"
_IDS = {
    # of matplotlib: `pd29feba905`, `imaged29feba905`, `C0_0_f25b106685`
    ".svg": rb"(?<![0-9a-zA-Z])(?:image|[a-zA-Z]|C[0-9a-f]{1,8}_[0-9a-f]{1,8}_)[0-9a-f]{10}(?![0-9a-zA-Z])",
    # of plotly and Bokeh, folium, the Styler of pandas
    ".html": _UUID + rb"|(?<=_)[0-9a-f]{32}(?![0-9a-zA-Z])|(?<![0-9a-zA-Z])T_[0-9a-f]{5}(?![0-9a-zA-Z])",
    ".ipynb": rb"(?<![0-9a-zA-Z])[0-9a-f]{8}(?![0-9a-zA-Z])",
}
"""What may be a random id, by the ending. It is one where the text gives it to something: `id="…"`."""
_IDS[".htm"] = _IDS[".html"]
_DATED = frozenset([*_TIMES, ".gz", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".svgz", ".h5", ".hdf5", ".dbf", ".gpkg"])
_DATED_ARCHIVES = frozenset([".xlsx", ".docx", ".pptx", ".zip", ".7z", ".odt", ".ods", ".epub"])


class NotCompared(ValueError):
    """A file may be the same as another, but it would take too much to find out; the message says of it why."""


def same_content(before: Path, after: Path) -> bool:
    """Whether a file is the same as it was before; also where that one is not there, or is too large."""
    if not before.is_file() or before.stat().st_size > LARGEST_FILE:
        return True
    if not after.is_file() or after.stat().st_size > LARGEST_FILE:
        return False
    return same_file(before.name, before.read_bytes(), after.read_bytes())


def same_file(name: str, was: bytes, now: bytes) -> bool:
    """Whether two files of that name are the same: pictures by pixels, archives (such as .xlsx) by their parts, what
    gzip packed by what is in it, and other files but for the time of writing and random ids (of a database and its
    log too), where it is known how they hold those.

    Raises NotCompared for what would take too much to be compared.
    """
    if was == now:
        return True
    ending = _ending(name)
    if ending in _PICTURES:
        try:
            return look_the_same(was, now, MAX_COMPARED)
        except TooLarge as error:
            raise NotCompared(f"is too large a picture: {error}") from None
    if was[:4] == now[:4] == b"PK\x03\x04":
        return _same_archive(was, now)
    if was[:3] == now[:3] == b"\x1f\x8b\x08":
        return _same_inside(name, was, now)
    if ending == ".tar":
        return _same_parts(_tar_parts(was), _tar_parts(now))
    if _is_duckdb(was) and _is_duckdb(now):
        was, now = (each[8:124] + each[140:] for each in (was, now))  # without its id, and the sum of what the id is in
    if name.endswith("-wal"):
        return _same_parts(log_parts(was), log_parts(now))
    if ending == ".wal":
        raise NotCompared("may hold what a DuckDB database that is still open has not written into its file")
    if ending in _TIMES:
        was, now = (_TIMES[ending].sub(b"", each) for each in (was, now))
    if was == now or ending not in _IDS:
        return was == now
    if max(len(was), len(now)) > LARGEST_WITH_IDS:
        raise NotCompared(f"is larger than {LARGEST_WITH_IDS >> 20} MB, and may hold random ids")
    return _same_but_for_ids(_IDS[ending], was, now)


def may_be_dated(name: str) -> str:
    """A remark, in brackets, for a file of a kind that holds when it was written; else empty."""
    return f" ({DATED})" if _ending(name) in _DATED | _DATED_ARCHIVES else ""


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _is_duckdb(data: bytes) -> bool:
    """Whether it is a DuckDB database: its mark, the number of the format, of which two bytes are used, and blocks."""
    return data[8:12] == b"DUCK" and not any(data[14:20]) and len(data) >= 12_288 and not len(data) % 4_096


def _same_but_for_ids(pattern: bytes, was: bytes, now: bytes) -> bool:
    """Whether two texts are the same if ids of the one, each given to something there, stand for those of the other."""
    candidates, given = re.compile(pattern), re.compile(_NAMED + rb"\w{0,40}?(" + pattern + rb")")
    own = [{match[1] for match in given.finditer(each)} for each in (was, now)]
    to: dict[bytes, bytes] = {}
    back: dict[bytes, bytes] = {}
    ends = [0, 0]
    for number, pair in enumerate(zip_longest(candidates.finditer(was), candidates.finditer(now))):
        one, other = pair
        if one is None or other is None or was[ends[0] : one.start()] != now[ends[1] : other.start()]:
            return False
        if number > MAX_IDS:
            raise NotCompared(f"has more than {MAX_IDS:,} ids")
        ends = [one.end(), other.end()]
        if one[0] in own[0] and other[0] in own[1]:
            if to.setdefault(one[0], other[0]) != other[0] or back.setdefault(other[0], one[0]) != one[0]:
                return False
        elif one[0] != other[0]:
            return False
    return was[ends[0] :] == now[ends[1] :]


# what is packed


def _same_archive(was: bytes, now: bytes) -> bool:
    if max(each.count(b"PK\x01\x02") for each in (was, now)) > MAX_PARTS:  # before all of them are listed
        raise NotCompared(f"is an archive of more than {MAX_PARTS:,} parts")
    room = MAX_UNPACKED
    try:
        with zipfile.ZipFile(io.BytesIO(was)) as first, zipfile.ZipFile(io.BytesIO(now)) as second:
            names = set(first.namelist()) - set(_TIMES_OF_OFFICE)
            if names != set(second.namelist()) - set(_TIMES_OF_OFFICE):
                return False
            for name in names:
                if not {each.getinfo(name).compress_type for each in (first, second)} <= _BOUNDED:
                    raise NotCompared("is an archive packed in another way than zip files mostly are")
                with first.open(name) as one, second.open(name) as other:
                    while piece := one.read(_PIECE):
                        room -= len(piece)
                        if room < 0:
                            raise NotCompared(f"unpacks to more than {MAX_UNPACKED >> 20} MB")
                        if piece != other.read(len(piece)):
                            return False
                    if other.read(1):
                        return False
    except NotCompared:
        raise
    except Exception:  # noqa: BLE001 - boundary: zipfile raises many things on what is no archive
        return False
    return True


def _same_inside(name: str, was: bytes, now: bytes) -> bool:
    """Whether two files that gzip packed hold the same."""
    if _same_parts(_unpacked(was, MAX_UNPACKED), _unpacked(now, MAX_UNPACKED)):
        return True
    path = PurePosixPath(name)
    inside = path.stem + _PACKED.get(_ending(name), "")
    if _ending(inside) not in {*_TIMES, *_IDS, *_PICTURES, ".tar"}:
        return False
    try:
        was, now = (b"".join(_unpacked(each, LARGEST_FILE)) for each in (was, now))
    except (zlib.error, EOFError):
        return False
    if was[:2] == now[:2] == b"\x1f\x8b":  # each time there would be more of it at once
        raise NotCompared("is packed by gzip more than once")
    return same_file(inside, was, now)


def _unpacked(data: bytes, room: int) -> Iterator[bytes]:
    """What gzip packed, a piece at a time, each but the last of the same length."""
    most, buffer = room, bytearray()
    unpacker, parts = zlib.decompressobj(31), 1
    for start in range(0, len(data), _PIECE):
        rest = data[start : start + _PIECE]
        while rest:
            if unpacker.eof:
                if not rest.strip(b"\0"):  # padding
                    break
                parts += 1
                if parts > MAX_PARTS:
                    raise NotCompared(f"is an archive of more than {MAX_PARTS:,} parts")
                unpacker = zlib.decompressobj(31)
            buffer += (piece := unpacker.decompress(rest, _PIECE))
            room -= len(piece)
            if room < 0:
                raise NotCompared(f"unpacks to more than {most >> 20} MB")
            rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            while len(buffer) >= _PIECE:
                yield bytes(buffer[:_PIECE])
                del buffer[:_PIECE]
    if not unpacker.eof:
        raise EOFError
    yield bytes(buffer)


def _tar_parts(data: bytes) -> Iterator[bytes]:
    """The headers of a tar archive, without times, and what it holds."""
    place = 0
    while header := data[place : place + 512]:
        kind, digits = header[156:157], header[124:136].strip(b" \0")
        size = int(digits, 8) if digits else 0
        if len(header) < 512 or size < 0:
            raise EOFError
        content = data[place + 512 : place + 512 + size]
        if kind == b"x":  # its own size and content depend on how many digits the time has
            yield header[:124] + header[156:]
            yield re.sub(rb"(?m)^\d{1,9} [acm]time=[\d.]{1,40}\n", b"", content)
        else:
            yield header[:136] + header[156:]  # without its time, and the sum of it all
            yield content
        place += 512 + (size + 511) // 512 * 512


def _same_parts(was: Iterator[bytes], now: Iterator[bytes]) -> bool:
    try:
        return all(one == other for one, other in zip_longest(was, now))
    except (zlib.error, EOFError, ValueError) as error:
        if isinstance(error, NotCompared):
            raise
        return False
