"""`smol run TASK`: one task for an agent, its steps on the screen as they happen."""

from __future__ import annotations

import argparse
import json
import keyword
import os
import re
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.config import (
    CASSETTE_VARIABLE,
    TAKEN_NAMES,
    add_options,
    connect,
    given_by,
    make_agent,
    model_of,
    read_image,
    read_options,
)
from smol_kernel.errors import (
    BoxUnavailableError,
    ConfigError,
    JournalError,
    MissingDependencyError,
    ModelError,
    SmolError,
)
from smol_kernel.executors.interpreter_tool import PythonInterpreterTool
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.saved_files import SavedFiles
from smol_kernel.executors.stand_ins import IF_NAMED, STANDS_IN
from smol_kernel.executors.values import decode
from smol_kernel.memory.known_secrets import without_secret_words
from smol_kernel.models.cassette import MARK
from smol_kernel.models.demo import demo_data, demo_task, refusal
from smol_kernel.render.console import ConsoleReader, is_terminal
from smol_kernel.render.plain import one_line
from smol_kernel.render.text import state_word
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.file_form import file_form
from smol_kernel.serve.cli.answer_file import AnswerFile
from smol_kernel.tools.asked import asked_text
from smol_kernel.tools.base import Tool

if TYPE_CHECKING:
    from smol_kernel.agents.multi_step import MultiStepAgent
    from smol_kernel.events import Event
    from smol_kernel.journal import RunSummary

STATUSES = {"success": 0, "budget": 3}
"""Exit statuses of a run by its state; 1 for any other."""
NO_BOX = 4
"""Exit status of a run that ended because this system gives no box."""
READABLE = (".csv", ".tsv", ".parquet", ".json")
_ENDINGS = f"{', '.join(READABLE[:-1])} or {READABLE[-1]}"


def add_commands(commands: Any) -> None:
    """Add `run` to the subcommands."""
    parser = commands.add_parser(
        "run",
        help="work on one task",
        description="Let an agent work on TASK. Its code runs on this machine in a kernel of its own, in a box: it "
        "sees this folder, writes to a copy in memory, and has no network unless allowed. `smol doctor` tells more.",
        epilog="--in df=sales.csv gives the agent the table as df (.csv, .tsv, .parquet; .json as plain values). "
        "-o FILE writes the answer there, as JSON if FILE ends in .json (a table as records, a date as ISO text, NaN "
        "as null, what JSON lacks as its text); a table as .csv, .tsv or .parquet if it ends so; else as whole text. "
        "What is no table is no .parquet: its text is written beside it, to FILE.RUN.txt, and the status is 1. A FILE "
        "that can be no text (.xlsx, .pdf, .ipynb and the like) is refused before the run. "
        "Exit status: 0 the agent answered; 3 a limit of the budget (--max-cost and the like, not --max-steps) was "
        "reached, and the answer, if there is one, is the best so far; 4 no box can be had here, so no code was run; "
        "1 any other end, out of steps among them; 2 wrong options; 130 Ctrl-C; 143 SIGTERM and 129 SIGHUP, which "
        "stop as Ctrl-C does.",
    )
    parser.add_argument("task", metavar="TASK", help="what to do, in plain words; - reads it from standard input")
    add_options(parser, notebook=False)
    parser.add_argument("--no-journal", dest="journal", action="store_false", help="do not record the run")
    add_save_files(parser, "TASK")
    parser.set_defaults(command=command)


def add_save_files(parser: argparse.ArgumentParser, last: str) -> None:
    """Add `--save-files`, which comes behind the argument `last`: its own may be left out."""
    parser.add_argument(
        "--save-files",
        metavar="DIR",
        nargs="?",
        const="",
        help="after the run, save the files that it made in its box into DIR (none: the working folder); give it after "
        f"{last}. Files that are there are kept. What Python, pytest, Jupyter or Matplotlib would import, run or read "
        f"unasked goes into a folder {APART} there",
    )


