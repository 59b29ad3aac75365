"""Write-back as the kernel does it, with a client that plays the page on the wire; a real page is in browser/."""

from __future__ import annotations

import pytest
from notebook_kernel import Cell, NotebookKernel
from test_cell import SCRIPTS, model

from smol_kernel.runs.script import ScriptCell
from smol_magic.writeback import as_one_cell, digest, notebook_cells, untouched


def test_cells_carry_where_they_came_from():
    script = [ScriptCell("markdown", "Look.", 1), ScriptCell("code", "x = 1", 1)]
    words, code = notebook_cells(script, run="r1", cell_id="c1")
    assert words["cell_type"] == "markdown" and words["source"] == "Look."
    assert code["metadata"]["smol"] == {"run": "r1", "step": 1, "digest": digest("x = 1"), "cell": "c1"}


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

    def opened(self) -> dict:
        content = self._cell.until(
            lambda m: m["msg_type"] == "comm_open" and m["content"]["target_name"] == "smol.cells"
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

    def done(self, inserted: int) -> None:
        self.send({"done": self.name, "inserted": inserted, "removed": 0})


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


def test_where_no_page_answers_everything_comes_as_one_next_cell(kernel):
    model(kernel, "x = 20", "final_answer(x + 1)")
    for cell_id in ("c1", None):  # a front end without our labextension, and one without cell ids
        model(kernel, "x = 20", "final_answer(x + 1)")
        cell = kernel.run("%%agent --model m\nadd", cell_id=cell_id).must_be_ok()
        (payload,) = cell.reply["payload"]
        assert payload["source"] == "set_next_input" and payload["replace"] is False
        assert "# %%\nx = 20" in payload["text"]
        retired = [update["data"] for update in cell.contents("update_display_data")]
        assert retired == ([{"text/html": "<small>Agent run</small>", "text/plain": "Agent run"}] if cell_id else [])


def test_a_run_that_fails_writes_nothing(kernel):
    kernel.run("m = scripted(RuntimeError('no credit left'))").must_be_ok()
    cell = kernel.run("%%agent --model m\nadd")
    assert cell.status == "error"
    assert not cell.reply["payload"]
