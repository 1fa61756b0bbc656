"""Absence rules: by their definition, however events are batched, and the same on both engines."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import engines, history, jobs, linter, parity, proof, replay, rules
from streaming.proof import Identity
from streaming.rules import Rule
from streaming.tape import SESSION_DATE, START_NS, Tape
from tickloom import topics
from tickloom.clock import NS_PER_MS
from tickloom.codec import TickBatch, encode
from tickloom.errors import RuleError
from tickloom.events import CONDITION_TEXTS, STATUS_TEXTS, EventBlock, Signal, SymbolTable
from tickloom.prices import NO_PRICE
from tickloom.settings import FlinkSettings, KafkaSettings

HEADER = """\
-- rule: {name}
-- kind: absence
-- version: 1
-- venue: XNAS
-- about: no quotes while trades print
-- parameter: silence interval 10ms since the last quote
-- parameter: prints int 2 trades
-- parameter: longest interval 40ms since the last quote
"""
BODY = """
SELECT symbol{tag} AS symbol, CASE WHEN price > 5 THEN 'sell' ELSE 'buy' END AS side,
  COALESCE(total, 0) + 1000 * low + 1E6 * high + 1E9 * prints + first_price + average AS strength,
  COALESCE(mid, -1) + price AS ref_price, first_seq, last_seq
FROM ABSENCE (
  PARTITION BY symbol
  EXPECT quotes WITHIN :silence
  WHILE trades WHERE `condition` = 'regular' AT LEAST :prints UNTIL :longest
  UNLESS statuses WHERE status = 'halted'
  MEASURES quotes.seq AS first_seq, LAST(trades.seq) AS last_seq, quotes.mid AS mid,
    SUM(trades.price * trades.size) AS total, MIN(trades.price) AS low, MAX(trades.price) AS high,
    COUNT(trades.seq) AS prints, FIRST(trades.price) AS first_price, AVG(trades.price) AS average,
    trades.price AS price
)
"""
PLAIN = BODY.format(tag="")
#: What a signal says: symbol, event time in ms, first and last seq, side, strength, price.
Said = tuple[str, int, int, int, str, float, float]
Probe = Callable[..., Rule]


@dataclass(frozen=True)
class Amounts:
    """Values of the rule's parameters."""

    silence_ms: int
    least: int
    until_ms: int

    @property
    def overrides(self) -> dict[str, str]:
        names = {"silence": f"{self.silence_ms}ms", "prints": str(self.least)}
        return {**names, "longest": f"{self.until_ms}ms"}


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """``probe(header="", body=PLAIN, name="probe")``: the rule with more header lines, or another body."""
    directory = tmp_path_factory.mktemp("rules")

    def make(header: str = "", body: str = PLAIN, name: str = "probe") -> Rule:
        path = directory / f"{name}.sql"
        path.write_text(HEADER.format(name=name) + header + body)
        return rules.load(path)

    return make


# ---- the definition, slow and plain, written from docs/rules.md and not from the code


@dataclass(frozen=True)
class Row:
    """A row that matters. role: "witness", "expected" or "unless". at_ms: whole milliseconds."""

    symbol: str
    at_ms: int
    seq: int
    role: str
    price: float = 0.0
    size: float = 0.0
    mid: float = 0.0


def rows_of(block: EventBlock) -> list[Row]:
    """Quotes are expected, regular trades are witnesses, halts end it; in the order of time."""

    def row(one: np.void, role: str, **values: float) -> Row:
        at_ms = int(one["ts_event"]) // NS_PER_MS
        return Row(block.symbols.names[one["symbol"]], at_ms, int(one["seq"]), role, **values)

    found = []
    for one in block.quotes:
        sides = one["bid_price"], one["ask_price"]
        known = NO_PRICE not in sides
        found.append(row(one, "expected", mid=(sides[0] / 1e9 + sides[1] / 1e9) / 2 if known else math.nan))
    for one in block.trades:
        if CONDITION_TEXTS[one["condition"]] == "regular":
            found.append(row(one, "witness", price=one["price"] / 1e9, size=one["size"] / 1e9))
    halts = [one for one in block.statuses if STATUS_TEXTS[one["status"]] == "halted"]
    found += [row(one, "unless") for one in halts]
    rank = {"witness": 0, "expected": 1, "unless": 2}
    return sorted(found, key=lambda one: (one.at_ms, one.seq, rank[one.role]))


