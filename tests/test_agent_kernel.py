"""The Agent kernel as a Jupyter client meets it: installed by `smol kernel install`, started by its kernel.json."""

from __future__ import annotations

from pathlib import Path

import jupyter_kernel_test
import psutil
import pytest
from jupyter_client.manager import start_new_kernel

import smol_kernel
from smol_kernel.serve.agent_kernel import is_python, is_task
from smol_kernel.serve.cli import main

PATIENCE = 60  # seconds until a kernel that says nothing counts as hung


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory):
    """The kernel in a Jupyter folder of its own, away from anybody's settings."""
    folder = tmp_path_factory.mktemp("agent-kernel")
    assert main(["kernel", "install", "--prefix", str(folder)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "share" / "jupyter"))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("SMOL_JOURNAL", str(folder / "journal.sqlite"))
        patch.setenv("PYTHONPATH", str(Path(smol_kernel.__file__).parent.parent))
        patch.delenv("SMOL_MODEL", raising=False)
        yield


class Cell:
    """What came of one cell: the reply's content, and the outputs by message type."""

    def __init__(self, client, code, **options):
        self.outputs = []
        self.reply = client.execute_interactive(
            code, timeout=PATIENCE, output_hook=self.outputs.append, allow_stdin=False, **options
        )["content"]

    @property
    def text(self):
        texts = [message["content"].get("text", "") for message in self.outputs]
        texts += [message["content"].get("data", {}).get("text/plain", "") for message in self.outputs]
        return "\n".join(filter(None, texts))

    @property
    def error(self):
        """What the reply tells of it, to a person and to a program."""
        return "\n".join([*self.reply["traceback"], self.reply["evalue"]])


@pytest.fixture(scope="module")
def kernel(installed):
    manager, client = start_new_kernel(kernel_name="agent", startup_timeout=PATIENCE)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture
def client(kernel):
    return kernel[1]


SCRIPT = """%%host
from smol_kernel import ScriptedModel, tool

@tool
def double(number: int) -> int:
    \"\"\"Twice a number.

    Args:
        number: The number.
    \"\"\"
    return 2 * number

scripted = ScriptedModel([
    "I call the tool.\\n<code>\\nx = double(21)\\nfinal_answer(x)\\n</code>",
    "I look at what is there.\\n<code>\\nfinal_answer(x + 1)\\n</code>",
])
"""


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("In which year was it?", True),
        ("draw df", True),
        ("   \n\nindented text", True),
        ("print(1)", True),
        ("? what is this", True),
        ("", False),
        (" \n", False),
        ("%agent", False),
        ("\n%%py\n1", False),
        ("# a comment\n\n%%py\n1", False),
        ("# A heading\nand what to do", True),
        ("!ls", False),
        ("print?", False),
        ("df.head??", False),
        ("?print", False),
        ("%agent?", False),
    ],
)
def test_text_is_a_task_and_signs_of_ipython_are_not(cell, expected):
    assert is_task(cell) is expected


@pytest.mark.parametrize(
    "cell",
    [
        "import pandas as pd\ndf2 = pd.DataFrame()",
        "x = 5",
        "x: int = 5",
        "# my remark\nfor x in y:\n    print(x)",
        "def f(): pass",
        "df.head()",
        "await f()",
        "x\nprint(x)",
        "print (x)",
        "import numpy",
        "import os\n!ls",
        "import pandas as pd\n%matplotlib inline",
        "    x = 1",
    ],
)
def test_python_is_told_from_words(cell):
    assert is_python(cell)


@pytest.mark.parametrize(
    "cell",
    [
        *("help", "sum", "42", "continue", "pass", "return home", "raise prices", "del duplicates", "assert dominance"),
        *("global warming", "a or b", "not now", "one in two", "Result: x", "'draw it'", "What is x = 5?", "print x"),
        *("Solve: x**2 = 4", "Goal: profit = revenue - cost", "Berechne: summe = a + b", "Revenue (2023)"),
        *("Explain\n\nfor i in x:\n    print(i)", "import sales_of_last_year", "await approval"),
        *(">>> x = 5", "Use this:\n\nx = 5", "# a remark", "f(1) is wrong. Why?", "(" * 1000),
    ],
)
def test_words_that_python_could_read_stay_a_task(cell):
    assert not is_python(cell)


