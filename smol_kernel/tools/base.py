"""The seam for tools: `Tool`, the `@tool` decorator, and the check of a call's arguments.

Agents describe tools to the model (`to_code_prompt`); the bridge checks and makes the calls that come from the child.
"""

from __future__ import annotations

import builtins
import difflib
import functools
import inspect
import keyword
import numbers
import reprlib
import textwrap
import threading
from abc import ABCMeta
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast, overload

from smol_kernel.errors import ToolError
from smol_kernel.tools.schema import AUTHORIZED_TYPES, PYTHON_NAMES, FunctionSchema, read_function

RESERVED_NAMES = {
    "final_answer": "it ends the run",
    "input": "it asks the person at the keyboard",
    "print": "it is how an action shows the model something",
    "get_ipython": "it is the shell the action runs in",
}
"""Names an action needs for something else, and for what."""


class _ToolType(ABCMeta):
    """Checks a tool once it is built, whatever its subclass's `__init__` does or leaves out."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        built = super().__call__(*args, **kwargs)
        built._setup_lock = threading.Lock()
        built.validate()
        return built


class Tool(metaclass=_ToolType):
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
    """Parameter → `{"type": …, "description": …}`, and where they apply `nullable`, `enum`, `items`."""
    output_type: str
    output_schema: dict[str, Any] | None = None
    threaded: bool = False
    """True: calls may run side by side in a pool."""

    is_initialized: bool = False
    _setup_lock: threading.Lock
    _owns_reserved_name: ClassVar[bool] = False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work. Defined by each tool; may be `async def`."""
        raise NotImplementedError(f"{type(self).__name__} has to define forward()")

    def setup(self) -> None:
        """Expensive preparation. Called once, before the first call."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the tool as one calls a function; an async tool gives its awaitable."""
        if not self.is_initialized:
            with self._setup_lock:
                if not self.is_initialized:
                    self.setup()
                    self.is_initialized = True
        return self.forward(*args, **kwargs)

    @property
    def is_async(self) -> bool:
        """True if a call gives an awaitable."""
        return inspect.iscoroutinefunction(self.forward)

    @property
    def signature(self) -> str:
        """The call as a line of Python: `search(query: str, limit: int = 5) -> str`."""
        defaults = self._defaults()
        parameters = [
            f"{name}: {self._type_text(name)}" + (f" = {_short(defaults[name])}" if name in defaults else "")
            for name in self.inputs
        ]
        return f"{self.name}({', '.join(parameters)}) -> {self._type_text('return')}"

    @property
    def optional_inputs(self) -> set[str]:
        """Names of the inputs a call may leave out: those with a default, and nullable ones of `forward(**kwargs)`."""
        parameters = inspect.signature(self.forward).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return {name for name, spec in self.inputs.items() if spec.get("nullable")}
        return set(self._defaults())

    def to_code_prompt(self) -> str:
        """The tool as a model reads it: the head of a function with its docstring."""
        doc = self.description.strip()
        if self.inputs:
            lines = [f"{name}: {spec['description']}" for name, spec in self.inputs.items()]
            doc += "\n\nArgs:\n" + textwrap.indent("\n".join(lines), "    ")
        returns = self._returns()
        if returns:
            doc += "\n\nReturns:\n" + textwrap.indent(returns, "    ")
        return f'def {self.signature}:\n    """{textwrap.indent(doc, "    ").strip()}\n    """'

    def validate(self) -> None:
        """Check the definition. Raises ToolError naming what is missing or wrong."""
        who = f"tool class {type(self).__name__}"
        for attribute, kind in {"name": str, "description": str, "inputs": dict, "output_type": str}.items():
            value = getattr(self, attribute, None)
            if not isinstance(value, kind) or (kind is str and not value):
                raise ToolError(
                    f"{who}: attribute {attribute!r} has to be a {kind.__name__}, not {value!r}. "
                    f"Set it in the class: `{attribute} = {_EXAMPLES[attribute]}`"
                )
        _check_name(self.name, self._owns_reserved_name)
        for name, spec in self.inputs.items():
            _check_input(self.name, name, spec)
        if self.output_type not in AUTHORIZED_TYPES:
            raise ToolError(f"tool {self.name!r}: output_type {self.output_type!r} is not one of {_TYPES_TEXT}")
        self._check_forward()

    def _check_forward(self) -> None:
        parameters = inspect.signature(self.forward).parameters
        if any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters.values()):
            return
        if set(parameters) != set(self.inputs):
            raise ToolError(
                f"tool {self.name!r}: forward() takes {sorted(parameters)}, but inputs describe "
                f"{sorted(self.inputs)}. Make them the same"
            )

    def _defaults(self) -> dict[str, Any]:
        parameters = inspect.signature(self.forward).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty}

    def _type_text(self, name: str) -> str:
        if name == "return":
            return PYTHON_NAMES[self.output_type]
        spec = self.inputs[name]
        kinds = [spec["type"]] if isinstance(spec["type"], str) else list(spec["type"])
        if spec.get("nullable") and "any" not in kinds:
            kinds.append("null")
        return " | ".join(PYTHON_NAMES[kind] for kind in kinds)

    def _returns(self) -> str:
        return ""


