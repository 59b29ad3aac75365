"""The seam for tools: `Tool`, and the `@tool` decorator that makes one of a function.

Agents describe tools to the model (`to_code_prompt`); the bridge checks and makes the calls that come from the child.
"""

from __future__ import annotations

import functools
import inspect
import json
import textwrap
import threading
from abc import ABCMeta
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, cast, overload

from smol_kernel.errors import ToolError
from smol_kernel.memory.known_secrets import keep_secrets_of, redacted
from smol_kernel.memory.rich_values import handle_agent_input_types, handle_agent_output_types, handle_later
from smol_kernel.tools.checking import bind_arguments as bind_arguments
from smol_kernel.tools.checking import brief, is_nullable, kinds_of, named_only, positions, signature_of, unpack
from smol_kernel.tools.checking import validate_tool_arguments as validate_tool_arguments
from smol_kernel.tools.definition import RESERVED_NAMES as RESERVED_NAMES
from smol_kernel.tools.definition import check_definition, check_name
from smol_kernel.tools.made_with import arguments
from smol_kernel.tools.not_built import NoTransfers
from smol_kernel.tools.records import build, holds_record, to_plain
from smol_kernel.tools.reloading import renew_on_reload
from smol_kernel.tools.schema import PYTHON_NAMES, FunctionSchema, read_function


class _SetupLock:
    """Lets one thread at a time set a tool up; a tool that was copied, or pickled, has its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __reduce__(self) -> tuple[type[_SetupLock], tuple[()]]:
        return _SetupLock, ()


class _ToolType(ABCMeta):
    """Checks a tool once it is built, whatever its subclass's `__init__` does or leaves out."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        built = super().__call__(*args, **kwargs)
        built._setup_lock = _SetupLock()
        if (args or kwargs) and not hasattr(built, "__wrapped__"):
            built._made_with = arguments(cls, args, kwargs)
        built.validate_arguments()
        keep_secrets_of(built, built._input_defaults())
        return built