def test_a_plain_cell_without_a_model_says_what_to_set(client):
    cell = Cell(client, "What is 6 times 7?")
    assert cell.reply["status"] == "error"
    said = "\n".join(cell.reply["traceback"])
    assert "SMOL_MODEL" in said
    assert "Traceback" not in said


def test_a_line_written_over_is_seen_while_it_changes_and_stays_once(client):
    Cell(client, SCRIPT)  # the call lets out what there is
    code = (
        "import sys\nfor n in 'one', 'second', 'the end':\n    print(f'\\r{n}', end='', file=sys.stderr)\n    double(1)"
    )
    cell = Cell(client, f"%%py\n{code}\nprint('after')")
    moving = "".join(output["content"]["text"] for output in cell.outputs if output["content"].get("name") == "stderr")
    assert moving == "\rone\rsecond\rthe end\r       \rthe end"


def test_plain_cells_are_one_conversation_with_the_tools_of_the_host(client):
    assert Cell(client, SCRIPT).reply["status"] == "ok"
    assert Cell(client, "%agent model scripted").reply["status"] == "ok"
    first = Cell(client, "What is 21 doubled?")
    assert first.reply["status"] == "ok"
    assert "42" in first.text
    second = Cell(client, "And one more than that?")
    assert second.reply["status"] == "ok"
    assert "43" in second.text
    assert "42" in Cell(client, "%%py\nx").text


def test_a_plain_cell_keeps_its_prompts(client):
    """IPython strips what looks like one from each cell."""
    code = "from smol_kernel import ScriptedModel\nasked = []\ndef reply(messages):\n    asked.append(messages)\n"
    code += "    return '<code>\\nfinal_answer(1)\\n</code>'\nscripted = ScriptedModel([reply])"
    assert Cell(client, f"%%host\n{code}").reply["status"] == "ok"
    Cell(client, "%agent model scripted")
    assert Cell(client, ">>> f(1)\n2\nWhat does this do?\n>>> g(2)").reply["status"] == "ok"
    said = Cell(client, "%%host\nprint(asked[0][-1].content[0]['text'])").text
    assert ">>> f(1)\n2\nWhat does this do?\n>>> g(2)" in said


def test_a_plain_cell_of_python_is_refused_and_says_where_it_goes(client):
    code = "from smol_kernel import ScriptedModel\nscripted = ScriptedModel(['<code>\\nfinal_answer(7)\\n</code>'])"
    assert Cell(client, f"%%host\n{code}").reply["status"] == "ok"
    Cell(client, "%agent model scripted")
    refused = Cell(client, "import os\nkept = 1")
    assert refused.error.count("%%py (the agent's kernel)") == 2 and "Traceback" not in refused.error
    assert "7" in Cell(client, "%%agent --continue\nkept = 1").text  # no reply was used up


def test_parameters_of_papermill_go_to_the_host_and_a_task_of_that_title_does_not(client):
    assert Cell(client, "# Parameters\nalpha = 7\nname = 'x'\n").reply["status"] == "ok"
    assert "(7, 'x')" in Cell(client, "%%host\nalpha, name").text
    Cell(
        client,
        "%%host\nfrom smol_kernel import ScriptedModel\nm = ScriptedModel(['<code>\\nfinal_answer(7)\\n</code>'])",
    )
    Cell(client, "%agent model m")
    assert "7" in Cell(client, "# Parameters\nWhich of them matter?").text


