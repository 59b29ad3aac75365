"""The box in the fronts: options, settings, the mark of a run without one, and what happens where none can be had."""

from __future__ import annotations

import json
import sys

import nbformat
import pytest
from IPython.core.completer import provisionalcompleter
from loaded_shell import loaded_shell
from model_server import ModelServer, Text, ToolCall
from no_namespaces import COMMAND, run_without_namespaces

from smol_kernel import ScriptedModel, ToolCallingAgent
from smol_kernel.config import RunOptions, builtin_tools
from smol_kernel.errors import ConfigError
from smol_kernel.events import ActionFinished, ActionProposed, RunFinished, RunStarted, StepStarted, ToolCalled
from smol_kernel.executors.interpreter_tool import PythonInterpreterTool
from smol_kernel.journal import Journal
from smol_kernel.render.transcript import UNBOXED, Transcript
from smol_kernel.serve.cli import main
from smol_magic.account import account
from smol_magic.endings import CellError
from smol_magic.view import LiveView

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the box of Linux")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder to work in, and one beside it that is not shown to a box."""
    (tmp_path / "work").mkdir()
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "note.txt").write_text("seen")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.delenv("SMOL_BOX", raising=False)
    return tmp_path / "work"


@pytest.fixture
def shell(monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    with loaded_shell() as shell:
        yield shell


def code(source):
    return f"I do it.\n```python\n{source}\n```"


LOOK = "import os\nfinal_answer(os.path.exists('../beside/note.txt'))"


def smol_run(*options, action=LOOK):
    with ModelServer(Text(code(action))) as server:
        return main(["run", "the task", "--model", "openai/double", "--api-base", server.url, *options])


def cell(shell, line, *actions):
    """What a cell with this line ended with; the answer is `answer`."""
    shell.user_ns["m"] = ScriptedModel([code(action) for action in actions])
    return shell.run_cell(f"%%agent --model m -o answer {line}\nthe task").error_in_exec


# -- on the command line


@pytest.mark.parametrize(
    ("options", "seen", "words"),
    [
        ([], False, "isolated: box ·"),
        (["--mount", "../beside"], True, "isolated: box ·"),
        (["--box", "off"], True, "not isolated ·"),
    ],
)
def test_options_of_the_box_do_what_they_say(here, capsys, options, seen, words):
    assert smol_run("-o", "answer.json", *options) == 0
    assert json.loads((here / "answer.json").read_text()) is seen
    shown = capsys.readouterr().out
    assert words in shown
    assert (UNBOXED in shown) is (words == "not isolated ·")
    main(["show", "last"])
    shown = capsys.readouterr().out
    assert words in shown and (UNBOXED in shown) is (words == "not isolated ·")


def test_what_is_mounted_to_write_in_keeps_what_is_written(here):
    write = "open('../beside/made.txt', 'w').write('x')\nfinal_answer(1)"
    assert smol_run("--mount", "../beside:rw", action=write) == 0
    assert (here.parent / "beside" / "made.txt").read_text() == "x"


def test_the_network_is_there_when_it_is_asked_for(here, capsys):
    count = "import socket\nfinal_answer(len(socket.if_nameindex()) > 1 or [*socket.if_nameindex()])"
    assert smol_run("--network", "full", "-o", "a.json", action=count) == 0
    assert "isolated: box, with the network" in capsys.readouterr().out
    assert (here / "a.json").read_text().strip() == "true"


def test_a_limit_of_the_box_is_set(here):
    ask = "import resource\nfinal_answer(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    assert smol_run("--box-limit", "open_files=100", "--box-limit", "memory=2GB", "-o", "a.json", action=ask) == 0
    assert (here / "a.json").read_text().strip() == "100"


def test_a_run_without_a_box_is_marked_in_the_list_of_runs(here, capsys):
    for options, unboxed in ([], False), (["--box", "off"], True):
        assert smol_run(*options) == 0
        capsys.readouterr()
        assert main(["runs", "-n", "1"]) == 0
        assert ("not isolated" in capsys.readouterr().out) is unboxed


def test_a_run_without_a_box_is_marked_in_its_notebook(here, capsys):
    for options, unboxed in ([], False), (["--box", "off"], True):
        assert smol_run(*options) == 0
        assert main(["export", "last", "--to", "run.ipynb", "--force"]) == 0
        notebook = nbformat.read(here / "run.ipynb", as_version=4)
        assert (UNBOXED in notebook.cells[0].source) is unboxed
        assert notebook.metadata["smol"]["unboxed"] is unboxed
        assert notebook.metadata["smol"]["isolation"] == ("none" if unboxed else "box")


DOUBLE = ["--model", "openai/double"]
TOOLS_ALONE = ["--type", "tool-calling"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--allow-host", "http://example.org"], "'http://example.org': give the name of a host"),
        (["--mount", "gone"], "mount 'gone': there is no such file or folder"),
        (["--mount", "/proc"], "cannot be mounted"),
        (["--network", "full", "--allow-host", "example.org"], 'no use with network="full"'),
        (["--box", "off", "--allow-host", "example.org"], "--allow-host: only a box can hold to it"),
        (["--box", "off", "--mount", "."], "--mount: only a box can hold to it"),
        (["--box", "off", "--network", "none"], "--network: only a box can hold to it"),
        (["--box-limit", "memroy=1GB"], "limit 'memroy': there is no such limit; there are memory"),
        (["--box-limit", "memory=much"], "limit memory 'much': give a whole number"),
        ([*TOOLS_ALONE, "--allow-host", "example.org"], "--allow-host: an agent of --type tool-calling runs no code"),
        ([*TOOLS_ALONE, "--box", "on"], "--box: an agent of --type tool-calling runs no code"),
    ],
)
def test_what_no_box_can_be_made_of_is_named_before_anything_runs(options, said, capsys):
    assert main(["run", "the task", "--model", "openai/none", *options]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1 and not shown.out
    assert not Journal().runs()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--mount", "../beside"], "--mount: only a box can hold to it, and SMOL_BOX=0 switches it off; leave one of"),
        (["--box", "off", "--mount", "../beside"], "--mount: only a box can hold to it, and the box is off; leave one"),
    ],
)
def test_what_switches_the_box_off_is_named(monkeypatch, capsys, options, said):
    monkeypatch.setenv("SMOL_BOX", "0")
    assert main(["run", "the task", "--model", "openai/none", *options]) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(ConfigError, match="mounts: only a box can hold to it, and SMOL_BOX=0 switches it off"):
        PythonInterpreterTool(executor_kwargs={"mounts": ["../beside"]})


