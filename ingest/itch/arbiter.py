"""Records of a session's lines in, what to ask for or to give up out: the session's decisions. Pure.

The shell (:mod:`ingest.itch.session`) captures what comes, tells it to the arbiter, and does what the arbiter
says. The decoders come to the same view by the capture alone.
"""

from __future__ import annotations

from ingest.capture_batch import CaptureBatch
from ingest.itch.lines import Lines, LineWatch, Silence
from ingest.itch.moldudp64 import Tracker, parse
from ingest.itch.rerequest import GiveUp, Request, Rerequester
from ingest.itch.runs import Heads


class Arbiter:
    """One session while it is captured.

    Parameters
    ----------
    tracker : Tracker
        What of the session was captured before.
    name : str
        The session's name as text, for a tracker that has not seen its ten bytes yet.
    heads : Heads, optional
        The first messages that were captured before.
    lines : int
        How many lines bring it.
    gap_timeout_ms, hold_ms, line_silent_ms
        See :class:`~ingest.itch.rerequest.Rerequester` and :class:`~ingest.itch.lines.LineWatch`.
    """

    def __init__(
        self,
        tracker: Tracker,
        name: str,
        *,
        heads: Heads | None = None,
        lines: int = 1,
        gap_timeout_ms: int = 1_000,
        hold_ms: float = 3.0,
        line_silent_ms: int = 3_000,
    ) -> None:
        self.tracker = tracker
        self.lines = Lines(tracker.session)
        self.heads = heads or Heads(tracker.session)
        self.filled = 0  # holes that were asked for and closed
        self._name = name
        self._rerequester = Rerequester(gap_timeout_ms, hold_ms)
        self._watch = LineWatch(lines, line_silent_ms)
        self._asked_last = 0  # the last number of the hole that was asked for; 0: none is open

    @property
    def waiting(self) -> bool:
        """Whether a hole is open: :meth:`step` is to be called within milliseconds."""
        return self._rerequester.waiting

    def take(self, batch: CaptureBatch, now_ns: int) -> tuple[int, list[Silence]]:
        """Look at records that were just captured.

        Returns
        -------
        (int, list of Silence)
            Datagrams that are none of the session; lines that fell silent, or are heard again.
        """
        strange = sum(1 for _ in self.tracker.take(batch.data, batch.offsets, batch.kinds))
        return strange, self._watch.heard(self.lines.take(batch), now_ns)

    def step(self, now_ns: int) -> Request | GiveUp | None:
        """What to do at ``now_ns`` (a clock that never goes back); what it gives up is missing no more."""
        if self.tracker.overflowed:
            self._asked_last = 0
            return GiveUp(self.tracker.overflowed.pop(0))
        sequencer = self.tracker.sequencer
        missing = sequencer.missing()
        if self._asked_last and (missing is None or missing.first > self._asked_last):
            self.filled += 1
            self._asked_last = 0
        step = self._rerequester.next(missing, now_ns, sequencer.horizon)
        if isinstance(step, Request) and missing is not None:
            self._asked_last = self._asked_last or missing.last
        elif isinstance(step, GiveUp):
            sequencer.give_up(step.gap.last)
            self._asked_last = 0
        return step

    def restart_at(self, batch: CaptureBatch) -> int:
        """Before a batch is captured: index of its first record that is of another run of the session."""
        if not self.tracker.session.strip(b"\x00"):
            self._adopt(batch)
        return self.heads.look(batch)

    def _adopt(self, batch: CaptureBatch) -> None:
        """The ten bytes of the session, from the first packet that has its name."""
        for record in batch:
            packet = parse(record.payload)
            if packet is not None and packet.name == self._name:
                self.tracker = Tracker(packet.session)
                self.lines = Lines(packet.session)
                self.heads = Heads(packet.session)
                return
