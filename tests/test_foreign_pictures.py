"""Pictures from outside are read by few decoders, and none takes more time or memory than it shows."""

from __future__ import annotations

import base64
import io
import struct
import warnings
import zipfile

import numpy
import pytest
from PIL import Image, UnidentifiedImageError
from scripted_replies import code

from smol_kernel.errors import ModelError
from smol_kernel.events import Output
from smol_kernel.executors.observation import allowed
from smol_kernel.executors.pictures import observed_images
from smol_kernel.memory import foreign_pictures
from smol_kernel.memory.foreign_pictures import FORMATS, GIVEN, jpeg_size, opened
from smol_kernel.memory.rich_values import AgentImage
from smol_kernel.models.media import image_url
from smol_kernel.runs import same_file as files
from smol_kernel.runs.same import same_picture
from smol_kernel.runs.same_file import NotCompared, same_file
from smol_kernel.runs.same_outputs import unlike

EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(a word of the child) print\nshowpage\n%%EOF\n"
)


def test_another_digit_in_a_label_makes_another_picture():
    from matplotlib.figure import Figure

    def plot(title):
        figure, stream = Figure(), io.BytesIO()
        figure.subplots().set_title(title)
        figure.savefig(stream, format="png")
        return stream.getvalue()

    for was, now in [("1", "7"), ("6", "8"), ("3.1", "31")]:
        assert not same_picture(plot(f"of {was}"), plot(f"of {now}"))
    assert same_picture(plot("of 1"), plot("of 1"))


def picture(kind: str, size=(64, 48), mode="RGB", **options) -> bytes:
    stream = io.BytesIO()
    image = Image.new(mode, size, 128)
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)  # without colours older Pillows write a BMP that none can read
    image.save(stream, kind, **options)
    return stream.getvalue()


def segments(raw: bytes) -> list[tuple[int, bytes]]:
    """Those of a JPEG that this file has made: marker and bytes, a scan with what it holds."""
    found, place = [], 2
    while raw[place + 1] != 0xD9:
        end = place + 2 + struct.unpack_from(">H", raw, place + 2)[0]
        while raw[place + 1] == 0xDA and (raw[end] != 0xFF or raw[end + 1] == 0 or 0xD0 <= raw[end + 1] <= 0xD7):
            end += 1
        found.append((raw[place + 1], raw[place:end]))
        place = end
    return found


def many_scans(count: int, size=(64, 48), between=b"") -> bytes:
    """A JPEG with so many scans, of which each of the last ones adds nothing."""
    raw = picture("JPEG", size, "L", progressive=True)
    scans = [part for marker, part in segments(raw) if marker == 0xDA]
    return raw[:-2] + (between + scans[-1]) * (count - len(scans)) + raw[-2:]


def shown(raw: bytes):
    return allowed({"image/jpeg": base64.b64encode(raw).decode()})[1]


# which decoders


def test_no_program_is_run_for_a_picture():
    assert Image.open(io.BytesIO(EPS)).format == "EPS"  # Pillow takes it, and would have Ghostscript draw it
    other = EPS.replace(b"a word", b"two words")
    with pytest.raises(UnidentifiedImageError):
        opened(EPS)
    assert not same_picture(EPS, other) and not same_file("plot.png", EPS, other)
    assert "the stored one cannot be read" in unlike(EPS, other)
    with pytest.raises(ModelError, match="Send PNG, JPEG"):
        image_url(EPS)
    with pytest.raises(UnidentifiedImageError):
        AgentImage(EPS).to_raw()
    output = Output(channel="display", data={"image/png": base64.b64encode(EPS).decode()})
    assert observed_images([output]) == []


def test_every_other_decoder_of_pillow_is_left_alone():
    Image.init()
    for kind in Image.SAVE.keys() & Image.OPEN.keys() - {"HDF5", "GRIB", "BUFR", "WMF", "MPEG", *GIVEN}:
        try:
            raw = picture(kind)
        except (OSError, ValueError, KeyError):
            continue  # it writes no such image, or needs what is not installed
        if raw[:2] == b"\xff\xd8":
            continue  # MPO: JPEG with more behind it
        for formats in (FORMATS, GIVEN):
            with pytest.raises(UnidentifiedImageError):
                opened(raw, formats)


