"""Calls from a real child to tools of the host."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import sqlite3
import sys
import threading
import time
import types

import pytest

from smol_kernel.events import ActionFinished, Output, ToolCalled, ToolReturned
from smol_kernel.executors import action, bridge
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.recorded import RecordedCalls
from smol_kernel.executors.values import decode
from smol_kernel.tools import Tool, tool
from smol_kernel.tools.defaults.final_answer import FinalAnswerTool

together = threading.Barrier(20)
person = contextvars.ContextVar("person", default="nobody")


@tool
def fetch_unit(series: str, long: bool = False) -> str:
    """Tells the unit of a series.

    Args:
        series: Name of the series.
        long: Whether to write it out.
    """
    return "parts per million" if long else "ppm"


@tool
def where() -> str:
    """Tells the thread it runs on."""
    return threading.current_thread().name


@tool(threaded=True)
def where_threaded() -> str:
    """Tells the thread it runs on."""
    return threading.current_thread().name


@tool(threaded=True)
def meet(number: int) -> int:
    """Returns once twenty calls are inside at the same time.

    Args:
        number: Comes back squared.
    """
    together.wait(timeout=30)
    return number * number


@tool
async def slow_sum(numbers: list) -> int:
    """Adds numbers, asynchronously.

    Args:
        numbers: What to add.
    """
    await asyncio.sleep(0)
    return sum(numbers)


@tool
def double(table: object) -> object:
    """Doubles a table.

    Args:
        table: A DataFrame.
    """
    return table * 2


@tool
def fail(kind: str) -> None:
    """Raises.

    Args:
        kind: Which error.
    """
    raise {
        "value": ValueError("a bad value"),
        "key": KeyError("missing"),
        "own": OwnError("of our own"),
        "file": FileNotFoundError(2, "No such file", "data.csv"),
        "unicode": UnicodeDecodeError("utf-8", b"x", 0, 1, "why"),
        "exit": SystemExit("out"),
        "http": HTTPError("429 Too Many", 429),
        "with more": _with_more(ValueError("a bad value"), place=3, row={"a": 1}),
        "group": _group(),
        "bad group": _bad_group(),
    }[kind]


class HTTPError(OSError):
    """As those of HTTP clients are."""

    def __init__(self, words, status):
        super().__init__(words)
        self.status_code, self.retry_after, self.message = enum.IntEnum("Status", {"MANY": status}).MANY, 1.5, words
        self.response = types.SimpleNamespace(status_code=status, headers={"x": "y"})
        self.request, self.args_, self._own, self.long = object(), None, 1, "x" * 10_000


def _with_more(error, **more):
    vars(error).update(more)
    return error


def _group():
    if sys.version_info < (3, 11):
        return None
    return ExceptionGroup("in a task", [ExceptionGroup("within", [ConnectionError("refused")]), ValueError("bad")])  # noqa: F821


def _bad_group():
    if sys.version_info < (3, 11):
        return None

    class BadGroup(ValueError, ExceptionGroup):  # noqa: F821
        def __new__(cls, *args):
            return ExceptionGroup.__new__(cls, *args)  # noqa: F821

    return BadGroup("in tasks", [ValueError("bad")])


@tool
def give_itself() -> list:
    """Gives a list that holds itself."""
    endless = []
    endless.append(endless)
    return endless


@tool
def give_lock() -> object:
    """Gives what cannot cross."""
    return threading.Lock()


@tool(threaded=True)
def who() -> str:
    """Tells a context variable."""
    return person.get()


class Season(enum.Enum):
    DRY = "dry"
    WET = "wet"


class OwnError(LookupError):
    """An error the child does not have."""


TOOLS = {
    t.name: t for t in (fetch_unit, where, where_threaded, meet, slow_sum, double, fail, give_lock, give_itself, who)
}


@pytest.fixture(scope="module")
def kernel():
    executor = KernelExecutor(timeout_seconds=60)
    executor.send_tools(TOOLS)
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
    other.timeout_seconds = 60
    other.send_tools(TOOLS)
    yield other
    other.clear_interrupt()
    other.ask_person = None


def run(executor, code):
    events = list(executor.run(code))
    assert isinstance(events[-1], ActionFinished)
    return events, events[-1]


def value(executor, code):
    _, finished = run(executor, code)
    assert finished.status == "ok", finished
    return decode(finished.value)


def kinds(events):
    return [type(event) for event in events]


def test_a_call_is_told_before_and_after(kernel):
    events, finished = run(kernel, "print('before')\nu = fetch_unit('co2')\nprint('after')\nu")
    assert decode(finished.value) == "ppm"
    assert kinds(events) == [Output, ToolCalled, ToolReturned, Output, Output, ActionFinished]
    _, called, returned, *_ = events
    assert (called.tool, called.args, called.kwargs, called.blocking) == ("fetch_unit", ["co2"], {}, True)
    assert called.summary == 'fetch_unit("co2")'
    assert (returned.call, returned.ok, returned.value, returned.summary) == (called.call, True, "ppm", "'ppm'")


def test_calls_have_ids_of_their_own(kernel):
    events, _ = run(kernel, "fetch_unit('a'); fetch_unit('b', long=True)")
    calls = [event for event in events if isinstance(event, ToolCalled)]
    assert len({call.call for call in calls}) == 2
    assert calls[1].summary == 'fetch_unit("b", long=True)'


def test_a_result_is_told_before_the_child_gets_it(kernel):
    events = kernel.run("u = fetch_unit('co2')\nprint('got it', flush=True)")
    assert isinstance(next(events), ToolCalled)
    assert isinstance(next(events), ToolReturned)
    assert isinstance(next(events), Output)
    list(events)


def test_what_was_printed_before_a_call_is_told_before_it(kernel):
    events, _ = run(kernel, "for n in range(300):\n    print(n)\n    fetch_unit(str(n))")
    printed, seen = "", []
    for event in events:
        printed += event.text if isinstance(event, Output) else ""
        if isinstance(event, ToolCalled):
            seen.append(printed.split()[-1] == event.args[0])
    assert seen == [True] * 300


def test_a_plain_tool_runs_on_the_thread_that_called_run(kernel):
    names = []
    thread = threading.Thread(target=lambda: names.append(value(kernel, "where()")), name="of the caller")
    thread.start()
    thread.join()
    assert names == ["of the caller"]


def test_a_database_opened_by_the_user_works_in_a_plain_tool(used):
    base = sqlite3.connect(":memory:")
    base.execute("create table t (n)")
    base.execute("insert into t values (42)")

    @tool
    def query(sql: str) -> list:
        """Asks the database.

        Args:
            sql: A query.
        """
        return base.execute(sql).fetchall()

    used.send_tools({"query": query})
    assert value(used, "query('select n from t')") == [(42,)]
    code = "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(4) as pool:\n"
    code += "    rows = list(pool.map(query, ['select n from t'] * 4))\nrows"
    assert value(used, code) == [[(42,)]] * 4
    base.close()


def test_a_line_that_is_written_over_is_told_before_each_call(used):
    code = "for n in 1, 2, 2:\n    print(f'\\r{n} of 2', end='', flush=True)\n    fetch_unit('a')"
    events, finished = run(used, code)
    told = [(type(event).__name__, getattr(event, "text", "")) for event in events[:-1]]
    call = [("ToolCalled", ""), ("ToolReturned", "")]
    progress = [("Progress", "1 of 2"), *call, ("Progress", "2 of 2"), *call, *call]
    assert told == [*progress, ("Output", "2 of 2")]
    assert finished.logs == "2 of 2"


def test_twenty_threaded_calls_run_side_by_side(kernel):
    code = "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(20) as pool:\n"
    code += "    squares = list(pool.map(meet, range(20)))\nsquares"
    assert value(kernel, code) == [n * n for n in range(20)]


def test_twenty_awaited_calls_run_side_by_side(kernel):
    code = "import asyncio\nawait asyncio.gather(*[meet.aio(n) for n in range(20)])"
    assert value(kernel, code) == [n * n for n in range(20)]


def test_more_calls_than_the_pool_holds_all_return(kernel):
    code = "import asyncio\nlen(await asyncio.gather(*[who.aio() for n in range(100)]))"
    assert value(kernel, code) == 100


def test_async_tools_work_called_and_awaited(kernel):
    assert value(kernel, "slow_sum([1, 2])") == 3
    assert value(kernel, "await slow_sum.aio([3, 4])") == 7


def test_a_call_from_a_thread_of_the_action(kernel):
    code = "import threading\nfound = []\nt = threading.Thread(target=lambda: found.append(fetch_unit('co2')))\n"
    code += "t.start(); t.join()\nfound"
    assert value(kernel, code) == ["ppm"]


def test_a_tool_of_the_name_of_a_magic_is_called_by_the_very_first_action(kernel):
    first = KernelExecutor(cwd=kernel.cwd)
    try:
        first.send_tools({"who": who})
        assert value(first, "who()") == "nobody"
    finally:
        first.cleanup()


def test_pooled_tools_see_the_callers_context(kernel):
    token = person.set("the caller")
    assert value(kernel, "who()") == "the caller"
    person.reset(token)


def test_tables_go_to_tools_and_come_back(kernel):
    code = "import pandas as pd\nt = double(pd.DataFrame({'a': [1, 2]}, index=pd.Index(['x', 'y'], name='k')))\nt"
    events, finished = run(kernel, code)
    table = decode(finished.value)
    assert table.index.name == "k"
    assert list(table.a) == [2, 4]
    assert "DataFrame" in next(event for event in events if isinstance(event, ToolReturned)).summary


@pytest.mark.parametrize(
    ("kind", "caught", "message"),
    [
        ("value", "ValueError", "a bad value"),
        ("key", "KeyError", "'missing'"),
        ("own", "LookupError", "of our own"),
        ("file", "FileNotFoundError", "[Errno 2] No such file: 'data.csv'"),
        ("unicode", "UnicodeDecodeError", "'utf-8' codec can't decode byte 0x78 in position 0: why"),
        ("exit", "RuntimeError", "out"),
    ],
)
def test_an_error_of_a_tool_can_be_caught_in_the_action(kernel, kind, caught, message):
    code = f"try:\n    fail({kind!r})\nexcept {caught} as e:\n    found = (type(e).__name__, str(e))\nfound"
    events, finished = run(kernel, code)
    name, text = decode(finished.value)
    assert text == message
    returned = next(event for event in events if isinstance(event, ToolReturned))
    assert (returned.ok, returned.error_type, returned.error) == (False, name, message)


@pytest.mark.parametrize(
    ("kind", "asked", "found"),
    [
        ("file", "e.errno, e.strerror, e.filename, e.args", (2, "No such file", "data.csv", (2, "No such file"))),
        ("file", "type(e) is FileNotFoundError, str(e)", (True, "[Errno 2] No such file: 'data.csv'")),
        ("http", "e.status_code, e.retry_after, e.args_, str(e)", (429, 1.5, None, "429 Too Many")),
        ("http", "e.response.status_code, isinstance(e, OSError), e.errno", (429, True, None)),
        ("http", "[getattr(e, n, '-') for n in ('request', '_own', 'long', 'row')]", ["-"] * 4),
        ("with more", "type(e) is ValueError, e.place, hasattr(e, 'row')", (True, 3, False)),
        ("value", "vars(e)", {}),
    ],
)
def test_plain_attributes_of_an_error_of_a_tool_come_along(kernel, kind, asked, found):
    code = f"try:\n    fail({kind!r})\nexcept Exception as e:\n    found = {asked}\nfound"
    events, finished = run(kernel, code)
    assert decode(finished.value) == found
    kernel.recorded = RecordedCalls(events).take
    try:
        again, finished = run(kernel, code)
    finally:
        kernel.recorded = None
    assert next(event for event in again if isinstance(event, ToolCalled)).replays
    assert decode(finished.value) == found


@pytest.mark.parametrize("asked", ["e.request", "e.response.headers"])
def test_what_stayed_in_the_host_of_an_error_says_so(kernel, asked):
    _, finished = run(kernel, f"try:\n    fail('http')\nexcept OSError as e:\n    {asked}")
    assert finished.error_type == "AttributeError"
    assert "plain, short values come from the host" in finished.error


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are none before")
def test_a_group_of_errors_says_what_is_in_it(kernel):
    said = "in a task (2 sub-exceptions)\n  1. ConnectionError: refused\n  2. ValueError: bad"
    assert value(kernel, "try: fail('group')\nexcept ExceptionGroup as error: said = str(error)\nsaid") == said
    events, finished = run(kernel, "fail('group')")
    assert (finished.error_type, finished.error) == ("ExceptionGroup", said)
    assert events[1].error == said
    code = """
