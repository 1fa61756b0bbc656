"""Databento's encoding: records of a capture, and files."""

from __future__ import annotations

import gzip
import itertools
import random
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import databento_dbn as dbn
import numpy as np
import zstandard

from ingest.bulk.load import Options, open_source
from ingest.capture import CaptureBatch, RecordKind
from ingest.dbn.decoder import DbnDecoder, end_record, open_record
from ingest.dbn.files import load_file
from ingest.dbn.kernel import TIME_MAX
from ingest.dbn.live import LiveClient, Recent, RefusedError, Request
from ingest.dbn.metadata import metadata_bytes
from ingest.dbn.records import MBO, MBP_10, RType
from ingest.dbn.state import SYMBOL
from ingest.pcap import open_plain
from tests.fuzz.real import real
from tests.fuzz.target import Arena, Target, check_block, cut
from tests.fuzz.targets.files import FileTarget
from tests.ingest.dbn.gateway import CHALLENGE
from tests.ingest.dbn.test_decoder import DAY, DAY_NS, TICK, UNDEF, mbo, mbp, trade
from tests.ingest.dbn_naive import NANOS, encoded
from tickloom.errors import CaptureError, DecodeError, SettingsError
from tickloom.events import EventBlock, GapReason, Side, StatusCode
from tickloom.instruments import Registry
from tickloom.prices import NO_PRICE
from tickloom.settings.ingest import DbnSettings

SESSION = f"{DAY:%Y%m%d}.DBN.X.1"
IDS = (7, 8, 9, 400)
PIECES = 1_500
_REGISTRY = Registry.load()
_SPANS = [(date(2026, 11, 20), date(2026, 11, 21), 7), (date(2026, 11, 22), date(2026, 11, 23), 8)]
_MAPPINGS = [("ALFA", _SPANS), ("BRVO", [(date(2026, 11, 1), date(2026, 12, 1), 9)])]
_SCHEMAS = ("mbo", "mbp-1", "mbp-10", "trades", "")
_BOOK = (StatusCode.BOOK_LOST, StatusCode.BOOK_SYNCED)
#: Counters of which each record is in one, beside ``unplaced_...``.
_RECORDS = (
    "decoded", "malformed", "wrong_length", "foreign_publisher", "bad_timestamp", "definitions", "mappings",
    "disconnects",
)  # fmt: skip
_GAPS = ("malformed", "wrong_length", "bad_timestamp")


def _times(rng: random.Random) -> dict[str, int]:
    late_ns = rng.choice((0, 0, 0, 86_400 * NANOS))
    return {"ts_event": DAY_NS + late_ns, "ts_recv": DAY_NS + late_ns + 9, "instrument_id": rng.choice(IDS)}


def _ten(rng: random.Random) -> list[tuple[int, int, int, int]]:
    """Ten levels of either side, best first; the last ones may be missing."""
    bids = sorted(rng.sample(range(80, 100), 10), reverse=True)
    asks = sorted(rng.sample(range(100, 120), 10))
    depth = rng.choice((10, 10, 3))
    pairs = zip(bids[:depth], asks[:depth], strict=True)
    levels = [(bid * TICK, rng.randrange(1, 4), ask * TICK, rng.randrange(1, 4)) for bid, ask in pairs]
    return levels + [(UNDEF, 0, UNDEF, 0)] * (10 - depth)


