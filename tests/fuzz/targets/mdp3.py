"""CME MDP 3.0: SBE messages in datagrams of a channel, incremental and recovery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ingest.pcap import read_pcap
from ingest.sbe.mdp3.decoder import Mdp3Decoder
from tests.fuzz.target import Arena, Target, check_block, cut
from tests.fuzz.targets.itch import real_pcaps
from tests.ingest.sbe.mdp3 import venue as mdp3
from tickloom.instruments import Registry

PACKETS = 1_500
_REGISTRY = Registry.load()
_RECOVERY = b"R"  # the first byte of a frame says which feed it is of
_INCREMENTAL = b"I"
_CONTROL = b"C"


def genuine(seed: int) -> list[bytes]:
    """Definitions, books, trades, volumes, statuses, a reset, and snapshots of the recovery feed."""
    venue = mdp3.Venue(seed, {1: 10, 2: 10, 3: 3})
    chance = venue.random
    first = [mdp3.future(security, f"ES{security}", 10) for security in (1, 2)]
    out = [_INCREMENTAL + venue.packet(first)]
    for _ in range(PACKETS):
        kind = chance.random()
        if kind < 0.03:
            state = chance.choice([2, 4, 17, 18, 21])
            messages = [mdp3.status(venue.time, state, chance.choice([None, 1, 2]), "ES")]
        elif kind < 0.032:
            messages = [mdp3.channel_reset(venue.time)]
            for book in venue.books.values():
                book.rpt = 0
                for side in book.sides:
                    side.clear()
        else:
            messages = venue.event()
        out.append(_INCREMENTAL + venue.packet(messages))
        if chance.random() < 0.05:
            out.append(_RECOVERY + venue.snapshot(chance.choice(sorted(venue.books))))
    out.append(_CONTROL + b'{"type":"gap","last":20}')
    out.append(_CONTROL + b'{"event":"end"}')
    return out


class Mdp3(Target):
    """Frames are a letter for the feed, and a datagram."""

    name = "mdp3"

    def __init__(self) -> None:
        super().__init__()
        self._arena = Arena()

    def seeds(self) -> list[list[bytes]]:
        tapes = [genuine(1), genuine(2)]
        found = [
            _INCREMENTAL + payload
            for path in real_pcaps("omi_packets/cme_mdp3_v19")
            for _, payload in read_pcap(path)
            if payload
        ]
        return [*tapes, found * 20]

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        decoder = Mdp3Decoder("XCME", "20231114.310", _REGISTRY)
        kinds = {_RECOVERY[0]: 2, _CONTROL[0]: 1}
        records = [
            (kinds.get(frame[0], 0) if frame else 0, mdp3.NOW + 1_000_000 * at, frame[1:])
            for at, frame in enumerate(frames)
        ]
        events = 0
        for low, high in cut(records):
            events += check_block(decoder.decode(self._arena.batch(records[low:high], 1 + low)))
        return decoder.counters + Counter(events=events)
