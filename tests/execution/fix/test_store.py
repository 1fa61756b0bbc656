"""What is durable, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution.fix.store import READ_ROWS, MemoryStore, SqliteStore
from tickloom.errors import JournalError


def test_committed_survives_and_the_rest_does_not(tmp_path: Path) -> None:
    """A process that dies keeps what was committed, no less and no more."""
    store = SqliteStore(tmp_path / "fix.db", "A")
    store.put(1, b"one")
    store.next_in, store.next_out, store.since_ns = 5, 2, 99
    store.commit()
    store.put(2, b"two")
    store.next_out = 3
    store.close()
    again = SqliteStore(tmp_path / "fix.db", "A")
    assert (again.next_in, again.next_out, again.since_ns, again.epoch) == (5, 2, 99, store.epoch)
    assert list(again.sent(1, 9)) == [(1, b"one")]


def test_reset_is_all_or_nothing(tmp_path: Path) -> None:
    """A reset forgets what was sent and names another numbering, once it is committed."""
    store = SqliteStore(tmp_path / "fix.db", "A")
    store.put(1, b"one")
    store.next_out = 2
    store.commit()
    epoch = store.epoch
    store.reset()
    store.close()
    store = SqliteStore(tmp_path / "fix.db", "A")
    assert (store.epoch, list(store.sent(1, 1))) == (epoch, [(1, b"one")])
    store.reset()
    store.commit()
    assert (store.next_in, store.next_out, list(store.sent(1, 1))) == (1, 1, [])
    assert SqliteStore(tmp_path / "fix.db", "A").epoch == store.epoch != epoch


def test_sessions_share_a_file(tmp_path: Path) -> None:
    one, other = (SqliteStore(tmp_path / "fix.db", name) for name in "AB")
    one.put(1, b"a")
    one.next_out = 2
    one.commit()
    other.put(1, b"b")
    other.commit()
    assert list(one.sent(1, 1)) == [(1, b"a")]
    assert (other.next_out, list(other.sent(1, 1))) == (1, [(1, b"b")])


def test_rollback_lets_the_others_write(tmp_path: Path) -> None:
    """A session that failed in the middle goes back to what was durable and holds nobody up."""
    one, other = (SqliteStore(tmp_path / "fix.db", name) for name in "AB")
    one.put(1, b"a")
    one.next_out, one.next_in = 2, 7
    one.rollback()
    assert (one.next_out, one.next_in, list(one.sent(1, 1))) == (1, 1, [])
    other.put(1, b"b")
    other.commit()


def test_many_messages_are_read_in_portions(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "fix.db", "A")
    wanted = [(number, b"%d" % number) for number in range(1, 2 * READ_ROWS + 2)]
    for number, raw in wanted:
        store.put(number, raw)
    store.commit()
    assert list(store.sent(1, 10 * READ_ROWS)) == wanted


def test_memory_store_is_the_same_but_for_the_disk() -> None:
    store = MemoryStore()
    store.put(1, b"one")
    store.next_out = 2
    assert list(store.sent(1, 2**62)) == [(1, b"one")]
    epoch = store.epoch
    store.reset()
    assert (store.next_out, store.epoch == epoch, list(store.sent(1, 1))) == (1, False, [])


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fix.db").write_bytes(b"no database at all, but long enough to look at")
    with pytest.raises(JournalError, match="move the file away"):
        SqliteStore(tmp_path / "fix.db", "A")
