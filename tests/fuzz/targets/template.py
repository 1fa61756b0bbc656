"""The template feed: what a new feed adds to the fuzzer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from ingest._template.decoder import TemplateDecoder
from ingest._template.messages import LENGTH_BYTES
from tests.fuzz.target import Arena, Target, check_block, cut
from tests.ingest._template.venue import end, heartbeat, quote, trade
from tickloom.events import GapReason
from tickloom.instruments import Registry

_REGISTRY = Registry.load()


class Template(Target):
    """Packets of a day."""

    name = "template"

    def __init__(self) -> None:
        super().__init__()
        self._arena = Arena()

    def seeds(self) -> list[list[bytes]]:
        rng = random.Random(1)
        kinds = (quote, quote, trade, heartbeat)
        tape = []
        number = 1
        for _ in range(2_000):
            kind = rng.choice(kinds)
            tape.append(kind(number)[LENGTH_BYTES:])
            number += kind is not heartbeat
        return [[*tape, end(number)[LENGTH_BYTES:]]]

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        decoder = TemplateDecoder("TEMPLATE", "20261120", registry=_REGISTRY)
        records = [(0, 1 + at, frame) for at, frame in enumerate(frames)]
        events = spoilt = 0
        for low, high in cut(records):
            block = decoder.decode(self._arena.batch(records[low:high], 1 + low))
            events += check_block(block)
            spoilt += int((block.gaps["reason"] == GapReason.MALFORMED).sum())
        counters = decoder.counters
        packets = sum(counters[name] for name in ("heartbeat", "end", "duplicate", "malformed"))
        packets += counters["decoded"] + counters["unknown_type"]
        assert packets == len(frames), f"{len(frames)} packets, {packets} counted"
        used = counters["decoded"] + counters["unknown_type"] + spoilt + counters["gap_messages"]
        assert decoder.expected - 1 == used
        return counters + Counter(events=events)
