"""The loop of every agent: ask the model, act, observe, until an answer, a limit or a stop.

It is a plain generator of events. What an action is, and how it runs, is the subclass's one method `_act`.
"""

from __future__ import annotations

import copy
import secrets
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from smol_kernel import events as ev
from smol_kernel.agents.budget import TO_ANSWER, Account, Budget
from smol_kernel.agents.checks import AnswerType, Repetition, checked, look
from smol_kernel.agents.compaction import compact
from smol_kernel.agents.managed_agent import (
    HandOffTool,
    ManagedAgentTool,
    agents_by_name,
    hand_over,
    report,
    tools_by_name,
)
from smol_kernel.agents.prompts import PromptTemplates, default_templates, populate_template, task_with_inputs
from smol_kernel.agents.results import ActionOutput
from smol_kernel.agents.running import RunnableAgent
from smol_kernel.errors import (
    AgentBudgetError,
    AgentError,
    AgentGenerationError,
    AgentMaxStepsError,
    ConfigError,
    ContextLengthError,
)
from smol_kernel.executors.values import NotPortable, describe, encode, remote
from smol_kernel.journal import Journal, open_journal, record
from smol_kernel.memory.messages import ChatMessage, MessageRole, text_message
from smol_kernel.memory.monitoring import AgentLogger, CallbackRegistry, LogLevel, Monitor
from smol_kernel.memory.steps import ActionStep, AgentMemory, FinalAnswerStep, MemoryStep, PlanningStep, TaskStep
from smol_kernel.memory.usage import Timing, TokenUsage
from smol_kernel.models.base import ModelCall, as_model
from smol_kernel.tools.base import Tool

Request = Generator[ev.Event, None, ChatMessage | None]