caught = []
try:
    try: fail('group')
    except* (RuntimeError, ValueError): caught.append('a part')
except ExceptionGroup as error: caught.append(error.message)
caught"""
    assert value(kernel, code) == [said]
    bad = "try: fail('bad group')\nexcept ValueError as error: found = (type(error).__name__, str(error))\nfound"
    assert value(kernel, bad) == ("BadGroup", "in tasks (1 sub-exception)\n  1. ValueError: bad")


def test_a_result_that_holds_itself_is_refused_in_words(kernel):
    _, finished = run(kernel, "give_itself()")
    assert finished.error_type == "TypeError"
    assert "give_itself() gave a result" in finished.error and "contains itself" in finished.error


def test_an_uncaught_error_of_a_tool_ends_the_action(kernel):
    _, finished = run(kernel, "fail('own')")
    assert (finished.status, finished.error_type, finished.error) == ("error", "OwnError", "of our own")
    assert "smol" not in finished.traceback


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("fetch_unit(3)", "ToolTypeError", "not the int 3"),
        ("fetch_unit()", "ToolError", "needs the argument 'series'"),
        ("fetch_unit('a', serie='b')", "ToolError", "'series'"),
        ("fetch_unit('a', False, 3)", "ToolError", "2 arguments"),
        ("fetch_unit('a', series='b')", "ToolError", "twice"),
        ("fetch_unit(lambda: 1)", "TypeError", "cannot cross"),
        ("give_lock()", "TypeError", "cannot cross"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(kernel, code, kind, says):
    _, finished = run(kernel, code)
    assert (finished.status, finished.error_type) == ("error", kind)
    assert says in finished.error


def test_a_wrong_call_can_be_caught_as_a_value_error(kernel):
    for kind in ("ValueError", "TypeError", "(KeyError, TypeError)"):
        assert value(kernel, f"try:\n    fetch_unit(3)\nexcept {kind}:\n    caught = {kind!r}\ncaught") == kind


def test_an_unknown_or_malformed_request_is_answered_with_an_error(kernel):
    line = "line = get_ipython().smol.line\n"
    for request in (
        "{'tool': 'nothing', 'args': [], 'kwargs': {}}",
        "{'tool': 7, 'args': [], 'kwargs': {}}",
        "{'tool': 'fetch_unit', 'args': {'$': 'pickle', 'v': 'x'}, 'kwargs': {}}",
        "{'tool': 'fetch_unit', 'args': [{'$': 'evil', 'v': 1}], 'kwargs': {}}",
        "{'tool': 'fetch_unit', 'args': [], 'kwargs': {'$': 'tuple', 'v': []}}",
        "{'tool': 'fetch_unit'}",
        "{}",
    ):
        assert value(kernel, f"{line}line.ask({request})['ok']") is False
    assert value(kernel, "fetch_unit('still works')") == "ppm"


def test_a_tool_of_the_child_that_is_shadowed_comes_back_when_deleted(kernel):
    assert value(kernel, "fetch_unit = 3") == 3
    assert value(kernel, "del fetch_unit\nfetch_unit('a')") == "ppm"
    assert "fetch_unit" not in run(kernel, "1")[1].names


def test_proxies_tell_what_they_do(kernel):
    assert "Name of the series." in value(kernel, "fetch_unit.__doc__")
    assert value(kernel, "import inspect\nstr(inspect.signature(fetch_unit))") == "(series, long=None)"
    assert kernel.complete("fetch_u", 7)["matches"] == ["fetch_unit"]


def test_new_tools_take_the_place_of_the_old(used):
    used.send_tools({"fetch_unit": fetch_unit})
    assert value(used, "fetch_unit('a')") == "ppm"
    used.send_tools({"where": where})
    assert run(used, "fetch_unit('a')")[1].error_type == "NameError"
    used.restart()
    assert value(used, "where()") == "MainThread"


def test_plain_functions_are_offered_too():
    executor = KernelExecutor(additional_functions={"triple": lambda n: 3 * n})
    executor.send_tools({"fetch_unit": fetch_unit})
    assert value(executor, "triple(2)") == 6
    assert run(executor, "triple()")[1].error_type == "TypeError"
    assert value(executor, "fetch_unit('a')") == "ppm"
    executor.cleanup()


def test_help_of_a_plain_function_shows_its_parameters(used):
    def plain(first, /, second=1, *rest, third, **more):
        return None

    used.send_tools({"plain": plain})
    assert (
        value(used, "import inspect\nstr(inspect.signature(plain))") == "(first, /, second=None, *rest, third, **more)"
    )


def test_a_users_own_final_answer_makes_the_answer(used):
    class Rounded(FinalAnswerTool):
        def forward(self, answer):
            return round(answer)

    used.send_tools({"final_answer": Rounded()})
    events, finished = run(used, "final_answer(2.7)\nnever = 1")
    assert (finished.final, finished.value, finished.completed) == (True, 3, 1)
    assert any(isinstance(event, ToolCalled) for event in events)
    used.send_tools({"final_answer": FinalAnswerTool()})
    events, finished = run(used, "final_answer(2.7)")
    assert (finished.final, finished.value) == (True, 2.7)
    assert not any(isinstance(event, ToolCalled) for event in events)


def test_a_users_own_final_answer_that_gives_an_object_says_what_to_do(used):
    class Opened(FinalAnswerTool):
        def forward(self, answer):
            return threading.Lock()

    used.send_tools({"final_answer": Opened()})
    _, finished = run(used, "final_answer(1)")
    assert finished.error.endswith(
        "or images; make an object of what run() returns, or have output_type= make a dataclass or a pydantic model"
    )
    used.send_tools(TOOLS)


def test_setup_of_a_tool_class_runs_in_the_host_once(used):
    class Prepared(Tool):
        name = "prepared"
        description = "Counts its preparations."
        inputs = {}  # noqa: RUF012
        output_type = "integer"
        count = 0

        def setup(self):
            self.count += 1

        def forward(self):
            return self.count

    used.send_tools({"prepared": Prepared()})
    assert value(used, "prepared(); prepared()") == 1


TEXT = {"type": "string", "description": "A text."}


class Move(Tool):
    name = "move"
    description = "Moves a file."
    inputs = {"target": TEXT, "source": TEXT}  # noqa: RUF012
    output_type = "string"

    def forward(self, source, target):
        return f"{source} to {target}"


class ByName(Move):
    def forward(self, *, source, target):
        return f"{source} to {target}"


class Anything(Move):
    def forward(self, **names):
        return "{source} to {target}".format(**names)


class ByPlace(Move):
    skip_forward_signature_validation = True

    def forward(self, a, b, /):
        return f"{b} to {a}"


@pytest.mark.parametrize("kind", [Move, ByName, Anything, ByPlace])
@pytest.mark.parametrize("call", ["move('/new', '/old')", "move('/new', source='/old')"])
def test_arguments_without_names_are_those_of_the_signature_that_the_model_reads(used, kind, call):
    made = kind()
    assert made.signature == "move(target: str, source: str) -> str"
    used.send_tools({"move": made})
    if kind is ByPlace and "source" in call:
        return  # nobody can call it so
    assert value(used, call) == "/old to /new"


def test_what_may_be_left_out_comes_last_in_the_signature(used):
    class Find(Tool):
        name = "find"
        description = "Finds."
        inputs = {"place": {**TEXT, "nullable": True}, "text": TEXT}  # noqa: RUF012
        output_type = "string"

        def forward(self, text, place="here"):
            return f"{text} {place}"

    find = Find()
    assert find.signature == "find(text: str, place: str | None = 'here') -> str"
    used.send_tools({"find": find})
    assert value(used, "[find('a'), find('a', 'there'), find(place='there', text='a')]") == [
        "a here",
        "a there",
        "a there",
    ]


# input()


def test_input_without_a_person_is_an_error_with_a_plain_sentence(kernel):
    _, finished = run(kernel, "input('Your name? ')")
    assert finished.error_type == "EOFError"
    assert "nobody" in finished.error


def test_input_and_getpass_reach_the_person_between_tool_calls(used):
    asked = []

    def ask(prompt, password):
        asked.append((prompt, password))
        return "secret" if password else "Ada"

    used.ask_person = ask
    code = (
        "a = fetch_unit('x')\nn = input('Name? ')\nimport getpass\np = getpass.getpass('Key? ')\nb = fetch_unit('y')\n"
    )
    events, finished = run(used, f"{code}len(n), len(p), a, b")
    assert decode(finished.value) == (3, 6, "ppm", "ppm")
    assert asked == [("Name? ", False), ("Key? ", True)]
    returned = [event for event in events if isinstance(event, ToolReturned) and event.tool == "input"]
    assert [event.value for event in returned] == ["Ada", None]
    assert "secret" not in str([event.to_dict() for event in events])


def test_input_while_a_thread_has_calls_in_flight(used):
    used.ask_person = lambda prompt, password: "yes"
    code = "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(20)\n"
    code += "squares = pool.map(meet, range(20))\nanswer = input('go on? ')\n(answer, list(squares)[3])"
    assert value(used, code) == ("yes", 9)


def test_the_kernels_own_input_request_is_answered(used):
    used.ask_person = lambda prompt, password: f"answer to {prompt}"
    code = "from ipykernel.ipkernel import IPythonKernel\nkernel = get_ipython().kernel\n"
    _, finished = run(used, f"{code}del kernel.raw_input\ninput('q')")
    assert finished.status in ("ok", "error", "timeout")  # two readers on one socket: whatever, but no hang
    used.restart()
    assert value(used, "input('q')") == "answer to q"


# stops


def test_an_interrupt_in_mid_tool_sends_no_answer(used):
    inside, release = threading.Event(), threading.Event()

    @tool(threaded=True)
    def hold() -> str:
        """Holds on."""
        inside.set()
        release.wait(30)
        return "released"

    used.send_tools({"hold": hold})
    thread = threading.Thread(target=lambda: (inside.wait(30), used.interrupt()))
    thread.start()
    events, finished = run(used, "kept = 1\nhold()")
    thread.join()
    release.set()
    assert (finished.status, finished.lost, finished.completed) == ("interrupted", [], 1)
    assert kinds(events) == [ToolCalled, ToolReturned, ActionFinished]
    assert (events[1].ok, events[1].error) == (False, "the action was stopped")
    used.clear_interrupt()
    assert value(used, "kept") == 1


def test_an_interrupt_while_a_plain_tool_holds_the_thread_takes_effect_when_it_returns(used):
    @tool
    def stop_here() -> str:
        """Interrupts the run it is part of."""
        used.interrupt()
        return "done"

    used.send_tools({"stop_here": stop_here})
    events, finished = run(used, "r = stop_here()\nwhile True: pass")
    assert (events[1].ok, events[1].value) == (True, "done")
    assert (finished.status, finished.lost, finished.completed) == ("interrupted", [], 0)


def test_a_keyboard_interrupt_in_a_plain_tool_ends_action_and_run(used):
    @tool
    def pressed() -> str:
        """As if somebody pressed Ctrl-C."""
        raise KeyboardInterrupt

    used.send_tools({"pressed": pressed})
    events = []
    with pytest.raises(KeyboardInterrupt):
        events.extend(used.run("kept = 1\npressed()"))
    assert kinds(events) == [ToolCalled, ToolReturned, ActionFinished]
    assert events[-1].status == "interrupted"
    assert value(used, "kept") == 1


def test_the_clock_stands_while_a_tool_or_a_person_is_waited_for(used):
    @tool
    def slow() -> None:
        """Takes its time."""
        time.sleep(1)

    @tool(threaded=True)
    def slow_threaded() -> None:
        """Takes its time."""
        time.sleep(1)

    used.send_tools({"slow": slow, "slow_threaded": slow_threaded})
    value(used, "1")
    used.timeout_seconds = 2.5
    assert run(used, "slow(); slow_threaded(); slow()\n1")[1].status == "ok"


OWN_WORK = {
    "in the kernel": "while time.process_time() < begun + 6:\n    pass",
    "in another process": "subprocess.run([sys.executable, '-c', "
    "'import time\\nwhile time.process_time() < 6:\\n    pass'])",
}


@pytest.mark.skipif(sys.platform != "linux", reason="processor time is read on Linux alone")
@pytest.mark.parametrize("work", OWN_WORK.values(), ids=OWN_WORK)
def test_the_clock_goes_on_for_a_child_that_works_while_a_call_is_open(used, work):
    release = threading.Event()

    @tool(threaded=True)
    def hold() -> None:
        """Holds on."""
        release.wait(60)

    used.send_tools({"hold": hold})
    value(used, "1")
    used.timeout_seconds = 1.5
    code = "import subprocess, sys, threading, time\nbegun = time.process_time()\n"
    code += "threading.Thread(target=hold).start()\n"
    _, finished = run(used, code + work)
    release.set()
    assert (finished.status, finished.error) == ("timeout", "stopped after 1.5 s, the limit for one action")


def test_a_call_that_outlives_its_action_is_ended(used):
    begun, release = threading.Event(), threading.Event()

    @tool(threaded=True)
    def hold() -> str:
        """Holds on."""
        begun.set()
        release.wait(30)
        return "released"

    @tool(threaded=True)
    def wait_for_it() -> bool:
        """Waits until the other has begun."""
        return begun.wait(60)

    used.send_tools({"hold": hold, "wait_for_it": wait_for_it})
    code = "import threading, time\nerrors = []\ndef work():\n    try:\n        hold()\n    except Exception as e:\n"
    code += "        errors.append(str(e))\nt = threading.Thread(target=work)\nt.start()\nwait_for_it()"
    events, finished = run(used, code)
    assert finished.status == "ok"
    ended = next(event for event in events if isinstance(event, ToolReturned) and event.tool == "hold")
    assert (ended.ok, ended.error) == (False, "the action ended before the call returned")
    release.set()
    assert value(used, "t.join(); errors") == ["the action ended before the call returned"]


def test_a_call_made_between_actions_is_refused(used):
    begin = "import threading\nerrors = []\ndef work():\n    try:\n        fetch_unit('late')\n"
    begin += "    except Exception as e:\n        errors.append(str(e))\n"
    begin += "line, kernel = get_ipython().smol.line, get_ipython().kernel\nt = threading.Thread(target=work)\n"
    run(used, begin)
    # the call carries the header of the action before, as one made after its end would
    code = "now, line.parent = line.parent, (line.parent[0], {**kernel.get_parent(), 'header': {'msg_id': 'old'}})\n"
    code += "t.start(); t.join(); line.parent = now\nerrors"
    assert value(used, code) == ["the action of this call has ended"]


def test_a_forked_process_of_the_action_cannot_call_and_is_told(kernel):
    code = (
        "import os\nr, w = os.pipe()\npid = os.fork()\nif pid == 0:\n    try:\n        fetch_unit('x')\n"
        "    except RuntimeError as e:\n        os.write(w, str(e).encode())\n    os._exit(0)\n"
        "_ = os.waitpid(pid, 0)\nos.read(r, 1000).decode()"
    )
    assert "own process" in value(kernel, code)


def test_a_number_too_long_to_be_written_down_crosses_all_the_same(used):
    @tool
    def digits(number: object) -> object:
        """Gives a number back, with one digit more.

        Args:
            number: A whole number.
        """
        return number * 10

    used.send_tools({"digits": digits})
    events, finished = run(used, "digits(10 ** 6000) == 10 ** 6001")
    assert decode(finished.value) is True
    assert [event.ok for event in events if isinstance(event, ToolReturned)] == [True]


def test_a_value_that_an_action_gives_is_the_member_in_the_tool(used):
    given = []

    @tool
    def plan(season: Season) -> Season:
        """Plans.

        Args:
            season: When.
        """
        given.append(season)
        return season

    used.send_tools({"plan": plan})
    assert value(used, "plan('wet')") == "wet"
    assert given == [Season.WET]
    _, finished = run(used, "plan(season='hot')")
    assert finished.error.startswith("plan() needs one of 'dry', 'wet' for 'season', not 'hot'")


@pytest.mark.parametrize(
    ("call", "most"),
    [("fetch_unit('co2')", 1024), ("fetch_unit('x' * 100_000)", 10), ("page()", 10), ("failing()", 100)],
)
def test_what_the_calls_of_one_action_carry_is_limited(used, monkeypatch, call, most):
    monkeypatch.setattr(bridge, "MAX_CARRIED", 1 << 20)

    @tool
    def page() -> str:
        """Gives much."""
        return "x" * 100_000

    @tool
    def failing() -> str:
        """Says much."""
        raise ValueError("x" * 100_000)

    used.send_tools({"fetch_unit": fetch_unit, "page": page, "failing": failing})
    code = f"for made in range(3_000):\n    try:\n        {call}\n    except ValueError:\n        pass"
    events, finished = run(used, code)
    assert most / 2 < kinds(events).count(ToolCalled) <= most + 1
    assert finished.error_type == "RuntimeError"
    assert finished.error.startswith("calls of one action and what they give may make 1 MB together")
    assert value(used, "fetch_unit('co2')") == "ppm"


@pytest.mark.parametrize("threaded", [False, True])
def test_an_error_of_a_tool_that_cannot_say_what_it_is_reaches_the_child(used, threaded):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no")

    @tool(threaded=threaded)
    def fail() -> None:
        """Raises."""
        raise Mute

    used.send_tools({"fail": fail})
    code = "try:\n    fail()\nexcept Exception as e:\n    caught = type(e).__name__\ncaught"
    assert value(used, code) == "Mute"


def test_what_an_error_of_a_tool_says_is_cut(used):
    @tool
    def fail() -> None:
        """Raises."""
        raise ValueError("x" * 5_000_000)

    used.send_tools({"fail": fail})
    events, finished = run(used, "fail()")
    assert len(events[1].error) < 20_000
    assert finished.error_type == "ValueError"
    assert len(finished.error) < 20_000


def test_a_call_interrupted_before_it_was_sent_is_never_made(used):
    asked = []

    @tool
    def note(number: int) -> int:
        """Notes a number.

        Args:
            number: The number.
        """
        asked.append(number)
        return number

    used.send_tools({"note": note})
    code = """import os
