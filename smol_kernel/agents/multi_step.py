"""The loop of every agent: ask the model, act, observe, until an answer, a limit or a stop.

It is a plain generator of events. What an action is, and how it runs, is the subclass's one method `_act`.
"""

from __future__ import annotations

import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from smol_kernel.agents.prompts import PromptTemplates, populate_template, task_with_inputs
from smol_kernel.agents.results import RunResult, sentence_on_the_end, token_counts, token_usage
from smol_kernel.errors import AgentError, AgentGenerationError, AgentMaxStepsError, ConfigError
from smol_kernel.events import (
    Event,
    FinalAnswer,
    ModelDelta,
    ModelReplied,
    Notice,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    watched,
)
from smol_kernel.executors.values import describe
from smol_kernel.journal import Journal, open_journal, record
from smol_kernel.memory.messages import ChatMessage, MessageRole, text_message
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.memory.steps import ActionStep, AgentMemory, FinalAnswerStep, TaskStep
from smol_kernel.memory.usage import Timing
from smol_kernel.models.base import Model, ModelCall, as_model
from smol_kernel.tools.base import Tool


class MultiStepAgent(ABC):
    """An agent that works step by step.

    Parameters: `tools`, the functions an action may call; `model`, a Model or a callable with the signature of
    `Model.generate`; `prompt_templates`, in place of ours; `instructions`, added to the system prompt; `max_steps` per
    run; `verbosity_level`, what `run()` prints; `name` and `description`, for others who call this agent;
    `return_full_result`, whether `run()` gives a RunResult; `stream_outputs`, whether replies are asked for in pieces;
    `journal`, where runs are recorded (None: the Jupyter data folder; a path; False: nowhere).
    Raises ConfigError for a setting out of range, ToolError for tools that cannot be used together.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        model: Model | Callable[..., ChatMessage],
        prompt_templates: PromptTemplates | None = None,
        instructions: str | None = None,
        max_steps: int = 20,
        *,
        verbosity_level: LogLevel = LogLevel.INFO,
        name: str | None = None,
        description: str | None = None,
        return_full_result: bool = False,
        stream_outputs: bool = False,
        journal: Journal | str | Path | bool | None = None,
    ) -> None:
        self.model = as_model(model)
        self.tools = self._checked_tools(tools)
        self.prompt_templates: PromptTemplates = {**self._default_templates(), **(prompt_templates or {})}
        self.instructions = instructions
        self.max_steps = _at_least_one(max_steps)
        self.verbosity_level = verbosity_level
        self.name = name
        self.description = description
        self.return_full_result = return_full_result
        self.stream_outputs = stream_outputs
        self.journal = journal
        self.memory = AgentMemory(self.initialize_system_prompt())
        self.run_id: str | None = None
        self.task: str | None = None
        self.step_number = 0
        self._stop = threading.Event()
        self._in_use = threading.Lock()
        self._call: ModelCall | None = None

    # -- what a subclass says of itself

    @abstractmethod
    def _default_templates(self) -> PromptTemplates:
        """The templates used where the user gave none."""

    @abstractmethod
    def _act(self, step: ActionStep) -> Iterator[Event]:
        """Run the action that `step.model_output` asks for, and fill in what came of it.

        Raises AgentError for what the model can repair. Sets `is_final_answer` and `action_output` when done.
        """

    def _prompt_variables(self) -> dict[str, Any]:
        return {"tools": self.tools, "custom_instructions": self.instructions}

    def _stop_sequences(self) -> list[str]:
        return []

    def _completed_reply(self, reply: str) -> str:
        """The reply as it is remembered."""
        return reply

    @abstractmethod
    def _answer_in(self, reply: str) -> str:
        """The answer in a reply that was asked for one."""

    @abstractmethod
    def _prepare(self, reset: bool, variables: Mapping[str, Any]) -> None:
        """Make ready to act, before the first step of a run."""

    @abstractmethod
    def _interrupt_action(self) -> None:
        """Interrupt the action that runs now. Called from any thread."""

    @abstractmethod
    def _isolation(self) -> str:
        """How the child is boxed; "none" means not at all."""

    # -- what a user calls

    @property
    def system_prompt(self) -> str:
        """The system prompt, as the model gets it."""
        return self.memory.system_prompt.system_prompt

    def initialize_system_prompt(self) -> str:
        """The system prompt, rendered from the template and the agent's settings."""
        return populate_template(self.prompt_templates.get("system_prompt", ""), self._prompt_variables()).strip()

    def write_memory_to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """All that the model reads: the system prompt and every step so far."""
        messages = self.memory.system_prompt.to_messages(summary_mode=summary_mode)
        for step in self.memory.steps:
            messages += step.to_messages(summary_mode=summary_mode)
        return messages

    def __call__(self, task: str, **options: Any) -> Any:
        """The same as `run`."""
        return self.run(task, **options)

    def run(
        self,
        task: str,
        reset: bool = True,
        additional_args: Mapping[str, Any] | None = None,
        max_steps: int | None = None,
        return_full_result: bool | None = None,
    ) -> Any:
        """Work on `task` and return the answer, or a RunResult where the full result is asked for.

        `reset=False` goes on in the same conversation and namespace; `additional_args` are variables for the
        child. At max steps the answer is the best the model could give. Raises AgentGenerationError when the
        model cannot be reached, ExecutorError when no child can be started, KeyboardInterrupt on Ctrl-C.
        """
        started = time.time()
        finished = RunFinished(state="error")
        events = self.events(task, reset=reset, additional_args=additional_args, max_steps=max_steps)
        if self.verbosity_level >= LogLevel.INFO:
            # Drawing lies above the loop; this is the one look-up by name in that direction.
            events = watched(events, import_module("smol_kernel.render.console").ConsoleReader())
        for event in events:
            if isinstance(event, RunFinished) and event.run == self.run_id:
                finished = event
        answers = [step.output for step in self.memory.steps if isinstance(step, FinalAnswerStep)]
        answer = answers[-1] if finished.state in ("success", "max_steps_error") and answers else None
        if not (self.return_full_result if return_full_result is None else return_full_result):
            return answer
        return RunResult(
            output=answer,
            state=finished.state,
            steps=self.memory.get_full_steps(),
            token_usage=token_usage(finished),
            timing=Timing(started, time.time()),
            run_id=self.run_id or "",
        )

    def events(
        self,
        task: str,
        *,
        reset: bool = True,
        additional_args: Mapping[str, Any] | None = None,
        max_steps: int | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> Generator[Event, None, None]:
        """The run of `task` as events, each recorded in the journal before it is yielded.

        `origin` says where the run was started (see RunStarted). Errors are raised after the last event;
        closing the generator stops the run. Raises ConfigError for an empty task.
        """
        if not task.strip():
            raise ConfigError("the task is empty: say what the agent shall do")
        if not self._in_use.acquire(blocking=False):
            raise AgentError("this agent is at work on another task: give each thread an agent of its own")
        try:
            limit = _at_least_one(self.max_steps if max_steps is None else max_steps)
            journal = open_journal(self.journal)
            previous = None if reset else self.run_id
            self.run_id = run = secrets.token_hex(4)
            stream = self._run(run, task, reset, dict(additional_args or {}), limit, dict(origin or {}), previous)
            yield from record(stream, journal, run)
        except GeneratorExit:
            self.interrupt()
            raise
        finally:
            self._in_use.release()

    def interrupt(self) -> None:
        """Stop the run: at once while the model is asked, within moments while an action runs. Any thread."""
        self._stop.set()
        if self._call is not None:
            self._call.abandon()
        self._interrupt_action()

    def provide_final_answer(self, task: str) -> ChatMessage:
        """The best answer the model can give from the work so far, asked for when the steps ran out."""
        templates = self.prompt_templates.get("final_answer")
        if templates is None:
            raise ConfigError("the prompt templates have no 'final_answer'")
        history = [message for step in self.memory.steps for message in step.to_messages()]
        before = populate_template(templates["pre_messages"], {"task": task})
        after = populate_template(templates["post_messages"], {"task": task})
        reply = self._reply([text_message(MessageRole.SYSTEM, before), *history, text_message(MessageRole.USER, after)])
        try:
            while True:
                next(reply)  # nobody watches these pieces
        except StopIteration as ended:
            return ended.value or text_message(MessageRole.ASSISTANT, "")

    # -- the loop

    def _run(
        self,
        run: str,
        task: str,
        reset: bool,
        variables: dict[str, Any],
        limit: int,
        origin: dict[str, Any],
        previous: str | None,
    ) -> Generator[Event, None, None]:
        started = time.monotonic()
        self.task, self.step_number = task, 0
        self._stop.clear()
        if reset:
            self.memory.reset()
        inputs = {name: describe(value) for name, value in variables.items()}
        first = len(self.memory.steps)
        self.memory.steps.append(TaskStep(task=task_with_inputs(task, inputs)))
        yield RunStarted(
            run=run,
            task=task,
            agent=type(self).__name__,
            name=self.name,
            model=self.model.model_id or type(self.model).__name__,
            scripted=self.model.scripted,
            continues=previous,
            isolation=self._isolation(),
            max_steps=limit,
            system_prompt=self.system_prompt,
            tools=list(self.tools),
            inputs=inputs,
            origin=origin,
        )
        state, failure = "error", cast("BaseException | None", None)
        try:
            self._prepare(reset, variables)
            state = yield from self._steps(run, limit)
            if state == "max_steps_error":
                yield from self._last_answer(run, task, limit)
        except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001  boundary: the run; raised after its last event
            state, failure = "interrupted" if isinstance(error, KeyboardInterrupt) else "error", error
        yield RunFinished(
            run=run,
            state=state,
            error=sentence_on_the_end(self.memory.steps, state, failure),
            steps=self.step_number,
            seconds=time.monotonic() - started,
            **token_counts(self.memory.steps[first:]),
        )
        if failure is not None:
            raise failure

    def _steps(self, run: str, limit: int) -> Generator[Event, None, str]:
        """All steps; returns the state in which the run ends."""
        while self.step_number < limit:
            if self._stop.is_set():
                return "interrupted"
            self.step_number += 1
            step = ActionStep(step_number=self.step_number, timing=Timing())
            for event in self._step(step):
                yield event.stamped(run, self.step_number)
            if step.is_final_answer:  # also when a stop came too late to keep it from being given
                self.memory.steps.append(FinalAnswerStep(output=step.action_output))
                return "success"
        return "max_steps_error"

    def _step(self, step: ActionStep) -> Iterator[Event]:
        yield StepStarted()
        self.memory.steps.append(step)
        history = self.memory.steps
        try:
            step.model_input_messages = self.write_memory_to_messages()
            yield from self._ask(step)
            if not self._stop.is_set():
                yield from self._act(step)
        except AgentGenerationError as error:
            step.error = error
            raise
        except AgentError as error:
            step.error = error
        finally:
            step.timing.end_time = time.time()
            if step.model_output is None and step.error is None and history and history[-1] is step:
                history.pop()  # stopped before the model said anything: nothing to remember
        yield StepFinished(
            observation=step.observations or "",
            error_type=type(step.error).__name__ if step.error else None,
            error=step.error.message if step.error else None,
            seconds=step.timing.duration or 0.0,
        )

    def _ask(self, step: ActionStep) -> Iterator[Event]:
        """Ask the model for the next action and keep its reply on the step."""
        asked = time.monotonic()
        if self.model.slow_start:
            yield Notice(text=self.model.slow_start)
        message = yield from self._reply(step.model_input_messages or [], self._stop_sequences())
        if message is None:
            return
        usage = step.token_usage = message.token_usage
        step.model_output_message = message
        step.model_output = self._completed_reply(message.text)
        yield ModelReplied(
            content=step.model_output,
            model=self.model.model_id or "",
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            cached_tokens=usage.cached_tokens if usage else None,
            seconds=time.monotonic() - asked,
        )

    def _reply(
        self, messages: list[ChatMessage], stop_sequences: list[str] | None = None
    ) -> Generator[Event, None, ChatMessage | None]:
        """One request to the model; returns its reply, or None if the run was stopped meanwhile."""
        stream = self.stream_outputs
        call = self._call = ModelCall(self.model, messages, stream=stream, stop_sequences=stop_sequences or None)
        try:
            if self._stop.is_set():  # it came before there was a call to abandon
                return None
            for piece in call:
                if isinstance(piece, Notice):
                    yield piece
                elif piece.content:
                    yield ModelDelta(text=piece.content)
            return None if self._stop.is_set() else call.message
        except Exception as error:  # boundary: whatever a model raises ends the run with its reason
            raise AgentGenerationError(f"The model gave no reply: {error}") from error
        finally:
            call.abandon()
            self._call = None

    def _last_answer(self, run: str, task: str, limit: int) -> Iterator[Event]:
        """The steps ran out: one more model call for the best answer; the error stays on the last step."""
        error = AgentMaxStepsError(f"Reached the limit of {limit} step{'s' * (limit > 1)} without a final answer.")
        steps = [step for step in self.memory.steps if isinstance(step, ActionStep)]
        steps[-1].error = steps[-1].error or error
        try:
            answer = self._answer_in(self.provide_final_answer(task).text)
        except AgentGenerationError as failure:
            error = AgentMaxStepsError(f"{error.message} Asking for a best answer failed as well: {failure.message}")
            steps[-1].error = error
            return
        if answer:
            self.memory.steps.append(FinalAnswerStep(output=answer))
            yield FinalAnswer(run=run, value=answer, text=answer)

    def _checked_tools(self, tools: Sequence[Tool]) -> dict[str, Tool]:
        found: dict[str, Tool] = {}
        for tool in cast("Sequence[Any]", tools):
            if not isinstance(tool, Tool):
                raise ConfigError(f"{tool!r} is not a tool: decorate the function with @tool, or subclass Tool")
            if tool.name in found:
                raise ConfigError(f"two tools are called {tool.name!r}: rename one of them")
            found[tool.name] = tool
        return found


def _at_least_one(max_steps: int) -> int:
    if type(max_steps) is not int or max_steps < 1:
        raise ConfigError(f"max_steps is {max_steps!r}: give a whole number of at least 1")
    return max_steps
