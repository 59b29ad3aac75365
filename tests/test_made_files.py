"""Files made in a box: listed, kept when the child ends, saved; whatever the child does to the folder they are in."""

from __future__ import annotations

import gc
import os
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from smol_kernel.errors import ConfigError, ExecutorError
from smol_kernel.events import ActionFinished, FilesMade, Notice
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
from smol_kernel.executors.overlay import MAX_TOLD, Layer
from smol_kernel.executors.saved_files import Saver
from smol_kernel.executors.stand_ins import why_kept_out

SECRET = "what the child may not have"
ROOM = 1 << 20


@pytest.fixture
def folder(tmp_path):
    """A working folder with a few files in it."""
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    (folder / "gone").mkdir()
    for name in ("data.csv", "old.csv", "sub/same.txt", "gone/one"):
        (folder / name).write_text("a\n1\n")
    return folder


@pytest.fixture
def executor(folder):
    executor = KernelExecutor(cwd=folder, timeout_seconds=60)
    yield executor
    executor.cleanup()


@contextmanager
def layer_of(upper, below):
    """A layer that is made here, by no child."""
    descriptor = os.open(upper, os.O_RDONLY | os.O_DIRECTORY)
    layer = Layer(descriptor, str(below), ROOM)
    os.close(descriptor)
    yield layer
    layer.close()


@pytest.fixture
def upper(tmp_path):
    upper = tmp_path / "upper"
    upper.mkdir()
    return upper


@pytest.fixture
def layer(upper, folder):
    with layer_of(upper, folder) as layer:
        yield layer


def told(listing):
    return {(made.shown, made.change, made.type) for made in listing.files}


def run(executor, code):
    events = list(executor.run(code))
    assert isinstance(events[-1], ActionFinished)
    return events


def names(made):
    return [file["path"] for file in made.files]


# what a child made


CHANGES = """
import os, shutil
open("plot.png", "wb").write(b"x" * 3000)
os.makedirs("out/deep"); open("out/deep/t.csv", "w").write("t")
open("data.csv", "a").write("2\\n")
os.remove("old.csv")
os.chmod("sub/same.txt", 0o600)
shutil.rmtree("gone"); os.mkdir("gone"); open("gone/new", "w").write("n")
os.mkdir("__pycache__"); open("__pycache__/x.pyc", "w").write("x")
os.symlink("/etc/passwd", "link"); os.mkfifo("pipe")
None
"""


def test_what_an_action_made_changed_and_removed_is_told_before_its_end(executor, folder):
    event, _ = run(executor, CHANGES)
    assert isinstance(event, FilesMade)
    assert [(file["path"], file["change"], file["bytes"], file.get("type")) for file in event.files] == [
        ("data.csv", "changed", 6, None),
        ("gone/", "removed", 0, None),
        ("gone/new", "made", 1, None),
        ("link", "made", 0, "link"),
        ("old.csv", "removed", 0, None),
        ("out/deep/t.csv", "made", 1, None),
        ("pipe", "made", 0, "pipe"),
        ("plot.png", "made", 3000, None),
    ]
    assert event.more == 0
    assert executor.files().files == event.files
    assert sorted(os.listdir(folder)) == ["data.csv", "gone", "old.csv", "sub"]


def test_the_same_files_are_told_once_and_others_when_they_change(executor):
    kinds = [[event.kind for event in run(executor, code)] for code in ("None", "f = open('a', 'w')", "None")]
    assert kinds == [["action_finished"], ["files_made", "action_finished"], ["action_finished"]]
    assert [names(event) for event in run(executor, "f.write('x' * 9); f.flush()\nNone")[:1]] == [["a"]]
    assert [event.files for event in run(executor, "import os; os.remove('a')")[:1]] == [[]]


def test_saved_files_are_where_they_belong_and_are_told_no_more(executor, folder):
    run(executor, CHANGES + "\nos.chmod('plot.png', 0o6777)")
    saved = executor.save_files()
    assert saved == [folder / name for name in ("gone/new", "out/deep/t.csv", "plot.png")]
    assert set(saved.refused) == {"data.csv", "gone/", "link", "old.csv", "pipe"}
    assert (folder / "plot.png").read_bytes() == b"x" * 3000
    assert (folder / "plot.png").stat().st_mode & 0o7777 == 0o644
    assert (folder / "plot.png").stat().st_uid == os.getuid()
    assert (folder / "data.csv").read_text() == "a\n1\n"
    assert executor.save_files(["data.csv"], overwrite=True) == [folder / "data.csv"]
    assert (folder / "data.csv").read_text() == "a\n1\n2\n"
    assert names(executor.files()) == ["gone/", "link", "old.csv", "pipe"]
    assert names(run(executor, "None")[0]) == ["gone/", "link", "old.csv", "pipe"]