write = os.write
def interrupted(*_):
    os.write = write
    raise KeyboardInterrupt
os.write = interrupted
try:
    note(1)
except KeyboardInterrupt:
    pass
note(2)"""
    assert value(used, code) == 2
    assert value(used, "note(3)") == 3
    assert asked == [2, 3]


def test_an_error_of_a_tool_may_hold_any_text(used):
    @tool
    def fail() -> None:
        """Raises."""
        raise ValueError("a" + chr(0xD800))

    used.send_tools({"fail": fail})
    assert value(used, "try:\n    fail()\nexcept ValueError as e:\n    said = str(e)\nlen(said)") == 2


def test_while_the_clock_stands_each_look_counts_for_itself(monkeypatch):
    """Else what many processors did in a moment would count for the time after that as well."""
    now, used = [0.0], [0.0]
    monkeypatch.setattr(action.time, "monotonic", lambda: now[0])
    clock = action.Clock(lambda: used[0])
    clock.stand(True)
    for seconds, processors in ((1.0, 32.0), (100.0, 0.0), (1.0, 0.5)):
        now[0] += seconds
        used[0] += seconds * processors
        assert clock.seconds == clock.seconds
    assert clock.seconds == 1.5
    clock.stand(False)
    now[0] += 2.0
    assert clock.seconds == 3.5