# -- the interpreter of an agent of structured calls

INTERPRETER = [*TOOLS_ALONE, "--tool", "python_interpreter"]


def interpreted(*codes):
    calls = [ToolCall("python_interpreter", {"code": code}) for code in codes]
    return ModelServer(*calls, ToolCall("final_answer", {"answer": "done"}))


def observed(server):
    return str(server.requests[-1].body["messages"][-1])


def test_the_time_limit_of_an_action_is_that_of_the_interpreter_too():
    with interpreted("while True:\n    pass") as server:
        assert main(["run", "t", *DOUBLE, "--api-base", server.url, *INTERPRETER, "--timeout", "1"]) == 0
    assert "stopped after 1 s, the limit for one action" in observed(server)
    for options, seconds in (RunOptions(), 300), (RunOptions(timeout=None), None):
        (made,) = builtin_tools(options, ["python_interpreter"])
        assert made.timeout_seconds == seconds


LOOKS = "print(open('../beside/note.txt').read())"


@pytest.mark.parametrize("command", ["resume", "fork"])
def test_an_interpreter_goes_on_in_the_box_it_had(command, here, monkeypatch, capsys):
    begun = [*INTERPRETER, "--mount", "../beside", "--timeout", "60", "--max-steps", "1"]
    went_on = [command, "last", "--max-steps", "9"]
    with interpreted("1") as server, interpreted(LOOKS) as other:
        assert main(["run", "t", *DOUBLE, "--api-base", server.url, *begun]) == 1
        assert main(["export", "last", "--to", "run.json"]) == 0
        assert main([*went_on, "--api-base", other.url, "--model", "openai/double"]) == 0
    assert "seen" in observed(other)
    monkeypatch.setenv("SMOL_JOURNAL", str(here / "other.sqlite"))
    assert main(["import", "run.json"]) == 0
    with interpreted(LOOKS) as third:
        assert main([*went_on, "--api-base", third.url, "--model", "openai/double", "--accept"]) == 0
    assert "FileNotFoundError" in observed(third), "the record of somebody else mounts nothing"


