"""Trust over recorded sessions: broken exactly while a book is lost, stale exactly while nothing comes."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from ingest.capture import CaptureBatch, RecordKind
from ingest.clock_records import limits_record
from ingest.feeds import decoder_for
from ingest.trusted import TrustedDecoder
from ingest.websocket.links import control
from tickloom.clock import NS_PER_S
from tickloom.events import EventBlock, StatusCode, TrustReason, TrustState
from tickloom.settings import KrakenSettings

VENUES = ["KRAKEN", "OKX", "COINBASE", "BYBIT"]
Record = tuple[int, int, bytes]
Dump = Callable[[str], list[Record]]
Interval = tuple[int, int]  # receive times, ns; -1: not over


def in_pieces(venue: str, records: list[Record], chance: random.Random) -> list[EventBlock]:
    decoder, blocks, at = TrustedDecoder(decoder_for(venue, "20210417")), [], 0
    while at < len(records):
        size = chance.choice([1, 7, 500])
        blocks.append(decoder.decode(CaptureBatch.of(records[at : at + size], first_number=at + 1)))
        at += size
    return blocks


def lost(blocks: list[EventBlock]) -> dict[str, list[Interval]]:
    """By symbol, from BOOK_LOST to BOOK_SYNCED."""
    found: dict[str, list[Interval]] = defaultdict(list)
    for block in blocks:
        for row in block.statuses:
            name, ts = block.symbols.names[row["symbol"]], int(row["ts_recv"])
            if row["status"] == StatusCode.BOOK_LOST:
                found[name].append((ts, -1))
            elif row["status"] == StatusCode.BOOK_SYNCED and found[name] and found[name][-1][1] < 0:
                found[name][-1] = (found[name][-1][0], ts)
    return dict(found)


def broken(blocks: list[EventBlock]) -> dict[str, list[Interval]]:
    """By symbol, from broken to trusted; not what was never whole, and no holes in trades."""
    found: dict[str, list[Interval]] = defaultdict(list)
    for block in blocks:
        for row in block.trust:
            name, ts = block.symbols.names[row["symbol"]], int(row["ts_event"])
            if not name or row["reason"] in (TrustReason.UNSYNCED, TrustReason.REQUOTED):
                continue
            if row["state"] == TrustState.BROKEN:
                found[name].append((ts, -1))
            elif found[name] and found[name][-1][1] < 0:
                found[name][-1] = (found[name][-1][0], ts)
    return dict(found)


def mistreated(records: list[Record], chance: random.Random) -> list[Record]:
    """Snapshots stay, and come twice, the second time at the end; of all else one in fifty is lost. In the
    middle the connection is lost for a while."""
    kept = [
        one for one in records if one[0] != RecordKind.DATA or len(one[2]) > 5_000 or chance.random() > 0.02
    ]
    middle = len(kept) // 2
    cut = [(int(RecordKind.CONTROL), kept[middle][1], control("close", code=1006, reason="cut"))]
    again = [one for one in kept if len(one[2]) > 5_000]
    opened = [(int(RecordKind.CONTROL), kept[middle][1], control("open"))]
    return (
        kept[:middle] + cut + opened + kept[middle:] + [(0, kept[-1][1], payload) for _, _, payload in again]
    )


@pytest.mark.parametrize("venue", VENUES)
def test_a_recorded_session_is_trusted_from_its_snapshots_on(venue: str, dump: Dump) -> None:
    """Nothing is lost in it: whatever is heard of becomes trusted once, and stays so."""
    blocks = in_pieces(venue, dump(venue), random.Random(1))
    rows = np.concatenate([block.trust for block in blocks])
    symbols = np.unique(rows["symbol"])
    synced = {int(row["symbol"]) for block in blocks for row in block.statuses}
    assert set(symbols.tolist()) == {0, *synced}
    for symbol in symbols:
        own = rows[rows["symbol"] == symbol]
        assert own["state"][-1] == TrustState.TRUSTED
        assert (own["state"] == TrustState.TRUSTED).sum() == 1
        assert (own["reason"][:-1] == TrustReason.UNSYNCED).all()


@pytest.mark.parametrize("venue", VENUES)
def test_broken_is_from_book_lost_to_book_synced(venue: str, dump: Dump) -> None:
    """With messages missing and the connection cut, to the nanosecond, whatever the batches."""
    records = mistreated(dump(venue), random.Random(2))
    blocks = in_pieces(venue, records, random.Random(3))
    assert sum(map(len, lost(blocks).values())) >= 2
    assert broken(blocks) == lost(blocks)
    again = in_pieces(venue, records, random.Random(4))
    assert b"".join(block.trust.tobytes() for block in again) == b"".join(
        block.trust.tobytes() for block in blocks
    )
    ranges = [
        (row["symbol"], row["first_missing"], row["last_missing"])
        for block in blocks
        for row in block.trust
        if row["state"] == TrustState.BROKEN and row["last_missing"]
    ]
    gaps = [
        (row["symbol"], row["first_missing"], row["last_missing"]) for block in blocks for row in block.gaps
    ]
    assert set(ranges) <= set(gaps)


def test_a_symbol_that_goes_quiet_is_stale_until_it_speaks(dump: Dump) -> None:
    """All of one symbol left out for seconds of Kraken's session: stale from its last message and the limit
    on, as computed from the times alone."""
    limit_s = 3
    settings = KrakenSettings(stale_ms=limit_s * 1_000, line_stale_ms=0)
    records = dump("KRAKEN")
    start_ns = records[0][1]
    quiet = range(start_ns + 8 * NS_PER_S, start_ns + 20 * NS_PER_S)
    kept = [one for one in records if not (one[1] in quiet and b'"ETH/CHF"' in one[2])]
    kept.insert(0, (int(RecordKind.CLOCK), start_ns, limits_record(settings)))
    block = TrustedDecoder(decoder_for("KRAKEN", "20210417")).decode(CaptureBatch.of(kept))
    which = block.symbols.index("ETH-CHF")
    spoke = np.sort(
        np.concatenate([rows["ts_recv"][rows["symbol"] == which] for rows in block.kinds().values()])
    )
    silences = [
        (int(a) + limit_s * NS_PER_S, int(b))
        for a, b in pairwise(spoke)
        if b - a > limit_s * NS_PER_S * 5 // 4  # one that is over before it is looked for goes unsaid
    ]
    assert silences
    own = block.trust[block.trust["symbol"] == which]
    at = np.flatnonzero(own["reason"] == TrustReason.SILENT)
    stale = own[at]
    # what was left out made the book wrong, so what comes next is stale no more, but broken
    assert (own["state"][at + 1] == TrustState.BROKEN).all()
    assert silences == list(zip(stale["ts_event"].tolist(), own["ts_event"][at + 1].tolist(), strict=True))
    late_ns = stale["ts_recv"] - stale["ts_event"]
    assert late_ns.max() <= limit_s * NS_PER_S // 4 + NS_PER_S  # the next message of anyone