def test_names_and_folders_can_be_asked_for_and_saved_elsewhere(executor, folder, tmp_path):
    run(executor, CHANGES + "\nos.mkdir('.git'); open('.git/config', 'w').write('c')")
    assert ".git/config" in names(executor.files())
    assert "is hidden" in executor.save_files(folder=tmp_path / "all").refused[".git/config"]
    assert not (tmp_path / "all" / ".git").exists()
    wanted = ["out", "./plot.png", ".git/config"]
    for place in (folder, tmp_path / "new" / "place"):
        saved = executor.save_files(wanted, place)
        assert saved == [place / "out/deep/t.csv", place / "plot.png", place / ".git/config"]
        assert not saved.refused
    refused = executor.save_files(["../up", "/etc/passwd", "", "out/../../x", "missing", "link", "old.csv"], tmp_path)
    assert not refused
    assert len(refused.refused) == 7
    with pytest.raises(ConfigError, match="name a folder"):
        executor.save_files(folder=folder / "data.csv")


STAND_INS = """
import os
names = ["random.py", "nbformat.py", "pandas/__init__.py", "yaml/__init__.pyc", "zmq.abi3.so"]
names += ["json.cpython-313-darwin.so", "conftest.py", "sitecustomize.py", "usercustomize.py", "test.pyc"]
names += ["numexpr.py", "bottleneck.py", "PyQt6/__init__.py", "org/python/core.py", "tests/conftest.py"]
names += ["pytest.ini", "pyproject.toml", "setup.cfg", "tox.ini", "matplotlibrc", "jupyter_server_config.py"]
names += ["a.dist-info/entry_points.txt", "lab/conf.json", "folder/__init__.py", "folder/mine.abi3.so"]
names += ["folder/mine/__init__.py", "env/lib/python3.11/site-packages/a.pth", "env/bin/ls"]
for name in [*names, *NAMES]:
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    open(name, "w").write("new")
None
"""
ORDINARY = ["helpers.py", "package/__init__.py", "package/random.py", "src/nbformat.py", "main.py"]
ORDINARY += [
    "code/analysis.py",
    "test/test_a.py",
    "pandas/io.py",
    "statistics/summary.csv",
    "model.pth",
    "random.csv",
    "nbformat.ipynb",
    "random.forest.py",
    "calendar.py",
    "plots.py",
    "folder/plots.py",
    "env/notes.txt",
    "numexpr/notes.txt",
    "config.json",
]


