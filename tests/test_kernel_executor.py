"""Actions in a real child kernel: values, outputs, errors, stops, deaths."""

from __future__ import annotations

import base64
import functools
import io
import itertools
import math
import os
import re
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harmless import assert_harmless
from IPython.core.interactiveshell import _modified_open

from smol_kernel.errors import AgentExecutionError, ConfigError, ExecutorError, NotPortableError, ToolError
from smol_kernel.events import ActionFinished, Output
from smol_kernel.executors import streams
from smol_kernel.executors.base import PythonExecutor
from smol_kernel.executors.client import KernelClient
from smol_kernel.executors.create import create
from smol_kernel.executors.displays import CHART, LIVE
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.local import LocalPythonExecutor
from smol_kernel.executors.values import RemoteValue, decode
from smol_kernel.render.sanitize import output_html
from smol_kernel.tools.base import tool


@pytest.fixture(scope="module")
def kernel():
    executor = KernelExecutor(timeout_seconds=60)
    yield executor
    executor.cleanup()


@pytest.fixture(scope="module")
def other():
    executor = KernelExecutor()
    yield executor
    executor.cleanup()


@pytest.fixture
def used(other):
    """An executor that tests may stop and change; its child lives on."""
    other.timeout_seconds, other.interrupt_grace_seconds = 60, 3
    value(other, "1")
    yield other
    other.clear_interrupt()


@pytest.fixture
def fresh():
    executor = KernelExecutor(timeout_seconds=60, interrupt_grace_seconds=0.5)
    yield executor
    executor.cleanup()


@pytest.fixture
def unboxed():
    executor = KernelExecutor(timeout_seconds=60, interrupt_grace_seconds=0.5, box=False)
    yield executor
    executor.cleanup()


def run(executor, code):
    """All events of an action, and its last one."""
    events = list(executor.run(code))
    assert isinstance(events[-1], ActionFinished)
    assert not any(isinstance(event, ActionFinished) for event in events[:-1])
    return events, events[-1]


def finish(executor, code):
    return run(executor, code)[1]


def value(executor, code):
    finished = finish(executor, code)
    assert finished.status == "ok", finished
    return decode(finished.value)


def outputs(executor, code):
    """What it puts out. Text that came in several pieces, as a busy machine has it come, is one."""
    found = []
    for event in run(executor, code)[0]:
        if isinstance(event, Output):
            goes_on = found and event.channel in ("stdout", "stderr") and found[-1][0] == event.channel
            found.append((event.channel, found.pop()[1] + event.text if goes_on else event.text))
    return found


def interrupt_at_output(executor, code):
    """Runs code, interrupts it from another thread once it has put something out."""
    events = []
    for event in executor.run(code):
        events.append(event)
        if isinstance(event, Output) and len(events) == 1:
            threading.Thread(target=executor.interrupt).start()
    executor.clear_interrupt()
    return events[-1]


# values


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = 3", 3),
        ("x + 4", 7),
        ("x += 1", 4),
        ("y: list = [1, 2]", [1, 2]),
        ("a, b = 1, 'two'", (1, "two")),
        ("a = b = 5", 5),
        ("def f(): pass", None),
        ("import math", None),
        ("print(1)", None),
        ("if True:\n    z = 1", None),
        ("{'k': {1, 2}}", {"k": {1, 2}}),
        ("", None),
        ("# nothing", None),
        ("[n for n in range(3)]", [0, 1, 2]),
        ("(walrus := 8)", 8),
    ],
)
def test_the_last_statement_gives_the_value(kernel, code, expected):
    value(kernel, "x = 3")
    assert value(kernel, code) == expected


def test_a_table_comes_out_intact(kernel):
    frame = value(kernel, "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]}, index=pd.Index(['p', 'q'], name='i'))")
    assert frame.loc["q", "a"] == 2
    assert frame.index.name == "i"


def test_the_text_of_a_value_is_what_ipython_shows(kernel):
    assert finish(kernel, "'a'").value_text == "'a'"
    assert finish(kernel, "'a\\nb'").value_text == "a\nb"
    assert finish(kernel, "None").value_text == ""
    assert finish(kernel, "import pandas as pd\npd.DataFrame({'a': [1]})").value_text == "   a\n0  1"


def test_what_cannot_cross_stays_and_is_described(kernel):
    stayed = value(kernel, "handle = object()")
    assert isinstance(stayed, RemoteValue)
    assert (stayed.type_name, stayed.handle) == ("object", "handle")
    assert value(kernel, "type(handle).__name__") == "object"


def test_an_action_that_ends_in_a_semicolon_shows_no_value(kernel):
    for code in ("7 * 6;", "7 * 6;  # a remark", "x = 42;", "import math\n42;\n"):
        events, finished = run(kernel, code)
        assert [event for event in events if isinstance(event, Output)] == []
        assert (finished.value, finished.value_text) == (None, ""), code
    assert value(kernel, "x = ';'\n';'") == ";"
    assert value(kernel, "7 * 6") == 42


def test_the_text_of_a_value_is_made_once(kernel):
    """It may run a query, or call a tool."""
    value(kernel, "made = 0\nclass Lazy:\n    def __repr__(self):\n        global made; made += 1; return 'rows'")
    _, assigned = run(kernel, "q = Lazy()")
    assert (assigned.value_text, value(kernel, "made")) == ("rows", 1)
    assert isinstance(decode(assigned.value), RemoteValue) and decode(assigned.value).text == "rows"
    events, shown = run(kernel, "q")
    assert [event.text for event in events if isinstance(event, Output)] == ["rows"]
    assert (shown.value_text, decode(shown.value).text, value(kernel, "made")) == ("rows", "rows", 2)
    assert run(kernel, "get_ipython().run_cell('q')\nNone")[1].value_text == ""
    empty = "class Empty:\n    def __repr__(self): return ''\nEmpty()"
    assert run(kernel, empty)[1].value_text == "<Empty that cannot be shown>"


def test_a_value_above_the_limit_stays(kernel):
    stayed = value(kernel, "import numpy as np\nbig = np.zeros((3000, 1000))")
    assert isinstance(stayed, RemoteValue)
    assert stayed.shape == (3000, 1000)


@pytest.mark.parametrize("error", ["ValueError('no')", "SystemExit", "KeyboardInterrupt"])
def test_a_value_whose_repr_raises_does_no_harm(kernel, error):
    code = f"class Odd:\n    def __repr__(self): raise {error}\nprint('a' * 1_100_000, 'the end')\nodd = Odd()"
    finished = finish(kernel, code)
    assert (finished.status, finished.completed) == ("ok", 3)
    assert "Odd" in finished.value_text or "cannot be shown" in finished.value_text
    assert finished.logs.endswith("the end\n") and "odd" in finished.names
    if error == "ValueError('no')":
        assert "no" in kernel.read("odd").text
    else:
        with pytest.raises(ExecutorError, match=r"'odd' .* cannot be read"):
            kernel.read("odd")
    assert value(kernel, "1 + 1") == 2


@pytest.mark.parametrize("method", ["__bool__", "__repr__"])
def test_a_check_of_a_value_that_would_end_the_kernel_is_not_passed(kernel, method):
    value(
        kernel,
        f"class Odd:\n    __len__ = lambda self: 0\n    def {method}(self): raise SystemExit('out')\nodd = Odd()",
    )
    (checked,) = kernel.check(["odd"])
    assert (checked.ok, "out" in checked.reason) == (False, True)
    assert value(kernel, "1 + 1") == 2


def test_a_stop_while_a_value_is_shown_keeps_the_account_of_the_action(used):
    code = "class Slow:\n    def __repr__(self):\n        print('showing', flush=True)\n        while True: pass\n"
    finished = interrupt_at_output(used, f"{code}print('b' * 1_000); total = 5\nslow = Slow()")
    assert (finished.completed, {"total", "slow"} <= set(finished.names)) == (4, True)
    assert "NotPortable" not in finished.logs and "b" * 1_000 in finished.logs
    assert value(used, "total") == 5


def test_what_json_does_not_know_is_sent_as_the_kernel_itself_would(kernel):
    assert finish(kernel, "from ipywidgets import FloatText\nnumber = FloatText(float('nan'))").status == "ok"