def test_an_interpreter_goes_on_in_its_box_in_the_notebook(shell):
    with interpreted("1") as server, interpreted(LOOKS) as other:
        line = " ".join([*DOUBLE, "--api-base", server.url, *INTERPRETER, "--mount ../beside --max-steps 1"])
        shell.run_cell(f"%%agent {line}\nt")
        again = f"%agent resume --max-steps 9 --api-base {other.url} --model openai/double"
        assert shell.run_cell(again).error_in_exec is None
    assert "seen" in observed(other)


# -- in the notebook


def test_settings_hold_and_the_line_takes_their_place(shell, here, capsys):
    shell.run_cell("%config SmolMagic.mounts = ['../beside']")
    assert cell(shell, "", LOOK) is None
    assert shell.user_ns["answer"] is True
    assert cell(shell, "--mount .", LOOK) is None
    assert shell.user_ns["answer"] is False
    shell.run_cell("%config SmolMagic.box = False")
    capsys.readouterr()
    assert cell(shell, "", LOOK) is None
    assert shell.user_ns["answer"] is True
    assert UNBOXED in capsys.readouterr().out
    assert cell(shell, "--box on", LOOK) is None
    assert UNBOXED not in capsys.readouterr().out


def test_py_cells_work_in_the_box_of_the_settings(shell, capsys):
    shell.run_cell("%config SmolMagic.mounts = ['../beside']")
    assert shell.run_cell("%%py\nprint(open('../beside/note.txt').read())").error_in_exec is None
    assert "seen" in capsys.readouterr().out
    shell.run_line_magic("agent", "stop")
    shell.run_cell("%config SmolMagic.mounts = ['../gone']")
    assert "no such file" in str(shell.run_cell("%%py\n1").error_in_exec)


def test_a_conversation_keeps_the_box_it_began_in(shell, capsys):
    assert cell(shell, "--mount ../beside", "kept = 1\nfinal_answer(1)") is None
    assert cell(shell, "--continue", f"kept\n{LOOK}") is None
    assert shell.user_ns["answer"] is True
    assert cell(shell, "--continue --mount ../beside", "final_answer(kept)") is None
    error = cell(shell, "--continue --box off", LOOK)
    assert isinstance(error, CellError)
    assert "was started with other options (box)" in str(error) and "%agent stop" in str(error)
    assert cell(shell, "--continue", "final_answer(kept)") is None, "nothing is lost by that"


def test_the_state_says_how_actions_are_boxed(shell, monkeypatch, capsys):
    def state():
        capsys.readouterr()
        shell.run_line_magic("agent", "")
        return capsys.readouterr().out

    assert "actions are isolated: box\n" in state()
    shell.run_cell("%config SmolMagic.allow_hosts = ['example.org']")
    assert "actions are isolated: box, with example.org\n" in state()
    monkeypatch.setenv("SMOL_BOX", "off")
    assert "actions are not isolated\n" in state()
    assert cell(shell, "", "final_answer(1)") is None
    assert "last run: " in state() and "not isolated" in state().partition("last run: ")[2]
    monkeypatch.delenv("SMOL_BOX")
    assert "actions are not isolated; after %agent stop: isolated: box, with example.org" in state()


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("%%agent --box ", {"on", "off"}),
        ("%%agent --network f", {"full"}),
        ("%%agent --box-limit mem", {"memory="}),
        ("%%agent --allow", {"--allow-host"}),
        ("%%agent --mount da", {"data/"}),
    ],
)
def test_the_options_are_completed(shell, here, line, offers):
    (here / "data").mkdir()
    with provisionalcompleter():
        found = {line[: item.start] + item.text for item in shell.Completer.completions(line, len(line))}
    assert {text.split()[-1] for text in found} == offers


