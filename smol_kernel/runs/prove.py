"""Shows that the finished work of a run gives its answer again: the cells are run in a fresh, boxed child.

Tool calls are answered from the record, there is no network, and what is written goes with the child. Compared are the
answer, the pictures that were shown and the files that were made. Called by the notebook front, by
`smol export --script` and by `benchmarks`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smol_kernel.errors import SmolError
from smol_kernel.events import ActionFinished, Event, FilesMade, Output, RunStarted, ToolCalled, ToolReturned, settled
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers.settings import wants_box
from smol_kernel.executors.recorded import RecordedCalls, RecordedResult
from smol_kernel.executors.values import RemoteValue
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.answer import defined_throughout
from smol_kernel.runs.begun_with import begun_with
from smol_kernel.runs.beside import beside
from smol_kernel.runs.chance import chance, hint, hint_of_pictures
from smol_kernel.runs.compared import READ_OTHERWISE, CellShown, RunShown, decoded, text_of
from smol_kernel.runs.failed_cells import failure, with_earlier
from smol_kernel.runs.hidden import hidden_from
from smol_kernel.runs.joined import joined
from smol_kernel.runs.lent import lent
from smol_kernel.runs.made_files import FilesMadeAgain
from smol_kernel.runs.named_answer import free_name_in, last_code, with_answer_in
from smol_kernel.runs.needs import called_again, from_record
from smol_kernel.runs.proof import CellsFail, NotReproduced, Proof, State, Unknown
from smol_kernel.runs.recorded_box import recorded_box, to_read
from smol_kernel.runs.same import pictures
from smol_kernel.runs.script import NOWHERE, Around, ScriptCell, certain, script_cells, showing, sliced_cells
from smol_kernel.runs.turned import LATER, READS_DATES, TODAY, Turn, turns
from smol_kernel.runs.written import Written, unshown

if TYPE_CHECKING:
    from smol_kernel.executors.base import PythonExecutor

FRESH = 3
"""Children in which cells are tried that gave something else as a part, or whose sets and numbers cannot be turned."""
NO_BOX = "the box is off, and outside one the cells could change your files again"
STOPPED = "stopped"


@dataclass
class Prover:
    """Proves the run of `events`, its first one.

    `inputs` are the values that were handed in (else those of the record are taken), `tools` what the run could call
    (only their signatures count; none is ever called), `mounts` and `limits` those of its box (`recorded_box` gives
    them), `made` the place that still has the files it made, `cwd` its folder (None: the host's).
    """

    events: Iterable[Event]
    inputs: Mapping[str, Any] | None = None
    tools: Mapping[str, Callable[..., Any]] | None = None
    mounts: Sequence[Any] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    lacks: str = ""
    """Of its box what the proof does without, and why, in words."""
    timeout: float | None = 300.0
    """Seconds of the child's own time for one cell; None: no limit."""
    made: PythonExecutor | None = None
    cwd: str | Path | None = None
    earlier: Sequence[Sequence[Event]] = ()
    """The runs from which it went on, the first one first."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """Of the notebook: what earlier runs were given is taken from there, if the `inputs` are given."""

    around: Around = NOWHERE
    """The notebook that the cells are for."""

    def __post_init__(self) -> None:
        self._runs = [*self.earlier, list(self.events)]
        self._there = None if self.inputs is None else {*self.variables, *self.inputs}
        self.events = events = lent(self._runs, self._there)
        self._transcript = Transcript.from_events(events)
        self._started = next((event for event in events if isinstance(event, RunStarted)), None)
        if self.inputs is not None:
            given = self._transcript.inputs.keys() & self.variables.keys()
            self.inputs = {**{name: self.variables[name] for name in given}, **self.inputs}
        self._is_lent = events != self._runs[-1]
        """Whether it names what only earlier runs were given."""
        self._why = ""
        """Why the cells were not reproduced."""
        run = self._transcript.run
        self._calls = [event for event in events if isinstance(event, (ToolCalled, ToolReturned)) and event.run == run]
        told = [event for event in events if isinstance(event, FilesMade) and event.run == run]
        paths = {path for event in told for path in event.paths}
        self._files = FilesMadeAgain(self._transcript, paths, self.made, Path(self.cwd or "."))
        self._executor: KernelExecutor | None = None
        self._whole: Prover | None = None
        """Proves it with what it needs of the earlier runs."""
        self._stopped = threading.Event()
        self._refused: dict[str, str] = {}
        """Calls that the run did not make: id → the call in a line."""
        self._shown = RunShown(self._transcript)
        self._again = ""
        """What is otherwise where the cells have been run before."""
        self._as_fields = False
        """Whether the cells end with an object that is an answer by its fields."""
        self._showed = {step.number for step in self._transcript.steps if step.showed_value}
        """Steps whose value the model saw: it is compared, also where the cell hides it."""

    def stop(self) -> None:
        """End it as soon as can be: nothing is proved then. Any thread."""
        self._stopped.set()
        if self._whole is not None:
            self._whole.stop()
        if self._executor is not None:
            self._executor.interrupt()

    def prove(self) -> Proof:
        """Run the cells and compare, which takes a second or two beside the cells. They are run twice; with sets once
        more, with `hash` or `id` twice. Such as come out otherwise in the same place are tried up to five times more,
        and three times where what is turned cannot be. Where the part that the answer needs does not give it, all of
        that is done with the whole script, and where this does not run alone with what earlier runs had made."""
        proof = self._prove()
        own = proof.proved and proof.transcript is None
        return replace(proof, transcript=self._transcript) if self._is_lent and own else proof

    def _prove(self) -> Proof:
        transcript = self._transcript
        whole = script_cells(transcript, self.around)
        stopped = self._stopped.is_set()
        sliced, self._shown.written = (None, Written()) if stopped else sliced_cells(transcript, self.around)
        if not any(step.final for step in transcript.steps) or not transcript.answered:
            return Proof("not proved", whole, "no statement of the script gives the answer")
        if self._is_lent and (proof := self._with_earlier()):  # they may have changed it since
            return proof
        try:
            if self._stopped.is_set():
                raise Unknown(STOPPED)
            values = begun_with(transcript, self._started, self.inputs)
            code = _code(sliced or whole)
            by_chance = chance(code, self._beside(code))
            if by_chance:
                raise NotReproduced(f"{by_chance}, so that another run may answer something else")
            executor = self._make(values)
            try:
                return self._try_all(executor, values, sliced, whole)
            finally:
                executor.cleanup()
                self._executor = None
        except NotReproduced as error:
            proof = self._with_earlier() if isinstance(error, CellsFail) and self._whole is None else None
            if self._stopped.is_set():
                return Proof("not proved", whole, STOPPED)
            without = f"; the proof was made without {self.lacks}" if self.lacks else ""
            self._why = with_earlier(str(error), self._whole._why if self._whole is not None else "")
            return proof or Proof("not reproduced", whole, f"{self._why}{without}")
        except (SmolError, Unknown) as error:
            return Proof("not proved", whole, STOPPED if self._stopped.is_set() else str(error).rstrip("."))

    def _with_earlier(self) -> Proof | None:
        """The proof of cells that make themselves what earlier runs had made, if these can be proved."""
        events = joined(self._runs, self._there) if len(self._runs) > 1 else None
        if events is None:
            return None
        whole = self._whole = replace(self, events=events, earlier=())
        for step in whole._transcript.steps[: -len(self._transcript.steps)]:
            step.is_earlier = True
        if self._stopped.is_set():
            return None
        proof = whole.prove()
        return replace(proof, transcript=whole._transcript) if proof.proved else None

    def _try_all(
        self, executor: KernelExecutor, values: dict[str, Any], sliced: list[ScriptCell] | None, whole: list[ScriptCell]
    ) -> Proof:
        times = 1
        if sliced is not None:
            try:
                self._try(executor, values, sliced)
                return self._proved("proved", sliced)
            except NotReproduced as error:
                if _code(sliced) == _code(whole):
                    raise
                times = 1 if isinstance(error, CellsFail) else FRESH  # it may come out otherwise now and then
        for number in range(times):
            if number or sliced is not None:
                executor.restart()
                executor.send_variables(values)
            self._try(executor, values, whole)
        return self._proved("whole", whole)

    # what the cells begin with

    def _beside(self, code: Sequence[str]) -> dict[str, str]:
        try:
            return beside(code, self.inputs or {}, Path(self.cwd or ".").resolve())
        except Exception:  # noqa: BLE001 - what was handed in may do anything when it is looked at
            return {}

    def _make(self, values: dict[str, Any]) -> KernelExecutor:
        if not wants_box(None):
            raise Unknown(NO_BOX)
        mounts = to_read(self.mounts, self.cwd)
        executor = KernelExecutor(self.timeout, cwd=self.cwd, mounts=mounts, limits=self.limits or None)
        assert executor.settings is not None
        executor.settings = replace(executor.settings, afresh=True)  # sets have another order in each Python
        self._executor = executor
        if self._stopped.is_set():
            executor.interrupt()
        named = {name: _no_tool for name in self._transcript.tools if name != "final_answer"}
        executor.send_tools(named if self.tools is None else dict(self.tools))
        executor.send_variables(values)
        executor.refuse = self._refuse
        if any(event.tool == "input" for event in self._calls):  # else nobody could be asked, and input() says so
            executor.ask_person = _nobody
        return executor

    def _answer_calls(self, executor: KernelExecutor, step: int) -> None:
        """Have the calls of this step's cell answered as they were in the run, and no others."""
        recorded = RecordedCalls(event for event in self._calls if event.step == step)

        def take(event: ToolCalled) -> RecordedResult | None:
            result = recorded.take(event)
            if result is None:
                self._refused[event.call] = event.summary
            return result

        executor.recorded = take

    def _refuse(self, event: ToolCalled) -> str | None:
        return "this call was not made in the run" if event.call in self._refused else None

    # one try

    def _try(self, executor: KernelExecutor, values: dict[str, Any], cells: Sequence[ScriptCell]) -> None:
        """Raises NotReproduced unless the cells give the answer, twice and whatever the order of sets."""
        self._files.take_away(executor)
        shown = self._run(executor, cells)
        try:
            self._shown.compare_answer(shown)
        except NotReproduced as error:
            raise NotReproduced(f"{error}{hint(_code(cells))}") from None
        try:
            self._shown.compare_pictures(shown)
            self._files.compare(executor)
        except Unknown as error:
            raise Unknown(f"the answer came out the same, but {error}") from None
        except NotReproduced as error:
            raise NotReproduced(f"the answer came out the same, but {error}{hint_of_pictures(_code(cells))}") from None
        self._again = self._try_later(executor, values, cells)
        for turn in turns(_code(cells)):
            self._try_turned(executor, values, cells, turn)

    def _try_later(self, executor: KernelExecutor, values: dict[str, Any], cells: Sequence[ScriptCell]) -> str:
        """The second time it is another day for what fills in today's date. Gives what is otherwise where the cells
        have been run before: such as change the files or inputs they begin with are tried in a fresh child."""
        try:
            self._run_on(LATER, executor, cells)
        except NotReproduced as again:
            try:
                for _ in range(1 if isinstance(again, CellsFail) else FRESH):  # it may rest on chance that is not seen
                    self._begin_afresh(executor, values)
                    self._run_on(LATER, executor, cells)
                return _plain(again)
            except NotReproduced as error:
                later = error
            today = self._comes_out(TODAY, executor, values, cells)
            if today and not self._comes_out(LATER, executor, values, cells):  # else it is chance
                raise NotReproduced(
                    f"a date that lacks a part is taken from the day of today ({_plain(later)})"
                ) from None
            raise NotReproduced(f"run a second time, {_plain(again)}") from None
        return ""

    def _run_on(self, day: str, executor: KernelExecutor, cells: Sequence[ScriptCell]) -> None:
        executor(day)
        self._shown.compare_answer(self._run(executor, cells))

    def _comes_out(
        self, day: str, executor: KernelExecutor, values: dict[str, Any], cells: Sequence[ScriptCell]
    ) -> bool:
        """Whether the cells give the answer in a fresh child."""
        self._begin_afresh(executor, values)
        try:
            self._run_on(day, executor, cells)
        except NotReproduced:
            return False
        return True

    def _begin_afresh(self, executor: KernelExecutor, values: dict[str, Any]) -> None:
        executor.restart()
        executor.send_variables(values)
        self._files.take_away(executor)
        executor(READS_DATES)

    def _try_turned(
        self, executor: KernelExecutor, values: dict[str, Any], cells: Sequence[ScriptCell], turn: Turn
    ) -> None:
        turned = [replace(cell, source=turn.changed(cell.source)) if cell.kind == "code" else cell for cell in cells]
        try:
            for code in turn.before:
                if self._again:
                    self._begin_afresh(executor, values)
                executor(code)
                self._shown.compare_answer(self._run(executor, turned))
        except CellsFail:  # not all is the same for what is turned: where it is another by itself has to do
            for _ in range(FRESH):
                self._begin_afresh(executor, values)
                self._shown.compare_answer(self._run(executor, cells))
        except NotReproduced as error:
            raise NotReproduced(f"the answer depends on {turn.what} ({error})") from None

    def _run(self, executor: KernelExecutor, cells: Sequence[ScriptCell]) -> list[CellShown]:
        found: list[CellShown] = []
        self._refused.clear()
        name = free_name_in(cells)
        named = with_answer_in(cells, name)
        coded = [cell for cell in named if cell.kind == "code"]
        sources = [showing(cell.source) if cell.step in self._showed else cell.source for cell in coded]
        for cell, source in zip(coded, defined_throughout(sources), strict=True):
            self._answer_calls(executor, cell.step)
            shown = CellShown(cell.step)
            for event in executor.run(source):
                if isinstance(event, Output):
                    shown.pictures += pictures(event.data)
                    shown.text += text_of([event])
                elif isinstance(event, ActionFinished):
                    shown.ended = event
            if self._stopped.is_set():
                raise Unknown(STOPPED)
            if self._refused:
                raise NotReproduced(
                    f"the cells call {next(iter(self._refused.values()))}, which the run did not at this place"
                )
            assert shown.ended is not None
            if shown.ended.status != "ok":
                raise CellsFail(failure(shown.ended))
            if shown.ended.final:
                raise CellsFail("the cells call `final_answer`, which there is in a run alone")
            found.append(shown)
        last = found[-1].ended if found else None
        if last is not None:
            value = decoded(last.value)
            kept = "_" if named == list(cells) else name  # `_` may be a variable of the cells
            value = executor.read(kept) if isinstance(value, RemoteValue) else value
            self._as_fields = isinstance(value, RemoteValue)
            found[-1].value = executor.read(kept, as_answer=True) if self._as_fields else value
        return found

    def _proved(self, state: State, cells: Sequence[ScriptCell]) -> Proof:
        text = json.dumps([_code(cells), self._transcript.answer], sort_keys=True)
        found, last = [certain(cell) for cell in cells], last_code(cells)
        if last is not None:
            found[last] = replace(found[last], as_fields=self._as_fields)
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
        made = {"files": self._files.are_some, "pictures": any(was for _, was in self._shown.pictures())}
        return Proof(
            state,
            found,
            digest=digest,
            unshown=unshown(self._shown.written, self._started, self._transcript.steps),
            besides=(f"; run a second time in the same place, {self._again}" if self._again else "")
            + self._files.beside
            + hidden_from(_code(cells))
            + from_record(cells, self._transcript)
            + called_again(cells, self._transcript),
            written=self._shown.written.how,
            made=" and ".join(name for name, are_some in made.items() if are_some),
        )


def prover_of(events: Sequence[Event], before: Sequence[Sequence[Event]]) -> Prover:
    """Proves the run of `events` by its record alone, and those of the runs `before` it in its conversation."""
    return Prover(settled(events), earlier=before, **recorded_box(events))


def _no_tool(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("no tool is called here")


def _nobody(prompt: str, password: bool) -> str:
    raise EOFError("nobody is asked here")


def _plain(error: NotReproduced) -> str:
    """What came out otherwise, where it is said beside that the model wrote the answer itself."""
    return str(error).removeprefix(READ_OTHERWISE)


def _code(cells: Sequence[ScriptCell]) -> list[str]:
    return [cell.source for cell in cells if cell.kind == "code"]