def test_ipython_semantics_hold(kernel):
    assert value(kernel, "6 * 7") == 42
    assert value(kernel, "_ + 1") == 43
    assert value(kernel, "import asyncio\nawait asyncio.sleep(0, 'awaited')") == "awaited"
    assert "cached" in "".join(text for _, text in outputs(kernel, "%%capture out\nprint('cached')")) + value(
        kernel, "out.stdout"
    )
    assert value(kernel, "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nP(3).x") == 3


# outputs


def test_stdout_and_stderr_are_told_apart_and_keep_their_order(kernel):
    code = "import sys\nprint('one', flush=True); print('two', file=sys.stderr, flush=True); print('three')"
    assert outputs(kernel, code) == [("stdout", "one\n"), ("stderr", "two\n"), ("stdout", "three\n")]


def test_what_is_written_to_both_streams_comes_in_the_order_in_which_it_was_written(kernel):
    code = (
        "import logging, os, subprocess, sys\nprint('a')\nprint('b', file=sys.stderr)\nprint('c')\n"
        "os.write(2, b'd\\n')\nprint('e')\nsys.stderr.write('f\\n')\nos.write(1, b'g\\n')\n"
        "logging.error('h')\nsubprocess.run([sys.executable, '-c', 'print(\"i\")'])\n"
        "print('j', file=sys.stderr)\nprint('k');"
    )
    for _ in range(5):
        shown = outputs(kernel, code)  # a line may come in two pieces
        assert "".join(text for _, text in shown).replace("ERROR:root:", "").split() == [*"abcdefghijk"]
        channels = [channel for channel, _ in itertools.groupby(channel for channel, _ in shown)]
        assert channels == ["stdout", "stderr"] * 5 + ["stdout"]


@pytest.mark.parametrize(
    "code",
    [
        "class A:\n    def __init__(self): self.own = self\n    def __del__(self): print('del', file=sys.stderr)\n"
        "for i in range(20_000):\n    A(); print(i)",
        "signal.signal(signal.SIGALRM, lambda *_: print('sig', file=sys.stderr))\n"
        "signal.setitimer(signal.ITIMER_REAL, .01, .01)\nfor i in range(20_000): print(i)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)",
        "class R:\n    def __init__(self): self.own = self\n    def __del__(self): 1 / 0\n"
        "for i in range(6_000):\n    R(); print('row', i)",
    ],
    ids=["finalizers", "signals", "finalizers that fail"],
)
def test_what_writes_to_stderr_in_the_middle_of_a_print_does_no_harm(kernel, code):
    assert value(kernel, f"import gc, signal, sys\n{code}\ngc.collect()\n1") == 1


def test_finalizers_that_fail_where_ipykernel_sends_do_not_stop_it(used):
    """The collector runs in any thread; what such a finalizer says is written and flushed at once."""
    code = (
        "import gc, threading\nclass R:\n    def __init__(self): self.own = self\n    def __del__(self): 1 / 0\n"
        "done = threading.Event()\ngc.disable()\ntry:\n    many = [R() for _ in range(3_000)]\n    del many\n"
        "    kernel = get_ipython().kernel\n"
        "    kernel.iopub_thread.schedule(lambda: (gc.collect(), done.set()))\n    done.wait(50)\n"
        "finally: gc.enable()\ndone.is_set()"
    )
    assert value(used, code) is True
    assert finish(used, "print('still')").logs == "still\n"


def test_what_is_printed_is_sent_after_an_interrupt_in_the_middle_of_a_print(kernel):
    """As `flush` says, which a tool call relies on: what was printed before it comes before it."""
    code = (
        "import signal, sys\ndef ring(*_): raise InterruptedError\nsignal.signal(signal.SIGALRM, ring)\nsent = []\n"
        "def on():\n    signal.setitimer(signal.ITIMER_REAL, .005)\n    while True: print('x', end='')\n"
        "for _ in range(50):\n    print('a line')\n    try: on()\n"
        "    except InterruptedError: sent.append(sys.stdout.flush())\nsent.count(True)"
    )
    assert value(kernel, code) == 50


def test_an_interrupt_in_the_middle_of_asking_does_not_end_the_thread_that_sends(kernel):
    """Where CPython asks for a lock in `is_alive`, an exception had it taken for ended: two threads sent at once."""
    code = (
        "import sys\nfor line in range(1, 9):\n    left = line\n"
        "    def trace(frame, event, arg):\n        global left\n"
        "        if frame.f_code.co_name != '_wait_for_tstate_lock': return None\n        left -= event == 'line'\n"
        "        if not left: raise InterruptedError\n        return trace\n"
        "    sys.settrace(trace)\n    try: sys.stdout.pub_thread.thread.is_alive()\n    except InterruptedError: pass\n"
        "    finally: sys.settrace(None)\nsys.stdout.pub_thread.thread.is_alive()"
    )
    assert value(kernel, code) is True


def test_nothing_is_lost_where_both_streams_are_written_to_by_turns_very_often(kernel):
    shown = outputs(kernel, "import sys\nfor n in range(2_000):\n    print(n)\n    print('x', file=sys.stderr)")
    texts = {name: "".join(text for channel, text in shown if channel == name) for name in ("stdout", "stderr")}
    assert texts["stdout"].split() == [*map(str, range(2_000))]
    assert texts["stderr"].split() == ["x"] * 2_000


def test_output_arrives_while_the_action_runs(used):
    events = used.run("print('first', flush=True)\nwhile True: pass")
    assert next(events).text == "first\n"
    used.interrupt()
    assert [event.status for event in events] == ["interrupted"]


def test_a_plot_is_shown_at_the_end_of_the_action_and_closed(kernel):
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint('drawn')"
    events, finished = run(kernel, code)
    assert finished.status == "ok"
    pictures = [event.data["image/png"] for event in events if isinstance(event, Output) and "image/png" in event.data]
    assert len(pictures) == 1
    assert base64.b64decode(pictures[0]).startswith(b"\x89PNG")
    assert value(kernel, "plt.get_fignums()") == []


def test_a_plot_drawn_before_an_error_is_shown(kernel):
    events, finished = run(kernel, "import matplotlib.pyplot as plt\nplt.plot([1])\n1 / 0")
    assert finished.error_type == "ZeroDivisionError"
    assert any("image/png" in event.data for event in events if isinstance(event, Output))


def test_matplotlib_and_pandas_load_at_need_only(fresh, monkeypatch):
    heavy = "import sys\n[n for n in ('matplotlib', 'debugpy', 'pandas', 'numpy') if sys.modules.get(n)]"
    assert set(value(fresh, heavy)) <= {"pandas", "numpy"}  # of a zygote
    fresh.restart()
    monkeypatch.setenv("SMOL_ZYGOTE", "off")
    assert value(fresh, heavy) == []


def test_only_allowed_forms_of_displayed_objects_come_through(kernel):
    forms = {
        "text/plain": "p",
        "text/html": "<b>h</b>",
        "application/javascript": "alert(1)",
        "image/svg+xml": "<svg/>",
    }
    code = f"from IPython.display import display\ndisplay({forms}, raw=True)"
    (event,) = [event for event in run(kernel, code)[0] if isinstance(event, Output)]
    assert event.data == {"text/plain": "p", "text/html": "<b>h</b>"}


def test_a_picture_given_as_bytes_is_shown(kernel):
    code = "from PIL import Image\nfrom IPython.display import display\ndisplay(Image.new('RGB', (3, 2)))"
    (event,) = [event for event in run(kernel, code)[0] if isinstance(event, Output)]
    assert base64.b64decode(event.data["image/png"]).startswith(b"\x89PNG")
    assert finish(kernel, code).logs.endswith("[image: 3 x 2 PNG]\n")


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("Markdown('# Title')", "# Title"),
        ("Math('x^2')", "$\\displaystyle x^2$"),
        ("JSON({'a': [1]})", '{\n "a": [\n  1\n ]\n}'),
        ("SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')", "[image/svg+xml left out: SVG is not shown]"),
        ("HTML('<b>bold</b>')", ""),
    ],
)
def test_an_object_that_is_only_shown_is_told_in_words(kernel, shown, text):
    code = f"from IPython.display import *\ndisplay({shown})"
    (event,) = [event for event in run(kernel, code)[0] if isinstance(event, Output)]
    assert event.text == text


