"""Signals written by the kernel: byte for byte what msgspec writes of the Signals, whatever is in them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from streaming import rules
from streaming.compiled import Matcher, compile_rule
from streaming.compiled.columns import Texts
from streaming.compiled.kernel import RESULT_FLOATS, RESULT_INTS
from streaming.compiled.outputs import Signals
from streaming.compiled.program import signal_records
from streaming.compiled.records import RecordWriter
from streaming.compiled.sha256 import hex_digest, padded_bytes
from streaming.live.packing import Packed, packed
from streaming.rules import Rule
from tickloom.clock import NS_PER_MS
from tickloom.events import Signal, signal_id

NOW_NS = 1_795_185_000_123_456_789
INT64 = st.integers(-(2**63), 2**63 - 1)
TIMES_MS = st.integers(-(2**63) // NS_PER_MS + 1, 2**63 // NS_PER_MS - 1)
DOUBLES = st.floats(allow_nan=True, allow_infinity=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)
ROWS = st.lists(st.tuples(INT64, INT64, TIMES_MS, DOUBLES, DOUBLES, TEXTS, TEXTS), min_size=1, max_size=12)


def rule_named(name: str) -> Rule:
    return replace(rules.bind(rules.find("quote_fade")), name=name)


def written_one_by_one(rule: Rule, version: str, rows: list[tuple], venue: str) -> list[tuple[bytes, bytes]]:  # type: ignore[type-arg]
    """The records by the way of Signal objects and msgspec."""
    make = Signals(rule, version).make
    signals = [
        make(symbol, side, (strength, price, first, last), venue, at_ms)
        for first, last, at_ms, strength, price, symbol, side in rows
    ]
    return signal_records(signals, NOW_NS)


@given(rows=ROWS, more=ROWS, name=TEXTS, version=TEXTS, venue=TEXTS)
@settings(max_examples=150, deadline=None)
def test_bytes_are_those_of_msgspec(rows: list, more: list, name: str, version: str, venue: str) -> None:  # type: ignore[type-arg]
    """Whatever the names, numbers and times are: quotes, zero bytes, the least of all int64, NaN. Texts that
    come with a later batch, too."""
    texts, rule = Texts(), rule_named(name)
    writer = RecordWriter(rule, version)
    for batch in (rows, more):
        ints = np.zeros((len(batch), RESULT_INTS), np.int64)
        floats = np.zeros((len(batch), RESULT_FLOATS))
        for row, (first, last, at_ms, strength, price, symbol, side) in enumerate(batch):
            ints[row] = (7, 8, 1, texts.code(symbol), texts.code(side), first, last, at_ms)
            floats[row] = (strength, price)
        found = writer.write(ints, floats, texts, venue, NOW_NS)
        assert list(found) == written_one_by_one(rule, version, batch, venue)


@pytest.mark.parametrize("number", [0, 1, 9, 10, 99, 100, 10**18 - 1, 10**18, 2**63 - 1, -1, -10, -(2**63)])
def test_whole_numbers_at_their_limits(number: int) -> None:
    """Powers of ten, where a number gets a digit more, and the ends of int64."""
    rule = rule_named("limits")
    row = (number, number, 0, 0.1, 1e16, "A", "buy")
    texts = Texts(["A"])
    ints = np.array([[0, 0, 1, texts["A"], texts["buy"], number, number, 0]], np.int64)
    found = RecordWriter(rule, "1").write(ints, np.array([[0.1, 1e16]]), texts, "XNAS", NOW_NS)
    assert list(found) == written_one_by_one(rule, "1", [row], "XNAS")


def test_numbers_without_bounds_are_texts() -> None:
    """As Flink's JSON has them; beside them a number stays one."""
    rule, texts = rule_named("bounds"), Texts(["A"])
    numbers = [(math.inf, math.nan), (1.5, -math.inf), (2.5, 3.5)]
    rows = [(number, number, 0, *pair, "A", "buy") for number, pair in enumerate(numbers)]
    ints = np.array([[0, 0, 1, texts["A"], texts["buy"], n, n, 0] for n in range(len(numbers))], np.int64)
    found = list(RecordWriter(rule, "1").write(ints, np.array(numbers), texts, "XNAS", NOW_NS))
    assert found == written_one_by_one(rule, "1", rows, "XNAS")
    assert [value.partition(b'"strength":')[2].partition(b',"first')[0] for _, value in found] == [
        b'"Infinity","ref_price":"NaN"',
        b'1.5,"ref_price":"-Infinity"',
        b'2.5,"ref_price":3.5',
    ]