# -- the proof


NOTE = "x = open('../beside/note.txt').read()"


@pytest.fixture
def proves(shell):
    shell.run_cell("%config SmolMagic.prove = True")


@pytest.mark.usefixtures("proves")
def test_a_run_that_goes_on_is_proved_in_the_box_it_began_in(shell, capsys):
    assert cell(shell, "--mount ../beside --max-steps 1", NOTE, "'best so far'", "final_answer([x])") is None
    assert shell.run_cell("%agent resume --max-steps 3").error_in_exec is None
    assert shell.user_ns["answer"] == ["seen"] and "*Proved: " in next_cell(shell)
    assert cell(shell, "--mount ../beside", NOTE, "final_answer(x)") is None
    assert cell(shell, "--continue", "final_answer(len(x))") is None
    assert "*Proved: " in next_cell(shell), "with what the run before had made"
    capsys.readouterr()
    assert shell.run_cell("%agent export work.py --script").error_in_exec is None
    assert "Proved: " in capsys.readouterr().out


@pytest.mark.usefixtures("proves")
def test_the_mounts_that_are_set_serve_the_proof_of_a_run_without_a_box(shell):
    shell.run_cell("%config SmolMagic.mounts = ['../beside']")
    assert cell(shell, "--box off", NOTE, "final_answer([x])") is None
    assert "*Proved: " in next_cell(shell)


@pytest.mark.usefixtures("proves")
def test_without_a_box_the_mounts_of_a_run_are_not_why_it_is_not_proved(shell, monkeypatch, capsys):
    told = "Not proved: the box is off, and outside one the cells could change your files again."
    assert smol_run("--mount", "../beside", action=f"{NOTE}\nfinal_answer([x])") == 0
    monkeypatch.setenv("SMOL_BOX", "off")
    assert script_of_last(capsys) == told
    shell.run_cell("%config SmolMagic.mounts = ['../beside']")
    assert cell(shell, "", NOTE, "final_answer([x])") is None
    assert told in next_cell(shell)


def next_cell(shell):
    """The one that is offered: where nothing else takes it a terminal types it in."""
    return shell.rl_next_input


def script_of_last(capsys, *options):
    capsys.readouterr()
    assert main(["export", "last", "--to", "work.py", "--script", "--force", *options]) == 0
    return capsys.readouterr().out.splitlines()[0]


def test_an_export_is_proved_in_the_box_that_is_recorded(here, capsys):
    look = f"import resource\n{NOTE}\nfinal_answer([x, resource.getrlimit(resource.RLIMIT_NOFILE)[0]])"
    assert smol_run("--mount", "../beside", "--box-limit", "open_files=100", action=look) == 0
    assert script_of_last(capsys).startswith("Proved: ")
    (here.parent / "beside").rename(here.parent / "moved")
    said = script_of_last(capsys)
    assert said.startswith("Not reproduced: a file is not there any more")
    assert said.endswith("the proof was made without --mount ../beside (not there from this folder).")
    assert smol_run("--mount", "../moved", action="final_answer([1])") == 0
    (here.parent / "moved").rename(here.parent / "beside")
    assert script_of_last(capsys).startswith("Proved: "), "it does not need the mount"


def test_of_mounts_that_are_not_there_it_is_said_where_they_were_looked_for(here, monkeypatch, capsys):
    gone = here.parent / "gone"
    gone.mkdir()
    mounts = ["--mount", "../beside", "--mount", str(gone)]
    assert smol_run(*mounts, action=f"{NOTE}\nfinal_answer([x])") == 0
    gone.rmdir()
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    without = f"--mount ../beside (not there from this folder), --mount {gone} (not there any more)."
    assert script_of_last(capsys).endswith(f"; the proof was made without {without}")


