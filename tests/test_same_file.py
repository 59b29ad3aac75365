"""Files that hold when they were written, or random ids, are the same if all else in them is."""

from __future__ import annotations

import gzip
import io
import sqlite3
import tarfile
import uuid
from contextlib import closing

import pytest
from scripted_replies import code

from smol_kernel.journal import Journal
from smol_kernel.runs import same_file as files
from smol_kernel.runs.prove import Prover
from smol_kernel.runs.same_file import NotCompared, may_be_dated, same_file

PLOT = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2])\n{}\nplt.close(fig)"
SAVED = [
    "fig.savefig('o.svg')",
    "fig.savefig('o.svgz')",
    "fig.savefig('o.pdf', metadata={'Keywords': 'a'})",
    "fig.savefig('o.eps')",
    "import gzip\nwith gzip.open('j.json.gz', 'wt') as made: made.write('[1]')",
]


def test_files_that_a_plot_is_saved_in_are_made_again(make, tmp_path):
    agent = make(
        [code(PLOT.format("\n".join(SAVED)) + "\nfinal_answer(len(ax.lines))")], executor_kwargs={"cwd": tmp_path}
    )
    agent.run("work")
    events = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    proof = Prover(events, cwd=tmp_path, made=agent.python_executor).prove()
    assert (proof.state, proof.reason) == ("proved", "")


@pytest.mark.parametrize("draw", ["imshow", "pcolormesh", "hexbin"])
def test_a_plot_that_holds_a_picture_or_many_shapes_is_the_same(draw):
    import matplotlib.pyplot as plt

    def saved(scale: int) -> bytes:
        stream = io.BytesIO()
        fig, ax = plt.subplots(figsize=(2, 2))
        values = [[0.0, 1.0], [1.0, 2.0 * scale]]
        if draw == "hexbin":
            ax.hexbin(*values, gridsize=4)
        else:
            getattr(ax, draw)(values, rasterized=True)
        fig.savefig(stream, format="svg")
        plt.close(fig)
        return stream.getvalue()

    assert same_file("o.svg", saved(1), saved(1))
    assert not same_file("o.svg", saved(1), saved(4))


@pytest.mark.parametrize("ending", ["svg", "svgz", "pdf", "eps"])
def test_a_plot_of_something_else_is_another_file(ending, monkeypatch):
    import matplotlib.pyplot as plt

    def saved(last: int, seconds: str) -> bytes:
        stream = io.BytesIO()
        monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)
        fig, ax = plt.subplots(figsize=(2, 2))
        ax.plot([1, last])
        fig.savefig(stream, format=ending)
        plt.close(fig)
        return stream.getvalue()

    assert same_file(f"o.{ending}", saved(2, "1700000000"), saved(2, "1800000000"))
    assert not same_file(f"o.{ending}", saved(2, "1700000000"), saved(3, "1700000000"))


def page(first: str, second: str, text: str = "") -> bytes:
    return f'<div id="{first}"></div><script>var a_{second} = draw("{first}", a_{second}){text}</script>'.encode()


def test_random_ids_may_be_others_and_nothing_else():
    one, two, three = (str(uuid.uuid4()) for _ in range(3))
    four, five = uuid.uuid4().hex, uuid.uuid4().hex
    assert same_file("p.html", page(one, four), page(two, five))
    assert not same_file("p.html", page(one, four), page(two, five, "1"))
    assert not same_file("p.html", page(one, four, one), page(two, five, three))
    assert not same_file("p.html", page(one, four, three), page(two, five, two))  # data, and no id
    assert not same_file("p.html", page(one, four, two), page(one, four, three))
    assert not same_file("p.txt", page(one, four), page(two, five))
    style = '<style>#T_{0}_row0 {{}}</style><td id="T_{0}_row0">{1}</td>'
    assert same_file("t.html", style.format("7da2b", 1).encode(), style.format("5eae5", 1).encode())
    assert not same_file("t.html", style.format("7da2b", 1).encode(), style.format("5eae5", 2).encode())
    cell = '{{"cells": [{{"id": "{}", "source": "{}"}}]}}'
    assert same_file("n.ipynb", cell.format("ef51ddbe", "1").encode(), cell.format("e8216847", "1").encode())
    assert not same_file("n.ipynb", cell.format("ef51ddbe", "1").encode(), cell.format("ef51ddbe", "2").encode())


def test_what_may_be_ids_is_not_gone_through_without_end(monkeypatch):
    monkeypatch.setattr(files, "MAX_IDS", 5)
    many = b'"00000000" ' * 9
    with pytest.raises(NotCompared, match="more than 5 ids"):
        same_file("n.ipynb", many + b"1", many + b"2")


def test_in_large_texts_no_ids_are_looked_for(monkeypatch):
    one, two = (uuid.uuid4().hex for _ in range(2))
    was, now = page("a", one), page("a", two)
    monkeypatch.setattr(files, "LARGEST_WITH_IDS", len(was) - 1)
    with pytest.raises(NotCompared, match="may hold random ids"):
        same_file("p.html", was, now)
    assert same_file("p.html", was, was)


