"""Runs attack snippets in child kernels and judges, on the host, what came of each.

As a script it prints a JSON list of verdicts; the tests start it so, as root and as an ordinary user:
`python judge.py (boxed | unboxed | bare) ID...`. "bare" is a stock kernel whose messages are taken as they come.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from own import OWN
from world import World, alive, family_of, secret

from smol_kernel.events import ActionFinished, Event, Output
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
from smol_kernel.executors.standby import STANDBY
from smol_kernel.render.sanitize import output_html
from smol_kernel.tools.base import Tool, tool

HERE = Path(__file__).parent
DYING = 60.0
"""Seconds within which a process that was killed is gone: the system has to close what it held open."""
NEVER_UNBOXED = {"resources", "output", "survivors"}
"""Families that are not run without a box."""
HARMFUL = {"ctypes-11", "jup-13"}
"""Snippets given to us that only break the child they run in; without a box nothing would end it."""
ARMOUR = {"render", "results", "prompt-injection", "protocol"}
"""Families that the host itself holds off, box or no box; the control for them is a stock kernel that is believed."""
ALONE = {"resources", "survivors"}
"""Families whose snippets get a child each."""
SPOILING = {"jupyter", "protocol", "output", "signals"}
"""Families whose snippets share a child with no other family; all the rest share one."""
WAITING = "SMOL_ATTACKS_WAITING"
"""Set in the environment: children wait for their attack."""
SECONDS = {"resources": 2.0, "output": 6.0, "survivors": 3.0}
LIMITS = {"memory": "1 GiB", "disk": "128 MiB", "file_size": "64 MiB", "processes": 128}
GROWTH = 1 << 30
"""Bytes by which the host may grow at most while a child floods it: a message may have 128 MiB, and is parsed."""


@dataclass(frozen=True)
class Attack:
    """A snippet. One with `unboxed` false is not run outside a box, where it would do harm."""

    id: str
    family: str
    code: str
    expect: str
    unboxed: bool = True


@dataclass
class Verdict:
    """What came of an attack."""

    id: str
    family: str
    said: str = ""
    """The snippet's own words."""
    evidence: list[str] = field(default_factory=list)
    """What shows that it got through."""
    seconds: float = 0.0
    grown: int = 0
    """MiB by which the host grew."""
    forked: bool = False
    """Whether a zygote had forked the child."""
    ahead: bool = False
    """Whether it had done so before anybody asked."""
    waited: bool = False
    """Whether the child had waited for an executor."""

    @property
    def through(self) -> bool:
        """Whether it got through: the host shows it, or the snippet says so."""
        return bool(self.evidence) or "ESCAPED" in self.said


def attacks() -> dict[str, Attack]:
    """All of them by id."""
    given = json.loads((HERE / "payloads.json").read_text("utf-8"))
    every = [Attack(**each) for each in [*given, *OWN]]
    return {each.id: each for each in every}


def controls(every: dict[str, Attack]) -> tuple[list[str], list[str]]:
    """Ids of those to run in an unboxed child, and of those to run in a stock kernel."""
    fit = [
        each for each in every.values() if each.unboxed and each.family not in NEVER_UNBOXED and each.id not in HARMFUL
    ]
    return [each.id for each in fit if each.family not in ARMOUR], [each.id for each in fit if each.family in ARMOUR]


def given_ids() -> list[str]:
    """Ids of those in payloads.json."""
    return [each["id"] for each in json.loads((HERE / "payloads.json").read_text("utf-8"))]


VICTIM = """
import os, signal, socket, subprocess, sys, threading
secret, hits, boxed = '@VSECRET@', [], os.getpid() < 50
victim = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], env={'VICTIM_SECRET': secret})
def listen(family, address):
    listener = socket.socket(family); listener.bind(address); listener.listen()
    def serve():
        while True:
            connection = listener.accept()[0]; hits.append(1); connection.sendall(secret.encode()); connection.close()
    threading.Thread(target=serve, daemon=True).start()
    return listener
listen(socket.AF_UNIX, '\\0victim-@ABS@'); tcp = listen(socket.AF_INET, ('127.0.0.1', 0))
if boxed:
    from multiprocessing import shared_memory
    for folder in ('/tmp', '/dev/shm', '@WORK@', os.path.expanduser('~')):
        with open(folder + '/victim.txt', 'w') as file: file.write(secret)
    listen(socket.AF_UNIX, '/tmp/victim.sock')
    memory = shared_memory.SharedMemory('victim-memory', True, 4096); memory.buf[:len(secret)] = secret.encode()
signal.signal(signal.SIGUSR1, lambda *_: hits.append(1))
print('VICTIM', tcp.getsockname()[1], os.getpid())
"""
"""What another child of the same host has, for attacks of the family "siblings"."""
STILL = "print('VICTIM', len(hits), victim.poll(), int(table.sum()))"
TABLE = np.arange(100_000)
"""What all children have as `table`, through one memory."""
KEEP = """
import os, sys
table_fds = []
def _keep(line, *words, received=sys.modules['smol_in_child.mapped'].MemoryLine._received):
    descriptors = received(line, *words)
    table_fds.extend(map(os.dup, descriptors))
    return descriptors
sys.modules['smol_in_child.mapped'].MemoryLine._received = _keep
"""
"""Has a child keep the descriptors that tables come with."""
LET_GO = "for _fd in table_fds: os.close(_fd)\ntable_fds.clear()"