DIV = "<div id='c'></div><script>draw()</script>"


@pytest.mark.parametrize(
    ("bundle", "text"),
    [
        ({"application/vnd.plotly.v1+json": {"data": []}, "text/html": DIV + "x" * 2_000_000}, CHART),
        ({"application/vnd.vegalite.v5+json": {}, "text/plain": "alt.Chart(...)"}, f"alt.Chart(...)\n{CHART}"),
        ({"application/vnd.bokehjs_exec.v0+json": "", "application/javascript": "f()", "text/html": "<p></p>"}, CHART),
        ({"text/html": f"<style>#c {{}}</style>{DIV}", "text/plain": "alt.Chart(...)"}, f"alt.Chart(...)\n{CHART}"),
        ({"text/html": DIV + "x" * 2_000_000}, CHART),
        ({"text/html": "<b>Make this Notebook Trusted to load map</b><iframe srcdoc='x'></iframe>"}, CHART),
        ({"text/html": f"<p>a map</p>{DIV}"}, CHART),
    ],
)
def test_a_chart_that_scripts_draw_is_told_in_words(kernel, bundle, text):
    events, finished = run(kernel, f"from IPython.display import display\ndisplay({bundle}, raw=True)")
    (event,) = [event for event in events if isinstance(event, Output)]
    assert (event.text, event.data[LIVE], finished.logs) == (text, "chart", text + "\n")
    shown = output_html(event)
    assert "interactive chart" in shown and "Trusted" not in shown and ("a map" in shown) == ("a map" in str(bundle))
    assert_harmless(shown)


def test_the_value_of_an_action_that_is_a_chart_is_told_to_the_model_as_one(kernel):
    code = f"class Chart:\n    _repr_html_ = lambda self: {DIV!r}\n    __repr__ = lambda self: 'Chart(...)'\nChart()"
    finished = finish(kernel, code)
    assert (finished.logs, finished.value_text) == (f"{CHART}\n", "Chart(...)")


def test_a_library_of_scripts_is_not_shown(kernel):
    library = f"<script type='a'>'<script>'; {'x' * 2_000_000}</script>\n<SCRIPT>1</SCRIPT >\n"
    finished = finish(kernel, f"from IPython.display import display\ndisplay({{'text/html': {library!r}}}, raw=True)")
    assert finished.logs == ""


@pytest.mark.parametrize(
    ("bundle", "kind"),
    [
        ({"text/html": "<table id='T_1'></table>", "text/plain": "t"}, "table"),
        ({"image/svg+xml": "<svg/>", "text/plain": "t"}, "svg"),
        ({"text/html": "<table class='dataframe'></table>", "text/plain": "t"}, None),
    ],
)
def test_what_a_notebook_shows_otherwise_is_marked(kernel, bundle, kind):
    code = f"from IPython.display import display\ndisplay({bundle}, raw=True)"
    (event,) = [event for event in run(kernel, code)[0] if isinstance(event, Output)]
    assert (event.text, event.data.get(LIVE)) == ("t", kind)


@pytest.mark.parametrize("name", ["sk", "xr"])
def test_what_html_hides_by_its_styles_is_not_shown_the_text_is(kernel, name):
    html = f"<style>.{name}-text-repr-fallback {{display: none}}</style><script>copy()</script>"
    bundle = {"text/html": f"{html}<pre class='{name}-text-repr-fallback'>rerun this cell</pre>", "text/plain": "t"}
    code = f"from IPython.display import display\ndisplay({bundle}, raw=True)"
    (event,) = [event for event in run(kernel, code)[0] if isinstance(event, Output)]
    assert event.data == {"text/plain": "t"}


def test_help_is_printed(kernel):
    logs = finish(kernel, "def half(n):\n    'Halves it.'\n    return n / 2\n\nhalf?").logs
    assert "half(n)" in logs and "Halves it." in logs and "\x1b" not in logs


def test_a_progress_bar_of_tqdm_is_text(kernel):
    events, finished = run(kernel, "from tqdm.auto import tqdm\nfor n in tqdm(range(3)): pass")
    assert "3/3" in finished.logs
    assert all(event.channel == "stderr" for event in events if isinstance(event, Output))


def test_fifty_megabytes_of_prints_are_cut_in_the_child(kernel):
    code = "for n in range(50):\n    print('x' * 1_000_000)\nprint('the end')"
    printed = "".join(text for channel, text in outputs(kernel, code) if channel == "stdout")
    assert len(printed) < 3_000_000
    assert "characters left out" in printed
    assert printed.endswith("the end\n")
    assert len(finish(kernel, code).logs) < 25_000


def test_a_flood_of_displays_is_cut(kernel):
    code = "from IPython.display import display\nfor n in range(300): display(n)"
    assert 0 < len(outputs(kernel, code)) <= 200


@pytest.mark.parametrize(
    "code",
    [
        "n = os.write(1, b'RESULT 42\\n')",
        "n = os.write(2, b'RESULT 42\\n')",
        "d = subprocess.run([sys.executable, '-S', '-c', 'print(\"RESULT 42\")'])",
    ],
    ids=["stdout", "stderr", "subprocess"],
)
def test_what_is_written_to_the_descriptor_belongs_to_the_action_that_wrote_it(kernel, code):
    value(kernel, "import os, subprocess, sys")
    for _ in range(20):
        assert run(kernel, code)[1].logs == "RESULT 42\n"


def test_what_is_written_to_the_descriptor_keeps_its_place(kernel):
    code = "import os\nn = os.write(1, 'ä'.encode()[:1])\nn = os.write(1, 'ä1 '.encode()[1:])\nprint('2', end=' ')\n"
    code += "n = os.write(1, b'3 \\xff')\nprint(4, os.write(1, b'5 \\xc3'))"
    assert run(kernel, code)[1].logs == "ä1 2 3 \ufffd5 4 3\n\ufffd"
    assert run(kernel, "print('next')")[1].logs == "next\n"


def test_what_is_written_to_the_descriptor_is_kept_whole(fresh):
    value(fresh, "import os, sys\nsys.setswitchinterval(5)\n1")  # who reads it has no turn before the end
    value(fresh, "n = os.write(1, b'x' * 60_000)")
    assert value(fresh, "list(map(len, _logs.values()))") == [60_000]


def test_what_a_subprocess_writes_without_end_holds_up_nobody(kernel):
    endless = "import subprocess, sys\np = subprocess.Popen([sys.executable, '-S', '-c', 'while True: print(10**50)'])"
    value(kernel, f"{endless}\n1")
    assert value(kernel, "p.kill()\np.wait()\n2") == 2


def test_a_task_puts_out_where_it_is_awaited(kernel):
    begin = "import asyncio\nasync def work():\n    await gate.wait()\n    print('from the task')\n    display(7)\n"
    begin += "gate = asyncio.Event()\ntask = asyncio.create_task(work())\n"
    first = run(kernel, f"{begin}asyncio.get_running_loop().call_later(0, print, 'x');")[1].logs
    second = run(kernel, "gate.set()\nawait task\nawait asyncio.sleep(0)\nprint('after it')")[1].logs
    assert (first + second).replace("x\n", "") == "from the task\n7\nafter it\n"
    assert (first + second).count("x\n") == 1


def test_output_of_subprocesses_is_seen(kernel):
    code = "import subprocess, sys\nprint(subprocess.check_output([sys.executable, '-c', 'print(6 * 7)'], text=True))"
    assert "42" in "".join(text for _, text in outputs(kernel, code))


def test_a_shell_is_there_without_a_box(unboxed):
    assert "and by bang" in "".join(text for _, text in outputs(unboxed, "!echo and by bang"))


# errors


def test_an_error_names_the_actions_own_frames(kernel):
    finished = finish(kernel, "def half(n):\n    return n / 0\n\nhalf(3)")
    assert (finished.status, finished.error_type, finished.error) == ("error", "ZeroDivisionError", "division by zero")
    assert finished.traceback == (
        "Traceback (most recent call last):\n"
        '  File "<action>", line 4, in <module>\n    half(3)\n'
        '  File "<action>", line 2, in half\n    return n / 0\n'
        "ZeroDivisionError: division by zero"
    )


