"""`%%agent` and `%%py` in a real kernel: what they display, how they are stopped, what is left behind."""

from __future__ import annotations

import pytest
from notebook_kernel import NotebookKernel

from smol_kernel.executors.displays import CHART

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCRIPTS = """
from smol_kernel import ScriptedModel, tool

def code(*lines):
    return "I do it.\\n<code>\\n" + "\\n".join(lines) + "\\n</code>"

def scripted(*replies):
    return ScriptedModel(list(replies))
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    kernel = NotebookKernel(tmp_path_factory.mktemp("kernel"))
    kernel.run(SCRIPTS).must_be_ok()
    yield kernel
    kernel.close()


def model(kernel, *actions):
    """Give the notebook a model `m` whose replies are these actions."""
    kernel.run(f"m = scripted({', '.join(f'code({action!r})' for action in actions)})").must_be_ok()


def model_of_a_called_agent(kernel, *actions, tools="[]"):
    """The same, but the actions are those of an agent `helper` that the model's agent calls."""
    model(kernel, *actions)
    kernel.run(
        "from smol_kernel import CodeAgent\n"
        f"helper = CodeAgent({tools}, m, name='helper', description='Helps.')\n"
        "m = scripted(code('final_answer(helper(\"do it\").split()[-1])'))"
    ).must_be_ok()


def test_a_run_is_one_widget_and_one_account_of_it(kernel):
    model(kernel, "print('looking')", "final_answer(42)")
    cell = kernel.run("%%agent --model m -o answer\nthink").must_be_ok()
    view, account = cell.displays
    assert set(view["data"]) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert view["metadata"]["smol"]["run"] == account["metadata"]["smol"]["run"]  # for a page that finds it dead
    assert all(view["data"].values())
    assert set(account["data"]) == {"text/plain", "text/html", "text/markdown"}
    assert all("42" in text for text in account["data"].values())
    assert not cell.contents("update_display_data", "clear_output", "execute_result", "stream", "error")
    assert kernel.value("answer") == 42


def test_where_nobody_watches_a_run_makes_no_widgets_and_is_stored_the_same(kernel):
    model(kernel, "print('looking')", "final_answer(42)")
    cell = kernel.run("%%agent --model m\nthink", stdin=False).must_be_ok()
    view, account = cell.displays
    assert view["data"] == {"text/html": "<!-- Agent run -->", "text/plain": "Agent run"}
    assert "42" in account["data"]["text/plain"]
    assert not cell.contents("comm_open", "update_display_data", "stream")


@pytest.mark.parametrize(
    ("software", "sent"),
    [
        ("", {}),
        ("", {"stdin": False, "metadata": {"cellId": "vscode-notebook-cell:/a.ipynb#W0"}}),
        ("voila/0.5.8", {"stdin": False}),
    ],
    ids=["no-id", "vscode", "voila"],
)
def test_other_pages_are_shown_widgets(kernel, software, sent):
    model(kernel, "final_answer(42)")
    kernel.run(f"import os\nos.environ['SERVER_SOFTWARE'] = {software!r}").must_be_ok()
    view, _ = kernel.run("%%agent --model m\nthink", **sent).must_be_ok().displays
    kernel.run("del os.environ['SERVER_SOFTWARE']").must_be_ok()
    assert "application/vnd.jupyter.widget-view+json" in view["data"]


def test_without_ipywidgets_a_run_is_told_in_text(kernel):
    model(kernel, "final_answer(42)")
    kernel.run("import sys\nkept = {n: sys.modules.pop(n) for n in list(sys.modules) if n.startswith('ipywidgets')}")
    kernel.run("sys.modules['ipywidgets'] = None").must_be_ok()
    try:
        told = kernel.run("%%agent --model m\nthink").must_be_ok()
        kernel.run("%config SmolMagic.view = 'widgets'").must_be_ok()
        (error,) = kernel.run("%%agent --model m\nthink").errors
    finally:
        kernel.run("sys.modules.update(kept)\n%config SmolMagic.view = 'auto'").must_be_ok()
    assert "42" in told.printed
    assert "pip install ipywidgets, or %config SmolMagic.view = 'text'" in " ".join(error.split())


