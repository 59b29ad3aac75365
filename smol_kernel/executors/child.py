"""What runs inside the child kernel: tool proxies, `final_answer`, `input`, and the account of each action.

The client sends this file as source, with those it imports and `tables`, and calls `install`. It
needs the standard library and ipykernel alone, and the host never imports it.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import functools
import inspect
import os
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from importlib import import_module
from typing import TYPE_CHECKING, Any

import IPython
from ipykernel.zmqshell import ZMQInteractiveShell

if TYPE_CHECKING:
    from smol_kernel.executors import displays, host_line, streams, tracebacks, values
else:  # in the child they have other names
    displays, host_line, streams, tracebacks, values = (
        import_module(f"smol_{name}") for name in ("displays", "host_line", "streams", "tracebacks", "values")
    )

MEBIBYTE = 1 << 20
VALUE_LIMIT = 8 * MEBIBYTE
"""Bytes of the last statement's value, encoded; a larger one stays here."""
CALL_LIMIT = 64 * MEBIBYTE
"""Bytes of a call's arguments, and of a final answer, encoded."""
MAX_TEXT = 100_000
MAX_MESSAGE = 10_000
MAX_NAMES = 2_000
LEAVE_SECONDS = 5.0
"""How long the end of the process waits for the host's word."""


class ActionEnded(BaseException):
    """Raised by `final_answer` to end the action."""


class Action:
    """The account of one action."""

    def __init__(self) -> None:
        self.nodes: list[ast.stmt] = []
        self.result: Any = None
        self.completed = 0
        self.running = 0
        """How deep statements run: an action may run further cells."""


class ActionShell(ZMQInteractiveShell):
    """The kernel's own shell, which also keeps the account of the action under way."""

    smol: Child

    async def run_cell_async(self, *args: Any, **kwargs: Any) -> Any:
        """Run an action and leave its report with the reply."""
        if kwargs.get("silent") or self.smol.action.running:
            return await super().run_cell_async(*args, **kwargs)
        self.smol.begin()
        result = await super().run_cell_async(*args, **kwargs)
        self.smol.report(result)
        return result

    functools.update_wrapper(run_cell_async, ZMQInteractiveShell.run_cell_async)  # ipykernel looks at its signature

    async def run_ast_nodes(
        self, nodelist: list[ast.stmt], cell_name: str, *args: Any, result: Any = None, **kwargs: Any
    ) -> Any:
        """Note what the action consists of, then run it."""
        action = self.smol.action
        self.smol.tracebacks.files.add(cell_name)
        if not action.running:
            action.nodes, action.result = list(nodelist), result
        action.running += 1
        try:
            return await super().run_ast_nodes(nodelist, cell_name, *args, result=result, **kwargs)
        finally:
            action.running -= 1

    async def run_code(self, code_obj: Any, result: Any = None, *, async_: bool = False) -> bool:
        """Run one top-level statement, and count it if it runs to its end."""
        failed = await super().run_code(code_obj, result, async_=async_)
        if not failed and self.smol.action.running == 1:
            self.smol.action.completed += 1
        return failed

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
        """Print an error that is not the action's own end; that one goes with the report."""
        error = exc_tuple[1] if exc_tuple else sys.exc_info()[1]
        result = self.smol.action.result
        ends = result is None or error is result.error_in_exec or error is result.error_before_exec
        if error is not None and not ends and not self.smol.quiet:
            print(self.smol.tracebacks.text(error), file=sys.stderr)

    def showsyntaxerror(self, *args: Any, **kwargs: Any) -> None:
        """Print a syntax error of code that the action runs itself."""
        self.showtraceback()

    def ask_exit(self) -> None:
        """What `exit()` calls: end the action, not the kernel."""
        raise SystemExit

    @contextlib.contextmanager
    def _tee(self, channel: str) -> Generator[None, None, None]:
        yield  # IPython would keep all that is printed, without bound


