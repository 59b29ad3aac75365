"""The thread on which a model of the user's is asked, and the context variables that its request changes."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import sqlite3
import threading

import pytest

from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import ModelError
from smol_kernel.events import ModelFellBack, Notice, emit
from smol_kernel.memory.messages import ChatMessage, MessageRole, pieces_of
from smol_kernel.models.base import Model
from smol_kernel.models.call import ModelCall
from smol_kernel.models.cassette import CassetteModel
from smol_kernel.models.fallback import as_model
from smol_kernel.models.scripted import ScriptedModel

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
place = contextvars.ContextVar("place", default="nowhere")
untouched = contextvars.ContextVar("untouched", default="at first")


def told(text):
    return ChatMessage(MessageRole.ASSISTANT, text)


class Own(Model):
    """Does `work` for each request, and answers with what that gives."""

    def __init__(self, work):
        super().__init__(model_id="own")
        self.work, self.threads = work, []

    def generate(self, messages, **options):
        self.threads.append(threading.current_thread())
        return told(self.work())

    def generate_stream(self, messages, **options):
        yield from pieces_of(told("first "))
        yield from pieces_of(self.generate(messages))


class Here(Own):
    in_thread = False


def asked(model, stream=False):
    """The text of the reply, and that of the pieces and events before."""
    call = ModelCall(model, [], stream=stream)
    came = [getattr(each, "text", None) or each.content for each in call]
    return call.message and call.message.text, came


opened = list[sqlite3.Connection]()


@pytest.fixture(autouse=True)
def closed():
    yield
    while opened:
        opened.pop().close()


def with_sqlite():
    opened.append(rows := sqlite3.connect(":memory:"))
    return lambda: str(rows.execute("select 42").fetchone()[0])


def with_a_loop():
    async def answer():
        return "42"

    return lambda: asyncio.get_event_loop().run_until_complete(answer())


def with_an_alarm():
    def work():
        before = signal.signal(signal.SIGALRM, lambda *_: None)
        signal.signal(signal.SIGALRM, before)
        return "42"

    return work


@BOTH
def test_context_variables_that_the_request_changed_are_the_callers_and_no_others(stream):
    def caller():
        before = set(contextvars.copy_context())
        for _ in ModelCall(Own(lambda: place.set("asked") and "42"), [], stream=stream):
            untouched.set("by the caller")
        return place.get(), untouched.get(), set(contextvars.copy_context()) - before

    changed = ("asked", "by the caller", {place, untouched}) if stream else ("asked", "at first", {place})
    assert contextvars.copy_context().run(caller) == changed


def test_context_variables_of_a_request_that_fails_are_there_as_well():
    def work():
        place.set("asked")
        raise LookupError("no such thing")

    def fails():
        with pytest.raises(LookupError):
            list(ModelCall(Own(work), []))
        return place.get()

    assert contextvars.copy_context().run(fails) == "asked"


@BOTH
@pytest.mark.parametrize("wrapped", [as_model, lambda model: as_model([model, ScriptedModel(["never"])])])
def test_a_model_that_says_so_is_asked_on_the_callers_thread(stream, wrapped):
    model = Here(lambda: emit(Notice(text="meanwhile")) or (place.set("asked") and "42"))
    text, came = contextvars.copy_context().run(asked, wrapped(model), stream)
    assert model.threads == [threading.current_thread()]
    assert (text, came) == (("first 42", ["first ", "meanwhile", "42"]) if stream else ("42", ["meanwhile"]))


def test_a_function_and_an_object_of_another_library_say_it_too():
    threads = []

    def ask(messages):
        threads.append(threading.current_thread())
        return "42"

    class Foreign:
        in_thread = False

        def generate(self, messages):
            return told(ask(messages))

    ask.in_thread = False
    for model in (ask, Foreign()):
        assert asked(as_model(model))[0] == "42"
    assert threads == [threading.current_thread()] * 2


@BOTH
def test_such_a_model_can_be_left_between_its_pieces(stream):
    model = Here(lambda: call.abandon() or "42")
    call = ModelCall(model, [], stream=stream)
    assert len(list(call)) == stream
    assert call.message is None


def test_an_interrupt_reaches_the_code_of_such_a_model():
    inside = []

    def work():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            inside.append(True)
            raise

    with pytest.raises(KeyboardInterrupt):
        asked(Here(work))
    assert inside == [True]


@BOTH
@pytest.mark.parametrize("make_work", [with_sqlite, with_a_loop, with_an_alarm])
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda model, path: model,
        lambda model, path: as_model([model, ScriptedModel(["never"])]),
        lambda model, path: CassetteModel([model], path),
    ],
    ids=["itself", "in a list", "with a cassette"],
)
def test_a_request_that_uses_what_belongs_to_the_thread_is_made_again_there(tmp_path, wrapped, make_work, stream):
    asyncio.set_event_loop(loop := asyncio.new_event_loop())
    try:
        own = Own(make_work())
        model = wrapped(own, tmp_path / "cassette.json")
        call = ModelCall(model, [], stream=stream)
        assert not [each for each in call if isinstance(each, ModelFellBack)]
        assert call.message.text == ("first 42" if stream else "42")
        assert own.threads[0] is not threading.current_thread() and own.threads[1:] == [threading.current_thread()]
        list(ModelCall(model, [told("more")], stream=stream))
        assert own.threads[2:] == [threading.current_thread()]
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_it_is_made_again_once():
    def work():
        raise RuntimeError("There is no current event loop in thread 'any'.")

    model = Own(work)
    for times in (2, 3):
        with pytest.raises(RuntimeError, match="no current event loop"):
            asked(model)
        assert len(model.threads) == times


def test_of_one_whose_thread_is_not_to_be_set_the_error_is_told():
    class Fixed(Own):
        in_thread = property(lambda self: True)

    with pytest.raises(sqlite3.ProgrammingError, match="same thread"):
        asked(Fixed(with_sqlite()))


@pytest.mark.parametrize("error", [RuntimeError("no"), ValueError("signal"), sqlite3.ProgrammingError("closed")])
def test_other_errors_are_as_ever(error):
    def work():
        raise error

    model = Own(work)
    with pytest.raises(type(error)) as caught:
        asked(model)
    assert caught.value is error and len(model.threads) == 1


def test_a_run_with_a_model_that_keeps_a_connection():
    rows = with_sqlite()
    model = Own(lambda: f'{{"name": "final_answer", "arguments": {{"answer": {rows()}}}}}')
    agent = ToolCallingAgent([], model, verbosity_level=0, journal=False)
    assert agent.run("t") == 42


def test_where_no_thread_can_be_had_it_says_so():
    before = threading.stack_size(1 << 50)  # more than there is
    try:
        with pytest.raises(ModelError, match=r"no thread can be had to ask it .*ulimit -u"):
            asked(Own(lambda: "a"))
    finally:
        threading.stack_size(before)
