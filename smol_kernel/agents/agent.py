"""An agent at rest: its settings, what the model is told of them, and what is left of its last run."""

from __future__ import annotations

import copy
import keyword
from abc import ABC
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from smol_kernel.agents import managed_agent as others
from smol_kernel.agents.checks import checked
from smol_kernel.agents.prompts import PromptTemplates, templates_for
from smol_kernel.errors import ConfigError
from smol_kernel.executors.state import give_own_variables
from smol_kernel.journal import Journal
from smol_kernel.memory.budget import Budget, at_least_one, usable
from smol_kernel.memory.life import Life, Shown
from smol_kernel.memory.messages import ChatMessage
from smol_kernel.memory.monitoring import AgentLogger, CallbackRegistry, LogLevel, Monitor
from smol_kernel.memory.plain_settings import plain_settings
from smol_kernel.memory.steps import ActionStep, AgentMemory, MemoryStep
from smol_kernel.models.fallback import as_model, give_model, model_of
from smol_kernel.tools.answer_type import AnswerType
from smol_kernel.tools.base import Tool
from smol_kernel.tools.collection import agents_by_name
from smol_kernel.tools.not_built import NotBuilt, OwnLoop
from smol_kernel.tools.rendering import populate_template


class Agent(OwnLoop, ABC):
    """The settings of an agent, and the state of its last run. MultiStepAgent says what the parameters are."""

    templates: ClassVar[str]
    """Folder of the system prompt used where the user gave none."""
    recorded_settings: ClassVar[tuple[str, ...]] = (
        "instructions", "planning_interval", "name", "description", "provide_run_summary", "stream_outputs", "checks",
        "budget", "given_templates",
    )  # fmt: skip
    """Parameters of which a recording keeps what is plain data."""
    writes_code: ClassVar[bool] = False
    """True: it acts by code in a child."""
    inputs, output_type = others.TASK_INPUTS, "string"
    """Of the agent as a tool of another one."""
    model = property(model_of, give_model)
    """The model that is asked; what is set is made one, as by the constructor."""
    run_id, answer = Shown(), Shown()
    """Of the last run: its id in the journal, and the answer that it gave."""
    from_hub = push_to_hub = NotBuilt("from_hub() and push_to_hub() are not built: save() writes files to upload")

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
        handoffs: Sequence[Any] = (),
        checks: Sequence[str | Callable[..., Any]] = (),
        output_type: Any = None,
        budget: Budget | None = None,
        journal: Journal | str | Path | bool | None = None,
    ) -> None:
        if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
            raise ConfigError(f"the name {name!r} cannot be called in Python: use letters, digits and _, no keyword")
        self.name, self.description, self.instructions = name, description, instructions
        self.model = as_model(model)  # a subclass may have an attribute of that name of its own
        self.tools = others.tools_by_name(tools, name, add_base_tools, interpreter=not self.writes_code)
        self.managed_agents = agents_by_name(managed_agents or (), self.tools)
        self.handoffs = agents_by_name(handoffs, {**self.tools, **self.managed_agents}, "transfer_to_")
        self.prompt_templates, self.given_templates = templates_for(self.templates, prompt_templates), prompt_templates
        self.max_steps = at_least_one("max_steps", max_steps)
        self.planning_interval = planning_interval and at_least_one("planning_interval", planning_interval)
        self.provide_run_summary, self.return_full_result = provide_run_summary, return_full_result
        self.final_answer_checks = checked(final_answer_checks or (), live=False)
        self.checks = checked(checks, live=self.writes_code)
        self.answer_type = None if output_type is None else AnswerType(output_type)
        self.stream_outputs, self.budget, self.journal = stream_outputs, usable(budget), journal
        self.logger = logger or AgentLogger(level=verbosity_level)
        self._begin_life()
        self.step_callbacks = CallbackRegistry()
        given = step_callbacks or {}
        given = given if isinstance(given, Mapping) else {ActionStep: given}
        for kind, callbacks in [(ActionStep, self.monitor.update_metrics), *given.items()]:
            for callback in [callbacks] if callable(callbacks) or not isinstance(callbacks, Iterable) else callbacks:
                self.step_callbacks.register(kind, callback)

    def _begin_life(self) -> None:
        """Set what belongs to this very agent, and not to a copy of it."""
        self.life = Life()
        self.memory = AgentMemory(self.initialize_system_prompt())
        self.monitor = Monitor(self.model, self.logger)
        self.task: str | None = None
        self.step_number = 0

    def _recorded_settings(self) -> dict[str, Any]:
        """What the agent was made with, as far as it is plain data, by the names of its parameters."""
        return plain_settings({name: getattr(self, name) for name in self.recorded_settings})

    def another(self) -> Any:
        """An agent like this one with a memory, agents to call, and where it acts in a child a child, of its own."""
        twin = copy.copy(self)
        twin.managed_agents = {name: other.another() for name, other in self.managed_agents.items()}
        twin._begin_life()
        twin.step_callbacks = self.step_callbacks.another((self, twin), (self.monitor, twin.monitor))
        give_own_variables(self, twin)
        return twin

    def cleanup(self) -> None:
        """End what the agents it may call hold, save of one at work for somebody else. A later run starts afresh."""
        for agent in self.life.without_others(self.managed_agents.values()):
            agent.cleanup()

    @property
    def system_prompt(self) -> str:
        """The system prompt, as the model gets it."""
        return self.initialize_system_prompt()

    def initialize_system_prompt(self) -> str:
        """The system prompt, rendered from the template and the agent's settings."""
        return populate_template(self.prompt_templates["system_prompt"], self._prompt_variables()).strip()

    def _prompt_variables(self) -> dict[str, Any]:
        return {
            "tools": self.tools,
            "managed_agents": others.managed(self),
            "handoffs": others.successors(self),
            "custom_instructions": self.instructions,
            "answer_type": self.answer_type.words() if self.answer_type else None,
        }

    def write_memory_to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """All that the model reads: the system prompt and every step so far. `summary_mode` as in AgentMemory."""
        return self.memory.messages(summary_mode)

    def _assignment(self, task: str) -> str:
        """The task as this agent reads it when another one gives it."""
        return populate_template(self.prompt_templates["managed_agent"]["task"], {"name": self.name, "task": task})

    def report_on(self, answer: Any) -> str:
        """The answer as one who called this agent reads it."""
        variables = {"name": self.name, "task": self.task, "final_answer": answer}
        text = populate_template(self.prompt_templates["managed_agent"]["report"], variables)
        if not self.provide_run_summary:
            return text
        told = "\n\n".join(message.text for message in self.write_memory_to_messages(summary_mode=True))
        return f"{text}\n\nWhat it did:\n{told}"