def defined(block: EventBlock, amounts: Amounts) -> list[Said]:
    """Every silence that fires in a tape."""
    end_ms = max(int(records["ts_event"].max()) for records in block.kinds().values() if len(records))
    rows, found = rows_of(block), []
    for place, row in enumerate(rows):
        if row.role != "expected":
            continue
        behind = [one for one in rows[place + 1 :] if one.symbol == row.symbol]
        stop = next((i for i, one in enumerate(behind) if one.role != "witness"), len(behind))
        ends_ms = behind[stop].at_ms if stop < len(behind) else 10**18
        due_ms, seen = row.at_ms + amounts.silence_ms, behind[:stop]
        before = [one for one in seen if one.at_ms < due_ms]
        if ends_ms < due_ms:
            continue
        if len(before) >= amounts.least:
            fired = (due_ms, before)
        elif len(seen) >= amounts.least:
            fired = (seen[amounts.least - 1].at_ms, seen[: amounts.least])
        else:
            continue
        if fired[0] < row.at_ms + amounts.until_ms and fired[0] <= end_ms // NS_PER_MS:
            found.append(_said(row, *fired))
    return sorted(found)


def _said(row: Row, at_ms: int, witnesses: list[Row]) -> Said:
    """What BODY says of a silence; sums in the order of the rows, as doubles are not associative."""
    prices = [one.price for one in witnesses]
    total = average = 0.0
    for one in witnesses:
        total += one.price * one.size
        average += one.price
    strength = total + 1000 * min(prices) + 1e6 * max(prices) + 1e9 * len(prices) + prices[0]
    strength += average / len(prices)
    price = (-1.0 if math.isnan(row.mid) else row.mid) + prices[-1]
    side = "sell" if prices[-1] > 5 else "buy"
    return row.symbol, at_ms, row.seq, witnesses[-1].seq, side, strength, price