def command(arguments: argparse.Namespace) -> int:
    """Carry out `smol run`; 0 when the agent answered of its own, 3 when the budget was used up, 4 without a box where
    one is wanted, else 1."""
    options = read_options(arguments)
    try:
        task = arguments.task.strip()
        if task == "-":
            task = sys.stdin.read().strip() if sys.stdin is not None else ""
        task.encode()
    except UnicodeError as error:
        raise ConfigError(f"the task is not UTF-8 ({error}); write it as that") from None
    if not task:
        raise ConfigError('the task is empty; say what to do, for instance: smol run "What is 6 times 7?"')
    note_places(arguments, handed_in(arguments))
    model = model_of(options)
    inputs = read_inputs(options.inputs)
    images = [read_image(Path(file).expanduser(), f"--image {file}") for file in options.images]
    if model.model_id in ("demo", f"demo{MARK}"):
        inputs = {**demo_inputs(task), **inputs}
    with ExitStack() as held:
        tools: list[Tool] = []
        if options.mcp:
            tools += held.enter_context(connect(options.mcp))
        agent = make_agent(options, model, tools, journal=None if arguments.journal else False)
        given = given_by(options, agent, (), tools)
        more = ({"given": given} if given else {}) | options.of_interpreter
        held.callback(agent.cleanup)
        if not has_child(agent):
            return NO_BOX
        return finish(agent, begin(agent, task, inputs, images, options.mcp, more), arguments, "task")


def has_child(agent: MultiStepAgent) -> bool:
    """Start the child that `agent` acts in, or the one of its tool, before a model is asked and paid. False, and why,
    where no box can be had. Raises ExecutorError if the child cannot be started."""
    executor = getattr(agent, "python_executor", None)
    try:
        for each in agent.tools.values() if executor is None else (executor,):
            if isinstance(each, KernelExecutor | PythonInterpreterTool):
                each.start()
    except BoxUnavailableError as error:
        say(f"smol: {error}")
        return False
    return True


def say(line: str) -> None:
    """Print it to standard error. Where that cannot be written (`2>&1 | head`), what is to be done is done all the
    same."""
    with suppress(OSError):
        print(line, file=sys.stderr)


def finish(agent: MultiStepAgent, events: Generator[Event], arguments: argparse.Namespace, last: str) -> int:
    """Draw `events`, a run of `agent`, to its end, keep what the arguments want kept, and end the agent; gives the exit
    status. `last` is the word for what `--save-files` comes behind, to say so."""
    with ExitStack() as held:
        held.callback(agent.cleanup)
        saved = held.enter_context(saving(agent, arguments.save_files))
        transcript, status = draw(agent, events)
        kept = is_kept(agent, transcript.run)
        if transcript.answered and arguments.output:
            status = write_answer(transcript, arguments.output, kept) or status
        is_new = agent.life.resumed is None or agent.life.resumed.went_on  # else all of it had been recorded before
        if transcript.run and agent.journal is not False and not kept and is_new:
            say("smol: the journal has not all of this run: what it said is above.")
        if arguments.save_files is None and transcript.files:
            say(f"These files are gone with the box; --save-files after the {last} keeps them.")
    return status if all(saved) else status or 1


def is_kept(agent: MultiStepAgent, run: str) -> bool:
    """Whether a journal has the run to its end: one whose disk is full, say, ends before."""
    found = in_journal(agent, run)
    return found is not None and found.finished is not None


def in_journal(agent: MultiStepAgent, run: str) -> RunSummary | None:
    """The run as a journal has it, if one does: a fork of which nothing came is in none any more."""
    try:
        return agent.life.recorded_in and agent.life.recorded_in.find(run)
    except JournalError:
        return None


MEANT = ("is hidden", "is there already")
"""Why a file is not saved, where that is as it was told to be."""


APART = ".not-imported"
"""Folder for files that are saved only if they are named: at a terminal the box is gone afterwards. By its name pytest
does not look into it."""


def demo_inputs(task: str) -> dict[str, Any]:
    """The table that a task of the demo is about. Raises ModelError for a task that its script does not know."""
    demo = demo_task(task)
    if demo is None:
        raise ModelError(refusal(task))
    return {"df": demo_data(demo.data)}


