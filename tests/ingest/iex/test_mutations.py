"""Damaged segments: an event or a counter each time, all numbers accounted for, and never a crash."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ingest.capture import CaptureBatch
from ingest.iex import iextp
from ingest.iex.decoder import IexDecoder, end_record
from ingest.pcap import read_pcap
from tests.ingest.iex_venue import Record, Venue
from tickloom.events import EventBlock, GapReason
from tickloom.instruments import Registry
from tickloom.prices import check_nanos

REGISTRY = Registry.load()
END: Record = (1, 99, end_record())
ROUNDS = 400
SharedData = Callable[[str], Path]


def generated(rng: random.Random) -> list[bytes]:
    """Fifty segments with every type of message, a heartbeat now and then, and perhaps a restart."""
    venue = Venue()
    found = []
    for _ in range(50):
        if rng.random() < 0.01:
            venue.restart(rng.randrange(9))
        tape = []
        for kind in rng.choices("S88855TTBHIOPEXDAQ", k=rng.randrange(5)):
            values = {
                "symbol": rng.choice(["A", "B.C"]),
                "price": rng.randrange(1, 99),
                "size": rng.randrange(3),
            }
            if kind in "85":
                values["flags"] = rng.randrange(2)
            tape.append(
                venue.message(kind, **(values if kind in "85TB" else {"event": "R"} if kind == "S" else {}))
            )
        found.append(venue.send(*tape)[2])
    return found


def mutated(rng: random.Random, tape: list[bytes]) -> list[Record]:
    """Bytes changed in some segments (their heads above all), cuts, garbage, swaps."""
    out = [bytearray(raw) for raw in tape]
    for _ in range(rng.randrange(1, 12)):
        raw = rng.choice(out)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(min(len(raw), rng.choice([40, 60, 10_000])) or 1)
            if at < len(raw):
                raw[at] = rng.choice([0, 1, 0xFF, raw[at] ^ 1 << rng.randrange(8), rng.randrange(256)])
        if rng.random() < 0.2:
            del raw[rng.randrange(len(raw) + 1) :]
    if rng.random() < 0.3:
        out.insert(rng.randrange(len(out)), bytearray(rng.randbytes(rng.randrange(200))))
    if rng.random() < 0.3:
        a, b = rng.randrange(len(out)), rng.randrange(len(out))
        out[a], out[b] = out[b], out[a]
    return [(0, number, bytes(raw)) for number, raw in enumerate(out)]


def check(decoder: IexDecoder, block: EventBlock, records: list[Record]) -> None:
    """Whatever came, this holds."""
    counters = decoder.counters
    for table, rows in block.kinds().items():
        if table != "gaps":
            assert np.all(np.diff(rows["seq"]) >= 0)
        assert rows["seq"].max(initial=0) <= decoder.last_seq
        for field in ("price", "size", "bid_price", "bid_size", "ask_price", "ask_size"):
            if field in (rows.dtype.names or ()):
                check_nanos(rows[field])
    for rows in (block.trades, block.quotes, block.statuses):
        identities = list(zip(rows["seq"].tolist(), rows["symbol"].tolist(), strict=True))
        assert len(set(identities)) == len(identities)
    refused = sum(counters[name] for name in ("wrong_length", "bad_timestamp", "too_many_symbols"))
    gaps = block.gaps
    assert (gaps["reason"] == GapReason.MALFORMED).sum() == refused + counters["bad_field"]
    missing = gaps[gaps["reason"] == GapReason.SEQUENCE]
    assert (missing["last_missing"] - missing["first_missing"] + 1).sum() == counters["gap_messages"]
    for (_, before), (after, _) in itertools.pairwise(
        zip(missing["first_missing"].tolist(), missing["last_missing"].tolist(), strict=True)
    ):
        assert before < after
    # each number was a message, is missing, or is a restart's; a bad field may come before decoding
    used = decoder.last_seq % 10**10
    known = counters["decoded"] + counters["unknown_type"] + refused + counters["gap_messages"]
    at_most = counters["bad_field"] + counters["restarts"] * len(decoder.symbols)  # the venue itself is one
    assert known + counters["restarts"] <= used <= known + at_most
    assert len(decoder.books.arrays.levels) <= 2 * levels_limit(records)
    assert decoder._sequencer.first == iextp.NEVER


def levels_limit(records: list[Record]) -> int:
    """What a pool may have grown to: its first size, and what all bytes as levels could need."""
    return 4_096 + 4 * sum(len(raw) for _, _, raw in records) // 30


@pytest.mark.parametrize("seed", range(4))
def test_mutated_segments(seed: int) -> None:
    """Thirty-five thousand segments over all seeds, of which one in eight or so is damaged."""
    rng = random.Random(seed)
    seen: set[str] = set()
    for _ in range(ROUNDS // 4 if seed else ROUNDS):
        records = [*mutated(rng, generated(rng)), END]
        decoder = IexDecoder("IEXG", "20170425", REGISTRY)
        check(decoder, decoder.decode(CaptureBatch.of(records)), records)
        seen |= set(decoder.counters)
    assert {"malformed", "truncated_packet", "unknown_type", "wrong_length", "bad_timestamp"} <= seen
    assert {"foreign_protocol", "foreign_session", "offset_mismatch", "sequence_gaps", "restarts"} <= seen


@pytest.mark.parametrize(
    ("name", "session"), [("TOPS16.pcapng.gz", "20170710"), ("DEEP10.pcap.gz", "20170425")]
)
def test_mutated_real_segments(name: str, session: str, shared_data: SharedData) -> None:
    """The first thousand segments of the exchange's samples, damaged a few at a time."""
    frames = itertools.islice(read_pcap(shared_data(f"iex/{name}")), 1_000)
    tape = [payload for _, payload in frames if payload is not None]
    rng = random.Random(name)
    for _ in range(8):
        records = [*mutated(rng, tape), END]
        decoder = IexDecoder("IEXG", session, REGISTRY)
        check(decoder, decoder.decode(CaptureBatch.of(records)), records)
        assert decoder.counters["decoded"] > 0
