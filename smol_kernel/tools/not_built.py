"""What smolagents has and this library has not, told where a program uses it."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.memory.life import Life

NOT_CALLED = {
    "_run_stream": "events() and run(stream=True) give what happens, and step_callbacks each step",
    "_step_stream": "define _act(), or watch steps by step_callbacks, the calls of a ToolCallingAgent by its "
    "execute_tool_call(), and code by a PythonExecutor of your own",
    "_finalize_step": "step_callbacks may change a step",
    "_generate_planning_step": "prompt_templates['planning'] says how a plan is asked for",
    "_handle_max_steps_reached": "define provide_final_answer(), which gives the answer as a ChatMessage; the model is "
    "not asked then",
    "_validate_final_answer": "use final_answer_checks or checks",
    "process_tool_calls": "put what is to happen around each call into execute_tool_call",
    "_substitute_state_variables": "execute_tool_call may change the arguments",
    "_setup_tools": "give tools= to the constructor, or change agent.tools",
    "_setup_managed_agents": "give managed_agents= to the constructor",
    "_setup_step_callbacks": "give step_callbacks= to the constructor, or register them in agent.step_callbacks",
    "_validate_tools_and_managed_agents": "tools and agents are checked by the constructor",
    "_validate_name": "a name has to be one in Python",
}
"""Methods of smolagents' agents that nothing of ours calls, and what to do instead."""
_TO_DEFINE = ("_act", "_abc_impl")
_OURS: dict[int, Any] = {}
"""The methods that our own classes define, by identity: a wrapper can pretend to be what it wraps."""


class NotBuilt:
    """A method of smolagents that is not here: to look it up is an AttributeError, which tells `what` to do instead.

    It stands in a base of a public class: `%autoreload 3` looks up all that a class has itself.
    """

    def __init__(self, what: str) -> None:
        self._what = what

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        raise AttributeError(f"{owner.__name__}: {self._what}")


class NoTransfers:
    """Ways by which smolagents' tools come and go that are not here."""

    from_hub = push_to_hub = NotBuilt("from_hub() and push_to_hub() are not built: save() writes a file to upload")
    from_space = from_gradio = NotBuilt("from_space() and from_gradio() are not built: call gradio_client in a @tool")
    from_langchain = NotBuilt("from_langchain() is not built: call the tool's invoke() in a function with @tool")


class NoCollections:
    """The one by which its collections of tools come."""

    from_hub = NotBuilt("from_hub() is not built: save the tools as files and load them with Tool.from_code()")


class NameOfClass:
    """The name of an agent's class, unless the program gives the agent another one."""

    def __get__(self, instance: Any, owner: type[Any]) -> str:
        return owner.__name__


class OwnLoop:
    """A class whose loop is its own: a subclass that defines what only smolagents' own agents call is refused, and one
    that has another use for a private name of the loop.

    Raises ConfigError where that class is defined.
    """

    agent_name: Any = NameOfClass()
    """Its name, as smolagents calls it."""

    _reserved: frozenset[str] = frozenset()
    """Private names of the loop, and others that no program has a use for."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        ours = __name__.partition(".")[0]
        theirs = [base for base in cls.__mro__ if base.__module__.partition(".")[0] != ours]
        if cls not in theirs:
            _OURS.update({id(value): value for value in vars(cls).values() if callable(value)})
        defined = {name for base in theirs for name in vars(base)}
        for name, instead in NOT_CALLED.items():
            if name in defined:
                raise ConfigError(f"{cls.__name__} defines {name}(), which nothing here would call: {instead}")
        methods = [vars(base).items() for base in cls.__mro__ if base not in theirs]
        own = {name for name, value in itertools.chain(*methods) if name[:1] == "_" and callable(value)}
        private = {name for name in own if name[:2] != "__"} - {*_TO_DEFINE}
        cls._reserved = frozenset(private | {"life", "run_events"})
        for name in sorted(cls._reserved & defined):
            raise ConfigError(f"{cls.__name__} defines {name}, which our own loop uses: name yours otherwise")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._reserved and not isinstance(value, Life):
            raise ConfigError(f"{type(self).__name__} sets {name}, which our own loop uses: name yours otherwise")
        if name == "system_prompt" and getattr(inspect.getattr_static(type(self), name, None), "fset", self) is None:
            instead = "change agent.prompt_templates['system_prompt'], of which it is made"
            raise AttributeError(f"{type(self).__name__}: system_prompt cannot be set; {instead}")
        super().__setattr__(name, value)

    def _overridden(self, name: str) -> Any:
        """The method of that name if a program put it there, in a class or in this very agent; else None."""
        found = vars(self).get(name, inspect.getattr_static(type(self), name))
        return None if id(found) in _OURS else getattr(self, name)