class Tool(NoTransfers, metaclass=_ToolType):
    """A function of the host that an action may call by name.

    Subclasses set the class attributes and define `forward`, whose parameters are the keys of `inputs`:

        class Weather(Tool):
            name = "weather"
            description = "Tells the weather of a city."
            inputs = {"city": {"type": "string", "description": "Name of the city."}}
            output_type = "string"

            def forward(self, city: str) -> str: ...

    A tool runs on the thread that called `run()`, one at a time; with `threaded = True`, or an async `forward`, it
    may run beside others in a pool. For a plain function `@tool` is shorter. A wrong definition raises ToolError
    when the tool is built.
    """

    name: str
    description: str
    inputs: dict[str, dict[str, Any]]
    """Parameter → `{"type": …, "description": …}`, where a call may leave it out or pass None `"nullable": True`, and
    where they apply other keys of JSON schema: `enum`, `items`, `properties`, …"""
    output_type: str
    output_schema: dict[str, Any] | None = None
    """JSON schema of the result; the model reads it and can use the result's fields at once."""
    threaded: bool = False
    """True: calls may run side by side in a pool."""
    repeatable: bool = False
    """True: a call changes nothing, so that one which a cut-off run was waiting for may be made again."""
    skip_forward_signature_validation: bool = False
    """True: the parameters of `forward` are not compared with `inputs`."""

    is_initialized: bool = False
    """True once `setup` has run."""
    _setup_lock: _SetupLock
    _owns_reserved_name: ClassVar[bool] = False
    _made_with: Mapping[str, Any] = MappingProxyType({})
    """What its constructor was given, as `made_with` keeps it."""
    _code: str | None = None
    """The source the tool was made from by `from_code`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a subclass's own may call it with anything, or not at all."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work. Defined by each tool; may be `async def`."""
        raise NotImplementedError(f"{type(self).__name__} has to define forward()")

    def setup(self) -> None:
        """Expensive preparation. Called once, before the first call."""
        self.is_initialized = True

    def __call__(self, *args: Any, sanitize_inputs_outputs: bool = False, **kwargs: Any) -> Any:
        """Call the tool as one calls a function; an async tool gives its awaitable.

        One dict whose keys are inputs stands for keyword arguments. With `sanitize_inputs_outputs` the tool gets the
        plain value of each AgentType, and its result becomes one (`handle_agent_output_types`).
        """
        if not self.is_initialized:
            with self._setup_lock.lock:
                if not self.is_initialized:
                    self.setup()
                    self.is_initialized = True
        positional, named = unpack(self, args, kwargs)
        if sanitize_inputs_outputs:
            positional, named = handle_agent_input_types(*positional, **named)
        positional, named = self._arguments_of_forward(positional, named)
        output = self.forward(*positional, **named)
        if not sanitize_inputs_outputs:
            return output
        handle = handle_later if inspect.isawaitable(output) else handle_agent_output_types
        return handle(output, self.output_type)

    def _arguments_of_forward(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments as `forward` wants them."""
        return args, kwargs

    @property
    def is_async(self) -> bool:
        """True if a call gives an awaitable."""
        return inspect.iscoroutinefunction(self.forward)

    @property
    def signature(self) -> str:
        """The call as a line of Python: `search(query: str, limit: int = 5) -> str`."""
        defaults, order = {name: to_plain(value) for name, value in self._input_defaults().items()}, positions(self)
        parameters = [
            f"{name}: {self._type_text(name)}" + (f" = {brief(redacted(defaults[name]))}" if name in defaults else "")
            for name in order
        ]
        alone = named_only(self)
        if not alone <= defaults.keys() and not defaults.keys() <= alone:  # one without a default after one with it
            parameters.insert(next(place for place, name in enumerate(order) if name in alone), "*")
        return f"{self.name}({', '.join(parameters)}) -> {self._type_text('return')}"

    @property
    def optional_inputs(self) -> set[str]:
        """Names of the inputs a call may leave out: those with a default, and nullable ones of `forward(**kwargs)`."""
        parameters = signature_of(self).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return {name for name, spec in self.inputs.items() if is_nullable(spec)} | set(self._input_defaults())
        return set(self._input_defaults())

    def to_code_prompt(self) -> str:
        """The tool as a model that writes code reads it: the head of a function with its docstring."""
        doc = self.description.strip()
        if self.inputs:
            lines = [f"{name}: {_described(spec)}" for name, spec in self.inputs.items()]
            doc += "\n\nArgs:\n" + textwrap.indent("\n".join(lines), "    ")
        returns = self._returns()
        if self.output_schema:
            shape = f"Use its parts at once; it has this JSON schema: {_json(self.output_schema)}"
            returns = f"{returns}\n{shape}".strip()
        if returns:
            doc += "\n\nReturns:\n" + textwrap.indent(returns, "    ")
        return f'def {self.signature}:\n    """{textwrap.indent(doc, "    ").strip()}\n    """'

    def to_tool_calling_prompt(self) -> str:
        """The tool as a model that makes structured calls reads it: name, description, inputs and output."""
        lines = [f"{self.name}: {self.description.strip()}", f"    Inputs: {_json(redacted(self.inputs))}"]
        lines.append(f"    Output: {_json(self.output_schema) if self.output_schema else self.output_type}")
        return "\n".join(lines)

    def validate_arguments(self) -> None:
        """Check the definition. Raises ToolError naming what is missing or wrong. Called once a tool is built."""
        check_definition(self, self._owns_reserved_name)
        if getattr(self.forward, "__func__", None) is Tool.forward and not self.skip_forward_signature_validation:
            named = ", ".join(["self", *self.inputs])
            raise ToolError(
                f"tool {self.name!r} has to say what it does. Add to its class: `def forward({named}): ...`"
            )

    def to_dict(self) -> dict[str, Any]:
        """The tool as source: `name`, `code` (a module that defines it), `requirements` (packages it imports).

        What its constructor was given is written where it is plain; keys, objects and what else an instance holds are
        not. Raises ToolError naming what keeps it from being written down: arguments without a default that are not
        plain, names defined outside.
        """
        from smol_kernel.tools.source import to_dict

        return to_dict(self)

    @classmethod
    def from_dict(cls, tool_dict: dict[str, Any], **kwargs: Any) -> Tool:
        """The tool that `to_dict` wrote; `kwargs` go to its constructor. This runs its code: see `from_code`. Raises
        ToolError as that does, and for a dict without code."""
        if not isinstance(tool_dict.get("code"), str):
            raise ToolError(
                f"a tool is made from a dict with 'code', as to_dict() gives it, not from {brief(tool_dict)}"
            )
        return cls.from_code(tool_dict["code"], **kwargs)

    def save(self, output_dir: str | Path, tool_file_name: str = "tool", make_gradio_app: bool = True) -> None:
        """Write the tool into a folder: `tool.py`, `requirements.txt`, and `app.py`, a page to try it on with Gradio.

        `tool_file_name` is the module's name, without ending; `make_gradio_app=False` leaves out the page. Warns of
        arguments of the constructor that are not written. Raises ToolError as `to_dict` does, and for a name that
        cannot be imported.
        """
        from smol_kernel.tools.source import save

        save(self, Path(output_dir), tool_file_name, make_gradio_app)

    @classmethod
    def from_code(cls, tool_code: str, **kwargs: Any) -> Tool:
        """The tool a module's source defines, by a class derived from Tool or by `@tool`.

        The source is **run in this process**, with all the rights it has: pass only code you trust, never what a
        model or a stranger wrote. `kwargs` go to the constructor. Raises ToolError if there is not one tool in it.
        """
        from smol_kernel.tools.source import from_code

        return from_code(Tool, tool_code, kwargs)

    def _input_defaults(self) -> dict[str, Any]:
        parameters = signature_of(self).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty}

    def _type_text(self, name: str) -> str:
        if name == "return":
            return PYTHON_NAMES.get(self.output_type, "Any")
        kinds = kinds_of(self.inputs[name])
        if is_nullable(self.inputs[name]) and "any" not in kinds:
            kinds.append("null")
        return " | ".join(dict.fromkeys(PYTHON_NAMES.get(kind, "Any") for kind in kinds))

    def _returns(self) -> str:
        return ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=repr)


def _described(spec: Mapping[str, Any]) -> str:
    """The description of an input, with its shape where a type hint cannot tell it."""
    shape = {key: part for key, part in spec.items() if key not in ("description", "nullable", "default")}
    text = _json(shape)
    if '"properties"' not in text and not ('"prefixItems"' in text and '"description"' in text):
        return str(spec["description"])
    return f"{spec['description']} JSON schema: {text}"


class FunctionTool(Tool):
    """What `@tool` makes of a function: a tool that can still be called as the function it was.

    A dict for a parameter that is a dataclass or a pydantic model becomes one, a list for a NamedTuple one too, and a
    value for an Enum its member. None for a parameter that has a default and no None in its type means that it is left
    out: models write null for that.
    """

    __wrapped__: Callable[..., Any]
    __name__: str

    def __init__(self, function: Callable[..., Any], schema: FunctionSchema, threaded: bool = False) -> None:
        functools.update_wrapper(self, function)
        self.forward = function
        self.name = schema.name
        self.description = schema.description
        self.inputs = schema.inputs
        self.output_type = schema.output_type
        self.output_schema = schema.output_schema
        self.threaded = threaded
        self._schema = schema
        self._records = {name: hint for name, hint in schema.hints.items() if holds_record(hint)}
        renew_on_reload(FunctionTool)

    def __repr__(self) -> str:
        return f"<tool {self.signature}>"

    def _arguments_of_forward(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        names = list(self._schema.hints)
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        left_out = {name for name in self._schema.left_out if name in given and given[name] is None}
        if not (left_out or self._records) or len(given) < len(args) + len(kwargs):  # what is wrong, Python will say
            return args, kwargs
        try:
            kept = {name: value for name, value in given.items() if name not in left_out}
            built = {name: build(self._records[name], kept[name], name) for name in self._records if name in kept}
        except ToolError as error:
            raise type(error)(f"{self.name}() cannot take {error}. Its signature: {self.signature}") from error
        return (), {**kept, **built}

    def _type_text(self, name: str) -> str:
        return self._schema.texts.get(name) or super()._type_text(name)

    def _returns(self) -> str:
        return self._schema.returns


@overload
def tool(tool_function: Callable[..., Any], /) -> FunctionTool: ...
@overload
def tool(*, threaded: bool = False) -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(
    tool_function: Callable[..., Any] | None = None, /, *, threaded: bool = False
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """Make a tool of a function, sync or async.

    The function needs type hints (its return type too) and a docstring with `Args:`:

        @tool
        def weather(city: str) -> str:
            \"\"\"Tells the weather of a city.

            Args:
                city: Name of the city.
            \"\"\"

    `@tool(threaded=True)` lets calls run side by side in a pool; otherwise they run on the thread that called `run()`.
    An `async def` runs on an event loop of this library's own: open what is bound to a loop, such as a pool of
    connections, in the tool. Of an object's method: `tool(obj.method)`. Raises ToolError naming what is missing and the
    line to add.
    """
    if tool_function is None:
        return functools.partial(_function_tool, threaded=threaded)
    return _function_tool(tool_function, threaded=threaded)


def _function_tool(function: Callable[..., Any], threaded: bool) -> FunctionTool:
    if isinstance(function, FunctionTool):
        function = function.__wrapped__
    if isinstance(function, staticmethod):
        function = cast("staticmethod[..., Any]", function).__func__
    if not inspect.isroutine(function):
        raise ToolError(f"@tool takes a function, not {brief(function)}. For a class, derive from Tool")
    _check_no_method(function)
    check_name(function.__name__)
    return FunctionTool(function, read_function(function), threaded=threaded)


def _check_no_method(function: Callable[..., Any]) -> None:
    """A function in a class body still lacks its object."""
    name = getattr(function, "__name__", "it")
    if isinstance(function, classmethod):
        raise ToolError(f"@tool cannot stand above @classmethod. Make the tool from the class: tool(TheClass.{name})")
    within = getattr(function, "__qualname__", name).rpartition(".")[0].rpartition(".")[2]
    first = next(iter(getattr(getattr(function, "__code__", None), "co_varnames", ())), "")
    if first == "self" and within not in ("", "<locals>") and not inspect.ismethod(function):
        raise ToolError(
            f"@tool cannot stand above the method {within}.{name}(), which needs an object. "
            f"Make the tool from the object: tool(obj.{name})"
        )
