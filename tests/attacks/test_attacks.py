"""The boundary holds against all attacks of the suite, as root and as an ordinary user; without it they work.

SMOL_ATTACKS=full runs all of them, else a sample is taken, whose seed is printed; SMOL_ATTACKS_SEED=N takes it again.
See README.md.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
import sys
from pathlib import Path

import judge
import pytest
import world

ROOT = os.getuid() == 0
USERS = ("root", "ordinary user") if ROOT else ("ordinary user",)
FULL = os.environ.get("SMOL_ATTACKS") == "full"
SEED = int(os.environ.get("SMOL_ATTACKS_SEED") or secrets.randbelow(1 << 30))
EVERY = judge.attacks()
SLOW = ("resources", "output", "survivors")
OF_SLOW, OF_OTHERS, OF_OTHER_WAYS = 4, 45, 25
"""How many a sample has: of slow ones, of the others, and of these in children that were not forked for them."""
PARTS = ("quick", "slow")

pytestmark = pytest.mark.timeout(1800 if FULL else 400)


def chosen(part: str, way: str) -> list[str]:
    """Ids of the attacks to run; each way has a sample of its own."""
    ids = [each.id for each in EVERY.values() if (each.family in SLOW) == (part == "slow")]
    if FULL:
        return ids
    count = OF_SLOW if part == "slow" else OF_OTHERS if way == "forked" else OF_OTHER_WAYS
    return sorted(random.Random(f"{SEED} {way}").sample(ids, min(count, len(ids))))


def run(user: str, kind: str, ids: list[str], **variables: str) -> list[dict]:
    """The verdicts on these attacks, judged by a host of its own that runs as `user`, with these variables besides."""
    here = Path(__file__).parent
    project = Path(judge.KernelExecutor.__init__.__code__.co_filename).parents[2]
    command = [sys.executable, str(here / "judge.py"), kind, *ids]
    if user != "root" and ROOT:
        shown = {sys.prefix, sys.base_prefix, str(here), str(project)}
        command = [sys.executable, str(here / "ordinary_user.py"), *sorted(shown), "--", *command]
    own = ("SMOL_", "PYTEST_", "TMPDIR", "JUPYTER_", "IPYTHONDIR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment = {**kept, world.ENV: world.secret(), "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= variables
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr[-3000:]
    verdicts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {each["id"] for each in verdicts} >= set(ids)
    assert {each["user"] == 0 for each in verdicts} == {user == "root"}
    return verdicts


@pytest.mark.parametrize(
    ("part", "way"), [*((part, "forked") for part in PARTS), *(("quick", way) for way in ("afresh", "waiting"))]
)
@pytest.mark.parametrize("user", USERS)
def test_none_gets_through(user, part, way, capsys):
    """From children that a zygote has forked, those that are started afresh, and those that have waited."""
    ids = chosen(part, way)
    with capsys.disabled():
        where = "all" if FULL else f"a sample of {len(EVERY)}, SMOL_ATTACKS_SEED={SEED}"
        also = "" if ROOT else " (not root: as this user only)"
        print(f"\n{len(ids)} attacks as {user}{also}: {where}")
    ways = {"SMOL_ZYGOTE": "off" if way == "afresh" else "on", judge.WAITING: "1" if way == "waiting" else ""}
    verdicts = run(user, "boxed", ids, **ways)
    through = [each for each in verdicts if each["through"]]
    assert not through, json.dumps(through, indent=1)
    assert {each["forked"] for each in verdicts} == {way != "afresh"}
    assert {each["ahead"] for each in verdicts} == {way == "forked"}
    assert {each["waited"] for each in verdicts} == {way == "waiting"}


@pytest.mark.parametrize("user", USERS)
def test_without_a_box_they_work(user):
    unboxed, bare = judge.controls(EVERY)
    verdicts = run(user, "unboxed", unboxed) + run(user, "bare", bare)
    working = {each["family"] for each in verdicts if each["through"]}
    families = {each.family for each in EVERY.values()} - judge.NEVER_UNBOXED
    assert families == working
