"""What the options of `smol run` do: each against a model server, with a real kernel and a real MCP server."""

from __future__ import annotations

import base64
import json
import os
import pty
import runpy
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from model_server import ModelServer, Status, Text, ToolCall

from smol_kernel.journal import Journal
from smol_kernel.models.demo import DEMO_TASKS
from smol_kernel.models.fallback import FallbackModel
from smol_kernel.models.named import make_model
from smol_kernel.serve.cli import main

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MCP_SERVER = f"{sys.executable} {Path(__file__).with_name('mcp_server.py')} stdio"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder, a journal of its own, and no model set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.delenv("SMOL_MODEL", raising=False)
    monkeypatch.delenv("SMOL_API_BASE", raising=False)
    return tmp_path


PANDAS = "__import__('pandas')"


def code(text):
    return Text(f"I write code.\n```python\n{text}\n```")


def run(server, *options, model="openai/double"):
    return main(["run", "the task", "--model", model, "--api-base", server.url, *options])


def messages(server, number=-1):
    return str(server.requests[number].body["messages"])


def test_an_answer_that_fails_a_check_is_not_accepted(capsys):
    with ModelServer(code("final_answer(-1)"), code("final_answer(5)")) as server:
        assert run(server, "--check", "answer > 0", "--check", "answer < 9") == 0
    shown = capsys.readouterr().out
    assert "check failed: answer > 0" in shown
    assert "done · 2 steps · 1 failed check · " in shown
    main(["show", "last"])
    shown = capsys.readouterr().out
    assert "check failed: answer > 0" in shown and "1 failed check" in shown and "Answer: 5" in shown


@pytest.mark.parametrize(
    ("given", "file", "written"),
    [
        ("__import__('numpy').float64(3.5)", "answer.json", "3.5\n"),
        ("{'a': [__import__('numpy').int64(2)]}", "answer.json", '{\n  "a": [\n    2\n  ]\n}\n'),
        ("'a\\ud800b'", "answer.txt", "a?b\n"),
        ("{1980: (16.1, float('nan')), 1990: {3}}", "answer.json", '{"1980": [16.1, null], "1990": [3]}'),
        ("__import__('datetime').date(2020, 1, 2)", "answer.json", '"2020-01-02"'),
        ("[__import__('decimal').Decimal('1.5'), 2**70]", "answer.json", f'["1.5", {2**70}]'),
        ("__import__('numpy').array([[1, 2]])", "answer.json", "[[1, 2]]"),
        (f"{PANDAS}.DataFrame({{'a': [1], 'b': [None]}})", "answer.json", '[{"a": 1, "b": null}]'),
        (f"{PANDAS}.Series([2.5], index={PANDAS}.Index(['x'], name='k'))", "answer.json", '{"x": 2.5}'),
        (f"{PANDAS}.DataFrame({{'a': [1]}}, index=['x'])", "answer.json", '[{"index": "x", "a": 1}]'),
        (
            f"{PANDAS}.Series([{PANDAS}.Timestamp('2020'), {PANDAS}.NaT])",
            "answer.json",
            '["2020-01-01T00:00:00", null]',
        ),
        ("__import__('numpy').datetime64('2020-01-01T00', 'ns')", "answer.json", '"2020-01-01T00:00:00.000000000"'),
        ("{1: 'a', '1': 'b'}", "answer.json", '[["1", "a"], ["1", "b"]]'),
        (f"{PANDAS}.DataFrame({{'a': [1, 2], 'b': ['x', None]}})", "answer.csv", "a,b\n1,x\n2,\n"),
        (f"{PANDAS}.Series([2.5], index={PANDAS}.Index(['x'], name='k'), name='v')", "a.TSV", "k\tv\nx\t2.5\n"),
        ("[{'a': 1, 'b': 2}, {'a': 3}]", "answer.csv", "a,b\n1,2\n3,\n"),
        ("__import__('numpy').eye(2, dtype=int)", "answer.csv", "1,0\n0,1\n"),
        ("'a,b\\n1,2'", "answer.csv", "a,b\n1,2\n"),
        ("{'a': [1]}", "answer.csv", "{'a': [1]}\n"),
    ],
)
def test_an_answer_is_written_as_its_reader_wants_it(here, given, file, written):
    (here / file).write_text("what was there")
    with ModelServer(code(f"final_answer({given})")) as server:
        assert run(server, "-o", file) == 0
    found = (here / file).read_text()
    if file.endswith(".json"):
        assert json.loads(found) == json.loads(written)
    else:
        assert found == written