def tar(content: bytes, time: float, mode="w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as made:
        part = tarfile.TarInfo("part.txt")
        part.size, part.mtime = len(content), time
        made.addfile(part, io.BytesIO(content))
    return stream.getvalue()


def test_what_gzip_and_tar_packed_is_compared_by_what_is_in_it():
    def packed(content: bytes, time: int) -> bytes:
        return gzip.compress(content, mtime=time)

    long = bytes(range(256)) * 3_000
    for name in ("o.csv.gz", "o.pkl.gz"):
        assert same_file(name, packed(long, 1), packed(long[:700], 2) + packed(long[700:], 3) + bytes(512))
        for other in (packed(long[:-1], 2), packed(long, 2) + packed(b"1", 2), packed(long, 2)[:-9], b"\x1f\x8b\x08"):
            assert not same_file(name, packed(long, 1), other)
            assert not same_file(name, other, packed(long, 1))
    for name, mode in (("x.tar", "w"), ("x.tar.gz", "w:gz"), ("x.tgz", "w:gz")):
        assert same_file(name, tar(b"one", 1.25, mode), tar(b"one", 1_700_000_000.5, mode))
        assert not same_file(name, tar(b"one", 1.25, mode), tar(b"two", 1.25, mode))
    assert not same_file("x.tar", tar(b"one", 1.25), tar(b"one", 2.5).replace(b"part.txt", b"part.tsv"))
    assert not same_file("x.tar", tar(b"one", 1.25), b"\xff" * 10_240)


def test_what_gzip_packed_is_not_unpacked_without_end(monkeypatch):
    monkeypatch.setattr(files, "MAX_UNPACKED", 5 << 20)
    monkeypatch.setattr(files, "MAX_PARTS", 50)
    bomb = gzip.compress(bytes(6 << 20))
    with pytest.raises(NotCompared, match="unpacks to more than 5 MB"):
        same_file("o.gz", bomb, bomb + b"\0")
    many = gzip.compress(b"", mtime=1) * 60
    with pytest.raises(NotCompared, match="more than 50 parts"):
        same_file("o.gz", many, many + b"\0")


def test_what_gzip_packed_many_times_is_unpacked_once():
    one, two = (gzip.compress(gzip.compress(content, mtime=1), mtime=1) for content in (b"one", b"two"))
    with pytest.raises(NotCompared, match="more than once"):
        same_file("o.svg.svg.gz", one, two)
    assert same_file("o.svg.svg.gz", one, one + bytes(512))


def test_when_a_geopackage_was_written_does_not_count(tmp_path):
    def file(written, read):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.gpkg"
        with closing(sqlite3.connect(path)) as table:
            table.execute("create table gpkg_contents (table_name, data_type, identifier, description, last_change)")
            table.execute("insert into gpkg_contents values ('a', 'features', 'a', '', ?)", [written])
            table.execute("create table a (at)")
            table.execute("insert into a values (?)", [read])
            table.commit()
        return path.read_bytes()

    first, second = "2026-11-30T04:40:37.925Z", "2026-11-30T04:41:00.001Z"
    assert same_file("a.gpkg", file(first, first), file(second, first))
    assert not same_file("a.gpkg", file(first, first), file(first, second))


def test_the_id_of_a_duckdb_database_does_not_count():
    def file(sum_of_it, id_of_it, data=b"data", version=67):
        head = sum_of_it * 8 + b"DUCK" + version.to_bytes(8, "little") + bytes(32) + b"v1.4.0".ljust(72, b"\0")
        return (head + id_of_it * 16).ljust(8_192, b"\0") + data.ljust(4_096, b"\0")

    for name in ("w.duckdb", "shop.db"):
        assert same_file(name, file(b"1", b"2"), file(b"3", b"4"))
        for other in (file(b"1", b"2", b"date"), file(b"1", b"2", version=68), file(b"1", b"2") + bytes(4_096)):
            assert not same_file(name, file(b"1", b"2"), other)
    text = b"12345678DUCK is at this place of a text, too".ljust(12_288)
    assert not same_file("w.txt", text, b"87654321" + text[8:])
    with pytest.raises(NotCompared, match="still open"):
        same_file("w.duckdb.wal", b"one", b"other")


def log_of(folder, *statements):
    """The bytes of the log of a database that is still open."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / "a.db", isolation_level=None)) as database:
        database.execute("pragma journal_mode=wal")
        for statement in ("create table k (a)", *statements):
            database.execute(statement)
        return (folder / "a.db-wal").read_bytes()


def test_the_salts_of_a_log_of_sqlite_do_not_count(tmp_path):
    insert = "insert into k values ({})".format
    rewritten = [insert(1), insert(2), "pragma wal_checkpoint"]  # what comes then is written over the oldest
    first, same, other, over, over_same, over_other = (
        log_of(tmp_path / str(number), *statements)
        for number, statements in enumerate(
            ([insert(1)], [insert(1)], [insert(2)], [*rewritten, insert(3)], [*rewritten, insert(3)], [*rewritten])
        )
    )
    assert first != same and over != over_same
    assert same_file("a.db-wal", first, same) and same_file("a.db-wal", over, over_same)
    for one, another in ((first, other), (over, over_other), (first, first[:-1]), (first, b""), (first, first * 2)):
        assert not same_file("a.db-wal", one, another)
        assert not same_file("a.db-wal", another, one)
    stale = over[:16] + bytes(8) + over[24:]  # none of its pages counts
    assert not same_file("a.db-wal", over, stale)
    assert not same_file("a.db", first, same)


def test_a_file_that_may_hold_the_time_is_said_to():
    assert may_be_dated("out/o.h5") == " (such files hold the time of writing)"
    assert may_be_dated("o.csv") == ""