_EXAMPLES = {
    "name": '"search"',
    "description": '"Searches the web."',
    "inputs": '{"query": {"type": "string", "description": "What to look for."}}',
    "output_type": '"string"',
}
_TYPES_TEXT = ", ".join(AUTHORIZED_TYPES)


class FunctionTool(Tool):
    """What `@tool` makes of a function: a tool that can still be called as the function it was."""

    __wrapped__: Callable[..., Any]
    __name__: str

    def __init__(self, function: Callable[..., Any], schema: FunctionSchema, threaded: bool = False) -> None:
        functools.update_wrapper(self, function)
        self.forward = function
        self.name = schema.name
        self.description = schema.description
        self.inputs = schema.inputs
        self.output_type = schema.output_type
        self.threaded = threaded
        self._schema = schema

    def __repr__(self) -> str:
        return f"<tool {self.signature}>"

    def _type_text(self, name: str) -> str:
        return self._schema.hints[name]

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

    `@tool(threaded=True)` lets calls run side by side in a pool; otherwise they run on the thread that called
    `run()`. Raises ToolError naming what is missing and the line to add.
    """
    if tool_function is None:
        return functools.partial(_function_tool, threaded=threaded)
    return _function_tool(tool_function, threaded=threaded)


def _function_tool(function: Callable[..., Any], threaded: bool) -> FunctionTool:
    if isinstance(function, FunctionTool):
        function = function.__wrapped__
    if not inspect.isroutine(function):
        raise ToolError(f"@tool takes a function, not {_short(function)}. For a class, derive from Tool")
    _check_name(function.__name__)
    return FunctionTool(function, read_function(function), threaded=threaded)


def _check_name(name: str, owns_reserved_name: bool = False) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ToolError(f"{name!r} cannot be the name of a tool: an action calls it as a Python function. Rename it")
    if name in RESERVED_NAMES and not owns_reserved_name:
        raise ToolError(f"{name!r} cannot be the name of a tool: {RESERVED_NAMES[name]}. Rename it")
    if hasattr(builtins, name):
        raise ToolError(f"{name!r} cannot be the name of a tool: it is a builtin that other code needs. Rename it")


def _check_input(tool_name: str, name: str, spec: Any) -> None:
    where = f"tool {tool_name!r}: input {name!r}"
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ToolError(f"{where} cannot be written as a parameter in Python. Rename it")
    if not isinstance(spec, dict) or not {"type", "description"} <= spec.keys():
        raise ToolError(f'{where} needs a type and a description: {{"type": "string", "description": "…"}}')
    kinds = cast("str | list[str]", spec["type"])
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind not in AUTHORIZED_TYPES:
            raise ToolError(f"{where} has the type {kind!r}, which is not one of {_TYPES_TEXT}")


def bind_arguments(tool: Tool, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, positional ones in the order of `tool.inputs`. Called by the bridge.

    Raises ToolError for too many of them or one given twice. Values are not checked here.
    """
    names = list(tool.inputs)
    if len(args) > len(names):
        raise ToolError(_teach(tool, f"takes {len(names)} arguments, but {len(args)} were given"))
    arguments = dict(zip(names, args, strict=False))
    twice = [name for name in kwargs if name in arguments]
    if twice:
        raise ToolError(_teach(tool, f"got {twice[0]!r} twice"))
    return {**arguments, **kwargs}