@pytest.mark.parametrize("cell", ["10 ** 5000", "__import__('decimal').Decimal('sNaN')"])
def test_an_answer_that_cannot_be_drawn_is_there_all_the_same(kernel, cell):
    most = f"pd.Series([{cell}], dtype=object)"
    model(kernel, f"import pandas as pd\nfinal_answer(pd.DataFrame({{'n': [2], 'most': {most}}}))")
    run = kernel.run("%%agent --model m -o table\nmake a table").must_be_ok()
    assert set(run.displays[-1]["data"]) == {"text/plain", "text/html", "text/markdown"}
    assert not run.contents("stream", "error")
    assert kernel.value("(table.shape, int(table.n[0]))") == ((1, 2), 2)
    kernel.run("%agent export told.html --force").must_be_ok()
    assert not kernel.run("%agent export told.ipynb --force").must_be_ok().contents("error")


def test_what_is_stored_in_the_notebook_is_the_same_each_time(kernel):
    shown = []
    for _ in range(2):
        model(kernel, "print('looking')\nmissing", "final_answer(42)")
        view, account = kernel.run("%%agent --model m\nthink").must_be_ok().displays
        view["data"].pop("application/vnd.jupyter.widget-view+json")
        shown.append((view["data"], account["data"]))
        assert account["metadata"]["smol"]["run"]
    assert shown[0] == shown[1]


def test_many_small_outputs_cost_few_updates_and_the_last_one_is_shown(kernel):
    model(kernel, "for i in range(3000): print('line', i)", "final_answer(1)")
    cell = kernel.run("%%agent --model m\nprint a lot").must_be_ok()
    assert len(cell.contents("comm_msg")) < 300
    assert "line 2999" in cell.traits


def test_widgets_of_runs_that_ended_are_freed(kernel):
    count = (
        "len([w for w in __import__('gc').get_objects() if isinstance(w, __import__('ipywidgets').Widget) and w.comm])"
    )
    counts = []
    for _ in range(3):
        model(kernel, *["print('a step')"] * 8, "final_answer(1)")
        kernel.run("%%agent --model m\nwork").must_be_ok()
        counts.append(kernel.value(count))
    assert counts[2] - counts[1] == counts[1] - counts[0] < 20


@pytest.mark.parametrize("prove", [True, False])
@pytest.mark.parametrize("first", ["", "%%time\n"], ids=["awaits", "waits"])
def test_inputs_of_a_run_are_freed_with_its_conversation(kernel, prove, first):
    model(kernel, "final_answer(len(big))")
    kernel.run(f"import gc, weakref\n%config SmolMagic.prove = {prove}").must_be_ok()
    kernel.run("class Cells(list): pass\nbig = Cells([1])\nkept = weakref.ref(big)").must_be_ok()
    kernel.run(f"{first}%%agent --in big --model m -o n\nhow many?", cell_id="c1").must_be_ok()
    kernel.run("%config SmolMagic.prove = False\ndel big\n%agent stop").must_be_ok()
    assert kernel.value("(n, gc.collect() >= 0, kept())") == (1, True, None)


def test_the_view_says_which_step_of_how_many_it_is_and_that_a_kernel_starts(tmp_path):
    kernel = NotebookKernel(tmp_path)
    kernel.run(SCRIPTS).must_be_ok()
    model(kernel, "print(1)", "input('? ')")
    cell = kernel.start("%%agent --model m --max-steps 7\nwork", stdin=True)
    cell.until_shown("step 1 of 7 · <b>the child kernel starts</b>")
    cell.until_shown("step 2 of 7 · ")
    starting = len(cell.messages)
    kernel.client.get_stdin_msg(timeout=60)
    kernel.client.input("")
    assert "the child kernel starts" not in str(cell.finish().messages[starting:])
    kernel.close()


def test_a_child_begins_with_the_first_command_and_the_first_run_finds_it_ready(tmp_path):
    kernel = NotebookKernel(tmp_path)
    kernel.run(SCRIPTS).must_be_ok()
    model(kernel, "import os\nfinal_answer(os.getcwd())")
    kernel.run("%agent model m").must_be_ok()
    kernel.run("from smol_kernel.executors.standby import STANDBY").must_be_ok()
    assert kernel.value("STANDBY.waiting(60)") == 1
    waiting = kernel.value("STANDBY._ready[0][1].child.pid")
    kernel.run("%%agent -o folder\nwork").must_be_ok()
    used = "get_ipython().magics_manager.registry['SmolMagic'].session.agent.python_executor._client.child.pid"
    assert kernel.value(used) == waiting
    assert kernel.value("folder == __import__('os').getcwd()")
    kernel.close()


