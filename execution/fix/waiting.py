"""What a FIX session waits for: signs of life from the counterparty, and the messages of a gap. Pure.

FIX 4.4 with Errata 20030618, Volume 2, "Heartbeat", "Test Request" and "Message Recovery".
"""

from __future__ import annotations

from enum import Enum, auto

from execution.fix.codec import Message
from tickloom.clock import NS_PER_S

SILENCE_FACTOR = 2.4  # heartbeat intervals of silence that end a session ...
TEST_FACTOR = 1.2  # ... and for each TestRequest before that
QUEUE_MESSAGES_MAX = 10_000  # behind a gap; more are dropped, since the resend brings them too
RESEND_WAIT_NS = 30 * NS_PER_S  # a gap that is not filled by then is asked for again
_NONE = 0


class Due(Enum):
    """What has to be done about silence."""

    NOTHING = auto()
    HEARTBEAT = auto()
    TEST_REQUEST = auto()
    END = auto()


class Liveness:
    """When we last heard of the counterparty, and what follows from it."""

    def __init__(self, heartbeat_s: int, now_ns: int) -> None:
        self.interval_ns = heartbeat_s * NS_PER_S
        self._heard_ns, self._tests = now_ns, 0

    def heard(self, now_ns: int) -> None:
        """A message that belongs to the session has come."""
        self._heard_ns, self._tests = now_ns, 0

    def silent_ns(self, now_ns: int) -> int:
        return now_ns - self._heard_ns

    def due(self, now_ns: int, last_sent_ns: int) -> Due:
        """What is due; a TestRequest counts as sent with that. While one is out, no heartbeat is."""
        silent_ns = self.silent_ns(now_ns)
        if self.interval_ns == 0:
            return Due.NOTHING
        if silent_ns >= SILENCE_FACTOR * self.interval_ns:
            return Due.END
        if silent_ns >= TEST_FACTOR * (self._tests + 1) * self.interval_ns:
            self._tests += 1
            return Due.TEST_REQUEST
        if not self._tests and now_ns - last_sent_ns >= self.interval_ns:
            return Due.HEARTBEAT
        return Due.NOTHING


class Gap:
    """Messages that came too early, while those before them are asked for."""

    def __init__(self) -> None:
        self._queue: dict[int, Message] = {}
        self._end, self._asked_ns = _NONE, 0

    @property
    def open(self) -> bool:
        """Whether messages were asked for that have not all come."""
        return self._end != _NONE

    def keep(self, seq_num: int, message: Message) -> None:
        """Until its turn comes; dropped where too many wait."""
        if len(self._queue) < QUEUE_MESSAGES_MAX:
            self._queue[seq_num] = message

    def asked(self, end: int, now_ns: int) -> None:
        """All up to ``end`` were asked for."""
        self._end, self._asked_ns = end, now_ns

    def overdue(self, now_ns: int) -> int:
        """The end of what should have come by now; 0: nothing."""
        return self._end if self.open and now_ns - self._asked_ns >= RESEND_WAIT_NS else _NONE

    def next(self, seq_num: int) -> Message | None:
        """The message whose turn it is, if it came before."""
        return self._queue.pop(seq_num, None)

    def reached(self, next_in: int) -> None:
        """All before ``next_in`` is done with."""
        if next_in > self._end:
            self._end = _NONE

    def skip(self, next_in: int) -> None:
        """What is before ``next_in`` will not be asked for."""
        self._queue = {seq_num: kept for seq_num, kept in self._queue.items() if seq_num >= next_in}
