"""The child's end of an output stream: caps what an action prints before it floods the host, keeps the
whole of it here, and flushes in earnest.

Travels into the child as source, for `child.py`; needs the standard library alone.
"""

from __future__ import annotations

import codecs
import functools
import io
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

PASSES = 1 << 20
"""Characters an action may print on each stream before the middle is left out."""
TAIL = 64 * 1024
"""Characters kept of the end."""
FLUSH_SECONDS = 10.0
TURNS = 500
"""How often in an action what one stream holds is sent before the other is written to: each time is a message."""
MAX_WHOLE = 10_000_000
"""Characters kept of what one action put out, and of all that are kept together."""
AT_ONCE, MOST_AT_ONCE = 1 << 16, 256
"""Bytes read from a descriptor at once, and how often before others have their turn: somebody may write without end."""


_lock = threading.RLock()  # a signal's handler may print while its thread does


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()  # a thread that held it is not in the process forked meanwhile


os.register_at_fork(after_in_child=_renew_lock)


class Whole:
    """All that an action put out. `logs`, where actions can read it, has what the host shows the model shortened: by
    the number of the action."""

    def __init__(self) -> None:
        self.logs: dict[int, str] = {}
        self.begin()

    def begin(self, action: int = 0, shown: int = MAX_WHOLE) -> None:
        """Start anew, for the action of that number, of whose logs the model reads `shown` characters."""
        self._action, self._shown = action, shown
        self._text = io.StringIO()
        self._size = self._missing = 0

    def add(self, text: str) -> None:
        """Take in what is put out."""
        room = max(0, MAX_WHOLE - self._size)
        self._missing += max(0, len(text) - room)
        if room:
            self._size += self._text.write(text[:room])

    def end(self) -> bool:
        """Keep it, if it is longer than what is shown; tells whether."""
        if self._size <= self._shown:
            return False
        if self._missing:
            self._text.write(f"\n… {self._missing:,} characters more were not kept")
        self.logs[self._action] = self._text.getvalue()
        while len(self.logs) > 1 and sum(map(len, self.logs.values())) > MAX_WHOLE:
            del self.logs[min(self.logs)]
        self.begin()
        return True


class Descriptor:
    """What is written to the descriptor of a stream, by a subprocess or a library in C, on its way to `write`.

    ipykernel reads it in a thread, some time later; here who needs it now can `take` it as well. Needs poll(2).
    """

    def __init__(self, stream: Any, write: Callable[[str], Any]) -> None:
        self._write, self._process = write, os.getpid()
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._taking = self._ended = False
        stream._should_watch = False
        os.write(stream._original_stdstream_fd, b"\0")  # ipykernel's own thread ends, as in its `close`
        self._end, end = os.pipe()
        os.dup2(end, stream._original_stdstream_fd)
        os.close(end)
        self._there, waiting = select.poll(), select.poll()
        for poller in (self._there, waiting):
            poller.register(self._end, select.POLLIN)
        threading.Thread(target=self._watch, args=(waiting,), name="smol output", daemon=True).start()

    def take(self, whole: bool = False) -> None:
        """Write what has come; with `whole` also a character that lacks its end."""
        if os.getpid() != self._process:
            return
        with _lock:
            if self._taking:  # this is what it writes
                return
            self._taking = True
            try:
                for _ in range(MOST_AT_ONCE):
                    if self._ended or not self._there.poll(0):
                        break
                    self._ended = not (data := os.read(self._end, AT_ONCE))
                    self._write(self._text.decode(data))
                if whole and (rest := self._text.decode(b"", final=True)):
                    self._write(rest)
            finally:
                self._taking = False

    def _watch(self, waiting: select.poll) -> None:
        while not self._ended:
            waiting.poll()
            self.take()


def _held(lock: Any) -> int:
    """How often this thread has taken a lock."""
    return getattr(lock, "_recursion_count", int)()


def _freeing(work: Callable[..., Any]) -> Callable[..., Any]:
    """Have an exception of a signal's handler leave no lock behind: since Python 3.14 it may come when a `with` has
    taken its lock, and before its block, whose end would free it. No other thread would ever send anything again."""
    if sys.version_info[:2] < (3, 14):
        return work

    @functools.wraps(work)
    def freeing(stream: Stream, *given: Any) -> Any:
        streams = (stream, stream.other) if stream.other else (stream,)
        locks: list[Any] = [_lock, *(getattr(each.stream, "_buffer_lock", None) for each in streams)]
        before = list(map(_held, locks))
        try:
            return work(stream, *given)
        except BaseException:
            for lock, count in zip(locks, before, strict=True):
                while _held(lock) > count:
                    lock.release()
            raise

    return freeing