def test_identity_is_that_of_every_engine() -> None:
    """The record reads back as the Signal, with the id that tickloom.events gives."""
    from streaming.stored import history

    texts = Texts(["BRK.A"])
    ints = np.array([[0, 0, 1, texts["BRK.A"], texts["sell"], 12, 34, 1_000]], np.int64)
    writer = RecordWriter(rule_named("one"), "3+ab")
    ((key, value),) = writer.write(ints, np.array([[math.pi, -0.5]]), texts, "XNAS", NOW_NS)
    assert key == b"BRK.A"
    identity = signal_id("one", "3+ab", "BRK.A", 12, 34)
    wanted = Signal(
        identity, "one", "3+ab", "BRK.A", "sell", math.pi, -0.5, 12, 34, "XNAS", 1_000 * NS_PER_MS, NOW_NS
    )
    assert structs.asdict(history.signal_from_json(value)) == structs.asdict(wanted)


def test_texts_of_a_restored_matcher() -> None:
    """After a restore the codes are another table's; none of the first one's is kept."""
    writer, rule = RecordWriter(rule_named("one"), "1"), rule_named("one")
    for name in ("FIRST", "SECOND"):
        texts = Texts([name])
        ints = np.array([[0, 0, 1, texts[name], texts["buy"], 1, 2, 3]], np.int64)
        found = writer.write(ints, np.array([[1.0, 2.0]]), texts, "XNAS", NOW_NS)
        assert list(found) == written_one_by_one(rule, "1", [(1, 2, 3, 1.0, 2.0, name, "buy")], "XNAS")


@pytest.mark.parametrize("length", [0, 1, 54, 55, 56, 63, 64, 65, 119, 120, 300])
def test_digest_is_sha256(length: int) -> None:
    """Around each length at which the padding takes a block of its own (hashlib is the reference); nothing
    of an earlier message is left in the scratch."""
    words, out = np.empty(64, np.uint32), np.zeros(70, np.uint8)
    message = np.full(padded_bytes(length), 255, np.uint8)
    text = bytes(range(256)) * 2
    message[:length] = np.frombuffer(text[:length], np.uint8)
    hex_digest(message, length, words, out, 3)
    assert bytes(out[3:67]).decode() == hashlib.sha256(text[:length]).hexdigest()
    assert not out[:3].any()
    assert not out[67:].any()


def test_packed_is_a_sequence_of_its_records() -> None:
    """What was packed comes apart again, and is packed no second time."""
    records = [(b"A", b"{}"), (b"", b"x" * 300), (b"\x00", b"")]
    found = Packed(packed(records), len(records))
    assert packed(found) == packed(records)
    assert list(found) == records
    assert (len(found), found[1], found[1:]) == (3, records[1], records[1:])


def test_results_become_the_signals_that_push_gives() -> None:
    """A matcher's two ways out agree, over all sets of a rule."""
    from tests.streaming.compiled.test_matcher import RISE, at, rule_of, trades

    rule = rules.bind(rule_of(RISE))
    block = trades(*(10.0 + 0.25 * number for number in range(40)), step_ms=100)
    signals = Matcher(compile_rule(rule)).push(block, at(60_000))
    matcher = Matcher(compile_rule(rule))
    found = matcher.records(matcher.results(block, at(60_000)), block.venue, NOW_NS)
    assert len(found) == len(signals) == 20
    assert list(found) == signal_records(signals, NOW_NS)