def test_a_console_is_left_and_a_page_has_no_such_word(installed):
    manager, client = start_new_kernel(kernel_name="agent", startup_timeout=PATIENCE)

    def sent(code, stdin, **metadata):
        content = {"code": code, "silent": False, "allow_stdin": stdin, "stop_on_error": False}
        message = client.session.msg("execute_request", content, metadata=metadata)
        client.shell_channel.send(message)
        reply = client.get_shell_msg(timeout=PATIENCE)
        while reply["parent_header"]["msg_id"] != message["header"]["msg_id"]:
            reply = client.get_shell_msg(timeout=PATIENCE)
        return reply["content"]

    try:
        assert "SMOL_MODEL" in sent("exit", stdin=True, cellId="c1")["evalue"]
        assert "SMOL_MODEL" in sent("quit", stdin=False)["evalue"]
        assert "%%py" in sent("exit()", stdin=True, cellId="c1")["evalue"]
        (payload,) = sent("exit", stdin=True)["payload"]
        assert payload["source"] == "ask_exit"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_wrong_setting_of_the_profile_is_named_and_can_be_set_right(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    (tmp_path / "profile_default").mkdir()
    (tmp_path / "profile_default" / "ipython_config.py").write_text("c.SmolMagic.timeout = '60 s'\n")
    manager, client = start_new_kernel(kernel_name="agent", startup_timeout=PATIENCE)
    try:
        for cell in ("Hello?", "How many rows?", "%load_ext smol_magic"):
            refused = Cell(client, cell)
            assert refused.error.count("c.SmolMagic.timeout expected a float, not the str '60 s'") == 2
            assert "Traceback" not in refused.error
        Cell(client, "%config SmolMagic.timeout = 60")
        for cell in ("Hello?", "How many rows?"):
            assert "SMOL_MODEL" in Cell(client, cell).error
        assert "an action at most 60 s" in Cell(client, "%agent").text
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_py_runs_in_the_child_and_host_in_the_kernel(client):
    assert Cell(client, "%%py\nwhere = 'child'\nimport os; pid = os.getpid()").reply["status"] == "ok"
    assert Cell(client, "%%host\nwhere = 'host'\nimport os; pid = os.getpid()").reply["status"] == "ok"
    assert "'child'" in Cell(client, "%%py\nwhere").text
    assert "'host'" in Cell(client, "%%host\nwhere").text
    assert Cell(client, "%%py\npid").text != Cell(client, "%%host\npid").text


def test_help_is_of_what_the_agent_has_and_else_of_the_kernel(client):
    code = "def {0}():\n    'in the {1}'\n    return '{1} code'"
    assert Cell(client, "%%py\n" + code.format("both", "child")).reply["status"] == "ok"
    for name, where in (("both", "host"), ("only", "host")):
        assert Cell(client, "%%host\n" + code.format(name, where)).reply["status"] == "ok"
    for asked, shown in (("both?", "in the child"), ("??both", "child code"), ("only?", "in the host")):
        assert shown in str(Cell(client, asked).reply["payload"])


def test_a_word_that_names_nothing_is_a_question(client):
    assert Cell(client, SCRIPT).reply["status"] == "ok"
    assert Cell(client, "%agent model scripted").reply["status"] == "ok"
    cell = Cell(client, "Why?")
    assert cell.reply["status"] == "ok" and "42" in cell.text
    for asked in ("double?", "timeit?", "?Why", "x.nothing?"):
        assert "42" not in Cell(client, asked).text


def test_host_is_a_magic_like_others(client):
    assert "%%host" in Cell(client, "%lsmagic").text
    assert "defined in here" in str(Cell(client, "%%host?").reply["payload"])
    assert Cell(client, "%%time\n%%host\nthere = 5").reply["status"] == "ok"
    assert "5" in Cell(client, "%%host\nthere").text
    client.complete("%%ho")
    reply = client.get_shell_msg(timeout=PATIENCE)
    while reply["msg_type"] != "complete_reply":
        reply = client.get_shell_msg(timeout=PATIENCE)
    assert "%%host" in reply["content"]["matches"]


def test_code_behind_host_is_no_code_and_not_lost_silently(client):
    cell = Cell(client, "%%host where = 'lost'")
    assert cell.error.count("%%host takes no options, but found \"where = 'lost'\"") == 2


def test_the_value_of_a_py_cell_comes_behind_what_it_printed_and_not_at_all_where_nobody_wants_it(client):
    kinds = [output["msg_type"] for output in Cell(client, "%%py\nprint('first')\n'second'").outputs]
    assert [kind for kind in kinds if kind in ("stream", "execute_result")] == ["stream", "execute_result"]
    for code in ("7 * 6;", "7 * 6;  # a remark"):
        assert "42" not in Cell(client, f"%%py\n{code}").text
    assert "42" in Cell(client, "%%py\n7 * 6").text
    assert "42" not in Cell(client, "%%py\n7 * 6", silent=True).text


def test_errors_of_the_host_keep_their_line_numbers(client):
    cell = Cell(client, "# comment\n%%host\n\n1 / 0")
    assert "line 4" in "\n".join(cell.reply["traceback"]).replace("\x1b[0m", "")


def test_host_takes_cell_magics(client):
    cell = Cell(client, "%%host\n%%capture said\nprint('kept')")
    assert cell.reply["status"] == "ok"
    assert "kept" in Cell(client, "%%host\nsaid.stdout").text


def test_its_help_tells_of_its_own_cells(client):
    lines = Cell(client, "%agent help").text.splitlines()
    assert lines[0].startswith("a plain cell ") and any(line.startswith("%%host ") for line in lines)


def test_completion_and_inspection_ask_the_namespace_where_the_cell_runs(client):
    Cell(client, "%%py\nzebra_of_child = 1")
    Cell(client, "%%host\nzebra_of_host = 'striped'")

    def completed(code):
        reply = client.complete(code, reply=True, timeout=PATIENCE)["content"]
        return [code[: reply["cursor_start"]] + match for match in reply["matches"]]

    assert completed("%%py\nzebra_of") == ["%%py\nzebra_of_child"]
    assert completed("%%host\nzebra_of") == ["%%host\nzebra_of_host"]
    assert completed("first line\nwhat is zebra_of") == ["first line\nwhat is zebra_of_child"]
    assert "%%agent" in completed("%%agen")
    assert not any("%" in each for each in completed("How large is x"))

    def inspected(code):
        return client.inspect(code, reply=True, timeout=PATIENCE)["content"]

    assert inspected("%%py\nzebra_of_child")["found"]
    assert not inspected("%%py\nzebra_of_host")["found"]
    assert "striped" in inspected("%%host\nzebra_of_host")["data"]["text/plain"]


def test_a_silent_request_is_python_of_the_front_end_and_no_task(client):
    assert Cell(client, "probe = 5", silent=True).reply["status"] == "ok"
    assert "5" in Cell(client, "%%host\nprobe").text


def test_what_ipython_runs_by_itself_is_no_task(client):
    assert Cell(client, "%%capture said\nprint('captured')").reply["status"] == "ok"
    assert "captured" in Cell(client, "%%host\nsaid.stdout").text


def test_an_interrupt_stops_the_child_and_keeps_its_names(kernel):
    manager, client = kernel
    Cell(client, "%%py\nkept = 'still here'")
    # The next cell is sent at the reply, before the kernel is idle: one that stops on error would still turn it away.
    request = client.execute("%%py\nprint('started', flush=True)\nwhile True: pass", stop_on_error=False)
    while True:
        message = client.get_iopub_msg(timeout=PATIENCE)
        if message["msg_type"] == "stream" and "started" in message["content"]["text"]:
            break
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=PATIENCE)
    assert reply["parent_header"]["msg_id"] == request
    assert reply["content"]["status"] == "error"
    after = Cell(client, "%%py\nkept")
    assert "still here" in after.text, (after.reply, after.outputs)


