"""A session over faulty lines without a socket: schedules of arrivals, a venue that answers, virtual time.

What the shell would capture comes out, made by the ingester's own arbiter.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from ingest.capture import CaptureBatch, RecordKind
from ingest.capture_format import ANSWERS
from ingest.itch.arbiter import Arbiter
from ingest.itch.controls import gap_record
from ingest.itch.decoder import ItchDecoder
from ingest.itch.messages import LAYOUTS
from ingest.itch.moldudp64 import Gap, Tracker, pack, pack_end
from ingest.itch.rerequest import GiveUp, Request
from tickloom.events import EventBlock
from tickloom.instruments import Registry

MOLD = b"000000001A"
SESSION = "20261121.000000001A"
US, MS, S = 1_000, 1_000_000, 1_000_000_000
PACKET_NS = 100 * US  # between two packets
READ_NS = MS  # what comes within it is read at once
ANSWER_MESSAGES = 40  # of one datagram of the retransmission server
START_NS = 1_795_240_000 * S

Record = tuple[int, int, bytes, int]  # kind, receive time, payload, line
Arrival = tuple[int, int, bytes]  # real time, line, packet


@dataclass(frozen=True)
class Venue:
    """A tape in packets; packet ``i`` holds messages ``bounds[i]`` up to ``bounds[i + 1]`` (from 0)."""

    tape: list[bytes]
    bounds: list[int]

    @classmethod
    def of(cls, tape: list[bytes], rng: random.Random) -> Venue:
        bounds = [0]
        while bounds[-1] < len(tape):
            bounds.append(min(len(tape), bounds[-1] + rng.randint(1, 4)))
        return cls(tape, bounds)

    def packets(self) -> list[bytes]:
        return [self.packet(index) for index in range(len(self.bounds) - 1)]

    def packet(self, index: int) -> bytes:
        a, b = self.bounds[index : index + 2]
        return pack(MOLD, a + 1, self.tape[a:b])

    def answer(self, step: Request) -> list[bytes]:
        """What the retransmission server sends: at most a few datagrams a request, cut as it likes."""
        end = min(step.first - 1 + step.count, len(self.tape), step.first - 1 + 3 * ANSWER_MESSAGES)
        cuts = [*range(step.first - 1, end, ANSWER_MESSAGES), end]
        return [pack(MOLD, a + 1, self.tape[a:b]) for a, b in itertools.pairwise(cuts)]


@dataclass
class Faults:
    """Chances of a packet on a line."""

    drop: float = 0.0
    reorder: float = 0.0
    double: float = 0.0


@dataclass
class Line:
    """What becomes of packets on a line: arrivals, and the packets (from 0) that never come."""

    arrivals: list[Arrival] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    reordered: int = 0
    doubled: int = 0

    @classmethod
    def of(cls, packets: Sequence[bytes], line: int, faults: Faults, rng: random.Random) -> Line:
        """At least one packet is lost, one overtaken and one doubled, however small the chance."""
        made = cls()
        chosen = [
            {index for index in range(len(packets)) if rng.random() < chance}
            | ({rng.randrange(len(packets))} if chance else set())
            for chance in (faults.drop, faults.reorder, faults.double)
        ]
        made.lost, late, twice = chosen[0], chosen[1] - chosen[0], chosen[2] - chosen[0]
        made.reordered, made.doubled = len(late), len(twice)
        for index, raw in enumerate(packets):
            if index in made.lost:
                continue
            at = index * PACKET_NS + line * 300 * US + (rng.randint(1, 9) * PACKET_NS if index in late else 0)
            made.arrivals.append((at, line, raw))
            if index in twice:
                made.arrivals.append((at + rng.randint(0, 50) * PACKET_NS, line, raw))
        return made


def capture(
    venue: Venue,
    lines: Sequence[Line],
    *,
    server: bool = True,
    lossy_answers: float = 0.0,
    clock_steps: Sequence[tuple[int, int]] = (),
    rng: random.Random,
) -> tuple[list[Record], Counter[str], Arbiter]:
    """Run the session to its end: what was captured, what was done, and the arbiter as it is then.

    clock_steps: (real time, step) of the clock that stamps packets; the monotonic one does not step.
    """
    arrivals = [arrival for line in lines for arrival in line.arrivals]
    heapq.heapify(arrivals)
    end_ns = len(venue.bounds) // 10 * MS
    end = pack_end(MOLD, len(venue.tape) + 1)
    timeout_ms = 1_000 if server else 20
    arbiter = Arbiter(Tracker(MOLD), "000000001A", lines=len(lines), gap_timeout_ms=timeout_ms, hold_ms=3.0)
    records: list[Record] = []
    done: Counter[str] = Counter()
    now_ns = 0
    while not arbiter.tracker.sequencer.ended:
        assert now_ns < 600 * S, "the session does not come to its end"
        if now_ns >= end_ns and (now_ns - end_ns) % (10 * MS) == 0:
            for line in range(len(lines)):
                heapq.heappush(arrivals, (now_ns, line, end))
        stamp_ns = START_NS + now_ns + sum(step for at, step in clock_steps if at <= now_ns)
        read: list[Record] = []
        while arrivals and arrivals[0][0] <= now_ns:
            _, line, raw = heapq.heappop(arrivals)
            read.append((RecordKind.DATA, stamp_ns, raw, line))
        if read:
            records += read
            arbiter.take(batch_of(read), now_ns)
        step = arbiter.step(now_ns)
        if isinstance(step, Request):
            done["requests"] += 1
            for number, raw in enumerate(venue.answer(step) if server else []):
                if rng.random() >= lossy_answers:
                    heapq.heappush(arrivals, (now_ns + (1 + number) * MS, ANSWERS, raw))
        elif isinstance(step, GiveUp):
            done["given_up"] += 1
            records.append((RecordKind.CONTROL, stamp_ns, gap_record(step.gap), 0))
        now_ns += READ_NS
    return records, done, arbiter


def batch_of(records: Sequence[Record]) -> CaptureBatch:
    return CaptureBatch.of([record[:3] for record in records], lines=[record[3] for record in records])


def undisturbed(venue: Venue, missing: Sequence[Gap] = ()) -> list[Record]:
    """What a capture holds of an undisturbed run; where ``missing`` were lost, gaps in their place."""
    records: list[Record] = []
    holes = {gap.first: gap for gap in missing}
    after = 0
    for a, b in itertools.pairwise(venue.bounds):
        if a + 1 in holes:
            after = holes[a + 1].last
            records.append((RecordKind.CONTROL, 0, gap_record(holes[a + 1]), 0))
        if a >= after:
            records.append((RecordKind.DATA, 0, pack(MOLD, a + 1, venue.tape[a:b]), 0))
    if records[0][0] == RecordKind.CONTROL and len(records) > 1:
        records[:2] = records[1::-1]  # a gap at the start is given up, and timed, when something is behind it
    return [*records, (RecordKind.DATA, 0, pack_end(MOLD, len(venue.tape) + 1), 0)]


def gaps_of(venue: Venue, lost: set[int]) -> list[Gap]:
    """Ranges of message numbers that packets of ``lost`` held, those side by side as one."""
    found: list[Gap] = []
    for index in sorted(lost):
        first, last = venue.bounds[index] + 1, venue.bounds[index + 1]
        if found and found[-1].last == first - 1:
            found[-1] = Gap(found[-1].first, last)
        else:
            found.append(Gap(first, last))
    return found


def fresh_decoder() -> ItchDecoder:
    return ItchDecoder("XNAS", SESSION, _registry())


@cache
def _registry() -> Registry:
    return Registry.load()


def decode(records: Sequence[Record]) -> tuple[ItchDecoder, EventBlock]:
    decoder = fresh_decoder()
    return decoder, decoder.decode(batch_of(records))


def sound_tape(count: int, seed: int, stocks: Sequence[str] = ("ALFA", "BRVO")) -> list[bytes]:
    """A session in which nothing is odd: every order that is touched rests, in its own book."""
    rng = random.Random(seed)
    names = dict(enumerate(stocks, 1))
    tape = [LAYOUTS["R"].pack(stock_locate=n, timestamp=1, stock=name) for n, name in names.items()]
    resting: dict[int, tuple[int, int, str]] = {}  # reference: locate, shares, side
    for number in range(len(tape) + 1, count + 1):
        head = {"timestamp": number, "stock_locate": rng.choice(list(names))}
        if rng.random() < 0.02:
            kind, values = rng.choice(
                (("H", {"trading_state": rng.choice("HT")}), ("Y", {"action": rng.choice("01")}))
            )
            tape.append(LAYOUTS[kind].pack(**head, **values, stock=names[head["stock_locate"]]))
            continue
        if not resting or rng.random() < 0.45:
            side, shares, cents = rng.choice("BS"), rng.randint(1, 9) * 100, rng.randint(1, 20)
            price = 1_000_000 + (-cents if side == "B" else cents) * 100
            resting[number] = (head["stock_locate"], shares, side)
            more = {"reference": number, "side": side, "shares": shares, "price": price}
            tape.append(LAYOUTS["A"].pack(**head, **more, stock=names[head["stock_locate"]]))
            continue
        reference = rng.choice(list(resting))
        locate, shares, side = resting.pop(reference)
        head["stock_locate"] = locate
        kind = rng.choice("DEX" if shares > 100 else "D")
        if kind == "D":
            tape.append(LAYOUTS["D"].pack(**head, reference=reference))
        else:
            resting[reference] = (locate, shares - 100, side)
            more = {"match_number": number} if kind == "E" else {}
            tape.append(LAYOUTS[kind].pack(**head, reference=reference, shares=100, **more))
    return tape


def timeless(block: EventBlock) -> dict[str, bytes]:
    """All events without their receive times, which no two runs share."""
    found = {}
    for table, records in block.kinds().items():
        copy = np.array(records)
        copy["ts_recv"] = 0
        found[table] = copy.tobytes()
    return found
