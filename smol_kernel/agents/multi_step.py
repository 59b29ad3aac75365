"""The loop of every agent: ask the model, act, observe, until an answer, a limit or a stop.

It is a plain generator of events. What an action is, and how it runs, is the subclass's one method `_act`.
"""

from __future__ import annotations

import secrets
import time
from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from smol_kernel import errors
from smol_kernel import events as ev
from smol_kernel.agents import managed_agent as others
from smol_kernel.agents.checks import Repetition, checked, looks
from smol_kernel.agents.compaction import compact
from smol_kernel.agents.running import RunnableAgent
from smol_kernel.executors.callbacks import call_back
from smol_kernel.executors.descriptions import told
from smol_kernel.executors.interpreter_tool import isolation_of_tools
from smol_kernel.executors.kept_values import KeptValues, given_variables
from smol_kernel.executors.state import set_by_a_run, variables_of_run
from smol_kernel.executors.tool_calls import plain
from smol_kernel.journal import open_journal, record
from smol_kernel.memory.budget import TO_ASK, Account, at_least_one, usable
from smol_kernel.memory.messages import ChatMessage, MessageRole, text_message
from smol_kernel.memory.rich_values import handle_agent_output_types
from smol_kernel.memory.steps import ActionOutput, ActionStep, FinalAnswerStep, PlanningStep, TaskStep
from smol_kernel.memory.usage import Timing, counts
from smol_kernel.models.call import ModelCall
from smol_kernel.models.failures import is_too_long
from smol_kernel.models.replies import without_reasoning
from smol_kernel.tools.rendering import populate_template