class MultiStepAgent(RunnableAgent):
    """An agent that works step by step.

    Parameters: `tools`, the functions an action may call; `model`, a Model, a callable with the signature of
    `Model.generate`, or a list of these, asked in turn where one fails; `prompt_templates`, in place of ours;
    `instructions`, added to the system prompt; `max_steps` per run; `add_base_tools`, the built-in tools as well;
    `verbosity_level`, what `run()` prints; `managed_agents`, agents (or recipes of agents) that an action may call;
    `step_callbacks`, called with each step (and `agent=`), a list for actions or a dict from class of step;
    `planning_interval`, a plan every so many steps; `name` and `description`, for those who call this agent;
    `provide_run_summary`, whether its report tells its steps; `final_answer_checks`, functions of the answer;
    `return_full_result`, whether `run()` gives a RunResult; `logger`, where it prints. Ours besides: `stream_outputs`,
    whether replies are asked for in pieces; `handoffs`, agents that may take over; `checks`, functions or expressions
    in which `answer` is the live value; `output_type`, the type an answer has to have; `budget`; `journal`, where runs
    are recorded (None: the Jupyter data folder; a path; False: nowhere).
    Raises ConfigError for a setting out of range, ToolError for tools that cannot be used together.
    """

    templates: ClassVar[str]
    """Folder of the templates used where the user gave none."""
    writes_code: ClassVar[bool] = False
    """True: it acts by code in a child."""

    def __init__(
        self,
        tools: Sequence[Tool],
        model: Any,
        prompt_templates: PromptTemplates | None = None,
        instructions: str | None = None,
        max_steps: int = 20,
        add_base_tools: bool = False,
        verbosity_level: LogLevel = LogLevel.INFO,
        managed_agents: Sequence[Any] | None = None,
        step_callbacks: Sequence[Callable[..., Any]] | Mapping[type[MemoryStep], Any] | None = None,
        planning_interval: int | None = None,
        name: str | None = None,
        description: str | None = None,
        provide_run_summary: bool = False,
        final_answer_checks: Sequence[Callable[..., Any]] | None = None,
        return_full_result: bool = False,
        logger: AgentLogger | None = None,
        *,
        stream_outputs: bool = False,
        handoffs: Sequence[MultiStepAgent] = (),
        checks: Sequence[str | Callable[..., Any]] = (),
        output_type: Any = None,
        budget: Budget | None = None,
        journal: Journal | str | Path | bool | None = None,
    ) -> None:
        if name is not None and not name.isidentifier():
            raise ConfigError(f"the agent's name {name!r} cannot be called in Python: use letters, digits and _")
        self.name, self.description, self.instructions = name, description, instructions
        self.model = as_model(model)
        self.tools = tools_by_name(tools, add_base_tools, interpreter=not self.writes_code)
        self.managed_agents = agents_by_name(managed_agents or (), self.tools)
        self.handoffs = agents_by_name(handoffs, self.tools)
        self.prompt_templates = cast(
            "PromptTemplates", {**default_templates(self.templates), **(prompt_templates or {})}
        )
        self.max_steps = _at_least_one("max_steps", max_steps)
        self.planning_interval = planning_interval and _at_least_one("planning_interval", planning_interval)
        self.provide_run_summary, self.return_full_result = provide_run_summary, return_full_result
        self.final_answer_checks = list(final_answer_checks or ())
        self.checks = checked(checks, live=self.writes_code)
        self.answer_type = None if output_type is None else AnswerType(output_type)
        self.stream_outputs, self.budget, self.journal = stream_outputs, budget, journal
        self.logger = logger or AgentLogger(level=verbosity_level)
        self._given_callbacks = step_callbacks or ()
        self._begin_life()

    def _begin_life(self) -> None:
        """Set what belongs to this very agent, and not to a copy of it."""
        self.memory = AgentMemory(self.initialize_system_prompt())
        self.monitor = Monitor(self.model, self.logger)
        self.step_callbacks = CallbackRegistry()
        given = self._given_callbacks
        by_kind = given.items() if isinstance(given, Mapping) else [(ActionStep, given)]
        for kind, callbacks in [(ActionStep, self.monitor.update_metrics), *by_kind]:
            for callback in [callbacks] if callable(callbacks) else callbacks:
                self.step_callbacks.register(kind, callback)
        self.run_id, self.task, self.step_number, self.depth = None, None, 0, 0
        self.account, self.answer, self.answered = Account(), None, False
        self.current_step, self.outputs = None, {}
        self.called: set[MultiStepAgent] = set()
        """Agents that work for this one now."""
        self.successor: tuple[MultiStepAgent, str] | None = None
        """The agent that takes over after this step, and why."""
        self.lent, self._in_use, self._stop = threading.Lock(), threading.Lock(), threading.Event()
        self._call: ModelCall | None = None

    @property
    def functions(self) -> dict[str, Tool]:
        """All that an action may call: tools, agents, and hand-offs to agents."""
        variables = self._prompt_variables()
        return {**self.tools, **variables["managed_agents"], **variables["handoffs"]}

    def another(self) -> MultiStepAgent:
        """An agent like this one with a memory, and where it acts in a child a child, of its own."""
        twin = copy.copy(self)
        twin._begin_life()
        return twin

    def take_over(self, agent: MultiStepAgent) -> None:
        """Begin where `agent` is."""
        self.memory.steps = list(agent.memory.steps)

    # -- what a subclass says of itself

    @abstractmethod
    def _act(self, step: ActionStep) -> Iterator[ev.Event]:
        """Run the action that `step.model_output_message` asks for, and fill in what came of it.

        Raises AgentError for what the model can repair. Sets `is_final_answer` and `action_output` when done.
        """

    isolation = "none"
    """How the child is boxed; "none" means not at all."""

    def _prompt_variables(self) -> dict[str, Any]:
        return {
            # the prompt itself explains final_answer
            "tools": {name: tool for name, tool in self.tools.items() if name != "final_answer"},
            "managed_agents": {name: ManagedAgentTool(agent, self) for name, agent in self.managed_agents.items()},
            "handoffs": {f"transfer_to_{name}": HandOffTool(agent, self) for name, agent in self.handoffs.items()},
            "custom_instructions": self.instructions,
            "answer_type": self.answer_type.words() if self.answer_type else None,
        }

    def _request_options(self) -> dict[str, Any]:
        """What goes along with a request for an action."""
        return {"stop_sequences": ["Observation:"]}

    def _remembered(self, reply: str) -> str:
        """The reply as it is remembered."""
        return reply

    def _answer_in(self, reply: str) -> Any:
        """The answer in a reply that was asked for one."""
        return reply.strip()

    def _prepare(self, reset: bool, variables: Mapping[str, Any]) -> None:
        """Make ready to act, before the first step of a run."""

    def _interrupt_action(self) -> None:
        """Interrupt the action that runs now. Called from any thread."""

    def _looks(self, answer: Any) -> Iterator[ev.Event]:
        """What the checks say of the answer."""
        for check in [*self.checks, *self.final_answer_checks]:
            if callable(check):
                yield look(check, answer, self.memory, self)

    # -- what a user calls

    @property
    def system_prompt(self) -> str:
        """The system prompt, as the model gets it."""
        return self.initialize_system_prompt()

    def initialize_system_prompt(self) -> str:
        """The system prompt, rendered from the template and the agent's settings."""
        return populate_template(self.prompt_templates.get("system_prompt", ""), self._prompt_variables()).strip()

    def write_memory_to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """All that the model reads: the system prompt and every step so far."""
        steps: list[MemoryStep] = [self.memory.system_prompt, *self.memory.steps]
        return [message for step in steps for message in step.to_messages(summary_mode=summary_mode)]

    def __call__(self, task: str, **options: Any) -> str:
        """Work on `task` for someone else: `options` are those of `run`; the answer comes as a report in words."""
        return report(self, self.run(self.assignment(task), **options))

    def assignment(self, task: str) -> str:
        """The task as this agent reads it when another one gives it."""
        return populate_template(self.prompt_templates["managed_agent"]["task"], {"name": self.name, "task": task})

    def events(
        self,
        task: str,
        *,
        reset: bool = True,
        images: list[Any] | None = None,
        audio: list[Any] | None = None,
        videos: list[Any] | None = None,
        additional_args: Mapping[str, Any] | None = None,
        max_steps: int | None = None,
        origin: Mapping[str, Any] | None = None,
        caller: MultiStepAgent | None = None,
        call: str | None = None,
    ) -> Generator[ev.Event, None, None]:
        """The run of `task` as events, each recorded in the journal before it is yielded.

        `origin` says where the run was started (see RunStarted), `caller` which agent called this one, by which
        `call`. Errors are raised after the last event; closing the generator stops the run. Raises ConfigError for an empty task.
        """
        if not task.strip():
            raise ConfigError("the task is empty: say what the agent shall do")
        if not self._in_use.acquire(blocking=False):
            raise AgentError("this agent is at work on another task: give each thread an agent of its own")
        try:
            variables = dict(additional_args or {})
            inputs = {name: describe(value) for name, value in variables.items()}
            started = ev.RunStarted(
                run=secrets.token_hex(4),
                task=task,
                agent=type(self).__name__,
                name=self.name,
                model=self.model.model_id or type(self.model).__name__,
                scripted=self.model.scripted,
                parent=caller.run_id if caller else None,
                call=call,
                continues=None if reset else self.run_id,
                isolation=self.isolation,
                max_steps=_at_least_one("max_steps", self.max_steps if max_steps is None else max_steps),
                system_prompt=self.system_prompt,
                tools=list(self.tools),
                inputs=inputs,
                origin=dict(origin or {}),
            )
            first = TaskStep(task_with_inputs(task, inputs), images, audio, videos)
            self._recorded_in = caller._recorded_in if caller and self.journal is None else open_journal(self.journal)
            self.account = Account(self.budget, caller.account if caller else None)
            self.run_id, self.depth = started.run, caller.depth + 1 if caller else 0
            self._stop.clear()
            if caller is not None and caller._stop.is_set():
                self._stop.set()
            yield from record(self._run(started, first, reset, variables), self._recorded_in, started.run)
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
        for agent in list(self.called):
            agent.interrupt()

    def step(self, memory_step: ActionStep) -> ActionOutput:
        """Take one step, for a loop of one's own: `memory_step` is filled in, and is the caller's to keep.

        Raises AgentError where the model's reply or the action fails.
        """
        self._prepare(False, {})
        for _ in self._attempt(memory_step):
            pass
        return ActionOutput(memory_step.action_output, memory_step.is_final_answer)

    def provide_final_answer(self, task: str) -> ChatMessage:
        """The best answer the model can give from the work so far. Raises AgentGenerationError."""
        request = self._request(lambda: self._messages_to_answer(task), "answer", TO_ANSWER)
        while True:
            try:
                next(request)  # nobody watches these events
            except StopIteration as ended:
                return ended.value or text_message(MessageRole.ASSISTANT, "")

    def cleanup(self) -> None:
        """End what the agents it may call hold. A later run starts afresh."""
        for agent in self.managed_agents.values():
            agent.cleanup()

    # -- the loop

    def _run(
        self, started: ev.RunStarted, first: TaskStep, reset: bool, variables: dict[str, Any]
    ) -> Generator[ev.Event, None, None]:
        run, begun = started.run, time.monotonic()
        self.task, self.step_number, self.answer, self.answered, self.successor = first.task, 0, None, False, None
        self._repetition, self._best = Repetition(), None
        if reset:
            self.memory.reset()
            self.monitor.reset()
        self.memory.system_prompt.system_prompt = started.system_prompt
        self.memory.steps.append(first)
        yield started
        timer, failure = self.account.timer(self.interrupt), None
        try:
            self._prepare(reset, variables)
            state, reason = yield from self._steps(run, started.max_steps)
        except AgentBudgetError as error:
            state, reason = "budget", error.message
        except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001  boundary: the run; raised after its last event
            stopped = isinstance(error, KeyboardInterrupt)
            state, reason, failure = "interrupted" if stopped else "error", None if stopped else str(error), error
        finally:
            if timer is not None:
                timer.cancel()
        for event in self._ending(state, reason):
            yield event.stamped(run, self.step_number)
        yield ev.RunFinished(
            run=run,
            state=state,
            error="Stopped before there was an answer." if state == "interrupted" else reason,
            steps=self.step_number,
            seconds=time.monotonic() - begun,
            **_counts(self.account.own),
        )
        if failure is not None:
            raise failure

    def _steps(self, run: str, limit: int) -> Generator[ev.Event, None, tuple[str, str | None]]:
        """All steps; returns the state in which the run ends, and the reason where it is no success."""
        while self.step_number < limit:
            self.account.check()
            if self._stop.is_set():
                return "interrupted", None
            number = self.step_number + 1
            if self.planning_interval and (number - 1) % self.planning_interval == 0:
                for event in self._plan(first=number == 1):
                    yield event.stamped(run, number)
            if self._stop.is_set():
                continue
            self.step_number = number
            self.account.count("steps")
            step = ActionStep(step_number=number, timing=Timing(time.time()))
            for event in self._step(step):
                yield event.stamped(run, number)
            if step.is_final_answer:  # also when a stop came too late to keep it from being given
                return "success", None
            if self.successor is not None:
                return (yield from hand_over(self, *self.successor))
            if self._repetition.hopeless:
                return "max_steps_error", "The run was ended: it did the same again and again."
        return "max_steps_error", f"Reached the limit of {limit} step{'s' * (limit > 1)} without a final answer."

    def _step(self, step: ActionStep) -> Iterator[ev.Event]:
        yield ev.StepStarted()
        try:
            yield from self._attempt(step)
            if step.is_final_answer:
                yield from self._accept(step)
        except AgentError as error:
            step.error, step.is_final_answer = error, False
            if isinstance(error, AgentGenerationError | AgentBudgetError):
                raise
        finally:
            step.timing.end_time = time.time()
            if step.model_output is not None or step.error is not None:  # else stopped before the model said anything
                self.memory.steps.append(step)
        if (circles := self._repetition.look(step)) is not None:
            yield circles
            step.observations = "\n".join(filter(None, [step.observations, circles.reason]))
        yield from self._call_back(step)
        yield ev.StepFinished(
            observation=step.observations or "",
            error_type=type(step.error).__name__ if step.error else None,
            error=step.error.message if step.error else None,
            seconds=step.timing.duration or 0.0,
        )

    def _attempt(self, step: ActionStep) -> Iterator[ev.Event]:
        """Ask the model for the next action, and run it."""

        def messages() -> list[ChatMessage]:
            step.model_input_messages = self.write_memory_to_messages()
            return step.model_input_messages

        self.current_step, self.outputs = step, {}
        message = yield from self._request(messages, "action", **self._request_options())
        if message is None:
            return
        step.model_output_message, step.token_usage = message, message.token_usage
        step.model_output = self._remembered(message.text)
        try:
            yield from self._act(step)
        finally:
            for agent in list(self.called):  # nobody waits for them any more
                agent.interrupt()

    def _accept(self, step: ActionStep) -> Iterator[ev.Event]:
        """Take the answer of `step` if the checks let it pass. Raises AgentError with the reason if not."""
        self._best = step.action_output
        told = self.told(step.action_output)
        if self.answer_type is not None:
            step.action_output = self.answer_type.convert(step.action_output)
        for seen in self._looks(step.action_output):
            yield seen
            if isinstance(seen, ev.Checked) and not seen.ok:
                raise AgentError(f"The answer was not accepted. {seen.check}: {seen.reason}")
        self.answer, self.answered = step.action_output, True
        yield told

    def told(self, answer: Any) -> ev.FinalAnswer:
        """The answer as an event."""
        try:
            value = encode(answer)
        except NotPortable:
            value = remote(answer, "")
        return ev.FinalAnswer(value=value, text=str(answer))

    def _ending(self, state: str, reason: str | None) -> Iterator[ev.Event]:
        """What comes after the last step: where a limit ended the run, the best answer there is."""
        if state in ("max_steps_error", "budget"):
            error = (AgentBudgetError if state == "budget" else AgentMaxStepsError)(reason or "")
            step = ActionStep(step_number=self.step_number + 1, timing=Timing(time.time()), error=error)
            best = self._best
            try:
                message = yield from self._request(
                    lambda: self._messages_to_answer(self.task or ""), "answer", TO_ANSWER
                )
                best = self._answer_in(message.text) or best if message else best
                step.model_output_message, step.token_usage = message, message.token_usage if message else None
                best = self.answer_type.convert(best) if self.answer_type and best is not None else best
            except AgentError as failure:
                error.message += f" Asking for a best answer failed as well: {failure.message}"
            step.action_output, step.timing.end_time = best, time.time()
            self.memory.steps.append(step)
            if best is not None and best != "":
                self.answer, self.answered = best, True
                yield self.told(best)
            yield from self._call_back(step)
        if self.answered:
            yield from self._call_back(FinalAnswerStep(self.answer))

    def _plan(self, first: bool) -> Iterator[ev.Event]:
        """Ask the model for a plan, and keep it."""
        templates = self.prompt_templates["planning"]
        names = ["initial_plan"] if first else ["update_plan_pre_messages", "update_plan_post_messages"]
        variables = {
            **self._prompt_variables(),
            "task": self.task,
            "remaining_steps": self.max_steps - self.step_number,
        }
        request = "\n\n".join(populate_template(templates[name], variables).strip() for name in names)
        asked, timing = list[ChatMessage](), Timing(time.time())

        def messages() -> list[ChatMessage]:
            asked[:] = [*self.write_memory_to_messages(), text_message(MessageRole.USER, request)]
            return asked

        message = yield from self._request(messages, "plan")
        if message is None:
            return
        timing.end_time = time.time()
        step = PlanningStep(asked, message, message.text.strip(), timing, message.token_usage)
        step.request = request
        self.memory.steps.append(step)
        yield from self._call_back(step)
        yield ev.PlanMade(plan=step.plan)

    def _messages_to_answer(self, task: str) -> list[ChatMessage]:
        templates = self.prompt_templates["final_answer"]
        request = [populate_template(templates[name], {"task": task}) for name in ("pre_messages", "post_messages")]
        return [*self.write_memory_to_messages(), text_message(MessageRole.USER, "\n\n".join(request))]

    def _request(
        self,
        messages: Callable[[], list[ChatMessage]],
        purpose: str,
        limits: tuple[str, ...] | None = None,
        **options: Any,
    ) -> Request:
        """One reply of the model; None if the run was stopped meanwhile. A conversation that is too long is shortened.

        Raises AgentBudgetError for a budget that is used up, AgentGenerationError for a model that gives no reply.
        """
        message = None
        while True:
            self.account.check(limits)
            asked = time.monotonic()
            if self.model.slow_start:
                yield ev.Notice(text=self.model.slow_start)
            try:
                message = yield from self._reply(messages(), **options)
                break
            except ContextLengthError as error:
                shortened = compact(self.memory.steps)
                if not shortened:
                    raise AgentGenerationError(f"The model gave no reply: {error}") from error
                yield ev.Compacted(steps=shortened)
        if message is None:
            return None
        usage = message.token_usage
        self.account.charge(usage)
        yield ev.ModelReplied(
            content=message.text,
            model=self.model.model_id or "",
            purpose=purpose,
            tool_calls=message.dict()["tool_calls"] or [],
            seconds=time.monotonic() - asked,
            **_counts(usage),
        )
        return message

    def _reply(self, messages: list[ChatMessage], **options: Any) -> Request:
        call = self._call = ModelCall(self.model, messages, stream=self.stream_outputs, **options)
        try:
            if self._stop.is_set():  # it came before there was a call to abandon
                return None
            for piece in call:
                if isinstance(piece, ev.Event):
                    yield piece
                elif piece.content:
                    yield ev.ModelDelta(text=piece.content)
            return None if self._stop.is_set() else call.message
        except ContextLengthError:
            raise
        except Exception as error:  # boundary: whatever a model raises ends the run with its reason
            raise AgentGenerationError(f"The model gave no reply: {error}") from error
        finally:
            call.abandon()
            self._call = None

    def _call_back(self, step: MemoryStep) -> Iterator[ev.Event]:
        """Call the user's callbacks with `step`. One that raises does not end the run; what they edit is told."""
        before = [_readable(earlier) for earlier in self.memory.steps] if self._given_callbacks else []
        try:
            self.step_callbacks.callback(step, agent=self)
        except Exception as error:  # noqa: BLE001 - boundary: a user's own callback
            yield ev.Notice(text=f"A step callback failed: {type(error).__name__}: {error}")
        for index, (old, earlier) in enumerate(zip(before, self.memory.steps, strict=False)):
            changes = {name: value for name, value in _readable(earlier).items() if old.get(name) != value}
            if changes:
                yield ev.MemoryEdited(index=index, changes=changes)


def _readable(step: MemoryStep) -> dict[str, Any]:
    """What the model reads of a step, as plain data; of images their number."""
    names = ("task", "plan", "model_output", "observations", "error", "observations_images", "task_images")
    values = {name: getattr(step, name, None) for name in names}
    return {name: len(value) if isinstance(value, list) else str(value or "") for name, value in values.items()}


def _counts(usage: TokenUsage | None) -> dict[str, Any]:
    """Tokens and cost as fields of an event."""
    names = ("input_tokens", "output_tokens", "cached_tokens", "cost")
    return {name: getattr(usage, name) for name in names} if usage else {}


def _at_least_one(name: str, value: int) -> int:
    if type(value) is not int or value < 1:
        raise ConfigError(f"{name} is {value!r}: give a whole number of at least 1")
    return value