def begin(
    agent: MultiStepAgent,
    task: str,
    inputs: Mapping[str, Any],
    images: Sequence[Any] = (),
    servers: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
) -> Generator[Event]:
    """The events of `task`, run by `agent` from the command line; `more` goes into its origin."""
    origin = {
        "front": "cli",
        "mcp": [without_secret_words(server) for server in servers],
        **(more or {}),
    }
    return agent.run_events(task, images=list(images) or None, additional_args=inputs, origin=origin)


def draw(agent: MultiStepAgent, events: Generator[Event]) -> tuple[Transcript, int]:
    """Draw `events`, a run of `agent`, on the screen; gives the whole, and the exit status it means."""
    if isinstance(agent, CodeAgent) and sys.stdin is not None and sys.stdin.isatty():
        agent.python_executor.ask_person = ask_person  # pyright: ignore[reportAttributeAccessIssue]
    has_journal = agent.journal is not False
    console, transcript, status = ConsoleReader(names_run=has_journal), Transcript(), 1
    with closing(events):
        try:
            for event in events:
                transcript.feed(event)
                console(event)
        except KeyboardInterrupt:
            how = f"smol resume {transcript.run} goes on from here." if transcript.run and has_journal else ""
            raise KeyboardInterrupt(how) from None
        except SmolError as error:
            if transcript.state != "error":  # else the console has said it
                raise
            status = NO_BOX if isinstance(error, BoxUnavailableError) else 1
    status = STATUSES.get(transcript.state, status)
    if status and not is_terminal(sys.stdout):  # which may lead nowhere
        reason = one_line((transcript.error or "").partition("\n")[0], 500)
        where = f" (smol show {transcript.run})" if in_journal(agent, transcript.run) else ""
        say(f"smol: {': '.join(filter(None, [state_word(transcript.state), reason]))}{where}")
    missing = re.search(r"needs a key: set (\w+)", transcript.error or "")
    if missing:  # the error tells of a notebook and of Python
        say(f"In a shell: export {missing[1]}=…")
    if isinstance(console.lost, OSError) and not isinstance(console.lost, BrokenPipeError):
        say(f"smol: not all could be printed: {console.lost.strerror}")
        status = status or 1
    return transcript, status


def ask_person(prompt: str, password: bool) -> str:
    """What the person types in answer to an action's `input()` or `getpass()`."""
    import getpass

    text = asked_text(prompt, password=password, encoding=getattr(sys.stdout, "encoding", None))
    return getpass.getpass(text) if password else input(text)


def read_inputs(given: Sequence[str]) -> dict[str, Any]:
    """The values that `--in NAME=FILE` names. Raises ConfigError for a name or file that does not serve."""
    values: dict[str, Any] = {}
    for each in given:
        name, separator, file = each.partition("=")
        if not (separator and name and file):
            raise ConfigError(f"--in {each}: write NAME=FILE, for instance --in df=sales.csv")
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ConfigError(f"--in {each}: {name!r} is no name of a variable; write for instance --in df={file}")
        if name in TAKEN_NAMES:
            raise ConfigError(f"--in {each}: actions need {name!r} for something else ({TAKEN_NAMES[name]})")
        if name in values:
            raise ConfigError(f"--in {each}: {name} is given twice")
        values[name] = _read(Path(file).expanduser(), each)
    return values


def _read(path: Path, given: str) -> Any:
    kind = path.suffix.lower()
    if path.is_dir():
        raise ConfigError(f"--in {given}: {str(path)!r} is a folder; name a file that ends in {_ENDINGS}")
    if not path.exists():
        raise ConfigError(f"--in {given}: there is no file {str(path.absolute())!r}; give the path of one")
    if kind not in READABLE:
        what = f"a {kind} file" if kind else "a file without an ending"
        raise ConfigError(f"--in {given}: {what} cannot be read; give one that ends in {_ENDINGS}")
    try:
        if kind == ".json":
            return json.loads(path.read_text(encoding="utf-8-sig"))
        try:
            import pandas as pd
        except ImportError:
            raise MissingDependencyError(f"--in {given} needs pandas: pip install 'smol-kernel[demo]'") from None
        if kind == ".parquet":
            return pd.read_parquet(path)
        with path.open("rb") as file:
            start = file.peek().lstrip().partition(b"\n")[0]
            if start and not start.strip(b"\0 \r"):  # allotted and never written; pandas makes a column of it
                raise ValueError("No columns to parse from file")
            return pd.read_csv(file, sep="\t" if kind == ".tsv" else ",")
    except OSError as error:
        raise ConfigError(f"--in {given}: {str(path)!r} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--in {given}: it is not UTF-8; save it as that") from None
    except (ValueError, RecursionError) as error:  # json and pandas on a malformed file
        raise ConfigError(f"--in {given}: {error}") from None


