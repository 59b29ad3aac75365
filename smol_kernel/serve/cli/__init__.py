"""The `smol` command: parses the command line, calls the command, and turns every failure into one line."""

from __future__ import annotations

import argparse
import codecs
import io
import os
import signal
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from smol_kernel import __version__
from smol_kernel.errors import ConfigError, SmolError
from smol_kernel.memory.switch import is_on
from smol_kernel.render.signs import in_few_characters

USAGE_ERROR, FAILURE, INTERRUPTED, READER_GONE = 2, 1, 130, 141
"""Exit statuses; the last two are a shell's 128 + SIGINT and 128 + SIGPIPE."""
AS_CTRL_C, TWICE = ("SIGTERM", "SIGHUP"), 1.0
"""Signals that stop the command as Ctrl-C does: a job is cancelled, a terminal closed. `timeout` and shells
send theirs twice, within less than so many seconds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (None: the process's own) and return its exit status."""
    codecs.register_error("smol", in_few_characters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="smol")  # a terminal that is not UTF-8 shows the rest all the same
    try:
        status = _call(_parser(), arguments)
        if sys.stdout:  # None where the shell closed it: >&-
            sys.stdout.flush()
        return status
    except KeyboardInterrupt as stop:
        print(f"\nStopped. {stop}".rstrip(), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output left (`smol runs | head`); the interpreter must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE


def process() -> int:
    """The command `smol`: `main`, and for a stopped one an end at once: a model that was left in the middle of a reply
    would hold up Python's own, or crash it. What has to be closed, `main` has closed."""
    status = FAILURE
    _hold_standard_numbers()
    with _stopped_by_signals() as came:
        try:
            status = main()
        finally:
            if came or status == INTERRUPTED:
                for stream in (sys.stdout, sys.stderr):
                    with suppress(OSError, ValueError, AttributeError):  # closed, or None where the shell closed it
                        stream.flush()
                os._exit(128 + came[0] if came else status)
    return status


def _hold_standard_numbers() -> None:
    """Have nothing that is opened take the number of a standard stream that the shell closed: `<&- >&- 2>&-`. And what
    is printed to one goes nowhere: `print` would take None for the standard output."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for number, (name, mode) in enumerate([("stdin", "r"), ("stdout", "w"), ("stderr", "w")]):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


@contextmanager
def _stopped_by_signals() -> Generator[list[int]]:
    """Meanwhile the signals of AS_CTRL_C do what Ctrl-C does, and one that comes later once more ends the process at
    once. Gives the one that came. Where they are ignored (`nohup`) they stay so."""
    came: list[int] = []
    since = 0.0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal since
        if came:
            if time.monotonic() - since > TWICE:
                os._exit(128 + number)
            return
        came.append(number)
        since = time.monotonic()
        pressed = signal.getsignal(signal.SIGINT)
        if not callable(pressed):  # Ctrl-C is ignored: a job in the background of a shell
            raise KeyboardInterrupt
        pressed(signal.SIGINT, frame)

    numbers = [getattr(signal, name) for name in AS_CTRL_C]
    taken = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, stop)
    try:
        yield came
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _call(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    parsed = parser.parse_args(arguments)
    debug = False
    try:
        debug = is_on("SMOL_DEBUG", unset=False)
        return parsed.command(parsed)
    except ConfigError as error:
        print(f"smol: {error}", file=sys.stderr)
        return USAGE_ERROR
    except SmolError as error:
        print(f"smol: {error}", file=sys.stderr)
        return FAILURE
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:  # boundary: the command line shows people a sentence, not a traceback
        if debug:
            raise
        print(f"smol: {type(error).__name__}: {error} (SMOL_DEBUG=1 shows where)", file=sys.stderr)
        return FAILURE


def _parser() -> argparse.ArgumentParser:
    from smol_kernel.serve.cli import demo, doctor, kernel, record, resume, run, validate  # here a Ctrl-C is caught
    from smol_kernel.serve.cli.parser import Parser

    parser = Parser(prog="smol", description="Agents that act by writing code, in a Jupyter kernel.")
    parser.add_argument("--version", action="version", version=f"smol-kernel {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for part in (demo, run, resume, record, validate, kernel, doctor):
        part.add_commands(commands)
    return parser
