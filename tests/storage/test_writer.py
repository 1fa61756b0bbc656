"""The writer: what goes in comes back, once, whatever is repeated."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from questdb import TimestampNanos

from storage import QuestDbReader, QuestDbSink, wait_applied, writer
from storage.columns import LAYOUTS, Layout
from storage.ilp import IlpSender
from storage.writer import _cut
from tickloom.errors import PriceRangeError, ServiceError, StorageError
from tickloom.events import DELTA_DTYPE, TRADE_DTYPE, EventBlock, SymbolTable
from tickloom.prices import NO_PRICE
from tickloom.settings import QuestDbSettings

MakeBlock = Callable[..., EventBlock]
PlainRows = Callable[[list[EventBlock], str], list[tuple[object, ...]]]
ALL_TIME = (0, 2**62)
KINDS = tuple(LAYOUTS)


def by_identity(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Rows in an order of their own, for tables whose rows share a seq."""
    return sorted(rows, key=repr)


@pytest.mark.parametrize("seed", range(8))
def test_events_come_back_exactly(
    tables: QuestDbSettings,
    venue: str,
    reader: QuestDbReader,
    make_block: MakeBlock,
    plain_rows: PlainRows,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Random events of all kinds are read back to the nanosecond and the last 1e-9 of a price, whether the
    largest table has a connection of its own or not."""
    monkeypatch.setattr(writer, "BESIDE_ROWS_MIN", 1 if seed % 2 else 10**9)
    block = make_block(venue, "20261120.A", seed)
    sink = QuestDbSink(tables, flush_rows_max=37)
    sink.write(block, 0, 0)
    sink.close()
    wait_applied(tables, KINDS)
    stored = list(reader.read_events(venue, *ALL_TIME, kinds=KINDS))
    assert {part.session for part in stored} == {"20261120.A"}
    for kind in KINDS:
        assert by_identity(plain_rows(stored, kind)) == by_identity(plain_rows([block], kind))


def test_repeated_events_are_stored_once(
    tables: QuestDbSettings, venue: str, reader: QuestDbReader, make_block: MakeBlock, plain_rows: PlainRows
) -> None:
    """The same block written three times, twice past the resume point, is there once."""
    block = make_block(venue, "20261120", seed=11)
    for _ in range(3):
        sink = QuestDbSink(tables, rewrite=True)
        sink.write(block, 0, 0)
        sink.close()
    wait_applied(tables, KINDS)
    stored = list(reader.read_events(venue, *ALL_TIME, kinds=KINDS))
    for kind in KINDS:
        assert by_identity(plain_rows(stored, kind)) == by_identity(plain_rows([block], kind))


def test_sink_goes_on_behind_what_is_stored(
    tables: QuestDbSettings, venue: str, reader: QuestDbReader, make_block: MakeBlock
) -> None:
    """A second sink is told each table's last seq, drops what is there, and adds the rest."""
    block = make_block(venue, "S", seed=5)
    middle = int(block.trades["seq"][99])
    keep = {kind: records["seq"] <= middle for kind, records in block.kinds().items()}
    keep["gaps"][:] = False
    first = QuestDbSink(tables)
    assert first.resume_after(venue, "S") == {}
    first.write(block.select(keep), 0, 0)
    first.close()
    wait_applied(tables, KINDS)
    second = QuestDbSink(tables)
    last_delta = int(block.deltas["seq"].max())
    expected = {"trades": middle, "quotes": middle, "book_deltas": last_delta, "statuses": middle}
    assert second.resume_after(venue, "S") == expected
    second.write(block, 0, 0)
    second.close()
    wait_applied(tables, KINDS)
    for kind, records in block.kinds().items():
        assert sum(reader.count_by_symbol(kind, venue, "S").values()) == len(records)


def test_other_sessions_do_not_count(tables: QuestDbSettings, venue: str, make_block: MakeBlock) -> None:
    """What another session stored is no reason to drop anything of this one."""
    sink = QuestDbSink(tables)
    sink.write(make_block(venue, "A", seed=1), 0, 0)
    sink.flush()
    wait_applied(tables, KINDS)
    assert sink.resume_after(venue, "B") == {}
    sink.close()


def test_rows_of_a_message_are_never_cut_apart() -> None:
    """Pieces end where a seq ends, however small they should be, and together are the whole."""
    records = np.zeros(12, dtype=DELTA_DTYPE)
    records["seq"] = [1, 1, 1, 2, 3, 3, 3, 3, 3, 4, 5, 5]
    pieces = [piece["seq"].tolist() for piece in _cut(records, 2)]
    assert pieces == [[1, 1, 1], [2, 3, 3, 3, 3, 3], [4, 5, 5]]


def one_trade(venue: str, **fields: int) -> EventBlock:
    """A block with one good trade, ``fields`` changed."""
    trades = np.zeros(1, dtype=TRADE_DTYPE)
    values = {"ts_event": 1_795_132_800_000_000_000, "seq": 10, "symbol": 1, "price": 10**9, "size": 10**9}
    for name, value in {**values, **fields}.items():
        trades[name] = value
    return EventBlock(venue, "S", SymbolTable(["ALFA"]), trades=trades)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"price": 9_007_199_000_000_001 * 1_000}, PriceRangeError, "does not survive"),
        ({"price": int(NO_PRICE)}, PriceRangeError, "trades.price"),
        ({"ts_event": -1}, StorageError, "outside of what the table keeps"),
        ({"ts_event": 9_000_000_000_000_000_000}, StorageError, "outside of what the table keeps"),
        ({"ts_event": 600_000_000_000_000_000}, StorageError, "lengthen the table's TTL"),
        ({"side": 3}, StorageError, "trades.side: code 3"),
        ({"symbol": 2}, StorageError, "trades.symbol: code 2"),
    ],
)
def test_events_that_would_change_are_refused(
    tables: QuestDbSettings, venue: str, fields: dict[str, int], error: type[Exception], message: str
) -> None:
    """A value that the table would not keep as it is (600e15 ns is 1989) is refused before it is sent."""
    sink = QuestDbSink(tables)
    with pytest.raises(error, match=message):
        sink.write(one_trade(venue, **fields), 0, 0)
    sink.close()