def test_the_kernel_says_what_it_is(client):
    info = client.kernel_info(reply=True, timeout=PATIENCE)["content"]
    assert info["implementation"] == "smol-kernel"
    assert info["implementation_version"] == smol_kernel.__version__
    assert "A plain cell is a task" in info["banner"]
    assert info["language_info"]["name"] == "python"
    assert info["language_info"]["mimetype"] == "text/x-python"


def test_a_restart_ends_the_child_and_starts_afresh(installed):
    manager, client = start_new_kernel(kernel_name="agent", startup_timeout=PATIENCE)
    try:
        assert Cell(client, "%%py\nleft = 1").reply["status"] == "ok"
        children = psutil.Process(manager.provisioner.pid).children(recursive=True)
        assert children
        manager.restart_kernel()
        client.wait_for_ready(timeout=PATIENCE)
        assert psutil.wait_procs(children, timeout=PATIENCE)[1] == []
        assert Cell(client, "%%py\nleft").reply["ename"] == "ChildError"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_its_own_modules_do_not_come_from_the_notebook_s_folder_and_those_of_cells_do(installed, tmp_path):
    for name in ("ipykernel", "tornado", "zmq", "IPython", "traitlets"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('of the folder')")
    (tmp_path / "mine.py").write_text("here = 'of the folder'")
    manager, client = start_new_kernel(kernel_name="agent", startup_timeout=PATIENCE, cwd=str(tmp_path))
    try:
        assert "of the folder" in Cell(client, "%%host\nimport mine\nmine.here").text
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


class TestProtocol(jupyter_kernel_test.KernelTests):
    """Jupyter's own test suite for kernels; its samples run in the child."""

    kernel_name = "agent"
    language_name = "python"
    file_extension = ".py"

    code_hello_world = "%%py\nprint('hello, world')"
    code_stderr = "%%py\nimport sys; print('test', file=sys.stderr)"
    completion_samples = (
        {"text": "%%py\nzebr", "matches": {"zebra"}},
        {"text": "what is zebr", "matches": {"zebra"}},
        {"text": "%%host\nfrom sy"},
    )
    complete_code_samples = ("%%py\nx = 1", "%%host\nprint('a')", "a task for the agent", "%agent")
    incomplete_code_samples = ("%%py", "%%py\nfor i in range(3):", "%%host\nprint('''one")
    invalid_code_samples = ("%%py\nimport = 7q",)
    code_page_something = "print?"
    code_generate_error = "%%py\nraise ValueError('on purpose')"
    code_execute_result = (
        {"code": "%%py\n6 * 7", "result": "42"},
        {"code": "%%host\n'here'", "result": "'here'"},
    )
    code_display_data = (
        {"code": "%%py\nfrom IPython.display import HTML, display\ndisplay(HTML('<b>x</b>'))", "mime": "text/html"},
        {
            "code": "%%py\nimport matplotlib.pyplot as plt\n_ = plt.plot([1, 2])\nplt.show()",
            "mime": "image/png",
        },
    )
    code_history_pattern = "%%py?6 ?*"
    supported_history_operations = ("tail", "search")  # as stock IPython
    code_clear_output = "%%host\nfrom IPython.display import clear_output\nclear_output()"
    code_inspect_sample = "%%py\nzebra"

    @classmethod
    def setUpClass(cls):
        jupyter_kernel_test.TIMEOUT = PATIENCE
        super().setUpClass()
        cls.kc.execute_interactive("%%py\nzebra = 1", timeout=PATIENCE)

    def execute_helper(self, *arguments, **options):
        """It waits a tenth of a second for each message else, and so does `flush_channels`, which has to."""
        channel = self.kc.iopub_channel
        get = jupyter_kernel_test.ensure_sync(channel.get_msg)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(channel, "get_msg", lambda timeout: get(timeout=PATIENCE))
            return super().execute_helper(*arguments, **options)

    def get_non_kernel_info_reply(self, timeout=None):
        return super().get_non_kernel_info_reply(PATIENCE)

    @classmethod
    def tearDownClass(cls):
        cls.kc.stop_channels()
        cls.km.shutdown_kernel(now=True)