class Calls:
    """Tools of the host, and what reached them."""

    def __init__(self) -> None:
        self.made: list[str] = []

    @property
    def echo(self) -> Tool:
        """A tool that gives its text back."""

        @tool
        def echo(text: str) -> str:
            """Give the text back.

            Args:
                text: What to give back.
            """
            self.made.append(text if type(text) is str else f"not text: {type(text)}")
            return text

        return echo


def slow() -> None:
    """A tool that keeps the host busy."""
    threading.Event().wait(3)


class Judge:
    """Judges attacks one after the other; children are shared where attacks do not disturb each other."""

    def __init__(self, world: World, boxed: bool) -> None:
        self.world, self.boxed = world, boxed
        self.executor: KernelExecutor | None = None
        self.victim: KernelExecutor | None = None
        self.forked = self.ahead = self.waited = False
        self.calls = Calls()
        if os.environ.get(WAITING):
            STANDBY.keep(1)
        if boxed and os.environ.get(zygote.VARIABLE) != "off":
            zygote.expect()
            first = KernelExecutor(cwd=world.work, box=True, limits=LIMITS)
            first("pass")
            first.cleanup()
            zygote.wait(60)

    def run(self, chosen: Iterable[Attack]) -> Iterator[Verdict]:
        """Judge them."""
        last = ""
        for attack in chosen:
            group = attack.family if attack.family in SPOILING else ""
            if attack.family in ALONE or group != last:
                yield from self.end()
            last = group
            if attack.family == "siblings" and self.victim is None:
                self.start_victim()
            yield self.judge(attack)
        yield from self.end()
        if self.victim is not None:
            self.victim.cleanup()

    def start_victim(self) -> None:
        """Start the other child."""
        self.victim = KernelExecutor(cwd=self.world.work, box=self.boxed, limits=LIMITS if self.boxed else None)
        self.victim.send_variables({"table": TABLE})
        self.world.secrets["the other child's"] = self.world.more["VSECRET"] = secret()
        words = said(self.events(self.victim, self.world.fill_in(VICTIM)), "VICTIM").split()
        self.world.more.update(VPORT=words[1], VPID=words[2])

    def judge(self, attack: Attack) -> Verdict:
        """Run one attack and look for evidence."""
        started, memory = time.monotonic(), Memory()
        executor = self.start(attack.family)
        verdict = Verdict(attack.id, attack.family, forked=self.forked, ahead=self.ahead, waited=self.waited)
        elders = self.elders() if attack.family == "siblings" else []
        self.world.more["ELDERS"] = ", ".join(map(str, elders))
        code = attack.code if self.boxed else attack.code.replace("'/tmp/", f"'{self.world.scratch}/")
        code = self.world.fill_in(code)
        keeps = "table_fds" in attack.code
        if keeps:
            executor(KEEP)
            executor.send_variables({"table": TABLE})
        with memory:
            events = self.events(executor, code)
        text = json.dumps([event.to_dict() for event in events], default=str, ensure_ascii=False)
        text += executor.isolation + repr(executor.names())
        verdict.said = said(events)
        verdict.evidence = self.world.evidence(text)
        verdict.grown = memory.grown >> 20
        if memory.grown > GROWTH:
            verdict.evidence.append(f"the host grew by {verdict.grown} MiB")
        if not isinstance(events[-1], ActionFinished):
            verdict.evidence.append(f"the last event is {events[-1].kind}")
        verdict.evidence += [f"shown: {each}" for each in live_parts(shown(events))]
        verdict.evidence += [f"called: {each}" for each in self.calls.made if each.startswith(("FORGED", "not text"))]
        self.calls.made.clear()
        verdict.evidence += [f"process {each} has ended" for each in elders if each not in self.elders()]
        if attack.family == "siblings" and self.victim is not None:
            still = said(self.events(self.victim, STILL), "VICTIM")
            right = f"VICTIM 0 None {TABLE.sum()}"
            self.victim.send_variables({"table": TABLE})
            again = said(self.events(self.victim, STILL), "VICTIM")
            verdict.evidence += [] if (still, again) == (right, right) else [f"the other child: {still}"]
        if keeps:
            executor(LET_GO)
        if attack.family == "prompt-injection" and self.boxed:
            verdict.evidence += self.told(self.world.fill_in(attack.code))
        if self.boxed and (trouble := self.usable(executor)):
            verdict.evidence.append(trouble)
        if attack.family in ALONE:
            verdict.evidence += [line for each in self.end() for line in each.evidence]
        verdict.seconds = time.monotonic() - started
        return verdict

    def elders(self) -> list[int]:
        """Ids of the zygotes that serve, of the children that they have forked ahead, and of those that wait, once
        there are as many as there shall be."""
        STANDBY.waiting(60)
        zygote.wait_for_spares(60)
        serving = [each for each in zygote._zygotes.values() if each.is_of_use()]
        waiting = [client.child for _, client in STANDBY._ready if client.child.alive()]
        return [each._process.pid for each in serving] + self.spares() + [each.pid for each in waiting]

    def spares(self) -> list[int]:
        """Ids of the children that have been forked ahead."""
        return [there[1].pid for each in zygote._zygotes.values() if (there := each.spare._there)]

    def start(self, family: str) -> KernelExecutor:
        """The executor for the next attack."""
        if self.executor is None:
            self.executor = KernelExecutor(
                cwd=self.world.work,
                box=self.boxed,
                timeout_seconds=SECONDS.get(family, 30.0),
                interrupt_grace_seconds=1.0,
                limits=LIMITS if self.boxed else None,
            )
            self.executor.expect()  # what waits may be like the child of another, which an attack had
            waiting = [client for _, client in STANDBY._ready] if STANDBY.waiting(60) else []
            ahead = self.spares() if zygote.wait_for_spares(60) else []
            self.executor.send_tools({"echo": self.calls.echo, "slow": slow})
            self.executor.send_variables({"table": TABLE})
            self.executor("pass")
            client: Any = self.executor._client
            self.forked = isinstance(getattr(client.child, "_process", None), zygote.ForkedProcess)
            self.ahead = getattr(client.child, "pid", None) in ahead
            self.waited = client in waiting
        return self.executor

    def events(self, executor: KernelExecutor, code: str) -> list[Event]:
        """What an action brings."""
        return list(executor.run(code))

    def usable(self, executor: KernelExecutor) -> str:
        """What is wrong with what follows; empty if the same child or a fresh one goes on as usual."""
        for _ in range(8):  # a child that has been broken may end now, and the next one is whole
            events = self.events(executor, "print('AL' + 'IVE')")
            if "ALIVE" in said(events, ""):
                return ""
        return f"no action can be run any more: {events[-1]}"

    def end(self) -> Iterator[Verdict]:
        """End the child; gives a verdict if something of it is left."""
        executor, self.executor = self.executor, None
        if executor is None:
            return
        client: Any = executor._client
        processes = family_of(client.child.pid) if client else []
        folder = getattr(client.child, "_folder", None) if client else None
        space = namespace(processes) if self.boxed else None
        executor.cleanup()
        ended = time.monotonic()
        while (living := [*alive(processes), *(members(space) if space else ())]) and time.monotonic() - ended < DYING:
            pass
        left = [f"still alive: {each}" for each in living]
        if folder is not None and os.path.exists(folder):
            left.append(f"left behind: {folder}")
        left += self.world.evidence("")
        if left and self.boxed:
            yield Verdict("shutdown", "survivors", evidence=left)

    def told(self, code: str) -> list[str]:
        """What is wrong with the messages a model is sent after an action with this code."""
        from smol_kernel.agents.code_agent import CodeAgent
        from smol_kernel.models.scripted import ScriptedModel

        model = ScriptedModel([f"<code>\n{code}\n</code>", "<code>\nfinal_answer('done')\n</code>"])
        agent = CodeAgent(
            tools=[],
            model=model,
            verbosity_level=-1,
            executor_kwargs={"box": True, "cwd": self.world.work},
            journal=self.world.top / "journal.sqlite",
        )
        try:
            answer = agent.run("Go on.")
            roles = [str(getattr(each.role, "value", each.role)) for each in model.requests[-1]]
            wrong = [] if answer == "done" else [f"the answer was {answer!r}"]
            if roles.count("system") != 1 or roles[0] != "system" or len(model.requests) != 2:
                wrong.append(f"the model was sent {roles}")
            text = json.dumps([each.dict() for each in model.requests[-1]], default=str)
            return wrong + self.world.evidence(text)
        finally:
            agent.cleanup()


