"""What a `%%py` cell does: it runs Python straight in the agent's child kernel and shows what comes of it.

IPython calls `child_cell` (rewritten to an await) or `child_cell_blocking`, as with `%%agent`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from smol_kernel.errors import BoxUnavailableError, ConfigError, SmolError
from smol_kernel.events import ActionFinished, FilesMade, Notice, Output, Progress
from smol_kernel.render.markdown import safe_markdown
from smol_kernel.render.sanitize import shown_html
from smol_magic import namespace
from smol_magic.endings import CellError, ChildError, Stopped
from smol_magic.files import files_line
from smol_magic.thread import Awaiting, Blocking

if TYPE_CHECKING:
    from smol_magic.magics import SmolMagic

SHOWN = ("text/plain", "image/png", "image/jpeg")
"""What the page gets of an output as it is; HTML and Markdown are cleaned. Other types could load or run something."""


async def child_cell(magics: SmolMagic, line: str, body: str) -> None:
    """Run `body` in the child. Raises ChildError for its errors, CellError, or Stopped."""
    thread = Awaiting()
    with magics.session.busy("%%py is running"):
        cell = ChildCell(magics, line, body)
        magics.session.stop_running = cell.stop
        with thread.interruptible(cell.stop):
            failure = await thread.carry_out(cell.work, cell.stop)
        cell.conclude(failure)


def child_cell_blocking(magics: SmolMagic, line: str, body: str) -> None:
    """The same for a cell that cannot await."""
    thread = Blocking()
    with magics.session.busy("%%py is running"):
        cell = ChildCell(magics, line, body)
        magics.session.stop_running = cell.stop
        with thread.interruptible(cell.stop):
            failure = thread.carry_out(cell.work)
        cell.conclude(failure)


class ChildCell:
    """One piece of Python run in the child, its outputs sent on as this cell's."""

    def __init__(self, magics: SmolMagic, line: str, code: str) -> None:
        if line.strip():
            raise CellError(f"%%py takes no options, but found {line.strip()!r}: the code goes in the lines below")
        self._shell = magics.shell
        self._code = code
        self._session = magics.session
        self._count = self._shell.displayhook.prompt_count
        self._finished: ActionFinished | None = None
        self._files: FilesMade | None = None
        self._progress = Progress(channel="stdout", text="")
        try:
            self._executor = self._session.executor(magics.settings())
        except ConfigError as error:
            raise CellError(str(error)) from None
        self._executor.clear_interrupt()
        self._tools = {tool.name: tool for tool in namespace.tools(self._shell.user_ns)}

    def stop(self) -> None:
        """Interrupt the code. Safe from any thread, more than once, and after the end."""
        self._executor.interrupt()

    def work(self) -> None:
        """Run the code, on a thread of its own."""
        self._executor.send_tools(self._tools)
        for event in self._executor.run(self._code):
            if isinstance(event, Output):
                self._show(event)
            elif isinstance(event, Progress):
                self._write_over(event)
            elif isinstance(event, Notice):
                print(event.text, file=sys.stderr)
            elif isinstance(event, FilesMade):
                self._files = event
            elif isinstance(event, ActionFinished):
                self._finished = event

    def conclude(self, failure: BaseException | None) -> None:
        """Raise what the cell shall end with, if it did not end well."""
        finished = self._finished
        if self._files is not None and (told := files_line(self._files)):
            print(told)
        if isinstance(failure, KeyboardInterrupt) or (finished and finished.status == "interrupted"):
            raise Stopped("Stopped." + _lost(finished))
        if isinstance(failure, BoxUnavailableError):
            self._session.drop_executor()
        if isinstance(failure, SmolError):
            raise CellError(str(failure)) from None
        if failure is not None:
            raise failure
        if finished is not None and finished.error_type == "SystemExit":
            raise CellError("The code called exit(). It ends nothing here: %agent stop ends the child kernel.")
        if finished is not None and finished.status == "error":
            message = ": ".join(filter(None, [finished.error_type, finished.error]))
            raise ChildError(message, finished.traceback)
        if finished is not None and finished.status != "ok":
            why = finished.error or f"The child kernel ended: {finished.status}"
            raise CellError(why.replace("The next action", "The next cell") + "." + _lost(finished))

    def _write_over(self, progress: Progress) -> None:
        before, self._progress = self._progress, progress
        stream = sys.stdout if progress.channel == "stdout" else sys.stderr
        print("\r" + progress.text.ljust(len(before.text)), end="" if progress.text else "\r", file=stream)
        stream.flush()

    def _show(self, output: Output) -> None:
        if self._progress.text:  # what was written over comes once more, whole
            self._write_over(replace(self._progress, text=""))
        if output.channel in ("stdout", "stderr"):
            print(output.text, end="", file=sys.stdout if output.channel == "stdout" else sys.stderr)
            return
        data = {"text/plain": output.text} | {kind: output.data[kind] for kind in SHOWN if kind in output.data}
        if html := shown_html(output):
            data["text/html"] = html
        elif "text/markdown" in output.data:
            data["text/markdown"] = safe_markdown(output.data["text/markdown"])
        kernel = getattr(self._shell, "kernel", None)
        if output.channel == "display":
            self._shell.display_pub.publish(data=data)
        elif kernel is None:
            print(f"Out[{self._count}]: {output.text}")
        elif not kernel.get_parent("shell").get("content", {}).get("silent"):
            for stream in (sys.stdout, sys.stderr):  # what was printed before comes before
                stream.flush()
            content = {"data": data, "metadata": {}, "execution_count": self._count}
            kernel.send_response(kernel.iopub_socket, "execute_result", content)


def _lost(finished: ActionFinished | None) -> str:
    if finished is None or not finished.lost:
        return ""
    return f" The child was restarted; these names are gone: {', '.join(finished.lost)}."