def test_of_a_library_only_the_last_frame_is_shown(kernel):
    finished = finish(kernel, "import pandas as pd\npd.DataFrame({'a': [1]})['b']")
    assert finished.error_type == "KeyError"
    frames = [line for line in finished.traceback.splitlines() if line.startswith("  File")]
    assert sum("<action>" in line for line in frames) == 1
    assert all("IPython" not in line and "smol" not in line for line in frames)
    assert finished.traceback.endswith("KeyError: 'b'")


def test_chained_causes_are_told(kernel):
    code = "try:\n    {}['k']\nexcept KeyError as e:\n    raise ValueError('outer') from e"
    text = finish(kernel, code).traceback
    assert text.index("KeyError: 'k'") < text.index("direct cause") < text.index("ValueError: outer")


def test_an_error_of_a_function_of_an_earlier_action_shows_its_line(kernel):
    value(kernel, "def later():\n    raise RuntimeError('late')")
    assert "line 2, in later" in finish(kernel, "later()").traceback


def test_deep_recursion_is_cut(kernel):
    finished = finish(kernel, "def down(): down()\ndown()")
    assert finished.error_type == "RecursionError"
    assert "frames left out" in finished.traceback
    assert len(finished.traceback.splitlines()) < 40


def test_after_an_error_what_completed_is_still_there(kernel):
    finished = finish(kernel, "kept = 1; also = 2\nboom()\nnever = 3")
    assert finished.error == "name 'boom' is not defined"
    assert finished.completed == 2
    assert {"kept", "also"} <= set(finished.names)
    assert "never" not in finished.names
    assert value(kernel, "kept + also") == 3


@pytest.mark.parametrize(
    ("code", "completed"),
    [("a = 1\nb = 2", 2), ("a = 1; 1 / 0; b = 2", 1), ("1 / 0", 0), ("for i in range(3):\n    1 / 0", 0), ("1 +", 0)],
)
def test_completed_statements_are_counted(kernel, code, completed):
    assert finish(kernel, code).completed == completed


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("1 +", "SyntaxError"),
        ("  x = 1\n y = 2", "IndentationError"),
        ("return 3", "SyntaxError"),
        ("%nosuchmagic", "UsageError"),
    ],
)
def test_code_that_does_not_compile_is_an_error_of_the_action(kernel, code, kind):
    finished = finish(kernel, code)
    assert (finished.status, finished.error_type) == ("error", kind)
    assert "/tmp" not in finished.traceback


def test_an_error_whose_message_raises_or_is_huge_does_no_harm(kernel):
    odd = "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd"
    assert finish(kernel, odd).error_type == "Odd"
    assert len(finish(kernel, "raise ValueError('x' * 10**8)").error) < 20_000
    assert value(kernel, "1") == 1


@pytest.mark.parametrize("code", ["exit()", "quit()", "import sys\nsys.exit(2)", "exit", "raise SystemExit"])
def test_exit_ends_the_action_not_the_child(kernel, code):
    value(kernel, "before = 1")
    finished = finish(kernel, code)
    if code != "exit":  # alone it is a name like others, unless IPython calls it
        assert (finished.status, finished.error_type) == ("error", "SystemExit")
    assert value(kernel, "before") == 1


def test_warnings_and_handled_errors_are_no_errors(kernel):
    assert finish(kernel, "try:\n    1 / 0\nexcept ZeroDivisionError:\n    ok = 1").status == "ok"


def test_what_is_left_out_is_counted_whole(kernel):
    events, finished = run(kernel, "for number in range(400_000): print(number)")
    shown = "".join(event.text for event in events if isinstance(event, Output))
    size = sum(len(f"{number}\n") for number in range(400_000))
    for text in (shown, finished.logs):
        (note,) = re.findall(r"… ([\d,]+) characters left out[^…]*…", text)
        assert abs(int(note.replace(",", "")) - (size - len(text))) < 200


def test_a_display_that_was_updated_comes_once_more_as_it_is_at_the_end(kernel):
    code = "shown = display('old', display_id=True)\nfor state in 'mid', 'new': shown.update(state)\nprint('end')"
    assert [text for _, text in outputs(kernel, code)] == ["'old'", "end\n", "'new'"]
    assert outputs(kernel, "shown.update('later')") == [("display", "'later'")]


def test_of_an_animation_the_last_picture_comes(kernel):
    code = """from IPython.display import clear_output
display("before")
for number in range(1_000):
    clear_output(wait=True)
    shown = display(f"frame {number}", display_id=True)
    shown.update(f"frame {number}, whole")
display("behind it")
print("end")"""
    assert [text for _, text in outputs(kernel, code)] == ["'before'", "end\n", "'frame 999, whole'", "'behind it'"]
    assert [text for _, text in outputs(kernel, "display(1)\nclear_output()\ndisplay(2)\n1 / 0")] == ["1", "2"]
    assert [text for _, text in outputs(kernel, "display(3); print(4); display(5)")] == ["3", "4\n", "5"]
    loop = "for number in range(4):\n    display(number)\n    clear_output(wait={})"
    assert [text for _, text in outputs(kernel, loop.format(True))] == ["0", "3"]
    assert [text for _, text in outputs(kernel, loop.format(False))] == ["0"]
    updated = "h = display(0, display_id=True)\nh.update(1)\nclear_output()\ndisplay(2)"
    assert [text for _, text in outputs(kernel, updated)] == ["0", "2"]


def test_a_display_that_is_too_large_is_told(kernel):
    for code in ("display(HTML(large))", "HTML(large)"):
        ((_, text),) = outputs(kernel, f"from IPython.display import HTML\nlarge = 'x' * 13_000_000\n{code}")
        assert text.startswith("[text/html left out: 13,000,000 characters")


def test_a_warning_of_the_parser_comes_once_and_names_no_temporary_file(kernel):
    ((_, text),) = outputs(kernel, "if 1 is 1: pass")
    assert re.fullmatch(r"<action>:1: SyntaxWarning: [^\n]+\n  if 1 is 1: pass\n", text)
    told = outputs(kernel, r"found = '\d'")  # Python tells of it from 3.12 on
    assert "".join(text for _, text in told).count("Warning") == (sys.version_info >= (3, 12))
    assert all(text.startswith("<action>:1: SyntaxWarning: ") for _, text in told)


def test_a_warning_names_no_temporary_file(kernel):
    assert outputs(kernel, "import warnings\nwarnings.warn('careful')") == [
        ("stderr", "<action>:2: UserWarning: careful\n  warnings.warn('careful')\n")
    ]


def test_an_exception_group_lists_its_parts(kernel):
    code = "import sys\nif sys.version_info < (3, 11): raise RuntimeError('inner part')\n"
    code += "raise ExceptionGroup('several', [ValueError('inner part')])"
    assert "inner part" in finish(kernel, code).traceback


# the final answer


@pytest.mark.parametrize(
    "code", ["final_answer(5)", "final_answer(answer=5)", "try:\n    final_answer(5)\nexcept Exception:\n    pass"]
)
def test_final_answer_ends_the_action(kernel, code):
    finished = finish(kernel, f"{code}\nraise RuntimeError('not reached')")
    assert (finished.status, finished.final, decode(finished.value), finished.value_text) == ("ok", True, 5, "5")


def test_final_answer_survives_a_bare_except_and_counts_once(kernel):
    finished = finish(
        kernel,
        "try:\n    final_answer(1)\nexcept BaseException:\n    pass\ntry:\n    final_answer(2)\nfinally:\n    pass",
    )
    assert (finished.final, decode(finished.value)) == (True, 1)
    assert not finish(kernel, "1").final


def test_final_answer_takes_tables_and_none(kernel):
    table = decode(finish(kernel, "import pandas as pd\nfinal_answer(pd.DataFrame({'a': [1]}))").value)
    assert list(table.columns) == ["a"]
    finished = finish(kernel, "final_answer(None)")
    assert (finished.final, finished.value) == (True, None)


def test_final_answer_refuses_what_cannot_cross_and_the_model_can_repair_it(kernel):
    finished = finish(kernel, "final_answer(object())")
    assert (finished.status, finished.final, finished.error_type) == ("error", False, "TypeError")
    assert "object" in finished.error
    finished = finish(kernel, "import numpy as np\nfinal_answer(np.zeros((9_000_000,)))")
    assert (finished.status, finished.final) == ("error", False)
    assert "limit" in finished.error


