"""ITCH 5.0 over MoldUDP64, and the same messages in files."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ingest.itch.columns import NUMBER, decode_columns
from ingest.itch.controls import gap_record
from ingest.itch.decoder import ItchDecoder
from ingest.itch.files import read_itch
from ingest.itch.messages import LAYOUTS
from ingest.itch.moldudp64 import Gap, pack, pack_end
from ingest.itch.quotes import QuoteRunner
from ingest.pcap import read_pcap
from ingest.synthetic.itch_stream import itch_stream
from ingest.synthetic.market import make_session
from ingest.synthetic.parameters import MarketParameters
from tests.fuzz.real import real
from tests.fuzz.target import Arena, Target, check_block, cut
from tickloom.errors import DecodeError
from tickloom.events import GapReason
from tickloom.instruments import Registry

SESSION = b"TLSYN00001"
SEED = 11
_REGISTRY = Registry.load()
_REFUSED = ("unknown_type", "wrong_length", "bad_timestamp")


def genuine() -> list[bytes]:
    """Messages of a synthetic morning, and one of each type that the generator does not make."""
    stream = itch_stream(make_session(MarketParameters(seed=SEED, duration_s=4.0, intensity=4.0)))
    tape = list(stream.messages())[:6_000]
    time_ns = int.from_bytes(tape[len(tape) // 2][5:11], "big")
    for number, layout in enumerate(LAYOUTS.values()):
        values = {"stock_locate": 1, "timestamp": time_ns}
        if "stock" in layout.offsets:
            values["stock"] = "ALFA"  # type: ignore[assignment]
        tape.insert(len(tape) // 2 + 3 * number, layout.pack(**values))
    return tape


def framed(messages: Sequence[bytes]) -> bytes:
    return b"".join(len(item).to_bytes(2, "big") + item for item in messages)


def recorded() -> list[bytes]:
    """Messages of a real file, whose prefixes are zero."""
    path = real("itch/ritch_ex20101224.TEST_ITCH_50")
    return list(read_itch(path))[:6_000] if path else []


class Itch(Target):
    """Datagrams of a session; a frame that begins with ``{`` is a CONTROL record."""

    name = "itch"

    def __init__(self) -> None:
        super().__init__()
        self._arena = Arena()

    def seeds(self) -> list[list[bytes]]:
        tapes = []
        for tape in (genuine(), recorded()):
            for size in (1, 5):
                packets = [
                    pack(SESSION, 1 + at, tape[at : at + size])
                    for at in range(0, min(len(tape), 2_000 * size), size)
                ]
                if packets:
                    packets += [pack(SESSION, 1 + len(tape), []), pack_end(SESSION, 1 + len(tape))]
                    packets.insert(len(packets) // 2, gap_record(Gap(1, 40)))
                tapes.append(packets)
        for path in real_pcaps("omi_packets/itch50_mold"):
            tapes[0].extend(payload for _, payload in read_pcap(path) if payload)
        return tapes

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        decoder = ItchDecoder("XNAS", "20240808.TLSYN00001", _REGISTRY)
        records = [(int(frame[:1] == b"{"), 1 + at, frame) for at, frame in enumerate(frames)]
        events = malformed = 0
        for low, high in cut(records):
            block = decoder.decode(self._arena.batch(records[low:high], 1 + low))
            events += check_block(block)
            malformed += int((block.gaps["reason"] == GapReason.MALFORMED).sum())
        counters = decoder.counters
        refused = sum(counters[name] for name in _REFUSED)
        used = counters["decoded"] + refused + counters["gap_messages"]
        assert decoder.expected - 1 == used, f"numbers up to {decoder.expected - 1}, {used} accounted for"
        spoilt = counters["wrong_length"] + counters["bad_timestamp"] + counters["bad_field"]
        doubtful = sum(counters[name] for name in ("locate_mismatch", "unknown_locate", "refused_size"))
        assert spoilt <= malformed <= spoilt + doubtful, (
            f"{malformed} gap events, {spoilt} to {doubtful} more"
        )
        return counters + Counter(events=events)


class ItchFile(Target):
    """Whole files, read message by message; some of them gzipped."""

    name = "itch_file"
    alone = True
    batch_frames = 500

    def __init__(self) -> None:
        super().__init__()
        self._path = Path(tempfile.mkdtemp(prefix="fuzz")) / f"{os.getpid()}.itch"

    def seeds(self) -> list[list[bytes]]:
        tape = genuine() + recorded()
        return [[framed(tape[at : at + 12]) for at in range(0, 3_000, 12)]]

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for frame in frames:
            self._path.write_bytes(frame)
            try:
                counts["messages"] += sum(1 for _ in read_itch(self._path))
                counts["whole"] += 1
            except DecodeError:
                counts["refused"] += 1
        assert counts["whole"] + counts["refused"] == len(frames)
        return counts


class ItchColumns(Target):
    """Bytes of files into columns, and into best quotes."""

    name = "itch_columns"
    batch_frames = 2_000

    def __init__(self) -> None:
        super().__init__()
        self._arena = Arena()

    def seeds(self) -> list[list[bytes]]:
        return [[framed([item]) for item in tape] for tape in (genuine(), recorded())]

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        counts: Counter[str] = Counter()
        runner = QuoteRunner()
        left, number = b"".join(frames), 1
        while left:
            data = self._arena.put(left)
            columns = decode_columns(data, number)
            quotes = runner.run(data, number)
            counts += columns.counters
            odd = columns.counters["unknown_type"] + columns.counters["wrong_length"]
            rows = sum(columns.message_types.values())
            assert rows == columns.counters["decoded"], "a table is not as long as its messages are many"
            assert rows + odd == columns.messages, f"{columns.messages} messages, {rows} and {odd} odd ones"
            numbers = np.sort(np.concatenate([table[NUMBER] for table in columns.tables.values()] or [[]]))
            assert np.all(np.diff(numbers) > 0), "two messages have one number"
            assert (quotes.messages, quotes.consumed) == (columns.messages, columns.consumed)
            assert np.all(np.diff(quotes.columns["number"]) > 0)
            counts["quotes"] += len(quotes)
            number += columns.messages
            # where it cannot go on, the fuzzer does: one byte on, as nobody else would
            left = left[columns.consumed + 1 :]
        seen = runner.counters["decoded"] + runner.counters["bad_timestamp"]
        assert seen == counts["decoded"], f"{seen} messages for the books, {counts['decoded']} in columns"
        return counts


def real_pcaps(folder: str) -> list[Path]:
    path = real(folder)
    return sorted(path.glob("*.pcap")) if path else []
