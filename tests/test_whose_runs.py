"""Which runs a notebook calls its own: after a restart, when it is opened again, when it or another was renamed."""

from __future__ import annotations

import secrets
from contextlib import contextmanager

import nbformat
import pytest
from notebook_kernel import NotebookKernel
from test_cell import SCRIPTS

from smol_kernel.journal.rows import RunSummary
from smol_magic.whose import belongs


def save(path, *cells, shows=None):
    """A notebook's file with cells of these ids; the output of the first is of the run that it `shows`."""
    made = [nbformat.v4.new_code_cell("1", id=cell) for cell in cells]
    if shows:
        marked = nbformat.v4.new_output("display_data", {"text/plain": "Agent run"}, metadata={"smol": {"run": shows}})
        made[0].outputs.append(marked)
    nbformat.write(nbformat.v4.new_notebook(cells=made), path)


@contextmanager
def opened(folder, notebook, cell):
    """The kernel of a notebook that was opened, in which its `cell` was run."""
    kernel = NotebookKernel(folder, notebook)
    try:
        kernel.run(SCRIPTS, cell_id=cell).must_be_ok()
        yield kernel
    finally:
        kernel.close()


def restart(kernel):
    """What ⟳ does; the page is loaded anew, and the setup run again."""
    kernel.client.stop_channels()
    kernel.manager.restart_kernel(now=True)
    kernel.client = kernel.connect()
    kernel.client.session.session = secrets.token_hex(8)
    kernel.run("%load_ext smol_magic\n%config SmolMagic.prove = False\n" + SCRIPTS).must_be_ok()


def run_to_its_limit(kernel, cell, task="count the secrets"):
    """A run that has not answered; gives its id."""
    kernel.run("m = scripted(code('x = 6'), 'best')").must_be_ok()
    kernel.run(f"%%agent --model m --max-steps 1 -o ans\n{task}", cell_id=cell).must_be_ok()
    return kernel.value("get_ipython().smol_session.last.run")


def goes_on(kernel, cell, run=""):
    """`%agent resume` of a run from above, in this cell; gives the run that went on, and what `ans` is then."""
    kernel.run("m = scripted(code('final_answer(x + 1)'))", cell_id=cell).must_be_ok()
    kernel.run(f"%agent resume {run} --model m --max-steps 3", cell_id=cell).must_be_ok()
    return kernel.value("(get_ipython().smol_session.last.run, get_ipython().user_ns.get('ans'))")


def assert_has_none(kernel, cell):
    told = kernel.run("%agent", cell_id=cell).must_be_ok().printed
    assert "secret" not in told and "no run since this kernel was started" in told
    for command in ("show", "resume", "resume --model m --max-steps 3", "fork --step 0", "export x.html"):
        (error,) = kernel.run(f"%agent {command}", cell_id=cell).errors
        assert "no run since this kernel was started" in error


def test_a_run_stays_with_its_notebook_when_that_is_renamed_and_another_one_gets_its_name(tmp_path):
    save(tmp_path / "Untitled.ipynb", "c1")
    with opened(tmp_path, "Untitled.ipynb", "c1") as kernel:
        run = run_to_its_limit(kernel, "c1")
        (tmp_path / "Untitled.ipynb").rename(tmp_path / "projectA.ipynb")
        save(tmp_path / "projectA.ipynb", "c1", shows=run)
        save(tmp_path / "Untitled.ipynb", "n1")
        with opened(tmp_path, "Untitled.ipynb", "n1") as next_one:
            assert_has_none(next_one, "n1")
            assert "count the secrets" in next_one.run("%agent runs").printed
            other = run_to_its_limit(next_one, "n1", "the next one's")
            restart(next_one)
        restart(kernel)
        for cell in ("c1", "c2"):  # its name is another one's now, and c2 was not saved yet
            assert run in kernel.run("%agent", cell_id=cell).must_be_ok().printed
            assert other not in kernel.run("%agent", cell_id=cell).must_be_ok().printed
        shown = kernel.run("%agent show", cell_id="c1").must_be_ok()
        assert "count the secrets" in str(shown.displays)
    with opened(tmp_path, "projectA.ipynb", "c1") as again:
        assert run in again.run("%agent", cell_id="c1").must_be_ok().printed
        assert goes_on(again, "c1") == (run, 7)


def test_to_continue_in_a_new_kernel_says_what_goes_on_and_offers_no_run_twice(tmp_path):
    save(tmp_path / "a.ipynb", "c1")
    with opened(tmp_path, "a.ipynb", "c1") as kernel:
        for told_before in (False, True):
            run = run_to_its_limit(kernel, "c1")
            restart(kernel)
            kernel.run("m = scripted(code('final_answer(1)'))").must_be_ok()
            before = kernel.run("%agent", cell_id="c1").must_be_ok().printed if told_before else ""
            told = kernel.run("%%agent --continue --model m\nmore", cell_id="c1").must_be_ok().printed
            assert told.count("there is no conversation here to go on with") == 1
            assert told.count(f"%agent resume {run}") == 1, (before, told)