def test_names_of_ours_come_back_after_the_action_took_them_away(kernel):
    for code in (
        "final_answer = 3",
        "import builtins\ndel builtins.final_answer",
        "del final_answer",
        "def final_answer(x): return x",
        "import sys\nsys.stdout = None",
    ):
        finish(kernel, code)
        value(kernel, "import sys\nsys.stdout = sys.stdout or sys.__stdout__")
        assert finish(kernel, "final_answer('there')").final


@pytest.mark.parametrize("name", ["sum", "len", "print", "isinstance"])
def test_a_variable_may_have_the_name_of_a_builtin(kernel, name):
    assert value(kernel, f"{name} = 3") == 3
    finished = finish(kernel, f"def {name}(*_): raise ValueError('of the action')\n{name}(1)")
    assert (finished.error, finished.completed, name in finished.names) == ("of the action", 1, True)
    assert value(kernel, f"del {name}\nlen('abc')") == 3


@pytest.mark.parametrize("name", ["sum", "len", "print", "input", "class", "a b"])
def test_a_function_with_a_name_that_code_needs_is_refused(fresh, name):
    with pytest.raises(ToolError, match=repr(name)):
        KernelExecutor(additional_functions={name: max})
    with pytest.raises(ToolError, match=repr(name)):
        fresh.send_tools({name: max})


def test_builtins_under_their_own_names_are_there_anyway(kernel):
    def guarded(path):
        return f"not {path}"

    given = {"open": _modified_open, "len": len, "print": print, "guarded": guarded}
    executor = KernelExecutor(additional_functions=given)
    assert list(executor.additional_functions) == list(given)
    kernel.send_tools(given)
    try:
        assert value(kernel, "print('a')\n(open('/dev/null').read(), len('ab'), guarded('b'))") == ("", 2, "not b")
    finally:
        kernel.send_tools({})
    with pytest.raises(ToolError, match="'open' cannot be the name of a tool"):
        KernelExecutor(additional_functions={"open": guarded})
    with pytest.raises(ToolError, match="'open' cannot be the name of a tool"):
        KernelExecutor(additional_functions={"open": functools.wraps(open)(guarded)})


def test_a_closed_stream_prints_what_later_actions_print(kernel):
    assert finish(kernel, "import sys\nwith sys.stdout: print('a')\nsys.stderr.close()").logs == "a\n"
    assert finish(kernel, "print('b')\nprint('c', file=sys.stderr)").logs == "b\nc\n"


class Printed(io.StringIO):
    """A stream whose methods can be replaced, as those of the kernel's own can."""


def test_what_threads_print_at_once_is_counted_whole():
    printed, rounds, threads = Printed(), 20_000, 8
    stream = streams.Stream(printed, lambda _: None)

    def work():
        for number in range(rounds):
            stream.write("y" * (70_000 if number % 2 else 10_000))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(work) for _ in range(threads)]:
                done.result()
    finally:
        sys.setswitchinterval(before)
    left_out = stream.left_out
    stream.end()
    assert printed.getvalue().count("y") + left_out == threads * rounds * 40_000
    del printed.close  # it is closed when it is collected


def test_an_action_that_deletes_builtins_does_not_hang_the_host(used):
    finish(used, "import builtins\nfor n in ('print', 'len', 'isinstance', 'vars', 'str'): delattr(builtins, n)")
    assert value(used, "len('abc')") == 3


def test_an_action_that_has_all_files_open_that_it_may_loses_no_output(fresh):
    keep = "kept = []\ntry:\n    while True: kept.append(open('/dev/null'))\nexcept OSError as error: "
    assert finish(fresh, f"{keep}print(error.strerror)").logs == "Too many open files\n"
    assert finish(fresh, "kept.clear()\nprint('again')").logs == "again\n"


def test_nor_does_one_that_prints_much(fresh):
    keep = "kept = []\ntry:\n    while True: kept.append(open('/dev/null'))\nexcept OSError: "
    finished = finish(fresh, f"{keep}print('x' * 300_000)\nprint('end')")
    assert (finished.status, finished.logs[:9], finished.logs[-4:]) == ("ok", "xxxxxxxxx", "end\n")


# time, stops, deaths


def test_a_timeout_interrupts_and_keeps_the_namespace(used):
    used.timeout_seconds, used.interrupt_grace_seconds = 1.5, 30
    finished = finish(used, "kept = 1\nimport time\ntime.sleep(60)")
    assert (finished.status, finished.completed, finished.lost) == ("timeout", 2, [])
    assert "1.5 s" in finished.error
    used.timeout_seconds = 60
    assert value(used, "kept") == 1


def test_a_timeout_ends_an_await(used):
    used.timeout_seconds = 0.5
    assert finish(used, "import asyncio\nawait asyncio.sleep(60)").status == "timeout"
    used.timeout_seconds = 60
    assert value(used, "1") == 1


@pytest.mark.parametrize(
    "stubborn",
    [
        "import signal\nsignal.signal(signal.SIGINT, lambda *_: None)\nwhile True: pass",
        "(10**8) ** (10**7)",
    ],
)
def test_code_that_ignores_the_interrupt_is_killed_and_the_lost_names_are_told(fresh, stubborn):
    value(fresh, "precious = 1")
    fresh.send_variables({"given": 7})
    fresh.timeout_seconds = 0.3
    finished = finish(fresh, stubborn)
    assert (finished.status, finished.lost, finished.names) == ("timeout", ["precious"], [])
    assert "did not heed" in finished.error
    fresh.timeout_seconds = 60
    assert value(fresh, "given") == 7
    assert finish(fresh, "precious").error_type == "NameError"


def test_an_interrupt_from_another_thread_ends_the_action(used):
    value(used, "kept = 1")
    finished = interrupt_at_output(used, "print('on', flush=True)\nwhile True: pass")
    assert (finished.status, finished.error, finished.lost) == ("interrupted", "interrupted", [])
    assert value(used, "kept") == 1


def test_an_interrupt_ends_an_await(used):
    finished = interrupt_at_output(used, "print('on', flush=True)\nimport asyncio\nawait asyncio.sleep(60)")
    assert (finished.status, finished.lost) == ("interrupted", [])


def test_interrupted_stays_interrupted_until_cleared(used):
    used.interrupt()
    finished = finish(used, "1")
    assert (finished.status, finished.value) == ("interrupted", None)
    used.clear_interrupt()
    assert value(used, "1") == 1


def test_an_interrupt_while_the_child_starts_ends_the_start(fresh):
    events = fresh.run("1")
    thread = threading.Thread(target=fresh.interrupt)
    thread.start()
    assert [event.status for event in events] == ["interrupted"]
    thread.join()
    fresh.clear_interrupt()
    assert value(fresh, "2") == 2


def test_a_storm_of_interrupts_leaves_a_working_executor(used):
    value(used, "kept = 1")
    done = threading.Event()

    def storm():
        while not done.is_set():
            used.interrupt()
            used.clear_interrupt()

    thread = threading.Thread(target=storm)
    thread.start()
    statuses = {finish(used, "sum(range(10_000))").status for _ in range(20)}
    done.set()
    thread.join()
    used.clear_interrupt()
    assert statuses <= {"ok", "interrupted"}
    assert value(used, "3") == 3


def test_interrupt_after_cleanup_is_harmless_and_a_run_starts_a_fresh_child(fresh):
    value(fresh, "old = 1")
    fresh.cleanup()
    fresh.cleanup()
    fresh.interrupt()
    fresh.clear_interrupt()
    assert finish(fresh, "old").error_type == "NameError"


BUSY_FOR_A_MINUTE = "import time\nend = time.time() + 60\nprint('on', flush=True)\nwhile time.time() < end: pass"


def wait_until_main_waits():
    """Until the main thread waits for the child: one that is pressed earlier is raised in the test, not in a wait."""
    main = threading.main_thread().ident
    while sys._current_frames()[main].f_code.co_name != "select":
        pass


