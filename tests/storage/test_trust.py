"""Changes of trust in QuestDB: what was written comes back, and the state now and at any time is told."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from storage import QuestDbReader, QuestDbSink, wait_applied
from storage.columns import TRUST
from storage.connection import Connection
from storage.trust import read_trust
from tests.storage.conftest import DAY, DAY_NS
from tickloom.cli.trust import trust
from tickloom.events import (
    TRUST_DTYPE,
    EventBlock,
    SymbolTable,
    TrustReason,
    TrustState,
    make_seq,
)
from tickloom.settings import QuestDbSettings

NAMES = ["", "ALFA", "BRVO", "CHLE"]


def changes(venue: str, seed: int, count: int = 60) -> EventBlock:
    """Random changes, a microsecond or more apart."""
    chance, symbols = random.Random(seed), SymbolTable(NAMES[1:])
    rows, ts = [], DAY_NS
    for number in range(1, count + 1):
        ts += chance.randint(1, 9) * 1_000
        first = chance.choice([0, 5])
        rows.append(
            (ts, ts + 7, make_seq(DAY, number), chance.randrange(len(NAMES)), first, first * 2,
             make_seq(DAY, number // 2), chance.choice(list(TrustState)), chance.choice(list(TrustReason)))
        )  # fmt: skip
    return EventBlock(venue, "20261120", symbols, trust=np.array(rows, dtype=TRUST_DTYPE))


@pytest.fixture
def stored(tables: QuestDbSettings, venue: str) -> EventBlock:
    """A venue's changes, of which the first half was written twice: a restart that did not know."""
    block = changes(venue, seed=1)
    for part in (block.trust[:30], block.trust):
        sink = QuestDbSink(tables, rewrite=True)
        sink.write(EventBlock(venue, block.session, block.symbols, trust=part), 0, 0)
        sink.close()
    wait_applied(tables, ["trust"])
    return block


def test_changes_come_back_as_they_were(stored: EventBlock, reader: QuestDbReader) -> None:
    """Once each, every field; and a sink that resumes knows how far the table is."""
    blocks = list(reader.read_events(stored.venue, 0, 2**62, kinds=["trust"]))
    rows = np.concatenate([block.trust for block in blocks])
    names = [block.symbols.names[row["symbol"]] for block in blocks for row in block.trust]
    assert names == [stored.symbols.names[row["symbol"]] for row in stored.trust]
    for field in TRUST_DTYPE.names or ():
        if field != "symbol":
            assert rows[field].tolist() == stored.trust[field].tolist(), field


def test_a_sink_goes_on_behind_what_is_there(tables: QuestDbSettings, stored: EventBlock) -> None:
    """The highest number of the session is where it resumes."""
    sink = QuestDbSink(tables)
    assert sink.resume_after(stored.venue, stored.session) == {"trust": int(stored.trust["seq"][-1])}
    sink.close()


def test_state_now_and_at_any_time(
    tables: QuestDbSettings, stored: EventBlock, reader: QuestDbReader
) -> None:
    """The last change of each up to then, and never better than the line; the view says the same of now."""
    for upto in (1, 20, 41, 60):
        state: dict[str, int] = {}
        for row in stored.trust[:upto]:
            state[stored.symbols.names[row["symbol"]]] = int(row["state"])
        wanted = {name: max(own, state.get("", 0)) for name, own in state.items()}
        at_ns = int(stored.trust["ts_event"][upto - 1])
        found = read_trust(reader, stored.venue, at_ns)
        assert {one.symbol: int(one.state) for one in found} == wanted
        assert all(one.since <= at_ns for one in found)
    assert {one.symbol: int(one.state) for one in read_trust(reader, stored.venue)} == wanted
    with Connection(tables) as connection:
        rows = connection.fetch("SELECT symbol, state FROM trust_now WHERE venue = %s", (stored.venue,))
    texts = {name: TrustState(state).name.lower() for name, state in wanted.items() if name}
    assert dict(rows) == texts


def test_table_has_its_columns_and_identity(tables: QuestDbSettings) -> None:
    """No column is made on the fly; a change is known by its number."""
    with Connection(tables) as connection:
        columns = connection.fetch("SELECT \"column\", upsertKey FROM table_columns('trust')")
    assert {name for name, _ in columns} == {"venue", "session", *TRUST.selected}
    assert {name for name, key in columns if key} == {"ts", "venue", "session", "seq", "symbol"}


def test_command(tables: QuestDbSettings, stored: EventBlock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong is listed, with exit code 1; a venue nobody has heard of has nothing wrong."""
    for name, value in tables.environment().items():
        monkeypatch.setenv(name, value)
    runner, one = CliRunner(), Typer()
    one.command()(trust)
    told = runner.invoke(one, [stored.venue, "--json"])
    rows = json.loads(told.stdout)
    assert {row["symbol"] for row in rows} == set(NAMES)
    assert told.exit_code == int(any(row["state"] != "trusted" for row in rows))
    listed = runner.invoke(one, [stored.venue, "--all"])
    assert "(line)" in listed.stdout
    assert "ALFA" in listed.stdout
    nothing = runner.invoke(one, ["NOBODY"])
    assert (nothing.exit_code, nothing.stdout) == (0, "instruments: 0 trusted, 0 stale, 0 broken\n")
