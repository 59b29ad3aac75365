"""Write-back as the kernel does it, with a client that plays the page on the wire; a real page is in browser/."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_kernel import ROOT, Cell, NotebookKernel
from test_cell import SCRIPTS, button_of, click, model
from test_whose_runs import restart

from smol_kernel.runs.proof import Proof
from smol_kernel.runs.script import ScriptCell
from smol_magic.writeback import as_one_cell, digest, notebook_cells, untouched


def test_cells_carry_where_they_came_from():
    script = [ScriptCell("markdown", "Look.", 1), ScriptCell("code", "x = 1", 1)]
    words, code = notebook_cells(script, run="r1", cell_id="c1")
    assert words["cell_type"] == "markdown" and words["source"] == "Look."
    assert code["metadata"]["smol"] == {"run": "r1", "step": 1, "digest": digest("x = 1"), "cell": "c1"}
    proof = Proof("proved", script, digest="abc")
    (_, code) = notebook_cells(script, run="r1", cell_id="c1", proof=proof)
    assert code["metadata"]["smol"]["proof"] == {"state": "proved", "digest": "abc"}
    (_, code) = notebook_cells(script, "r1", "c1", Proof("whole", script, digest="abc", written="words"))
    assert code["metadata"]["smol"]["proof"]["written"] == "words"


def test_only_cells_that_are_as_they_were_written_may_go():
    written = {"id": "a", "source": "x = 1", "digest": digest("x = 1")}
    edited = {"id": "b", "source": "x = 2", "digest": digest("x = 1")}
    assert untouched([written, edited]) == ["a"]


def test_as_one_cell_the_words_are_comments():
    script = [ScriptCell("markdown", "Look.\n\nTwice.", 1), ScriptCell("code", "x = 1\nx", 1)]
    assert as_one_cell(script) == "# %% [markdown]\n# Look.\n#\n# Twice.\n\n# %%\nx = 1\nx"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    kernel = NotebookKernel(tmp_path_factory.mktemp("kernel"))
    kernel.run(SCRIPTS).must_be_ok()
    yield kernel
    kernel.close()


class Page:
    """One tab: what its labextension would send."""

    def __init__(self, kernel: NotebookKernel, cell: Cell, name: str = "tab") -> None:
        self._kernel, self._cell, self.name = kernel, cell, name

    def opened(self, *, early: bool = False) -> dict:
        content = self._cell.until(
            lambda m: (
                m["msg_type"] == "comm_open"
                and m["content"]["target_name"] == "smol.cells"
                and m["content"]["data"].get("early", False) is early
            )
        )["content"]
        self._comm = content["comm_id"]
        return content["data"]

    def send(self, data: dict) -> None:
        self._kernel.send_comm(self._comm, data)

    def claim(self, session: str, candidates: list[dict] | None = None) -> None:
        self.send({"claim": self.name, "session": session, "candidates": candidates or []})

    def granted(self) -> dict:
        return self._cell.until(lambda m: m["msg_type"] == "comm_msg" and m["content"]["comm_id"] == self._comm)[
            "content"
        ]["data"]

    def done(self, inserted: int, shown: bool = True) -> None:
        self.send({"done": self.name, "inserted": inserted, "shown": shown})


def test_the_first_page_that_claims_gets_the_cells_and_the_others_nothing(kernel):
    model(kernel, "x = 20", "final_answer(x + 1)")
    cell = kernel.start("%%agent --model m\nadd", cell_id="c1")
    first, second = Page(kernel, cell, "first"), Page(kernel, cell, "second")
    opened = first.opened()
    second._comm = first._comm
    assert opened == {"session": cell.client.session.session, "cell_id": "c1"}
    old = {"id": "old", "source": "y", "digest": digest("y")}
    edited = {"id": "edited", "source": "y + 1", "digest": digest("y")}
    first.claim(opened["session"], [old, edited])
    second.claim("another")
    grant = first.granted()
    assert grant["grant"] == "first"
    assert grant["cell_id"] == "c1"
    assert grant["remove"] == ["old"]
    assert [c["source"] for c in grant["cells"] if c["cell_type"] == "code"] == ["x = 20", "x + 1"]
    assert {c["metadata"]["smol"]["cell"] for c in grant["cells"]} == {"c1"}
    first.done(len(grant["cells"]))
    cell.finish().must_be_ok()
    assert not cell.reply["payload"]
    assert f"{len(grant['cells'])} cells inserted" in cell.traits
    assert "1 cell that you edited stays below them" in cell.traits


@pytest.fixture
def hurried(kernel):
    """The kernel, which gives no time to a page that it does not know."""
    kernel.run("import smol_magic.writeback as w\nw.CLAIM_SECONDS = 0").must_be_ok()
    kernel.run("get_ipython().smol_session.pages.clear()").must_be_ok()
    yield kernel
    kernel.run("w.CLAIM_SECONDS, w.DONE_SECONDS = 2, 10\nget_ipython().smol_session.pages.clear()").must_be_ok()


@pytest.fixture
def patient(kernel):
    """The kernel, which waits for ever for a page that it knows."""
    kernel.run("import smol_magic.writeback as w\nw.DONE_SECONDS = 10 ** 6").must_be_ok()
    kernel.run("get_ipython().smol_session.pages.add(get_ipython().parent_header['header']['session'])").must_be_ok()
    yield kernel
    kernel.run("w.DONE_SECONDS = 10\nget_ipython().smol_session.pages.clear()").must_be_ok()


def test_a_stop_ends_the_wait_for_a_page_that_is_gone(patient):
    model(patient, "x = 20", "final_answer(x + 1)")
    cell = patient.start("%%agent --model m\nadd", cell_id="c1")
    Page(patient, cell).opened()
    patient.interrupt()
    cell.finish().must_be_ok()
    (payload,) = cell.reply["payload"]
    assert "# %%\nx = 20" in payload["text"]


def test_where_the_run_was_stopped_more_of_the_same_ends_no_wait(patient):
    model(patient, "x = 1", "print('be' + 'gun')\nwhile True: pass")
    cell = patient.start("%%agent --model m\nloop", cell_id="c1")
    cell.until_shown("begun")
    patient.interrupt()
    page = Page(patient, cell)
    opened = page.opened()
    for _ in range(20):
        patient.interrupt()
    page.claim(opened["session"])
    assert page.granted()["cells"] == []
    page.done(0)
    cell.finish()
    assert "stopped" in cell.errors[0]


HOLDS = '''
from smol_kernel import tool
@tool(threaded=True)
def hold() -> str:
    """Holds the action until a page has said that it is there."""
    while not get_ipython().smol_session.pages: pass
    return "a"
'''


def test_a_page_that_said_early_that_it_is_there_is_waited_for(hurried):
    hurried.run(HOLDS).must_be_ok()
    model(hurried, "x = hold()", "final_answer(x * 2)")
    cell = hurried.start("%%agent --model m\nhold", cell_id="c1")
    page = Page(hurried, cell)
    opened = page.opened(early=True)
    assert opened == {"session": cell.client.session.session, "cell_id": "c1", "early": True}
    page.send({"here": "tab", "session": opened["session"]})
    written(cell, page)
    assert "cells inserted below" in cell.traits and not cell.reply["payload"]
    hurried.run("del hold").must_be_ok()


def test_a_front_end_that_does_not_know_the_comm_closes_it_for_no_page(kernel):
    model(kernel, "x = 20", "final_answer(x + 1)")
    cell = kernel.start("%%agent --model m\nadd", cell_id="c1")
    page = Page(kernel, cell)
    session = page.opened()["session"]
    kernel.send_comm(page._comm, {}, "comm_close")
    page.claim(session)
    cells = page.granted()["cells"]
    kernel.send_comm(page._comm, {}, "comm_close")
    page.done(len(cells))
    cell.until(lambda message: message["msg_type"] == "comm_close" and message["content"]["comm_id"] == page._comm)
    cell.finish().must_be_ok()
    assert "cells inserted below" in cell.traits and not cell.reply["payload"]


def test_what_a_page_took_does_not_come_once_more_where_its_word_is_lost(kernel, hurried):
    kernel.run("w.CLAIM_SECONDS, w.DONE_SECONDS = 2, 0").must_be_ok()
    model(kernel, "x = 20", "final_answer(x + 1)")
    cell = kernel.start("%%agent --model m\nadd", cell_id="c1")
    page = Page(kernel, cell)
    page.claim(page.opened()["session"])
    cell.finish().must_be_ok()
    assert not cell.reply["payload"]
    assert "its cells: %agent export FILE" in cell.traits


def test_without_write_the_page_is_asked_for_nothing_but_its_presence(kernel):
    model(kernel, "final_answer(1)")
    cell = kernel.start("%%agent --model m --no-write\nadd", cell_id="c1")
    page = Page(kernel, cell)
    session = page.opened()["session"]
    page.claim(session, [{"id": "old", "source": "y", "digest": digest("y")}])
    grant = page.granted()
    assert grant["cells"] == [] and grant["remove"] == []
    page.done(0)
    cell.finish().must_be_ok()
    assert not cell.reply["payload"]


def test_in_the_one_cell_there_are_no_cell_magics(kernel):
    cells = [
        "%%time\nx = 20\nprint(x)",
        "%%capture seen --no-stderr\nprint('a\\n')\ny = '%%time'",
        "%%time\n\n%%capture\n%time z = x + 1",
        "w = f'''\n%%time\n{y}'''\n(w, z, seen.stdout)",
    ]
    every = [kernel.run(cell).must_be_ok() for cell in cells]
    kernel.run("del w, x, y, z, seen").must_be_ok()
    one = as_one_cell([ScriptCell("markdown", "%%time", 1), *(ScriptCell("code", cell, 1) for cell in cells)])
    assert one.count("\n%%time") == 1 and "\n# %%time\nx = 20" in one
    cell = kernel.run(one).must_be_ok()
    last, whole = ([each["data"] for each in ran.contents("execute_result")] for ran in (every[-1], cell))
    assert last == whole == [{"text/plain": "('\\n%%time\\n%%time', 21, 'a\\n\\n')"}] and cell.printed == "20\n"


@pytest.mark.parametrize(
    "code", ["%%writefile -a made.txt\na\n  b", "%%bash\necho a b >> made.txt", "%%html\n<b>1</b>"]
)
def test_a_cell_magic_does_further_down_what_it_did(kernel, code):
    kernel.run("open('made.txt', 'w').close()").must_be_ok()
    alone = kernel.run(code).must_be_ok()
    made = kernel.value("open('made.txt').read()")
    one = kernel.run(as_one_cell([ScriptCell("code", "x = 1", 1), ScriptCell("code", code, 2)])).must_be_ok()
    assert kernel.value("open('made.txt').read()") == made * 2
    assert [each["data"] for each in one.displays] == [each["data"] for each in alone.displays]


ADDRESS = {"cellId": "vscode-notebook-cell:/a.ipynb#W0"}


@pytest.mark.parametrize(
    "sent", [{"cell_id": "c1"}, {"metadata": ADDRESS}, {}], ids=["no-extension", "vscode", "no-id"]
)
def test_where_no_page_answers_everything_comes_as_one_next_cell(kernel, sent):
    model(kernel, "x = 20", "final_answer(x + 1)")
    kernel.run("get_ipython().smol_session.pages.clear()").must_be_ok()
    cell = kernel.run("%%agent --model m\nadd", **sent).must_be_ok()
    (payload,) = cell.reply["payload"]
    assert payload["source"] == "set_next_input" and payload["replace"] is False
    assert "# %%\nx = 20" in payload["text"]
    retired = [update["data"] for update in cell.contents("update_display_data")]
    assert retired == ([{"text/html": "<!-- Agent run -->", "text/plain": "Agent run"}] if sent else [])
    # For a page that was closed, and is opened again while the widgets live.
    run = kernel.value("get_ipython().smol_session.last.run")
    said = f"its account: %agent show {run} · its cells: %agent export FILE {run} --script"
    assert (said in cell.traits) is bool(sent)


def test_a_code_console_is_told_how_to_get_the_work_and_keeps_what_was_asked(kernel):
    model(kernel, "x = 20", "final_answer(x + 1)")
    cell = kernel.run("%%agent --model m\nadd", metadata={"cellId": "c1"}).must_be_ok()
    assert not cell.reply["payload"]  # JupyterLab would write it over the task
    assert "%agent export FILE --script" in cell.printed


@pytest.mark.parametrize("shown", [True, False])
def test_a_cell_that_lost_its_account_says_where_it_is(kernel, shown):
    model(kernel, "final_answer(1)")
    cell = kernel.start("%%agent --model m --no-write\nadd", cell_id="c1")
    page = Page(kernel, cell)
    page.claim(page.opened()["session"])
    page.granted()
    page.done(0, shown)
    cell.finish().must_be_ok()
    run = kernel.value("get_ipython().smol_session.last.run")
    assert ("its account: %agent show " + run in cell.traits) is not shown
    client = kernel.connect()  # after a reload
    offered = kernel.run("%agent", cell_id="c2", client=client).printed
    client.stop_channels()
    assert (f"%agent show {run}" in offered) is not shown


@pytest.mark.parametrize("view", ["widgets", "text"])
def test_a_run_that_failed_while_no_page_was_there_says_where_its_account_is(kernel, view):
    kernel.run(f"%config SmolMagic.view = {view!r}\nm = scripted(code('x = 1'), RuntimeError('no credit left'))")
    kernel.run("get_ipython().smol_session.pages.clear()").must_be_ok()
    cell = kernel.run("%%agent --model m\nadd", cell_id="c1")
    kernel.run("%config SmolMagic.view = 'auto'").must_be_ok()
    assert cell.status == "error" and "no credit left" in cell.errors[0]
    assert ("its account: %agent show" in cell.traits) is (view == "widgets")
    assert "its account" not in cell.printed and "its cells" not in cell.traits


@pytest.mark.parametrize("limit", [20, 1])
@pytest.mark.parametrize("shown", [True, False])
def test_why_a_run_failed_is_told_once_where_the_page_shows_the_account(kernel, shown, limit):
    kernel.run("m = scripted(code('x = 1'), RuntimeError('no credit left'))").must_be_ok()
    cell = kernel.start(f"%%agent --model m --max-steps {limit}\nadd", cell_id="c1")
    page = Page(kernel, cell)
    page.claim(page.opened()["session"])
    page.granted()
    page.done(0, shown)
    cell.finish()
    assert "no credit left" in cell.displays[-1]["data"]["text/plain"]
    (told,) = cell.errors
    short = "The run failed" if limit > 1 else "The run ended without an answer"
    assert (told.startswith(f"{short}: see above.") and "no credit left" not in told) is shown
    assert ("no credit left" in told) is not shown
    assert "no credit left" in cell.reply["evalue"]  # all the same, for whoever reads it without the page
    if shown and limit > 1:
        assert told.endswith("%agent resume goes on.")
        kernel.run("m = scripted(code('final_answer(x + 1)'))").must_be_ok()
        kernel.run("%agent resume --model m -o out").must_be_ok()
        assert kernel.value("out") == 2


def test_a_run_that_fails_writes_nothing(kernel):
    kernel.run("m = scripted(RuntimeError('no credit left'))").must_be_ok()
    cell = kernel.run("%%agent --model m\nadd")
    assert cell.status == "error"
    assert not cell.reply["payload"]


@pytest.fixture
def proving(kernel):
    """The kernel, with finished work being proved."""
    kernel.run("%config SmolMagic.prove = True").must_be_ok()
    yield kernel
    kernel.run("%config SmolMagic.prove = False").must_be_ok()


def written(cell: Cell, page: Page) -> list[dict]:
    """The cells that the page is given, code and words."""
    page.claim(page.opened()["session"])
    cells = page.granted()["cells"]
    page.done(len(cells))
    cell.finish().must_be_ok()
    return cells


def test_what_the_answer_needs_is_written_and_said_to_be_proved(proving):
    model(proving, "x = 20\nprint(x)", "print('looking')", "final_answer(x + 1)")
    cell = proving.start("%%agent --model m --prove-cell -o out\nadd", cell_id="c1")
    cells = written(cell, Page(proving, cell))
    code = [each["source"] for each in cells if each["cell_type"] == "code"]
    assert code == ["x = 20", "out = x + 1\nout", "assert out == 21"]
    assert cells[0]["source"].splitlines()[-1].startswith("*Proved: ")
    marks = [each["metadata"]["smol"]["proof"] for each in cells]
    assert marks[0]["state"] == "proved" and len(marks[0]["digest"]) == 16
    assert marks == marks[:1] * len(cells)
    assert "proving" in cell.traits
    assert "proved · 6 cells inserted" in cell.traits
    assert "Edit &gt; Undo Cell Operation takes them away" in cell.traits
    displayed = [message["msg_type"] for message in cell.messages if message["msg_type"] == "display_data"]
    assert len(displayed) == 2  # view and account, as without a proof


def test_the_proof_knows_the_tools_of_its_agent(proving):
    proving.run(TWICE).must_be_ok()
    wrong = "try:\n    twice('many')\nexcept Exception as error:\n    print(error)\n    x = twice(number=2)"
    model(proving, wrong, "final_answer(x + len(twice.__doc__.split()))")
    cell = proving.start("%%agent --model m\ndouble", cell_id="c1")
    cells = written(cell, Page(proving, cell))
    assert cells[0]["source"].splitlines()[-1].startswith("*Proved: ")


@pytest.mark.parametrize("view", ["auto", "text"])
def test_a_proof_is_made_and_told_where_somebody_takes_the_cells(proving, view):
    proving.run(f"%config SmolMagic.view = {view!r}\nm = scripted(code('final_answer(1)'))").must_be_ok()
    attended = proving.run("%time get_ipython().run_cell_magic('agent', '--model m', 'add')").must_be_ok()
    run = "%%agent --model m\nadd"
    proving.run("m = scripted(*[code('final_answer(1)')] * 2)").must_be_ok()
    alone = proving.run(run, stdin=False).must_be_ok()
    asked = proving.run(run.replace("m\n", "m --prove-cell\n"), stdin=False).must_be_ok()
    proving.run("%config SmolMagic.view = 'auto'").must_be_ok()
    told = [str(cell.messages) if view == "auto" else cell.printed for cell in (attended, alone, asked)]
    assert ["proved" in each for each in told] == [True, False, True]
    assert ["its cells: %agent export FILE" in each for each in told] == [False, view == "text", True]
    assert ["Proved: " in cell.reply["payload"][0]["text"] for cell in (attended, alone, asked)] == [True, False, True]
    assert "assert" in asked.reply["payload"][0]["text"]


def test_what_came_of_a_proof_is_told_where_nobody_sees_the_cells(proving):
    proving.run("m = scripted(*[code('import time\\nfinal_answer(time.time())')] * 2)").must_be_ok()
    run = "%%agent --model m --prove-cell\nnow"
    alone = proving.run(run, stdin=False).must_be_ok()
    (first, _), (last,) = alone.displays, alone.contents("update_display_data")
    assert (last["transient"], last["metadata"]) == (first["transient"], first["metadata"])
    why, export = (
        "not reproduced: the cells read the clock",
        f"%agent export FILE {first['metadata']['smol']['run']} --script",
    )
    for text in last["data"].values():
        assert text.removeprefix("<small>").startswith(f"Agent run · {why}") and f" · its cells: {export}" in text
    in_console = proving.run(run, metadata={"cellId": "c1"}).must_be_ok()
    assert in_console.printed.startswith(why) and " · the finished work: %agent export FILE" in in_console.printed


def test_in_a_script_of_ipython_the_work_is_not_proved_and_it_is_said_where_it_is(tmp_path):
    replies = "['I do it.\\n<code>\\nfinal_answer(20 + 1)\\n</code>']"
    (tmp_path / "a.ipy").write_text(
        f"%load_ext smol_magic\nfrom smol_kernel import ScriptedModel\nm = ScriptedModel({replies})\n"
        "get_ipython().run_cell_magic('agent', '--model m', 'add')\n"
    )
    env = {"SMOL_JOURNAL": str(tmp_path / "journal.sqlite"), "IPYTHONDIR": str(tmp_path / "ipython")}
    printed = subprocess.run(
        [sys.executable, "-m", "IPython", "a.ipy"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), **env}, capture_output=True, text=True, check=True,
        stdin=subprocess.DEVNULL,
    ).stdout  # fmt: skip
    assert "proving" not in printed
    assert printed.splitlines()[-1].startswith("its cells: %agent export FILE ")


TWICE = """
from smol_kernel import tool
@tool
def twice(number: int) -> int:
    '''Doubles.

    Args:
        number: what to double.
    '''
    return 2 * number