def said(signals: list[Signal]) -> list[Said]:
    return sorted(
        (s.symbol, s.ts_event // NS_PER_MS, s.first_seq, s.last_seq, s.side, s.strength, s.ref_price)
        for s in signals
    )


# ---- the compiled engine


STEPS_MS = (0.0, 0.0, 0.3, 1.0, 2.0, 5.0, 9.0, 10.0, 21.0)
KINDS = ("quote", "trade", "trade", "trade", "cross", "both", "bare", "halt")


def tape_of(events: list[tuple[float, str, str, int, int]]) -> EventBlock:
    """A tape of (ms since the event before, symbol, kind, price in cents, size)."""
    tape, at_ms = Tape(), 0.0
    for step_ms, symbol, kind, cents, size in events:
        at_ms += step_ms
        if kind in ("trade", "both", "cross"):
            condition = "cross" if kind == "cross" else "regular"
            tape.trade(symbol, at_ms, cents / 100, size, "buy", condition)
        if kind == "both":  # one message: the quote has the trade's seq
            tape.messages -= 1
        if kind in ("quote", "both", "bare"):
            tape.quote(symbol, at_ms, 4.0, math.nan if kind == "bare" else 6.0)
        if kind == "halt":
            tape.status(symbol, at_ms, "halted")
    return tape.block()


TAPES = st.lists(
    st.tuples(
        *(st.sampled_from(STEPS_MS), st.sampled_from("ABC"), st.sampled_from(KINDS)),
        *(st.integers(100, 900), st.integers(1, 9)),
    ),
    min_size=1,
    max_size=60,
).map(tape_of)
AMOUNTS = st.builds(
    lambda silence_ms, least, more_ms: Amounts(silence_ms, least, silence_ms + more_ms),
    *(st.sampled_from([1, 5, 10, 25]), st.integers(1, 4), st.sampled_from([1, 15, 60])),
)


def play(
    rule: Rule, block: EventBlock, overrides: dict[str, str], cuts: list[int], restart: bool = False
) -> list[Signal]:
    """The tape through the matcher, in batches that are cut at these places of its order in time, each with
    the watermark behind it; with ``restart``, each by a new matcher from the snapshot of the last."""
    matcher = engines.make_matcher(rule, overrides)
    times = np.sort(np.concatenate([records["ts_event"] for records in block.kinds().values()]))
    bounds = sorted({int(times[cut % len(times)]) for cut in cuts})
    found: list[Signal] = []
    low = 0
    for high in [*bounds, int(times[-1]) + 1]:
        masks = {
            name: (records["ts_event"] >= low) & (records["ts_event"] < high)
            for name, records in block.kinds().items()
        }
        found += matcher.push(block.select(masks), high)
        low = high
        if restart:
            state = matcher.snapshot()
            matcher = engines.make_matcher(rule, overrides)
            matcher.restore(state)
    return found + matcher.finish()


@settings(deadline=None, max_examples=200)
@given(block=TAPES, amounts=AMOUNTS, cuts=st.lists(st.integers(0, 99), max_size=6), restart=st.booleans())
def test_what_the_definition_says(
    probe: Probe, block: EventBlock, amounts: Amounts, cuts: list[int], restart: bool
) -> None:
    """Every silence and no other, once, with its facts to the last bit; wherever the tape is cut, and if
    each batch is another process's."""
    found = play(probe(), block, amounts.overrides, cuts, restart)
    assert said(found) == defined(block, amounts)
    assert len({one.signal_id for one in found}) == len(found)


def quoted(*events: tuple[str, float]) -> EventBlock:
    """Quotes and trades of A at these milliseconds."""
    tape = Tape()
    for kind, at_ms in events:
        if kind == "quote":
            tape.quote("A", at_ms, 4.0, 6.0)
        else:
            tape.trade("A", at_ms, 3.0, 1, "buy")
    return tape.block()


EMPTY = EventBlock("XNAS", "20240808", SymbolTable())


def test_it_fires_with_the_watermark(probe: Probe) -> None:
    """Not before nothing more can come that would be in time, and then without a further event."""
    matcher = engines.make_matcher(probe())
    due_ns = START_NS + 10 * NS_PER_MS
    block = quoted(("quote", 0), ("trade", 1), ("trade", 9))
    assert matcher.push(block, due_ns) == []  # an event of this very time may still come
    (signal,) = matcher.push(EMPTY, due_ns + NS_PER_MS)
    assert (signal.ts_event, signal.ts_signal, signal.venue) == (due_ns, 0, "XNAS")
    assert matcher.push(EMPTY, due_ns + 100 * NS_PER_MS) == []
    assert matcher.finish() == []


def test_the_end_of_the_data_proves_nothing(probe: Probe) -> None:
    """A silence that is still running when the tape ends has not lasted; an event of anybody proves it."""
    tape = [("quote", 0.0), ("trade", 1.0), ("trade", 2.0)]
    assert play(probe(), quoted(*tape), {}, []) == []
    assert play(probe(), quoted(*tape, ("trade", 9.9)), {}, []) == []
    assert len(play(probe(), quoted(*tape, ("trade", 10.0)), {}, [])) == 1
    assert history.run_compiled([probe()], [quoted(*tape, ("trade", 9.9))]) == {"probe": []}
    other = quoted(*tape)
    other.symbols.index("B")
    later = Tape(symbols=other.symbols, messages=10)
    later.quote("B", 50, 1.0, 2.0)
    other.quotes = np.concatenate((other.quotes, later.block().quotes))
    assert [one.symbol for one in play(probe(), other, {}, [])] == ["A"]


def test_late_rows_are_dropped_and_counted(probe: Probe) -> None:
    """A quote behind the watermark does not end a silence, as it would not on Flink."""
    matcher = engines.make_matcher(probe())
    matcher.push(quoted(("quote", 0), ("trade", 1), ("trade", 2)), START_NS + 8 * NS_PER_MS)
    assert matcher.push(quoted(("quote", 7.9)), START_NS + 9 * NS_PER_MS) == []
    assert len(matcher.push(EMPTY, START_NS + 20 * NS_PER_MS)) == 1
    assert matcher.late_rows == 1


def test_state_of_other_parameters_is_not_taken(probe: Probe) -> None:
    """A snapshot says whose it is."""
    raw = engines.make_matcher(probe()).snapshot()
    with pytest.raises(RuleError, match="of another version, text or parameters"):
        engines.make_matcher(probe(), {"prints": "3"}).restore(raw)


def test_many_silences_at_once(probe: Probe) -> None:
    """More than the kernel writes in one go, of more symbols than it has room for at first."""
    tape = Tape()
    for number in range(5_000):
        tape.quote(f"S{number}", 0, 4.0, 6.0)
    for number in range(5_000):
        tape.trade(f"S{number}", 1, 3.0, 1, "buy")
    tape.quote("LATER", 50, 4.0, 6.0)
    found = play(probe(), tape.block(), {"prints": "1"}, [])
    assert len({one.symbol for one in found}) == len(found) == 5_000


ALONE = """
SELECT symbol, side, size AS strength, price AS ref_price, first_seq, first_seq AS last_seq
FROM ABSENCE (
  PARTITION BY symbol, side
  EXPECT trades WITHIN :silence
  MEASURES trades.seq AS first_seq, trades.size AS size, trades.price AS price
)
WHERE price < :prints
"""


@pytest.mark.parametrize("cuts", [[], [0, 1, 2, 3]])
def test_no_witness_two_keys_two_sets(probe: Probe, cuts: list[int]) -> None:
    """Without WHILE it fires when it is due; a key may have two columns; each set has its own state."""
    rule = probe("-- set: short silence=5ms\n-- set: long silence=20ms prints=9\n", ALONE)
    tape = Tape()
    bought = tape.trade("A", 0, 1.5, 7, "buy")
    sold = tape.trade("A", 1, 1.25, 8, "sell")
    tape.trade("A", 15, 3.0, 9, "buy")  # too dear for one set, and for the other one in time
    tape.trade("B", 30, 1.0, 9, "none")
    found = play(rule, tape.block(), {}, cuts)
    start = START_NS // NS_PER_MS
    assert sorted((s.side, s.first_seq, s.last_seq, s.ts_event // NS_PER_MS - start) for s in found) == [
        ("buy", bought, bought, 5),
        ("sell", sold, sold, 6),
        ("sell", sold, sold, 21),
    ]


def test_a_signal_without_a_price_is_an_error(probe: Probe) -> None:
    """As on Flink: the rule is wrong, and says which output and when."""
    rule = probe(body=PLAIN.replace("COALESCE(mid, -1) + price", "mid + price"))
    tape = Tape()
    tape.quote("A", 0, 4.0, math.nan)
    for at_ms in (1, 2, 50):
        tape.trade("A", at_ms, 3.0, 1, "buy")
    with pytest.raises(RuleError, match=r"a signal of A at \d+ ms has no ref_price"):
        play(rule, tape.block(), {}, [])


def test_parity_of_a_day(probe: Probe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was raised live is identical to the replay; without a quote that was there live, the replay finds
    a silence that live had none."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    tape = Tape()
    for symbol in "AB":
        tape.quote(symbol, 0, 4.0, 6.0)
        for at_ms in (1, 2, 3):
            tape.trade(symbol, at_ms, 3.0, 1, "buy")
    tape.quote("B", 4, 4.0, 6.0)
    tape.quote("A", 50, 4.0, 6.0)
    stored = tape.block()
    live = history.run_compiled([probe()], [stored])["probe"]
    assert [one.symbol for one in live] == ["A"]

    def prove() -> parity.Report:
        identity = Identity({}, live, "flink")
        flink, kafka = FlinkSettings.load(), KafkaSettings.load()
        return proof.prove(probe(), SESSION_DATE, lambda *_: [stored], flink, kafka, live=identity)

    assert (prove().agrees, prove().identical) == (True, 1)
    stored.quotes = np.delete(stored.quotes, 2)  # the quote that ended B's silence
    (difference,) = prove().differences
    assert (difference.outcome, difference.symbol) == (parity.Outcome.MISSING, "B")


# ---- what is refused


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("FROM ABSENCE (", "FROM quotes MATCH_RECOGNIZE (", 13, "MATCH_RECOGNIZE in a rule of kind absence"),
        ("FROM ABSENCE (", "FROM PRESENCE (", 10, "no ABSENCE"),
        ("FROM ABSENCE (", "FROM trades, ABSENCE (", 13, "not alone behind FROM"),
        ("PARTITION BY symbol\n", "\n", 13, "ABSENCE without PARTITION BY"),
        ("PARTITION BY symbol\n", "PARTITION BY 1\n", 14, "PARTITION BY takes columns"),
        ("EXPECT quotes WITHIN :silence", "EXPECT quotes", 13, "ABSENCE without WITHIN"),
        ("EXPECT quotes WITHIN :silence", "EXPECT WITHIN :silence", 15, "nothing behind EXPECT"),
        ("EXPECT quotes", "EXPECT quotes, trades", 15, "is no relation"),
        ("EXPECT quotes", "EXPECT quote", 15, "unknown relation 'quote'"),
        ("WITHIN :silence", "WITHIN 2", 15, "'2' is no interval"),
        ("WITHIN :silence", "WITHIN :prints", 15, "prints is of type int"),
        ("WITHIN :silence", "WITHIN INTERVAL '0' SECOND", 15, "is no interval"),
        ("WITHIN :silence", "WITHIN :quiet", 15, "unknown parameter :quiet"),
        ("WHILE trades WHERE", "WHILE trades AS quotes WHERE", 16, "both called quotes"),
        ("AT LEAST :prints", "AT LEAST 0", 16, "AT LEAST 0"),
        ("UNTIL :longest", "UNTIL INTERVAL '0.010' SECOND", 16, "UNTIL is not longer than WITHIN"),
        (
            "AT LEAST :prints UNTIL :longest",
            "UNTIL :longest AT LEAST :prints",
            16,
            "AT LEAST out of its place",
        ),
        ("WHILE trades WHERE `condition` = 'regular' AT", "AT", 16, "AT LEAST without WHILE"),
        ("WHERE status = 'halted'", "WHERE", 17, "nothing behind WHERE"),
        ("quotes.seq AS first_seq", "quotes.seq", 18, "a measure without a name"),
        ("quotes.mid AS mid", "quotes.mid AS first_seq", 18, "measure first_seq twice"),
        ("quotes.seq AS first_seq", "trades.venue_id AS first_seq", 18, "no measure is quotes.seq"),
        ("quotes.mid AS mid", "bars.mid AS mid", 18, "unknown relation 'bars'"),
        ("quotes.mid AS mid", "LAST(quotes.mid) AS mid", 18, "there is one expected row"),
        ("LAST(trades.seq) AS last_seq", "seq AS last_seq", 18, "the column seq of no relation"),
        ("MIN(trades.price)", "STDDEV(trades.price)", 19, "there are FIRST, LAST, COUNT"),
        ("COUNT(trades.seq)", "COUNT(*)", 20, "name a column"),
        ("FIRST(trades.price)", "FIRST(trades.price, 1)", 20, "an offset"),
        ("FIRST(trades.price)", "FIRST(MIN(trades.price))", 20, "MIN inside FIRST"),
        ("PARTITION BY symbol\n", "PARTITION BY side\n", 13, "PARTITION BY without symbol"),
        (
            "first_seq, last_seq\nFROM",
            "first_seq, last_seq, CURRENT_TIMESTAMP AS ts\nFROM",
            12,
            "output column",
        ),
    ],
)
def test_what_is_refused(probe: Probe, old: str, new: str, line: int, message: str) -> None:
    """With the line, the reason and the fix."""
    assert old in PLAIN
    rule = probe(body=PLAIN.replace(old, new, 1))
    errors = [one for one in linter.lint(rule) if one.severity == "error"]
    assert any(message in f"{one.reason}. Fix: {one.fix}" and one.line == line for one in errors), errors
    with pytest.raises(RuleError):
        linter.check(rule)


UNKNOWN = [
    ("`condition` = 'regular'", "`colour` = 'red'", 16),
    ("ELSE 'buy' END", "ELSE cheap END", 10),
    ("MIN(trades.price)", "MIN(trades.prize)", 19),
    ("quotes.mid AS mid", "quotes.middle AS mid", 18),
]


@pytest.mark.parametrize(("old", "new", "line"), UNKNOWN)
def test_line_of_what_the_compiled_engine_refuses(probe: Probe, old: str, new: str, line: int) -> None:
    """An unknown column, in a condition, the SELECT or a measure."""
    with pytest.raises(RuleError, match="unknown column") as caught:
        engines.make_matcher(probe(body=PLAIN.replace(old, new)))
    assert caught.value.line == line


def test_what_is_noted(probe: Probe) -> None:
    """A silence without an end is worth knowing; the rule as it is has nothing to be said about."""
    assert linter.lint(probe()) == []
    (note,) = [
        one for one in linter.lint(probe(body=PLAIN.replace(" UNTIL :longest", ""))) if "UNTIL" in one.fix
    ]
    assert (note.severity, note.line) == ("note", 16)


# ---- Flink

TAGGED = BODY.format(tag=" || :tag")
SETS = [Amounts(1, 1, 26), Amounts(3, 2, 40), Amounts(10, 2, 11), Amounts(25, 4, 200)]
SECOND = """
WITH bought AS (
  SELECT symbol, MOD(seq, 2) AS parity, event_time, seq, price, size, side
  FROM trades WHERE side = 'buy' AND `condition` = 'regular'
),
sold AS (
  SELECT symbol, MOD(seq, 2) AS parity, event_time, seq, price, -size AS size, side
  FROM trades WHERE side <> 'buy'
)
SELECT symbol, side, ABS(turned) + 0.001E0 * least AS strength, 1E-9 * top + price AS ref_price,
  first_seq, last_seq
FROM ABSENCE (
  PARTITION BY symbol, parity
  EXPECT bought AS buyer WHERE price > 2 WITHIN :silence
  WHILE sold AS seller AT LEAST :prints
  MEASURES
    buyer.seq AS first_seq, seller.seq AS last_seq, FIRST(seller.side) AS text, buyer.price AS price,
    CASE WHEN seller.side = 'sell' THEN 'sell' ELSE 'buy' END AS side,
    SUM(seller.price * seller.size) / COUNT(seller.seq) AS turned,
    MIN(seller.seq) - buyer.seq AS least, AVG(seller.parity) + MAX(seller.seq) - buyer.seq AS top
)
WHERE :longest > INTERVAL '0' SECOND AND text <> ''
"""


def beat(topic: str, watermark_ns: int, kafka: KafkaSettings) -> None:
    """A heartbeat on every partition."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for partition in range(kafka.tick_partitions):
        batch = TickBatch(partition, 1, 1, watermark_ns, EMPTY)
        producer.produce(topic, encode(batch), partition=partition)
    assert producer.flush(30) == 0


@pytest.mark.slow
class TestOnFlink:
    """The reference."""

    def test_both_engines_say_the_same(
        self, flink: FlinkSettings, kafka: KafkaSettings, probe: Probe
    ) -> None:
        """Over a tape with ties, halts and messages of two events: Flink, the kernel and the definition,
        to the last bit. And rows of WITH queries, two keys, whole numbers, no end: Flink and the kernel."""
        rng = np.random.default_rng(5)
        events = [
            (
                float(rng.choice([0, 0, 0.4, 1, 1, 2, 5, 10, 30])),
                "ABC"[rng.integers(3)],
                KINDS[rng.choice(8, p=[0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])],
                int(rng.integers(100, 900)),
                int(rng.integers(1, 9)),
            )
            for _ in range(2_000)
        ]
        # a silence that the end of the tape leaves open: Flink's own end of time would fire it
        events += [(30.0, "A", "quote", 0, 0), *([(1.0, "A", "trade", 300, 1)] * 4)]
        block = tape_of(events)
        block.trades["side"] = rng.integers(3, size=len(block.trades))
        lines = [
            f"-- set: s{number} tag=#{number} " + " ".join(f"{k}={v}" for k, v in one.overrides.items())
            for number, one in enumerate(SETS)
        ]
        header = "-- parameter: tag string - which set\n" + "\n".join(lines) + "\n"
        tagged, second = probe(header, TAGGED), probe("", SECOND, "second")
        on_flink = history.run([tagged, second], [block], flink, kafka)
        wanted = [
            (f"{symbol}#{number}", *rest)
            for number, amounts in enumerate(SETS)
            for symbol, *rest in defined(block, amounts)
        ]
        assert len(wanted) > 300
        assert said(on_flink["probe"]) == sorted(wanted)
        compiled = play(second, block, {}, [7, 500, 1_500])
        assert len(compiled) > 30
        assert said(on_flink["second"]) == said(compiled)
        assert {s.signal_id for s in on_flink["second"]} == {s.signal_id for s in compiled}

    def test_live_it_fires_with_a_heartbeat(
        self, flink: FlinkSettings, kafka: KafkaSettings, probe: Probe
    ) -> None:
        """Quotes and trades, then nothing but heartbeats: live, on either engine, the silence fires when its
        time has passed; also if the compiled rule was stopped in the middle of it and goes on from its
        savepoint."""
        venue = f"LIVE{uuid.uuid4().hex[:6]}"
        wanted = {name: probe(name=name) for name in ("probe", "second")}
        for rule in wanted.values():
            rule.venue = venue
        ticks, signals = topics.ticks(venue), f"{venue}.signals"
        topics.ensure_topics([ticks, signals], kafka)
        tape = Tape(venue=venue)
        tape.quote("A", 0, 4.0, 6.0)
        for at_ms in (1, 2, 5):
            tape.trade("A", at_ms, 3.0, 1, "buy")

        submit = partial(jobs.submit, flink=flink, kafka=kafka, signal_topic=signals)
        list(submit([wanted["probe"]], engine="flink"))
        list(submit([wanted["second"]], engine="compiled"))
        replay.publish([tape.block()], ticks, kafka, {venue})
        (savepoint,) = jobs.stop("second", flink)
        (again,) = submit([wanted["second"]], engine="compiled", savepoint=savepoint)
        assert again.note == ""  # it has its state
        beat(ticks, START_NS + 10 * NS_PER_MS, kafka)
        beat(ticks, START_NS + 11 * NS_PER_MS, kafka)
        found: list[Signal] = []
        for _ in range(600):
            found = history.read_signals(signals, kafka)
            if len({one.rule for one in found}) == 2:
                break
            time.sleep(0.1)
        for name in wanted:
            jobs.stop(name, flink, savepoint=False)
        seqs = [int(tape.block().quotes["seq"][0]), int(tape.block().trades["seq"][-1])]
        assert {(one.rule, one.first_seq, one.last_seq, one.ts_event) for one in found} == {
            (name, *seqs, START_NS + 10 * NS_PER_MS) for name in wanted
        }

    @pytest.mark.parametrize(("old", "new", "line"), UNKNOWN)
    def test_line_of_what_flink_refuses(self, probe: Probe, old: str, new: str, line: int) -> None:
        """Its message points into the file, as the compiled engine's does."""
        assert old in PLAIN
        with pytest.raises(RuleError) as caught:
            jobs.explain(probe(body=PLAIN.replace(old, new)), FlinkSettings.load(), KafkaSettings.load())
        assert caught.value.line == line