def _record(rng: random.Random, schema: str) -> bytes:
    """A record of a schema; of the mixed one (``""``) any, those without events too."""
    times = _times(rng)
    if schema == "mbo":
        action = rng.choice("AAAAAACCMTFN" if rng.random() < 0.99 else "R")
        price, order_id = rng.randrange(90, 111) * TICK, rng.randrange(1, 60)
        flags = rng.choice((0x80, 0x80, 0x80, 0, 0x20, 0xA0, 0x84))
        if rng.random() < 0.97:
            flags &= ~0x04
        order = {"price": price, "order_id": order_id, "size": rng.randrange(1, 9), "flags": flags}
        return bytes(mbo(action, rng.choice("AB"), **order, **times))
    if schema == "trades":
        return bytes(trade(price=rng.randrange(90, 111) * TICK, **times))
    kind = dbn.MBP10Msg if schema == "mbp-10" else dbn.MBP1Msg
    action = rng.choice((dbn.Action.ADD, dbn.Action.CANCEL, dbn.Action.TRADE))
    if schema:
        flags = rng.choice((0x80,) * 9 + (0x84,))
        return bytes(mbp(kind, _ten(rng), action=action, flags=flags, **times))
    number, event_ns = times["instrument_id"], times["ts_event"]
    choice = rng.random()
    if choice < 0.4:
        return _record(rng, rng.choice(_SCHEMAS[:-1]))
    if choice < 0.6:
        halt = rng.choice((dbn.StatusAction.HALT, dbn.StatusAction.TRADING, dbn.StatusAction.SSR_CHANGE))
        return bytes(dbn.StatusMsg(2, number, event_ns, event_ns + 9, halt))
    if choice < 0.8:
        symbol, raw = rng.choice(("DELT", "ECHO", "ALFA")), dbn.SType.RAW_SYMBOL
        return bytes(dbn.SymbolMappingMsg(2, number, event_ns, raw, symbol, raw, symbol, 0, 2**64 - 1))
    head = struct.pack("<BBHIQ", 14, RType.OHLCV_1M, 2, number, event_ns)
    if choice < 0.9:
        return head + bytes(40)
    definition = head.replace(bytes((14, RType.OHLCV_1M)), bytes((130, RType.INSTRUMENT_DEF)), 1)
    return (definition.ljust(238, b"\0") + rng.choice((b"DELT", b"FOXT", b""))).ljust(520, b"\0")


def genuine(seed: int, schema: str, pieces: int = PIECES) -> list[bytes]:
    """Metadata, pieces of whole records, and the end."""
    rng = random.Random(seed)
    tape = [encoded([], schema, _MAPPINGS if seed % 2 else [])]
    if schema == "mbo":
        tape += [bytes(mbo("R", instrument_id=number)) for number in IDS[:3]]
    for _ in range(pieces):
        if rng.random() < 0.005:
            tape.append(open_record(lost=True))
        tape.append(b"".join(_record(rng, schema) for _ in range(rng.choice((1, 1, 2, 5)))))
    return [*tape, end_record()]


def lengths(data: bytes) -> Iterator[int]:
    """Bytes of each record; the last one may be more than there is, or cannot be."""
    at = 0
    while at < len(data):
        yield data[at] * 4
        if data[at] < 4:
            return
        at += data[at] * 4


_TIMES = (0, 2**64 - 1, TIME_MAX - 1, TIME_MAX, 1, DAY_NS, DAY_NS + 86_400 * NANOS, 2**63)
_PRICES = (UNDEF, 2**63, 2**63 + 1, 0, 2**64 - 1, 4_194_304 * NANOS + 1, 2**62, UNDEF - 1, 100 * TICK)
_SIZES = (0, 1, 2**32 - 1, 2**31, 5)
_IDS = (7, 8, 9, 400, 0, 2**31, 2**32 - 1)
_LETTERS = b"ACMRTFNBS\0\xff"
#: Bytes of a field, and what it may be, at its place in a record of either layout.
_FIELDS: dict[int, tuple[int, Sequence[int]]] = {
    0: (1, (0, 3, 4, 12, 13, 14, 20, 92, 130, 255)),
    1: (1, [int(kind) for kind in RType]),
    2: (2, (0, 2, 2, 3, 65_535)),
    4: (4, _IDS),
    8: (8, _TIMES),
}


def _fields(layout: np.dtype[Any]) -> dict[int, tuple[int, Sequence[int]]]:
    found = dict(_FIELDS)
    for name, (dtype, at, *_) in (layout.fields or {}).items():
        values: Sequence[int] = {
            "ts_recv": _TIMES, "price": _PRICES, "size": _SIZES, "action": _LETTERS, "side": _LETTERS,
            "flags": (0, 0x80, 0x84, 0xA0, 0x20, 0x10, 0x40, 0xFF), "order_id": (*range(1, 60), 0, 2**64 - 1),
        }.get(name, _PRICES if name[3:6] == "_px" else _SIZES if name[3:6] == "_sz" else ())  # fmt: skip
        if values:
            found[at] = dtype.itemsize, values
    return found


