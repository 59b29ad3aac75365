"""A notebook's kernel as a front end talks to it: cells with ids, their outputs, interrupts, comms, stdin."""

from __future__ import annotations

import os
import queue
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[1]
PATIENCE = 60
"""Seconds until a kernel that says nothing counts as hung."""

Message = dict[str, Any]

_ESCAPES = re.compile("\x1b\\[[0-9;]*m")


class Cell:
    """One execution, sent by `client`: what came of it so far."""

    def __init__(self, msg_id: str, client: BlockingKernelClient) -> None:
        self.msg_id, self.client = msg_id, client
        self.messages: list[Message] = []
        self.reply: Message = {}

    def contents(self, *kinds: str) -> list[Message]:
        """The contents of the messages of these types."""
        return [message["content"] for message in self.messages if message["msg_type"] in kinds]

    @property
    def status(self) -> str:
        return self.reply["status"]

    @property
    def printed(self) -> str:
        return "".join(content["text"] for content in self.contents("stream"))

    @property
    def errors(self) -> list[str]:
        """Each error as it is shown."""
        return [_ESCAPES.sub("", "\n".join(content["traceback"])) for content in self.contents("error")]

    @property
    def displays(self) -> list[Message]:
        return self.contents("display_data")

    @property
    def traits(self) -> str:
        """All widget state that was sent, as text."""
        return str(self.contents("comm_open", "comm_msg"))

    def until(self, condition: Callable[[Message], bool]) -> Message:
        """Read messages of this cell until one fulfils `condition`."""
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"the kernel fell silent; so far: {self.messages}") from None
            if message["parent_header"].get("msg_id") != self.msg_id:
                continue
            self.messages.append(message)
            if condition(message):
                return message
            if message["content"].get("execution_state") == "idle":
                raise AssertionError(f"the cell has ended; it came to: {self.errors or self.messages}")

    def until_shown(self, text: str) -> Message:
        """Until `text` is in an output or in a widget."""
        return self.until(lambda message: text in str(message["content"]))

    def finish(self) -> Cell:
        """Until the cell has ended; its reply is read then."""
        self.until(lambda message: message["content"].get("execution_state") == "idle")
        while True:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == self.msg_id:
                self.reply = reply["content"]
                return self

    def must_be_ok(self) -> Cell:
        assert self.status == "ok", self.errors or self.reply
        return self


class NotebookKernel:
    """A kernel with the extension loaded, its journal and working folder in `folder`."""

    def __init__(self, folder: Path, notebook: str = "test.ipynb") -> None:
        removed = ("SMOL_MODEL", "JPY_SESSION_NAME")
        env = {name: value for name, value in os.environ.items() if name not in removed}
        env |= {
            "SMOL_JOURNAL": str(folder / "journal.sqlite"),
            "IPYTHONDIR": str(folder / "ipython"),
            "JPY_SESSION_NAME": str(folder / notebook),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        }
        self._subshell: str | None = None
        self.manager = KernelManager()
        self.manager.start_kernel(env=env, cwd=str(folder))
        self.client = self.connect()
        # Nothing is proved unless a test is about that: it takes a second child each time.
        self.run("%load_ext smol_magic\n%config SmolMagic.prove = False").must_be_ok()

    def connect(self) -> BlockingKernelClient:
        """One more client: another tab, or the same after a reload."""
        client = self.manager.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        return client

    def start(
        self,
        code: str,
        *,
        cell_id: str | None = None,
        stdin: bool = True,
        client: Any = None,
        metadata: Message | None = None,
    ) -> Cell:
        """Send a cell and return at once; with `cell_id` as a notebook of JupyterLab does, else with `metadata`;
        without `stdin` as nbclient does."""
        client = client or self.client
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": stdin,
            "stop_on_error": True,
        }
        if cell_id:
            metadata = {"cellId": cell_id, "deletedCells": []}
        message = client.session.msg("execute_request", content, metadata=metadata)
        client.shell_channel.send(message)
        return Cell(message["header"]["msg_id"], client)

    def run(self, code: str, **options: Any) -> Cell:
        """Send a cell and wait for its end."""
        cell = self.start(code, **options)
        cell.finish()
        return cell

    def interrupt(self) -> None:
        """What ■ does."""
        self.manager.interrupt_kernel()

    def send_comm(self, comm_id: str, data: Message, kind: str = "comm_msg") -> None:
        """Send a comm message over a subshell, as JupyterLab does: older kernels hear it only there while they run."""
        if self._subshell is None:
            self._subshell = self._control("create_subshell_request")["subshell_id"]
        message = self.client.session.msg(kind, {"comm_id": comm_id, "data": data})
        message["header"]["subshell_id"] = self._subshell
        self.client.shell_channel.send(message)

    def hears(self) -> None:
        """Return when the kernel's process has read what was sent to it, even if its main thread is held."""
        self._control("kernel_info_request")

    def _control(self, kind: str) -> Message:
        self.client.control_channel.send(self.client.session.msg(kind, {}))
        return self.client.get_control_msg(timeout=PATIENCE)["content"]

    def value(self, expression: str) -> Any:
        """The value of an expression in the kernel, of the kinds that `repr` can carry."""
        import ast

        shown = self.run(f"print(repr({expression}))")
        return ast.literal_eval(shown.printed)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
