"""What of a folder is hidden from a boxed child."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest
from key_names import KEYS, ORDINARY

from smol_kernel.executors.launchers import hidden
from smol_kernel.executors.launchers.hidden import Watch, is_hidden, is_key


def told(folder, **options):
    return {each.path: (each.kind, each.why) for each in Watch(folder, **options).masked()}


def write(folder: Path, *names: str, text: str = "x") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_names_of_keys_are_known_and_ordinary_ones_are_left_alone():
    assert [name for name in KEYS if not is_key(name)] == []
    assert [name for name in ORDINARY if is_key(name)] == []


def test_hidden_names():
    assert is_hidden(".env") and is_hidden(".git") and is_hidden("Secrets") and is_hidden("id_rsa")
    assert not is_hidden("src") and not is_hidden("secretaries")


def test_a_folder_of_ordinary_data_stays_whole(tmp_path):
    write(tmp_path, *(name for name in ORDINARY if name not in ("", ".", "id_rsa.pub", "id_ed25519.pub")))
    write(tmp_path, "a/b/c/data.csv", "Größe/данные.parquet")
    assert told(tmp_path) == {}


def test_hidden_things_at_any_depth_whole_folders_at_once(tmp_path):
    write(tmp_path, ".env", ".git/config", "a/.ssh/id_rsa", "a/b/.netrc", "a/b/c/tls.key", "a/b/data.csv")
    write(tmp_path, "secrets/db", "a/Secrets/x.txt")
    assert told(tmp_path) == {
        ".env": ("file", "hidden"),
        ".git": ("folder", "hidden"),
        "a/.ssh": ("folder", "hidden"),
        "a/b/.netrc": ("file", "hidden"),
        "a/b/c/tls.key": ("file", "key"),
        "secrets": ("folder", "key"),
        "a/Secrets": ("folder", "key"),
    }


def test_what_is_no_file_is_hidden_and_links_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    write(outside, ".env", "id_rsa")
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "there").symlink_to(outside)
    (folder / "broken").symlink_to("nowhere")
    (folder / "round").symlink_to(".")
    (folder / "my.pem").symlink_to(outside / "id_rsa")
    (folder / ".link").symlink_to(outside)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "s"))
        assert told(folder) == {
            "pipe": ("other", "special"),
            "s": ("other", "special"),
            "my.pem": ("link", "key"),
            ".link": ("link", "hidden"),
        }


def test_the_private_half_of_a_pair_is_a_key_whatever_its_name(tmp_path):
    write(tmp_path, "deploy", "deploy.pub", "other", "x.txt.pub")
    assert told(tmp_path) == {"deploy": ("file", "key")}


def test_a_cloud_key_under_its_common_name_is_known_by_its_content(tmp_path):
    write(tmp_path, "my-project-0123456789ab.json", text='{"type": "service_account", "private_key": "-----BEGIN"}')
    write(tmp_path, "run-0123456789ab.json", "de-0123-4567-89ab-0123456789ab.json", text='{"loss": 1}')
    assert told(tmp_path) == {"my-project-0123456789ab.json": ("file", "key")}


def test_what_is_skipped_stays_and_only_the_way_to_it_is_open(tmp_path):
    write(tmp_path, ".venv/bin/python", ".venv/.lock", "data/.keep", "data/x.pem", "src/.env")
    write(tmp_path, ".tools/py/bin/python", ".tools/token.json", ".tools/lib/x", "secrets/env/x", "secrets/y")
    skip = [str(tmp_path / name) for name in (".venv", "data", ".tools/py", "secrets/env")]
    skip += [str(tmp_path), str(tmp_path.parent), "/usr", str(tmp_path) + "-else"]
    assert told(tmp_path, skip=skip) == {
        ".tools/lib": ("folder", "hidden"),
        ".tools/token.json": ("file", "hidden"),
        "secrets/y": ("file", "hidden"),
        "src/.env": ("file", "hidden"),
    }


def test_a_link_that_is_skipped_stays(tmp_path):
    write(tmp_path, ".venv/pyvenv.cfg", ".venv/x")
    (tmp_path / ".venv/python").symlink_to("/usr/bin/python3")
    (tmp_path / "way").symlink_to(tmp_path)
    assert told(tmp_path, skip=[f"{tmp_path}/way/.venv/python"]).keys() == {".venv/pyvenv.cfg", ".venv/x"}


def test_beyond_the_budget_folders_are_hidden_whole(tmp_path):
    write(tmp_path, *(f"{number}.csv" for number in range(20)), ".env")
    write(tmp_path, "a/1.csv", "a/deep/2.csv", "b/.env", "b/way/python", "b/way/.x")
    all_of_it = {".env": ("file", "hidden"), "b/.env": ("file", "hidden")}
    assert told(tmp_path) == {**all_of_it, "b/way/.x": ("file", "hidden")}
    few = told(tmp_path, budget=5)
    assert {each.path for each in Watch(tmp_path, budget=5).masked() if each.unseen} == {"a", "b"}
    assert few == {".env": ("file", "hidden"), "a": ("folder", "budget"), "b": ("folder", "budget")}
    kept = told(tmp_path, budget=5, skip=[str(tmp_path / "b/way")])
    assert kept == {**all_of_it, "a": ("folder", "budget")}


def test_a_folder_that_does_not_fit_into_the_budget_is_hidden_whole(tmp_path):
    write(tmp_path, "x.csv", "big/.env", *(f"big/{number}" for number in range(50)))
    assert told(tmp_path, budget=20) == {"big": ("folder", "budget")}


def test_names_that_are_no_text(tmp_path):
    folder = os.fsencode(tmp_path)
    for name in (b"\xff.pem", b".\xfe", b"\xff.csv", b"a\nb.key", b"\xfd/x.key"):
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
    found = {os.fsencode(each.path) for each in Watch(tmp_path).masked()}
    assert found == {b"\xff.pem", b".\xfe", b"a\nb.key", b"\xfd/x.key"}


def test_a_folder_that_cannot_be_read_is_hidden():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        write(Path(folder), "closed/data.csv", "open/data.csv")
        os.chmod(folder, 0o755)
        os.chmod(f"{folder}/closed", 0)
        read_end, write_end = os.pipe()
        if (pid := os.fork()) == 0:
            if os.getuid() == 0:  # who can read everything: be somebody else
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            os.write(write_end, repr(Watch(folder).masked()).encode())
            os._exit(0)
        os.close(write_end)
        with open(read_end) as told:
            assert told.read() == "[Masked('closed', 'folder', 'unreadable')]"
        os.waitpid(pid, 0)
        os.chmod(f"{folder}/closed", 0o700)


def test_what_is_not_there_is_hidden(tmp_path):
    assert told(tmp_path / "nowhere") == {".": ("folder", "unreadable")}


@pytest.mark.parametrize("name", [".", "..", ""])
def test_names_that_nothing_has(name):
    assert is_hidden(name) is (name != "")


@pytest.fixture
def settled(monkeypatch, tmp_path):
    """Any folder counts as settled; call it before a change, which then has another date than those before it."""
    monkeypatch.setattr(hidden, "SETTLED_SECONDS", -3600)
    monkeypatch.setattr(hidden, "DATED", hidden.DATED | {hidden.file_system(os.stat(tmp_path).st_dev)})

    def tick() -> None:
        before = max(os.stat(path).st_ctime_ns for path, _, _ in os.walk(tmp_path))
        with tempfile.NamedTemporaryFile(dir=tmp_path.parent) as file:
            while os.stat(file.name).st_ctime_ns <= before:
                os.utime(file.name)

    return tick


def paths(watch: Watch) -> list[str]:
    return [each.path for each in watch.masked()]


def test_a_second_look_finds_the_same_and_tells_that_nothing_changed(tmp_path, settled):
    write(tmp_path, ".env", "a/.ssh/id", "a/b/tls.key", "a/b/data.csv")
    watch = Watch(tmp_path)
    assert paths(watch) == [".env", "a/.ssh", "a/b/tls.key"]
    assert watch.changed
    assert paths(watch) == [".env", "a/.ssh", "a/b/tls.key"]
    assert not watch.changed
    assert paths(watch.copy()) == [".env", "a/.ssh", "a/b/tls.key"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda folder: write(folder, "a/b/c/new.pem"), ["a/b/c/new.pem"]),
        (lambda folder: write(folder, "a/.netrc"), ["a/.netrc"]),
        (lambda folder: write(folder, "new/deep/.env"), ["new/deep/.env"]),
        (lambda folder: (folder / "a/b/data.csv").rename(folder / "a/b/token.json"), ["a/b/token.json"]),
        (lambda folder: (folder / "a/b").rename(folder / "a/secrets"), ["a/secrets"]),
        (lambda folder: os.mkfifo(folder / "a/b/c/pipe"), ["a/b/c/pipe"]),
    ],
)
def test_what_is_new_is_found_and_so_is_that_it_has_gone(tmp_path, settled, change, found):
    write(tmp_path, "a/b/data.csv", "a/b/c/x.csv")
    watch, other = Watch(tmp_path), Watch(tmp_path)
    assert paths(watch) == paths(other) == []
    settled()
    change(tmp_path)
    assert paths(watch) == found
    assert watch.changed
    settled()
    for name in found:
        path = tmp_path / name
        path.rename(path.with_name("plain")) if path.is_dir() else path.unlink()
    assert paths(watch) == []
    assert watch.changed
    assert paths(other) == []


def test_a_look_that_is_broken_off_counts_for_nothing(tmp_path, settled, monkeypatch):
    write(tmp_path, "a/x.csv", "b/x.csv")
    watch = Watch(tmp_path)
    assert paths(watch) == []
    settled()
    write(tmp_path, "b/.env")

    def broken_off(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", broken_off)
        with pytest.raises(KeyboardInterrupt):
            watch.masked()
    assert paths(watch) == ["b/.env"]


def test_a_file_whose_content_makes_it_a_key_is_looked_into_each_time(tmp_path, settled):
    write(tmp_path, "a/project-0123456789ab.json", "a/b/x.csv")
    watch = Watch(tmp_path)
    assert paths(watch) == []
    settled()
    (tmp_path / "a/project-0123456789ab.json").write_text('{"private_key": "x"}')
    assert paths(watch) == ["a/project-0123456789ab.json"]


def test_a_folder_in_another_ones_place_is_looked_at(tmp_path, settled):
    write(tmp_path, "a/b/x.csv", "elsewhere/b/.env")
    watch = Watch(tmp_path / "a")
    assert paths(watch) == []
    settled()
    (tmp_path / "a/b").rename(tmp_path / "old")
    (tmp_path / "elsewhere/b").rename(tmp_path / "a/b")
    assert paths(watch) == ["b/.env"]


def test_what_changed_just_now_or_lies_where_dates_tell_nothing_is_read_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(hidden, "DATED", hidden.DATED | {hidden.file_system(os.stat(tmp_path).st_dev)})
    write(tmp_path, "a/x.csv")
    watch = Watch(tmp_path)
    paths(watch)
    paths(watch)
    assert watch.changed
    monkeypatch.setattr(hidden, "SETTLED_SECONDS", -3600)
    monkeypatch.setattr(hidden, "DATED", frozenset())
    paths(watch)
    paths(watch)
    assert watch.changed


def test_the_budget_counts_what_is_known_as_well(tmp_path, settled):
    write(tmp_path, *(f"a/{number}.csv" for number in range(8)), *(f"b/{number}.csv" for number in range(8)))
    watch = Watch(tmp_path, budget=12)
    first = paths(watch)
    assert first in (["a"], ["b"])
    assert [paths(watch), paths(watch)] == [first, first]


def test_beyond_the_budget_what_has_not_changed_is_not_read_again(tmp_path, settled):
    write(tmp_path, *(f"a/{number}.csv" for number in range(8)), *(f"b/{number}.csv" for number in range(8)))
    watch = Watch(tmp_path, budget=12)
    watch.masked()
    assert watch.masked() is watch.masked()
    (seen,) = {"a", "b"} - set(paths(watch))
    write(tmp_path, f"{seen}/.env")
    assert f"{seen}/.env" in paths(watch)
