"""Templates against the typed readers: the fast reading of the wire must never say anything else."""

from __future__ import annotations

import importlib
import itertools
import random
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.capture import CaptureBatch
from ingest.feeds import decoder_for
from ingest.websocket.book import LevelBooks
from ingest.websocket.checksum import KRAKEN_LEVELS, OKX_LEVELS, Checksum, make_kept, top_checksum
from ingest.websocket.decoder import StreamDecoder, Wire
from ingest.websocket.message import ENTRY_HIGH, ENTRY_LOW, KIND, Kind, Message, Scanned
from ingest.websocket.template import compile_templates
from ingest.websocket.template_scan import Scanner
from tests.ingest.websocket.venues.wires import WIRES
from tests.ingest.websocket.venues.wires import Wire as Venue
from tickloom.instruments import Registry

VENUES = ["KRAKEN", "OKX", "COINBASE", "BYBIT"]
COLUMNS = ("price", "size", "side", "ts", "trade_id")
Dump = Callable[[str], list[tuple[int, int, bytes]]]
Levels = list[tuple[int, int]]
MUTATIONS = 3_000  # a campaign of 40,000 a venue has found nothing more


def wire_of(venue: str) -> tuple[Wire, list[str]]:
    module = importlib.import_module(f"ingest.websocket.{venue.lower()}.layout")
    wire: Wire = module.WIRE
    return wire, [item.venue_symbol for item in Registry.load().of_venue(venue)]


def differences(wire: Wire, names: list[str], payloads: list[bytes]) -> tuple[list[bytes], int]:
    """Payloads that templates read otherwise than the typed reader does; and how many they did read."""
    batch = CaptureBatch.of([(0, 0, payload) for payload in payloads])
    reader, aliases = wire.reader(names), wire.aliases(names) if wire.aliases else None
    scanner = Scanner(wire.program, reader, names, aliases)
    scanned, slow = scanner.scan(batch.data, batch.offsets, batch.kinds == 0)
    wrong = []
    for at, payload in enumerate(payloads):
        if at in slow:
            continue
        message = reader.read(payload)
        alone = Scanned.room_for(1, len(message.entries) + 1)
        alone.put(0, message)
        low, high = scanned.rows[at, ENTRY_LOW], scanned.rows[at, ENTRY_HIGH]
        row = scanned.rows[at].copy()
        row[ENTRY_LOW], row[ENTRY_HIGH] = 0, high - low
        same = (row == alone.rows[0]).all() and all(
            (getattr(scanned, name)[low:high] == getattr(alone, name)[: high - low]).all() for name in COLUMNS
        )
        if not same:
            wrong.append(payload)
    return wrong, len(payloads) - len(slow)


@pytest.mark.parametrize("venue", VENUES)
def test_recorded_messages_read_alike(venue: str, dump: Dump) -> None:
    """Every message of the recording; of all but the answers to requests the templates read every one."""
    wire, names = wire_of(venue)
    payloads = [record[2] for record in dump(venue)[1:]]
    wrong, fast = differences(wire, names, payloads)
    assert not wrong
    assert fast > 0.95 * len(payloads) if venue != "OKX" else fast == len(payloads) - 18


@pytest.mark.parametrize("kind", WIRES)
def test_documented_messages_read_alike(kind: type[Venue]) -> None:
    """What the recordings do not have, because it is newer: templates take it, and agree."""
    made = kind()
    wire, names = wire_of(made.venue)
    one = made.symbols[0]
    payloads = [
        made.snapshot(one, [("9.5", "1")], [("10.5", "2"), ("11", "3")]),
        made.update(one, [("9.5", "0")], [("10.5", "7")], at=1),
        made.update(one, [("9.25", "1.5")], [], at=2),
        made.trade(one, 5, "10.5", "1.25", "sell", at=3),
    ]
    wrong, fast = differences(wire, names, payloads)
    assert not wrong
    assert fast == len(payloads)


