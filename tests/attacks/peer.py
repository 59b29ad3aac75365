"""A child that is an enemy: it has the key and the sockets of a kernel, and sends whatever a test wants."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zmq

from smol_kernel.executors.action import Action
from smol_kernel.executors.client import KernelClient
from smol_kernel.executors.observation import Observer
from smol_kernel.executors.tool_thread import AskPerson
from smol_kernel.executors.transports.zmq import ZmqTransport

KEY = b"the key, which every child has"
IDLE = ("iopub", "status", b'{"execution_state": "idle"}')
_numbers = itertools.count()
LAST = 2**40
LAST_CALL = b'{"prompt": "", "smol": {"id": %d, "tool": "", "args": [], "kwargs": {}}}' % LAST
DONE = ("shell", "execute_reply", b'{"status": "ok", "payload": [{"source": "smol", "value": 7}]}')


class Peer:
    """The sockets of a kernel, and a client of ours that is connected to them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="peer")
        path = str(Path(self._folder.name) / "k")
        ports = {f"{channel}_port": place for place, channel in enumerate(("shell", "iopub", "stdin", "control"), 1)}
        self.connection: dict[str, Any] = {"transport": "ipc", "ip": path, "key": KEY.decode(), **ports}
        self.connection["signature_scheme"] = "hmac-sha256"
        self._context = zmq.Context()
        self.sockets: dict[str, zmq.Socket[bytes]] = {}
        for channel in ("shell", "iopub", "stdin", "control"):
            socket = self._context.socket(zmq.XPUB if channel == "iopub" else zmq.ROUTER)
            socket.linger = 0
            socket.sndhwm = 0  # nothing of a test's own is lost
            if channel != "iopub":
                socket.router_mandatory = True
            socket.bind(f"ipc://{path}-{self.connection[channel + '_port']}")
            self.sockets[channel] = socket
        self.transport = ZmqTransport(self.connection, None, self.alive)
        self.client = KernelClient(self)
        self.client.check([], None)
        while not (self.sockets["shell"].poll(10) and self.sockets["iopub"].poll(10)):  # here its subscription comes
            self.transport.receive(0.01)
        self._ended, self._answers = threading.Event(), list[dict[str, Any]]()
        self._listener: threading.Thread | None = None
        self._outbox: queue.SimpleQueue[tuple[str, list[bytes]]] = queue.SimpleQueue()
        self.to_a_question: list[tuple[str, str, bytes]] = []
        """What is sent when the host asks a call that waits, each channel, type and content."""
        self._identity = self.sockets["shell"].recv_multipart()[0]

    # what a launcher's child has

    memory_line = None

    def alive(self) -> bool:
        return True

    def connected(self) -> None:
        pass

    def refresh(self, action: bool) -> None:
        pass

    def ending(self) -> str:
        return ""

    def last_words(self) -> str:
        return ""

    def kill(self) -> None:
        pass

    def close(self) -> None:
        pass

    def action(self, tools: Mapping[str, Callable[..., Any]], ask_person: AskPerson | None) -> Action:
        """An action of the host's that this child is to run."""
        names = itertools.count()
        return Action(
            self.client,
            tools,
            Observer(20_000),
            ask_person=ask_person,
            refuse=None,
            recorded=None,
            next_id=lambda: f"c{next(names)}",
            number=1,
            timeout=60,
            grace=3,
            stop_wanted=lambda: False,
        )

    # what an enemy does

    @staticmethod
    def sign(parts: list[bytes]) -> bytes:
        return hmac.new(KEY, b"".join(parts), hashlib.sha256).hexdigest().encode()

    def send(self, channel: str, frames: list[bytes]) -> None:
        """Send these frames as one message. While somebody listens, that thread alone has the sockets: ZeroMQ's are for
        one thread at a time."""
        listener = self._listener
        if listener is not None and listener.is_alive() and listener is not threading.current_thread():
            self._outbox.put((channel, frames))
            return
        whole = frames if channel == "iopub" else [self._identity, *frames]
        deadline = time.monotonic() + 20
        while True:
            try:
                self.sockets[channel].send_multipart(whole)
                return
            except zmq.ZMQError as error:  # it has not connected yet
                if error.errno != zmq.EHOSTUNREACH or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def tell(self, parent: str, channel: str, type: str, content: bytes) -> None:
        """Send a message in the right form."""
        self.send(channel, message(parent, type, content))

    def play(self, request: str, messages: list[tuple[str, list[bytes]]], ends: list[tuple[str, list[bytes]]]) -> None:
        """Send messages, each a channel and frames; and the ends once the host has answered a last call, so that it has
        read the others by then."""
        for channel, frames in messages:
            self.send(channel, frames)
        self.tell(request, "stdin", "input_request", LAST_CALL)
        self._ended.clear()
        self._listener = threading.Thread(target=self._listen, args=(request, ends))
        self._listener.start()

    def _listen(self, request: str, ends: list[tuple[str, list[bytes]]]) -> None:
        while not self._ended.is_set():
            while not self._outbox.empty():
                self.send(*self._outbox.get())
            if not self.sockets["stdin"].poll(2):
                continue
            frames = self.sockets["stdin"].recv_multipart()
            answer = json.loads(frames[frames.index(b"<IDS|MSG>") + 5])
            if "question" in answer.get("smol", {}):
                for each in self.to_a_question:
                    self.tell(request, *each)
            elif answer.get("smol", {}).get("id") == LAST:
                for channel, frames in ends:
                    self.send(channel, frames)
            else:
                self._answers.append(answer)

    def answers(self) -> list[dict[str, Any]]:
        """What the host has answered to what was played, the content of each; for when the action has ended."""
        self._ended.set()
        if self._listener is not None:
            self._listener.join()
        found, self._answers = self._answers, []
        return found

    def end(self) -> None:
        """Free everything."""
        self.client.close()
        for socket in self.sockets.values():
            socket.close(linger=0)
        self._context.term()
        self._folder.cleanup()


def message(parent: str, type: str, content: bytes) -> list[bytes]:
    """The frames of a message, signed."""
    header = json.dumps({"msg_id": str(next(_numbers)), "msg_type": type, "version": "5.4"}).encode()
    parts = [header, json.dumps({"msg_id": parent}).encode(), b"{}", content]
    return [b"<IDS|MSG>", Peer.sign(parts), *parts]
