"""IEX DEEP and TOPS over IEX-TP."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence

from ingest.iex.decoder import IexDecoder, end_record
from ingest.iex.iextp import DEEP_1_0, TOPS_1_6
from ingest.pcap import read_pcap
from tests.fuzz.real import real
from tests.fuzz.target import Arena, Target, check_block, cut
from tests.ingest.iex_venue import Venue
from tickloom.events import GapReason
from tickloom.instruments import Registry

SEGMENTS = 1_500
_REGISTRY = Registry.load()
_REFUSED = ("wrong_length", "bad_timestamp", "too_many_symbols")
_FILES = ("TOPS16.pcapng.gz", "DEEP10.pcap.gz")


def genuine(seed: int, protocol: int) -> list[bytes]:
    """Segments with every type of message, and restarts of the sequence."""
    rng = random.Random(seed)
    venue = Venue(protocol)
    found = []
    for _ in range(SEGMENTS):
        if rng.random() < 0.002:
            venue.restart()
        tape = []
        for kind in rng.choices("S888555TTBHIOPEXDAQQ", k=rng.randrange(5)):
            values = {} if kind == "S" else {"symbol": rng.choice(["A", "BETA", "B.C", "ZVZZT"])}
            if kind in "85TB":
                values |= {"price": rng.randrange(1, 99), "size": rng.randrange(4)}  # type: ignore[dict-item]
            if kind in "85":
                values["flags"] = rng.randrange(2)  # type: ignore[assignment]
            tape.append(venue.message(kind, **values))
        found.append(venue.send(*tape)[2])
    return found


class Iex(Target):
    """Segments of a day."""

    name = "iex"

    def __init__(self) -> None:
        super().__init__()
        self._arena = Arena()

    def seeds(self) -> list[list[bytes]]:
        tapes = [genuine(1, DEEP_1_0), genuine(2, TOPS_1_6)]
        for name in _FILES:
            path = real(f"iex/{name}")
            if path:
                frames = itertools.islice(read_pcap(path), 3_000)
                tapes.append([payload for _, payload in frames if payload is not None])
        return tapes

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        decoder = IexDecoder("IEXG", "20170425", _REGISTRY)
        records = [(0, 1 + at, frame) for at, frame in enumerate(frames)]
        records.append((1, len(records) + 1, end_record()))
        events = malformed = 0
        for low, high in cut(records):
            block = decoder.decode(self._arena.batch(records[low:high], 1 + low))
            events += check_block(block)
            malformed += int((block.gaps["reason"] == GapReason.MALFORMED).sum())
        counters = decoder.counters
        refused = sum(counters[name] for name in _REFUSED)
        assert malformed == refused + counters["bad_field"]
        # each number was a message, is missing, or is a restart's; a bad field may come before decoding
        used = decoder.last_seq % 10**10
        known = counters["decoded"] + counters["unknown_type"] + refused + counters["gap_messages"]
        at_most = counters["bad_field"] + counters["restarts"] * len(decoder.symbols)
        assert known + counters["restarts"] <= used <= known + at_most, (used, known, at_most)
        return counters + Counter(events=events)