@pytest.mark.parametrize("words", ["", "<p>a map</p>"])
def test_html_that_only_a_script_would_fill_leaves_words(kernel, words):
    html = f"{words}<script>1</script>"
    code = f"class Chart:\n    __repr__ = lambda self: 'Chart of 3'\n    _repr_html_ = lambda self: {html!r}"
    (content,) = kernel.run(f"%%py\n{code}\nChart()").must_be_ok().contents("execute_result")
    assert content["data"]["text/plain"] == f"Chart of 3\n{CHART}"
    assert (f"{words}<p><small>{CHART}" in content["data"].get("text/html", "")) == bool(words)


def test_steps_appear_while_the_run_goes_on(kernel):
    model(kernel, "print('first'.upper())", "input('go on? ')", "final_answer(1)")
    cell = kernel.start("%%agent --model m\nwork", stdin=True)
    cell.until_shown("FIRST")  # the second step waits for us, so the run has not ended
    kernel.client.get_stdin_msg(timeout=60)
    kernel.client.input("yes")
    cell.finish().must_be_ok()


def test_input_of_an_action_is_asked_of_the_person(kernel):
    model(kernel, "final_answer(input('your name? '))")
    cell = kernel.start("%%agent --model m -o answer\nask", stdin=True)
    request = kernel.client.get_stdin_msg(timeout=60)["content"]
    cell.until_shown("answer below, or ■ ends it")  # a click on Stop would not arrive
    asks = "The agent's code asks. What you type goes to it:\n   | your name? "
    assert (request["prompt"], request["password"]) == (asks, False)
    kernel.client.input("Ada")
    cell.finish().must_be_ok()
    assert kernel.value("answer") == "Ada"


def test_input_of_a_called_agents_action_is_asked_of_the_person(kernel):
    model_of_a_called_agent(kernel, "final_answer(input('your name? '))")
    cell = kernel.start("%%agent --model m -o answer --agent helper\nask", stdin=True)
    assert kernel.client.get_stdin_msg(timeout=60)["content"]["prompt"].endswith("\n   | your name? ")
    kernel.client.input("Ada")
    cell.finish().must_be_ok()
    assert kernel.value("answer") == "Ada"


def test_where_nobody_can_be_asked_the_action_is_told_so(kernel):
    model(kernel, "try:\n    input('? ')\nexcept EOFError as error:\n    final_answer(str(error))")
    kernel.run("%%agent --model m -o answer\nask", stdin=False).must_be_ok()
    assert "nobody to ask" in kernel.value("answer")


def stopped_by_the_person(kernel, cell):
    """The cell ended in one line, and what was queued behind it did not run."""
    queued = kernel.start("queued = True", client=cell.client)
    kernel.interrupt()
    cell.finish()
    assert cell.status == "error"
    assert len(cell.errors) == 1 and "stopped" in cell.errors[0] and "\n" not in cell.errors[0]
    reply = kernel.client.get_shell_msg(timeout=60)
    assert (reply["parent_header"]["msg_id"], reply["content"]["status"]) == (queued.msg_id, "aborted")
    assert kernel.value("'queued' in globals()") is False


def test_an_interrupt_stops_the_action(kernel):
    model(kernel, "print('be' + 'gun')\nwhile True: pass")
    cell = kernel.start("%%agent --model m\nloop")
    cell.until_shown("begun")
    stopped_by_the_person(kernel, cell)


@pytest.mark.parametrize("called", [False, True], ids=["its own", "of a called agent"])
def test_an_interrupt_stops_a_plain_tool_on_the_notebooks_thread(kernel, called):
    kernel.run(
        "@tool\ndef hold() -> int:\n    '''Holds the thread.'''\n    print('tool be' + 'gun')\n    while True: pass"
    ).must_be_ok()
    if called:
        model_of_a_called_agent(kernel, "hold()", tools="[hold]")
    else:
        model(kernel, "hold()")
    cell = kernel.start(f"%%agent --model m {'--agent helper' * called}\nhold")
    cell.until_shown("tool begun")
    assert "hold runs in this notebook" in cell.traits  # said before it was called
    stopped_by_the_person(kernel, cell)


