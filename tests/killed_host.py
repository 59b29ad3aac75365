"""A host that is killed: runs the task of `test_kills`, or goes on with it, and tells each event on a line."""

from __future__ import annotations

import hashlib
import json
import sys
import urllib.request
from pathlib import Path

from scripted_replies import code, read

from smol_kernel import CodeAgent, ScriptedModel, tool
from smol_kernel.memory.messages import MessageRole
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.runs.resuming import prepare

STEPS = 30
ANSWER = sum(range(1, STEPS))

BEGIN = """
if "seen" not in dir():  # at first, and in a fresh kernel
    import asyncio
    seen = list(range(1, {step}))
    async def tried(call):
        try:
            await call
        except RuntimeError as error:
            assert "not repeated" in str(error), error
"""


def action(step: int) -> str:
    """The code of one step: effects of three kinds, and a name that the next one needs."""
    lines = [BEGIN.replace("{step}", str(step)), f"seen.append({step})"]
    if step % 3 == 0:
        lines.append(f"await tried(append.aio({step}))")
    elif step % 3 == 1:
        lines.append(f"await tried(post.aio({step}))")
    else:
        lines.append(f"await asyncio.gather(tried(post.aio({step})), tried(post.aio({step} + 1000)))")
    if step == 7:
        lines.append("raise ValueError('this one fails')")
    lines.append("sum(seen)")
    return "\n".join(lines) if step < STEPS else lines[0] + f"final_answer(sum(seen[:{STEPS - 1}]))"


class Counting(ScriptedModel):
    """Replies by how often it replied in the conversation; notes a digest of each request."""

    def __init__(self, log: Path) -> None:
        super().__init__([])
        self._log = log

    def reply(self, number: int, messages: list) -> str:
        step = 1 + sum(message.role == MessageRole.ASSISTANT for message in messages)
        digest = hashlib.sha256(read(messages).encode()).hexdigest()
        with self._log.open("a") as log:
            log.write(json.dumps([step, digest]) + "\n")
        return code(action(step))


def main(folder: Path, url: str) -> None:
    """One life of the host."""

    @tool
    def append(number: int) -> None:
        """Appends it.

        Args:
            number: What to append.
        """
        with (folder / "appended").open("a") as file:
            file.write(f"{number}\n")

    @tool
    def post(number: int) -> None:
        """Posts it.

        Args:
            number: What to post.
        """
        urllib.request.urlopen(url, data=str(number).encode()).close()

    post.threaded = True
    tools, model, journal = [append, post], Counting(folder / "requests"), folder / "journal.sqlite"
    if not (folder / "run").exists():
        agent = CodeAgent(tools=tools, model=model, journal=journal, max_steps=40, verbosity_level=LogLevel.OFF)
        events = agent.events("count")
    else:
        run = (folder / "run").read_text()
        resumption = prepare(CodeAgent, run, tools=tools, model=model, journal=journal, verbosity_level=LogLevel.OFF)
        agent, events = resumption.agent, resumption.events()
    for event in events:
        if event.kind == "run_started":
            (folder / "run").write_text(event.run)
        client = agent.python_executor._client
        print(event.step, event.kind, client.child.pid if client else 0, flush=True)
    print("answer", agent.answer, 0, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
