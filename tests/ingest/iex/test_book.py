"""The compiled books, and all other events, against plain dicts, on generated and on real streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import levels
from ingest.capture import CaptureReader
from ingest.iex.decoder import IexDecoder, levels_of
from ingest.iex.files import load_file
from ingest.levels import LevelBooks
from ingest.pcap import read_pcap
from tests.ingest.iex_naive import NO_PRICE, NaiveDay
from tests.ingest.iex_venue import Venue, decode
from tickloom.errors import DecodeError
from tickloom.events import EventBlock, Side
from tickloom.instruments import Registry

REGISTRY = Registry.load()
SharedData = Callable[[str], Path]
Rows = list[tuple[Any, ...]]


def texts(values: np.ndarray[Any, Any]) -> list[str]:
    return [value.decode() for value in values.tolist()]


def plain(blocks: Sequence[EventBlock]) -> dict[str, Rows]:
    """Decoded events as the naive day has them; sorted where a restart takes much back under one number."""
    found: dict[str, Rows] = {}
    for table in ("trades", "quotes", "book_deltas", "statuses"):
        rows = np.concatenate([block.kinds()[table] for block in blocks])
        names = blocks[-1].symbols.names
        columns = [(rows["seq"] % 10**10).tolist(), [names[index] for index in rows["symbol"].tolist()]]

        def prices(name: str, rows: Any = rows) -> list[int]:
            return [NO_PRICE if value == NO_PRICE else value // 10**5 for value in rows[name].tolist()]

        def sizes(name: str, rows: Any = rows) -> list[int]:
            return (rows[name] // 10**9).tolist()  # type: ignore[no-any-return]

        if table == "trades":
            columns += [prices("price"), sizes("size"), rows["venue_id"].tolist(), rows["condition"].tolist()]
        elif table == "quotes":
            columns += [prices("bid_price"), sizes("bid_size"), prices("ask_price"), sizes("ask_size")]
        elif table == "book_deltas":
            sides = ["85"[side == Side.SELL] for side in rows["side"].tolist()]
            columns += [sides, prices("price"), sizes("size")]
        else:
            columns += [rows["status"].tolist(), texts(rows["reason"])]
        assert np.all(np.diff(rows["seq"]) >= 0)
        found[table] = sorted(zip(*columns, strict=True))
    return found


def agree(naive: NaiveDay, decoder: IexDecoder, blocks: Sequence[EventBlock]) -> None:
    found = plain(blocks)
    assert found["trades"] == sorted(naive.trades)
    assert found["quotes"] == sorted(naive.quotes)
    assert found["book_deltas"] == sorted(naive.deltas)
    assert found["statuses"] == sorted(naive.statuses)
    for name in ("crossed", "locked", "restarts"):
        assert decoder.counters[name] == getattr(naive, name)
    for (symbol, kind), expected in naive.books.items():
        side = Side.BUY if kind == "8" else Side.SELL
        prices = sorted(expected, reverse=kind == "8")
        assert levels_of(decoder, symbol, side) == [(p * 10**5, expected[p] * 10**9) for p in prices]


KINDS = st.tuples(
    st.sampled_from("8855TTHOPEBQr"),
    st.sampled_from(["A", "BB", "C.C"]),
    st.integers(1, 12),
    st.integers(0, 3),
    st.integers(0, 15),
)


def stream(parts: Iterable[tuple[str, str, int, int, int]]) -> list[tuple[int, int, bytes]]:
    """Segments of one to three messages; ``r`` begins the sequence anew."""
    venue = Venue()
    records, held = [venue.send(venue.message("S", event="O"))], []
    for number, (kind, symbol, price, size, flags) in enumerate(parts):
        if kind == "r" or len(held) == 3:
            records.append(venue.send(*held))
            held = []
        if kind == "r":
            venue.restart()
            records.append(venue.send())
        elif kind in "85":
            held.append(venue.level(kind, price, size, flags, symbol))
        elif kind in "TB":
            held.append(
                venue.message(kind, symbol=symbol, price=price, size=size + 1, trade_id=number, flags=flags)
            )
        elif kind == "Q":
            sides = {"bid_price": price - 1, "bid_size": size, "ask_price": flags, "ask_size": size + 1}
            held.append(venue.message("Q", symbol=symbol, **sides))
        else:
            code = {"H": "HOPT", "O": "ON", "E": "OC"}.get(kind)
            status: Any = code[flags % len(code)] if code else flags % 2
            held.append(venue.message(kind, symbol=symbol, **{"event" if kind == "E" else "status": status}))
    return [*records, venue.send(*held)]


@settings(max_examples=150, deadline=None)
@given(st.lists(KINDS, min_size=1, max_size=60))
def test_generated_streams_agree_with_dicts(parts: list[tuple[str, str, int, int, int]]) -> None:
    """Trades, quotes, level changes, statuses and final books are those of plain dicts, restarts included."""
    records = stream(parts)
    naive = NaiveDay()
    for _, _, raw in records:
        naive.packet(raw)
    decoder, block = decode(records, IexDecoder("IEXG", "20170425", REGISTRY))
    agree(naive, decoder, [block])
    assert decoder.counters["heartbeat"] == naive.heartbeats


@pytest.mark.parametrize(
    ("name", "day", "counts"),
    [
        (
            "TOPS16.pcapng.gz",
            date(2017, 7, 10),
            {"Q": 27217, "T": 6390, "O": 7801, "P": 7802, "H": 7803, "A": 642, "D": 10, "S": 6, "B": 3},
        ),
        ("DEEP10.pcap.gz", date(2017, 4, 25), None),
    ],
)
def test_real_streams_agree_with_dicts(
    name: str, day: date, counts: dict[str, int] | None, shared_data: SharedData, tmp_path: Path
) -> None:
    """The exchange's samples: counts as an independent reader got them, each event as plain dicts give it."""
    source = shared_data(f"iex/{name}")
    naive = NaiveDay()
    try:
        for _, payload in read_pcap(source):
            assert payload is not None
            naive.packet(payload)
    except DecodeError:
        assert name.startswith("DEEP")
    loaded = load_file(source, tmp_path, "IEXG", day)
    decoder = IexDecoder("IEXG", loaded.session, REGISTRY)
    with CaptureReader(loaded.path) as reader:
        blocks = [decoder.decode(batch) for batch in reader.batches()]
    agree(naive, decoder, blocks)
    assert decoder.message_types == naive.types
    assert sum(len(block.gaps) for block in blocks) == 0
    odd = (
        "malformed",
        "duplicate",
        "early",
        "wrong_length",
        "unknown_type",
        "bad_field",
        "bad_timestamp",
        "longer",
    )
    assert not [kind for kind in odd if decoder.counters[kind]]
    if counts is not None:
        assert decoder.message_types == counts
        assert (loaded.packets, decoder.counters["decoded"], decoder.counters["restarts"]) == (
            13_022,
            57_674,
            0,
        )
        assert decoder.ended
    else:
        # 121,315 packets with the one that the file ends in, which is not taken
        assert (loaded.packets + 1, decoder.counters["decoded"]) == (121_315, 391_999)
        assert decoder.counters["restarts"] == 11
        assert not decoder.ended
    assert decoder.counters["heartbeat"] == naive.heartbeats
    assert decoder.last_seq % 10**10 == naive.base + naive.next - 1


def test_book_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand levels of a side, put and taken in scattered order, from room for a few: none is lost."""
    monkeypatch.setattr(levels.LevelBooks.__init__, "__defaults__", (16,))
    count = 2_000
    venue = Venue()
    order = [1 + number * 7_919 % count for number in range(count)]
    decoder, _ = decode(
        [venue.send(*(venue.level("5", p, p) for p in order[at : at + 40])) for at in range(0, count, 40)]
    )
    book = decoder.book("ALFA")
    assert decoder.books.side_levels(book, Side.SELL) == [(price, price) for price in range(1, count + 1)]
    assert isinstance(decoder.books, LevelBooks)
    tape = [venue.level("5", price, 0) for price in order if price % 3]
    decode([venue.send(*tape[at : at + 40]) for at in range(0, len(tape), 40)], decoder)
    assert decoder.books.side_levels(book, Side.SELL) == [(p, p) for p in range(3, count + 1, 3)]
    assert decoder.counters["unknown_level"] == 0