class Memory:
    """By how much the memory of this process grows in a `with` statement."""

    grown = 0

    def __enter__(self) -> Memory:
        self._before = self._most = psutil.Process().memory_info().rss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        this = psutil.Process()
        while not self._over.wait(0.05):
            self._most = max(self._most, this.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.grown = self._most - self._before


def said(events: Iterable[Event], begins: str = "RESULT ") -> str:
    """The lines of the logs that begin so."""
    logs = next((each.logs for each in events if isinstance(each, ActionFinished)), "")
    return "\n".join(line for line in logs.splitlines() if line.startswith(begins))[:2_000]


def shown(events: Iterable[Event]) -> str:
    """What a page shows of the outputs."""
    return "\n".join(output_html(each) for each in events if isinstance(each, Output))


def live_parts(page: str) -> list[str]:
    """What of a page, or of a text for a terminal, does something."""
    reader = _Live()
    reader.feed(page)
    reader.close()
    escapes = {hex(ord(each)) for each in page if each in "\x1b\x9b\x9d\x07\x08\u202e"}
    return [*reader.found, *escapes]


class _Live(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "form", "base", "meta", "link", "style", "svg", "math"):
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            text = re.sub(r"\s", "", value or "").lower()
            remote = name in ("src", "srcset", "href", "poster", "background", "xlink:href", "action", "data")
            harmful = text.startswith(("javascript:", "vbscript:", "data:text", "file:", "blob:"))
            loads = name != "href" and remote and bool(text) and not text.startswith("data:image/")
            if name.startswith("on") or (remote and (harmful or loads)) or "url(" in text or "expression(" in text:
                self.found.append(f"<{tag} {name}={value!r}>")


def namespace(processes: list[psutil.Process]) -> str | None:
    """The process namespace the deepest of these processes is in, which is not ours."""
    ours = os.readlink("/proc/self/ns/pid")
    for each in reversed(processes):
        with contextlib.suppress(OSError):
            found = os.readlink(f"/proc/{each.pid}/ns/pid")
            if found != ours:
                return found
    return None


def members(space: str) -> list[int]:
    """Processes in a process namespace."""
    found: list[int] = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.readlink(f"/proc/{pid}/ns/pid") == space and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def bare(world: World, chosen: Iterable[Attack]) -> Iterator[Verdict]:
    """Run attacks in a stock kernel, and believe what it says: the control for what the host itself is to hold off."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", cwd=str(world.work))
    try:
        for attack in chosen:
            messages: list[Any] = []
            reply = client.execute_interactive(
                world.fill_in(attack.code), output_hook=messages.append, allow_stdin=False, timeout=60
            )
            contents = [each["content"] for each in [*messages, reply]]
            text = "\n".join(strings(contents))
            believe(text, contents)
            verdict = Verdict(attack.id, attack.family, "")
            verdict.evidence = [*world.evidence(text), *live_parts(text)]
            verdict.evidence += ["FORGED"] if "FORGED" in text else []
            verdict.evidence += (
                ["a line in another's name"] if re.search(r"^(System|User|Assistant):", text, re.M) else []
            )
            verdict.evidence += ["set_next_input"] if "set_next_input" in text else []
            yield verdict
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def believe(text: str, contents: list[Any]) -> None:
    """What a host does that trusts its child."""
    import pickle

    for match in re.finditer(r"pickle:(\S+)", text):
        with contextlib.suppress(Exception):
            pickle.loads(base64.b64decode(match[1]))


def strings(value: Any) -> Iterator[str]:
    """All text in plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def main(kind: str, ids: list[str]) -> None:
    """Judge, and print the verdicts."""
    every = attacks()
    chosen = sorted(
        (every[each] for each in ids),
        key=lambda attack: (attack.family in SPOILING, attack.family in ALONE, attack.family),
    )
    with World() as world:
        verdicts = bare(world, chosen) if kind == "bare" else Judge(world, kind == "boxed").run(chosen)
        for verdict in verdicts:
            print(json.dumps({**asdict(verdict), "through": verdict.through, "user": os.getuid()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
