"""The schema: numbered files, applied once each."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from storage import QuestDbReader, QuestDbSink, schema, wait_applied
from storage.columns import LAYOUTS
from storage.connection import Connection
from tickloom.errors import StorageError
from tickloom.events import EventBlock
from tickloom.settings import QuestDbSettings

# numbers far above the real ones: all files share one record
FIRST = "CREATE TABLE IF NOT EXISTS {name} (ts TIMESTAMP_NS, a LONG) TIMESTAMP(ts) PARTITION BY DAY WAL;"
SECOND = "-- a comment; with a semicolon\nALTER TABLE {name} ADD COLUMN IF NOT EXISTS b LONG;\n"


_numbers = itertools.count(5_000, 10)


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Two files, numbered for this test alone, about a table of its own."""
    number = next(_numbers)
    name = request.node.name
    (tmp_path / f"{number}_first.sql").write_text(FIRST.format(name=name))
    (tmp_path / f"{number + 1}_second.sql").write_text(SECOND.format(name=name))
    return tmp_path


def test_second_apply_changes_nothing(tables: QuestDbSettings, folder: Path) -> None:
    """Files are applied in order once, and a second time there is nothing to do."""
    names = sorted(path.stem for path in folder.glob("*.sql"))
    assert schema.apply(tables, folder) == names
    assert schema.apply(tables, folder) == []
    with Connection(tables) as connection:
        columns = connection.fetch("SHOW COLUMNS FROM test_second_apply_changes_nothing")
    assert [(row[0], row[1]) for row in columns] == [("ts", "TIMESTAMP_NS"), ("a", "LONG"), ("b", "LONG")]


def test_real_schema_is_idempotent(tables: QuestDbSettings) -> None:
    """Applying the real schema to a database that has it does nothing, and says all is applied."""
    assert schema.apply(tables) == []
    states = {item.state for item in schema.status(tables) if item.number < 5_000}
    assert states == {"applied"}


def test_changed_file_is_refused(tables: QuestDbSettings, folder: Path) -> None:
    """A file that was changed after it was applied stops everything, and the error says what to do."""
    schema.apply(tables, folder)
    first, second = sorted(folder.glob("*.sql"))
    second.write_text(second.read_text().replace("b LONG", "b DOUBLE"))
    later = folder / "9998_later.sql"
    later.write_text("CREATE TABLE IF NOT EXISTS must_not_be (a INT);")
    with pytest.raises(StorageError, match=r"second\.sql was changed after it was applied.*new one"):
        schema.apply(tables, folder)
    states = {item.name: item.state for item in schema.status(tables, folder)}
    assert (states[first.stem], states[second.stem], states["9998_later"]) == (
        "applied",
        "changed",
        "pending",
    )


def test_comments_and_spacing_may_change(tables: QuestDbSettings, folder: Path) -> None:
    """A better comment is no change of the schema."""
    schema.apply(tables, folder)
    for path in folder.glob("*.sql"):
        path.write_text("-- new words\n" + path.read_text().replace(", ", ",\n    "))
    assert schema.apply(tables, folder) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"1_x.sql": "SELECT 1;"}, "rename it to NNNN_name.sql"),
        ({"9001_x.sql": "-- nothing\n"}, "no statement in it"),
        ({"9001_x.sql": "SELECT 1;", "9001_y.sql": "SELECT 1;"}, "take the next free one"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    """A file that cannot have its place in the order is refused by name."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(StorageError, match=message):
        schema.load(tmp_path)


def test_event_tables_deduplicate_by_identity(tables: QuestDbSettings) -> None:
    """Every event table has its identity, and nothing else, as upsert keys."""
    identity = {"ts", "venue", "session", "seq", "symbol"}
    with Connection(tables) as connection:
        for table in LAYOUTS:
            columns = connection.fetch(f"SELECT \"column\", upsertKey FROM table_columns('{table}')")
            keys = {name for name, key in columns if key}
            assert keys == identity | ({"side", "price"} if table == "book_deltas" else set())


def test_layouts_and_tables_have_the_same_columns(tables: QuestDbSettings) -> None:
    """What the writer sends is what the table has: no column is made on the fly, none stays empty."""
    with Connection(tables) as connection:
        for table, layout in LAYOUTS.items():
            columns = {row[0] for row in connection.fetch(f"SELECT \"column\" FROM table_columns('{table}')")}
            assert columns == {"venue", "session", *layout.selected}


def test_old_days_survive_newer_ones(
    tables: QuestDbSettings, venue: str, make_block: Callable[..., EventBlock], reader: QuestDbReader
) -> None:
    """A day of 2004 that is loaded after one of 2026 is kept: no TTL drops it."""
    day_2004_ns = 1_100_000_000_000_000_000
    sink = QuestDbSink(tables)
    sink.write(make_block(venue, "20261120", seed=1), 0, 0)
    sink.flush()
    old = make_block(venue, "20041109", seed=2)
    for records in old.kinds().values():
        records["ts_event"] += day_2004_ns - int(records["ts_event"][0])
    sink.write(old, 0, 0)
    sink.flush()
    sink.write(make_block(venue, "20261120B", seed=3), 0, 0)
    sink.close()
    wait_applied(tables, list(LAYOUTS))
    for table in LAYOUTS:
        assert sum(reader.count_by_symbol(table, venue, "20041109").values()) == 200
        first_ns, _ = reader.time_range(table, venue) or (0, 0)
        assert first_ns == day_2004_ns
    assert np.datetime64(day_2004_ns, "ns") == np.datetime64("2004-11-09T11:33:20", "ns")
