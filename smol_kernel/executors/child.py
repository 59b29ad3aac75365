"""What runs inside the child kernel: its shell, `final_answer`, and the report of each action.

The client sends this file as source, with the others that `launchers.child_modules` lists, and calls `install`. It
needs the standard library and ipykernel alone, and the host never imports it.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import functools
import os
import signal
import sys
import tokenize
import warnings
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any

import IPython
import zmq
from ipykernel._version import __version__, version_info
from ipykernel.compiler import get_tmp_directory
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import ExecutionResult

from . import account, displays, fields, host_line, mapped, proxies, questions, sender, streams, tracebacks, values

MAX_QUEUE = 10_000
"""Messages of output kept while the host is busy elsewhere; more are lost."""
LEAVE_SECONDS = 5.0
"""How long the end of the process waits for the host's word."""


def deaf() -> None:
    """Heed no interrupt any more, until the kernel has handled the request under way: it then has a handler of its own,
    and for the next one again Python's. For the main thread."""
    signal.signal(signal.SIGINT, lambda *_: None)


class ActionEnded(BaseException):
    """Raised by `final_answer` to end the action."""


class ActionShell(ZMQInteractiveShell):
    """The kernel's own shell, which also keeps the account of the action under way."""

    smol: Child

    async def run_cell_async(self, *args: Any, **kwargs: Any) -> Any:
        """Run an action and leave its report with the reply."""
        if kwargs.get("silent") or self.smol.action.running:
            return await super().run_cell_async(*args, **kwargs)
        action = self.smol.begin(kwargs.get("transformed_cell") or (args[0] if args else ""))
        report: dict[str, Any] = {}
        try:
            result = await super().run_cell_async(*args, **kwargs)
            report = self.smol.outcome(result)
        except KeyboardInterrupt as error:  # between its code and here
            result = action.result or ExecutionResult(None)
            result.error_in_exec = error
        finally:  # what is sent from now on is not to be broken off in the middle
            deaf()
        self.smol.report(result, report or self.smol.outcome(result))
        return result

    functools.update_wrapper(run_cell_async, ZMQInteractiveShell.run_cell_async)  # ipykernel looks at its signature

    def transform_cell(self, raw_cell: str) -> Any:
        """The action as Python. The name of a tool is no magic's, so tools that come with the action come first."""
        if not self.smol.action.running:
            self.smol.take_tools()
        return super().transform_cell(raw_cell)

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
        if error is not None and not ends and not self.smol.account.quiet:
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
        self.action = account.Action()
        self.answer: list[Any] = []
        """The final answer, encoded and as text, once there is one."""
        self.final: list[Any] = []
        """The object itself."""
        self.tracebacks = tracebacks.Tracebacks(get_tmp_directory, "<smol_", os.path.dirname(IPython.__file__))
        self.given: dict[str, Any] = {}
        """Tool proxies by name, `final_answer`, `_logs`: builtins, so that `del` and `%reset` bring them back."""
        self.builtins = dict(vars(builtins))
        self.account = account.Account(shell, self.tracebacks)
        self.whole = streams.Whole()
        self.displays = displays.Displays(self.whole.add)
        sender.make_safe(self.kernel.iopub_thread)
        self.streams = [streams.Stream(stream, self.whole.add) for stream in (sys.stdout, sys.stderr)]
        self.streams[0].other, self.streams[1].other = reversed(self.streams)
        self.line = host_line.HostLine(self.kernel)
        self.proxies = proxies.Proxies(self.line, self.streams)
        memory_line = mapped.MemoryLine(getattr(self.kernel.parent, "memory_line", None))
        self.questions = questions.Questions(shell.user_ns, self.receive_tools, memory_line, self.account.names)
        self.line.answer = lambda asked: self.questions.answer(asked, [], aside=True)
        self.kernel.session.pack = host_line.pack
        self.kernel.session.copy_threshold = sys.maxsize  # to send what is long uncopied, ZeroMQ opens a socket first
        self.kernel.raw_input = lambda prompt="": self.proxies.read(str(prompt), False)
        self.kernel.getpass = lambda prompt="Password: ", stream=None, **_: self.proxies.read(str(prompt), True)
        os._exit = functools.partial(self.leave, os._exit)
        self.kernel.shell_handlers["smol_request"] = self.serve
        self._cancels, self.kernel._cancel_on_sigint = self.kernel._cancel_on_sigint, self.cancelling
        shell.display_pub.register_hook(self.displays.limit)
        shell.displayhook.register_hook(self.displays.limit)
        shell.displayhook.quiet = lambda: self.action.quiet and self.action.running == 1  # IPython looks at `In`
        self.receive_tools([])

    # what the host asks between actions

    def serve(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Handle a request of the host between actions."""
        checks = "checks" in parent["content"]
        if checks:
            self.restore()
            self.kernel.session.send(self.kernel.iopub_socket, "smol_started", {}, parent)
        try:
            reply = self.questions.answer(parent["content"], self.final)
        finally:
            deaf()
        if checks:
            self.restore()
            for part in self.streams:
                part.end()
        self.kernel.session.send(stream, "smol_reply", reply, parent, ident=ident)

    @contextlib.contextmanager
    def cancelling(self, task: Any) -> Generator[None, None, None]:
        """What ipykernel does for interrupts while it awaits the `task` of an action; code that computes is interrupted
        as it is without an `await`. The handler that comes back at the end heeds none."""

        def interrupt(number: int, frame: FrameType | None) -> None:
            if asyncio.current_task() is task and self.tracebacks.within(frame):
                raise KeyboardInterrupt
            cancel(number, frame)

        deaf()
        with self._cancels(task):
            cancel: Any = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, interrupt)
            yield

    def receive_tools(self, specs: list[dict[str, Any]]) -> None:
        """Offer these tools in place of those before."""
        for name, proxy in self.given.items():
            if vars(builtins).get(name) is proxy:
                delattr(builtins, name)
        tools = {str(spec["name"]): self.proxies.tool(spec) for spec in specs}
        final_answer = self.final_answer(tools.get("final_answer"))
        self.account.tools = list(tools)
        self.given = {**tools, "final_answer": final_answer, "_logs": self.whole.logs}
        builtins.__dict__.update(self.given)

    # one action

    def take_tools(self) -> dict[str, Any]:
        """Receive the tools that came with the action, if any did; gives what else it came with."""
        about: dict[str, Any] = self.kernel.get_parent("shell").get("content", {}).get("smol", {})
        if (tools := about.pop("tools", None)) is not None:
            self.receive_tools(tools)
        return about

    def begin(self, cell: str) -> account.Action:
        """Prepare for an action, which is this `cell`: a new account, and all of ours in its place again."""
        self.action = account.Action()
        with contextlib.suppress(SyntaxError, tokenize.TokenError):
            self.action.quiet = bool(DisplayHook.semicolon_at_end_of_expression(cell))
        self.answer, self.final = [], []
        self.line.parent = (self.kernel._parent_ident["shell"], self.kernel.get_parent("shell"))
        for part in (self.displays, *self.streams):
            part.begin()
        self.whole.begin(**self.take_tools())
        self.restore()
        builtins.__dict__.update(self.given)
        self.shell.user_ns.pop("final_answer", None)
        return self.action

    def restore(self) -> None:
        """Bring back the builtins and streams that an action took away: the kernel needs them as well."""
        sys.stdout, sys.stderr = (stream.stream for stream in self.streams)
        for name in self.builtins.keys() - builtins.__dict__.keys():
            setattr(builtins, name, self.builtins[name])

    def outcome(self, result: Any) -> dict[str, Any]:
        """The account of how the action ended, for which methods of its own objects may run."""
        self.restore()
        error = result.error_before_exec or result.error_in_exec
        report: dict[str, Any] = {
            "source": "smol",
            "completed": self.action.completed + (bool(self.answer) and isinstance(error, ActionEnded)),
            "final": bool(self.answer),
            "names": self.account.names(),
        }
        try:
            if self.answer:
                report["value"], report["value_text"] = self.answer
            elif error is not None:
                report["error"] = self.account.error(self.action, error)
            else:
                self.action.shown = self.displays.result
                report.update(self.account.last_value(self.action, result))
        except BaseException:  # noqa: BLE001 - boundary: any class's own methods run here, and a stop may come meanwhile
            report.update(value=None, value_text="<a value that cannot be shown>")
        return report

    def report(self, result: Any, report: dict[str, Any]) -> None:
        """Leave the account of the action with the reply, and make the reply itself short and safe."""
        error = result.error_before_exec or result.error_in_exec
        try:
            self.displays.end(self.shell.display_pub.publish)
            for stream in self.streams:
                stream.drain()
        finally:
            report["log"] = self.whole.end()
            report["left_out"] = sum(stream.left_out for stream in self.streams)
            if error is not None:
                result.error_before_exec = result.error_in_exec = None
                if not self.answer:
                    result.error_in_exec = RuntimeError("the action failed")
            self.shell.payload_manager.write_payload(report)
            for stream in self.streams:
                stream.end()

    # calls

    def final_answer(self, tool: Callable[..., Any] | None) -> Callable[..., None]:
        """The function that ends the action; `tool` is the user's own, which makes the answer of its arguments."""

        def final_answer(*args: Any, **kwargs: Any) -> None:
            """Give the final answer to the task and end the run."""
            answer = (tool or _answer)(*args, **kwargs)
            try:
                encoded = account.sendable(answer, proxies.CALL_LIMIT, fields.fields)
            except values.NotPortable as error:
                raise TypeError(f"final_answer(): {error}{error.advice}") from None
            if not self.answer:
                self.answer += [encoded, self.account.plain_text(answer)]
                self.final.append(answer)
            raise ActionEnded

        return final_answer

    def leave(self, leave: Callable[[int], None], status: int) -> None:
        """`os._exit()`: what was printed and flushed before it has left this process when it ends."""
        with contextlib.suppress(Exception):  # one forked from this process, or a host that has gone
            self.line.ask({"leaving": True}, seconds=LEAVE_SECONDS)
        leave(status)


def _answer(answer: Any) -> Any:
    return answer


_answer.__name__ = _answer.__qualname__ = "final_answer"  # for Python's own words on wrong arguments


def _show_help(shell: Any, data: Any, *_: Any, **__: Any) -> None:
    """What `name?` shows; IPython's pager is in a page that nobody has open."""
    print(data.get("text/plain", "") if isinstance(data, dict) else data)


def install() -> None:
    """Make the stock kernel this runs in a child of ours, and say so."""
    set_up()
    announce()


def set_up() -> None:
    """What does not depend on where it runs. Raises RuntimeError for an ipykernel that is too old."""
    if version_info < (7, 3):
        raise RuntimeError(f"it needs ipykernel 7.3 or newer, and its Python has {__version__}")
    shell: Any = IPython.get_ipython()
    warnings.filterwarnings("ignore", message="To exit: use")
    warnings.filterwarnings("ignore", module=r"<>\Z")  # IPython tries code first, whose warnings would come three times
    sys.setswitchinterval(0.0005)
    shell.kernel._execute_sleep = 0
    # any signal now wakes the event loop, so that an interrupt ends an `await` at once
    asyncio.get_running_loop().add_signal_handler(signal.SIGURG, lambda: None)
    shell.set_hook("show_in_pager", _show_help, 0)
    iopub: Any = shell.kernel.iopub_thread
    iopub.schedule(lambda: iopub.socket.set(zmq.SNDHWM, MAX_QUEUE))
    shell.smol = Child(shell)
    warnings.formatwarning = shell.smol.tracebacks.warning
    shell.__class__ = ActionShell


def announce() -> None:
    """Mind the variables of the environment, and tell the host that actions may come."""
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "CLICOLOR"):  # IPython asks subprocesses for colors
        os.environ.pop(name, None)
    sys.path += filter(None, os.environ.pop("SMOL_PROJECT_PATH", "").split(os.pathsep))
    # tqdm.auto sees such a name and writes text, which can be followed; no page would get the widgets it makes else.
    os.environ.setdefault("SPYDER_STYLE_PROGRESS", "text")
    with contextlib.suppress(OSError, AttributeError), open(os.devnull, "w") as null:
        os.dup2(null.fileno(), sys.stderr.fileno())  # start-up is over: nobody reads the raw stderr any more
    kernel: Any = IPython.get_ipython().kernel
    sender.tell_whoever_hears(kernel.iopub_thread, lambda socket: kernel.session.send(socket, "smol_ready", {}))