MODES = {"PNG": "P RGBA I;16", "JPEG": "CMYK", "GIF": "P RGBA I;16", "WEBP": "P RGBA CMYK I;16", "BMP": "P RGBA"}
"""Those besides RGB, L and 1 that Pillow writes as a file of the kind."""


@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, mode) for kind in FORMATS for mode in f"RGB L 1 {MODES[kind]}".split()]
)
def test_usual_pictures_are_opened_and_compared(kind, mode):
    raw = picture(kind, mode=mode)
    assert opened(raw).convert("RGB").size == (64, 48)
    assert opened(bytes(raw)).format == kind
    assert same_picture(raw, raw + b"\0")
    assert unlike(raw, raw + b"\0") == "" or mode == "I;16"
    assert AgentImage(raw).size == AgentImage(bytearray(raw)).size == (64, 48)
    assert image_url(raw).startswith("data:image/")


def test_a_picture_of_a_persons_own_file_may_be_of_any_kind(tmp_path):
    for kind in ("TGA", "SGI", "PCX"):
        (tmp_path / kind).write_bytes(picture(kind))
        assert AgentImage(tmp_path / kind).size == (64, 48)


def test_a_large_picture_in_a_file_is_compared_and_a_larger_one_told_of():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, large = (picture("PNG", size, "1") for size in ((9_000, 6_000), (12_000, 9_000)))
        assert same_file("x.png", one, one + b"\0")
        with pytest.raises(NotCompared, match="is too large a picture: it has 12000 x 9000 pixels"):
            same_file("x.png", large, large + b"\0")
        assert AgentImage(large).size == (12_000, 9_000)


@pytest.mark.parametrize("kind", ["TGA", "JPEG2000", "DIB"])
def test_bytes_that_a_person_hands_over_may_be_of_many_kinds(kind):
    size = (128, 128)
    assert AgentImage(picture(kind, size)).size == size


def test_the_size_is_looked_at_before_the_pixels():
    large = picture("PNG", (9_000, 9_000), "1")
    with pytest.raises(ValueError, match="9000 x 9000 pixels, more than 50,000,000"):
        opened(large)
    assert opened(large, most=foreign_pictures.MAX_GIVEN).size == (9_000, 9_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not same_picture(picture("PNG", (12_000, 9_000), "1"), large)
        assert "more than 100,000,000" in unlike(picture("PNG", (12_000, 9_000), "1"), large)
        with pytest.raises(ModelError):
            image_url(picture("BMP", (12_000, 15_000), "1"))


# scans of a JPEG


@pytest.mark.parametrize("between", [b"", b"\xff" * 9, b"\xff\xd0\xff\x01", b"\xff\xfe\x00\x04\xff\xda", b"trash"])
def test_a_jpeg_of_scans_without_end_is_not_read(between):
    raw = many_scans(3_000, between=between)
    assert shown(raw) == ["[image/jpeg left out: it has more than 100 scans]"]
    with pytest.raises(ValueError, match="more than 100 scans"):
        opened(raw)
    assert observed_images([Output(channel="display", data={"image/jpeg": base64.b64encode(raw).decode()})]) == []
    with pytest.raises(NotCompared, match="more than 100 scans"):
        same_file("a.jpg", raw, raw + b"\0")
    assert "more than 100 scans" in unlike(raw, raw + b"\0")
    with pytest.raises(ValueError, match="scans"):
        AgentImage(raw).to_raw()


def test_so_many_scans_are_read_as_do_not_take_long():
    assert shown(many_scans(100)) == ["[image: 64 x 48 JPEG]"]
    assert shown(many_scans(101)) == ["[image/jpeg left out: it has more than 100 scans]"]
    assert shown(many_scans(20, (7_000, 7_000))) == ["[image: 7000 x 7000 JPEG]"]
    assert shown(many_scans(21, (7_000, 7_000))) == ["[image/jpeg left out: it has more than 20 scans]"]


def test_scans_behind_a_second_header_or_many_segments_are_no_way_round():
    raw = many_scans(3_000)
    frame = next(part for marker, part in segments(picture("JPEG", mode="L")) if marker == 0xC0)
    assert "scans" in shown(raw[:-2].replace(b"\xff\xda", frame + b"\xff\xda", 1))[0]
    assert shown(many_scans(99, between=b"\xff\xe0\x00\x02" * 40)) == ["[image/jpeg left out: it is not a JPEG]"]
    end = raw.index(b"\xff\xda")
    assert shown(raw[:end] + b"\xff\xd9" + raw[end:]) == ["[image: 64 x 48 JPEG]"]  # no reader goes on behind its end


@pytest.mark.parametrize("quality", [5, 60, 95, 100])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_scans_of_usual_jpegs_are_counted_as_they_are(quality, mode, progressive):
    chance = numpy.random.default_rng(quality)
    for size in ((1, 1), (7, 9), (320, 200)):
        shape = (size[1], size[0], 3)
        image = Image.fromarray(chance.integers(0, 256, shape, "uint8"), "RGB").convert(mode)
        for options in ({}, {"restart_marker_blocks": 3}, {"comment": b"\xff\xda\xff\xda", "exif": b"\xff\xda" * 50}):
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=quality, progressive=progressive, **options)
            width, height, scans = jpeg_size(stream.getvalue())
            assert (width, height) == size and opened(stream.getvalue()).load()
            assert scans == sum(marker == 0xDA for marker, _ in segments(stream.getvalue()))
            assert scans <= 18 if progressive else scans == 1


