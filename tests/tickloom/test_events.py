"""Identities of events and signals."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from tickloom.events import (
    STATUS_TEXTS,
    EventBlock,
    StatusCode,
    SymbolTable,
    make_seq,
    signal_id,
    source_seq,
)


def test_seq_shows_day_and_message() -> None:
    """Message 12345 of 2026-11-21 is 261121 followed by ten digits."""
    assert make_seq(date(2026, 11, 21), 12_345) == 261121_0000012345
    assert source_seq(261121_0000012345) == 12_345


def test_seq_stays_exact_in_json() -> None:
    """The last message of a day in 2089 is below 2**53, so JavaScript shows it whole."""
    assert make_seq(date(2089, 12, 31), 10**10 - 1) < 2**53


def test_seq_refuses_what_does_not_fit() -> None:
    """An eleventh digit would run into the day."""
    with pytest.raises(ValueError, match="ten digits"):
        make_seq(date(2026, 11, 21), 10**10)


def test_signal_id_is_the_published_hash() -> None:
    """The id is SHA-256 of the five parts joined by bars; the value is from coreutils' sha256sum."""
    assert (
        signal_id("r", "1", "ALFA", 5, 9)
        == "1605517e20993e232a0107aabf082c0dcc5fdac82f735e6a0cbabe9c7ff57d51"
    )


def test_status_texts_follow_their_codes() -> None:
    """The text of a status is found at its code's place."""
    assert STATUS_TEXTS[StatusCode.HALTED] == "halted"
    assert len(STATUS_TEXTS) == max(StatusCode) + 1


def test_symbol_table_grows_and_keeps_its_indices() -> None:
    """A name keeps its index; index 0 is the venue as a whole."""
    table = SymbolTable(["B"])
    assert (table.index("A"), table.index("B"), table.index("")) == (2, 1, 0)


def test_a_block_has_as_many_events_as_its_kinds() -> None:
    """Every kind counts, and a selection keeps what its masks keep: deltas too, under their table's name."""
    block = EventBlock("XNAS", "s", SymbolTable())
    assert len(block) == 0
    for number, (name, records) in enumerate(block.every_kind().items(), 1):
        setattr(block, "deltas" if name == "book_deltas" else name, np.zeros(number, dtype=records.dtype))
    assert len(block) == sum(range(1, 9))
    assert len(EventBlock("XNAS", "s", SymbolTable())) == 0
    chosen = block.select({"book_deltas": np.array([True, False, True]), "trades": np.array([False])})
    assert (len(chosen), len(chosen.deltas)) == (2, 2)
