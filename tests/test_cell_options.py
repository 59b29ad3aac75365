"""What the options of a `%%agent` line do, in a plain IPython shell: agents, structured calls, checks, limits, images,
MCP servers; and that plain tools of every agent run on the notebook's main thread."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import sys
from pathlib import Path

import pytest
from loaded_shell import loaded_shell
from PIL import Image

from smol_kernel import ChatMessage, CodeAgent, ScriptedModel, ToolCallingAgent, tool
from smol_kernel.events import ActionProposed
from smol_kernel.journal import Journal
from smol_magic.endings import CellError

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MCP_SERVER = f"{sys.executable} {Path(__file__).with_name('mcp_server.py')} stdio"


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    monkeypatch.delenv("SMOL_MODEL", raising=False)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    with loaded_shell() as shell:
        yield shell


@pytest.fixture
def query():
    """A plain tool on a connection that only this thread may use."""
    base = sqlite3.connect(":memory:")
    base.execute("create table t (n)")
    base.execute("insert into t values (42)")

    @tool
    def query(sql: str) -> list:
        """Rows.

        Args:
            sql: A statement.
        """
        return [list(row) for row in base.execute(sql)]

    yield query
    base.close()


def code(source):
    return f"I do it.\n```python\n{source}\n```"


def calls(name, **arguments):
    call = {"id": "id1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return ChatMessage.from_dict({"role": "assistant", "content": "", "tool_calls": [call]})


def last_message(messages):
    return calls("final_answer", answer=messages[-1].text)


def run(shell, line, *replies, task="the task"):
    """What a cell with this line ended with; the model gives `replies`, and the answer is `answer`."""
    shell.user_ns["m"] = ScriptedModel(list(replies))
    return shell.run_cell(f"%%agent --model m -o answer {line}\n{task}").error_in_exec


WITHOUT_AWAIT = "get_ipython().run_cell_magic('agent', '--model m -o answer --agent helper', 'what is there?')"


@pytest.mark.parametrize("cell", ["%%agent --model m -o answer --agent helper\nwhat is there?", WITHOUT_AWAIT])
def test_tools_of_agents_that_the_agent_calls_run_on_this_thread(shell, query, cell):
    reader = CodeAgent([query], ScriptedModel([code("final_answer(query('select n from t'))")]), name="reader",
                       description="Reads.", journal=False)  # fmt: skip
    caller = ToolCallingAgent([], ScriptedModel([calls("reader", task="read"), last_message]), managed_agents=[reader],
                              name="caller", description="Calls.", journal=False)  # fmt: skip
    shell.user_ns |= {"reader": reader, "helper": caller, "m": ScriptedModel([code("final_answer(caller('read'))")])}
    assert shell.run_cell(cell).error_in_exec is None
    assert "42" in shell.user_ns["answer"]
    shell.run_line_magic("agent", "stop")
    assert reader.python_executor.names() == []  # its child has ended too


def test_an_agent_of_structured_calls_has_its_tools_on_this_thread(shell, query):
    shell.user_ns["query"] = query
    assert run(shell, "--type tool-calling", calls("query", sql="select n from t"), last_message) is None
    assert "42" in shell.user_ns["answer"]


def test_a_conversation_goes_on_in_another_way_of_acting(shell):
    assert run(shell, "", code("kept = 41\nfinal_answer(kept)")) is None
    told = []
    assert (
        run(shell, "--continue --type tool-calling", lambda m: told.append(m) or calls("final_answer", answer=1))
        is None
    )
    assert "kept = 41" in str(told)
    assert run(shell, "--continue", code("final_answer(kept + 1)")) is None
    assert shell.user_ns["answer"] == 42


def test_pictures_keep_their_names_and_those_of_the_notebook_theirs(shell):
    @tool
    def paint(colour: str) -> Image.Image:
        """Paints.

        Args:
            colour: Of it.
        """
        return Image.new("RGB", (2, 3), colour)

    def lines():
        events = Journal().events(shell.smol_session.agent.run_id)
        return [event.code for event in events if isinstance(event, ActionProposed)]

    shell.user_ns |= {"paint": paint, "image_1": "mine"}
    replies = calls("paint", colour="red"), calls("final_answer", answer="image.png")
    assert run(shell, "--type tool-calling", *replies) is None
    assert lines() == ["image_2 = paint(colour='red')", "final_answer(answer=image_2)"]
    assert run(shell, "--continue --type tool-calling", calls("paint", colour="blue"), replies[1]) is None
    assert lines() == ["image_3 = paint(colour='blue')", "final_answer(answer=image_2)"]
    shell.run_cell(f"{lines()[0]}\nimage_2 = paint(colour='red')", store_history=True)
    assert run(shell, "--type tool-calling", *replies) is None
    assert lines()[0] == "image_2 = paint(colour='red')"


def test_options_of_one_run_are_those_of_no_other(shell, capsys):
    assert (
        run(
            shell,
            "--check 'answer > 0' --instructions 'Speak Latin.'",
            code("final_answer(-1)"),
            code("final_answer(2)"),
        )
        is None
    )
    assert shell.user_ns["answer"] == 2
    assert "2 steps · 1 failed check" in capsys.readouterr().out
    assert "Speak Latin." in shell.user_ns["m"].requests[0][0].text
    assert run(shell, "--continue", code("final_answer(-1)")) is None
    assert shell.user_ns["answer"] == -1
    assert "Speak Latin." not in shell.user_ns["m"].requests[0][0].text


def test_a_check_cell_is_made_also_where_proofs_are_set_off(shell):
    assert run(shell, "--prove-cell", code("final_answer(42)")) is None
    assert "Proved: " in shell.rl_next_input and shell.rl_next_input.endswith("assert answer == 42")


def test_the_best_answer_of_a_budget_that_is_used_up_lands_in_the_namespace(shell, capsys):
    @tool
    def look() -> int:
        """Looks."""
        return 1

    shell.user_ns["look"] = look
    assert run(shell, "--max-tool-calls 1", code("look()\nlook()"), "Perhaps 7.") is None
    assert shell.user_ns["answer"] == "Perhaps 7."
    assert "Best answer\n   Perhaps 7." in capsys.readouterr().out
    assert shell.run_cell("%agent").error_in_exec is None
    assert "out of budget · 1 step" in capsys.readouterr().out
    error = run(shell, "--max-seconds 0.01", code("import time\ntime.sleep(60)"))
    assert isinstance(error, CellError)
    assert "The budget is used up" in str(error)


def test_images_are_variables_and_files(shell, tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "dot.png").write_bytes(PIXEL)
    shell.user_ns |= {"drawn": image.new("RGB", (3, 2)), "path": tmp_path / "dot.png", "raw": PIXEL}
    assert run(shell, "--image drawn --image dot.png --image path --image raw", code("final_answer(1)")) is None
    parts = shell.user_ns["m"].requests[0][1].content
    first, *others = [part["image"] for part in parts if part["type"] == "image"]
    assert first.size == (3, 2)
    assert len(others) == 3


def test_an_mcp_server_stays_until_the_session_ends_and_comes_again(shell, capsys):
    pids = []
    for _ in range(2):
        assert run(shell, f"--mcp '{MCP_SERVER}'", code("final_answer(pid())")) is None
        pids.append(int(shell.user_ns["answer"]))
    assert pids[0] == pids[1]
    shell.run_line_magic("agent", "stop")
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    assert run(shell, f"--mcp '{MCP_SERVER}'", code("final_answer(pid())")) is None
    assert int(shell.user_ns["answer"]) != pids[0]


def test_a_server_that_died_is_started_again_by_the_next_call(shell):
    source = "first = pid()\ntry:\n    die()\nexcept Exception:\n    pass\nfinal_answer((first, pid()))"
    assert run(shell, f"--mcp '{MCP_SERVER}'", code(source)) is None
    first, second = shell.user_ns["answer"]
    assert first != second


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--max-cost none", "invalid float value: 'none'"),
        ("--max-cost -1", "--max-cost is -1: give a number above 0"),
        ("--no-write --prove-cell", "--prove-cell: not allowed with argument --no-write"),
        ("--type fast", "invalid choice: 'fast'"),
        ("--check 'answer >'", "this is no Python expression"),
        ("--tool google", "there is no such built-in tool"),
        ("--agent raeder", "Did you mean reader?"),
        ("--agent five", "variable 'five' is an int, not an agent"),
        ("--agent nameless", "neither name nor description"),
        ("--image five", "variable 'five' is an int, not an image or its file"),
        ("--image gone.png", "--image gone.png: No such file"),
        ("--mcp /no/such/server", "/no/such/server"),
    ],
)
def test_a_bad_value_is_named_and_nothing_is_run(shell, capsys, line, says):
    shell.user_ns |= {"five": 5, "reader": None, "nameless": CodeAgent([], ScriptedModel([]), journal=False)}
    error = run(shell, line, code("final_answer(1)"))
    assert isinstance(error, CellError)
    assert says in str(error)
    assert "Traceback" not in "".join(capsys.readouterr())
    assert not Journal().runs()
