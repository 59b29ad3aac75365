"""One action from the request to its end: reads what the child sends, minds the clock, stops what must be stopped.

`kernel` makes one for each `run()`.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from numbers import Integral, Real
from typing import Literal

from smol_kernel.errors import ChildDiedError, ConfigError
from smol_kernel.events import Event, Output
from smol_kernel.executors.asides import Asides
from smol_kernel.executors.bridge import Bridge, Function, Refuse
from smol_kernel.executors.client import KernelClient
from smol_kernel.executors.observation import PACE, Observer
from smol_kernel.executors.readings import Answered, Asked, Displayed, Idle, Printed, Reading, Replied, Started
from smol_kernel.executors.recorded import Recorded
from smol_kernel.executors.tool_thread import AskPerson
from smol_kernel.waits import LOOK

OTHER_HALF = 1.0
"""Seconds without a message to wait for the reply or the end of output once the other has come: an interrupt can cost
us one of them."""

ANOTHER_CHANNEL = 0.02
"""Seconds to wait for what was printed before a call: it may come a moment after the call."""

MANY = 200
"""Readings that wait, above which nothing is waited for."""
BACKLOG = 15_000
"""Messages of a child that may wait unread, more than the queues hold. One that has sent as many since its time was up
is still at it."""

Reason = Literal["interrupted", "timeout"]


class Clock:
    """Counts the child's own seconds: it stands while the child waits for the host.

    That a call is open does not show that the child waits: while it stands, it goes on by the time in which the child
    had a processor, as `used` tells that.
    """

    def __init__(self, used: Callable[[], float]) -> None:
        self._used, self._used_since = used, 0.0
        self._before, self._since = 0.0, time.monotonic()
        self._stands = False

    @property
    def seconds(self) -> float:
        """Counted so far. While it stands each look counts for itself: what many processors did in a second is one."""
        now = time.monotonic()
        if not self._stands:
            return self._before + now - self._since
        used = self._used()
        self._before += min(now - self._since, used - self._used_since)
        self._since, self._used_since = now, used
        return self._before

    @property
    def stands(self) -> bool:
        """Whether it stands."""
        return self._stands

    def stand(self, stands: bool) -> None:
        """Let it stand, or go on."""
        if stands != self._stands:
            self._before, self._since, self._stands = self.seconds, time.monotonic(), stands
            self._used_since = self._used() if stands else 0.0


def usable_timeout(seconds: float | None) -> float | None:
    """The time limit for an action, if it can be one. Raises ConfigError."""
    if seconds is not None and not (isinstance(seconds, Real) and 0 < seconds < math.inf):
        raise ConfigError(f"timeout_seconds {seconds!r}: give seconds above 0, or None for no limit")
    return seconds


def usable_grace(seconds: float) -> float:
    """The time between an interrupt and the kill, if it can be one. Raises ConfigError."""
    if not (isinstance(seconds, Real) and 0 <= seconds < math.inf):
        raise ConfigError(f"interrupt_grace_seconds {seconds!r}: give seconds, 0 to kill at once")
    return seconds


def usable_length(characters: int | None, usual: int) -> int:
    """How much of an action's output is read, if it can be so much; None: as usual. Raises ConfigError."""
    if characters is not None and not (isinstance(characters, Integral) and characters >= 0):
        raise ConfigError(f"max_print_outputs_length {characters!r}: give a whole number of characters, or None")
    return usual if characters is None else characters