@pytest.mark.parametrize(
    ("path", "stands_in"),
    [
        ("acme/storage.py", True),  # of packages that have a folder in common all is found there
        ("acme/storage/__init__.py", True),
        ("acme/notes.txt", False),
        ("code/analysis.py", False),
        ("code/__init__.py", True),
        ("acme2/storage.py", False),
    ],
)
def test_what_stands_in_for_a_part_of_packages_in_one_folder(tmp_path, monkeypatch, path, stands_in):
    (tmp_path / "site-packages/acme/storage").mkdir(parents=True)
    (tmp_path / "site-packages/acme/storage/__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    assert bool(why_kept_out(path, [str(tmp_path / "work")])) == stands_in


@pytest.mark.parametrize("to", [None, "elsewhere"])
def test_what_would_be_imported_in_place_of_other_modules_is_saved_only_if_it_is_named(
    executor, folder, tmp_path, monkeypatch, to
):
    monkeypatch.syspath_prepend(folder)
    (folder / "calendar.py").write_text("the user's own")
    (folder / "mine.py").write_text("the user's own")
    for each in (folder, tmp_path / "elsewhere"):
        (each / "folder").mkdir(parents=True)
        (each / "folder/mine.py").write_text("the user's own")
        (each / "env").mkdir()
        (each / "env/pyvenv.cfg").write_text("")
    target = tmp_path / to if to else folder
    run(executor, f"NAMES = {[*ORDINARY, 'mine.py']}" + STAND_INS)
    saved = executor.save_files(folder=target, overwrite=True)
    assert sorted(str(path.relative_to(target)) for path in saved) == sorted([*ORDINARY, "mine.py"])
    assert len(saved.refused) == 28
    assert saved.refused["nbformat.py"].startswith("would be imported in place of what is installed as nbformat; it is")
    assert saved.refused["conftest.py"] == "is run by Python or pytest unasked; it is saved if it is named"
    assert not (target / "random.py").exists() and not (target / "pandas/__init__.py").exists()
    named = executor.save_files(["random.py", "pandas/__init__.py", "conftest.py"], target)
    assert len(named) == 3 and not named.refused


GUESSES = """
import os
os.makedirs(".git"); os.makedirs("secrets"); os.makedirs("sub/.ssh")
for name in ("pin.key", ".git/HEAD", "secrets", "sub/.ssh"):
    if os.path.isdir(name): name += "/new"
    open(name, "w").write(GUESS)
open("data.csv", "w").write("a\\n1\\n")
None
"""


def test_what_is_told_does_not_depend_on_hidden_files(executor, folder):
    guess = "4711"
    (folder / ".git").mkdir()
    (folder / "sub" / ".ssh").write_text(guess)
    for name in ("pin.key", ".git/HEAD", "secrets"):
        (folder / name).write_text(guess)
    made = run(executor, GUESSES.replace("GUESS", repr(guess)))[0].files
    paths = (".git/HEAD", "pin.key", "secrets/new", "sub/.ssh/new")
    assert [(file["path"], file["change"]) for file in made] == [(path, "made") for path in paths]
    gone = "import shutil; shutil.rmtree('.git'); shutil.rmtree('secrets'); os.remove('pin.key')"
    assert names(run(executor, gone)[0]) == ["sub/.ssh/new"]


def test_files_of_a_child_that_died_can_be_saved_while_the_next_one_works(executor, folder):
    run(executor, "open('kept.txt', 'w').write('old'); open('both.txt', 'w').write('old')\nNone")
    events = run(executor, "import os; open('last.txt', 'w').write('l'); os.remove('old.csv'); os._exit(1)")
    assert [event.kind for event in events] == ["notice", "files_made", "action_finished"]
    assert "can still be saved" in next(event.text for event in events if isinstance(event, Notice))
    assert "both.txt, kept.txt, last.txt" in events[-1].error
    late = run(executor, "import os; open('both.txt', 'w').write('new'); print(sorted(os.listdir('.')))")
    assert "'both.txt', 'data.csv', 'gone', 'old.csv', 'sub'" in late[-1].logs
    assert names(executor.files()) == ["both.txt", "kept.txt", "last.txt"]
    assert len(executor.save_files()) == 3
    assert [(folder / name).read_text() for name in ("kept.txt", "both.txt", "last.txt")] == ["old", "new", "l"]


def test_files_stay_after_the_end_of_the_child_until_another_begins(executor, folder):
    run(executor, "open('a.txt', 'w').write('a')\nNone")
    executor.restart()
    assert names(executor.files()) == ["a.txt"]
    assert [event.kind for event in run(executor, "None")] == ["action_finished"]
    assert names(executor.files()) == []
    run(executor, "open('b.txt', 'w').write('b')\nNone")
    executor.cleanup()
    assert executor.save_files() == [folder / "b.txt"]


def test_no_descriptor_is_left_when_the_executor_is(folder):
    def descriptors():
        gc.collect()
        zygote.wait_for_spares(60)
        return len(os.listdir("/proc/self/fd"))

    for _ in range(2):
        run(KernelExecutor(cwd=folder), "None")  # what is opened once for all
    before = descriptors()
    executor = KernelExecutor(cwd=folder)
    run(executor, "open('a', 'w')\nNone")
    executor.cleanup()
    assert descriptors() == before + 2
    del executor
    assert descriptors() == before
    executor = KernelExecutor(cwd=folder)
    run(executor, "None")
    executor.cleanup()  # made nothing: what its box held in memory is free at once
    assert descriptors() == before


def test_without_a_box_nothing_is_listed_and_saving_says_why(folder):
    executor = KernelExecutor(cwd=folder, box=False)
    assert [event.kind for event in run(executor, "open('a', 'w').close()")] == ["action_finished"]
    assert executor.files().files == []
    with pytest.raises(ExecutorError, match="without a box"):
        executor.save_files()
    executor.cleanup()


def test_what_is_written_to_a_writable_mount_is_not_listed(folder):
    executor = KernelExecutor(cwd=folder, mounts=[f"{folder}/sub:rw"])
    folder.joinpath("sub").chmod(0o777)
    run(executor, "open('sub/direct', 'w').write('d'); open('here', 'w').write('h')\nNone")
    assert names(executor.files()) == ["here"]
    assert (folder / "sub" / "direct").read_text() == "d"
    executor.cleanup()


# a layer in bad hands


def test_nothing_but_files_is_opened_and_no_link_is_followed(upper, layer, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text(SECRET)
    (upper / "loop").symlink_to("loop")
    (upper / "up").symlink_to("..")
    (upper / "dir").symlink_to(tmp_path / "secret")
    (upper / "key").symlink_to(tmp_path / "secret" / "key")
    os.mkfifo(upper / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(upper / "s"))
    assert told(layer.listing()) == {
        *((name, "made", "link") for name in ("loop", "up", "dir", "key")),
        ("pipe", "made", "pipe"),
        ("s", "made", "socket"),
    }
    with Saver(tmp_path / "target", ROOM, overwrite=False) as saver:
        for name in ("loop", "dir/key", "up/secret/key", "key", "pipe", "s"):
            saver.save(name.split("/"), layer.open)
    assert len(saver.saved.refused) == 6
    assert list((tmp_path / "target").iterdir()) == []


BYTES = b"byte\xff".decode("utf-8", "surrogateescape")
SEEN = ["❤️.png", "report ✔️.csv", "1️⃣.md", "👨\u200d👩\u200d👧.png", "می\u200cخواهم.txt", "क\u094d\u200dष.csv"]
UNSEEN = [f"a{each}b" for each in "\u200d\u200c\u200b\u2060\u3164\u00ad\ufeff\ufe0f\u2028"]
HOSTILE = [*UNSEEN, "a\nb", "esc\x1b[2Jape", "r\u202elanimes", "tag\U000e0041", "tab\tbed", BYTES]


def test_names_are_told_fit_to_show_and_only_those_that_are_what_they_show_are_saved(upper, layer):
    for name in [*HOSTILE, "plain.txt", "naïve файл.txt"]:
        (upper / name).write_text("x")
    listing = layer.listing()
    assert len(listing.files) == len(HOSTILE) + 2
    shown = [made.shown for made in listing.files]
    assert not set("".join(shown)) & set("\n\t\x1b\u202e\U000e0041\udcff\u200b\u2060\u3164\u00ad\ufeff\ufe0f\u2028")
    assert [made.shown for made in listing.files if not made.why_not(None)] == ["naïve файл.txt", "plain.txt"]
    for name in SEEN:
        (upper / name).write_text("x")
    listing = layer.listing()
    assert {made.path for made in listing.files if not made.why_not(None)} == {"naïve файл.txt", "plain.txt", *SEEN}
    FilesMade(files=[made.told() for made in listing.files]).files[0]["path"].encode()


def test_of_very_many_files_the_same_ones_are_listed_and_the_rest_is_counted(folder):
    with TemporaryDirectory(dir="/dev/shm") as upper, layer_of(upper, folder) as layer:  # in memory, as a box's are
        for number in range(100_000):
            os.mknod(f"{upper}/{number:06}")
        listing = layer.listing()
    assert [made.path for made in listing.files] == [f"{number:06}" for number in range(MAX_TOLD)]
    assert listing.more == 100_000 - MAX_TOLD


def test_folders_too_deep_or_closed_count_as_one(upper, layer):
    deep = upper / "/".join("d" * 60)
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    long = upper
    for _ in range(3):
        long = long / ("n" * 200)
        long.mkdir()
    (long / "file").write_text("x")
    listing = layer.listing()
    assert (listing.files, listing.more) == ([], 2)


def test_a_huge_sparse_file_is_told_and_not_saved(upper, layer, tmp_path):
    with (upper / "huge").open("wb") as file:
        file.truncate(1 << 40)
    (upper / "small").write_bytes(b"s" * (ROOM // 2 + 1))
    (upper / "other").write_bytes(b"o" * (ROOM // 2 + 1))
    assert {made.path: made.bytes for made in layer.listing().files}["huge"] == 1 << 40
    with Saver(tmp_path / "target", ROOM, overwrite=False) as saver:
        for name in ("huge", "small", "other"):  # the room is that of all together
            saver.save([name], layer.open)
    assert set(saver.saved.refused) == {"huge", "other"}
    assert os.listdir(tmp_path / "target") == ["small"]


def test_what_is_replaced_while_it_is_read_leads_nowhere(upper, layer, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    for name in ("inner", "file"):
        (secret / name).write_text(SECRET)
    ended = threading.Event()

    (upper / "l").symlink_to(secret)
    (upper / "lf").symlink_to(secret / "file")
    (upper / "d").mkdir()
    (upper / "d" / "inner").write_text("own")
    (upper / "file").write_text("own")

    def swap():
        """Each name is a file or folder of the child's at one time, and a link to the secret one at another."""
        while not ended.is_set():
            for one, other in (("d", "l"), ("file", "lf")):
                os.rename(upper / one, upper / "t")
                os.rename(upper / other, upper / one)
                os.rename(upper / "t", upper / other)

    swapping = threading.Thread(target=swap)
    swapping.start()
    saved, refused = [], 0
    try:
        while len(saved) < 100 or refused < 100:
            with Saver(tmp_path / "target", ROOM, overwrite=True) as saver:
                for path in ("d/inner", "file"):
                    saver.save(path.split("/"), layer.open)
            saved += [path.read_text() for path in saver.saved]
            refused += len(saver.saved.refused)
            layer.listing()
    finally:
        ended.set()
        swapping.join()
    assert set(saved) == {"own"}


@pytest.mark.skipif(not os.path.exists("/sys/kernel/fscaps"), reason="no file here says more than it holds")
def test_a_file_that_holds_less_than_it_says_is_not_saved_half(layer, tmp_path):
    source = "/sys/kernel/fscaps"  # says 4096 bytes, as a file does that is cut while it is copied
    with Saver(tmp_path, ROOM, overwrite=False) as saver:
        saver.save(["copy"], lambda _: os.open(source, os.O_RDONLY))
    assert "changed while it was copied" in saver.saved.refused["copy"]
    assert "copy" not in os.listdir(tmp_path)


# a target with traps in it


def test_nothing_is_written_outside_the_target_and_nothing_there_is_lost(upper, layer, tmp_path):
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    (outside / "precious").write_text("kept")
    (target / "sub").symlink_to(outside)
    (target / "there").write_text("kept")
    (target / "link").symlink_to(outside / "precious")
    (target / "dangling").symlink_to(outside / "new")
    (target / "folder").mkdir()
    (upper / "sub").mkdir()
    for name in ("sub/precious", "there", "link", "dangling", "folder", "fresh"):
        (upper / name).write_text("new")
    paths = ("sub/precious", "there", "link", "dangling", "folder", "fresh")
    for overwrite in (False, True):
        with Saver(target, ROOM, overwrite) as saver:
            for path in paths:
                saver.save(path.split("/"), layer.open)
        refused = {"sub/precious", "folder"} | (set() if overwrite else {"there", "link", "dangling"})
        assert set(saver.saved.refused) == refused
        assert {path: path.read_text() for path in outside.iterdir()} == {outside / "precious": "kept"}
        assert (target / "there").read_text() == ("new" if overwrite else "kept")
    assert not any(path.is_symlink() for path in target.iterdir() if path.name != "sub")
    assert sorted(os.listdir(target)) == sorted(["sub", *paths[1:]])


def test_the_user_s_own_mode_stays_when_a_file_is_replaced(upper, layer, tmp_path):
    (upper / "script.py").write_text("new")
    (tmp_path / "script.py").write_text("old")
    (tmp_path / "script.py").chmod(0o755)
    with Saver(Path(tmp_path), ROOM, overwrite=True) as saver:
        saver.save(["script.py"], layer.open)
    assert (tmp_path / "script.py").read_text() == "new"
    assert (tmp_path / "script.py").stat().st_mode & 0o7777 == 0o755
