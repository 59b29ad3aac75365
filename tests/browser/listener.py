"""Listens on this machine as the attacker's server would, and notes every connection and what it asks for."""

from __future__ import annotations

import socket
import threading

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n"


class Listener:
    """A context manager; `base` is its address."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=500)
        self.base = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._asked: list[str] = []
        self._news = threading.Condition()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Listener:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()

    @property
    def asked(self) -> list[str]:
        """The names asked for so far, in order; what is no HTTP as it stands."""
        with self._news:
            return list(self._asked)

    def wait_for(self, name: str, seconds: float) -> bool:
        """Until `name` was asked for; whether it was."""
        with self._news:
            return self._news.wait_for(lambda: name in self._asked, seconds)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._hear, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _hear(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(1)  # one that only connects says nothing
            try:
                text = connection.recv(65536).decode("latin-1")
            except OSError:
                return
            words = text.split()
            http = len(words) > 2 and words[2].startswith("HTTP/")
            with self._news:
                self._asked.append(words[1].strip("/").partition("?")[0] if http else text)
                self._news.notify_all()
            connection.sendall(ANSWER + b"Connection: close\r\n\r\n")