class Action:
    """One action under way.

    `tools` and what goes with them are for its `Bridge`. `number` is its own; `timeout` is in seconds of the child's
    own time (None: no limit), `grace` in seconds between the interrupt and the kill, `stop_wanted` tells whether
    somebody has interrupted. When `run` has ended, `reply` is what the child said (None: nothing), `died` why it is
    gone (None: it lives), and `reason` why it was stopped, if it was.
    """

    def __init__(
        self,
        client: KernelClient,
        tools: Mapping[str, Function],
        observer: Observer,
        *,
        ask_person: AskPerson | None,
        refuse: Refuse | None,
        recorded: Recorded | None,
        next_id: Callable[[], str],
        number: int,
        timeout: float | None,
        grace: float,
        stop_wanted: Callable[[], bool],
    ) -> None:
        self._client, self.observer = client, observer
        self.number, self.timeout = number, timeout
        self._grace, self._stop_wanted = grace, stop_wanted
        self.clock = Clock(client.processor_time.seconds)
        self._request = ""
        self._readings: deque[Reading] = deque()
        """Read, and not taken yet."""
        self.asides = Asides(client, self._receive, self._readings.append, lambda: self.stopping() or self._late)
        self._bridge = Bridge(
            client,
            tools,
            self.asides,
            ask_person=ask_person,
            refuse=refuse,
            recorded=recorded,
            next_id=next_id,
            stopped=self.stopping,
            standing=self.clock.stand,
        )
        self._heard = False  # something printed, since the last call
        self._started = self._idle = self._quiet = self._ended = False
        self._came_back = False  # its reply is here, if not taken yet: no call is its own any more
        self._half_at = self._interrupts_at = 0.0
        self._since_timeout = 0  # messages read since its time was up
        self._interrupts = 0
        self._broken = ""
        """Why the child cannot be heard any more, if that is so."""
        self.reply: Replied | None = None
        self.died: str | None = None
        self.reason: Reason | None = None
        self.killed = ""
        """Why its child was killed, if it was."""

    def stopping(self) -> bool:
        """Whether nobody waits for answers any more: the action is being stopped, should be, or its child is gone."""
        return self.reason is not None or self.died is not None or self._stop_wanted()

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.died is not None or self._ended

    def run(self, send: Callable[[], str]) -> Generator[Event, None, KeyboardInterrupt | None]:
        """Run it; yields what happens until it has ended one way or another. `send` sends the request, and gives its
        id. Gives the KeyboardInterrupt that came meanwhile and stopped it."""
        try:
            yield from self._go_on(send)
        except KeyboardInterrupt as error:
            yield from self._stop()
            return error
        except GeneratorExit:  # the reader has gone: nothing may be yielded any more
            for _ in self._stop():
                pass
            raise
        finally:
            self.asides.end()
            del self._bridge  # which knows this action, and agents that a tool calls: they end with their last name
        return None

    def _stop(self) -> Iterator[Event]:
        """Interrupt it, and wait for its end."""
        self.reason = self.reason or "interrupted"
        try:
            yield from self._go_on()
        except KeyboardInterrupt:  # once more: it is not waited for any longer
            if not self.ended:
                self.killed = "it was stopped a second time"
                self._client.kill()
            yield from self._go_on()

    def _go_on(self, send: Callable[[], str] | None = None) -> Iterator[Event]:
        try:
            self.asides.close()
            if send is not None:
                self._request = send()
            while not self._over():
                self._mind()
                readings = self._receive(self._patience())
                self._quiet = not self._client.came
                if self._half_at and not self._quiet:  # the other half comes behind what came now
                    self._half_at = time.monotonic()
                if self._late:
                    self._since_timeout += self._client.came
                if self._quiet:
                    yield from self.observer.release()
                self._readings.extend(readings)
                while self._readings:
                    yield from self._take(self._readings.popleft())
                yield from self._bridge.collect()
                self.asides.give_way()
            self._ended = True
        except ChildDiedError as error:
            self.died = str(error)
        yield from self.observer.finish()
        if self.died and self.reason is None and self._stop_wanted():
            self.reason = "interrupted"
        ending = "the action was stopped" if self.reason else "the action ended before the call returned"
        yield from self._bridge.abandon(ending)

    def _take(self, reading: Reading) -> Iterator[Event]:
        match reading:
            case Printed(stream, text):
                self._heard = True
                yield from self.observer.add(Output(channel=stream, text=text))
            case Displayed(channel, data):
                yield from self.observer.add(Output(channel=channel, text=data.get("text/plain", ""), data=data))
            case Asked():
                if reading.printed and not (self._heard or self._came_back) and len(self._readings) < MANY:
                    yield from self._hear()
                self._heard = False
                yield from self.observer.release()  # what was printed before the call is shown before it
                if self._came_back and not reading.leaving:
                    self._client.refuse_stale(reading)
                else:
                    yield from self._bridge.answer(reading)
            case Started():
                self._started = True
            case Answered():  # who asked has given up
                pass
            case Replied():
                self.reply = reading
                self._half_at = self._half_at or time.monotonic()
            case Idle():
                self._idle = True
                self._half_at = self._half_at or time.monotonic()

    def _receive(self, timeout: float | None) -> list[Reading]:
        if self._broken:
            raise ChildDiedError(self._broken)
        try:
            readings = self._client.receive(self._request, timeout)
        except ChildDiedError as error:
            self._broken = str(error)
            raise
        self._came_back = self._came_back or any(isinstance(each, Replied) for each in readings)
        return readings

    def _hear(self) -> Iterator[Event]:
        """Take what was printed, should it come now; what else comes waits for its turn."""
        for late in self._receive(ANOTHER_CHANNEL):
            if isinstance(late, Printed):
                yield from self._take(late)
            else:
                self._readings.append(late)

    def _over(self) -> bool:
        if self.reply is not None and self._idle and not self._client.interrupting:  # it would reach the next one
            return True
        return bool(self._half_at) and self._quiet and time.monotonic() - self._half_at > OTHER_HALF

    @property
    def _late(self) -> bool:
        return self.timeout is not None and self.clock.seconds >= self.timeout

    def _mind(self) -> None:
        """Interrupt or kill, if it is time. A timeout counts once nothing is left to read of what the child sent in its
        time."""
        if self.reason is None:
            if self._stop_wanted():
                self.reason = "interrupted"
            elif self._late and (self._quiet or self._since_timeout > BACKLOG):
                self.reason = "timeout"
        if self.reason is None or not (self._started or self.clock.seconds > OTHER_HALF):
            return  # an interrupt that comes before the action has begun is lost
        now = time.monotonic()
        if self._interrupts == 0:
            self._interrupts_at = now
        elif now - self._interrupts_at >= self._grace:
            self.killed = "it did not heed the interrupt"
            self._client.kill()
            return
        if now - self._interrupts_at >= self._interrupts * self._grace / 2:  # twice: one can get lost in a callback
            self._interrupts += 1
            self._client.interrupt()

    def _patience(self) -> float | None:
        """Seconds until something has to be looked at again; None if only the child can bring news."""
        if self._readings or self.asides.wanted:  # they came while another thread asked the child; one wants to ask
            return 0.0
        now = time.monotonic()
        waits = [PACE] if self.observer.holds or self._bridge.holds else []
        if self._half_at:
            waits.append(self._half_at + OTHER_HALF - now)
        if self._interrupts and not self.killed:
            waits.append(self._interrupts_at + self._interrupts * self._grace / 2 - now)
        elif self.reason is not None:
            waits.append(OTHER_HALF)
        elif self.timeout is not None:
            left = self.timeout - self.clock.seconds
            waits.append(LOOK if self.clock.stands and left > 0 else left)
        return max(0.0, min(waits)) if waits else None