"""


def test_what_is_not_reproduced_says_why(proving):
    model(proving, "import time\nt = time.time()", "final_answer(t)")
    cell = proving.start("%%agent --model m --prove-cell\nnow", cell_id="c1")
    cells = written(cell, Page(proving, cell))
    said = cells[0]["source"].splitlines()[-1]
    assert said.startswith("*Not reproduced: the cells read the clock")
    assert {each["metadata"]["smol"]["proof"]["state"] for each in cells} == {"not reproduced"}
    assert not [each for each in cells if "assert" in each["source"]]


@pytest.mark.parametrize("way", ["the square", "the button"])
def test_a_proof_can_be_stopped_and_the_answer_stays(proving, way):
    proving.run("import os\nif os.path.exists('wait'): os.remove('wait')").must_be_ok()
    model(proving, "import os\nn = 1\nwhile os.path.exists('wait'):\n    n += 1", "final_answer(n)")
    make_it_wait = "def wait():\n    open('wait', 'w').close()\n    return True"
    proving.run(f"from smol_kernel import tool\n{make_it_wait}").must_be_ok()
    proving.run("m.replies[1] = lambda messages, last=m.replies[1]: wait() and last").must_be_ok()
    cell = proving.start("%%agent --model m -o out\ncount", cell_id="c1")
    cell.until_shown("Skip the proof")
    cell.until_shown("proving …, 0:00")
    cell.until(lambda message: re.search("proving …, (?!0:00)", str(message["content"])))
    if way == "the square":
        proving.interrupt()
    else:
        click(proving, button_of(cell))
    cells = written(cell, Page(proving, cell))
    assert "'display': 'none'" in cell.traits  # the button has gone
    assert "Not proved: stopped" in cells[0]["source"] and "n = 1" in cells[1]["source"]
    told = '<span class="smol-state smol-warn">not proved (the proof was stopped: cells that wait go on)</span>'
    assert f"{told} · 4 cells inserted" in cell.traits
    assert proving.value("out") == 1


def test_the_square_ends_the_proof_of_an_export_in_one_line_and_nothing_is_written(kernel):
    kernel.run("import os\nif os.path.exists('wait'): os.remove('wait')").must_be_ok()
    model(kernel, "import os\nn = 1\nwhile os.path.exists('wait'):\n    n += 1", "final_answer(n)")
    kernel.run("%%agent --model m --no-write\ncount").must_be_ok()
    kernel.run("open('wait', 'w').close()").must_be_ok()
    cell = kernel.start("%agent export work.py --script")
    cell.until_shown("proving …")
    kernel.interrupt()
    cell.finish()
    assert cell.errors == ["Stopped: nothing was written. --no-proof writes it as it was run."], cell.printed
    assert (
        kernel.run("os.remove('wait')\n%agent export work.py --script").must_be_ok().printed.startswith("proving …\n")
    )


def code_of(cells: list[dict]) -> list[str]:
    return [each["source"] for each in cells if each["cell_type"] == "code"]


def run_cells(kernel: NotebookKernel, cells: list[dict], stdin: str | None = None) -> None:
    """Run the cells as a person does, who answers what they ask."""
    for source in code_of(cells):
        cell = kernel.start(source, stdin=stdin is not None)
        if stdin is not None and "question=" in source:
            kernel.client.get_stdin_msg(timeout=60)
            kernel.client.input(stdin)
        cell.finish().must_be_ok()


@pytest.mark.parametrize("again", [False, True])
def test_a_built_in_tool_is_made_by_the_cells_and_not_offered_to_later_runs(proving, again):
    model(proving, "user_input = 5\nn = 41\nfinal_answer(n + 1)" if again else "n = 41\nfinal_answer(n + 1)")
    cell = proving.start("%%agent --model m --tool user_input\nadd", cell_id="c1")
    cells = written(cell, Page(proving, cell))
    assert "UserInputTool" not in str(cells) and "user_input`" not in str(cells)
    model(proving, "n = user_input(question='How old?')", "final_answer(int(n) + 1)")
    cell = proving.start("%%agent --model m --tool user_input -o age\nask", cell_id="c1", stdin=True)
    proving.client.get_stdin_msg(timeout=60)
    proving.client.input("41")
    cells = written(cell, Page(proving, cell))
    assert code_of(cells)[0] == "from smol_kernel import UserInputTool\n\nuser_input = UserInputTool().forward"
    proved = "*Proved: run in a fresh kernel, these cells gave the same answer; "
    assert cells[0]["source"].endswith(f"{proved}calls of `user_input` were answered from the record.*")
    assert "Before you run" not in str(cells)
    run_cells(proving, cells, "50")
    assert proving.value("age") == 51
    model(proving, "final_answer('user_input' in globals())")
    proving.run("%%agent --model m --no-write -o offered\nlook").must_be_ok()
    assert proving.value("offered") is False


AGENT = """
from smol_kernel import CodeAgent, ScriptedModel
def agent(name, *answers):
    replies = ["<code>\\nfinal_answer(%r)\\n</code>" % answer for answer in answers]
    return CodeAgent([], ScriptedModel(replies), name=name, description="Helps.", verbosity_level=0)
