"""Takes recorded runs out of the journal: which ones a person means, and the sentence on what became of it.

Called by the command line, which asks the person first, and by `%agent runs`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from smol_kernel.errors import ConfigError
from smol_kernel.journal import Journal, RunSummary
from smol_kernel.journal.rows import HOW_TO_TAKE_OVER
from smol_kernel.render.files import size_text
from smol_kernel.render.plain import counted

USUAL_AGE = "30d"
"""How old a run has to be, if nothing else is said."""


def takes_out(
    search: str, prune: bool, delete: str | None, older_than: str | None, keep: int | None, **consents: bool
) -> bool:
    """Whether these options of a list of runs take some out: `consents` are those that say whether to do it. Raises
    ConfigError for what does not go together."""
    which = [name for name, given in (("--older-than", older_than), ("--keep", keep)) if given is not None]
    if search and (prune or delete):
        raise ConfigError(f"{search}: --prune and --delete look for no text in runs; leave it out")
    if delete and which:
        raise ConfigError(f"{which[0]} goes with --prune; --delete takes out the one run that it names")
    stray = [*which, *(f"--{name.replace('_', '-')}" for name, given in consents.items() if given)]
    if stray and not (prune or delete):
        raise ConfigError(f"{stray[0]} goes with --prune, which takes old runs out")
    return prune or bool(delete)


def chosen(journal: Journal, delete: str | None, older_than: str | None, keep: int | None) -> list[RunSummary]:
    """The runs that the options mean. Raises as `deletable` and `prunable`."""
    return [deletable(journal, delete)] if delete else prunable(journal, older_than, keep or 0)


def deletable(journal: Journal, name: str) -> RunSummary:
    """The run `name`, the beginning of an id. Raises RunNotFoundError, and ConfigError for one that cannot go alone."""
    run = journal.find(name)
    if run.parent is not None:
        raise ConfigError(f"--delete {name}: it is part of run {run.parent}, which called it; delete that one")
    if run.state == "running":
        raise ConfigError(f"--delete {name}: the run is at work; stop it first")
    if run.state == "elsewhere":
        how = HOW_TO_TAKE_OVER.replace("RUN", run.run)
        raise ConfigError(f"--delete {name}: the run is {run.whereabouts}. {how}")
    earlier, before = journal.continued(), [run.run]
    while (one := earlier.get(before[-1])) is not None and one not in before:
        before.append(one)  # an imported one may go on from itself, in a circle
    later = next((each for each, its in earlier.items() if its == run.run and each not in before), None)
    if later is not None:
        raise ConfigError(f"--delete {name}: run {later} goes on from it; delete that one first")
    return run


def prunable(journal: Journal, older_than: str | None = None, keep: int = 0) -> list[RunSummary]:
    """The runs older than an age such as 12h, 30d or 8w (None: USUAL_AGE), less the newest `keep` of all. Raises
    ConfigError for what is no age or number."""
    given = older_than or USUAL_AGE
    age = re.fullmatch(r"(\d{1,6})([hdw])", given)
    if age is None:
        raise ConfigError(f"--older-than {given}: write it as 12h, 30d or 8w")
    if keep < 0:
        raise ConfigError(f"--keep {keep}: give how many of the newest runs stay, 0 or more")
    seconds = int(age[1]) * {"h": 3_600, "d": 86_400, "w": 604_800}[age[2]]
    return journal.prunable(time.time() - seconds, keep)


def take_out(journal: Journal, runs: Sequence[RunSummary]) -> str:
    """Delete the runs; gives what to tell of it. Raises JournalError."""
    smaller = journal.delete(run.run for run in runs)
    size = f"It takes {size_text(journal.path.stat().st_size)} now."
    end = size if smaller else "It did not get smaller: it is in use."
    return f"{counted(len(runs), 'run')} taken out of {journal.path}. {end}"