_LAYOUTS = {int(RType.MBO): _fields(MBO)}
_OTHERS = _fields(MBP_10)


def odd_field(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    """A field of a record becomes a limit, an undefined value, or that of another."""
    starts = [0, *itertools.accumulate(lengths(frame))]
    at = rng.choice([start for start in starts if start + 16 <= len(frame)] or [0])
    kind = frame[at + 1] if len(frame) > at + 1 else 0
    place, (size, values) = rng.choice(list(_LAYOUTS.get(kind, _OTHERS).items()))
    at += place
    return (frame[:at] + rng.choice(values).to_bytes(size, "little") + frame[at + size :])[: len(frame)]


def level_of_another(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    """Of ten levels two are the same, or have changed their places."""
    if len(frame) < MBP_10.itemsize:
        return odd_field(rng, frame, b"")
    one, two = sorted(48 + 32 * rng.randrange(10) for _ in range(2))
    first, second = frame[one : one + 32], frame[two : two + 32]
    if rng.random() < 0.5:
        second = first
    return frame[:one] + second + frame[one + 32 : two] + first + frame[two + 32 :] if one < two else frame


class _Watched(DbnDecoder):
    """Knows which names an id had."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.rows: dict[int, int] = {}
        self.named: dict[int, set[int]] = defaultdict(set)

    def _name(self, instrument_id: int, ts_ns: int) -> int:
        which = super()._name(instrument_id, ts_ns)
        self.rows[instrument_id] = which
        self.named[instrument_id].add(int(self._state.instruments[which, SYMBOL]))
        return which

    def books(self) -> dict[int, dict[tuple[int, int], int]]:
        """Levels by symbol, of ids that alone have had one name only: side and price to size."""
        shared = Counter(symbol for names in self.named.values() for symbol in names)
        found: dict[int, dict[tuple[int, int], int]] = {}
        types = self.message_types
        for number, names in self.named.items():
            symbol = next(iter(names))
            if len(names) > 1 or shared[symbol] > 1 or ("mbo" in types and "mbp_10" in types):
                continue
            levels = {}
            for side in (Side.BUY, Side.SELL):
                ten = self._state.tens[self.rows[number], int(side == Side.SELL)].tolist()
                for price, size in [*self.side_levels(number, side), *(one for one in ten if one[1])]:
                    levels[int(side), price] = size * NANOS
            found[symbol] = levels
        return found


def _check_events(block: EventBlock) -> None:
    """No price without a size nor a size without a price; a book's status has no reason."""
    for side in ("bid", "ask"):
        price, size = block.quotes[f"{side}_price"], block.quotes[f"{side}_size"]
        assert np.array_equal(price == NO_PRICE, size == 0), f"{side} of a quote"
        assert not len(size) or size.min() >= 0
    assert (block.trades["size"] > 0).all()
    assert (block.deltas["size"] >= 0).all()
    assert (block.deltas["price"] != NO_PRICE).all()
    book = np.isin(block.statuses["status"], [int(code) for code in _BOOK])
    assert not block.statuses["reason"][book].any(), "a reason of another record"


def _raw(blocks: Sequence[EventBlock]) -> list[bytes]:
    kinds = [list(block.kinds().values()) for block in blocks]
    return [b"".join(rows.tobytes() for rows in one) for one in zip(*kinds, strict=True)]


class Dbn(Target):
    """Pieces of records, as a capture has them; ``DBN`` begins metadata, ``{"`` a CONTROL record."""

    name = "dbn"
    mutations = (odd_field, odd_field, odd_field, level_of_another)

    def __init__(self) -> None:
        super().__init__()
        self._arena = Arena()

    def seeds(self) -> list[list[bytes]]:
        tapes = [genuine(seed, schema) for seed, schema in enumerate((*_SCHEMAS, "mbo", ""))]
        for path in _real_files():
            with open_plain(path) as file:
                plain = file.read()
            ends = [0, *itertools.accumulate(lengths(plain[metadata_bytes(plain[:8]) :]))]
            tape = [plain[: metadata_bytes(plain[:8])]]
            tapes.append(tape + [plain[len(tape[0]) :][low:high] for low, high in itertools.pairwise(ends)])
        return tapes

    def repaired(self, rng: random.Random, frame: bytes) -> bytes:
        """Most that begin with a length that cannot be get one, and a whole number of words."""
        if frame[:3] == b"DBN" or frame[:1] == b"{" or len(frame) < 16 or rng.random() < 0.2:
            return frame
        if frame[0] < 4 or frame[0] * 4 > len(frame):
            return bytes((min(255, len(frame) // 4),)) + frame[1:]
        return frame

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        decoder = _Watched("XNAS", SESSION, _REGISTRY, 10 * NANOS)
        records = [(_kind(frame), DAY_NS + at, frame) for at, frame in enumerate(frames)]
        blocks = []
        events = 0
        deltas: dict[int, dict[tuple[int, int], int]] = defaultdict(dict)
        for low, high in cut(records):
            block = decoder.decode(self._arena.batch(records[low:high], 1 + low))
            events += check_block(block)
            _check_events(block)
            blocks.append(block)
            rows = block.deltas[["symbol", "side", "price", "size"]].tolist()
            for symbol, side, price, size in rows:
                deltas[symbol][side, price] = size
        counters = decoder.counters
        numbered = sum(1 for kind, _, frame in records if kind == RecordKind.DATA for _ in lengths(frame))
        numbered += counters["disconnects"]
        assert decoder.last_seq % 10**10 == numbered, f"{numbered} records, {decoder.last_seq} the last"
        unplaced = sum(count for name, count in counters.items() if name.startswith("unplaced_"))
        assert sum(counters[name] for name in _RECORDS) + unplaced == numbered, counters
        gaps = sum(int((block.gaps["reason"] == GapReason.MALFORMED).sum()) for block in blocks)
        at_least = sum(counters[name] for name in _GAPS)
        assert at_least <= gaps <= at_least + counters["undefined_price"] + counters["refused_price"]
        for symbol, levels in decoder.books().items():
            told = {level: size for level, size in deltas[symbol].items() if size}
            assert told == levels, f"the book of {decoder.symbols.names[symbol]} and its deltas"
        whole = DbnDecoder("XNAS", SESSION, _REGISTRY, 10 * NANOS)
        same = whole.decode(CaptureBatch.of(records))
        assert _raw(blocks) == _raw([same]), "other events where the capture is cut otherwise"
        assert whole.counters == counters
        return counters + Counter(events=events)


def _kind(frame: bytes) -> int:
    if frame[:3] == b"DBN":
        return int(RecordKind.SNAPSHOT)
    return int(RecordKind.CONTROL if frame[:2] == b'{"' else RecordKind.DATA)


def _real_files() -> list[Path]:
    folder = real("dbn")
    return sorted(folder.glob("*.dbn*")) if folder else []


class DbnLive(Target):
    """What a gateway sends to a client, cut anywhere; behind what is none a new connection begins."""

    name = "dbn_live"
    mutations = (odd_field,)

    def seeds(self) -> list[list[bytes]]:
        told = [f"lsg_version=0.6.3\ncram={CHALLENGE}\n".encode(), b"success=1|session_id=5\n"]
        said = [
            bytes(dbn.SystemMsg(1, "Heartbeat", dbn.SystemCode.HEARTBEAT)),
            bytes(dbn.SystemMsg(1, "Slow", dbn.SystemCode.SLOW_READER_WARNING)),
            bytes(dbn.ErrorMsg(1, "No")),
        ]
        tapes = []
        for seed, schema in enumerate(_SCHEMAS):
            metadata, *pieces = genuine(seed, schema, 60)[:-1]
            tapes.append([*told, metadata, *said, *(piece for piece in pieces if piece[:1] != b"{")] * 20)
        return tapes

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        counts: Counter[str] = Counter()
        request = Request("XNAS.ITCH", ["mbo"], ["ALFA"], "raw_symbol", 5)
        client, recent = LiveClient("key", request), Recent()
        for frame in frames:
            if frame[:11] == b"lsg_version":
                client = LiveClient("key", request)
                recent.resume()
                counts["connections"] += 1
            middle = len(frame) // 3
            try:
                for part in (frame[:middle], frame[middle:]):
                    for kind, payload in client.feed(part):
                        counts[kind.name] += 1
                        if kind == RecordKind.DATA:
                            assert sum(lengths(payload)) == len(payload)
                            recent.take(recent.new(payload))
            except (DecodeError, RefusedError):
                counts["refused"] += 1
                client = LiveClient("key", request)
            client.said.clear()
        return counts


class _Kept:
    """Takes the records that a capture would get."""

    def __init__(self) -> None:
        self.records: list[tuple[int, int, bytes]] = []

    def append(self, kind: int, ts_recv: int, payload: bytes) -> int:
        return self.append_many(kind, [ts_recv], [payload])

    def append_many(self, kind: int, ts_recv: Sequence[int], payloads: Sequence[bytes]) -> int:
        self.records += [(kind, ts, payload) for ts, payload in zip(ts_recv, payloads, strict=True)]
        return len(self.records)

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class DbnFile(FileTarget):
    """Files, plain and compressed: loaded into a capture, and straight on as a bulk load does."""

    name = "dbn_file"
    mutations = (odd_field,)
    batch_frames = 200

    def seeds(self) -> list[list[bytes]]:
        tape = [b"".join(genuine(seed, schema, 20)[:-1]) for seed, schema in enumerate(_SCHEMAS)]
        packed = zstandard.ZstdCompressor(level=1)
        tape += [packed.compress(one) for one in tape[:2]] + [gzip.compress(tape[2], 1, mtime=0)]
        tape.append(packed.compress(tape[0][:900]) + packed.compress(tape[0][900:]))
        real_ones = [path.read_bytes() for path in _real_files()]
        tape += real_ones + [zstandard.decompress(one, max_output_size=1 << 20) for one in real_ones]
        return [tape]

    def mutated(self, rng: random.Random) -> tuple[list[bytes], int]:
        """Half of what was compressed is damaged before it is compressed."""
        frames, count = super().mutated(rng)
        for at, frame in enumerate(frames):
            if frame[:3] == b"DBN" and rng.random() < 0.2:
                frames[at] = zstandard.compress(frame, 1)
        return frames, count

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        settings = DbnSettings.load()  # once: to read them takes longer than most of these files
        with mock.patch.object(DbnSettings, "load", return_value=settings):
            return self._decode(frames)

    def _decode(self, frames: Sequence[bytes]) -> Counter[str]:
        counts: Counter[str] = Counter()
        folder = self.own_path()
        path = folder / "file.dbn"
        for frame in frames:
            path.write_bytes(frame)
            self._load(path, counts)
            try:
                source = open_source(path, Options(rejects=folder, venue="XNAS"), _REGISTRY)
                source.run(lambda block, watermark_ns, last_seq: counts.update(events=check_block(block)))
                counts["bulk"] += 1
            except (CaptureError, DecodeError, SettingsError):
                counts["bulk_refused"] += 1
        assert counts["whole"] + counts["damaged"] + counts["refused"] == len(frames)
        return counts

    def _load(self, path: Path, counts: Counter[str]) -> None:
        kept = _Kept()
        try:
            loaded = load_file(path, path.parent, "XNAS", registry=_REGISTRY, open_writer=lambda *_: kept)
        except DecodeError:
            counts["refused"] += 1
            assert not kept.records
            return
        counts["damaged" if loaded.damage else "whole"] += 1
        kinds = [kind for kind, _, _ in kept.records]
        assert kinds[0] == RecordKind.SNAPSHOT
        assert kinds[-1] == RecordKind.CONTROL
        assert set(kinds[1:-1]) == {RecordKind.DATA}
        pieces = [payload for _, _, payload in kept.records[1:-1]]
        assert loaded.messages == sum(1 for piece in pieces for _ in lengths(piece))
        assert loaded.packets == len(pieces)
        plain = path.read_bytes()
        if plain[:3] == b"DBN":
            data = plain[metadata_bytes(plain[:8]) :]
            assert data.startswith(b"".join(pieces))
            assert bool(loaded.damage) == (len(b"".join(pieces)) < len(data))
        counts["records"] += loaded.messages