def test_an_interrupt_stops_a_cell_that_can_only_wait(kernel):
    model(kernel, "print('be' + 'gun')\nwhile True: pass")
    cell = kernel.start("%%time\n%%agent --model m\nloop")
    cell.until_shown("begun")
    stopped_by_the_person(kernel, cell)


def test_an_interrupt_stops_an_action_that_waits_for_input(kernel):
    model(kernel, "input('? ')")
    cell = kernel.start("%%agent --model m\nask", stdin=True)
    kernel.client.get_stdin_msg(timeout=60)
    stopped_by_the_person(kernel, cell)


def test_an_action_that_ignores_interrupts_is_ended_all_the_same(kernel):
    model(kernel, "while True:\n    try:\n        print('be' + 'gun')\n        while True: pass\n"
                  "    except KeyboardInterrupt: pass")  # fmt: skip
    cell = kernel.start("%%agent --model m\nloop")
    cell.until_shown("begun")
    kernel.interrupt()
    stopped_by_the_person(kernel, cell)


def test_a_storm_of_interrupts_leaves_a_kernel_that_works(kernel):
    kernel.run("@tool\ndef spin() -> int:\n    '''Works.'''\n    return sum(range(2000))").must_be_ok()
    model(kernel, "print('be' + 'gun')\nwhile True: spin()")
    cell = kernel.start("%%agent --model m\nspin")
    cell.until_shown("begun")
    for _ in range(300):
        kernel.interrupt()
    cell.finish()
    assert cell.status == "error"
    model(kernel, "final_answer(spin())")
    kernel.run("%%agent --model m -o answer\nspin").must_be_ok()
    assert kernel.value("answer") == sum(range(2000))


def button_of(cell):
    """The comm of the view's Stop button."""
    opened = cell.contents("comm_open")
    return next(c["comm_id"] for c in opened if c["data"]["state"].get("_model_name") == "ButtonModel")


def click(kernel, comm_id):
    kernel.send_comm(comm_id, {"method": "custom", "content": {"event": "click"}})


def test_the_stop_button_stops_the_action(kernel):
    model(kernel, "print('be' + 'gun')\nwhile True: pass")
    cell = kernel.start("%%agent --model m\nloop")
    cell.until_shown("begun")
    click(kernel, button_of(cell))
    cell.finish()
    assert cell.status == "error"
    assert "stopped" in cell.errors[0]
    assert "stopped" in cell.displays[-1]["data"]["text/plain"].lower()  # the account says so too


def test_a_run_stopped_before_the_model_said_anything_has_its_account(kernel):
    kernel.run("import threading\nasked = threading.Event()\nm = scripted(lambda messages: asked.wait() and 'Late.')")
    cell = kernel.start("%%agent --model m\nask the slow model")
    cell.until_shown("the model is asked")
    kernel.interrupt()
    cell.finish()
    kernel.run("asked.set()").must_be_ok()
    assert cell.status == "error"
    account = cell.displays[-1]["data"]["text/plain"]
    assert "ask the slow model" in account and "stopped" in account


def test_a_table_that_cannot_cross_leaves_one_line_and_no_view(kernel):
    kernel.run("import pandas, sys\ntable = pandas.DataFrame({'cells': [sys._getframe()]})").must_be_ok()
    model(kernel, "final_answer(1)")
    cell = kernel.run("%%agent --model m --in table\nlook")
    assert len(cell.errors) == 1 and "table" in cell.errors[0]
    assert len(cell.displays) == 1  # no account
    root = cell.displays[0]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
    opened = {c["comm_id"]: c["data"]["state"] for c in cell.contents("comm_open")}
    layout = opened[root]["layout"].removeprefix("IPY_MODEL_")
    changes = [c["data"].get("state", {}) for c in cell.contents("comm_msg") if c["comm_id"] == layout]
    assert {"display": "none"} in changes