if TYPE_CHECKING:
    from smol_kernel.memory.life import Life
    from smol_kernel.runs.replay import Replay


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
    whether replies are asked for in pieces; `handoffs`, agents that may take over, held to the same type and checks;
    `checks`, functions or expressions in which `answer` is the live value; `output_type`, the type an answer has to
    have; `budget`; `journal`, where runs are recorded (None: the Jupyter data folder; a path; False: nowhere).
    Raises ConfigError for a setting out of range and tools that cannot be used together, ModelError for no model.
    """

    isolation = property(isolation_of_tools)
    """How what the model writes is boxed; "none" means not at all."""
    interrupt_switch = property(lambda self: self.life.stop.is_set(), lambda self, on: on and self.interrupt())
    """Whether the run is to stop, as smolagents calls it; setting it to True is `interrupt()`."""

    # -- what a subclass says of itself

    @abstractmethod
    def _act(self, step: ActionStep) -> Iterator[ev.Event]:
        """Run the action that `step.model_output_message` asks for, and fill in what came of it.

        Raises AgentError for what the model can repair. Sets `is_final_answer` and `action_output` when done.
        """

    def _request_options(self) -> dict[str, Any]:
        """What goes along with a request for an action."""
        return {"stop_sequences": ["Observation:"]}

    def _remembered(self, message: ChatMessage, purpose: str = "action") -> str:
        """The reply's text as it is remembered."""
        return message.text

    def _answer_in(self, message: ChatMessage, best: Any) -> Any:
        """The answer in a reply that was asked for one; `best` if it says nothing."""
        return without_reasoning(message.text).strip() or best

    def _prepare(self, anew: bool, variables: Mapping[str, Any]) -> None:
        """Make ready to act, before the first step of a run; `anew`, without what is left of the last one."""

    def _interrupt_action(self) -> None:
        """Interrupt the action that runs now. Called from any thread."""

    # -- what others call

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
        above: Life | None = None,
        call: str | None = None,
        run_id: str | None = None,
        resumed: Replay | None = None,
    ) -> Generator[ev.Event, None, None]:
        """The run of `task` as events, each recorded in the journal before it is yielded.

        `reset`, `images`, `audio`, `videos`, `additional_args` and `max_steps` are as of `run`. `origin` says where the
        run was started (see RunStarted), `above` what the agent holds that called this one, by which `call`, `run_id`
        which id a new run gets; `resumed` is what is recorded of one that goes on. Errors are raised after the last
        event; closing the generator stops the run. Raises as `run`, save that a stop is told by RunFinished alone;
        ConfigError for an empty task before the first event.
        """
        TaskStep.check(task)
        life = self.life
        user = [True]
        try:
            life.in_use.take(user)
            life.recorded_in = above.recorded_in if above and self.journal is None else open_journal(self.journal)
            variables = given_variables(additional_args)
            media = TaskStep.media(images, audio, videos)
            kept = KeptValues(variables, media) if life.recorded_in else KeptValues({})
            started = ev.RunStarted(
                run=run_id or secrets.token_hex(4),
                task=task,
                agent=type(self).__name__,
                name=self.name,
                **self.model.as_recorded(),
                parent=above and above.run_id,
                call=call,
                continues=None if reset else life.run_id,
                isolation=self.isolation,
                max_steps=at_least_one("max_steps", self.max_steps if max_steps is None else max_steps),
                system_prompt=self.system_prompt,
                tools=list(others.functions(self)),
                inputs={name: told(value, in_full=not self.writes_code) for name, value in variables.items()},
                values=kept.values,
                media=kept.media,
                settings=self._recorded_settings(),
                origin=dict(origin or {}),
            )
            started = resumed.begin(started) if resumed else started
            task = self._assignment(task) if above and reset else task
            first = TaskStep.with_inputs(task, started.inputs, self.writes_code, *media.values())
            self.checks = checked(self.checks, live=hasattr(self, "python_executor"))  # a program may have set others
            life.account = Account(usable(self.budget), above and above.account, resumed.seconds if resumed else 0.0)
            anew = reset and bool(life.run_id or resumed or life.stale)  # what was put there before the first run stays
            variables = variables_of_run(self, variables, reset=reset, anew=anew)
            life.begin(started.run, resumed, above)
            run = kept.beside(self.__run(started, first, reset, anew, variables))
            with set_by_a_run(self), life.account.timer(self.interrupt):
                yield from (resumed.go_on(self, run) if resumed else record(run, life.recorded_in, started.run))
        finally:
            user.clear()

    run_events = events  # pyright: ignore[reportAssignmentType] - it says which options there are

    def interrupt(self) -> None:
        """Stop the run: at once while the model is asked, within moments while an action runs. Any thread."""
        self.life.stop.set()
        if (call := self.life.call) is not None:
            call.abandon()
        self._interrupt_action()
        for agent in list(self.life.called):
            agent.interrupt()

    def step(self, memory_step: ActionStep) -> ActionOutput:
        """Take one step, for a loop of one's own: `memory_step` is filled in, and is the caller's to keep.

        Raises AgentError where the model's reply or the action fails.
        """
        self.life.stop.clear()
        self._prepare(False, {})
        list(self.__attempt(memory_step))  # nobody watches these events
        return ActionOutput(memory_step.action_output, memory_step.is_final_answer)

    def provide_final_answer(self, task: str) -> ChatMessage:
        """The best answer the model can give from the work so far. Raises AgentGenerationError."""
        self.life.stop.clear()
        request = self.__request("answer", self.__rendered("final_answer", task=task))
        while True:
            try:
                next(request)
            except StopIteration as ended:
                return ended.value or text_message(MessageRole.ASSISTANT, "")

    # -- the loop

    def __run(
        self, started: ev.RunStarted, first: TaskStep, reset: bool, anew: bool, variables: dict[str, Any]
    ) -> Generator[ev.Event, None, None]:
        run, begun, failure = started.run, time.monotonic(), list[BaseException]()
        self.task, self.step_number, self.life.repetition = first.task, 1, Repetition()
        if reset:
            self.memory.reset()
            self.monitor.reset()
        self.memory.system_prompt.system_prompt = started.system_prompt
        self.memory.steps.append(first)
        yield started
        try:
            try:
                self._prepare(anew, variables)
                state, reason = yield from self.__steps(run, started.max_steps)
            except errors.AgentBudgetError as error:
                state, reason = "budget", error.message
            limit = (errors.AgentBudgetError if state == "budget" else errors.AgentMaxStepsError)(reason or "")
            for event in self.__ending(limit if state in ("max_steps_error", "budget") else None):
                yield event.stamped(run, self.life.begun)
            reason = limit.message or None
        except KeyboardInterrupt as error:
            (state, reason), failure = others.STOPPED, [error]
        except Exception as error:  # noqa: BLE001  boundary: the run; raised after its last event
            state, reason, failure = "error", str(error), [error]
        totals, seconds = counts(self.life.account.own), time.monotonic() - begun
        yield ev.RunFinished(run=run, state=state, error=reason, steps=self.life.begun, seconds=seconds, **totals)
        if failure:
            raise failure.pop()  # kept nowhere: it knows the agent

    def __steps(self, run: str, limit: int) -> Generator[ev.Event, None, tuple[str, str | None]]:
        """All steps; returns the state in which the run ends, and the reason where it is no success."""
        while (number := self.step_number) <= limit and not self.life.stop.is_set():
            self.life.account.check()
            if self.planning_interval and (number - 1) % self.planning_interval == 0:
                for event in self.__plan(remaining=limit - number + 1):
                    yield event.stamped(run, self.life.begun + 1)
            if self.life.stop.is_set():
                break
            self.life.begun += 1
            self.life.account.count(steps=1)
            step = ActionStep(step_number=self.life.begun, timing=Timing(time.time()))
            for event in self.__step(step):
                try:
                    yield event.stamped(run, step.step_number)
                except GeneratorExit:  # the action has not ended yet: those it has called are to stop first
                    self.interrupt()
                    raise
            self.step_number += 1  # a callback may have set it
            if self.life.answered:  # also when a stop came too late to keep it from being given
                return "success", None
            if self.life.successor is not None:
                return (yield from others.hand_over(self, *self.life.successor))
            if self.life.repetition.hopeless:
                return "max_steps_error", errors.IN_CIRCLES
        if self.life.stop.is_set():
            self.life.account.check()  # its time may be up
            return others.STOPPED
        return "max_steps_error", f"Reached the limit of {limit} step{'s' * (limit > 1)} without a final answer."

    def __step(self, step: ActionStep) -> Iterator[ev.Event]:
        yield ev.StepStarted()
        try:
            try:
                yield from self.__attempt(step)
                if step.is_final_answer:
                    yield from self.__accept(step)
            except errors.AgentError as error:
                step.error, step.is_final_answer = error, False
                if isinstance(error, errors.AgentGenerationError | errors.AgentBudgetError):
                    raise
                errors.forget_frames(error)
            finally:
                step.timing.end_time = time.time()
            if (circles := self.life.repetition.look(step)) is not None:
                yield circles
                step.observations = "\n".join(filter(None, [step.observations, circles.reason]))
            yield from call_back(self, step)
        finally:
            if step.model_output is not None or step.error is not None:  # else stopped before the model said anything
                self.memory.steps.append(step)
        kind, said = (type(step.error).__name__, step.error.message) if step.error else (None, None)
        told, seconds = step.observations or "", step.timing.duration or 0.0
        yield ev.StepFinished(observation=told, error_type=kind, error=said, seconds=seconds, counted=self.step_number)

    def __attempt(self, step: ActionStep) -> Iterator[ev.Event]:
        """Ask the model for the next action, and run it."""
        self.life.step, self.life.outputs = step, {}
        message = yield from self.__request("action", **self._request_options())
        step.model_input_messages = self.life.sent
        if message is None:
            return
        step.model_output_message, step.token_usage = message, message.token_usage
        step.model_output = self._remembered(message)
        try:
            yield from self._act(step)
        finally:
            for agent in list(self.life.called):  # nobody waits for them any more
                agent.interrupt()

    def __accept(self, step: ActionStep) -> Iterator[ev.Event]:
        """Take the answer of `step` if the checks let it pass. Raises AgentError with the reason if not."""
        self.life.best = step.action_output
        told = self._told(step.action_output)
        step.action_output = self.answer_type.convert(step.action_output) if self.answer_type else step.action_output
        for seen in looks(self, step.action_output):
            yield seen
            if isinstance(seen, ev.Checked) and not seen.ok:
                raise errors.AgentError(f"The answer was not accepted. {seen.check}: {seen.reason}")
        self.life.answer, self.life.answered = step.action_output, True
        yield told

    def _told(self, answer: Any) -> ev.FinalAnswer:
        """The answer as an event."""
        return ev.FinalAnswer(value=plain(answer), text=str(answer))

    def __ending(self, limit: errors.AgentError | None) -> Iterator[ev.Event]:
        """What comes after the last step: where a limit ended the run, the best answer there is."""
        if limit is not None and not self.life.answered:
            step = ActionStep(self.life.begun + 1, Timing(time.time()), error=limit, action_output=self.life.best)
            try:
                own = self._overridden("provide_final_answer")
                request = self.__request("answer", self.__rendered("final_answer", task=self.task))
                message = own(self.task or "") if own else (yield from request)
                if message is not None:
                    step.model_output_message, step.token_usage = message, message.token_usage
                    said = self._answer_in(message, self.life.best)
                    step.action_output = self.answer_type.convert(said) if self.answer_type else said
            except errors.AgentError as failure:
                if type(failure) is not type(limit):
                    limit.message += f" Asking for a best answer failed as well: {failure.message}"
            step.timing.end_time = time.time()
            yield from call_back(self, step)
            self.memory.steps.append(step)
            if step.action_output is not None:
                self.life.answer, self.life.answered = step.action_output, True
                yield self._told(self.life.answer)
        if self.life.answered or limit is not None:
            given = handle_agent_output_types(self.life.answer)
            own = len(self.step_callbacks) > 1  # else there is only the monitor's
            last, before = FinalAnswerStep(given), plain(given) if own else None
            yield from call_back(self, last)
            if last.output is not given or (own and plain(last.output) != before):
                self.life.answer, self.life.answered = last.output, True
                yield MultiStepAgent._told(self, last.output)  # not as it came, if it is the same object

    def __plan(self, remaining: int) -> Iterator[ev.Event]:
        """Ask the model for a plan, and keep it."""
        first = all(isinstance(each, TaskStep) for each in self.memory.steps)
        names = ("initial_plan",) if first else ("update_plan_pre_messages", "update_plan_post_messages")
        ask = self.__rendered("planning", *names, task=self.task, remaining_steps=remaining)
        timing = Timing(time.time())
        message = yield from self.__request("plan", ask, stop_sequences=["<end_plan>"])
        if message is None or not (plan := without_reasoning(message.text).strip()):
            return
        timing.end_time = time.time()
        step = PlanningStep(self.life.sent, message, plan, timing, message.token_usage, ask)
        yield from call_back(self, step)
        self.memory.steps.append(step)
        yield ev.PlanMade(plan=step.plan)

    def __rendered(self, group: str, *names: str, **variables: Any) -> str:
        """The templates of a group, all or those named, one after the other."""
        templates: dict[str, str] = self.prompt_templates[group]
        variables = {**self._prompt_variables(), **variables}
        texts = [populate_template(templates[name], variables).strip() for name in names or templates]
        return "\n\n".join(filter(None, texts))

    def __request(self, purpose: str, last: str = "", **options: Any) -> Generator[ev.Event, None, ChatMessage | None]:
        """The model's reply to the conversation, and to `last` after it; None if the run was stopped meanwhile. One
        too long is shortened, or goes to another model. Raises AgentBudgetError where that is used up,
        AgentGenerationError for none."""
        while True:
            self.life.account.check(TO_ASK)
            asked = time.monotonic()
            if self.model.slow_start:
                yield ev.Notice(text=self.model.slow_start)
            self.life.sent = self.write_memory_to_messages() + ([text_message(MessageRole.USER, last)] if last else [])
            call = self.life.call = ModelCall(self.model, self.life.sent, stream=self.stream_outputs, **options)
            try:
                for piece in () if self.life.stop.is_set() else call:  # it may come before there is a call to abandon
                    if isinstance(piece, ev.Event):
                        yield piece
                    elif piece.content:
                        yield ev.ModelDelta(text=piece.content)
                break
            except Exception as error:  # boundary: whatever a model raises ends the run with its reason
                if call.is_ended_by(error):
                    raise
                if not (eased := is_too_long(error) and (compact(self.memory.steps) or self.model.fall_back(error))):
                    raise errors.AgentGenerationError(f"{errors.NO_REPLY}{error}") from error
                yield eased
            finally:
                call.abandon()
                self.life.call = None
                self.life.account.charge(call.message.token_usage if call.message else call.refused)
        message = call.message
        if message is None or self.life.stop.is_set():
            return None
        seconds, calls = time.monotonic() - asked, message.dict()["tool_calls"] or []
        facts: dict[str, Any] = {"seconds": seconds, "cut_off": message.cut_off, **counts(message.token_usage)}
        model, content = str(self.model.model_id or ""), self._remembered(message, purpose)
        yield ev.ModelReplied(content=content, model=model, purpose=purpose, tool_calls=calls, **facts)
        return message
