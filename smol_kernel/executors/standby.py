"""Children that are ready before somebody asks: started in the background, handed over at once. `kernel` asks for one.

A front says how many there shall be (`keep`); without that there are none. They are like the last one that was asked
for, or is soon to be (`expect`): in the same folder, with the same settings and variables of the environment. Each is
used by one executor, and ends with it; those that nobody asks for end after a while.
"""

from __future__ import annotations

import atexit
import errno
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smol_kernel.errors import ExecutorError, SmolError
from smol_kernel.executors.client import KernelClient, Stopped
from smol_kernel.executors.launchers.settings import BoxSettings
from smol_kernel.memory.which_file import file_at

IDLE_SECONDS = 600.0
"""After so long without a request they end."""
PAUSE = 1.0
"""Seconds between a request and the start of the next one: who has just asked has the processors first."""
LOOK_SECONDS = 0.1
"""Between two looks whether who waits for a child is stopped."""
PATIENCE = 20.0
"""How long to wait for a zygote, which spares most of a start, when one is coming."""

Key = tuple[object, ...]


@dataclass(frozen=True)
class _Wish:
    """What a child shall be like; `key` tells it from one that is not."""

    python: str | Path | None
    cwd: str
    settings: BoxSettings
    key: Key


class Standby:
    """The children of one process that wait. Any thread, any time."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._change = threading.Condition()
        self._count = 0
        self._wish: _Wish | None = None
        self._ready: list[tuple[Key, KernelClient]] = []
        self._asked, self._due = 0.0, 0.0
        """When somebody asked last, and before when none is started."""
        self._filler: threading.Thread | None = None
        self._starting: Key | None = None
        """What the one is like that is being started."""

    def keep(self, count: int) -> None:
        """Have so many from now on; they come with the next child that somebody uses."""
        with self._change:
            self._count = count
            self._change.notify_all()

    def take(
        self,
        python: str | Path | None,
        cwd: str | Path | None,
        settings: BoxSettings | None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> KernelClient:
        """A client of a child like this: of one that is ready, or about to be, if there is one, else of one that is
        started now. Raises as `launchers.choose.launch`, and Stopped once `stopped()` is true."""
        self._look_where_it_is()
        wish = _wish(python, cwd, settings)
        while wish is not None:
            with self._change:
                while self._starting == wish.key and not self._of(wish):
                    if stopped():
                        raise Stopped
                    self._change.wait(LOOK_SECONDS)
                place = next((place for place, (key, _) in enumerate(self._ready) if key == wish.key), None)
                if place is None:
                    break
                _, client = self._ready.pop(place)
            if client.child.alive():
                return client
            client.close()
        return started(python, cwd, settings)

    def more(self, python: str | Path | None, cwd: str | Path | None, settings: BoxSettings | None) -> None:
        """Have children like this one ready for those who come."""
        self._begin(python, cwd, settings, PAUSE)

    def expect(self, python: str | Path | None, cwd: str | Path | None, settings: BoxSettings | None) -> None:
        """Have one like this ready soon: somebody is about to ask for it."""
        self._begin(python, cwd, settings, 0.0)

    def _begin(
        self, python: str | Path | None, cwd: str | Path | None, settings: BoxSettings | None, pause: float
    ) -> None:
        if not self._count:
            return
        self._look_where_it_is()
        wish = _wish(python, cwd, settings)
        with self._change:
            if wish is None:
                return
            self._wish, self._asked = wish, time.monotonic()
            self._due = min(self._due or math.inf, self._asked + pause)
            self._change.notify_all()
            if self._filler is None:
                atexit.unregister(self.close)
                atexit.register(self.close)
                self._filler = threading.Thread(target=self._fill, name="smol standby", daemon=True)
                self._filler.start()

    def waiting(self, seconds: float) -> int:
        """How many there are, once there are as many as there shall be, or after so many seconds."""
        with self._change:
            self._change.wait_for(lambda: self._wish is None or len(self._of(self._wish)) >= self._count, seconds)
            return len(self._ready)

    def close(self) -> None:
        """End all of them."""
        if os.getpid() != self._process:
            return
        with self._change:
            self._wish = None
            gone, self._ready = self._ready, []
            self._change.notify_all()
        for _, client in gone:
            client.close()

    def _look_where_it_is(self) -> None:
        """In a process forked from the one they belong to, begin anew."""
        if os.getpid() != self._process:
            count = self._count
            self.__init__()
            self._count = count

    def _of(self, wish: _Wish) -> list[KernelClient]:
        return [client for key, client in self._ready if key == wish.key]

    def _is_wanted(self, wish: _Wish) -> bool:
        return self._wish is not None and self._wish.key == wish.key

    def _fill(self) -> None:
        while (wish := self._next()) is not None:
            client, is_ready = None, False
            try:
                _wait_for_zygote()
                with self._change:
                    self._starting = wish.key
                client = started(wish.python, wish.cwd, wish.settings)
                client.boot(lambda wish=wish: not self._is_wanted(wish))
                client.warm_up(lambda wish=wish: not self._is_wanted(wish))
                is_ready = True
            except (SmolError, OSError, Stopped):
                pass  # who asks for one is told why there can be none
            finally:
                with self._change:
                    self._starting = None
                    if client is not None and is_ready:
                        self._ready.append((wish.key, client))
                    elif self._is_wanted(wish):
                        self._wish = None
                    self._change.notify_all()
            if client is not None and not is_ready:
                client.close()

    def _next(self) -> _Wish | None:
        """What to start next, once something is to be started; None once nobody has asked for long."""
        while True:
            with self._change:
                wish, left = self._wish, self._asked + IDLE_SECONDS - time.monotonic()
                fitting = [each for each in self._ready if wish is not None and each[0] == wish.key and left > 0]
                stale = [each for each in self._ready if each not in fitting[: self._count]]
                self._ready = [each for each in self._ready if each not in stale]
                if not stale:
                    if left <= 0 or wish is None:
                        self._wish = self._filler = None
                        return None
                    if len(self._ready) >= self._count:
                        self._due = 0.0
                        self._change.wait(left)
                    elif (early := self._due - time.monotonic()) > 0:
                        self._change.wait(early)
                    else:
                        self._due = 0.0
                        return wish
            for _, client in stale:
                client.close()


def started(python: str | Path | None, cwd: str | Path | None, settings: BoxSettings | None) -> KernelClient:
    """A client of a child that is started now."""
    from smol_kernel.executors.launchers.choose import launch

    child = None
    try:
        child = launch(python, cwd, settings)
        return KernelClient(child)
    except BaseException as error:
        if child is not None:
            child.close()
        if isinstance(error, OSError) and error.errno == errno.ENFILE:
            raise ExecutorError(
                "no child kernel can be started: this system has as many files open as it may have (fs.file-max)"
            ) from None
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            import resource

            raise ExecutorError(
                f"no child kernel can be started: {resource.getrlimit(resource.RLIMIT_NOFILE)[0]:,} files are open, as "
                "many as this process may have. End executors and agents that are done with cleanup(), or allow more: "
                "ulimit -n"
            ) from None
        if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.ENOMEM):
            raise ExecutorError(
                f"no child kernel can be started: no further process can be had here ({error.strerror}). End some, or "
                "allow more processes or memory: ulimit -u, or the limits of the container"
            ) from None
        raise


def _wish(python: str | Path | None, cwd: str | Path | None, settings: BoxSettings | None) -> _Wish | None:
    """None for a child that is not started before it is asked for: without a box, or one that has to be its own."""
    if settings is None or settings.afresh or settings.rehearsal:
        return None
    from smol_kernel.executors.launchers.view import box_environment
    from smol_kernel.executors.launchers.working_folder import working_folder

    folder = working_folder(cwd)
    places = [file_at(path) for path in (folder, *(mount.path for mount in settings.mounts))]
    environment = frozenset(box_environment(settings).items())
    return _Wish(
        python, folder, settings, (str(python or sys.executable), folder, settings, environment, *places, *sys.path)
    )


def _wait_for_zygote() -> None:
    if sys.platform == "linux":
        from smol_kernel.executors.launchers import zygote

        zygote.wait(PATIENCE)


STANDBY = Standby()
"""Of this process."""