def validate_tool_arguments(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Check the arguments of a call against the tool's schema.

    Raises ToolError for an unknown name, a missing one, or a value of the wrong type. The message is for the model:
    it names the value and the signature. An int passes for a number; a bool is no int.
    """
    for name in arguments:
        if name not in tool.inputs:
            close = difflib.get_close_matches(name, tool.inputs, n=1)
            guess = f" (did you mean {close[0]!r}?)" if close else ""
            raise ToolError(_teach(tool, f"has no argument {name!r}{guess}"))
    optional = tool.optional_inputs
    for name, spec in tool.inputs.items():
        if name in arguments:
            problem = _problem(spec, arguments[name], name)
            if problem:
                raise ToolError(_teach(tool, problem))
        elif name not in optional:
            raise ToolError(_teach(tool, f"needs the argument {name!r}"))


def _teach(tool: Tool, problem: str) -> str:
    return f"{tool.name}() {problem}. Its signature: {tool.signature}"


def _problem(spec: Mapping[str, Any], value: Any, path: str) -> str | None:
    """What is wrong with a value; None if nothing is."""
    if type(value).__name__ == "RemoteValue":  # by name: the class lives with the executors, above
        return f"cannot take {path!r}: {_short(value)} stayed in the child; pass plain data instead"
    kinds: list[str] = [spec["type"]] if isinstance(spec["type"], str) else list(spec["type"])
    if value is None and spec.get("nullable"):
        return None
    if not any(_FITS[kind](value) for kind in kinds):
        wanted = " or ".join(_WORDS[kind] for kind in kinds)
        return f"needs {wanted} for {path!r}, not the {type(value).__name__} {_short(value)}"
    if spec.get("enum") and value not in spec["enum"]:
        return f"needs one of {', '.join(map(repr, spec['enum']))} for {path!r}, not {_short(value)}"
    if "items" in spec and isinstance(value, (list, tuple)):
        problems = (_problem(spec["items"], item, f"{path}[{index}]") for index, item in enumerate(value))
        return next(filter(None, problems), None)
    return None


def _is_object(value: Any) -> bool:
    """A dict, or anything that is no plain scalar or list: tables, images, dates."""
    return value is not None and not isinstance(value, (str, bool, int, float, list, tuple))


def _is_array(value: Any) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__iter__") and not isinstance(value, (str, bytes, dict))


_FITS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"),
    "integer": lambda value: not isinstance(value, bool) and isinstance(value, numbers.Integral),
    "number": lambda value: not isinstance(value, bool) and isinstance(value, numbers.Real),
    "array": _is_array,
    "object": _is_object,
    "image": _is_object,
    "audio": lambda value: _is_object(value) or _is_array(value),
    "null": lambda value: value is None,
    "any": lambda value: True,
}
_WORDS = {
    "string": "a string",
    "boolean": "True or False",
    "integer": "an integer",
    "number": "a number",
    "array": "a list",
    "object": "a dict or an object",
    "image": "an image",
    "audio": "audio data",
    "null": "None",
    "any": "any value",
}

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80


def _short(value: Any) -> str:
    """The repr of a value as one line of bounded length; never raises."""
    return " ".join(_REPR.repr(value).split())
