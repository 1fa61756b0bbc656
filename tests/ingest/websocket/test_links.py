"""Which connections are open, as control records tell."""

from __future__ import annotations

import pytest

from ingest.websocket.feed import links_of
from ingest.websocket.links import Links, control

NAMES = ["A", "B", "C"]


def links(*payloads: bytes) -> Links:
    made = Links(NAMES)
    for payload in payloads:
        made.take(payload)
    return made


def opened(number: int, *symbols: str, first: bool = False) -> bytes:
    return control("open", connection=number, of=2, symbols=symbols, first=first)


def test_an_only_connection_has_all_instruments() -> None:
    """A record that names no instruments, as older captures have them."""
    made = links(control("open", url="ws://x"))
    assert made.followed == {0, 1, 2}
    assert made.take(control("close", code=1006)).lost == [[0, 1, 2]]
    assert made.followed == set()
    assert made.take(control("close")).lost == []
    assert made.take(control("end")).ended


def test_each_loses_its_own() -> None:
    """Of two connections one closes: the other's instruments go on."""
    made = links(opened(0, "A", "C"), opened(1, "B"))
    assert made.followed == {0, 1, 2}
    assert made.take(control("close", connection=0, of=2)).lost == [[0, 2]]
    assert made.followed == {1}
    assert made.take(opened(0, "A", "C")).opened


def test_the_session_ends_when_all_have_ended() -> None:
    """One that comes back has not."""
    made = links(opened(0, "A", "C"), opened(1, "B"))
    assert not made.take(control("end", connection=0, of=2)).ended
    assert not made.take(opened(0, "A", "C")).ended
    assert not made.take(control("end", connection=1, of=2)).ended
    assert made.take(control("end", connection=0, of=2)).ended


@pytest.mark.parametrize(
    ("payload", "lost"),
    [
        (opened(0, "A", first=True), [[0, 2], [1]]),
        (opened(0, "A", "C"), [[0, 2]]),
        (opened(2, "B"), [[1]]),
        (control("open"), [[0, 2], [1]]),
    ],
)
def test_what_was_open_when_the_ingester_was_killed_is_lost(payload: bytes, lost: list[list[int]]) -> None:
    """Nobody wrote that it closed: the first of a process ends all, any other what shares instruments."""
    assert links(opened(0, "A", "C"), opened(1, "B")).take(payload).lost == lost


@pytest.mark.parametrize(
    ("payload", "odd"),
    [(b"{", "malformed"), (b'{"event":"open","symbols":7}', "malformed"), (control("pause"), "unknown_type")],
)
def test_what_is_odd_changes_nothing(payload: bytes, odd: str) -> None:
    """It is counted."""
    made = links(opened(0, "A"))
    assert made.take(payload).odd == odd
    assert made.followed == {0}


@pytest.mark.parametrize(
    ("wanted", "instruments_max", "shares"),
    [
        (1, 10, [["a", "b", "c", "d", "e"]]),
        (1, 2, [["a", "d"], ["b", "e"], ["c"]]),
        (2, 10, [["a", "c", "e"], ["b", "d"]]),
        (9, 10, [["a"], ["b"], ["c"], ["d"], ["e"]]),
    ],
)
def test_instruments_are_shared_out(wanted: int, instruments_max: int, shares: list[list[str]]) -> None:
    """As many connections as are wanted, or as the venue's limit needs."""
    assert [link.symbols for link in links_of("abcde", wanted, instruments_max)] == shares