@pytest.mark.parametrize("file", ["answer.csv", "answer.txt", "answer.parquet"])
def test_a_long_table_is_written_whole(here, file, capsys):
    table = f"{PANDAS}.DataFrame({{'number': range(2000, 3000), 'text': ['x' * 200 + 'end'] * 1000}})"
    with ModelServer(code(f"final_answer({table})")) as server:
        assert run(server, "-o", file) == 0
    assert f"The answer is in {file}.\n" in capsys.readouterr().out
    shown = {"sep": r"\s+", "names": ["number", "text"], "skiprows": 1}
    read = pd.read_parquet(file) if file.endswith("parquet") else pd.read_csv(file, **shown if "txt" in file else {})
    assert list(read["number"]) == list(range(2000, 3000)) and set(read["text"]) == {"x" * 200 + "end"}


def test_a_long_list_is_written_whole(here):
    with ModelServer(code("final_answer(list(range(3000)))")) as server:
        assert run(server, "-o", "answer.txt") == 0
    assert json.loads((here / "answer.txt").read_text()) == list(range(3000))


@pytest.mark.parametrize(
    ("file", "status", "said"),
    [
        ("a.csv", 0, "The answer is in a.csv as its text: it is no table."),
        ("a.parquet", 1, "the answer could not be written to 'a.parquet': an int is no table"),
        ("a.xlsx", 2, "-o a.xlsx: an answer is written as text, .json, .csv, .tsv or .parquet; name such a file"),
    ],
)
def test_what_an_answer_cannot_be_written_as_is_said(here, file, status, said, capsys):
    with ModelServer(code("final_answer(42)")) as server:
        assert run(server, "-o", file) == status
    shown = capsys.readouterr()
    assert said in shown.out + shown.err
    assert (here / file).exists() == (status == 0)
    beside = list(here.glob("a.parquet.*.txt"))
    assert [path.read_text() for path in beside] == ["42\n"] * (status == 1)
    assert all(f"; its text is in {path}\n" in shown.err for path in beside)


def test_a_budget_that_is_used_up_gives_the_best_answer_and_status_3(here, capsys):
    action = "for n in range(2):\n    visit_webpage('nowhere')"
    with ModelServer(code(action), Text("The best I have is 7.")) as server:
        assert run(server, "--tool", "visit_webpage", "--max-tool-calls", "1", "-o", "a.txt") == 3
    shown = capsys.readouterr().out
    assert "Best answer\n   The best I have is 7." in shown and "out of budget · 1 step" in shown
    assert (here / "a.txt").read_text() == "The best I have is 7.\n"


def test_where_no_tokens_are_left_to_ask_for_it_there_is_no_answer(here, capsys):
    with ModelServer(code("1 + 1"), Text("The best I have is 7.")) as server:
        assert run(server, "--max-output-tokens", "7", "-o", "a.txt") == 3
    assert "Best answer" not in capsys.readouterr().out
    assert not (here / "a.txt").exists()
    assert len(server.requests) == 1


def test_the_best_answer_is_called_so_everywhere(here, capsys):
    with ModelServer(code("1 + 1"), Text("Perhaps 2.")) as server:
        assert run(server, "--max-steps", "1", "-o", "a.txt") == 1
    shown = capsys.readouterr().out
    assert "Best answer\n" in shown and "The best answer is in a.txt." in shown and "out of steps · 1 step" in shown
    assert (here / "a.txt").read_text() == "Perhaps 2.\n"
    main(["show", "last"])
    assert "Best answer: Perhaps 2." in capsys.readouterr().out


def test_a_limit_on_the_cost_ends_a_run_whose_price_is_unknown(capsys):
    with ModelServer(code("1 + 1"), code("final_answer(2)")) as server:
        assert run(server, "--max-cost", "0.5") == 3
    assert "what the model costs is unknown: limit its tokens" in (told := capsys.readouterr().out)
    assert "--max-output-tokens" in told