def mutated(payload: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, cut, doubled or moved; digits and punctuation more often than not."""
    out = bytearray(payload)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(out)) if out else 0
        way = chance.randrange(5)
        if way == 0:
            out[at : at + 1] = chance.choice(b'0123456789.,:"-[]{}eE \\').to_bytes(1, "big")
        elif way == 1:
            del out[at : at + chance.randint(1, 4)]
        elif way == 2:
            out[at:at] = out[at : at + chance.randint(1, 12)]
        elif way == 3:
            out[at:at] = chance.choice([b"0", b"9", b"null", b"\x00", b"\xff", b"1e5", b"-", b"000000000"])
        else:
            del out[at:]
    return bytes(out)


@pytest.mark.parametrize("venue", VENUES)
def test_mutated_messages_read_alike_and_never_crash(venue: str, dump: Dump) -> None:
    """Broken input gives an event or a counted oddity; where templates take it, the typed reader agrees."""
    wire, names = wire_of(venue)
    chance = random.Random(20_210_417)
    short = [record[2] for record in dump(venue)[1:] if len(record[2]) < 1_500]
    payloads = [mutated(chance.choice(short), chance) for _ in range(MUTATIONS)]
    wrong, fast = differences(wire, names, payloads)
    assert not wrong
    assert fast > MUTATIONS // 100
    decoder = decoder_for(venue, "20210417")
    assert isinstance(decoder, StreamDecoder)
    block = decoder.decode(CaptureBatch.of([*dump(venue)[:60], *((0, 1, one) for one in payloads)]))
    assert decoder.counters["malformed"] > MUTATIONS // 4
    assert len(block) > 0


class Bare:
    """A reader that takes nothing."""

    def read(self, payload: bytes) -> Message:
        return Message(Kind.MALFORMED)


@given(
    st.integers(0, 10**15),
    st.integers(0, 11),
    st.integers(0, 10**10),
)
@settings(max_examples=200, deadline=None)
def test_decimals_are_exact_or_left(units: int, places: int, size: int) -> None:
    """A price is read to the last digit; one that a double would change, or that has too many, is left."""
    digits = str(units).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    program = compile_templates([(Kind.UPDATE, '["<symbol>",<each buy>["<price>",<size>]<end>]')])
    batch = CaptureBatch.of([(0, 0, f'["A",[["{text}",{size}]]]'.encode())])
    scanned, slow = Scanner(program, Bare(), ["A"]).scan(batch.data, batch.offsets, batch.kinds == 0)
    nanos = units * 10 ** (9 - places) if places <= 9 else units / 10 ** (places - 9)
    if slow or scanned.rows[0, KIND] != Kind.UPDATE:
        doubtful = [nanos, size * 10**9]
        assert units == 0 or any(
            value != int(value) or value >= 2**63 or round(int(value) / 10**9 * 10**9) != value
            for value in doubtful
        )
    elif units >= 10**places * (2**63 // 10**9 - 1) and scanned.rows[0, ENTRY_HIGH] == 0:
        assert nanos > (2**63 // 10**9 - 1) * 10**9
    else:
        assert (scanned.price[0], scanned.size[0]) == (nanos, size * 10**9)


def test_template_that_does_not_fit_the_rules_is_refused() -> None:
    """An array without an end, a name that nobody knows."""
    with pytest.raises(ValueError, match="no end"):
        compile_templates([(Kind.UPDATE, '{"a":<each>[<n>]}')])
    with pytest.raises(KeyError):
        compile_templates([(Kind.UPDATE, "<prize>")])


def book_of(bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> LevelBooks:
    books = LevelBooks(1)
    levels = [(1, *level) for level in bids] + [(2, *level) for level in asks]
    sides, prices, sizes = np.array(levels, dtype=np.int64).reshape(-1, 3).T.copy()
    books.apply(0, sides.astype(np.int8), prices, sizes)
    return books


def checksum(
    rule: Checksum, books: LevelBooks, places: tuple[int, int], kept: NDArray[np.int64] | None = None
) -> int:
    arrays = books.keys[0], books.sizes[0], books.counts[0]
    kept = make_kept() if kept is None else kept
    found: int = top_checksum(int(rule), *arrays, np.int64(places[0]), np.int64(places[1]), kept)
    return found


def test_checksums_of_short_books() -> None:
    """Fewer levels than the rule takes, of both sides and of one: joined as the venues document it."""
    nano = 10**9
    books = book_of([(5 * nano // 100, 500)], [(51 * nano // 1_000, 500), (6 * nano // 100, 10 * nano)])
    text = b"5100" + b"50" + b"6000" + b"1000000000" + b"5000" + b"50"
    assert checksum(Checksum.KRAKEN, books, (5, 8)) == zlib.crc32(text)
    books = book_of(
        [(3_366_100_000_000, 7 * nano)], [(3_366_800_000_000, 9 * nano), (3_368 * nano, 8_500_000)]
    )
    text = b"3366.1:7:3366.8:9:3368:0.0085"
    assert checksum(Checksum.OKX, books, (0, 0)) == zlib.crc32(text)


def shortest(nanos: int) -> str:
    """Plain decimal text without trailing zeros."""
    text = f"{nanos // 10**9}.{nanos % 10**9:09d}"
    return text.rstrip("0").rstrip(".")


def joined(rule: Checksum, bids: Levels, asks: Levels, places: tuple[int, int]) -> bytes:
    """What the rule takes the CRC-32 of; bids and asks best first."""
    if rule is Checksum.KRAKEN:
        top = [level for side in (asks, bids) for level in side[:KRAKEN_LEVELS]]
        units = [nanos // 10 ** (9 - p) for level in top for nanos, p in zip(level, places, strict=True)]
        return "".join(str(number).lstrip("0") for number in units).encode()
    pairs = itertools.zip_longest(bids[:OKX_LEVELS], asks[:OKX_LEVELS])
    return ":".join(shortest(nanos) for pair in pairs for level in pair if level for nanos in level).encode()


_NUMBERS = st.one_of(
    st.integers(1, 2**63 - 1),
    st.builds(lambda units, zeros: units * 10**zeros, st.integers(1, 9_999), st.integers(0, 14)),
)
_SIDES = st.dictionaries(_NUMBERS, _NUMBERS, max_size=OKX_LEVELS + 5)


@given(st.lists(st.tuples(_SIDES, _SIDES), min_size=1, max_size=3), st.tuples(*[st.integers(0, 9)] * 2))
@settings(max_examples=100, deadline=None)
def test_checksum_is_that_of_the_text(
    tops: list[tuple[dict[int, int], dict[int, int]]], places: tuple[int, int]
) -> None:
    """Books of one session: numbers come again, whole and with decimals, on one side only, none at all."""
    for rule in (Checksum.KRAKEN, Checksum.OKX):
        kept = make_kept()
        for buys, sells in tops * 2:
            bids, asks = sorted(buys.items(), reverse=True), sorted(sells.items())
            books = book_of(bids, asks)
            assert checksum(rule, books, places, kept) == zlib.crc32(joined(rule, bids, asks, places))


def test_checksum_of_more_numbers_than_are_kept() -> None:
    """Numbers push each other out, and come with other decimals than before."""
    rng, kept = random.Random(5), make_kept()
    for _ in range(300):
        prices = sorted(rng.sample(range(1, 10**6), 12), reverse=True)
        bids = [(price * 10**6, rng.randrange(1, 10**6) * 10**3) for price in prices]
        books = book_of(bids, [])
        for _ in range(2):
            places = rng.randrange(3, 10), rng.randrange(6, 10)
            expected = zlib.crc32(joined(Checksum.KRAKEN, bids, [], places))
            assert checksum(Checksum.KRAKEN, books, places, kept) == expected