def test_going_back_in_seq_is_refused(tables: QuestDbSettings, venue: str) -> None:
    """A block whose seq is below what was taken before is a mistake of the caller's."""
    sink = QuestDbSink(tables)
    sink.write(one_trade(venue, seq=10), 0, 0)
    with pytest.raises(StorageError, match="out of seq order"):
        sink.write(one_trade(venue, seq=9), 0, 0)
    sink.close()


def test_dead_server_is_said_and_nothing_is_dropped(free_port: int, venue: str) -> None:
    """Without a server, asking raises a ServiceError that says what to do."""
    nowhere = QuestDbSettings.load(http_port=free_port, pg_port=free_port)
    sink = QuestDbSink(nowhere)
    with pytest.raises(ServiceError, match=r"does not answer.*tickloom up"):
        sink.resume_after(venue, "S")
    sink.close()


def test_writer_waits_with_bounded_memory(
    tables: QuestDbSettings, free_port: int, venue: str, make_block: MakeBlock
) -> None:
    """While rows cannot be sent, writing blocks once four times flush_rows_max are held; closing says how
    many are not stored."""
    deaf = tables.model_copy(update={"http_port": free_port})
    sink = QuestDbSink(deaf, flush_rows_max=100)
    block = make_block(venue, "S", seed=1, count=1_000)
    parts = [
        block.select({"trades": (block.trades["seq"] - block.trades["seq"][0]) // 50 == part})
        for part in range(20)
    ]
    failures: list[Exception] = []

    def feed() -> None:
        try:
            for part in parts:
                sink.write(part, 0, 0)
        except (ServiceError, StorageError) as error:
            failures.append(error)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    feeder.join(1.0)
    assert feeder.is_alive()
    assert sink.pending_rows == 400
    with pytest.raises(ServiceError, match=r"400 rows are not in QuestDB.*from the capture"):
        sink.close(timeout_s=0.2)
    feeder.join(30)
    assert len(failures) == 1  # the writer that was waiting is told, too


def test_refused_rows_fail_the_sink(
    tables: QuestDbSettings, venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that QuestDB refuses are not retried for ever: the next call raises, with its message."""

    def wrong_type(*args: object) -> object:
        frame = to_frame(*args)  # type: ignore[arg-type]
        frame["seq"] = "text"
        return frame

    to_frame = writer.to_frame
    monkeypatch.setattr(writer, "to_frame", wrong_type)
    sink = QuestDbSink(tables)
    sink.write(one_trade(venue), 0, 0)
    with pytest.raises(StorageError, match=r"refuses rows for trades.*seq.*schema"):
        sink.flush()
    with pytest.raises(StorageError, match="refuses rows"):
        sink.close()


@pytest.mark.parametrize("refused", ["trades", "book_deltas"])
def test_a_table_that_is_refused_keeps_no_other_from_being_stored(
    tables: QuestDbSettings,
    venue: str,
    reader: QuestDbReader,
    make_block: MakeBlock,
    monkeypatch: pytest.MonkeyPatch,
    refused: str,
) -> None:
    """The largest table and one beside it: either's refusal is raised, and the other is stored."""

    def wrong_type(layout: Layout, *args: Any) -> Any:
        frame = to_frame(layout, *args)
        if layout.table == refused:
            frame["seq"] = "text"
        return frame

    to_frame = writer.to_frame
    monkeypatch.setattr(writer, "to_frame", wrong_type)
    monkeypatch.setattr(writer, "BESIDE_ROWS_MIN", 1)
    whole = make_block(venue, "S", seed=3)
    block = EventBlock(venue, "S", whole.symbols, trades=whole.trades[:150], deltas=whole.deltas)
    assert len(block.deltas) > len(block.trades)
    sink = QuestDbSink(tables)
    sink.write(block, 0, 0)
    with pytest.raises(StorageError, match=f"refuses rows for {refused}"):
        sink.flush()
    with pytest.raises(StorageError, match="refuses rows"):
        sink.close()
    wait_applied(tables, KINDS)
    stored = {kind: sum(reader.count_by_symbol(kind, venue, "S").values()) for kind in block.kinds()}
    (other,) = {"trades", "book_deltas"} - {refused}
    assert stored == {kind: len(block.kinds()[kind]) * (kind == other) for kind in stored}


def test_table_that_is_not_there_is_named(tables: QuestDbSettings) -> None:
    """Waiting for an unknown table says how tables are made."""
    with pytest.raises(StorageError, match=r"nowhere is not there.*schema apply"):
        wait_applied(tables, ["nowhere"])


def test_tables_are_never_made_on_the_fly(tables: QuestDbSettings) -> None:
    """Rows for a table that the schema does not have are refused, and make none."""
    sender = IlpSender(tables)

    def fill(buffer: Any) -> None:
        buffer.row("made_on_the_fly", columns={"a": 1}, at=TimestampNanos(1))

    with pytest.raises(StorageError, match=r"refuses rows for made_on_the_fly.*schema"):
        sender.send("made_on_the_fly", fill, 1)
    sender.close()
