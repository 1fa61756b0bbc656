"""Signals in, from the consumer or from the log; batches of them out, each offset once and in its order.

The consumer (Faust's) delivers one message at a time, which takes some passes of the loop, 350 us of CPU: as
much as deciding on it. So while many come, the consumer is paused and the log is read in batches instead
(following); when fewer come, the consumer goes on behind what was read. Whoever delivers: the journal's
offsets say what is next, what was taken is skipped, and what is missing is read from the log first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Protocol

import structlog

from execution.signal_log import Message, SignalFollower, SignalLog
from tickloom.clock import NS_PER_S, Clock
from tickloom.errors import ServiceError

STALL_CHECK_S = 5.0
STALL_CHECKS_MAX = 4  # a message that waits for 20 s while nothing is being done will never come
BATCH_MAX = 16  # signals; a commit costs as much as deciding on one, and the kill switch waits for a batch
#: After a batch, in which the next one gathers. The consumer needs some passes of the loop for each message;
#: taken as they come, every signal under load was a transaction by itself (4,500 of 4,500 at 1,000/s).
GATHER_S = 0.002
BRIDGE_S = 0.2
BRIDGE_NS_MAX = 60 * NS_PER_S  # a consumer that needs longer is broken: the watch sees it then
WAITING_MAX = 1_000  # signals; the consumer waits beyond that
#: So many delivered in a window, or so many behind the last one, and the log is read instead; so few read in
#: one, and the consumer goes on.
WINDOW_NS = NS_PER_S // 2
FOLLOW_FROM, FOLLOW_UNTIL = 100, 50
SKIP_NS = 5 * NS_PER_S  # between two times that a paused consumer is told how far the log was read

_log = structlog.get_logger("execution")


class _LogAwayError(Exception):
    """The log could not be read; nothing was taken of what was asked for."""


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except ServiceError as error:
        raise _LogAwayError(str(error)) from error


class Delivery(Protocol):
    """Whoever calls :meth:`SignalIntake.accept`, as far as it can be told to wait."""

    def pause(self, partitions: Iterable[int]) -> None:
        """Deliver nothing more of them, as soon as that goes."""

    async def skip_to(self, offsets: Mapping[int, int]) -> None:
        """Partition to the offset to go on with; what is before has been taken."""

    def resume(self, partitions: Iterable[int]) -> None:
        """Deliver them again."""


class SignalIntake:
    """The signals topic as one agent takes it. All of it runs on one event loop.

    Parameters
    ----------
    take : callable
        Decides on messages and makes that durable; it empties the list it is
        called with.

    Attributes
    ----------
    delivery : Delivery or None
        None: the log is never followed.
    """

    def __init__(
        self,
        log: SignalLog,
        follower: Callable[[], SignalFollower],
        take: Callable[[list[Message]], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._log, self._make_follower, self._take, self._clock = log, follower, take, clock
        self.delivery: Delivery | None = None
        self._next: dict[int, int] = {}
        self._taking = asyncio.Lock()
        self._waiting: asyncio.Queue[Message] = asyncio.Queue(WAITING_MAX)
        self._due: list[Message] = []
        self._delivered = asyncio.Event()  # the consumer has begun to
        self._following = False
        self._window_ns, self._in_window, self._behind = 0, 0, 0

    async def begin(self, partition: int, start: int, stop: int) -> None:
        """Take the messages from ``start`` up to, not including, ``stop``, and go on there."""
        async with self._taking:
            self._next[partition] = start
            await self._read_up_to(partition, stop)

    async def accept(self, value: bytes, partition: int, offset: int, behind: int = 0) -> None:
        """Take one message of the signals topic; returns as soon as there is room for it.

        Its effect is durable later: the journal's offsets, not those of the consumer, say what was taken.

        Parameters
        ----------
        behind : int
            How many more there are in the partition already.
        """
        self._delivered.set()
        if self._following and partition in self._next:
            return  # the log is read from what was not taken yet, and this is behind it
        self._in_window += 1
        self._behind = behind
        await self._waiting.put((value, partition, offset))

    # --- work that goes on until it is cancelled -----------------------------------------------

    async def bridge(self) -> None:
        """Read the log until the consumer delivers: after a kill that takes ten seconds in its group."""
        end_ns = self._clock.monotonic_ns() + BRIDGE_NS_MAX
        while self._clock.monotonic_ns() < end_ns:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BRIDGE_S):
                    await self._delivered.wait()
                return
            try:
                ranges = await asyncio.to_thread(self._log.ranges)
            except ServiceError as error:
                _log.warning("broker_away", error=str(error))
                continue
            for partition, (_, high) in ranges.items():
                async with self._taking:
                    await self._read_up_to(partition, high)

    async def take_waiting(self) -> None:
        """Take what was delivered; what waits together is one transaction."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH_MAX and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            async with self._taking:
                for value, partition, offset in batch:
                    start = self._next.get(partition, offset)
                    if offset > start:  # behind what was never delivered
                        await self._take(self._due)
                        await self._read_up_to(partition, offset)
                    if offset >= self._next.get(partition, 0):
                        self._due.append((value, partition, offset))
                        self._next[partition] = offset + 1
                await self._take(self._due)
            if self.delivery is not None and self._many():
                await self._follow(self.delivery)
            await asyncio.sleep(GATHER_S)  # and whatever else is due on the loop: reports, the kill switch

    async def watch(self) -> None:
        """End if messages wait and nobody delivers them; a successor reads them itself.

        Raises
        ------
        ServiceError
            That is so.
        """
        stalled: dict[int, tuple[int, int]] = {}
        while True:
            await asyncio.sleep(STALL_CHECK_S)
            try:
                ranges = await asyncio.to_thread(self._log.ranges)
            except ServiceError as error:
                _log.warning("broker_away", error=str(error))
                continue
            if self._taking.locked():
                continue
            for partition, (_, high) in ranges.items():
                at = self._next.get(partition, 0)
                before, count = stalled.get(partition, (-1, 0))
                count = count + 1 if high > at and before == at else 0
                stalled[partition] = (at, count)
                if count >= STALL_CHECKS_MAX:
                    raise ServiceError(f"signals/{partition} waits at offset {at} and is not delivered")

    # --- following -----------------------------------------------------------------------------

    def _many(self) -> bool:
        """Whether the consumer delivers more in a window than it should, or falls behind."""
        now_ns = self._clock.monotonic_ns()
        many = max(self._in_window, self._behind) >= FOLLOW_FROM
        if many or now_ns - self._window_ns > WINDOW_NS:
            self._window_ns, self._in_window, self._behind = now_ns, 0, 0
        return many

    async def _follow(self, delivery: Delivery) -> None:
        """Read the log in the consumer's stead, until few signals come or it cannot be read."""
        self._following = True
        delivery.pause(self._next)
        while not self._waiting.empty():  # the log has them too
            self._waiting.get_nowait()
        _log.info("follows_the_log", next=dict(self._next))
        follower = self._make_follower()
        try:
            with _reading():
                await asyncio.to_thread(follower.begin, dict(self._next))
            await self._read_on(follower, delivery)
        except _LogAwayError as error:  # of reading alone: what fails in a decision ends the agent
            _log.warning("log_cannot_be_read", error=str(error), advice="the consumer goes on")
        finally:
            await asyncio.to_thread(follower.close)
            self._following = False
        await delivery.skip_to(dict(self._next))
        self._delivered.clear()
        delivery.resume(self._next)
        _log.info("follows_the_consumer", next=dict(self._next))
        await self.bridge()

    async def _read_on(self, follower: SignalFollower, delivery: Delivery) -> None:
        began_ns = told_ns = self._clock.monotonic_ns()
        count = 0
        while True:
            with _reading():
                batch = await asyncio.to_thread(follower.read, BATCH_MAX)
            async with self._taking:
                for _, partition, offset in batch:
                    self._next[partition] = offset + 1
                await self._take(batch[:])
            count += len(batch)
            now_ns = self._clock.monotonic_ns()
            if now_ns - told_ns > SKIP_NS:  # else its group looks as if it stood still
                told_ns = now_ns
                await delivery.skip_to(dict(self._next))
            if now_ns - began_ns > WINDOW_NS:
                if count < FOLLOW_UNTIL:
                    return
                began_ns, count = now_ns, 0

    async def _read_up_to(self, partition: int, stop: int) -> None:
        """Take what lies before ``stop`` and was never delivered."""
        start = self._next.get(partition, stop)
        if start >= stop:
            return
        _log.info("reading_signals", partition=partition, start=start, stop=stop)
        messages = await asyncio.to_thread(lambda: list(self._log.read(partition, start, stop)))
        for first in range(0, len(messages), BATCH_MAX):
            part = messages[first : first + BATCH_MAX]
            await self._take([(value, partition, offset) for offset, value in part])
            await asyncio.sleep(0)
        self._next[partition] = stop