def test_an_agent_of_structured_calls_with_a_servers_tools(capsys):
    calls = ToolCall("echo", {"text": "from the server"}), ToolCall("final_answer", {"answer": "done it"})
    with ModelServer(*calls) as server:
        assert run(server, "--type", "tool-calling", "--mcp", MCP_SERVER) == 0
    assert "from the server" in messages(server)
    assert "done it" in capsys.readouterr().out


def test_a_script_of_built_in_tools_runs_as_it_is(here, capsys):
    calls = "print(echo(text='hi'))", "x = python_interpreter(code='print(6 * 7)')", "final_answer('42' in x)"
    with ModelServer(*map(code, calls)) as server:
        assert run(server, "--tool", "python_interpreter", "--mcp", MCP_SERVER) == 0
    for options in (["--script"], ["--script", "--no-proof"], []):
        capsys.readouterr()
        assert main(["export", "last", "--to", "work.py", "--force", *options]) == 0
        text = (here / "work.py").read_text()
        if options == ["--script"]:
            proved = "gave the same answer; calls of `python_interpreter` were answered from the record."
            assert proved in capsys.readouterr().out and proved in text
        else:
            assert "# - `echo`: a tool of an MCP server (`--mcp`)\n" in text
        assert "# - `python_interpreter`" not in text
        made = "python_interpreter = PythonInterpreterTool(timeout_seconds=300).forward"
        assert text.count(f"from smol_kernel import PythonInterpreterTool\n\n{made}\n") == 1
        found = runpy.run_path("work.py", {"echo": lambda text: text})
        assert "42" in found["x"]
        found["python_interpreter"].__self__.cleanup()
    assert main(["export", "last", "--to", "work.ipynb"]) == 0
    opening = json.loads((here / "work.ipynb").read_text())["cells"][0]["source"]
    made = f"from smol_kernel import PythonInterpreterTool; {made}"
    assert f"- `python_interpreter`: a built-in tool (`{made}`)" in "".join(opening)
    assert main(["export", "last", "--to", "work.ipynb", "--script", "--force"]) == 0
    cells = json.loads((here / "work.ipynb").read_text())["cells"]
    assert "PythonInterpreterTool" not in "".join(cells[0]["source"])
    assert [cell["cell_type"] for cell in cells[:4]] == ["markdown", "markdown", "code", "code"]


@pytest.mark.parametrize("option", [["--box-limit", "memory=1GB"], ["--timeout", "100"]])
def test_a_built_in_tool_with_a_box_of_its_own_is_only_named(here, option):
    with ModelServer(code("final_answer(python_interpreter(code='1'))")) as server:
        assert run(server, "--tool", "python_interpreter", *option) == 0
    assert main(["export", "last", "--to", "work.py", "--script", "--no-proof"]) == 0
    text = (here / "work.py").read_text()
    assert "# - `python_interpreter`: a built-in tool (`--tool`)" in text and "PythonInterpreterTool" not in text


def test_who_goes_on_with_one_of_two_servers_is_told_the_other(capsys):
    odd = f"{MCP_SERVER.removesuffix('stdio')}odd 30"
    with ModelServer(code("final_answer(1)")) as server:
        assert run(server, "--mcp", MCP_SERVER, "--mcp", odd) == 0
        capsys.readouterr()
        assert main(["fork", "last", "--api-base", server.url, "--mcp", MCP_SERVER]) == 2
    assert f"had tools of more MCP servers: give these as well, as in --mcp '{odd}'\n" in capsys.readouterr().err


def test_an_mcp_server_that_was_started_ends_with_the_run(here):
    with ModelServer(code("final_answer(pid())")) as server:
        assert run(server, "--mcp", MCP_SERVER, "-o", "pid.txt") == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int((here / "pid.txt").read_text()), 0)


def test_the_next_model_is_asked_when_one_fails(capsys):
    with ModelServer(Status(401), code("final_answer(1)")) as server:
        assert run(server, "--model", "openai/third", model="openai/first,openai/second") == 0
    assert [request.body["model"] for request in server.requests] == ["first", "second"]
    assert "openai/first failed" in capsys.readouterr().out


def test_several_models_can_be_named_in_the_environment(monkeypatch):
    monkeypatch.setenv("SMOL_MODEL", "openai/a, demo")
    model = make_model(None)
    assert isinstance(model, FallbackModel)
    assert [each.model_id for each in model.models] == ["openai/a", "demo"]


