"""The shipped rules on Flink, over their own tapes and over a generated market.

The tapes beside the rules are run by the compiled engine in tests/streaming/authoring/test_tapes.py; here the
reference runs all of them at once, and both run a minute of the synthetic session.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from msgspec import structs

from streaming import rules
from streaming.authoring import cases
from streaming.authoring.cases import Case
from streaming.rules import Rule
from streaming.stored import history
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.events import EventBlock, Signal, SymbolTable
from tickloom.settings import FlinkSettings, KafkaSettings

RULES = [rule for rule in map(rules.find, rules.names()) if rule.kind != rules.JOB]
PAIRS = "pair_spread"  # reads calibrations of named pairs: its tapes cannot change their symbols
TAPE_S_MAX = 1_000  # that a tape of pairs may last
SEQS_PER_TAPE = 100_000
#: What a signal says: symbol, side, first and last seq, strength, price.
Said = tuple[str, str, int, int, float, float]


@dataclass
class Placed:
    """A case among others: its symbols have a prefix, its messages other numbers, a pair another time."""

    case: Case
    prefix: str = ""
    seq: int = 0
    ns: int = 0

    def blocks(self, symbols: SymbolTable) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        """Its events, of that table."""
        given = self.case.tape.block
        index = [symbols.index(f"{self.prefix}{name}") for name in given.symbols.names]
        moved = {}
        for kind, records in given.every_kind().items():
            moved[kind] = records.copy()
            moved[kind]["symbol"] = np.array(index)[records["symbol"]]
            for column, by in (("seq", self.seq), ("ts_event", self.ns), ("ts_recv", self.ns)):
                moved[kind][column] += by
        return moved

    def expected(self) -> list[Said]:
        """What its signals must say."""
        seqs = {row: seq + self.seq for row, seq in self.case.tape.seq_of_row.items()}
        assert self.case.expectation is not None
        return [
            (
                f"{self.prefix}{one.symbol}",
                *(one.side, seqs[one.first_row], seqs[one.last_row]),
                *(math.nan if one.strength is None else one.strength, one.ref_price or math.nan),
            )
            for one in self.case.expectation.signals
        ]


def placed() -> dict[str, list[Placed]]:
    """Every rule's cases that take its parameters as they are."""
    found: dict[str, list[Placed]] = {}
    number = 0
    for rule in RULES:
        for case in cases.find(rule):
            if case.expectation is None or case.expectation.overrides:
                continue
            number += 1
            seq = number * SEQS_PER_TAPE
            if rule.name == PAIRS:
                one = Placed(case, "", seq, number * TAPE_S_MAX * NS_PER_S)
            else:
                one = Placed(case, f"{rule.name}.{case.name}.", seq)
            found.setdefault(rule.name, []).append(one)
    return found


@pytest.fixture(scope="module")
def on_flink(flink: FlinkSettings, kafka: KafkaSettings) -> dict[str, list[Signal]]:
    """Signals of all rules over all tapes side by side, each rule a job."""
    symbols = SymbolTable()
    parts = [one.blocks(symbols) for many in placed().values() for one in many]
    kinds = {kind: np.concatenate([part[kind] for part in parts]) for kind in parts[0]}
    block = EventBlock("XNAS", "20240808", symbols, *kinds.values())
    return history.run(RULES, [block], flink, kafka)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_flink_fires_when_it_must_and_only_then(rule: Rule, on_flink: dict[str, list[Signal]]) -> None:
    """Over its own tapes each rule gives just the signals that are written beside them."""
    own = placed()[rule.name]
    found = [
        one
        for one in on_flink[rule.name]
        if rule.name == PAIRS or one.symbol.startswith(tuple(each.prefix for each in own))
    ]
    said = sorted((s.symbol, s.side, s.first_seq, s.last_seq) for s in found)
    expected = sorted(one for each in own for one in each.expected())
    assert said == [one[:4] for one in expected]
    assert expected
    figures = {(s.symbol, s.last_seq): (s.strength, s.ref_price) for s in found}
    for symbol, _, _, last, strength, price in expected:
        assert figures[symbol, last] == pytest.approx((strength, price), rel=1e-9, nan_ok=True)


@pytest.fixture(scope="module")
def synthetic_session() -> Callable[[float], list]:  # type: ignore[type-arg]
    """``session(duration_s)``: decoded blocks of a seeded synthetic session of that length."""
    from ingest.capture import CaptureBatch, RecordKind
    from ingest.itch.decoder import ItchDecoder
    from ingest.synthetic.datagrams import SESSION_NAME, Datagrams, pack
    from ingest.synthetic.itch_stream import itch_stream
    from ingest.synthetic.market import MarketParameters, make_session

    def make(duration_s: float) -> list:  # type: ignore[type-arg]
        session = make_session(MarketParameters(duration_s=duration_s))
        stream = itch_stream(session)
        packing, datagrams = pack(stream, 2 * NS_PER_MS), Datagrams(stream)
        decoder = ItchDecoder("XNAS", f"20240808.{SESSION_NAME}")
        packets = [
            (int(RecordKind.DATA), int(due), datagrams.build(int(first), int(end)))
            for first, end, due in zip(packing.first[:-1], packing.first[1:], packing.due_ns, strict=True)
        ]
        return [decoder.decode(CaptureBatch.of(packets)), session.truth]

    return make


@pytest.mark.slow
def test_both_engines_in_a_synthetic_session(
    flink: FlinkSettings,
    kafka: KafkaSettings,
    synthetic_session: Callable[[float], list],  # type: ignore[type-arg]
) -> None:
    """In a minute of the generated market the demo's rules find what was put there, and not much else; the
    compiled engine finds the very same, ids included."""
    block, truth = synthetic_session(60.0)
    wanted = [rules.find(name) for name in ("pair_spread", "trade_burst", "quote_fade")]
    found = history.run(wanted, [block], flink, kafka)
    for pair, excursions in truth.pair_excursions.items():
        signals = [one for one in found["pair_spread"] if one.symbol == pair]
        assert abs(len(signals) - excursions) <= 1  # the fair spread and the mids are not quite the same
    planned = {(burst["symbol"], burst["side"]) for burst in truth.bursts}
    swept = {(one.symbol, one.side) for one in found["trade_burst"]}
    assert len(swept & planned) >= len(planned) / 2
    assert 1 <= len(found["quote_fade"]) <= len(block.quotes) / 1_000
    for rule in wanted:
        compiled = {one.signal_id: one for one in cases.compiled(rule, block)}
        assert compiled.keys() == {one.signal_id for one in found[rule.name]}
        for one in found[rule.name]:
            assert structs.replace(one, ts_signal=0) == compiled[one.signal_id]


def test_other_rules_are_rare_in_a_synthetic_session(
    synthetic_session: Callable[[float], list],  # type: ignore[type-arg]
) -> None:
    """A calm market is no reason to trade: a few signals a minute over 24 stocks at most."""
    block, _ = synthetic_session(60.0)
    counts = {
        name: len(cases.compiled(rules.find(name), block))
        for name in ("sweep", "quote_stuffing", "quotes_stale", "opening_range")
    }
    assert all(count <= 24 for count in counts.values()), counts
    assert counts["sweep"] >= 1
