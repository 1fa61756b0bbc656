"""The state of trust of every instrument, now or at a time: trusted, stale or broken, since when and why.

The newest change of each is in force. An instrument is no better than its venue's line (the symbol "").
"""

from __future__ import annotations

from dataclasses import dataclass

from storage.reader import QuestDbReader
from tickloom.events import TRUST_REASON_TEXTS, TRUST_TEXTS, TrustReason, TrustState

_COLUMNS = "venue, symbol, state, reason, ts::timestamp_ns::long, first_missing, last_missing, at_seq"


@dataclass(frozen=True, slots=True)
class Trust:
    """One instrument's state, or that of a venue's line (symbol "").

    since: ns of the receive clock. first_missing, last_missing: what a gap that is the reason, or that was
    repaired, is about; else 0. at_seq: the last event before it.
    """

    venue: str
    symbol: str
    state: TrustState
    reason: TrustReason
    since: int
    first_missing: int
    last_missing: int
    at_seq: int


def read_trust(reader: QuestDbReader, venue: str | None = None, at_ns: int | None = None) -> list[Trust]:
    """The states in force, by venue and symbol, lines first; at ``at_ns`` (ns of the receive clock), or now.

    An instrument whose line is in a worse state has the line's state, reason and time.
    """
    conditions, params = [], []
    if venue is not None:
        conditions.append("venue = %s")
        params.append(venue)
    if at_ns is not None:
        conditions.append(f"ts <= {int(at_ns)}")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = f"SELECT {_COLUMNS} FROM trust{where} LATEST ON ts PARTITION BY venue, symbol"
    own = [_trust(row) for row in reader.fetch(sql, tuple(params))]
    lines = {one.venue: one for one in own if not one.symbol}
    found = [_worse(one, lines.get(one.venue, one)) for one in own]
    return sorted(found, key=lambda one: (one.venue, one.symbol))


def _worse(own: Trust, line: Trust) -> Trust:
    if line.state <= own.state:
        return own
    return Trust(
        own.venue,
        own.symbol,
        line.state,
        line.reason,
        line.since,
        line.first_missing,
        line.last_missing,
        line.at_seq,
    )


def _trust(row: tuple[str, str | None, str, str, int, int, int, int]) -> Trust:
    venue, symbol, state, reason, since, first, last, at_seq = row
    return Trust(
        venue,
        symbol or "",
        TrustState(TRUST_TEXTS.index(state)),
        TrustReason(TRUST_REASON_TEXTS.index(reason)),
        int(since),
        int(first),
        int(last),
        int(at_seq),
    )