def test_images_instructions_and_tools_reach_the_model(here):
    (here / "dot.png").write_bytes(PIXEL)
    with ModelServer(code("final_answer(1)")) as server:
        assert run(server, "--image", "dot.png", "--instructions", "Speak Latin.", "--tool", "visit_webpage") == 0
    system, task = server.requests[0].body["messages"]
    assert "Speak Latin." in str(system) and "visit_webpage" in str(system)
    assert f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}" in str(task)


def test_a_plan_is_made_every_so_many_steps(capsys):
    steps = Text("The first plan."), code("x = 1"), Text("The second plan."), code("final_answer(x)")
    with ModelServer(*steps) as server:
        assert run(server, "--plan", "1") == 0
    shown = capsys.readouterr().out
    assert "The first plan." in shown and "The second plan." in shown


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--max-cost", "0"], 2, "--max-cost is 0: give a number above 0"),
        (["--max-input-tokens", "-5"], 2, "--max-input-tokens is -5"),
        (["--max-seconds", "inf"], 2, "--max-seconds is inf"),
        (["--plan", "0"], 2, "--plan is 0"),
        (["--check", "answer ="], 2, "--check answer =: this is no Python expression"),
        (["--check", "answer", "--type", "tool-calling"], 2, "needs --type code"),
        (["--tool", "websearch"], 2, "--tool websearch: there is no such built-in tool; there are web_search"),
        (["--image", "gone.png"], 2, "--image gone.png: No such file"),
        (["--image", "text.png"], 2, "--image text.png: the file is no image"),
        (["--image", "sound.wav"], 2, "--image sound.wav: the file is no image"),
        (["--mcp", " "], 2, "--mcp is empty"),
        (["--mcp", "npx 'server"], 2, "--mcp npx 'server: the command cannot be read"),
        (["--mcp", "ftp://127.0.0.1/mcp"], 2, "write it in full"),
        (["--mcp", "/no/such/server"], 1, "/no/such/server"),
        (["--type", "tool-calling"], 2, "leave --type out"),
    ],
)
def test_a_bad_value_is_named_before_anything_runs(here, options, status, said, capsys):
    (here / "text.png").write_text("no image")
    (here / "sound.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    task = DEMO_TASKS[0].task if options[0] == "--type" else "the task"
    assert main(["run", task, "--model", "demo" if options[0] == "--type" else "openai/none", *options]) == status
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1 and not shown.out
    assert not Journal().runs()


FORGING = """
from getpass import getpass
name = input("\\nAnswer\\n   42\\n\\ndone · 1 step · 1.2 s" + " " * 200 + "root@host:~# ")
key = getpass("\\n[sudo] password for root: ")
final_answer(name + key + user_input("\\nroot@host:~#"))
"""


def test_the_words_of_an_action_that_asks_are_marked_as_its_own(tmp_path):
    here, terminal = pty.openpty()
    asked, screen = ["~#", "for root:", "~#"], ""
    with ModelServer(Text(f"I ask.\n<code>{FORGING}</code>")) as server:
        command = [sys.executable, "-m", "smol_kernel", "run", "--model", "openai/double"]
        command += ["--api-base", server.url, "--tool", "user_input", "Ask."]
        plain = {"NO_COLOR": "1", "COLUMNS": "80", "TERM": "dumb"}
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
        process = subprocess.Popen(command, **streams, start_new_session=True, env={**os.environ, **plain})
        os.close(terminal)
        while asked or "Answer" not in screen.rpartition("\0")[2]:
            screen += os.read(here, 4096).decode(errors="replace")
            _, told, last = screen.rpartition("What you type goes to it:")
            if told and asked and "\0" not in last and asked[0] in last:
                asked.pop(0)
                screen += "\0"
                os.write(here, b"x\n")
        process.wait()
        os.close(here)
    _, *parts = screen.split("asks")
    assert len(parts) == 3 and parts[1].startswith(" for a password. What you type goes to it:")
    for part in parts:
        first, *lines = part.replace("\r", "").partition("\0")[0].split("\n")
        assert first.endswith("What you type goes to it:")
        assert lines and all(line.startswith("   | ") and len(line) < 80 for line in lines[:-1] if line)
        assert lines[-1].startswith(("   | ", "Your answer: "))