@pytest.mark.parametrize("heard_by", ["main", "another"])
def test_a_keyboard_interrupt_in_the_hosts_own_thread(used, heard_by):
    value(used, "kept = 1")
    events = []

    def press():  # one that another thread hears does not wake the main one
        thread = threading.main_thread() if heard_by == "main" else threading.current_thread()
        wait_until_main_waits()
        signal.pthread_kill(thread.ident, signal.SIGINT)

    def read():
        for event in used.run(BUSY_FOR_A_MINUTE):
            events.append(event)
            if len(events) == 1:
                threading.Timer(0.05, press).start()

    with pytest.raises(KeyboardInterrupt):
        read()
    assert events[-1].status == "interrupted"
    assert value(used, "kept") == 1


def test_a_second_keyboard_interrupt_ends_the_child_and_nothing_is_left_open(fresh):
    stubborn = "import signal\nsignal.signal(signal.SIGINT, lambda *_: print('no', flush=True))\n"
    value(fresh, "precious = 1")
    fresh.interrupt_grace_seconds = 600
    events, awaited = [], ["on", "no"]

    def press():
        wait_until_main_waits()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def read():
        for event in fresh.run(f"{stubborn}print('on', flush=True)\nwhile True: pass"):
            events.append(event)
            if isinstance(event, Output) and awaited and awaited[0] in event.text:
                del awaited[0]  # the first starts the stop, of which the child tells
                threading.Timer(0.05, press).start()  # well within: a signal just before a call is seen after it

    with pytest.raises(KeyboardInterrupt):
        read()
    assert (events[-1].status, events[-1].lost) == ("interrupted", ["precious"])
    assert "interrupted; it was stopped a second time" in events[-1].error
    assert value(fresh, "2") == 2


def test_a_restart_from_another_thread_is_told_as_the_end_of_the_action(fresh):
    for event in fresh.run("print('on', flush=True)\nwhile True: pass"):
        if isinstance(event, Output):
            threading.Thread(target=fresh.restart).start()
    assert (event.status, event.error.partition(".")[0]) == ("died", "restart() or cleanup() ended the child kernel")
    assert value(fresh, "2") == 2


def test_a_reader_that_goes_away_ends_the_action(used):
    value(used, "kept = 1")
    events = used.run("print('on', flush=True)\nwhile True: pass")
    next(events)
    events.close()
    assert value(used, "kept") == 1


def test_a_child_that_ends_itself_is_noticed_and_replaced(fresh):
    value(fresh, "precious = 1")
    finished = finish(fresh, "print('last words', flush=True)\nimport os\nos._exit(1)")
    assert (finished.status, finished.lost) == ("died", ["precious"])
    assert "last words" in finished.logs
    assert value(fresh, "1") == 1


def test_what_was_flushed_before_the_end_of_the_process_is_not_lost(fresh):
    code = "print('x' * 900_000 + 'last words', flush=True)\nimport os\nos._exit(status=3)"
    logs = [finish(fresh, code).logs for _ in range(4)]
    assert all(text.endswith("last words\n") for text in logs), [text[-20:] for text in logs]


def test_a_process_forked_from_the_child_ends_by_itself(kernel):
    code = "import os\npid = os.fork()\nif not pid:\n    os._exit(7)\nos.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    assert value(kernel, code) == 7


def test_a_child_killed_from_outside_is_noticed(unboxed):
    fresh = unboxed
    pid = value(fresh, "import os\nos.getpid()")
    events = fresh.run("print('on', flush=True)\nwhile True: pass")
    next(events)
    os.kill(pid, signal.SIGKILL)
    assert next(events).status == "died"
    os.kill(value(fresh, "import os\nos.getpid()"), signal.SIGKILL)
    fresh.send_variables({"n": 8})
    assert finish(fresh, "n").status == "died"  # it was killed while idle
    assert value(fresh, "n") == 8


def test_a_crash_in_c_code_is_noticed(fresh):
    assert finish(fresh, "import ctypes\nctypes.string_at(0)").status == "died"


def test_a_thread_bomb_does_not_hang_the_host(fresh):
    code = "import threading, time\nfor n in range(2000):\n"
    code += "    threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n1"
    assert finish(fresh, code).status in ("ok", "error")
    assert value(fresh, "1 + 1") == 2


def test_a_forged_message_makes_the_child_count_as_dead(fresh):
    finished = finish(fresh, "get_ipython().kernel.session.key = b'another'\nprint('forged', flush=True)")
    assert finished.status == "died"
    assert "trusted" in finished.error
    assert value(fresh, "1") == 1


def test_an_oversized_message_makes_the_child_count_as_dead(fresh):
    code = "k = get_ipython().kernel\nlong = {'name': 'stdout', 'text': 'x' * 40_000_000}\n"
    code += "k.session.send(k.iopub_socket, 'stream', long, k.get_parent())\nimport time\ntime.sleep(30)"
    assert finish(fresh, code).status == "died"


def test_reports_the_action_forges_are_checked(kernel):
    forged = {"source": "smol", "names": 3, "completed": "x", "value": {"$": "evil"}}
    code = f"get_ipython().payload_manager.write_payload({forged})"
    assert finish(kernel, code).status == "ok"  # ours takes its place
    code = (
        "shell = get_ipython()\nold = shell.smol.report\n"
        "def report(result, _):\n    shell.smol.report = old\n"
        "    shell.payload_manager.write_payload({'source': 'smol', 'names': 3, 'value': {'$': 'pickle', 'v': 'x'}})\n"
        "shell.smol.report = report"
    )
    finished = finish(kernel, code)
    assert (finished.status, finished.value) == ("ok", None)
    assert "cannot be read" in finished.value_text
    finished = finish(kernel, code.replace("'names': 3", "'final': True"))
    assert (finished.status, finished.final) == ("error", False)
    assert "the answer that came from the child cannot be read" in finished.error


def test_an_idle_child_without_a_reply_does_not_hang_the_host(kernel):
    code = "shell = get_ipython()\nkernel = shell.kernel\nold = kernel.session.send\n"
    code += "def send(stream, what, *a, **k):\n"
    code += "    if what == 'execute_reply':\n        kernel.session.send = old\n        raise KeyboardInterrupt\n"
    code += "    return old(stream, what, *a, **k)\nkernel.session.send = send"
    assert finish(kernel, code).status == "error"
    assert value(kernel, "1") == 1


# variables, use, construction


def test_variables_go_in_and_come_back_after_a_restart(fresh):
    import pandas as pd

    fresh.send_variables({"df": pd.DataFrame({"a": [1, 2]}), "n": 3})
    assert value(fresh, "int(df.a.sum()) + n") == 6
    fresh.send_variables({"n": 4})
    assert value(fresh, "n") == 4
    value(fresh, "df.iloc[0, 0] = 10")
    run(fresh, "import os\nos._exit(1)")
    assert value(fresh, "int(df.a.sum()) + n") == 7
    fresh.restart()
    assert value(fresh, "'df' in globals()") is False


def test_a_variable_of_a_users_own_class_goes_in_by_pickle(fresh):
    class Mine:
        def double(self):
            return 14

    fresh.send_variables({"mine": Mine()})
    assert value(fresh, "mine.double()") == 14


def test_a_variable_that_cannot_cross_is_refused_by_name(fresh):
    with pytest.raises(NotPortableError, match="'lock'"):
        fresh.send_variables({"lock": threading.Lock()})
    for name in ("a b", "class", "None", "\xb5", "\ufb01t"):  # Python reads the last two as others
        with pytest.raises(ConfigError, match=repr(name)):
            fresh.send_variables({name: 1})


class Unreadable:
    """Pickled, and not to be read again."""

    def __reduce__(self):
        return int, ("no number",)


@pytest.mark.parametrize("started", [True, False], ids=["by a running child", "by one that starts"])
def test_a_variable_that_the_child_refuses_is_told_once_and_forgotten(fresh, started):
    fresh.send_variables({"kept": 1})
    if started:
        value(fresh, "1")

    def hand_over():
        fresh.send_variables({"before": 2, "odd": Unreadable()})
        list(fresh.run("1"))

    with pytest.raises(ExecutorError, match=r"could not take the variable 'odd'.*no number"):
        hand_over()
    assert value(fresh, "kept + before") == 3
    fresh.cleanup()
    assert value(fresh, "kept + before, 'odd' in globals()") == (3, False)


