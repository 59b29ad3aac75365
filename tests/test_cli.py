"""The `smol` command, as a person at a terminal meets it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from loaded_shell import loaded_shell
from model_server import Hang, ModelServer, Text
from nbclient import NotebookClient

import smol_kernel
from smol_kernel import tool
from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.config import add_options, read_options
from smol_kernel.errors import ConfigError
from smol_kernel.journal import Journal
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.models.demo import DEMO_TASKS
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.serve.cli import main
from smol_kernel.serve.cli.demo import fetch_unit
from smol_kernel.serve.cli.run import read_inputs

PATIENCE = 120  # seconds until a command that says nothing counts as hung
COMMAND = "import sys; from smol_kernel.serve.cli import process; sys.exit(process())"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder, a journal of its own, and no model set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", str(Path(smol_kernel.__file__).parent.parent))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.delenv("SMOL_MODEL", raising=False)
    monkeypatch.delenv("SMOL_API_BASE", raising=False)
    return tmp_path


def started(*arguments, code=COMMAND, ignored=()):
    """The command in a process of its own, as a shell starts it; the signals `ignored` are."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: heard(ignored),
    )


def heard(ignored):
    """Undo what a shell does to a job in the background, as these tests may be: there Ctrl-C is ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)


def code(text):
    return f"I write code.\n<code>\n{text}\n</code>"


# -- run


def test_a_task_is_worked_on_and_the_answer_written(here, capsys):
    pd.DataFrame({"month": ["May", "June"], "sales": [3, 5]}).to_csv("sales.csv", index=False)
    reply = code('best = df.loc[df["sales"].idxmax(), "month"]\nfinal_answer({"month": best})')
    with ModelServer(Text(reply)) as server:
        arguments = ["--model", "openai/double", "--api-base", server.url, "--in", "df=sales.csv", "-o", "answer.json"]
        assert main(["run", "In which month were sales highest?", *arguments]) == 0
    assert json.loads(Path("answer.json").read_text()) == {"month": "June"}
    shown = capsys.readouterr()
    assert "df.loc" in shown.out
    assert "June" in shown.out
    assert shown.err == ""
    (run,) = Journal().runs()
    assert (run.state, run.origin["front"]) == ("success", "cli")


def test_a_run_without_a_journal_leaves_none(here, capsys):
    with ModelServer(Text(code("final_answer(6 * 7)"))) as server:
        assert main(["run", "6 * 7?", "--model", "openai/double", "--api-base", server.url, "--no-journal"]) == 0
    assert "42" in capsys.readouterr().out
    assert not (here / "journal.sqlite").exists()


def test_a_run_says_its_id_in_its_end_since_last_may_be_another(capsys):
    with ModelServer(*[Text(code("final_answer(6 * 7)"))] * 4) as server:
        ended = [told_of("run", "one job", "--model", "openai/double", "--api-base", server.url, capsys=capsys)]
        ended += [told_of("run", "another", "--model", "openai/double", "--api-base", server.url, capsys=capsys)]
        ended += [told_of("fork", ended[0], "--step", "0", "--api-base", server.url, capsys=capsys)]
        assert main(["run", "x", "--model", "openai/double", "--api-base", server.url, "--no-journal"]) == 0
        assert " run " not in capsys.readouterr().out.splitlines()[-1]
    assert {run.run for run in Journal().runs()} == set(ended)
    assert [Journal().find(run).task for run in ended[:2]] == ["one job", "another"]


def told_of(*arguments, capsys):
    """The id that the last line of a run says."""
    assert main(arguments) == 0
    return re.fullmatch(r"done · 1 step · .* · run (\w{8})", capsys.readouterr().out.splitlines()[-1])[1]


def test_a_model_that_cannot_be_reached_is_said_with_status_1(capsys):
    with ModelServer() as server:
        url = server.url
    assert main(["run", "a task", "--model", "openai/double", "--api-base", url]) == 1
    shown = capsys.readouterr()
    assert shown.out.count(url) == shown.err.count(url) == 1
    assert "Traceback" not in shown.out + shown.err


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--max-steps", "1"], 1, "smol: out of steps: Reached the limit of 1 step without a final answer."),
        (["--max-output-tokens", "1"], 3, "smol: out of budget: The budget is used up: "),
    ],
)
def test_why_a_run_failed_is_said_where_its_output_goes_nowhere(options, status, said, capsys):
    with ModelServer(*[Text(code("1"))] * 3) as server:
        arguments = ["run", "a task", "--model", "openai/double", "--api-base", server.url, *options]
        assert main(arguments) == status
        told = capsys.readouterr().err
        assert told.startswith(said) and told.endswith(f" (smol show {Journal().find('last').run})\n")
        assert told.count("\n") == 1
        assert main([*arguments, "--no-journal"]) == status
        assert "smol show" not in (told := capsys.readouterr().err) and told.startswith(said)


def test_an_answer_is_written_where_nobody_reads_what_is_said(here):
    reading, writing = os.pipe()
    os.close(reading)
    options = ["--max-steps", "1", "-o", "answer.txt", "--save-files", "saved"]
    with ModelServer(Text(code("open('made', 'w').close()")), Text("The answer is 42.")) as server:
        arguments = ["run", "a task", "--model", "openai/double", "--api-base", server.url, *options]
        subprocess.run([sys.executable, "-c", COMMAND, *arguments], stdout=writing, stderr=writing)
    os.close(writing)
    assert (here / "answer.txt").read_text() == "The answer is 42.\n"
    assert (here / "saved" / "made").exists()


def test_without_a_model_it_says_what_to_set_and_runs_nothing(here, capsys):
    assert main(["run", "a task"]) == 2
    shown = capsys.readouterr()
    assert "SMOL_MODEL" in shown.err
    assert shown.out == ""
    assert list(here.iterdir()) == []


STOPPED_AT_ONCE = f"""
import signal, sys
from importlib.machinery import PathFinder
class Stopping(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "smol_kernel.serve.cli.doctor":
            signal.raise_signal(signal.SIGINT)
        return super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Stopping
{COMMAND}
"""


def test_ctrl_c_while_the_command_is_loaded_stops_with_one_line():
    process = started("runs", code=STOPPED_AT_ONCE)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err.strip()) == (130, "", "Stopped.")


@pytest.mark.parametrize("options", [[], ["--no-journal"]])
def test_ctrl_c_in_an_action_stops_with_one_line(here, options):
    action = code("import time\nprint('begun', 1, flush=True)\nwhile True: time.sleep(60)")
    with ModelServer(Text(action)) as server:
        process = started("run", "work forever", "--model", "openai/double", "--api-base", server.url, *options)
        for line in process.stdout:
            if line.split() == ["begun", "1"]:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert re.fullmatch(r"Stopped\." if options else r"Stopped\. smol resume \w{8} goes on from here\.", err.strip())
    assert "Traceback" not in out
    assert psutil.wait_procs(children, timeout=PATIENCE)[1] == []
    if options:
        assert not (here / "journal.sqlite").exists()
        return
    (run,) = Journal().runs()
    assert run.state == "interrupted"


def test_ctrl_c_while_the_model_thinks_stops_with_one_line():
    thinking = Hang("I thi")
    with ModelServer(thinking) as server:
        process = started("run", "think", "--model", "openai/double", "--api-base", server.url)
        assert thinking.reached.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert re.fullmatch(r"Stopped\. smol resume \w{8} goes on from here\.", err.strip())


@pytest.mark.parametrize(
    ("sent", "status", "ignored"),
    [
        ([signal.SIGTERM], 143, ()),
        ([signal.SIGTERM, signal.SIGTERM], 143, ()),  # as `timeout` does it
        ([signal.SIGHUP], 129, (signal.SIGINT,)),  # as in the background of a shell
        ([signal.SIGHUP, signal.SIGTERM], 143, (signal.SIGHUP,)),  # as under nohup
    ],
)
def test_a_signal_to_end_stops_a_run_as_ctrl_c_does_and_it_goes_on_from_there(here, sent, status, ignored, capsys):
    wait = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.1)"
    action = code(f"open('made.txt', 'w').write('made')\nprint('begun', 1, flush=True)\n{wait}")
    with ModelServer(Text(action), Text(code("final_answer(6 * 7)"))) as server:
        arguments = ("work", "--model", "openai/double", "--api-base", server.url, "--save-files", "saved")
        process = started("run", *arguments, ignored=ignored)
        for line in process.stdout:
            if line.split() == ["begun", "1"]:
                break
        for number in sent:
            process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == status
        assert re.fullmatch(r"Stopped\. smol resume \w{8} goes on from here\.", err.strip())
        assert (here / "saved" / "made.txt").read_text() == "made"
        (run,) = Journal().runs()
        assert run.state == "interrupted"
        (here / "go").touch()  # for the action, which is run again
        assert main(["resume", "last", "--api-base", server.url, "-o", "answer.txt"]) == 0, capsys.readouterr()
    assert (here / "answer.txt").read_text() == "42\n"


STUBBORN = STOPPED_AT_ONCE.replace(
    "            signal.raise_signal(signal.SIGINT)\n",
    """            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                print("stopping", flush=True)
                while True:
                    signal.pause()
""",
)


def test_a_second_signal_to_end_does_so_at_once():
    process = started("runs", code=STUBBORN)
    assert process.stdout.readline() == "stopping\n"
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    assert process.communicate(timeout=PATIENCE) == ("", "")
    assert process.returncode == 143


def test_a_killed_run_is_shown_as_cut_off_and_one_at_work_as_running(here, capsys):
    action = code("import time\nprint('begun', 1, flush=True)\nwhile True: time.sleep(60)")
    with ModelServer(Text(action)) as server:
        process = started("run", "work forever", "--model", "openai/double", "--api-base", server.url)
        for line in process.stdout:
            if line.split() == ["begun", "1"]:
                break
        assert main(["show", "last"]) == 0
        assert " · running\n" in capsys.readouterr().out
        process.kill()
        process.communicate(timeout=PATIENCE)
    assert main(["show", "last"]) == 0
    shown = capsys.readouterr().out
    assert " · cut off\n" in shown and "[stopped]" in shown
    for name in ("run.md", "run.html", "run.ipynb"):
        assert main(["export", "last", "--to", name]) == 0
        assert "cut off" in (told := Path(name).read_text()) and "running" not in re.sub(
            r"(?s)<style.*?</style>", "", told
        )
    with loaded_shell() as shell:
        capsys.readouterr()
        shell.run_cell(f"%agent show {Journal().find('last').run}")
    assert "cut off" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["run", "  ", "--model", "demo"], 2, "the task is empty"),
        (["run", "another task", "--model", "demo"], 1, "no script for 'another task'"),
        (["run", "x", "--model", "demo", "--max-steps", "0"], 2, "--max-steps is 0"),
        (["run", "x", "--model", "demo", "-o", "nowhere/answer.txt"], 2, "there is no folder 'nowhere'"),
        (["run", "x", "--model", "demo", "--in", "df"], 2, "write NAME=FILE"),
        (["run", "x", "--model", "demo", "--in", "1x=data.csv"], 2, "'1x' is no name of a variable; write"),
        (["run", "x", "--model", "demo", "--in", "df=."], 2, "'.' is a folder; name a file that ends in .csv, "),
        (["run", "x", "--model", "demo", "--in", "df=no.csv"], 2, "no.csv'; give the path of one"),
        (["run", "x", "--model", "demo", "--in", "df=/dev/null"], 2, "a file without an ending cannot be read; give"),
        (
            ["kernel", "install", "--prefix", "/dev/null"],
            2,
            "cannot be put into /dev/null/share/jupyter/kernels (Not a",
        ),
        (["kernel", "install", "--prefix", "/dev/null"], 2, "may write with --prefix FOLDER, or --user"),
        (["run", "caf\udce9", "--model", "demo"], 2, "the task is not UTF-8"),
        (["runs", "--prune", "--keep", "-1"], 2, "--keep -1"),
        (["show", "\udcff"], 1, "no run '\\udcff'"),
        (["runs", "--delete", "last", "--keep", "3", "--yes"], 2, "--delete takes out the one run that it names"),
        (["run", "x", "--model", "demo", "-o", "-"], 2, "-o -: name a file, or /dev/stdout"),
        (["runs", "-n", "0"], 2, "--limit is 0: give a whole number of at least 1"),
        (["import", "a.html"], 2, "a.html: give an exported .ipynb or .json"),
        (["run", "x", "--model", "demo", "--box-limit", "cpu_seconds=99999999999999999999"], 2, "cpu_seconds"),
        (
            ["run", "x", "--model", "demo", "--box-limit", "disk=4kB"],
            2,
            "limit disk '4kB': a kernel needs at least 1 MiB",
        ),
        (["run", "x", "--model", "demo", "--box-limit", "file_size=1"], 2, "limit file_size '1'"),
        (["validate", ".", "--junit", "nowhere/j.xml"], 2, "--junit nowhere/j.xml"),
        (["show", "last"], 1, "no runs in"),
        (["show", "abc"], 1, "'abc'"),
        (["export", "last", "--to", "run.txt"], 2, "ends in .ipynb, .py, .html, .md, .json"),
        (["export", "last", "--to", "run.ipynb"], 1, "no runs in"),
        (["export", "last", "--to", "nowhere/run.ipynb"], 2, "there is no folder 'nowhere'"),
    ],
)
def test_bad_input_is_one_sentence(arguments, status, said, capsys):
    assert main(arguments) == status
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.startswith("smol: ")
    assert "Traceback" not in shown.err


def test_a_switch_that_is_neither_on_nor_off_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("SMOL_DEBUG", "maybe")
    assert main(["runs"]) == 2
    assert capsys.readouterr() == ("", "smol: SMOL_DEBUG is 'maybe': set it to off or on, or unset it\n")


def test_an_unknown_command_or_option_is_a_usage_error(capsys):
    for arguments in (["frobnicate"], ["run", "x", "--frobnicate"], ["run", "x", "--continue"], []):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 2
    assert "frobnicate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "command", "said"),
    [
        (["run", "--modle", "x", "a task"], "smol run", "there is no option --modle. Did you mean --model?"),
        (["run", "--modle=x", "a task"], "smol run", "there is no option --modle. Did you mean --model?"),
        (["export", "last", "--too", "x.ipynb"], "smol export", "no option --too. Did you mean --to?"),
        (["kernel", "install", "--usr"], "smol kernel install", "no option --usr. Did you mean --user?"),
        (["runs", "--qqq"], "smol runs", "there is no option --qqq. smol runs --help lists them."),
        (["runs", "-z"], "smol runs", "there is no option -z. smol runs --help lists them."),
        (["run", "two", "words"], "smol run", "too much: 'words' (words that belong together stand in quotes)"),
        (["run", "--in", "df", "a.csv", "x"], "smol run", "--in df: write NAME=FILE, for instance --in df=sales.csv"),
        (["--versoin"], "smol", "no option --versoin. Did you mean --version?"),
    ],
)
def test_a_mistyped_option_is_told_by_its_command(line, command, said, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(line)
    shown = capsys.readouterr().err
    assert exit_.value.code == 2 and shown.startswith(f"usage: {command} [-h]") and said in shown


def test_words_that_only_look_like_options_are_none(capsys):
    for task in (["--no such task"], ["--", "--modle"]):
        assert main(["run", "--mod", "demo", *task]) == 1  # an option may be cut short
        assert f"no script for '{task[-1]}'" in capsys.readouterr().err


def test_a_key_that_is_missing_is_set_in_the_shell(monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert main(["run", "a task", "--model", "openai/x"]) == 1
    reason, hint = capsys.readouterr().err.splitlines()
    assert reason.startswith("smol: failed: ") and hint == "In a shell: export OPENAI_API_KEY=…"


def test_files_become_values(here):
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    table.to_csv("t.csv", index=False)
    table.to_csv("t.tsv", index=False, sep="\t")
    table.to_parquet("t.parquet")
    Path("t.json").write_text('{"a": [1, null]}')
    Path("marked.json").write_text('{"a": [1, null]}', encoding="utf-8-sig")
    values = read_inputs(["c=t.csv", "t=t.tsv", "p=t.parquet", "j=t.json", "m=marked.json"])
    for name in ("c", "t", "p"):
        pd.testing.assert_frame_equal(values[name], table)
    assert values["j"] == values["m"] == {"a": [1, None]}


@pytest.mark.parametrize(
    "given", ["df=missing.csv", "df=bad.json", "df=nul.csv", "df=table.xls", "1df=t.csv", "=t.csv", "df="]
)
def test_a_file_that_does_not_serve_is_named(given):
    Path("bad.json").write_text("{")
    Path("nul.csv").write_bytes(bytes(100))
    with pytest.raises(ConfigError, match="--in " + given):
        read_inputs([given])


def test_a_file_may_have_a_comma_in_its_name():
    parser = ArgumentParser()
    add_options(parser, notebook=False)
    parsed = parser.parse_args(["--in", "df=a,b.csv", "--in", "c=d.csv"])
    assert read_options(parsed).inputs == ["df=a,b.csv", "c=d.csv"]


def test_a_table_that_is_not_utf_8_is_refused_with_what_to_do():
    Path("a.csv").write_bytes("name\nM\xfcller\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="it is not UTF-8; save it as that"):
        read_inputs(["df=a.csv"])


def test_a_name_that_is_given_twice_is_refused():
    Path("a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="df is given twice"):
        read_inputs(["df=a.csv", "df=./a.csv"])


@pytest.mark.parametrize("name", ["class", "final_answer", "print"])
def test_a_name_that_actions_cannot_use_is_refused(name):
    Path("a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="--in " + name):
        read_inputs([f"{name}=a.csv"])


def test_where_no_answer_can_be_written_nothing_is_run(here, capsys):
    assert main(["run", "x", "--model", "openai/x", "-o", "."]) == 2
    assert "'.' is a folder" in capsys.readouterr().err
    assert not Journal().runs()


@pytest.mark.parametrize(
    ("command", "options", "file", "said"),
    [
        ("run", ["--in", "df=data.csv"], "./data.csv", "this file is handed in by --in df=data.csv and stays as it is"),
        ("run", ["--in", "a=data.csv"], "link.csv", "-o link.csv: this file is handed in by --in a=data.csv"),
        ("run", ["--image", "data.csv"], "data.csv", "is handed in by --image data.csv and stays"),
        ("run", ["--mount", "data.csv"], "data.csv", "is handed in by --mount data.csv and stays"),
        ("run", ["--cassette", "kept.json"], "kept.json", "is handed in by --cassette kept.json and stays"),
        ("run", [], "journal.sqlite", "is handed in by SMOL_JOURNAL and stays"),
        ("run", [], "note.ipynb", "-o note.ipynb: an answer is written as text, .json"),
        ("run", [], "new.ipynb", "-o new.ipynb: an answer is written as text, .json"),
        ("fork", ["--action", "data.csv"], "data.csv", "is handed in by --action data.csv and stays"),
        ("resume", ["--in", "df=data.csv"], "data.csv", "is handed in by --in df=data.csv and stays"),
    ],
)
def test_the_answer_takes_the_place_of_nothing_that_it_is_made_from(here, command, options, file, said, capsys):
    for name in ("data.csv", "note.ipynb"):
        (here / name).write_text("a,b\n1,2\n")
    (here / "link.csv").symlink_to("data.csv")
    model = ["--model", "openai/double", "--api-base", "http://127.0.0.1:1"]
    assert main([command, "last", *options, "-o", file, *model]) == 2
    assert said in capsys.readouterr().err
    assert {(here / name).read_text() for name in ("data.csv", "note.ipynb")} == {"a,b\n1,2\n"}


def test_a_list_of_runs_acts_on_no_terminal(here, capsys, monkeypatch):
    agent = CodeAgent(tools=[], model=ScriptedModel([code("final_answer(1)")]), verbosity_level=LogLevel.OFF)
    with agent:
        agent.run("\x1b[31mred\x1b]0;own\x07 t\u00e4sk \u2713\u2026")
    assert main(["runs"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    for command in ("runs", "show last"):
        shown = subprocess.run(
            [sys.executable, "-c", COMMAND, *command.split()],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "red t\\xe4sk ok..." in shown.stdout


def test_a_journal_that_may_not_be_opened_says_whose_it_is(here):
    Journal(here / "journal.sqlite").cut_off("")
    (here / "journal.sqlite").chmod(0)
    program = (
        "import os\nfrom smol_kernel.journal import Journal\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"  # root may read anyway
        f"Journal({str(here / 'journal.sqlite')!r}).runs()"
    )
    modes = {folder: folder.stat().st_mode for folder in (here, *here.parents)} if os.getuid() == 0 else {}
    try:
        for folder, mode in modes.items():
            folder.chmod(mode | 0o011)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)
    whose = "belongs to another user (id 0): " if os.getuid() == 0 else "cannot be used: make it yours, "
    assert f"journal.sqlite' {whose}run without it (smol run --no-journal" in done.stderr


def test_a_closed_standard_output_is_no_error(here):
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" runs >&-', sys.executable, COMMAND], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_without_any_standard_stream_it_works_all_the_same(here):
    words = ["run", "--model", "demo", DEMO_TASKS[0].task, "-o", "answer.txt"]
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "-"]
    done = subprocess.run([*closed, sys.executable, "-c", COMMAND, *words])
    assert (done.returncode, (here / "answer.txt").exists()) == (0, True)


@pytest.mark.parametrize(("closed", "name"), [("2>&-", "/dev/stdout"), (">&-", "/dev/stderr")])
def test_what_is_said_to_a_closed_stream_goes_to_no_other(here, closed, name):
    words = ["run", "--model", "demo", DEMO_TASKS[0].task, "-o", name]
    command = ["sh", "-c", f'exec "$@" {closed}', "-", sys.executable, "-c", COMMAND]
    done = subprocess.run([*command, *words], capture_output=True, text=True)
    assert (done.returncode, f"{Journal().find('last').answer}\n" in done.stdout + done.stderr) == (0, True)
    done = subprocess.run([*command, "show", "wrong"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, bool(done.stderr)) == (1, "", closed != "2>&-")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_output_that_could_not_be_printed_is_told(here):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "run", "--model", "demo", DEMO_TASKS[0].task],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert "not all could be printed: No space left on device" in done.stderr
    assert Journal().find("last").state == "success"


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/dev/stderr"])
def test_an_answer_to_what_is_open_stands_behind_what_was_said(here, name):
    command = [sys.executable, "-c", COMMAND, "run", "--model", "demo", DEMO_TASKS[0].task, "-o", name]
    with open("log", "w") as log:
        log.write("before\n")
        log.flush()
        subprocess.run(command, stdout=log, stderr=log, check=True)
    said = (here / "log").read_text()
    assert said.startswith("before\n") and DEMO_TASKS[0].task in said
    assert f"\n{Journal().find('last').answer}\n" in said


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_an_answer_that_could_not_be_written_is_kept(here, capsys):
    assert main(["run", "--model", "demo", DEMO_TASKS[0].task, "-o", "/dev/full"]) == 1
    run = Journal().find("last").run
    assert f"'/dev/full': No space left on device; it is kept: smol show {run}\n" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_nobody_is_told_that_it_is_kept_where_the_journal_could_not_grow(here):
    command = [sys.executable, "-c", COMMAND, "run", "--model", "demo", DEMO_TASKS[0].task, "-o", "/dev/full"]
    words = ["sh", "-c", 'ulimit -f 160 && exec "$@"', "sh", *command]
    done = subprocess.run(words, capture_output=True, text=True)
    assert "is not kept from here" in done.stdout and Journal().find("last").state == "unfinished"
    assert "could not be written" in done.stderr and "it is kept" not in done.stderr
    assert "the journal has not all of this run" in done.stderr


def test_a_run_goes_on_with_no_fewer_steps_than_it_has_begun(here, capsys):
    agent = CodeAgent([], ScriptedModel(["<code>x = 1</code>", "<code>x = 2</code>"]), verbosity_level=LogLevel.OFF)
    with agent, suppress(Exception):
        agent.run("two steps", max_steps=9)
    for number, said in (("-5", "a whole number of at least 1"), ("0", "at least 1"), ("1", "has begun 3 steps")):
        assert main(["resume", "last", "--model", "demo", "--max-steps", number]) == 2
        assert said in capsys.readouterr().err
    assert main(["fork", "last", "--model", "demo", "--max-steps", "0"]) == 2
    assert main(["fork", "last", "--model", "demo", "--max-steps", "1"]) == 2
    assert "max_steps is 1: the fork keeps 2 steps: give that or more" in capsys.readouterr().err


def test_where_the_working_folder_is_gone_that_is_said(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert main(["demo"]) == 2
    assert capsys.readouterr() == ("", "smol: the working folder is gone; change to one that is there\n")


@pytest.mark.parametrize("name", ["", ".", "..", "broken"])
def test_only_a_kernel_of_ours_is_uninstalled(name, tmp_path, capsys):
    folder = tmp_path / "share" / "jupyter" / "kernels"
    (folder / "broken").mkdir(parents=True)
    (folder / "broken" / "kernel.json").write_text("{")
    assert main(["kernel", "uninstall", "--prefix", str(tmp_path), "--name", name]) == 2
    assert (folder / "broken" / "kernel.json").exists()


def test_where_the_user_s_own_folder_cannot_be_written_it_is_not_recommended(monkeypatch, capsys):
    monkeypatch.setenv("JUPYTER_DATA_DIR", "/dev/null")
    assert main(["kernel", "install", "--user"]) == 2
    assert "with --prefix FOLDER, set JUPYTER_DATA_DIR to one, or --sys-prefix" in capsys.readouterr().err


def test_no_kernel_but_one_of_ours_is_replaced(tmp_path, capsys):
    folder = tmp_path / "share" / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text('{"argv": ["python", "-m", "ipykernel_launcher"]}')
    for name in ("python3", "Python3"):
        assert main(["kernel", "install", "--prefix", str(tmp_path), "--name", name]) == 2
        assert "is not an Agent kernel" in capsys.readouterr().err
    assert "ipykernel_launcher" in (folder / "kernel.json").read_text()
    for display_name in ("Agent", "My agent"):
        arguments = ["--name", "mine", "--display-name", display_name]
        assert main(["kernel", "install", "--prefix", str(tmp_path), *arguments]) == 0
    assert '"My agent"' in (folder.parent / "mine" / "kernel.json").read_text()
    assert main(["kernel", "uninstall", "--prefix", str(tmp_path), "--name", "Mine"]) == 0
    assert not (folder.parent / "mine").exists()
    for name in ("", ".", "..", "a/b"):
        assert main(["kernel", "install", "--prefix", str(tmp_path), "--name", name]) == 2
        assert "a kernel's name is made of letters" in capsys.readouterr().err


# -- demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What `smol demo` showed and left, in a folder with a notebook of that name."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "co2_demo.ipynb").write_text("somebody's own")
    environment = {**os.environ, "SMOL_JOURNAL": str(folder / "journal.sqlite"), "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = str(Path(smol_kernel.__file__).parent.parent)
    # Any proxy that is asked would refuse: the demo needs no network.
    environment |= {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "demo"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return folder, done


def test_the_demo_says_that_it_is_scripted_and_how_to_use_a_model(demo):
    _, done = demo
    assert "script written by hand" in done.stdout
    assert "smol run --model" in done.stdout
    assert done.stderr == ""


def test_the_demo_fails_once_repairs_it_calls_a_tool_and_answers(demo):
    _, done = demo
    assert "KeyError" in done.stdout
    assert "fetch_unit" in done.stdout
    assert "In the 1980s: the yearly mean grew by 16.1 ppm" in done.stdout


def test_the_demo_writes_a_notebook_that_runs_by_itself(demo):
    folder, done = demo
    assert (folder / "co2_demo.ipynb").read_text() == "somebody's own"
    assert "co2_demo-2.ipynb" in done.stdout
    notebook = nbformat.read(folder / "co2_demo-2.ipynb", as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    (answer,) = notebook.cells[-2].outputs
    NotebookClient(notebook, kernel_name="python3", timeout=PATIENCE, resources=at(folder)).execute()
    (again,) = notebook.cells[-2].outputs
    assert again.data == answer.data


def at(folder):
    """What tells nbclient to run a notebook in `folder`."""
    return {"metadata": {"path": str(folder)}}


def test_the_demo_is_in_the_journal_and_can_be_listed_shown_and_exported(demo, monkeypatch, capsys):
    folder, _ = demo
    monkeypatch.setenv("SMOL_JOURNAL", str(folder / "journal.sqlite"))
    assert main(["runs"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "(scripted)" in line
    assert DEMO_TASKS[0].task[:30] in line
    assert main(["runs", "no such text"]) == 0
    assert "No runs about 'no such text'" in capsys.readouterr().out
    for run in ("last", line.split()[0]):
        assert main(["show", run]) == 0
        shown = capsys.readouterr().out
        assert DEMO_TASKS[0].task in shown
        assert "KeyError" in shown
    assert main(["export", "last", "--to", "run.ipynb"]) == 0
    nbformat.validate(nbformat.read("run.ipynb", as_version=4))
    assert main(["export", "last", "--to", "run.ipynb"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["export", "last", "--to", "run.ipynb", "--force"]) == 0
    assert main(["export", "last", "--to", "nowhere/run.ipynb"]) == 2


def test_the_demo_goes_on_from_a_step_with_its_own_tool(demo, here, monkeypatch, capsys):
    monkeypatch.setenv("SMOL_JOURNAL", str(shutil.copy(demo[0] / "journal.sqlite", here)))
    for _ in range(2):  # and so does the run that came of it
        assert main(["fork", "last", "--step", "3"]) == 0
        shown = capsys.readouterr().out
        assert "fetch_unit" in shown and "In the 1980s" in shown


def test_the_demo_goes_on_with_a_real_model_however_often(here, monkeypatch):
    agent = CodeAgent(
        [tool(fetch_unit)], ScriptedModel(["<code>x = fetch_unit('co2')</code>"]), verbosity_level=LogLevel.OFF
    )
    agent.model.model_id = "demo"
    with agent, suppress(Exception):
        list(agent.events("work", origin={"front": "cli", "mcp": []}))
    with ModelServer(*[Text("<code>y = 1</code>"), Text("best")] * 2) as server:
        for steps in ("2", "3"):
            line = ["--model", "openai/own", "--api-base", server.url, "--max-steps", steps]
            assert main(["resume", "last", *line]) == 1


def test_where_no_notebook_can_be_written_the_demo_says_how_to_have_it(monkeypatch, capsys):
    monkeypatch.chdir("/proc")
    assert main(["demo"]) == 1
    shown = capsys.readouterr().out
    run = Journal().find("last").run
    assert "could not be written into /proc: " in shown and f"smol export {run} --to ~/co2_demo.ipynb" in shown
    assert f"smol show {run}" in shown and "smol run --model" in shown


def test_without_a_journal_the_demo_goes_on(here, monkeypatch, capsys):
    monkeypatch.setenv("SMOL_JOURNAL", str(here))
    assert main(["demo"]) == 0
    shown = capsys.readouterr()
    assert "is no file: set SMOL_JOURNAL" in shown.err and "goes on without a journal" in shown.err
    assert (here / "co2_demo.ipynb").exists() and "smol show" not in shown.out


def test_a_demo_that_fails_says_where_and_praises_nothing(here, capsys):
    (here / "matplotlib.py").write_text("raise ImportError('broken')")
    assert main(["demo"]) == 1
    shown = capsys.readouterr().out
    assert "did not come to its answer: step 4 ended with ImportError: broken. `smol doctor` tells" in shown
    assert f"smol show {Journal().find('last').run}" in shown and "smol run --model" not in shown
    assert not (here / "co2_demo.ipynb").exists()


WITHOUT_STATSMODELS = f"""
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == "statsmodels" else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
{COMMAND}
"""


def test_without_the_extra_the_demo_says_what_to_install(here):
    process = started("demo", code=WITHOUT_STATSMODELS)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.strip() == "smol: the demo needs statsmodels: pip install 'smol-kernel[demo]'"
    assert out == ""
    assert list(here.iterdir()) == []


def test_the_demo_model_answers_its_own_tasks_from_the_command_line(capsys):
    assert main(["run", DEMO_TASKS[1].task, "--model", "demo"]) == 0
    assert "% a year" in capsys.readouterr().out


# -- the command itself


def test_the_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"smol-kernel {smol_kernel.__version__}\n"


@pytest.mark.parametrize("line", ["--help", "runs --help", "frobnicate", ""])
def test_the_package_run_as_a_module_is_the_command(line):
    given = {"capture_output": True, "text": True, "timeout": PATIENCE, "check": False, "stdin": subprocess.DEVNULL}
    ran = [
        subprocess.run([sys.executable, *way, *line.split()], **given)
        for way in (["-m", "smol_kernel"], ["-c", COMMAND])
    ]
    assert len({(each.returncode, each.stdout, each.stderr) for each in ran}) == 1
    assert "usage: smol" in ran[0].stdout + ran[0].stderr


def test_every_command_has_help(capsys):
    for command in ("run", "demo", "runs", "show", "export", "kernel", "kernel install", "kernel uninstall"):
        with pytest.raises(SystemExit) as exit_:
            main([*command.split(), "--help"])
        assert exit_.value.code == 0
        assert f"usage: smol {command}" in capsys.readouterr().out


def test_a_reader_that_leaves_is_no_error():
    process = started("runs")
    process.stdout.close()
    assert process.wait(PATIENCE) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


def test_python_m_takes_nothing_from_the_current_folder(here, monkeypatch):
    def said(*words):
        done = subprocess.run([sys.executable, "-m", "smol_kernel", *words], capture_output=True, text=True)
        return done.stdout + done.stderr

    for name in ("argparse", "traitlets", "nbformat", "httpx", "jupyter_client"):
        (here / f"{name}.py").write_text(f"raise SystemExit('{name} of the folder')")
    run = ["run", "--model", "demo", "--max-steps", "1", "A task of mine"]
    for words in (["--version"], ["kernel", "install", "--prefix", "there"], run):
        assert "of the folder" not in said(*words)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), os.environ["PYTHONPATH"]]))  # the user's own word
    assert "argparse of the folder" in said("--version")