class Stream:
    """Stands before a stream of ipykernel's: the first part of what an action prints passes, then only the end is kept.

    Also `flush` is another: ipykernel's own returns before the text is sent, so that a tool call could overtake it, and
    takes two changes of thread even when there is nothing to send. `keep` is given all that is written. Where an action
    writes to the `other` stream as well, the host gets both in the order in which they were written.
    """

    other: Stream | None = None

    def __init__(self, stream: Any, keep: Callable[[str], None]) -> None:
        self.stream, self._keep = stream, keep
        self._process = os.getpid()
        self._pass: Callable[[str], Any] = functools.partial(type(stream).write, stream)
        self._flush: Callable[[], None] = functools.partial(type(stream).flush, stream)
        self._waiting = self._held_back = False
        self._writing = 0
        """The thread that is just writing; finalizers and signal handlers may write to a stream in the middle of it."""
        self.begin()
        self._descriptor: Descriptor | None = None  # its thread writes here at once
        if getattr(stream, "_should_watch", False):
            self._descriptor = Descriptor(stream, self.write)

    def begin(self) -> None:
        """Count anew."""
        self.stream.write, self.stream.flush = self.write, self.flush  # each time: actions replace them as well
        self.stream.close = self.flush  # the next action prints as well
        self._passed = self._held = self.left_out = self._turns = 0
        self._tail: deque[str] = deque()

    @_freeing
    def write(self, text: Any) -> int:
        """What the stream's own `write` does, up to the cap."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with _lock:
            if self._descriptor is not None:
                self._descriptor.take()  # it was there before
            if self.other is not None:
                self.other.go_first()
            self._keep(text)
            room = max(0, PASSES - self._passed)
            if room:
                self._passed += min(room, len(text))
                before = self._writing
                self._waiting = self._held_back = True
                try:
                    self._writing = threading.get_ident()
                    self._pass(text[:room])
                finally:  # an interrupt may come in the middle
                    self._writing = before
                    self._waiting = self._held_back = True  # another thread may have sent before it was there
            if len(text) > room:
                self._hold(text[room:])
        return len(text)

    def go_first(self) -> None:
        """Send what was written before the other stream is written to: ipykernel sends each by a clock of its own."""
        if self._descriptor is not None:
            self._descriptor.take()
        if self._held_back and not self._writing and self._turns < TURNS and os.getpid() == self._process:
            self._held_back = False
            self._turns += 1
            self.stream._flush()

    @_freeing
    def flush(self) -> bool:
        """Send what was printed; returns once it is on its way, and whether there was anything."""
        if self._descriptor is not None:
            self._descriptor.take()
        in_the_middle = threading.get_ident() in (self._writing, self.other._writing if self.other else 0)
        if not self._waiting or in_the_middle:  # what sends would wait for this thread
            return False
        self._waiting = False
        try:
            self._send()
        except BaseException:  # an interrupt: it may wait still
            self._waiting = True
            raise
        return True

    def _send(self) -> None:
        sender = self.stream.pub_thread
        if os.getpid() != self._process or threading.current_thread() is sender.thread or not sender.thread.is_alive():
            self._flush()
            return
        # An interrupt in the middle of an Event's `wait` can leave its lock held, and with it the sender for good.
        sent = threading.Lock()
        sent.acquire()
        sender.schedule(self.stream._flush)
        sender.schedule(lambda: sender.schedule(sent.release))  # _flush only schedules the sending itself
        sent.acquire(timeout=FLUSH_SECONDS)

    @_freeing
    def drain(self) -> None:
        """Take in all that was written to the descriptor."""
        if self._descriptor is not None:
            self._descriptor.take(whole=True)

    @_freeing
    def end(self) -> None:
        """Let through what was held back, with a note of what is missing."""
        self.drain()
        with _lock:
            if self._tail:
                note = f"\n… {self.left_out:,} characters left out …\n" if self.left_out else ""
                self._pass(note + "".join(self._tail))
                self._waiting = True
            self.begin()

    def _hold(self, text: str) -> None:
        self.left_out += max(0, len(text) - TAIL)
        self._tail.append(text[-TAIL:])
        self._held += len(self._tail[-1])
        while self._held - len(self._tail[0]) >= TAIL:
            gone = len(self._tail.popleft())
            self._held -= gone
            self.left_out += gone
