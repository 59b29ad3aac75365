"""A run of 30 steps whose host is killed again and again, at random: nothing is lost, and no effect comes twice."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from killed_host import ANSWER, STEPS

from smol_kernel.events import RunResumed, StepFinished, ToolCalled, ToolReturned, settled
from smol_kernel.journal import Journal

KILLS, PARTS = 1_000 if os.environ.get("SMOL_FULL") else 20, 4
HOST = Path(__file__).with_name("killed_host.py")


@pytest.fixture
def posted():
    """A server, and what was posted to it."""
    numbers: list[int] = []

    class Counting(BaseHTTPRequestHandler):
        def do_POST(self):
            numbers.append(int(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield numbers, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def live(folder: Path, url: str, lines: int | None, whom: str = "host") -> str:
    """One life of the host, which ends after so many new events (None: by itself); its last line. Where it is the child
    that is killed then, the host lives on."""
    with subprocess.Popen([sys.executable, str(HOST), str(folder), url], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        last, new = "", lines
        resumed = (folder / "run").exists()
        for line in host.stdout:
            last = line
            if resumed:
                resumed = line.split()[1] != "run_resumed"
            elif new is not None:
                new -= 1
                if new < 0 and whom == "host":
                    host.kill()
                    break
                if new < 0 and (child := int(line.split()[2])):
                    os.kill(child, signal.SIGKILL)
                    new = None
        return last


def a_run(folder: Path, posted, dice: random.Random, kills: int, whom: str = "host") -> int:
    """A run that is killed at most so often; how often it was. Checks all that it left."""
    numbers, url = posted
    folder.mkdir()
    numbers.clear()
    killed = 0
    for victim in itertools.chain(dice.choices([whom, "host"], k=kills), itertools.repeat("host")):
        last = live(folder, url, dice.randrange(25) if killed < kills else None, victim)
        if last.startswith("answer"):
            break
        assert killed < kills, last
        killed += 1
    assert last.split()[1] == str(ANSWER)
    with_journal = Journal(folder / "journal.sqlite")
    every = with_journal.events((folder / "run").read_text())
    with_journal.close()
    steps = [event.step for event in settled(every) if isinstance(event, StepFinished)]
    assert steps == list(range(1, len(steps) + 1)), "no event is lost"
    returned = {event.call for event in every if isinstance(event, ToolReturned)}
    made = [event for event in every if isinstance(event, ToolCalled) and not event.replays]
    open_calls = [event for event in made if event.call not in returned]
    told = [each for event in every if isinstance(event, RunResumed) for each in event.differences]
    assert all(any(event.summary in each for each in told) for event in open_calls), "what is unknown is told"
    assert len({event.call for event in made}) == len(made)
    effects = Counter(numbers + [int(line) for line in (folder / "appended").read_text().split()])
    unknown = {event.args[0] for event in open_calls}
    assert set(effects) - unknown == {event.args[0] for event in made} - unknown, "the record is what happened"
    assert all(count == 1 for count in effects.values()), "no effect comes twice"
    if whom == "host":
        wanted = set(range(1, STEPS)) | {number + 1000 for number in range(2, STEPS, 3)}
        assert set(effects) | unknown == wanted and len(steps) == STEPS
    digests: dict[int, set[str]] = {}
    for line in (folder / "requests").read_text().splitlines():
        step, digest = json.loads(line)
        digests.setdefault(step, set()).add(digest)
    assert all(len(each) == 1 for each in digests.values()), "the model was asked the same each time"
    return killed


@pytest.mark.timeout(0)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_run_that_is_killed_at_random_instants_goes_on(tmp_path, posted, part):
    seed = int(os.environ.get("SMOL_SEED", random.randrange(10**6)))
    print(f"SMOL_SEED={seed}")
    dice, left, number = random.Random(seed + part), KILLS // PARTS, 0
    while left:
        number += 1
        left -= a_run(tmp_path / str(number), posted, dice, left)


@pytest.mark.timeout(0)
def test_so_does_one_whose_child_is_killed_as_well(tmp_path, posted):
    seed = int(os.environ.get("SMOL_SEED", random.randrange(10**6)))
    print(f"SMOL_SEED={seed}")
    dice = random.Random(seed)
    for number in range(max(1, KILLS // 50)):
        a_run(tmp_path / str(number), posted, dice, 8, "child")
