"""What `%agent` alone prints: what is set, and which run was the last."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from smol_magic.session import to_go_on

if TYPE_CHECKING:
    from smol_magic.magics import SmolMagic

_OF_BOX = ("box", "network", "allow_hosts", "mounts", "limits")


def print_settings(magics: SmolMagic) -> None:
    """Print them, and the last run."""
    from smol_kernel.errors import ConfigError
    from smol_kernel.models.named import MODEL_VARIABLE, NO_MODEL
    from smol_kernel.render.plain import counted
    from smol_kernel.render.run_line import run_state
    from smol_kernel.render.text import facts_line

    model, last = magics.model or os.environ.get(MODEL_VARIABLE, ""), magics.session.last
    before, running = magics.session.last_before(), magics.session.running
    if model:
        print(f"model: {model}")
    elif last or before:
        print("model: none set (%agent help)")
    else:
        print(NO_MODEL.replace(", so nothing was run", ""))
    if magics.session.model_told and magics.session.agent is not None:
        print(f"model of this conversation (--continue): {magics.session.agent.model.model_id}")
    if magics.cassette:
        print(f"cassette: {magics.cassette}")
    limit = f"{magics.timeout:g} s" if magics.timeout else "any time"
    print(f"a run takes at most {counted(magics.max_steps, 'step')}, an action at most {limit}")
    try:
        print(_box(magics))
    except ConfigError as error:
        setting = next((name for name in _OF_BOX if str(error).startswith(name.removesuffix("s"))), "")
        print(f"no action can run: {error}{f' (c.SmolMagic.{setting})' if setting else ''}")
    if running:
        print(f"{running} in this notebook: %agent stop stops it")
    if last is not None:
        print(f"last run: {last.run} · {facts_line(last)}")
    elif before is not None:
        ways = {
            "success": " · its cells: %agent export FILE --script",
            "running": "" if running else ", in another kernel",
        }
        print(f"last run of this notebook: {before.run} · {run_state(before)}")
        print(f"its account: %agent show{ways.get(before.state, to_go_on(before.state))}")
    else:
        print("no run since this kernel was started")
    print("%agent help lists the commands, %%agent --help the options")


def _box(magics: SmolMagic) -> str:
    """How actions are boxed now, and in a later child if that differs."""
    from smol_kernel.executors.launchers.settings import settings_for
    from smol_kernel.render.transcript import isolation_words

    settings = settings_for(**magics.settings().box_kwargs)
    later, now = settings.words if settings else "none", magics.session.isolation or ""
    if now in ("", later):
        return f"actions are {isolation_words(later)}"
    return f"actions are {isolation_words(now)}; after %agent stop: {isolation_words(later)}"
