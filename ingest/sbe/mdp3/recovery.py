"""Which of the feeds that a channel repeats are needed, and for how long: market recovery and instrument
replay. Pure.

Both say the same again and again: the first a snapshot of each book that was ever touched this week, the
second the definition of each instrument. Each message says how many a loop has (TotNumReports). CME asks that
they be listened to for recovery only (Client Systems Wiki, "MDP 3.0 - MBP and MBOFD Market Recovery",
"MDP 3.0 - Instrument Recovery"), and they are the larger part of a channel's bytes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.sbe.mdp3 import templates as t
from ingest.sbe.mdp3.decoder import Mdp3Decoder
from ingest.sbe.mdp3.packets import MESSAGE_HEAD_BYTES, parse
from ingest.sbe.mdp3.schema import root_layout
from ingest.udp.feed import SIDE_LINE, LineDecoder, SideLines
from tickloom.settings import Mdp3Settings
from tickloom.settings.ingest import SNAPSHOT_LINES_MAX

_NO_TOTAL = 2**32 - 1
_FIELDS = ("SecurityID", "TotNumReports", "LastMsgSeqNumProcessed")  # four bytes each


@dataclass(frozen=True, slots=True)
class Report:
    """One message of a loop. total: how many messages a loop has; last: LastMsgSeqNumProcessed, 0 where it
    has none."""

    security_id: int
    total: int
    last: int


def reports(raw: bytes, templates: tuple[int, ...]) -> Iterator[Report]:
    """The messages of these templates in a packet; what is too short for its fields is passed over."""
    packet = parse(raw)
    for start, stop in packet.frames if packet else ():
        template = int.from_bytes(raw[start + 2 : start + 4], "little")
        if template not in templates:
            continue
        layout = root_layout(template)
        names = [name for name in _FIELDS if name in layout.offsets]
        root = raw[start + MESSAGE_HEAD_BYTES : stop]
        if len(root) < layout.end_of(*names):
            continue
        found = {name: root[layout.offsets[name] : layout.offsets[name] + 4] for name in names}
        total = int.from_bytes(found["TotNumReports"], "little")
        yield Report(
            int.from_bytes(found["SecurityID"], "little", signed=True),
            0 if total == _NO_TOTAL else total,
            int.from_bytes(found.get("LastMsgSeqNumProcessed", b""), "little"),
        )


class Loop(SideLines):
    """Listens while something is lacking, until a whole loop brought all of it, or nothing more of it.

    What no loop brings is not waited for: an instrument that nobody ever traded or quoted has no snapshot.
    """

    templates: tuple[int, ...]

    def __init__(self, setting: str, first_line: int, addresses: Sequence[str]) -> None:
        super().__init__(setting, first_line, addresses)
        self._decoder: Mdp3Decoder | None = None

    @abstractmethod
    def lacking(self, decoder: Mdp3Decoder) -> int:
        """How much there is that the loop may bring."""

    @abstractmethod
    def last_hole(self, decoder: Mdp3Decoder) -> int:
        """Behind which packet the loop is needed anew: what says less is of no use."""

    def begin(self, decoder: LineDecoder) -> None:
        assert isinstance(decoder, Mdp3Decoder)
        self._decoder = decoder
        self._accepted = 0  # that is lacking, and no loop brings it
        self._start(self.last_hole(decoder))

    def wanted(self) -> bool:
        if self._decoder is None:
            return True
        lacking, hole = self.lacking(self._decoder), self.last_hole(self._decoder)
        if hole != self._hole or (self._done and lacking > self._accepted):
            self._start(hole)
        if self._done:
            self._accepted = lacking
        return not self._done

    def heard(self, raw: bytes) -> None:
        if self._decoder is None or self._done:
            return
        for report in reports(raw, self.templates):
            if report.last >= self._hole:
                self._seen.add(report.security_id)
            if 0 < report.total <= len(self._seen):
                self._end_of_loop(self.lacking(self._decoder))

    def _start(self, hole: int) -> None:
        self._hole = hole
        self._done = False
        self._before: int | None = None  # what was lacking when the loop before ended
        self._seen: set[int] = set()

    def _end_of_loop(self, lacking: int) -> None:
        self._done = lacking in (0, self._before)
        self._before, self._accepted = lacking, lacking
        self._seen.clear()


class SnapshotLoop(Loop):
    """Market recovery: until no book is lost. Snapshots from before the last hole do not count."""

    templates = (t.SNAPSHOT, t.SNAPSHOT_LONG)

    def lacking(self, decoder: Mdp3Decoder) -> int:
        return decoder.lost_books

    def last_hole(self, decoder: Mdp3Decoder) -> int:
        return decoder.lost_to


class DefinitionLoop(Loop):
    """Instrument replay: until every instrument that was heard of is defined."""

    templates = (t.FUTURE, t.OPTION, t.SPREAD)

    def lacking(self, decoder: Mdp3Decoder) -> int:
        return decoder.undefined_instruments

    def last_hole(self, decoder: Mdp3Decoder) -> int:
        return 0


def loops(settings: Mdp3Settings) -> tuple[Loop, ...]:
    """Those that the settings list."""
    made: list[Loop] = []
    if settings.snapshot_lines:
        made.append(SnapshotLoop("snapshot_lines", SIDE_LINE, settings.snapshot_lines))
    if settings.definition_lines:
        first = SIDE_LINE + SNAPSHOT_LINES_MAX
        made.append(DefinitionLoop("definition_lines", first, settings.definition_lines))
    return tuple(made)
