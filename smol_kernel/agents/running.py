"""The ways to run an agent, and to keep, show and describe one: each in terms of its one stream of events."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Generator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from smol_kernel.agents.agent import Agent
from smol_kernel.agents.results import RunResult
from smol_kernel.errors import AgentError
from smol_kernel.events import Event, RunFinished
from smol_kernel.executors.threads import in_thread, stream_in_thread
from smol_kernel.memory.rich_values import handle_agent_output_types
from smol_kernel.memory.usage import Timing


def _above(module: str) -> Any:
    """A module that lies above the loop: drawing, saving and going on are the one look-up by name in that direction."""
    return import_module(f"smol_kernel.{module}")


class RunnableAgent(Agent):
    """What a user calls of an agent. The loop itself is `events`."""

    @abstractmethod
    def run_events(self, task: str, **options: Any) -> Generator[Event, None, None]:
        """The run of `task` as events: `events` by a name that no subclass has for something else."""

    @abstractmethod
    def interrupt(self) -> None:
        """Stop the run. Any thread."""

    def __call__(self, task: str, additional_args: Mapping[str, Any] | None = None, **kwargs: Any) -> str:
        """Work on `task` for someone else: the others are those of `run`; the answer comes as a report in words."""
        kwargs |= {"additional_args": additional_args} if additional_args else {}
        answer = self.run(self._assignment(task), **kwargs)
        return self.report_on(answer.output if isinstance(answer, RunResult) else answer)

    def run(
        self,
        task: str,
        stream: bool = False,
        reset: bool = True,
        images: list[Any] | None = None,
        additional_args: Mapping[str, Any] | None = None,
        max_steps: int | None = None,
        return_full_result: bool | None = None,
        **media: list[Any] | None,
    ) -> Any:
        """Work on `task` and return the answer, or a RunResult where the full result is asked for.

        With `stream` a generator of smolagents' objects instead (see `render.steps_stream`); closing it stops the run,
        and so does the next run that is asked for on the same thread. `reset=False` goes on in the same conversation
        and namespace; `images`, and with them `audio=` and `videos=`, are shown to the model; `additional_args` are
        variables for the child; `max_steps` and `return_full_result` go before the agent's own (None: as it has them).
        Where a limit ends the run the answer is the best there is. Raises AgentGenerationError when the model cannot be
        reached, ExecutorError when no child can be started, AgentError when the run was interrupted and no full result
        is asked for, and KeyboardInterrupt; ConfigError for a task or a setting that is none, NotPortableError for a
        variable that cannot be handed over, JournalError when the run cannot be recorded from its beginning.
        """
        begun, end = time.time(), RunFinished(state="error")
        options = {"reset": reset, "images": images, "additional_args": additional_args, "max_steps": max_steps}
        events = self.run_events(task, **options, **media)
        events = self.life.read(self._printed(events))
        if stream:
            return _above("render.steps_stream").stream_of(events, self)
        for event in events:
            if isinstance(event, RunFinished) and event.run == self.life.run_id:
                end = event
        answer = handle_agent_output_types(self.life.answer)
        if self.return_full_result if return_full_result is None else return_full_result:
            steps, timing, used = self.memory.get_full_steps(), Timing(begun, time.time()), self.life.account
            return RunResult(answer, end.state, steps, used.own, timing, self.life.run_id or "", used.used, end.error)
        if end.state == "interrupted":
            raise AgentError("The agent was interrupted.")
        return answer

    def _printed(self, events: Generator[Event]) -> Any:
        """The same events, and what the logger prints of them."""
        return _above("render.console").printed(events, self.logger)

    async def arun(self, task: str, **kwargs: Any) -> Any:
        """`run` in a thread, for asyncio; when it is cancelled the run is stopped. Async tools do not run on
        the caller's event loop: see `tool`."""
        return await in_thread(lambda: self.run(task, **kwargs), self.interrupt)

    def astream(self, task: str, **kwargs: Any) -> AsyncGenerator[Event, None]:
        """`events` for asyncio: the run works in a thread; closing the generator stops it."""
        return stream_in_thread(self.run_events(task, **kwargs), self.interrupt)

    @classmethod
    def resume(cls, run_id: str = "last", **options: Any) -> Any:
        """Go on with a recorded run that was cut off, stopped or had reached a limit; gives what `run` gives.

        `run_id` may be the beginning of the id, or "last". Options: `tools`, `model`, `managed_agents` and what else
        is no plain data, as the agent had them; parameters of the agent that take the place of the recorded ones, such
        as `max_steps` and `budget`, which are for the whole run; `journal`, where it is recorded (None: the usual one);
        `additional_args`, inputs too large to be recorded; `accept`, to go on although something does not replay the
        same; `repeat`, to make a call again of which it is not known whether it was made; `take_over`, to go on with a
        run that is at work on another machine, as far as is known: it ends there. See `runs.resuming`.
        Raises RunNotFoundError; ReplayDiffersError, with what differs; ReplayError for a run that cannot go on, such as
        one that has its answer; ConfigError for what is missing (`model`) or does not fit; and as `run`.
        """
        return _above("runs.resuming").resume(cls, run_id, **options)

    @classmethod
    def fork(cls, run_id: str = "last", step: int | None = None, **options: Any) -> Any:
        """Go on from `step` of a recorded run (None: its last, or the one before its answer) as a new run; gives what
        `run` gives.

        Options besides those of `resume`: `instruction`, a message to the model after that step; `action`, code in
        place of that of the step. Both runs keep their history. Raises as `resume`, and ReplayError for a step that
        the run has not or that gave the answer.
        """
        return _above("runs.resuming").fork(cls, run_id, step, **options)

    def replay(self, detailed: bool = False) -> None:
        """Print the steps of the last run again; `detailed` with all that was sent to the model."""
        self.memory.replay(self.logger, detailed)

    def visualize(self) -> None:
        """Print the agent as a tree: its model, tools and agents."""
        self.logger.visualize_agent_tree(_above("render.tree").agent_tree(self))

    def save(self, output_dir: str | Path, relative_path: str | None = None) -> None:
        """Write the agent to a folder, from which `from_folder` makes it again. Keys are left out.

        `relative_path`, which smolagents has, changes nothing. Warns of what else is left out. Raises ToolError for a
        tool that cannot be written as source, ConfigError for a folder that cannot be written, or a key in a text.
        """
        _above("runs.sharing").save(self, output_dir, relative_path)

    def to_dict(self) -> dict[str, Any]:
        """The agent as plain data, from which `from_dict` makes it again. Keys are left out. Warns and raises as
        `save`."""
        return _above("runs.sharing").to_dict(self)

    @classmethod
    def from_dict(cls, agent_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The agent that `to_dict` described; `kwargs` are parameters in place of what it says. It runs the code of
        the tools, as `from_folder` does. Raises ConfigError, ModelError or ToolError for what cannot be made again."""
        return _above("runs.sharing").from_dict(cls, agent_dict, **kwargs)

    @classmethod
    def from_folder(cls, folder: str | Path, **kwargs: Any) -> Any:
        """The agent that `save` wrote; `kwargs` and errors as of `from_dict`. Its tools are code, which runs in this
        process: load what you trust."""
        return _above("runs.sharing").from_folder(cls, folder, **kwargs)