def test_a_proof_leaves_a_writable_mount_as_it_is(here, capsys):
    added = "with open('../beside/note.txt', 'a') as file:\n    file.write('!')\n"
    assert smol_run("--mount", "../beside:rw", action=f"{added}{NOTE}\nfinal_answer([x])") == 0
    assert script_of_last(capsys).startswith("Not reproduced: the cells fail (OSError: ")
    assert (here.parent / "beside/note.txt").read_text() == "seen!"
    assert smol_run("--mount", "../beside:rw", action=f"{NOTE}\nfinal_answer([x])") == 0
    assert script_of_last(capsys).startswith("Proved: ")


WRITES = "import pathlib\nfile = pathlib.Path('{}')\nfile.write_text(file.read_text() + 'b')\nx = file.read_text()"


@pytest.fixture
def kept(here):
    """Files in a working folder, one by another name, that a run may write to; their names."""
    (here / "out").mkdir()
    (here / ".own").mkdir()
    (here / "same").symlink_to("out")
    for name in ("out/a.txt", ".own/a.txt", "b.txt"):
        (here / name).write_text("a")
    return here


@pytest.mark.parametrize(
    ("mount", "file"),
    [(".", "b.txt"), ("out", "out/a.txt"), ("b.txt", "b.txt"), ("same", "same/a.txt"), ("../work/out", "out/a.txt")],
)
def test_a_proof_writes_to_a_copy_of_a_writable_mount_in_the_working_folder(kept, capsys, mount, file):
    assert smol_run("--mount", f"{mount}:rw", action=f"{WRITES.format(file)}\nfinal_answer([x[-1]])") == 0
    assert (kept / file).read_text() == "ab"
    assert script_of_last(capsys).startswith("Proved: ")
    assert (kept / file).read_text() == "ab"


@pytest.mark.usefixtures("proves")
def test_the_proof_of_a_cell_writes_to_a_copy_of_a_writable_mount_in_the_working_folder(shell, kept, capsys):
    assert cell(shell, "--mount .:rw --mount out:rw", WRITES.format("out/a.txt"), "final_answer([x[-1]])") is None
    assert "*Proved: " in next_cell(shell)
    capsys.readouterr()
    assert shell.run_cell("%agent export work.py --script").error_in_exec is None
    assert "Proved: " in capsys.readouterr().out
    assert (kept / "out/a.txt").read_text() == "ab"


def test_a_proof_reads_a_writable_mount_that_the_working_folder_does_not_show(kept, monkeypatch, capsys):
    assert smol_run("--mount", ".own:rw", action="final_answer([open('.own/a.txt').read()])") == 0
    assert script_of_last(capsys).startswith("Proved: ")
    (kept / "home").mkdir()
    monkeypatch.setenv("HOME", str(kept / "home"))  # a folder around it is not shown at all
    assert smol_run("--mount", "out:rw", action=f"final_answer([open('{kept}/out/a.txt').read()])") == 0
    assert script_of_last(capsys).startswith("Proved: ")


def test_the_record_of_somebody_else_mounts_nothing_for_a_proof(here, monkeypatch, capsys):
    assert smol_run("--mount", "../beside", action=f"{NOTE}\nfinal_answer([x])") == 0
    assert main(["export", "last", "--to", "run.json"]) == 0
    monkeypatch.setenv("SMOL_JOURNAL", str(here / "other.sqlite"))
    assert main(["import", "run.json"]) == 0
    said = script_of_last(capsys)
    assert said.startswith("Not reproduced: a file is not there any more")
    assert said.endswith("the proof was made without --mount ../beside (asked for by the record of somebody else).")


# -- marks


