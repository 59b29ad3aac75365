"""Databases in a box's folder: one that was only read is not told, and none is replaced that is open."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from smol_kernel.events import ActionFinished
from smol_kernel.executors.kernel import KernelExecutor

BEGIN = "import os, sqlite3\nc = sqlite3.connect('live.db')\n"
READ = BEGIN + "assert c.execute('select sum(a) from k').fetchone() == (3,)\n"


@pytest.fixture
def database(tmp_path):
    """A database in the working folder that stays open, with two rows of which the second is in its log alone."""
    with closing(sqlite3.connect(tmp_path / "live.db", isolation_level=None)) as database:
        for statement in (
            "pragma journal_mode=wal",
            "create table k (a)",
            "insert into k values (1)",
            "pragma wal_checkpoint",
            "insert into k values (2)",
        ):
            database.execute(statement)
        yield database


@pytest.fixture
def executor(tmp_path):
    executor = KernelExecutor(cwd=tmp_path, timeout_seconds=60)
    yield executor
    executor.cleanup()


def told(executor, code):
    """What is told of the files after an action: path and change."""
    ended = list(executor.run(f"{code}\nNone"))[-1]
    assert isinstance(ended, ActionFinished) and ended.status == "ok", ended
    return [(file["path"], file["change"]) for file in executor.files().files]


def test_a_database_that_was_only_read_is_not_told(executor, database):
    assert told(executor, READ) == []
    assert told(executor, "c.execute('pragma wal_checkpoint(truncate)')") == []
    assert told(executor, "c.close()") == []
    assert told(executor, "assert not os.path.exists('live.db-wal')") == []
    database.execute("insert into k values (4)")
    assert told(executor, "") == []


def test_what_was_done_to_a_database_or_its_log_is_told(executor, database):
    assert told(executor, BEGIN + "c.execute('insert into k values (7)')\nc.commit()") == [("live.db-wal", "changed")]
    assert told(executor, "c.close()") == [("live.db", "changed"), ("live.db-wal", "removed")]


def test_a_log_that_was_thrown_away_is_told(executor, database):
    lose = "open('live.db', 'r+').close()\nimport os\nos.remove('live.db-wal')"
    assert told(executor, lose) == [("live.db-wal", "removed")]


def test_a_database_that_is_closed_and_was_only_read_is_not_told(executor, database, tmp_path):
    database.close()
    assert told(executor, READ) == []
    assert told(executor, "open('x-shm', 'w').write('mine')\nopen('x', 'w').close()") == [
        ("x", "made"),
        ("x-shm", "made"),
    ]


def test_a_database_that_is_open_is_not_replaced(executor, database, tmp_path):
    told(executor, BEGIN + "c.execute('insert into k values (7)')\nc.commit()\nc.close()")
    for overwrite in (False, True):
        saved = executor.save_files(overwrite=overwrite)
        assert not saved
        assert "as live.db-shm shows; close it first" in saved.refused["live.db"]
    database.execute("insert into k values (4)")
    assert database.execute("select sum(a) from k").fetchone() == (7,)
    told(executor, "c = sqlite3.connect('live.db')\nc.execute('insert into k values (8)')\nc.commit()")
    assert executor.save_files(["live.db-wal"], overwrite=True) == []
    (elsewhere := tmp_path / "elsewhere").mkdir()
    assert [path.name for path in executor.save_files(folder=elsewhere)] == ["live.db", "live.db-wal"]
    with closing(sqlite3.connect(elsewhere / "live.db")) as saved:
        assert saved.execute("select sum(a) from k").fetchone() == (18,)
    told(executor, "c.close()")
    database.close()
    assert executor.save_files(overwrite=True) == [tmp_path / "live.db"]
    with closing(sqlite3.connect(tmp_path / "live.db")) as saved:
        assert saved.execute("select sum(a) from k").fetchone() == (18,)


def test_a_log_is_not_saved_beside_another_database(executor, tmp_path):
    begin = "import sqlite3\nc = sqlite3.connect('new.db')\nc.execute('pragma journal_mode=wal')\n"
    assert told(executor, begin + "c.execute('create table k (a)')") == [("new.db", "made"), ("new.db-wal", "made")]
    (tmp_path / "new.db").write_bytes(b"another")
    saved = executor.save_files()
    assert not saved and saved.refused["new.db-wal"] == "belongs to new.db, which was not saved"
    (tmp_path / "new.db").unlink()
    assert len(executor.save_files()) == 2
    told(executor, "c.execute('insert into k values (7)')\nc.commit()")
    assert executor.save_files(overwrite=True) == [tmp_path / "new.db-wal"]  # as nobody has it open
    with closing(sqlite3.connect(tmp_path / "new.db")) as saved:
        assert saved.execute("select sum(a) from k").fetchone() == (7,)
