"""The shipped rules on tapes written by hand, on a real Flink: when they must fire, and when not.

All cases of a rule run in one job: a case has a symbol (or, for pairs, a set) of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import nan

import pytest

from strategies.pairs import frozen
from strategies.pairs.frozen import PairCalibration, PairSet
from streaming import history, rules
from streaming.tape import START_NS, Tape
from tickloom.clock import NS_PER_MS
from tickloom.events import Signal
from tickloom.settings import FlinkSettings, KafkaSettings

pytestmark = pytest.mark.slow

BUY, SELL = "buy", "sell"


@dataclass
class Case:
    """What a symbol's tape should give: (side, first seq, last seq) of each signal."""

    symbol: str
    expected: list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def fired(
    flink: FlinkSettings, kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[list[Case], list[Signal]]]:
    """Cases and signals of each rule; the three run at the same time over the same tape."""
    tape = Tape()
    cases = {
        "pair_spread": _pair_cases(tape),
        "trade_burst": _burst_cases(tape),
        "quote_fade": _fade_cases(tape),
    }
    wanted = [rules.find(name) for name in cases]
    # hedge ratio 1, mean 10, deviation 1: the spread's distance from 10 is its z
    pairs = PairSet(
        "XNAS",
        tuple(
            PairCalibration(case.symbol, *case.symbol.split("~"), hedge_ratio=1.0, mean=10.0, deviation=1.0)
            for case in cases["pair_spread"]
        ),
        stale_ms=10_000,
        rolling_half_life_ms=60_000,
        valid_from=datetime(2024, 1, 1, tzinfo=UTC),
    )
    directory = tmp_path_factory.mktemp("pairs")
    (directory / "XNAS.toml").write_text(frozen.dumps(pairs))
    wanted[0] = rules.bind(wanted[0], {"calibration": str(pairs.version)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "PAIRS_DIR", directory)
        found = history.run(wanted, [tape.block()], flink, kafka)
    return {name: (cases[name], found[name]) for name in cases}


@pytest.mark.parametrize("rule", ["pair_spread", "trade_burst", "quote_fade"])
def test_rule_fires_when_it_must_and_only_then(
    rule: str, fired: dict[str, tuple[list[Case], list[Signal]]]
) -> None:
    """Each case gives just its signals, with their sides and the events that made them."""
    cases, signals = fired[rule]
    found = {
        case.symbol: [(s.side, s.first_seq, s.last_seq) for s in signals if s.symbol == case.symbol]
        for case in cases
    }
    assert found == {case.symbol: case.expected for case in cases}
    assert len(signals) == sum(len(case.expected) for case in cases)


def test_strength_and_price_are_what_the_rule_says(
    fired: dict[str, tuple[list[Case], list[Signal]]],
) -> None:
    """pair_spread: deviations and the spread; trade_burst and quote_fade: basis points and the trade."""
    pair = next(s for s in fired["pair_spread"][1] if s.symbol == "HIGHA~HIGHB")
    assert (pair.strength, pair.ref_price) == (pytest.approx(2.6), pytest.approx(12.6))
    assert pair.ts_event == START_NS + 300 * NS_PER_MS
    burst = next(s for s in fired["trade_burst"][1] if s.symbol == "UP")
    assert (burst.strength, burst.ref_price) == (pytest.approx(10.0), 100.10)
    fade = next(s for s in fired["quote_fade"][1] if s.symbol == "OFFER")
    assert (fade.strength, fade.ref_price) == (pytest.approx(8.0), 100.08)


def _pair_cases(tape: Tape) -> list[Case]:
    cases = []

    def play(symbol: str, zs: list[float], step_ms: float = 100) -> list[int]:
        """Leg B stands at 50, leg A makes the spread 10 + z; seq of leg A's quotes."""
        leg_a, leg_b = symbol.split("~")
        tape.quote(leg_b, 0, 49.99, 50.01)
        return [
            tape.quote(leg_a, number * step_ms, 60 + z - 0.01, 60 + z + 0.01) for number, z in enumerate(zs)
        ]

    seqs = play("HIGHA~HIGHB", [0.0, 1.0, 2.0, 2.6, 3.0])
    cases.append(Case("HIGHA~HIGHB", [(SELL, seqs[1], seqs[3])]))  # from its last calm quote on, and once
    seqs = play("LOWA~LOWB", [0.0, -2.7])
    cases.append(Case("LOWA~LOWB", [(BUY, seqs[0], seqs[1])]))
    seqs = play("TWICEA~TWICEB", [0.0, 2.6, 2.0, 2.6, 1.0, 2.6])
    # 2.0 is not calm: it must not fire again before the spread was back within 1.5
    cases.append(Case("TWICEA~TWICEB", [(SELL, seqs[0], seqs[1]), (SELL, seqs[4], seqs[5])]))
    play("QUIETA~QUIETB", [0.0, 2.4, -2.4, 1.0, 2.49, 0.0])
    cases.append(Case("QUIETA~QUIETB", []))
    play("NEVERA~NEVERB", [2.6, 3.0, 2.8])  # it was never seen calm
    cases.append(Case("NEVERA~NEVERB", []))
    seqs = play("STALEA~STALEB", [0.0])
    tape.quote("STALEA", 12_000, 62.99, 63.01)  # leg B was last seen 12 s ago
    cases.append(Case("STALEA~STALEB", []))
    seqs = play("EMPTYA~EMPTYB", [0.0])
    tape.quote("EMPTYA", 100, 62.99, nan)  # no offer: no mid, so nothing moved
    cases.append(Case("EMPTYA~EMPTYB", []))
    # Both legs jump in one millisecond and the spread stays: half of the move is no signal.
    seqs = play("TIEA~TIEB", [0.0])
    tape.quote("TIEA", 100.1, 64.99, 65.01)
    tape.quote("TIEB", 100.6, 54.99, 55.01)
    cases.append(Case("TIEA~TIEB", []))
    # Halted on the way: where the spread was meanwhile, nobody knows; it must be calm once more.
    play("HALTA~HALTB", [0.0])
    tape.status("HALTB", 50, "halted")
    tape.quote("HALTA", 100, 61.99, 62.01)
    tape.status("HALTB", 150, "trading")
    tape.quote("HALTA", 200, 62.69, 62.71)
    calm = tape.quote("HALTA", 300, 59.99, 60.01)
    cases.append(Case("HALTA~HALTB", [(SELL, calm, tape.quote("HALTA", 400, 62.69, 62.71))]))
    # Leg B moves: its quotes count as well as leg A's.
    calm = play("LEGA~LEGB", [0.0])[0]
    entry = tape.quote("LEGB", 100, 46.99, 47.01)
    cases.append(Case("LEGA~LEGB", [(SELL, calm, entry)]))
    return cases


def _burst_cases(tape: Tape) -> list[Case]:
    def play(symbol: str, sides: str, step_ms: float, move: float, condition: str = "regular") -> list[int]:
        """Trades B(uy), S(ell) or N(one), each ``move`` dollars from the one before, from 100 on."""
        names = {"B": "buy", "S": "sell", "N": "none"}
        return [
            tape.trade(symbol, number * step_ms, round(100 + number * move, 2), 100, names[side], condition)
            for number, side in enumerate(sides)
        ]

    cases = []
    up = play("UP", "BBBBBB", 50, 0.02)  # 10 cents on 100 dollars are 10 bps, with the sixth trade
    cases.append(Case("UP", [(BUY, up[0], up[5])]))
    down = play("DOWN", "SSSSSSS", 50, -0.02)
    cases.append(Case("DOWN", [(SELL, down[0], down[5])]))
    long = play("LONG", "B" * 12, 40, 0.02)  # two runs, that share no trade
    cases.append(Case("LONG", [(BUY, long[0], long[5]), (BUY, long[6], long[11])]))
    slide = play("SLIDE", "B" * 10, 50, 0.01)  # the first run with 8 bps ends with the ninth trade
    cases.append(Case("SLIDE", [(BUY, slide[0], slide[8])]))
    play("FEW", "BBBBB", 50, 0.05)
    cases.append(Case("FEW", []))
    play("FLAT", "B" * 10, 50, 0.001)
    cases.append(Case("FLAT", []))
    play("SLOW", "BBBBBB", 200, 0.02)  # 1,000 ms from the first to the sixth: the span is exclusive
    cases.append(Case("SLOW", []))
    edge = play("EDGE", "BBBBBB", 199.8, 0.02)  # 999 ms
    cases.append(Case("EDGE", [(BUY, edge[0], edge[5])]))
    play("MIXED", "BBBBBSBBBBB", 20, 0.02)
    cases.append(Case("MIXED", []))
    play("WRONG", "BBBBBBB", 50, -0.02)  # buyers, and a falling price
    cases.append(Case("WRONG", []))
    play("UNKNOWN", "NNNNNNN", 50, 0.02)  # nobody knows who was the aggressor
    cases.append(Case("UNKNOWN", []))
    play("CROSS", "BBBBBBB", 50, 0.02, condition="cross")
    cases.append(Case("CROSS", []))
    return cases


def _fade_cases(tape: Tape) -> list[Case]:
    cases = []
    thin = tape.quote("OFFER", 0, 99.99, 100.00, 800, 200)
    tape.trade("OFFER", 50, 100.00, 200, "buy")
    tape.quote("OFFER", 60, 99.99, 100.08, 800, 500)
    through = tape.trade("OFFER", 100, 100.08, 100, "buy")
    cases.append(Case("OFFER", [(BUY, thin, through)]))
    thin = tape.quote("BID", 0, 100.00, 100.01, 100, 900)
    through = tape.trade("BID", 299, 99.93, 100, "sell")
    cases.append(Case("BID", [(SELL, thin, through)]))
    tape.quote("LATE", 0, 99.99, 100.00, 800, 200)
    tape.trade("LATE", 300, 100.08, 100, "buy")  # the span is exclusive
    cases.append(Case("LATE", []))
    tape.quote("FULL", 0, 99.99, 100.00, 800, 201)  # more than a quarter is left
    tape.trade("FULL", 50, 100.08, 100, "buy")
    cases.append(Case("FULL", []))
    tape.quote("SMALL", 0, 99.99, 100.00, 399, 10)  # a thin market altogether
    tape.trade("SMALL", 50, 100.08, 100, "buy")
    cases.append(Case("SMALL", []))
    tape.quote("HELD", 0, 99.99, 100.00, 800, 200)
    tape.trade("HELD", 50, 100.05, 100, "buy")  # 5 bps
    cases.append(Case("HELD", []))
    tape.quote("OTHER", 0, 99.99, 100.00, 800, 200)
    tape.trade("OTHER", 50, 99.90, 100, "sell")  # the side that had not faded gave way
    cases.append(Case("OTHER", []))
    # One message that trades at a price and leaves a thin quote there: the trade is not behind the quote.
    tape.trade("SAME", 0, 100.08, 100, "buy")
    tape.messages -= 1
    tape.quote("SAME", 0, 99.99, 100.00, 800, 100)
    cases.append(Case("SAME", []))
    return cases


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


def test_each_rule_fires_in_a_synthetic_session(
    flink: FlinkSettings,
    kafka: KafkaSettings,
    synthetic_session: Callable[[float], list],  # type: ignore[type-arg]
) -> None:
    """In a minute of the generated market each rule finds what was put there, and not much else."""
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
