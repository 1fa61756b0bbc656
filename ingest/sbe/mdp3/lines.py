"""MDP 3.0 packets and what they say of themselves in, what the session has to know of them out. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from ingest.capture_batch import CaptureBatch
from ingest.capture_format import RecordKind
from ingest.feeds import session_date
from ingest.sbe.mdp3.decoder import Mdp3Decoder
from ingest.sbe.mdp3.packets import HEAD, HEAD_BYTES, parse
from ingest.sbe.mdp3.recovery import loops
from ingest.sbe.mdp3.templates import SCHEMA_ID, TEMPLATES
from ingest.udp.counts import LineCounter, fields
from ingest.udp.feed import NEVER_NS, LineFeed
from tickloom.clock import NS_PER_DAY, NS_PER_MS, NS_PER_S
from tickloom.errors import SettingsError
from tickloom.instruments import Registry
from tickloom.settings import Mdp3Settings

_EPOCH = date(1970, 1, 1)
_SATURDAY = 2  # days from the epoch, a Thursday, to the first Saturday


class Mdp3Lines(LineCounter):
    """Counts packets by line: on this feed packets have the numbers, not messages."""

    def heads(self, batch: CaptureBatch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        fits = (batch.kinds == RecordKind.DATA) & (np.diff(batch.offsets) >= HEAD_BYTES)
        which = np.flatnonzero(fits)
        starts, packets = np.zeros((2, len(batch)), dtype=np.int64)
        starts[which] = fields(batch, batch.offsets[which], "<u4")
        packets[which] = 1
        return starts, packets


class Mdp3Feed(LineFeed):
    """One channel of MDP 3.0, as its lines bring it."""

    settings: Mdp3Settings

    def __init__(self, settings: Mdp3Settings, registry: Registry) -> None:
        super().__init__(settings, loops(settings))
        self._registry = registry

    def session_of(self, raw: bytes) -> str | None:
        """``YYYYMMDD.CHANNEL``: the day (UTC) on which the first packet of the week was sent, or heard."""
        packet = parse(raw)
        if packet is None or not packet.whole or not packet.frames:
            return None
        at, _ = packet.frames[0]
        template, schema = (int.from_bytes(raw[at + skip : at + skip + 2], "little") for skip in (2, 4))
        if schema != SCHEMA_ID or template not in TEMPLATES:
            return None
        day = self.set_day or datetime.fromtimestamp(packet.sending_time // NS_PER_S, UTC).date()
        return f"{day:%Y%m%d}.{self.settings.channel}"

    def sent_ns(self, raw: bytes) -> int:
        return HEAD.unpack_from(raw)[1] if len(raw) >= HEAD_BYTES else 0

    def end_ns(self, session: str) -> int:
        """The Saturday behind the session's day, or never where the settings say the day.

        The channel's numbers begin anew each week; Globex is closed from Friday's afternoon to Sunday's, in
        Chicago.
        """
        if self.set_day:
            return NEVER_NS
        return (_week(session_date(session)) + 1) * 7 * NS_PER_DAY + _SATURDAY * NS_PER_DAY

    def resumes(self, session: str, now_ns: int) -> bool:
        try:
            day = session_date(session)
        except SettingsError:  # a folder that is not named after a day is not ours
            return False
        if session.partition(".")[2] != self.settings.channel:
            return False
        today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date()
        return day == self.set_day if self.set_day else day <= today and _week(day) == _week(today)

    def decoder(self, session: str) -> Mdp3Decoder:
        settings = self.settings
        return Mdp3Decoder(settings.venue, session, self._registry, settings.lateness_ms * NS_PER_MS)

    def counter(self) -> Mdp3Lines:
        return Mdp3Lines()


def _week(day: date) -> int:
    """Weeks since the epoch, each from Saturday on."""
    return ((day - _EPOCH).days - _SATURDAY) // 7
