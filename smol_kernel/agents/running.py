"""The ways to run an agent, and to keep, show and describe one: each in terms of its one stream of events."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from smol_kernel.agents.budget import Account
from smol_kernel.agents.prompts import PromptTemplates
from smol_kernel.agents.results import RunResult, ToolOutput, stream_of
from smol_kernel.errors import AgentError
from smol_kernel.events import Event, RunFinished, watched
from smol_kernel.memory.monitoring import AgentLogger, LogLevel
from smol_kernel.memory.rich_values import handle_agent_output_types
from smol_kernel.memory.steps import ActionStep, AgentMemory
from smol_kernel.memory.usage import Timing


def _above(module: str) -> Any:
    """A module that lies above the loop: drawing and saving are the one look-up by name in that direction."""
    return import_module(f"smol_kernel.{module}")


class RunnableAgent(ABC):
    """What a user calls of an agent. The loop itself is `events`."""

    memory: AgentMemory
    logger: AgentLogger
    prompt_templates: PromptTemplates
    name: str | None
    run_id: str | None
    account: Account
    """What the last run used."""
    answer: Any
    """The answer of the last run, if it was `answered`."""
    answered: bool
    current_step: ActionStep | None
    outputs: dict[str, ToolOutput]
    """Of the current step: id of a structured call → what came of it."""
    return_full_result: bool
    stream_outputs: bool

    @abstractmethod
    def events(self, task: str, **options: Any) -> Generator[Event, None, None]:
        """The run of `task` as events."""

    @abstractmethod
    def interrupt(self) -> None:
        """Stop the run. Any thread."""

    def run(
        self,
        task: str,
        stream: bool = False,
        reset: bool = True,
        images: list[Any] | None = None,
        additional_args: Mapping[str, Any] | None = None,
        max_steps: int | None = None,
        return_full_result: bool | None = None,
        *,
        audio: list[Any] | None = None,
        videos: list[Any] | None = None,
    ) -> Any:
        """Work on `task` and return the answer, or a RunResult where the full result is asked for.

        With `stream` a generator of smolagents' objects instead (see `stream_of`); closing it stops the run.
        `reset=False` goes on in the same conversation and namespace; `images`, `audio` and `videos` are shown to the
        model; `additional_args` are variables for the child. Where a limit ends the run the answer is the best there
        is. Raises AgentGenerationError when the model cannot be reached, ExecutorError when no child can be started,
        AgentError when the run was interrupted and no full result is asked for, KeyboardInterrupt on Ctrl-C.
        """
        begun, end = time.time(), RunFinished(state="error")
        media = {"images": images, "audio": audio, "videos": videos}
        events = self.events(task, reset=reset, additional_args=additional_args, max_steps=max_steps, **media)
        if self.logger.level >= LogLevel.INFO:
            events = watched(events, _above("render.console").ConsoleReader())
        if stream:
            return stream_of(events, self)
        for event in events:
            if isinstance(event, RunFinished) and event.run == self.run_id:
                end = event
        answer = handle_agent_output_types(self.answer)
        if self.return_full_result if return_full_result is None else return_full_result:
            steps, timing = self.memory.get_full_steps(), Timing(begun, time.time())
            used, run = self.account.used, self.run_id or ""
            return RunResult(answer, end.state, steps, self.account.own, timing, run, used, end.error)
        if end.state == "interrupted":
            raise AgentError("The agent was interrupted.")
        return answer

    async def arun(self, task: str, **options: Any) -> Any:
        """`run` in a thread, for asyncio; when it is cancelled the run is stopped."""
        work = asyncio.ensure_future(asyncio.to_thread(self.run, task, **options))
        try:
            return await asyncio.shield(work)
        finally:
            await self._ended(work)

    async def astream(self, task: str, **options: Any) -> AsyncGenerator[Event, None]:
        """`events` for asyncio: the run works in a thread; closing the generator stops it."""
        arrivals: asyncio.Queue[Any] = asyncio.Queue()
        put, left = asyncio.get_running_loop().call_soon_threadsafe, threading.Event()

        def work() -> None:
            end: BaseException | None = None
            try:
                for event in self.events(task, **options):
                    put(arrivals.put_nowait, event)
                    if left.is_set():
                        break
            except BaseException as error:  # noqa: BLE001 - the thread's edge: raised where it is awaited
                end = error
            put(arrivals.put_nowait, end)

        thread = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            while isinstance(item := await arrivals.get(), Event):
                yield item
            if item is not None:
                raise item
        finally:
            left.set()
            await self._ended(thread)

    async def _ended(self, thread: asyncio.Future[Any]) -> None:
        """Wait for the end of a run in a thread, which is stopped if it still goes on."""
        while not thread.done():
            self.interrupt()
            await asyncio.wait({thread}, timeout=0.1)

    def replay(self, detailed: bool = False) -> None:
        """Print the steps of the last run again; `detailed` with all that was sent to the model."""
        self.memory.replay(self.logger, detailed)

    def visualize(self) -> None:
        """Print the agent as a tree: its model, tools and agents."""
        self.logger.visualize_agent_tree(_above("render.tree").agent_tree(self))

    def save(self, output_dir: str | Path, relative_path: str | None = None) -> None:
        """Write the agent to a folder, from which `from_folder` makes it again. Keys are left out."""
        _above("runs.sharing").save(self, output_dir, relative_path)

    def to_dict(self) -> dict[str, Any]:
        """The agent as plain data, from which `from_dict` makes it again. Keys are left out."""
        return _above("runs.sharing").to_dict(self)

    @classmethod
    def from_dict(cls, agent_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The agent that `to_dict` described; `kwargs` are parameters in place of what it says."""
        return _above("runs.sharing").from_dict(cls, agent_dict, **kwargs)

    @classmethod
    def from_folder(cls, folder: str | Path, **kwargs: Any) -> Any:
        """The agent that `save` wrote. Its tools are code, which runs in this process: load what you trust."""
        return _above("runs.sharing").from_folder(cls, folder, **kwargs)