# archives


def archive(parts: dict[str, bytes], comment=b"", kind=zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as made:
        made.comment = comment
        for name, content in parts.items():
            made.writestr(name, content)
    return stream.getvalue()


def test_archives_are_compared_by_their_parts():
    parts = {"a.xml": b"<a/>" * 200_000, "b": b"", "docProps/core.xml": b"now"}
    one = archive(parts)
    assert same_file("t.xlsx", one, archive({**parts, "docProps/core.xml": b"then"}, b"other"))
    assert same_file("t.zip", one, archive(parts, kind=zipfile.ZIP_STORED))
    for other in ({**parts, "b": b"1"}, {**parts, "a.xml": parts["a.xml"][:-1]}, {"b": b""}, {**parts, "c": b""}):
        assert not same_file("t.xlsx", one, archive(other))
        assert not same_file("t.xlsx", archive(other), one)
    for broken in (one[:-30], one[:60] + b"\xff" * 40 + one[100:], one[:4], one.replace(b"b", b"\xff")):
        assert not same_file("t.xlsx", one, broken)
        assert not same_file("t.xlsx", broken, one)


def test_an_archive_that_unpacks_to_too_much_is_not_compared(monkeypatch):
    monkeypatch.setattr(files, "MAX_UNPACKED", 5 << 20)
    bomb, spread = {"a": bytes(6 << 20)}, {str(n): bytes(1 << 20) for n in range(6)}
    for parts in (bomb, spread):
        with pytest.raises(NotCompared, match="unpacks to more than 5 MB"):
            same_file("t.xlsx", archive(parts), archive(parts, b"other"))
    with pytest.raises(NotCompared, match="packed in another way"):  # it would come out of one piece
        same_file("t.zip", archive(bomb, kind=zipfile.ZIP_BZIP2), archive(bomb, b"other", zipfile.ZIP_BZIP2))
    monkeypatch.setattr(files, "MAX_PARTS", 50)
    many = {str(n): b"" for n in range(60)}
    with pytest.raises(NotCompared, match="more than 50 parts"):
        same_file("t.zip", archive(many), archive(many, b"other"))


def test_a_proof_says_what_it_could_not_compare(make, tmp_path):
    from smol_kernel.journal import Journal
    from smol_kernel.runs.prove import Prover

    def proof(action: str):
        agent = make([code(f"import time\n{action}\nfinal_answer(1)")], executor_kwargs={"cwd": tmp_path})
        agent.run("work")
        events = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
        return Prover(events, cwd=tmp_path, made=agent.python_executor).prove()

    bomb = (
        "import zipfile\nwith zipfile.ZipFile('t.xlsx', 'w', 8) as made:\n"
        "    made.comment = str(time.process_time_ns()).encode()\n"
        "    with made.open('a', 'w') as part:\n        for _ in range(300): part.write(bytes(1 << 20))"
    )
    found = proof(bomb)
    assert (found.state, found.reason) == (
        "not proved",
        "the answer came out the same, but the file t.xlsx unpacks to more than 256 MB, so that it was not compared",
    )
    found = proof(
        f"with open('plot.png', 'wb') as made:\n    n = made.write({EPS!r} + str(time.process_time_ns()).encode())"
    )
    assert (found.state, found.reason) == (
        "not reproduced",
        "the answer came out the same, but the file plot.png comes out otherwise",
    )