def test_a_variable_that_is_not_taken_in_time_is_given_again(unboxed, tmp_path, monkeypatch):
    class SlowOnce:
        def __reduce__(self):
            once = f"[7, open({str(tmp_path / 'read')!r}, 'x'), __import__('time').sleep(600)][0]"
            return eval, (f"7 if __import__('os').path.exists({str(tmp_path / 'read')!r}) else {once}",)

    value(unboxed, "1")
    _, *rest = KernelClient.ask.__defaults__
    with monkeypatch.context() as patch:
        patch.setattr(KernelClient.ask, "__defaults__", (1.0, *rest))
        with pytest.raises(ExecutorError, match="did not take the variable 'slow' in time"):
            unboxed.send_variables({"slow": SlowOnce()})
    assert (tmp_path / "read").exists()
    unboxed.cleanup()
    assert value(unboxed, "slow") == 7


def test_secrets_of_the_environment_stay_in_the_host(monkeypatch, unboxed):
    fresh = unboxed
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("HF_TOKEN", "canary")
    names = (
        "DB_PASSWORD",
        "PGPASSWORD",
        "MYSQL_PWD",
        "accesstoken",
        "ANTHROPIC_AUTH",
        "SENTRY_DSN",
        "OPENAIKEY",
        "JWT",
        "MYSQL_PW",
        "KEY1",
    )
    for name in names:
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("DB_URL", "postgres://user:canary@host/db")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada")
    monkeypatch.setenv("KEYBOARD", "plain")
    found = value(fresh, "import os\ndict(os.environ)")
    assert not [name for name, text in found.items() if "canary" in text]
    assert (found["KEYBOARD"], found["GIT_AUTHOR_NAME"]) == ("plain", "Ada")


@pytest.mark.parametrize("name", ["A" * 10_000_000, "<img src=x>", ""], ids=["long", "markup", "empty"])
def test_the_name_of_an_error_is_a_name_or_not_told(kernel, name):
    finished = finish(
        kernel, f"raise type({name[:1]!r} * {len(name)} if {len(name)} > 100 else {name!r}, (Exception,), {{}})('x')"
    )
    assert finished.error_type == "Error"


def test_the_child_runs_in_the_folder_it_is_told(tmp_path):
    (tmp_path / "random.py").write_text("raise RuntimeError('shadowed')")
    (tmp_path / "helper.py").write_text("N = 5")
    executor = KernelExecutor(cwd=tmp_path)
    assert value(executor, "import os\nos.getcwd()") == str(tmp_path)
    assert value(executor, "import helper\nhelper.N") == 5
    executor.cleanup()