"""


def test_an_agent_is_given_its_name_and_the_cells_say_that_it_asks_its_model(proving):
    proving.run(f"{AGENT}\nsub = agent('helper', 'first', 'second')").must_be_ok()
    model(proving, "res = helper('do it')", "final_answer(res)")
    cell = proving.start("%%agent --model m --agent sub -o told\nask", cell_id="c1")
    cells = written(cell, Page(proving, cell))
    assert code_of(cells)[0] == "helper = sub"
    said = cells[0]["source"].split("\n\n")
    assert said[-2] == "`helper` is an agent: each call has it work anew, and asks its model."
    assert said[-1].endswith("calls of `helper` were answered from the record.*")
    assert "first" in proving.value("told")
    run_cells(proving, cells)
    assert "second" in proving.value("told")


def test_a_name_that_is_taken_is_not_bound_anew(proving):
    proving.run(f"{AGENT}\nhelper = agent('sub', 'one')\nsub = agent('helper', 'two')").must_be_ok()
    model(proving, "final_answer(helper('do it'))")
    cell = proving.start("%%agent --model m --agent sub,helper\nask", cell_id="c1")
    cells = written(cell, Page(proving, cell))
    assert len(code_of(cells)) == 1
    assert (
        "Before you run these cells, define `helper`: an agent, `sub` in the notebook; each call has it work anew, and "
        "asks its model."
    ) in cells[0]["source"]
    proving.run("del helper, sub").must_be_ok()


def test_an_agent_of_that_name_and_a_tool_in_another_variable(proving):
    proving.run(f"{AGENT}{TWICE}\nhelper = agent('helper', '4')\ndouble = twice\ndel twice").must_be_ok()
    model(proving, "final_answer(twice(2) + len(helper('do it')))")
    cell = proving.start("%%agent --model m --agent helper\nask", cell_id="c1")
    cells = written(cell, Page(proving, cell))
    assert code_of(cells)[0] == "twice = double"
    assert "`helper` is an agent: each call" in cells[0]["source"] and "calls of `helper` were" in cells[0]["source"]
    proving.run("del helper, double").must_be_ok()


def test_a_tool_that_was_shown_and_one_that_is_async(proving):
    later = TWICE.replace("def twice", "async def later")
    proving.run(f"{TWICE}{later}\ndouble = twice\ndel twice").must_be_ok()
    proving.run("double").must_be_ok()  # which is `_` now
    model(proving, "x = twice(2)\nfinal_answer(later(x))")
    cell = proving.start("%%agent --model m\nask", cell_id="c1")
    cells = written(cell, Page(proving, cell))
    assert code_of(cells)[0] == "twice = double"
    assert "`later` is async: write `await` before its calls." in cells[0]["source"]
    proving.run("del later, double").must_be_ok()


def test_a_tool_that_is_a_generator_in_the_cells(proving):
    pages = TWICE.replace("def twice", "def pages").replace("-> int:", "-> list:").replace("return ", "yield ")
    proving.run(pages + pages.replace("def pages", "async def later")).must_be_ok()
    model(proving, "x = pages(2)\nfinal_answer([x[0], later(2)[0]])")
    cell = proving.start("%%agent --model m\nask", cell_id="c1")
    cells = written(cell, Page(proving, cell))
    assert "`pages` gives a generator: write `list(…)` around its calls." in cells[0]["source"]
    assert "`later` gives an async generator: write `[each async for" in cells[0]["source"]
    proving.run("del later, pages").must_be_ok()


def test_what_has_a_tools_name_in_the_cells_is_no_tool(proving):
    proving.run(f"{AGENT}\nsub = agent('helper', '4')").must_be_ok()
    model(proving, "print(helper('do it'))", "helper = [1, 2]\nfinal_answer(sum(helper))")
    cell = proving.start("%%agent --model m --agent sub\nask", cell_id="c1")
    cells = written(cell, Page(proving, cell))
    assert "helper = sub" not in code_of(cells) and "is an agent" not in cells[0]["source"]
    assert cells[0]["source"].endswith("these cells gave the same answer.*")
    proving.run("del sub").must_be_ok()


def test_a_tool_of_a_server_is_named_with_where_it_came_from(proving):
    server = f"{sys.executable} {Path(__file__).with_name('mcp_server.py')} stdio"
    model(proving, "final_answer(echo('hi'))")
    cell = proving.start(f"%%agent --model m --mcp '{server}'\nask", cell_id="c1")
    cells = written(cell, Page(proving, cell))
    assert len(code_of(cells)) == 1
    said = cells[0]["source"].split("\n\n")
    assert said[-2] == "Before you run these cells, define `echo`: a tool of an MCP server (`--mcp`)."
    assert said[-1].endswith("calls of `echo` were answered from the record.*")


def test_cells_of_tools_that_the_notebook_has_are_as_ever(proving):
    proving.run(TWICE).must_be_ok()
    model(proving, "x = twice(2)", "final_answer(twice(x))")
    cell = proving.start("%%agent --model m\ndouble", cell_id="c1")
    cells = written(cell, Page(proving, cell))
    assert code_of(cells) == ["x = twice(2)", "twice(x)"]
    assert cells[0]["source"] == "I do it.\n\n*Proved: run in a fresh kernel, these cells gave the same answer.*"


def test_cells_of_a_conversation_that_goes_on_make_what_the_earlier_run_had_made(proving):
    proving.run("table = [1, 2, 30]").must_be_ok()
    model(proving, "table = [n for n in table if n < 10]\nprint(len(table))", "final_answer(sum(table))")
    cell = proving.start("%%agent --model m --in table -o first\nadd", cell_id="c1")
    written(cell, Page(proving, cell))
    model(proving, "final_answer(max(table))")
    cell = proving.start("%%agent --model m --continue -o second\nthe largest", cell_id="c2")
    cells = written(cell, Page(proving, cell))
    assert cells[0]["source"].splitlines()[-1].startswith("*Proved: ")
    code = [each for each in cells if each["cell_type"] == "code"]
    assert [each["metadata"]["smol"]["step"] for each in code] == [0, 1]
    for each in code:
        proving.run(each["source"]).must_be_ok()
    assert (proving.value("second"), proving.value("table")) == (2, [1, 2, 30])


@pytest.mark.parametrize("prove", [True, False])
def test_what_only_the_first_run_was_given_stays_as_it_is_when_the_conversation_goes_on(proving, prove):
    proving.run(f"%config SmolMagic.prove = {prove}\nprices = [1, 2, 30]").must_be_ok()
    model(proving, "final_answer(len(prices))")
    proving.run("%%agent --model m --in prices\ncount").must_be_ok()
    model(proving, "prices.append(4)", "final_answer(sum(prices))")
    cell = proving.start("%%agent --model m --continue -o s\nadd", cell_id="c2")
    cells = written(cell, Page(proving, cell))
    assert ("*Proved: " in cells[0]["source"]) == prove
    for _ in range(2):
        for source in code_of(cells):
            proving.run(source).must_be_ok()
        assert (proving.value("s"), proving.value("prices")) == (37, [1, 2, 30])


@pytest.mark.parametrize(
    ("options", "action", "names"),
    [
        ("", "for i in d:\n    if i == 3:\n        final_answer(i)", ["answer_", "answered_"]),
        ("-o r", "for i in d:\n    if i == 3:\n        final_answer(i)", ["answered_", "r"]),
        ("-o r", "if d:\n    final_answer(d[-1])", ["r"]),
        ("--prove-cell", "d.append(3)\nfinal_answer([0.5, d[-1] / 3])", ["answer_", "d__", "expected_"]),
    ],
)
@pytest.mark.parametrize("prove", [True, False])
def test_the_cells_give_no_name_of_the_notebook_another_value(proving, options, action, names, prove):
    mine = "answer = answered = expected = d_ = 'mine'"
    proving.run(f"%config SmolMagic.prove = {prove}\n{mine}\nd = [1, 3]").must_be_ok()
    given = []
    for _ in range(2):
        model(proving, action)
        cell = proving.start(f"%%agent --model m --in d {options}\nwork", cell_id="c1")
        given.append(code_of(written(cell, Page(proving, cell))))
        for source in given[-1]:
            proving.run(source).must_be_ok()
        assert set(proving.value("(answer, answered, expected, d_)")) == {"mine"}
    assert given[0] == given[1]
    assert names == sorted(re.findall(r"\b(?:r|(?:answer|answered|expected|d_)_)(?= =|:)", "\n".join(given[0])))
    proving.run("del answer, answered, expected, d_").must_be_ok()


def test_a_name_of_the_cells_that_the_notebook_then_gives_a_value_is_the_notebook_s(proving):
    work = []
    for own in ("pass", "found = [2]\nfound_ = 'mine'"):
        proving.run(f"found = [1]\n{own}").must_be_ok()
        model(proving, "found.append(3)\nfinal_answer(found[-1])")
        cell = proving.start("%%agent --model m --in found\nwork", cell_id="c1")
        work.append(code_of(written(cell, Page(proving, cell))))
        proving.run("\n".join(work[-1])).must_be_ok()
    assert ["found__" in "".join(each) for each in work] == [False, True]
    assert proving.value("found_") == "mine"


@pytest.mark.parametrize("options", ["", "-o r --prove-cell"])
@pytest.mark.parametrize("prove", [True, False])
def test_the_cells_have_the_same_names_again_after_a_restart(tmp_path, options, prove):
    kernel = NotebookKernel(tmp_path)
    setup = f"%config SmolMagic.prove = {prove}\nd = [0.5, 2]\nanswer = 'mine'"
    try:
        kernel.run(SCRIPTS).must_be_ok()
        given = []
        for _ in range(3):
            kernel.run(setup).must_be_ok()
            model(kernel, "print(d)\nd.append(3)\nfor i in d:\n    if i > 1:\n        final_answer([i, 0.5])")
            cell = kernel.start(f"%%agent --model m --in d {options}\nwork", cell_id="c1")
            given.append(code_of(written(cell, Page(kernel, cell))))
            restart(kernel)
            kernel.run(setup).must_be_ok()
            for source in given[-1]:
                kernel.run(source).must_be_ok()
            assert kernel.value("answer") == "mine"
    finally:
        kernel.close()
    assert given[0] == given[1] == given[2]


def test_cells_of_a_conversation_have_the_same_names_again_after_a_restart(tmp_path):
    kernel, given = NotebookKernel(tmp_path), []
    work = [("--in d", "unused = 1\nd.append(3)\nfinal_answer(len(d))"), ("--continue", "final_answer(sum(d))")]
    try:
        kernel.run(SCRIPTS).must_be_ok()
        for again in (False, True):
            kernel.run("%config SmolMagic.prove = True\nd = [0.5, 2]").must_be_ok()
            for number, (option, action) in enumerate(work):
                for source in given[number] if again else ():
                    kernel.run(source).must_be_ok()
                model(kernel, action)
                cell = kernel.start(f"%%agent --model m {option}\nwork", cell_id="c1")
                given.append(code_of(written(cell, Page(kernel, cell))))
            if not again:
                restart(kernel)
    finally:
        kernel.close()
    assert given[:2] == given[2:]
    assert given[1] == ["from copy import deepcopy\nd_ = deepcopy(d)\nd_.append(3)", "sum(d_)"]


@pytest.mark.parametrize(
    ("own", "are_run"),
    [
        ("answer = 55", True),
        ("from mine import *", False),
        ("%run mine.py", False),
        ("%%agent --model m --no-write -o answer\nother", True),
        ("%%agent --model m --no-write -o answer\nother", False),
    ],
    ids=["a cell", "import *", "%run", "-o after cells", "-o"],
)
def test_what_the_notebook_itself_gave_a_value_is_no_name_of_the_cells(proving, own, are_run):
    proving.run("open('mine.py', 'w').write('answer = 55')").must_be_ok()
    loop, work = "for i in [1, 2]:\n    if i == 2:\n        final_answer(i)", []
    for before in ("pass", own):
        model(proving, "final_answer(55)")
        proving.run(before).must_be_ok()
        model(proving, loop)
        cell = proving.start("%%agent --model m\nwork", cell_id="c1")
        work.append(code_of(written(cell, Page(proving, cell))))
        for source in work[-1] if are_run else ():
            proving.run(source).must_be_ok()
    assert proving.value("answer") == 55
    assert "answer_ =" in work[1][0]
    proving.run("del answer\nget_ipython().smol_session.answers.clear()").must_be_ok()


def test_a_variable_that_was_handed_in_and_is_gone_is_named(proving):
    proving.run("gone = [1, 2]").must_be_ok()
    model(proving, "final_answer(len(gone))", "final_answer(sum(gone))")
    proving.run("%%agent --model m --in gone\ncount").must_be_ok()
    proving.run("del gone").must_be_ok()
    cell = proving.start("%agent fork --step 0 --model m", cell_id="c2")
    cells = written(cell, Page(proving, cell))
    assert code_of(cells) == ["sum(gone)"]
    assert "Before you run these cells, define `gone`, which was handed in." in cells[0]["source"]