def test_in_another_notebook_a_run_goes_on_by_its_id_and_changes_no_variable(tmp_path):
    save(tmp_path / "a.ipynb", "c1")
    save(tmp_path / "b.ipynb", "c2")
    with opened(tmp_path, "a.ipynb", "c1") as kernel:
        run = run_to_its_limit(kernel, "c1")
    with opened(tmp_path, "b.ipynb", "c2") as other:
        assert_has_none(other, "c2")
        other.run("ans = 'mine'").must_be_ok()
        assert goes_on(other, "c2", run) == (run, "mine")


def test_a_fork_is_of_the_notebook_that_made_it_and_has_a_variable_of_its_own(tmp_path):
    save(tmp_path / "a.ipynb", "c1")
    save(tmp_path / "b.ipynb", "c2")
    with opened(tmp_path, "a.ipynb", "c1") as kernel:
        run = run_to_its_limit(kernel, "c1")
    with opened(tmp_path, "b.ipynb", "c2") as other:
        other.run("m = scripted(code('y = 1'), 'best')", cell_id="c2").must_be_ok()
        other.run(f"%agent fork {run} --step 1 --model m --max-steps 2 -o alt", cell_id="c2").must_be_ok()
        fork = other.value("get_ipython().smol_session.last.run")
        restart(other)
        assert f"last run of this notebook: {fork}" in other.run("%agent", cell_id="c2").printed
        other.run("m = scripted(code('final_answer(x + 1)'))", cell_id="c2").must_be_ok()
        other.run("%agent resume --model m --max-steps 4", cell_id="c2").must_be_ok()
        assert other.value("(alt, get_ipython().user_ns.get('ans'))") == (7, None)
    with opened(tmp_path, "a.ipynb", "c1") as kernel:
        told = kernel.run("%agent", cell_id="c1").printed
        assert run in told and fork not in told


@pytest.mark.parametrize("cell", [5, {"a": 1}])
def test_an_odd_id_of_a_cell_is_none(tmp_path, cell):
    with opened(tmp_path, "a.ipynb", None) as kernel:
        assert kernel.run("print(1 + 1)", cell_id=cell).must_be_ok().printed == "2\n"


@pytest.mark.parametrize("how", ["restarted", "reopened", "reopened-before-it-was-saved", "without-ids"])
def test_the_answer_of_a_run_that_goes_on_goes_into_its_variable(tmp_path, how):
    cell = None if how == "without-ids" else "c1"
    if cell:
        save(tmp_path / "a.ipynb", *([] if how == "restarted" else ["c1"]))
    with opened(tmp_path, "a.ipynb", cell) as kernel:
        run = run_to_its_limit(kernel, cell)
        if how == "restarted":
            restart(kernel)
            assert goes_on(kernel, "c1") == (run, 7)
            return
    with opened(tmp_path, "a.ipynb", cell) as kernel:
        cell = "c9" if how == "reopened-before-it-was-saved" else cell
        assert goes_on(kernel, cell, run) == (run, 7)
        last = kernel.run("%agent", cell_id=cell).must_be_ok().printed
        assert f"last run: {run} · done" in last


def test_a_name_that_is_taken_meanwhile_is_not_taken_by_the_answer(tmp_path):
    with opened(tmp_path, "a.ipynb", None) as kernel:
        run_to_its_limit(kernel, None)
        restart(kernel)
        kernel.run("ans = m = scripted(code('final_answer(x + 1)'))").must_be_ok()
        (error,) = kernel.run("%agent resume --model m --max-steps 3").errors
        assert "'ans' is a model, which the answer would replace" in error
        kernel.run("%agent resume --model m --max-steps 3 -o other").must_be_ok()
        assert kernel.value("other") == 7


def test_the_last_run_of_a_notebook_is_told_also_when_it_was_offered_before(tmp_path):
    with opened(tmp_path, "a.ipynb", None) as kernel:
        run = run_to_its_limit(kernel, None)
        restart(kernel)
        assert f"to go on: %agent resume {run}" in kernel.run("%agent").printed
        again = kernel.run("%agent").must_be_ok().printed
        assert f"last run of this notebook: {run} · out of steps" in again
        assert (
            "its account: %agent show · to go on: %agent resume --max-steps N\n" in again
            and "An earlier run" not in again
        )
        for command in ("%agent show", "%agent export run.md"):
            kernel.run(command).must_be_ok()
        assert "count the secrets" in (tmp_path / "run.md").read_text()
        goes_on(kernel, None)
        restart(kernel)
        kernel.run("%agent").must_be_ok()
        assert "its account: %agent show · its cells: %agent export FILE" in kernel.run("%agent").printed