class Child:
    """All of ours that lives in the child kernel."""

    def __init__(self, shell: Any) -> None:
        self.shell, self.kernel = shell, shell.kernel
        self.action = Action()
        self.answer: list[Any] = []
        """The final answer, encoded and as text, once there is one."""
        self.tracebacks = tracebacks.Tracebacks("<smol_", os.path.dirname(IPython.__file__))
        self.given: dict[str, Any] = {}
        """Tool proxies by name, and `final_answer`: builtins, so that `del` and `%reset` bring them back."""
        self.builtins = dict(vars(builtins))
        self.quiet = False
        """True: errors are not printed."""
        self.displays = displays.Displays()
        self.streams = [streams.Stream(sys.stdout), streams.Stream(sys.stderr)]
        self.line = host_line.HostLine(self.kernel)
        self.kernel.session.pack = host_line.pack
        self.kernel.raw_input = lambda prompt="": self.read(str(prompt), False)
        self.kernel.getpass = lambda prompt="Password: ", stream=None, **_: self.read(str(prompt), True)
        os._exit = functools.partial(self.leave, os._exit)
        self.kernel.shell_handlers["smol_request"] = self.serve
        shell.display_pub.register_hook(self.displays.limit)
        shell.displayhook.register_hook(self.displays.limit)
        self.receive_tools([])

    # what the host asks

    def serve(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Handle a request of the host between actions: new tools, or variables."""
        content = parent["content"]
        try:
            if "tools" in content:
                self.receive_tools(content["tools"])
            for name, data in content.get("variables", {}).items():
                self.shell.user_ns[name] = values.decode(data, trusted=True)
            reply = {"status": "ok"}
        except Exception as error:  # noqa: BLE001 - boundary: unpickling runs anything; the host is told
            reply = {"status": "error", "error": f"{type(error).__name__}: {error}"}
        self.kernel.session.send(stream, "smol_reply", reply, parent, ident=ident)

    def receive_tools(self, specs: list[dict[str, Any]]) -> None:
        """Offer these tools in place of those before."""
        for name, proxy in self.given.items():
            if vars(builtins).get(name) is proxy:
                delattr(builtins, name)
        proxies = {str(spec["name"]): self.proxy(spec) for spec in specs}
        self.given = {**proxies, "final_answer": self.final_answer(proxies.get("final_answer"))}
        builtins.__dict__.update(self.given)

    # one action

    def begin(self) -> None:
        """Prepare for an action: a new account, and all of ours in its place again."""
        self.action = Action()
        self.answer = []
        self.line.parent = (self.kernel._parent_ident["shell"], self.kernel.get_parent("shell"))
        for part in (self.displays, *self.streams):
            part.begin()
        self.restore()
        builtins.__dict__.update(self.given)
        self.shell.user_ns.pop("final_answer", None)

    def restore(self) -> None:
        """Bring back the builtins and streams that an action took away: the kernel needs them as well."""
        sys.stdout, sys.stderr = (stream.stream for stream in self.streams)
        for name in self.builtins.keys() - builtins.__dict__.keys():
            setattr(builtins, name, self.builtins[name])

    def report(self, result: Any) -> None:
        """Leave the account of the action with the reply, and make the reply itself short and safe."""
        self.restore()
        error = result.error_before_exec or result.error_in_exec
        report: dict[str, Any] = {"source": "smol", "completed": self.action.completed, "final": bool(self.answer)}
        if self.answer:
            report["value"], report["value_text"] = self.answer
            report["completed"] += isinstance(error, ActionEnded)
        elif error is not None:
            report["error"] = self.account(error)
        else:
            try:
                report.update(self.last_value(result))
            except Exception:  # noqa: BLE001 - boundary: any class's own methods run here
                report.update(value=None, value_text="<a value that cannot be shown>")
        report["names"] = self.names()
        if error is not None:
            result.error_before_exec = result.error_in_exec = None
            if not self.answer:
                result.error_in_exec = RuntimeError("the action failed")
        self.shell.payload_manager.write_payload(report)
        for stream in self.streams:
            stream.end()

    def account(self, error: BaseException) -> dict[str, str]:
        """What is told of an error."""
        kind = type(error).__name__
        if isinstance(error, SystemExit):
            hint = "the action called exit(). Code ends by itself; final_answer(...) gives the answer"
            return {"type": kind, "message": hint, "traceback": ""}
        message = tracebacks.message(error)
        if isinstance(error, SyntaxError) and error.filename:
            if not self.action.nodes:
                self.tracebacks.files.add(error.filename)  # IPython has named no other file for it yet
            message = f"{error.msg} (line {error.lineno})"
        return {
            "type": kind,
            "message": tracebacks.shorten(message, MAX_MESSAGE),
            "traceback": self.tracebacks.text(error),
        }

    def last_value(self, result: Any) -> dict[str, Any]:
        """The value of the last statement: of an expression, or what an assignment gave to its names."""
        if not self.action.nodes:
            return {"value": None, "value_text": ""}
        last = self.action.nodes[-1]
        if isinstance(last, ast.Expr):
            value, handle = result.result, "_"
        else:
            handle, value = self.assigned(last)
        try:
            if _size(value) > VALUE_LIMIT:
                raise values.NotPortable("is too large")
            encoded = values.encode(value, limit=VALUE_LIMIT)
        except values.NotPortable:
            encoded = values.remote(value, handle)
        return {"value": encoded, "value_text": self.plain_text(value)}

    def assigned(self, node: ast.stmt) -> tuple[str, Any]:
        """Name and value of an assignment; of one to an attribute or an item neither."""
        target = node.targets[-1] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if not isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            return "", None
        namespace = self.shell.user_ns
        if isinstance(target, ast.Name):
            return target.id, namespace.get(target.id)
        if isinstance(target, ast.Tuple) and all(isinstance(name, ast.Name) for name in target.elts):
            names = [name.id for name in target.elts if isinstance(name, ast.Name)]
            return tracebacks.shorten(", ".join(names), 200), tuple(namespace.get(name) for name in names)
        return "", None

    def plain_text(self, value: Any) -> str:
        """The value as IPython shows it; text of several lines as it is."""
        if value is None:
            return ""
        if isinstance(value, str):
            return tracebacks.shorten(value if "\n" in value else repr(value[: 2 * MAX_TEXT]), MAX_TEXT)
        self.quiet = True
        try:
            text = self.shell.display_formatter.formatters["text/plain"](value)
        finally:
            self.quiet = False
        return tracebacks.shorten(text or f"<{type(value).__name__} that cannot be shown>", MAX_TEXT)

    def names(self) -> list[str]:
        """Names the action's author would know."""
        hidden = self.shell.user_ns_hidden
        names = [name for name in list(self.shell.user_ns) if isinstance(name, str)]
        return [name for name in names if not name.startswith("_") and name not in hidden][:MAX_NAMES]

    # calls

    def call(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """Send a call to the host; the future gives its reply."""
        try:
            encoded = values.encode([list(args), dict(kwargs)], limit=CALL_LIMIT)
        except values.NotPortable as error:
            raise TypeError(f"{name}(): an argument cannot cross to the host: {error}") from None
        printed = [stream.flush() for stream in self.streams]
        return self.line.ask({"tool": name, "args": encoded[0], "kwargs": encoded[1], "printed": any(printed)})

    def outcome(self, reply: dict[str, Any]) -> Any:
        """The value of a reply; raises what the tool raised."""
        if reply.get("ok"):
            return values.decode(reply.get("value"))
        raise host_line.error_of(reply)

    def proxy(self, spec: dict[str, Any]) -> Callable[..., Any]:
        """A function that calls a tool of the host; its `aio` gives an awaitable."""
        name = str(spec["name"])

        def tool(*args: Any, **kwargs: Any) -> Any:
            return self.outcome(self.call(name, args, kwargs).result())

        async def aio(*args: Any, **kwargs: Any) -> Any:
            return self.outcome(await asyncio.wrap_future(self.call(name, args, kwargs)))

        for function in (tool, aio):
            function.__name__ = function.__qualname__ = name
            function.__module__ = "tools"
            function.__doc__ = spec.get("doc")
            with contextlib.suppress(ValueError):
                function.__signature__ = _signature(spec.get("parameters", []))  # pyright: ignore[reportFunctionMemberAccess]
        tool.aio = aio  # pyright: ignore[reportFunctionMemberAccess]
        return tool

    def final_answer(self, tool: Callable[..., Any] | None) -> Callable[..., None]:
        """The function that ends the action; `tool` is the user's own, which makes the answer of its arguments."""

        def final_answer(*args: Any, **kwargs: Any) -> None:
            """Give the final answer to the task and end the run."""
            answer = (tool or _answer)(*args, **kwargs)
            try:
                encoded = values.encode(answer, limit=CALL_LIMIT)
            except values.NotPortable as error:
                raise TypeError(
                    f"final_answer(): {error}. Answer with text, numbers, lists, dicts, arrays, tables or images"
                ) from None
            if not self.answer:
                self.answer += [encoded, self.plain_text(answer)]
            raise ActionEnded

        return final_answer

    def read(self, prompt: str, password: bool) -> str:
        """`input()` and `getpass()`."""
        printed = [stream.flush() for stream in self.streams]
        request = {"input": True, "printed": any(printed)}
        return str(self.outcome(self.line.ask(request, prompt, password).result()))

    def leave(self, leave: Callable[[int], None], status: int) -> None:
        """`os._exit()`: what was printed and flushed before it has left this process when it ends."""
        with contextlib.suppress(Exception):  # one forked from this process, or a host that has gone
            self.line.ask({"leaving": True}).result(LEAVE_SECONDS)
        leave(status)


def _answer(answer: Any = None) -> Any:
    return answer


_answer.__name__ = _answer.__qualname__ = "final_answer"  # for Python's own words on wrong arguments


def _size(value: Any) -> int:
    """Bytes an array or a table holds at least; 0 for other values."""
    try:
        if type(value).__name__ == "DataFrame":
            return int(value.memory_usage().sum())
        return int(getattr(value, "nbytes", 0))
    except Exception:  # noqa: BLE001 - boundary: any class's own methods run here
        return 0


def _signature(parameters: list[dict[str, Any]]) -> inspect.Signature:
    return inspect.Signature(
        [
            inspect.Parameter(
                str(parameter["name"]),
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=None if parameter.get("optional") else inspect.Parameter.empty,
            )
            for parameter in sorted(parameters, key=lambda parameter: bool(parameter.get("optional")))
        ]
    )


def _show_help(shell: Any, data: Any, *_: Any, **__: Any) -> None:
    """What `name?` shows; IPython's pager is in a page that nobody has open."""
    print(data.get("text/plain", "") if isinstance(data, dict) else data)


def install() -> None:
    """Make the stock kernel this runs in a child of ours."""
    shell: Any = IPython.get_ipython()
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "CLICOLOR"):  # IPython asks subprocesses for colors
        os.environ.pop(name, None)
    # tqdm.auto sees such a name and writes text, which can be followed; no page would get the widgets it makes else.
    os.environ.setdefault("SPYDER_STYLE_PROGRESS", "text")
    warnings.filterwarnings("ignore", message="To exit: use")
    sys.setswitchinterval(0.0005)
    shell.kernel._execute_sleep = 0
    if hasattr(signal, "SIGURG"):
        # any signal now wakes the event loop, so that an interrupt ends an `await` at once
        asyncio.get_running_loop().add_signal_handler(signal.SIGURG, lambda: None)
    with contextlib.suppress(OSError, AttributeError), open(os.devnull, "w") as null:
        os.dup2(null.fileno(), sys.stderr.fileno())  # start-up is over: nobody reads the raw stderr any more
    shell.set_hook("show_in_pager", _show_help, 0)
    shell.smol = Child(shell)
    warnings.formatwarning = shell.smol.tracebacks.warning
    shell.__class__ = ActionShell