def test_a_stop_while_a_tool_holds_the_thread_takes_effect_when_it_returns(kernel, tmp_path):
    gate = tmp_path / "gate"
    kernel.run(
        "import os, time\n@tool\ndef hold(path: str) -> int:\n"
        "    '''Waits.\n\n    Args:\n        path: A file.\n    '''\n"
        "    print('tool be' + 'gun')\n    began = time.monotonic()\n"
        "    while not os.path.exists(path) or time.monotonic() < began + 0.3: pass\n    return 1"
    ).must_be_ok()
    model(kernel, f"hold({str(gate)!r})\nfinal_answer('went on')")
    cell = kernel.start("%%agent --model m -o answer_of_stopped\nhold")
    cell.until_shown("tool begun")
    click(kernel, button_of(cell))
    kernel.hears()  # the click is in the kernel's queue
    gate.touch()
    cell.finish()
    assert cell.status == "error"
    assert kernel.value("'answer_of_stopped' in globals()") is False


def test_after_a_stop_the_conversation_can_go_on(kernel):
    model(kernel, "kept = 5\nprint('be' + 'gun')\nwhile True: pass")
    cell = kernel.start("%%agent --model m\nloop")
    cell.until_shown("begun")
    kernel.interrupt()
    cell.finish()
    model(kernel, "final_answer(kept)")
    kernel.run("%%agent --model m --continue -o answer\ngo on").must_be_ok()
    assert kernel.value("answer") == 5


def test_what_a_tool_prints_is_in_the_cell_that_ran_it(kernel):
    kernel.run("@tool\ndef say() -> int:\n    '''Says.'''\n    print('said by the tool')\n    return 1").must_be_ok()
    model(kernel, "final_answer(say())")
    assert "said by the tool" in kernel.run("%%agent --model m\nsay").must_be_ok().printed


# -- %%py


def test_py_shows_outputs_as_a_cell_of_its_own(kernel):
    cell = kernel.run("%%py\nimport sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7").must_be_ok()
    streams = {content["name"]: content["text"] for content in cell.contents("stream")}
    assert streams == {"stdout": "out\n", "stderr": "err\n"}
    (result,) = cell.contents("execute_result")
    assert result["data"]["text/plain"] == "42"
    assert result["execution_count"] == cell.reply["execution_count"]


def test_py_cleans_the_html_that_comes_from_the_child(kernel):
    cell = kernel.run(
        "%%py\nfrom IPython.display import HTML, display\n"
        "display(HTML('<b>bold</b><script>alert(1)</script><img src=\"http://example.org/x.png\">'))"
    ).must_be_ok()
    (shown,) = cell.displays
    assert "<b>bold</b>" in shown["data"]["text/html"]
    assert "script" not in shown["data"]["text/html"] and "example.org" not in shown["data"]["text/html"]


def test_py_passes_on_no_other_types_than_text_pictures_and_cleaned_html(kernel):
    bundle = {kind: f"as {kind}" for kind in ("text/plain", "text/markdown", "text/latex", "image/svg+xml")}
    bundle |= {"text/html": "<b>h</b>", "image/png": PIXEL}
    cell = kernel.run(f"%%py\nfrom IPython.display import display\ndisplay({bundle}, raw=True)").must_be_ok()
    (shown,) = cell.displays
    html = '<div class="tex2jax_ignore mathjax_ignore"><b>h</b></div>'
    assert shown["data"] == {"text/plain": "as text/plain", "text/html": html, "image/png": PIXEL}


def test_an_error_in_py_fails_the_cell_with_the_childs_traceback(kernel):
    cell = kernel.run("%%py\n1 / 0")
    assert cell.status == "error"
    (error,) = cell.errors
    assert error.count("ZeroDivisionError") == 1
    assert "smol_" not in error


def test_an_interrupt_stops_py_and_its_names_stay(kernel):
    kernel.run("%%py\nkept = 3").must_be_ok()
    cell = kernel.start("%%py\nprint('be' + 'gun')\nwhile True: pass")
    cell.until_shown("begun")
    kernel.interrupt()
    cell.finish()
    assert cell.status == "error" and cell.errors == ["Stopped."]
    assert kernel.run("%%py\nkept").must_be_ok().contents("execute_result")[0]["data"]["text/plain"] == "3"