def note_places(arguments: argparse.Namespace, handed: Sequence[tuple[str, str]]) -> None:
    """Find what `-o` and `--save-files` name before anything is run, which may put links there. Raises ConfigError if
    nothing can be written there, or what is there is `handed` in, as `handed_in` tells it."""
    arguments.output = AnswerFile(arguments.output, handed) if arguments.output else None
    if folder := arguments.save_files:
        if Path(folder).exists() and not Path(folder).is_dir():
            raise ConfigError(f"--save-files {folder}: it is a file; name a folder")
        arguments.save_files = os.path.realpath(os.path.expanduser(folder))


def handed_in(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """The files that a run is made from: the option that names each, as it was given, and the path."""
    named = [(f"--in {each}", each.partition("=")[2]) for each in arguments.inputs]
    for option in ("images", "cassette", "action", "mounts"):
        given = getattr(arguments, option, None)
        for each in given if isinstance(given, list) else [given] if given else []:
            named.append((f"--{option.rstrip('s')} {each}", str(each)))
    return named + [(name, os.environ[name]) for name in (CASSETTE_VARIABLE, "SMOL_JOURNAL") if os.environ.get(name)]


@contextmanager
def saving(agent: Any, folder: str | None) -> Generator[list[bool]]:
    """Save in the end what the run made, also of one that was stopped; None: nothing. Gives whether all was, then."""
    saved: list[bool] = []
    try:
        yield saved
    finally:
        if folder is not None:
            saved.append(save_files(agent, folder))


def save_files(agent: Any, folder: str) -> bool:
    """Save what the run made into `folder` (empty: the working folder), and tell what was and what was not; gives
    whether all was but for what is `MEANT` to be left."""
    executor = getattr(agent, "python_executor", None)
    if executor is None or not executor.files().files:
        print("There are no files to save: the run made none in a box.")
        return True
    saved = apart = SavedFiles()
    named, failed = list[str](), False
    try:
        saved = executor.save_files(folder=folder or None)
        named = [name for name, why in saved.refused.items() if why.startswith(STANDS_IN)]
        apart = executor.save_files(named, Path(folder, APART)) if named else apart
    except SmolError as error:
        say(f"smol: {error}")
        failed = True
    for path in saved + apart:
        print(f"Saved: {path}")
    for name in named if not failed else ():
        if name not in apart.refused:
            say(f"Saved apart: {name} {saved.refused.pop(name).removesuffix(IF_NAMED)}")
    refused = {**saved.refused, **apart.refused}
    for name, why in refused.items():
        say(f"Not saved: {name} {why}")
    return not failed and all(why.startswith(MEANT) for why in refused.values())


def write_answer(transcript: Transcript, file: AnswerFile, is_recorded: bool) -> int:
    """Write the answer in the form that the file's ending asks for, or its text beside the file where it has no such
    form; gives the exit status that comes of it."""
    path, shown = file.path, transcript.answer_text
    try:
        data, note = file_form(decode(transcript.answer), shown, path.suffix.lower())
        file.write(data)
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        kept = f"; it is kept: smol show {transcript.run}" if is_recorded else ""
        if not isinstance(error, OSError):
            with suppress(OSError, ValueError, RecursionError):  # then it has no text either
                text, _ = file_form(decode(transcript.answer), shown, ".txt")
                kept = f"; its text is in {file.write_beside(text, transcript.run)}"
        say(f"smol: the answer could not be written to {str(path)!r}: {why}{kept}")
        return 1
    print(f"The {transcript.answer_label.lower()} is in {path}{note}.")
    return 0
