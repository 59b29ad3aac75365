"""Tools as source: writing one down as a module that stands alone, and making one from such a module.

What a tool says and does is written, and the plain values that its constructor was given; what else an instance holds
(keys, connections) is not, and a tool that needs that is refused by name.
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import importlib.metadata
import inspect
import linecache
import re
import symtable
import sys
import textwrap
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from smol_kernel.errors import ToolError
from smol_kernel.parsing import FILE, first_line, parsed
from smol_kernel.tools.gradio_page import page_for
from smol_kernel.tools.made_with import writable

if TYPE_CHECKING:
    from smol_kernel.tools.base import Tool

_OURS = "smol_kernel"
_KEY = re.compile("key|token|secret|password|header", re.IGNORECASE)  # settings that may hold a secret
_QUALIFIED = re.compile(r"^(@|class \w+\()(?:\w+\.)+(tool|Tool)\b", re.MULTILINE)  # @lib.tool, class X(lib.Tool)
_DECORATOR = re.compile(r"^@tool(\(.*\))?$", re.MULTILINE)
_UNNAMED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
_HERE = re.compile(
    r"\n\n\nclass (\w+)Here\(\1\):\n    def __init__\(self, \*\*settings\):\n"
    r"        super\(\)\.__init__\(\*\*\{\*\*(\{.*\}), \*\*settings\}\)\n\Z"
)
"""What `_made_so` writes below a class."""
_FOREIGN = re.compile(r"^(\s*)from\s+smolagents(?:\.\w+)*\s+import\s+", re.MULTILINE)


def to_dict(tool: Tool) -> dict[str, Any]:
    """The tool as `name`, `code` and `requirements`. Raises ToolError naming what keeps it from being written down."""
    own = tool._code  # pyright: ignore[reportPrivateUsage]
    if not own:
        code = _code_of(tool)
    elif hasattr(tool, "__wrapped__"):
        code = own
    else:
        code = _made_so(tool, lambda: own)
    return {"name": tool.name, "code": code, "requirements": requirements(code)}


def left_out(tool: Tool) -> list[str]:
    """Names of the constructor arguments that are not written."""
    return writable(tool)[1]


def save(tool: Tool, folder: Path, module: str, make_gradio_app: bool) -> None:
    """Write `MODULE.py`, `requirements.txt` and, if asked, `app.py` into the folder, which is made if it is missing.
    Warns of constructor arguments that are not written."""
    if not module.isidentifier():
        raise ToolError(f"tool_file_name={module!r} cannot be imported as a module; give a name such as 'tool'")
    written = to_dict(tool)
    needed = [*written["requirements"], *(["gradio"] if make_gradio_app else [])]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(written["code"], encoding="utf-8")
    (folder / "requirements.txt").write_text("".join(f"{name}\n" for name in needed), encoding="utf-8")
    if make_gradio_app:
        (folder / "app.py").write_text(page_for(tool, written["code"], module), encoding="utf-8")
    if lost := left_out(tool):
        warnings.warn(
            f"tool {tool.name!r} is written without {', '.join(lost)}: {_again(type(tool), lost)}", stacklevel=3
        )


def _again(kind: type, lost: list[str]) -> str:
    """What to do so that a tool of this class has the arguments again that were not written."""
    parameters = inspect.signature(kind.__init__).parameters
    unnamed = [name for name in lost if name in parameters and parameters[name].kind in _UNNAMED]
    named = ", ".join(f"{name}=" for name in lost if name not in unnamed)
    advice = [f"pass {named} to from_code"] if named else []
    if unnamed:
        advice.append(f"from_code passes arguments by name, so have {kind.__name__} take {', '.join(unnamed)} by name")
    return "; ".join(advice)


def from_code(base: type[Tool], code: str, kwargs: dict[str, Any]) -> Tool:
    """Run `code` in this process and give the one tool that it defines. Raises ToolError if there is not one."""
    code, before = _without_given(_FOREIGN.sub(rf"\1from {_OURS} import ", code))
    found = _tools_in(_run(code), base)
    if len(found) != 1:
        names = ", ".join(getattr(each, "__name__", "") for each in found) or "none"
        raise ToolError(f"the code has to define one tool, by a class derived from Tool or by @tool; it has: {names}")
    made = found[0]
    if isinstance(made, type):
        made = made(**{**before, **kwargs})
    elif kwargs:
        raise ToolError(f"tool {made.name!r} is a function and takes no constructor arguments, such as {kwargs!r:.80}")
    made._code = code  # pyright: ignore[reportPrivateUsage]
    return made


def _without_given(code: str) -> tuple[str, dict[str, Any]]:
    """The code without what `_made_so` wrote below the class, and the arguments that stood there."""
    with suppress(ValueError, SyntaxError):  # somebody else may write the like
        if here := _HERE.search(code):
            return f"{code[: here.start()]}\n", ast.literal_eval(here[2])
    return code, {}


def _run(code: str) -> types.ModuleType:
    """The module whose source is `code`. It is known to Python under a name of its own, for tracebacks and for type
    hints that are text."""
    module = types.ModuleType(f"smol_tool_{hashlib.sha256(code.encode()).hexdigest()[:16]}")
    module.__file__ = f"<{module.__name__}>"
    linecache.cache[module.__file__] = (len(code), None, code.splitlines(keepends=True), module.__file__)
    sys.modules[module.__name__] = module
    try:
        exec(compile(code, module.__file__, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module


def _tools_in(module: types.ModuleType, base: type[Tool]) -> list[Any]:
    """Tools made by `@tool` in the module, and its classes that no other tool class of it is derived from."""
    values = list(dict.fromkeys(value for value in vars(module).values() if isinstance(value, (type, base))))
    classes = [value for value in values if isinstance(value, type) and issubclass(value, base)]
    own = [kind for kind in classes if kind.__module__ == module.__name__]
    leaves = [kind for kind in own if not any(kind in other.__mro__[1:] for other in own)]
    return [*(value for value in values if isinstance(value, base)), *leaves]


def requirements(code: str) -> list[str]:
    """The packages that a module's imports need, as pip names them, sorted; the standard library's are left out."""
    roots = {"smol_kernel"}
    for node in ast.walk(parsed(code)):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            roots.add(node.module.partition(".")[0])
    outside = roots - set(sys.stdlib_module_names) - {_OURS}
    known = _packages() if outside else {}
    return sorted({"smol-kernel", *(known.get(root, [root])[0] for root in outside)})


@functools.cache
def _packages() -> Mapping[str, list[str]]:
    """Name to import → distributions that have it. It takes seconds to find out."""
    return importlib.metadata.packages_distributions()


def _code_of(tool: Tool) -> str:
    wrapped = getattr(tool, "__wrapped__", None)
    if wrapped:
        return _function_code(tool.name, wrapped, tool.threaded)
    ours = type(tool).__name__ in cast("Any", sys.modules[_OURS]).__all__
    return (
        _shipped_code(tool)
        if ours and _is_ours(type(tool))
        else _made_so(tool, lambda: _class_code(tool.name, type(tool)))
    )


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == _OURS


def _shipped_code(tool: Tool) -> str:
    """A built-in tool: its class is imported, and given the plain settings it was made with, but no keys."""
    kind, settings = type(tool), dict[str, Any]()
    for parameter in inspect.signature(kind.__init__).parameters.values():
        value = getattr(tool, parameter.name, parameter.default)
        plain = isinstance(value, (bool, int, float, str)) and not _KEY.search(parameter.name)
        if plain and parameter.default is not parameter.empty and value != parameter.default:
            settings[parameter.name] = value
    given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    head = f"from {_OURS} import {kind.__name__}\n\n\nclass {kind.__name__}Here({kind.__name__}):"
    return f"{head}\n    def __init__(self):\n        super().__init__({given})\n"


def _function_code(name: str, wrapped: Callable[..., Any], threaded: bool) -> str:
    if inspect.ismethod(wrapped):
        owner = type(wrapped.__self__).__name__
        raise ToolError(f"tool {name!r} cannot be written as source: it is a method of a live {owner} object")
    function = cast("types.FunctionType", inspect.unwrap(wrapped))
    node, text = _find(name, function, ast.FunctionDef, ast.AsyncFunctionDef)
    decorator = "@tool(threaded=True)" if threaded else "@tool"
    if any("tool" in ast.unparse(decorator) for decorator in node.decorator_list):
        text = _DECORATOR.sub(decorator, text, count=1)
    else:  # it was made by tool(function)
        text = f"{decorator}\n{text}"
    return _module(name, text, function, {"tool": f"from {_OURS} import tool"})


def _made_so(tool: Tool, code_of_class: Callable[[], str]) -> str:
    """The code of a tool's class, and below it a class that gives it what this one was made with. Raises ToolError for
    one that needs an argument which is not written."""
    name, kind = tool.name, type(tool)
    given, _ = writable(tool)
    parameters = inspect.signature(kind.__init__).parameters.values()
    alone = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    needed = [p.name for p in alone[1:] if p.name not in given]
    if needed:
        raise ToolError(
            f"tool {name!r} cannot be written as source: {kind.__name__} needs the constructor argument {needed[0]!r}, "
            f"which stays here. Give it a default, such as None, and read the value where it is needed"
        )
    code = code_of_class()
    if not given:
        return code
    head = f"class {kind.__name__}Here({kind.__name__}):\n    def __init__(self, **settings):\n"
    return f"{code.rstrip()}\n\n\n{head}        super().__init__(**{{**{given!r}, **settings}})\n"


def _class_code(name: str, kind: type) -> str:
    own = [member for member in vars(kind).values() if inspect.isfunction(member)]
    if not own:
        raise ToolError(f"tool {name!r} cannot be written as source: {kind.__name__} has no method of its own")
    _, text = _find(name, own[0], ast.ClassDef)
    return _module(name, text, own[0], {})


def _find(name: str, function: types.FunctionType, *kinds: type[ast.stmt]) -> tuple[Any, str]:
    """The definition of a function, or of the class around it, and its text: by its line, since names come twice."""
    lines = linecache.getlines(function.__code__.co_filename)
    for node in ast.walk(parsed("".join(lines))):
        members = node.body if isinstance(node, ast.ClassDef) and ast.ClassDef in kinds else [node]
        if isinstance(node, kinds) and any(_defines(member, function) for member in members):
            last = getattr(node, "end_lineno", None)
            text = textwrap.dedent("".join(lines[first_line(node) - 1 : last]))
            return node, _QUALIFIED.sub(r"\1\2", text)
    raise ToolError(
        f"tool {name!r} cannot be written as source: the text of its definition is not to be found. "
        f"Define it in a file or a notebook cell"
    )


def _defines(node: ast.AST, function: types.FunctionType) -> bool:
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    return node.name == function.__code__.co_name and first_line(node) == function.__code__.co_firstlineno


def _module(name: str, text: str, function: types.FunctionType, imports: dict[str, str]) -> str:
    """The definition with the imports it needs above it. Raises ToolError for a name that no import gives."""
    reached = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    inside, outside = _names(text)
    for used in sorted(inside - outside):
        raise ToolError(
            f"tool {name!r} cannot be written as source: it uses {used!r}, which is defined outside of it. "
            f"{_remedy(used, reached.get(used))}"
        )
    ours = {word: f"from {_OURS} import {word}" for word in {"tool", "Tool"} & outside - reached.keys()}
    imports = {**ours, **imports}
    for used in sorted(outside - imports.keys()):
        line = _import_line(used, reached.get(used))
        if line is None:
            raise ToolError(
                f"tool {name!r} cannot be written as source: its definition names {used!r}, which is defined outside "
                f"of it. Use what can be imported from an installed package, or write it out"
            )
        imports[used] = line
    future = "from __future__ import annotations\n\n" if function.__code__.co_flags & 0x1000000 else ""
    return f"{future}{chr(10).join(sorted(set(imports.values())))}\n\n\n{text.rstrip()}\n"


def _remedy(name: str, value: Any) -> str:
    if isinstance(value, types.ModuleType):
        line = f"import {value.__name__}" + (f" as {name}" if value.__name__ != name else "")
        return f"Write `{line}` inside the function that uses it"
    return "Define or import it inside the function that uses it, or pass it as an argument"


def _names(text: str) -> tuple[set[str], set[str]]:
    """The names from outside that a definition uses: when its functions run, and when it is itself run."""
    tree, table = parsed(text), symtable.symtable(text, FILE, "exec")
    inside, outside = set(_globals_of(table)), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            every = node.args
            places: list[ast.AST | None] = [*node.decorator_list, node.returns, *every.defaults, *every.kw_defaults]
            places += [argument.annotation for argument in (*every.posonlyargs, *every.args, *every.kwonlyargs)]
            places += [star.annotation for star in (every.vararg, every.kwarg) if star]
        elif isinstance(node, ast.ClassDef):
            places = [*node.bases, *node.decorator_list, *(keyword.value for keyword in node.keywords)]
            simple = (ast.Assign, ast.AnnAssign, ast.Expr)
            places += [statement for statement in node.body if isinstance(statement, simple)]
        else:
            continue
        outside |= {name for place in places if place is not None for name in _read_names(place)}
    own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned()}
    own |= {child.get_name() for child in table.get_children()} | set(dir(builtins))
    for child in table.get_children():  # a class's attributes are at hand in its body
        own |= {
            symbol.get_name() for symbol in child.get_symbols() if child.get_type() == "class" and symbol.is_assigned()
        }
    return inside - own, outside - own


def _globals_of(table: symtable.SymbolTable) -> Iterator[str]:
    for child in table.get_children():
        if child.get_type() == "function" and child.get_name() != "__annotate__":
            yield from (symbol.get_name() for symbol in child.get_symbols() if symbol.is_global())
        yield from _globals_of(child)


def _read_names(node: ast.AST) -> set[str]:
    """The names that a part of a definition reads, but those of its own lambdas and comprehensions."""
    parts = list(ast.walk(node))
    own = {part.arg for part in parts if isinstance(part, ast.arg)}
    targets = [part.target for part in parts if isinstance(part, ast.comprehension)]
    own |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)} - own


def _import_line(name: str, value: Any) -> str | None:
    """The import that gives `value` under `name`; None if there is none to rely on."""
    if isinstance(value, types.ModuleType):
        module, symbol = value.__name__, ""
    elif getattr(typing, name, None) is value and value is not None:
        module, symbol = "typing", name
    else:
        module = str(getattr(value, "__module__", ""))
        symbol = str(getattr(value, "__qualname__", ""))
        if not symbol or getattr(sys.modules.get(module), symbol, None) is not value:
            return None
    root = module.partition(".")[0]
    if root == _OURS:
        module = root if symbol in cast("Any", sys.modules[root]).__all__ else module
    elif root not in sys.stdlib_module_names and root not in _packages():
        return None
    renamed = "" if name == (symbol or module) else f" as {name}"
    return f"from {module} import {symbol}{renamed}" if symbol else f"import {module}{renamed}"