def test_a_child_that_ends_itself_is_said_so_and_the_next_cell_works(kernel):
    kernel.run("%%py\nkept = 3").must_be_ok()
    cell = kernel.run("%%py\nimport os\nos._exit(1)")
    assert cell.status == "error"
    assert "kept" in cell.errors[0]  # among the names that are gone
    assert "The next cell runs in a fresh one. " in cell.errors[0]
    kernel.run("%%py\n1 + 1").must_be_ok()


def test_exit_in_py_is_explained_for_a_cell(kernel):
    kernel.run("%%py\nkept = 3").must_be_ok()
    (error,) = kernel.run("%%py\nexit()").errors
    assert "exit()" in error and "%agent stop" in error and "final_answer" not in error
    assert kernel.run("%%py\nkept").must_be_ok().contents("execute_result")


# -- runs whose page went away


def test_a_run_whose_page_was_reloaded_is_offered_once(tmp_path):
    kernel = NotebookKernel(tmp_path)
    kernel.run(SCRIPTS).must_be_ok()
    model(kernel, "final_answer(42)")
    kernel.run("%%agent --model m\nwhat is it?", cell_id="c1").must_be_ok()
    after_reload = kernel.connect()
    offered = kernel.run("%agent", client=after_reload).must_be_ok().printed
    assert "what is it?" in offered and "ended (done)" in offered
    command, write = offered[offered.index("%agent show") :].splitlines()[0].split(" · its cells: ")
    shown = kernel.run(command, client=after_reload).must_be_ok()
    assert "42" in shown.displays[0]["data"]["text/plain"]
    kernel.run(write.replace("FILE", "cells.py"), client=after_reload).must_be_ok()
    assert "42" in (tmp_path / "cells.py").read_text()
    assert "what is it?" not in kernel.run("%agent", client=after_reload).printed
    after_reload.stop_channels()
    kernel.close()


def test_a_run_whose_page_stayed_is_not_offered(tmp_path):
    kernel = NotebookKernel(tmp_path)
    kernel.run(SCRIPTS).must_be_ok()
    model(kernel, "final_answer(42)")
    kernel.run("%%agent --model m\nwhat is it?").must_be_ok()
    assert "what is it?" not in kernel.run("%agent").printed
    kernel.close()


def test_a_run_that_lost_its_kernel_is_offered_by_the_next_one(tmp_path):
    kernel = NotebookKernel(tmp_path)
    kernel.run(SCRIPTS).must_be_ok()
    model(kernel, "print('be' + 'gun')\nwhile True: pass")
    cell = kernel.start("%%agent --model m\nloop for ever")
    cell.until_shown("begun")
    kernel.close()
    restarted = NotebookKernel(tmp_path)
    offered = restarted.run("%agent").must_be_ok().printed
    assert "was cut off" in offered and "loop for ever" in offered
    restarted.close()


def test_runs_whose_kernel_was_restarted_by_the_same_page_are_offered_once(tmp_path):
    kernel = NotebookKernel(tmp_path)
    kernel.run(SCRIPTS).must_be_ok()
    model(kernel, *["final_answer(1)"] * 6, "print('be' + 'gun')\nwhile True: pass")
    for number in range(6):
        kernel.run(f"%%agent --model m\nquick one {number}").must_be_ok()
    kernel.start("%%agent --model m\nloop for ever").until_shown("begun")
    page = kernel.client.session.session
    kernel.client.stop_channels()
    kernel.manager.shutdown_kernel()
    restarted = NotebookKernel(tmp_path)
    restarted.client.session.session = page
    offered = restarted.run("%agent").must_be_ok().printed
    assert "loop for ever" in offered and "quick one 5" in offered
    assert "… and 2 more before: %agent runs" in offered
    assert "An earlier run" not in restarted.run("%agent").printed
    restarted.close()


def test_no_child_outlives_the_kernel(tmp_path):
    import psutil

    kernel = NotebookKernel(tmp_path)
    kernel.run("%%py\nx = 1").must_be_ok()
    children = psutil.Process(kernel.manager.provisioner.pid).children(recursive=True)
    assert children
    kernel.client.stop_channels()
    kernel.manager.shutdown_kernel()
    assert psutil.wait_procs(children, timeout=30)[1] == []
