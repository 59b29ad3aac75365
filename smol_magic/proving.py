"""The proof of a run's finished work, made while the cell goes on, and told in its cells. Used by `cell`."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from smol_kernel.agents.managed_agent import functions
from smol_kernel.errors import SmolError
from smol_kernel.events import settled
from smol_kernel.executors.values import decode
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.check_cell import with_check
from smol_kernel.runs.earlier import runs_before
from smol_kernel.runs.joined import joined
from smol_kernel.runs.lent import lent
from smol_kernel.runs.made_again import beginning
from smol_kernel.runs.named_answer import last_code, last_name, with_answer_in
from smol_kernel.runs.needs import with_needs
from smol_kernel.runs.proof import Proof
from smol_kernel.runs.prove import Prover
from smol_kernel.runs.script import Around, ScriptCell, script_cells, sliced_cells
from smol_magic.invented import any_invented, note, taken

if TYPE_CHECKING:
    from smol_kernel.config import RunOptions
    from smol_kernel.events import Event
    from smol_magic.session import Session


class CellProof:
    """Proves the run of a cell in a notebook of these `variables`. `prove` is called on a thread of its own, `stop` on
    any."""

    def __init__(
        self,
        session: Session,
        transcript: Transcript,
        options: RunOptions,
        inputs: Mapping[str, Any],
        answer_name: str | None,
        variables: Mapping[str, Any],
    ) -> None:
        self._session, self._transcript, self._options, self._inputs = session, transcript, options, inputs
        self._answer_name, self._variables = answer_name, variables
        self._prover: Prover | None = None
        self._stopped = False
        self.proof: Proof | None = None
        """None as long as there is none."""

    def prove(self) -> None:
        """Run the cells again and compare. What hinders that is told in the proof."""
        session = self._session
        agent = session.agent
        try:
            events = settled(session.journal.events(self._transcript.run))
            box = getattr(agent, "executor_kwargs", {})  # a conversation keeps the one it began in
            self._prover = Prover(
                events,
                inputs=self._inputs,
                tools=None if agent is None else functions(agent),
                mounts=box.get("mounts", self._options.mounts),
                limits=box.get("limits", self._options.limits),
                timeout=box.get("timeout_seconds", self._options.timeout),
                made=session.child,
                earlier=runs_before(session.journal, events),
                variables=self._variables,
                around=self._around,
            )
            if self._stopped:
                self._prover.stop()
            self.proof = self._prover.prove()
        except Exception as error:  # noqa: BLE001 - boundary: whatever hinders the proof, the answer stands
            said = str(error).rstrip(".") if isinstance(error, SmolError) else f"the proof itself failed ({error!r})"
            self.proof = Proof("not proved", self._whole(), said)

    def stop(self) -> None:
        """End it; nothing is proved then."""
        self._stopped = True
        if self._prover is not None:
            self._prover.stop()

    def cells(self) -> list[ScriptCell]:
        """The cells to write: a line in the first says what was shown, the answer goes into the variable that the user
        named, and the last checks it if that is wanted. Names that the notebook lacks are made, or told."""
        proof, transcript = self.proof, self._transcript
        cells = self._whole() if proof is None else proof.cells
        told = (proof and proof.transcript) or transcript
        cells = with_needs(cells, told, self._variables)
        if proof is not None and cells:
            cells = replace(proof, cells=cells).told()
        cells = self._ended(cells, self._around.taken, check=proof is not None and proof.proved)
        note(self._session.invented, cells, told)
        earlier = sum(step.is_earlier for step in proof.transcript.steps) if proof and proof.transcript else 0
        return [replace(cell, step=max(cell.step - earlier, 0)) for cell in cells]

    def _ended(self, cells: list[ScriptCell], taken: Container[str], *, check: bool) -> list[ScriptCell]:
        """With the answer in the variable that the user named, and, if the cell that checks it is wanted, with that."""
        other = any(cell.as_fields for cell in cells)  # its value is no dict, as the answer is
        name = self._answer_name
        if name is not None and any(step.final for step in self._transcript.steps):
            cells = _without(cells, name) if other else with_answer_in(cells, name)
        if check and self._options.prove_cell:
            cells = with_check(cells, decode(self._transcript.answer), taken)
        return cells

    def _whole(self) -> list[ScriptCell]:
        """All that completed, sparing also what earlier runs were given."""
        return script_cells(self._lent, self._around)

    @cached_property
    def _runs(self) -> list[list[Event]]:
        """The runs that it goes on from and the run; none where the journal failed when it ran."""
        journal = self._session.journal
        try:
            events = list(settled(journal.events(self._transcript.run)))
            return [*runs_before(journal, events), events]
        except SmolError:
            return []

    @cached_property
    def _lent(self) -> Transcript:
        """The run, with what it names of what earlier ones were given."""
        transcript = copy(self._transcript)
        if self._runs:
            transcript.inputs = beginning(lent(self._runs, self._variables)).inputs
        return transcript

    def _ways(self) -> Iterator[tuple[Transcript, list[ScriptCell]]]:
        """The cells that the run may have in a notebook where no name is taken, each time with what they are of."""
        alone = Around(answer=self._answer_name)
        events = joined(self._runs, self._variables) if len(self._runs) > 1 else None
        for transcript in (self._lent, *([Transcript.from_events(events)] if events else [])):
            for cells in (script_cells(transcript, alone), sliced_cells(transcript, alone)[0] or []):
                for check in {False, self._options.prove_cell}:
                    yield transcript, self._ended(cells, (), check=check)

    @cached_property
    def _around(self) -> Around:
        """The notebook when the run has ended. Cells as the run would have them in an empty one may have been run in
        it: their names are not those of this kernel's runs alone, which may have been restarted."""
        session = self._session
        invented = {name: set(sources) for name, sources in session.invented.items()}
        inputs = {name for run in self._runs for name in beginning(run).inputs}
        if any_invented(set(self._variables).difference(session.answers), {*self._transcript.inputs, *inputs}):
            for transcript, cells in self._ways():
                note(invented, cells, transcript)
        return Around(taken(self._variables, invented, session.history, session.answers), self._answer_name)


def _without(cells: list[ScriptCell], name: str) -> list[ScriptCell]:
    first, *others = cells
    does = "put that there" if last_name(cells[last_code(cells) or 0].source) == name else "do not set that"
    said = f"The last cell gives the object whose fields are in `{name}`; run alone, these cells {does}."
    return [replace(first, source=f"{first.source}\n\n{said}"), *others] if first.kind == "markdown" else cells