HERE = {"notebook": "a.ipynb", "connection": "kernel-1.json", "session": "s1"}
OLD = {"notebook": "a.ipynb", "connection": "kernel-0.json", "session": "s0", "cell_id": "c1"}
RENAMED = {**OLD, "notebook": "b.ipynb"}


@pytest.mark.parametrize(
    ("origin", "sent", "files", "is_its_own"),
    [
        # the same kernel or page, whatever the files say
        ({**OLD, "connection": "kernel-1.json"}, {"c9"}, {"a.ipynb": ["n1"]}, True),
        ({**RENAMED, "session": "s1"}, {"c9"}, {"a.ipynb": ["n1"]}, True),
        ({**RENAMED, "connection": "kernel-1.json"}, set(), {}, False),  # such a name may come again elsewhere
        # another kernel of the notebook at this path
        (OLD, {"c1"}, {"a.ipynb": ["c1"]}, True),
        (OLD, {"c2", "c9"}, {"a.ipynb": ["c1", "c2"]}, True),
        (OLD, set(), {"a.ipynb": ["c1"]}, True),
        (OLD, {"c9"}, {"a.ipynb": ["c1"]}, False),
        (OLD, {"n1"}, {"a.ipynb": ["n1"]}, False),
        (OLD, set(), {"a.ipynb": []}, False),
        (OLD, {"c1"}, {}, False),
        # what has no ids
        ({**OLD, "cell_id": None}, {"c9"}, {"a.ipynb": ["n1"]}, True),
        ({**OLD, "cell_id": "vscode-notebook-cell:/a.ipynb#W0"}, set(), {"a.ipynb": ["n1"]}, True),
        ({**OLD, "cell_id": None, "notebook": "b.ipynb"}, set(), {}, False),
        ({**OLD, "cell_id": None, "notebook": None}, set(), {}, False),
        (OLD, {"c9"}, {"a.ipynb": None}, True),
        (RENAMED, {"c1"}, {"a.ipynb": None}, False),
        # a notebook that had another name
        (RENAMED, {"c1"}, {"a.ipynb": ["c1", "shows"]}, True),
        (RENAMED, {"c1"}, {"a.ipynb": ["c1", "shows"], "b.ipynb": ["n1"]}, True),
        (RENAMED, {"c1"}, {"a.ipynb": ["c1", "shows"], "b.ipynb": ["c1"]}, False),  # it is a copy
        (RENAMED, {"c1"}, {"a.ipynb": ["c1", "shows"], "b.ipynb": None}, False),
        (RENAMED, {"c1"}, {"a.ipynb": ["c1"]}, False),  # it may be made of the same template
        # what somebody else ran
        ({**OLD, "imported": True}, {"c1"}, {"a.ipynb": ["c1"]}, False),
        ({"front": "cli"}, {"c1"}, {"a.ipynb": ["c1"]}, False),
        ({}, set(), {}, False),
    ],
)
def test_which_runs_are_of_a_notebook(tmp_path, monkeypatch, origin, sent, files, is_its_own):
    monkeypatch.chdir(tmp_path)
    for name, cells in files.items():
        if cells is None:
            (tmp_path / name).write_text("# %%\n1")  # a script that is opened as a notebook
        else:
            save(
                tmp_path / name, *(cell for cell in cells if cell != "shows"), shows="r1" if "shows" in cells else None
            )
    run = RunSummary("r1", None, "t", "CodeAgent", "m", True, "unfinished", 0.0, None, 1, None, origin)
    assert belongs(run, HERE, sent) is is_its_own


@pytest.mark.parametrize("here", [{}, {"session": "s0"}])
def test_without_a_path_only_the_page_tells(here):
    run = RunSummary(
        "r1", None, "t", "CodeAgent", "m", True, "unfinished", 0.0, None, 1, None, {**OLD, "notebook": None}
    )
    place = {"notebook": None, "connection": "kernel-0.json", "session": None, **here}
    assert belongs(run, place, set()) is bool(here)


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"cells": 1}', '{"cells": [1]}', '{"cells": [{"id": "c1"}, {}]}',
     '{"cells": [{"id": 1, "outputs": [2]}]}', '{"cells": [{"id": "c1", "metadata": {"smol": 1}}]}',
     "[" * 100_000, "\ud800"],
)  # fmt: skip
def test_a_file_that_tells_no_cells_leaves_it_to_the_path(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ipynb").write_bytes(text.encode(errors="surrogatepass"))
    run = RunSummary("r1", None, "t", "CodeAgent", "m", True, "unfinished", 0.0, None, 1, None, OLD)
    assert belongs(run, HERE, {"c1"})
