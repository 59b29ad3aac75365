"""Whose an error is that the handler of a real signal raised, for each kind of handler."""

from __future__ import annotations

import functools
import signal
import threading

import pytest

from smol_kernel.signals import program_handlers, raised_by


class TimeIsUp(Exception):
    pass


def function(seconds):
    def handler(number, frame):
        raise TimeIsUp(seconds)

    return handler


def up(seconds, number, frame):
    raise TimeIsUp(seconds)


class Limit:
    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self, number, frame):
        self.reached(number, frame)

    def reached(self, *_):
        raise TimeIsUp(self.seconds)


class Odd(Limit):
    def __getattr__(self, name):
        return self


MADE = {
    "function": function,
    "partial": lambda seconds: functools.partial(up, seconds),
    "object": Limit,
    "object that has all": Odd,
    "static method": lambda seconds: staticmethod(function(seconds)),
    "method": lambda seconds: Limit(seconds).reached,
    "partial of a method": lambda seconds: functools.partial(Limit(seconds).reached, "more"),
}


@pytest.fixture
def install():
    """Installs a handler."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda handler: signal.signal(signal.SIGUSR1, handler)
    signal.signal(signal.SIGUSR1, before)


def work():
    while True:
        pass


def reached():
    """What is raised where a signal is handled."""
    with pytest.raises(TimeIsUp) as raised:
        signal.raise_signal(signal.SIGUSR1)
    return raised.value


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_that_of_the_program_and_one_that_is_made_alike_later(install, made):
    install(made(600))
    before = program_handlers()
    assert raised_by(before, reached())
    install(made(5))
    assert not raised_by(before, reached())


def test_one_that_hands_on_to_that_of_the_program(install):
    install(function(600))
    before, first = program_handlers(), signal.getsignal(signal.SIGUSR1)
    install(lambda *given: first(*given))
    assert raised_by(before, reached())


def test_one_without_an_end(install):
    endless = functools.partial(up)
    endless.__setstate__((endless, (), {}, {}))
    install(endless)
    assert all(each.number != signal.SIGUSR1 for each in program_handlers())
    endless.__setstate__((up, (), {}, {}))


def test_that_of_a_timer_before_its_time_and_then():
    before = signal.signal(signal.SIGVTALRM, function(600))
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 3_600)
        noted = program_handlers()
        with pytest.raises(TimeIsUp) as raised:
            signal.raise_signal(signal.SIGVTALRM)  # as from a timer that was set since
        assert not raised_by(noted, raised.value)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.2)
        noted = program_handlers()
        with pytest.raises(TimeIsUp) as raised:
            work()
        assert raised_by(noted, raised.value)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_no_handler_raises_on_another_thread(install):
    install(function(600))
    seen = []
    thread = threading.Thread(target=lambda: seen.append(program_handlers()))
    thread.start()
    thread.join()
    assert seen == [[]]