@pytest.mark.parametrize("box", [True, False], ids=["boxed", "plain"])
def test_files_named_like_parts_of_python_do_not_keep_it_from_starting(tmp_path, box):
    for name in ("types", "token", "json", "enum", "signal", "select", "traceback"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('shadowed')")
    executor = KernelExecutor(cwd=tmp_path, box=box)
    assert value(executor, "1 + 1") == 2
    executor.cleanup()


def test_completion_and_inspection_answer_from_the_child(kernel):
    value(kernel, "planetary = {'earth': 1}\ndef orbit(days):\n    '''Goes around.'''")
    assert "planetary" in kernel.complete("plane", 5)["matches"]
    reply = kernel.inspect("orbit", 5)
    assert reply["found"]
    assert "Goes around." in reply["data"]["text/plain"]
    assert not kernel.inspect("nosuchname", 5)["found"]


def test_tools_are_there_for_checks_and_completion_before_an_action_has_brought_them(fresh):
    value(fresh, "1")
    fresh.send_tools({"orbit_of": lambda planet: planet})
    assert [event.ok for event in fresh.check(["callable(orbit_of)"])] == [True]
    fresh.send_tools({"phase_of": lambda moon: moon})
    assert "phase_of" in fresh.complete("phase_", 6)["matches"]
    assert fresh.complete("orbit_o", 7)["matches"] == []
    assert value(fresh, "phase_of(3)") == 3


def test_calls_that_were_interrupted_take_no_room_from_later_ones(fresh):
    fresh.send_tools({"stop": fresh.interrupt, "double": lambda number: 2 * number})
    value(fresh, "import sys\nsys.modules['smol_in_child.host_line'].AT_ONCE = 3")
    for _ in range(5):
        assert list(fresh.run("stop()\nwhile True: pass"))[-1].status == "interrupted"
        fresh.clear_interrupt()
    assert value(fresh, "double(21)") == 42


def test_threads_whose_calls_nobody_waits_for_any_more_are_told_so(fresh):
    """In an action that was stopped, and in one that ended before."""
    over, called = threading.Event(), threading.Semaphore(0)

    @tool(threaded=True)
    def late() -> None:
        """Come back when all is over."""
        called.release()
        over.wait(60)

    @tool(threaded=True)  # their calls may come after this one
    def all_called() -> bool:
        """Wait until all three have called it."""
        return all(called.acquire(timeout=30) for _ in range(3))

    fresh.send_tools({"late": late, "all_called": all_called, "stop": fresh.interrupt})
    begin = (
        "import threading\ntold = []\ndef wait():\n    try: late()\n"
        "    except RuntimeError as error: told.append(str(error))\n"
        "threads = [threading.Thread(target=wait) for _ in range(3)]\nfor each in threads: each.start()\n"
        "assert all_called()\n"
    )
    join = "for each in threads: each.join(30)\ntold"
    assert list(fresh.run(begin + "stop()\nwhile True: pass"))[-1].status == "interrupted"
    fresh.clear_interrupt()
    assert value(fresh, join) == ["the action was stopped"] * 3
    value(fresh, begin + "1")
    assert value(fresh, join) == ["the action ended before the call returned"] * 3
    over.set()


def test_tools_that_an_interrupted_action_should_have_brought_come_with_the_next_one(fresh):
    value(
        fresh,
        "proxies = get_ipython().smol.proxies\ntool = proxies.tool\ndef once(spec):\n"
        "    proxies.tool = tool\n    raise KeyboardInterrupt\nproxies.tool = once",
    )
    fresh.send_tools({"double": lambda number: 2 * number})
    assert list(fresh.run("1"))[-1].status != "ok"
    assert value(fresh, "double(21)") == 42


def test_completion_without_a_child_or_from_a_busy_one_is_empty(fresh):
    assert fresh.complete("pri", 3)["matches"] == []
    assert not fresh.inspect("print", 5)["found"]
    events = fresh.run("print('on', flush=True)\nwhile True: pass")
    next(events)
    assert fresh.complete("pri", 3) == {
        "status": "ok", "matches": [], "cursor_start": 3, "cursor_end": 3, "metadata": {}
    }  # fmt: skip
    events.close()


def test_two_executors_in_two_threads_do_not_meet():
    def work(number):
        executor = KernelExecutor()
        value(executor, f"n = {number}")
        results[number] = value(executor, "n")
        executor.cleanup()

    results = {}
    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {1: 1, 2: 2}


def test_one_executor_runs_one_action_at_a_time(fresh):
    events = fresh.run("print('on', flush=True)\nwhile True: pass")
    next(events)
    with pytest.raises(ExecutorError, match="busy"):
        next(fresh.run("1"))
    with pytest.raises(ExecutorError, match="busy"):
        fresh.send_variables({"n": 1})
    fresh.cleanup()  # ends the action of the generator that is still open
    assert next(events).status == "died"
    events.close()
    assert value(fresh, "1") == 1


def test_calling_gives_the_value_and_raises_what_failed(kernel):
    output = kernel("print('hello')\nfinal_answer([1, 2])")
    assert (output.output, output.is_final_answer) == ([1, 2], True)
    assert "hello" in output.logs
    with pytest.raises(AgentExecutionError, match="division by zero"):
        kernel("print('seen')\n1 / 0")


@pytest.mark.parametrize("option", ["python", "cwd"])
def test_a_child_that_cannot_start_says_why(tmp_path, option):
    missing = tmp_path / "missing"
    with pytest.raises(ConfigError, match=str(missing)):
        list(KernelExecutor(**{option: missing}).run("1"))


def test_an_interpreter_without_ipykernel_says_so(tmp_path):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho no module named ipykernel >&2\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(ExecutorError, match="no module named ipykernel"):
        list(KernelExecutor(python=script, box=False).run("1"))
    with pytest.raises(ConfigError, match=r"python.*cannot be run.*name an interpreter"):
        list(KernelExecutor(python=script).run("1"))


def test_create_knows_the_local_executor_only():
    executor = create("local", timeout_seconds=7)
    assert isinstance(executor, KernelExecutor)
    assert executor.timeout_seconds == 7
    with pytest.raises(ConfigError, match="'docker'"):
        create("docker")
    with pytest.raises(ConfigError, match="colour"):
        create("local", colour=1)
    for seconds in (-1, 0, math.inf, math.nan):
        with pytest.raises(ConfigError, match=str(seconds)):
            KernelExecutor(timeout_seconds=seconds)


def test_the_local_python_executor_has_the_parameters_users_know():
    executor = LocalPythonExecutor(["numpy"], 100, {"double": lambda n: 2 * n}, timeout_seconds=None)
    assert value(executor, "double(4)") == 8
    assert finish(executor, "print('x' * 1000)").logs != "x" * 1000
    executor.cleanup()


class Calculator(PythonExecutor):
    """A user's own executor, with __call__ alone."""

    def send_tools(self, tools):
        self.tools = tools

    def send_variables(self, variables):
        self.variables = variables

    def __call__(self, code):
        from smol_kernel.executors.base import CodeOutput

        return CodeOutput(eval(code), "logged", False)


def test_a_users_executor_may_define_call_alone():
    (finished,) = Calculator().run("1 + 1")
    assert (finished.status, finished.value, finished.logs) == ("ok", 2, "logged")
    (finished,) = Calculator().run("1 / 0")
    assert (finished.status, finished.error_type) == ("error", "ZeroDivisionError")


def test_a_users_executor_with_neither_is_told_so():
    class Empty(PythonExecutor):
        def send_tools(self, tools): ...

        def send_variables(self, variables): ...

    with pytest.raises(NotImplementedError, match="Empty"):
        list(Empty().run("1"))
    with pytest.raises(NotImplementedError, match="Empty"):
        Empty()("1")


def test_seconds_count_the_childs_own_time(kernel):
    begun = time.monotonic()
    finished = finish(kernel, "import time\ntime.sleep(0.2)")
    assert 0.2 <= finished.seconds <= time.monotonic() - begun


def test_a_traceback_names_the_files_of_libraries_as_imports_see_them(kernel):
    finished = finish(kernel, "import json\njson.loads('{')")
    assert 'File "<action>", line 2' in finished.traceback
    assert 'File "json/decoder.py", line' in finished.traceback


# what comes of a child that misbehaves


def test_streams_left_redirected_lose_nothing(fresh):
    assert finish(fresh, "import io, sys\nprint('before')\nsys.stdout = sys.stderr = io.StringIO()").logs == "before\n"
    assert finish(fresh, "print('next')").logs == "next\n"


def test_no_control_characters_come_with_an_error_a_value_or_a_name(fresh):
    finished = finish(fresh, "raise ValueError('\\x1b[31mred\\x1b]52;c;ZXZpbA==\\x07\\x1b]0;title\\x07')")
    assert finished.error == "red"
    assert "\x1b" not in finished.traceback
    assert finish(fresh, "'a\\x1b[2J' + chr(10) + 'b'").value_text == "a\nb"
    finished = finish(fresh, "globals()['\\x1b[8m'] = globals()['two words'] = mine = 1")
    assert finished.names == ["mine"]


def test_input_asks_without_control_characters(fresh):
    prompts = []
    fresh.ask_person = lambda prompt, password: prompts.append(prompt) or "x"
    finish(fresh, "input('\\x1b]52;c;ZXZpbA==\\x07name: ')")
    assert prompts == ["name: "]


def test_what_the_child_says_of_names_is_checked(fresh):
    finish(fresh, "zebra = 1")
    assert fresh.complete("zeb", 3)["matches"] == ["zebra"]
    assert "int" in fresh.inspect("zebra", 5)["data"]["text/plain"]
    lies = """k = get_ipython().kernel
kind = {"start": 0, "end": 1, "text": "a", "type": "x", "signature": "", "more": "<script>"}
k.do_complete = lambda *_: {"matches": ["a", 1, "\\x1b[2J"], "cursor_start": 0, "cursor_end": 1, "status": "ok",
                            "metadata": {"_jupyter_types_experimental": [kind, 5, {**kind, "end": 99}], "more": 1}}
k.do_inspect = lambda *_, **__: {"status": "ok", "found": True, "metadata": {"a": 1}, "data": {
    "text/html": "<img src=http://evil.example>", "application/javascript": "alert(1)", "text/plain": "\\x1b[1mt"}}"""
    finish(fresh, lies)
    kind = {"start": 0, "end": 1, "text": "a", "type": "x", "signature": ""}
    assert fresh.complete("z", 1) == {
        "status": "ok",
        "matches": ["a"],
        "cursor_start": 0,
        "cursor_end": 1,
        "metadata": {"_jupyter_types_experimental": [kind]},
    }
    assert fresh.inspect("z", 1) == {"status": "ok", "found": True, "data": {"text/plain": "t"}, "metadata": {}}
    finish(fresh, "k.do_complete = k.do_inspect = lambda *_, **__: {'matches': 5, 'data': 6}")
    assert fresh.complete("z", 1)["matches"] == []
    assert not fresh.inspect("z", 1)["found"]


@pytest.mark.parametrize(
    "kind",
    [
        "class Odd:\n    @property\n    def shape(self): raise ValueError('x')",
        "class Odd:\n    def __repr__(self): raise ValueError('x')",
        "class Odd: pass\nOdd.__module__ = None",
        "class Odd:\n    def __getattribute__(self, name): raise ValueError('x')",
    ],
)
def test_a_value_of_a_class_that_breaks_is_no_error_of_the_action(kernel, kind):
    finished = finish(kernel, f"{kind}\nodd = Odd()\nodd")
    assert finished.status == "ok"
    assert "smol_" not in finished.logs
    assert "Odd" in finished.value_text or "cannot be shown" in finished.value_text


def test_many_names_assigned_at_once_give_a_value(kernel):
    names = ", ".join(f"a_rather_long_name_{n}" for n in range(200))
    assert len(value(kernel, f"{names} = range(200)")) == 200


def test_a_message_of_many_parts_counts_as_a_whole(fresh):
    code = "k = get_ipython().kernel\nparts = [bytes(9 << 20)] * 4\n"
    code += "k.session.send(k.iopub_socket, 'stream', {}, k.get_parent(), buffers=parts)\nwhile True: pass"
    assert finish(fresh, code).status == "died"


def test_a_stop_is_heard_while_a_variable_is_sent(used):
    class Slow:
        def __reduce__(self):
            import time

            return time.sleep, (600,)

    sending = threading.Thread(target=used.send_variables, args=({"slow": Slow()},))
    sending.start()
    used.interrupt()
    sending.join()
    used.clear_interrupt()
    used.restart()
    assert value(used, "1 + 1") == 2


def test_text_that_has_no_utf8_form_is_no_end_of_anything(fresh):
    assert finish(fresh, "x = '\ud800'\nx").status in ("ok", "error")
    finished = finish(fresh, "raise ValueError('a' + chr(0xd800))")
    assert (finished.error_type, finished.error) == ("ValueError", "a\ufffd")
    assert finish(fresh, "print('b' + chr(0xd800))").logs == "b\ufffd\n"
    assert finish(fresh, "globals()[chr(0xd800)] = 1\n1 + 1").value == 2
    assert finish(fresh, "2 + 2").value == 4


def test_an_action_that_outlives_its_timeout_is_told_of_it(used):
    used.timeout_seconds, used.interrupt_grace_seconds = 2, 30
    finished = finish(used, "import time\ntry:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    pass\nkept = 5")
    assert finished.status == "timeout"
    assert "limit for one action" in finished.error and "went on" in finished.error
    used.timeout_seconds = 60
    assert value(used, "kept") == 5


def test_a_final_answer_with_too_many_arguments_is_told_under_its_name(kernel):
    assert finish(kernel, "final_answer(1, 2)").error.startswith("final_answer() takes")


def test_it_goes_on_where_its_folder_is_gone(fresh, tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert value(fresh, "1") == 1
    folder.rmdir()
    *_, failed = fresh.run("open('missing')")
    assert (failed.status, failed.error_type) == ("error", "FileNotFoundError")
    assert value(fresh, "2") == 2
