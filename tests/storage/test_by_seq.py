"""Stored events by seq, from a real QuestDB."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from storage import QuestDbSink, by_seq
from storage.applied import wait_applied
from tickloom.errors import ServiceError
from tickloom.events import EventBlock
from tickloom.prices import NO_PRICE, format_nanos
from tickloom.settings import QuestDbSettings


@pytest.fixture
def block(tables: QuestDbSettings, venue: str, make_block: Callable[..., EventBlock]) -> EventBlock:
    """A block of every kind, stored."""
    made = make_block(venue, "20261120", seed=5)
    sink = QuestDbSink(tables)
    sink.write(made, 0, 0)
    sink.close()
    wait_applied(tables, ["trades", "quotes", "statuses"])
    return made


def test_rows_between_two_seqs_are_counted_and_their_ends_shown(
    tables: QuestDbSettings, block: EventBlock
) -> None:
    """Of the symbols asked for, from the first seq to the last inclusive; exact decimals, NULL is empty."""
    first, last = int(block.quotes["seq"][20]), int(block.quotes["seq"][150])
    symbols = block.symbols.names[1:3]
    found = by_seq.read_range(tables, block.venue, symbols, ["quotes", "trades"], first, last, ends=4)
    for table in ("quotes", "trades"):
        records = block.kinds()[table]
        records = records[(records["seq"] >= first) & (records["seq"] <= last)]
        records = records[np.isin(records["symbol"], [1, 2])]
        assert found.counts[table] == len(records)
        events = [one for one in found.events if one.table == table]
        expected = [*records[:4], *records[-4:]]
        assert [one.seq for one in events] == [int(record["seq"]) for record in expected]
        price = "bid_price" if table == "quotes" else "price"
        shown = ["" if record[price] == NO_PRICE else format_nanos(int(record[price])) for record in expected]
        assert [one.values[price] for one in events] == shown
        assert [one.ts_event for one in events] == [int(record["ts_event"]) for record in expected]
        assert [one.ts_recv for one in events] == [int(record["ts_recv"]) for record in expected]


def test_few_rows_come_once(tables: QuestDbSettings, block: EventBlock) -> None:
    """A range shorter than both ends together has no row twice, and what is not there is not counted."""
    seq = int(block.statuses["seq"][7])
    names = block.symbols.names
    found = by_seq.read_range(tables, block.venue, names, ["statuses", "spreads"], seq, seq, ends=4)
    assert found.counts == {"statuses": 1}
    assert [one.seq for one in found.events] == [seq]


def test_without_a_server_it_says_so(free_ports: Callable[[int], list[int]]) -> None:
    """The message names the address."""
    http, pg, health = free_ports(3)
    settings = QuestDbSettings.load(http_port=http, pg_port=pg, health_port=health)
    with pytest.raises(ServiceError, match=str(pg)):
        by_seq.read_range(settings, "XNAS", ["ALFA"], ["trades"], 2611200000000001, 2611200000000002, 3)