def test_agents_of_tools_are_boxed_as_their_interpreter(make):
    assert make([], kind=ToolCallingAgent).isolation == "tools"
    assert make([], kind=ToolCallingAgent, tools=[PythonInterpreterTool()]).isolation == "box"
    unboxed = PythonInterpreterTool(executor_kwargs={"box": False})
    assert make([], kind=ToolCallingAgent, tools=[unboxed]).isolation == "none"
    assert make([], tools=[unboxed]).isolation == "none"


def started(run, isolation, **fields):
    facts = {"agent": "CodeAgent", "model": "m", "max_steps": 5, "system_prompt": "", "task": "t", **fields}
    return RunStarted(run=run, isolation=isolation, **facts)


def test_an_agent_that_was_called_without_a_box_marks_the_whole_run():
    transcript = Transcript.from_events([started("a", "box")])
    assert (transcript.isolation_words, transcript.marks) == ("isolated: box", [])
    transcript.feed(started("b", "none", parent="a", name="helper"))
    assert (transcript.isolation_words, transcript.marks) == ("not isolated: helper", [UNBOXED])
    data, metadata = account(transcript)
    assert all(UNBOXED in shown for shown in data.values())
    assert "⚠ not isolated: helper" in data["text/html"]
    assert metadata["smol"]["unboxed"] is True


def test_the_live_view_shows_the_mark_from_the_start_to_the_one_line_that_stays():
    transcript = Transcript()
    view = LiveView(transcript, lambda: None)
    view.show("t", "r", buttons=False)
    view.feed(started("a", "none"))
    view.fold(None)
    assert "⚠ not isolated" in view._title.value
    assert '<span class="smol-chip smol-bad">⚠ not isolated</span>' in view._head()


# -- where no box can be had

PROGRAM = """
import json
from smol_kernel import CodeAgent, ScriptedModel, ToolCallingAgent, PythonInterpreterTool
from smol_kernel.errors import BoxUnavailableError
from scripted_replies import call, code

def ended(agent):
    with_requests = agent.model
    states = []
    try:
        for event in agent.events("the task"):
            states += [[event.state, event.error]] if type(event).__name__ == "RunFinished" else []
    except BoxUnavailableError as error:
        return [len(with_requests.requests), states, str(error)]

options = {"verbosity_level": 0}
actor = CodeAgent([], ScriptedModel([code("1")] * 20), **options)
caller = ToolCallingAgent(
    [PythonInterpreterTool()], ScriptedModel([call("python_interpreter", code="1")] * 20), **options
)
free = CodeAgent([], ScriptedModel([code("final_answer(2)")]), executor_kwargs={"box": False}, **options)
print(json.dumps([ended(actor), ended(caller), free.run("the task")]))
free.cleanup()
"""


def test_a_run_ends_at_once_with_the_reason_and_the_remedy(here):
    done = run_without_namespaces("-c", PROGRAM, folder=here)
    assert done.returncode == 0, done.stderr
    *refused, answer = json.loads(done.stdout.splitlines()[-1])
    assert answer == 2
    for requests, ends, said in refused:
        assert requests == 1, "another try does not help"
        assert ends == [["error", said]]
        assert "user namespace" in said and "max_user_namespaces=10000" in said and "--box off" in said
    _, of_tools, of_code = runs = Journal().runs()
    assert [run.state for run in runs] == ["success", "error", "error"]
    for run in (of_tools, of_code):
        told = Transcript.from_events(Journal().events(run.run))
        assert told.isolation_words == "no box" and not told.unboxed


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        ((), Text(code("final_answer(7)"))),
        (("--type", "tool-calling", "--tool", "python_interpreter"), ToolCall("final_answer", {"answer": 7})),
    ],
)
def test_on_the_command_line_it_has_a_status_of_its_own(here, options, reply):
    with ModelServer(reply) as server:
        line = ("run", "the task", "--model", "openai/double", "--api-base", server.url, *options)
        variables = {"SMOL_ALLOW_MODEL_REQUESTS": "1"}
        refused = run_without_namespaces(*COMMAND, *line, folder=here, **variables)
        assert not server.requests, "nobody is paid for what cannot be run"
        free = run_without_namespaces(*COMMAND, *line, "--box", "off", folder=here, **variables)
    assert refused.returncode == 4, refused.stderr
    said = refused.stderr
    assert not refused.stdout and said.count("\n") == 1
    assert "--box off" in said and "max_user_namespaces=10000" in said
    assert "Traceback" not in said
    assert free.returncode == 0, free.stderr
    assert UNBOXED in free.stdout and "7" in free.stdout


def test_where_no_box_can_be_had_a_run_that_should_go_on_stays_as_it_is_and_a_fork_is_gone(here):
    assert smol_run("--max-steps", "1", action="x = 1") == 1
    run = Journal().runs()[0].run
    with ModelServer() as server:
        for command, where in (("fork", ""), ("resume", f" (smol show {run})")):
            line = (command, "last", "--model", "openai/double", "--api-base", server.url, "--max-steps", "3")
            refused = run_without_namespaces(*COMMAND, *line, folder=here, SMOL_ALLOW_MODEL_REQUESTS="1")
            assert refused.returncode == 4, refused.stderr
            assert "the journal has not all" not in refused.stderr
            assert refused.stderr.count("smol show") == bool(where) and where in refused.stderr
    assert [each.state for each in Journal().runs()] == ["max_steps_error"]


def test_the_demo_shows_nothing_of_a_box_that_it_cannot_have(here):
    refused = run_without_namespaces(*COMMAND, "demo", folder=here)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "no box can be built here" in refused.stderr


@pytest.mark.parametrize(
    ("isolation", "told", "words"),
    [
        ("box", [], "no box"),
        ("none", [], "not isolated"),
        ("box", [ActionFinished(status="ok")], "isolated: box"),
        ("box", [ToolCalled(call="c1", tool="other", summary="")], "isolated: box"),
    ],
    ids=["before any code", "in no box itself", "after an action", "of an agent that it called"],
)
def test_only_a_run_without_any_code_says_that_there_was_no_box(isolation, told, words):
    step = [StepStarted(), ActionProposed(thought="", code="other('x')"), *told]
    end = RunFinished(run="a", state="error", error="no box can be built here: namespaces: no", steps=1, seconds=0.0)
    events = [started("a", isolation), *(event.stamped("a", 1) for event in step), end]
    assert Transcript.from_events(events).isolation_words == words


CELLS = """
from IPython.core.interactiveshell import InteractiveShell
from smol_kernel import ScriptedModel
from scripted_replies import code
shell = InteractiveShell.instance()
shell.history_manager.enabled = False
shell.run_line_magic("load_ext", "smol_magic")
shell.user_ns["m"] = ScriptedModel([code("final_answer(1)"), code("final_answer(2)"), code("final_answer(3)")])
for cell in ("%%agent --model m -o answer\\nthe task", "%%py\\n1",
             "%%agent --model m -o answer --continue --box off\\ngo on",
             "%config SmolMagic.box = False", "%%py\\nprint('plain', 6 * 7)"):
    print("CELL", cell.split()[0])
    print("ENDED", type(shell.run_cell(cell).error_in_exec).__name__, shell.user_ns.get("answer"))
print("REQUESTS", len(shell.user_ns["m"].requests[-1]))
"""


def test_in_a_notebook_it_is_a_message_and_one_option_goes_on(here):
    done = run_without_namespaces("-c", CELLS, folder=here, IPYTHONDIR=str(here / "ipython"))
    assert done.returncode == 0, done.stderr
    first, py, again, _, plain = done.stdout.split("CELL")[1:]
    for shown in (first, py):
        assert "ENDED CellError None" in shown
        assert "--box off" in shown and "max_user_namespaces=10000" in shown.replace("\n", " ")
    assert "ENDED NoneType 2" in again and UNBOXED in again
    assert "plain 42" in plain
    assert "Traceback" not in done.stdout + done.stderr
    assert int(done.stdout.split("REQUESTS")[1]) > 2, "the conversation went on"
