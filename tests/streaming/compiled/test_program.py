"""A compiled rule as a program over batches: by shard, over all shards, and over a restart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from msgspec import structs

from streaming import engines, rules
from streaming.compiled.program import RuleProgram, by_symbol
from streaming.rules import Rule
from streaming.tables import SIGNAL_COLUMNS
from streaming.tape import START_NS, Tape
from tickloom import topics
from tickloom.clock import NS_PER_MS, ReplayClock
from tickloom.codec import TickBatch, encode
from tickloom.errors import CodecError, RuleError
from tickloom.events import EventBlock

Probe = Callable[..., Rule]
NOW_NS = START_NS + 5
PARTITIONS = 4


def tape() -> Tape:
    """Trades of eight symbols on all shards, each dearer than the one before, 1 ms apart."""
    made = Tape()
    for number in range(64):
        made.trade(f"S{number % 8}", number, 10.0 + number // 8, 1, "buy")
    return made


def batches(block: EventBlock, size: int = 8) -> list[tuple[int, bytes]]:
    """(shard, record) of the block's trades, ``size`` at a time; a heartbeat on the shards without any."""
    shard_of = np.array([topics.shard(name, PARTITIONS) for name in block.symbols.names])
    found = []
    for at in range(0, len(block.trades), size):
        part = block.trades[at : at + size]
        # the watermark says: nothing older than the next trade
        watermark = int(part["ts_event"][-1]) + NS_PER_MS
        for shard in range(PARTITIONS):
            own = EventBlock(
                block.venue, block.session, block.symbols, trades=part[shard_of[part["symbol"]] == shard]
            )
            found.append(
                (shard, encode(TickBatch(shard, int(part["seq"][0]), int(part["seq"][-1]), watermark, own)))
            )
    return found


def run(program: RuleProgram, records: Iterable[bytes]) -> list[dict[str, object]]:
    return [json.loads(value) for raw in records for _, value in program.process(raw)]


def ids(found: list[dict[str, object]]) -> list[str]:
    return sorted(str(one["signal_id"]) for one in found)


def expected(rule: Rule, block: EventBlock) -> list[str]:
    """What the matcher alone gives over all events at once."""
    matcher = engines.make_matcher(rule)
    return sorted(one.signal_id for one in [*matcher.push(block, 0), *matcher.finish()])


def test_signals_are_those_of_the_matcher_as_the_topic_has_them(probe: Probe) -> None:
    """Every shard's program together give what one matcher gives; each signal has the topic's columns, is
    keyed by its symbol and stamped by the clock."""
    rule, block = rules.bind(probe()), tape().block()
    programs = [
        RuleProgram(rule, engines.make_matcher(rule), clock=ReplayClock(NOW_NS)) for _ in range(PARTITIONS)
    ]
    outputs = [output for shard, raw in batches(block) for output in programs[shard].process(raw)]
    found = [json.loads(value) for _, value in outputs]
    assert ids(found) == expected(rule, block)
    assert len(found) == 32
    for (key, _), one in zip(outputs, found, strict=True):
        assert list(one) == [name for name, _ in SIGNAL_COLUMNS]
        assert key == one["symbol"].encode()
        assert (one["ts_signal"], one["venue"], one["version"]) == (NOW_NS, "XNAS", "1")


def test_whole_waits_for_the_slowest_shard(probe: Probe) -> None:
    """Over all shards nothing is certain before each has a watermark, and order of arrival between shards
    changes nothing."""
    rule, block = rules.bind(probe()), tape().block()
    records = batches(block)
    program = RuleProgram(rule, engines.make_matcher(rule), PARTITIONS)
    held = [raw for shard, raw in records if shard != 3]
    assert run(program, held) == []
    late = run(program, [raw for shard, raw in records if shard == 3])
    assert ids(late) == expected(rule, block)
    assert program.late_rows == 0


@pytest.mark.parametrize("partitions", [0, PARTITIONS])
def test_restored_in_mid_pattern(partitions: int, probe: Probe) -> None:
    """A program that is snapshot and restored behind every record gives what an undisturbed one gives."""
    rule, block = rules.bind(probe()), tape().block()
    records = [raw for shard, raw in batches(block) if partitions or shard == 1]
    undisturbed = RuleProgram(rule, engines.make_matcher(rule), partitions, ReplayClock(NOW_NS))
    wanted = run(undisturbed, records)
    assert wanted
    found = []
    program = RuleProgram(rule, engines.make_matcher(rule), partitions, ReplayClock(NOW_NS))
    for raw in records:
        found += run(program, [raw])
        state = program.snapshot()
        program = RuleProgram(rule, engines.make_matcher(rule), partitions, ReplayClock(NOW_NS))
        program.restore(state)
    assert found == wanted


def test_state_of_other_values_is_refused(probe: Probe) -> None:
    """The matcher's state carries what it is of."""
    rule = probe()
    state = RuleProgram(rules.bind(rule), engines.make_matcher(rules.bind(rule))).snapshot()
    other = rules.bind(rule, {"rise": "0.2"})
    with pytest.raises(RuleError, match="saved state is of another"):
        RuleProgram(other, engines.make_matcher(other)).restore(state)


def test_what_is_no_batch_of_the_topic_is_a_codec_error(probe: Probe) -> None:
    """Garbage, and a shard that the topic has not."""
    rule = rules.bind(probe())
    program = RuleProgram(rule, engines.make_matcher(rule), 2)
    with pytest.raises(CodecError):
        program.process(b"garbage")
    (record, *_) = [raw for shard, raw in batches(tape().block()) if shard == 3]
    with pytest.raises(CodecError, match="shard 3 of a topic with 2 partitions"):
        program.process(record)


def test_rules_of_one_symbol_run_by_shard(probe: Probe, probe_text: str) -> None:
    """Only a rule that partitions by the view's own symbol may run shard by shard."""
    assert by_symbol(engines.make_matcher(rules.bind(probe())))
    assert by_symbol(engines.make_matcher(rules.bind(rules.find("quote_fade"))))
    assert by_symbol(engines.make_matcher(rules.bind(rules.find("quotes_stale"))))
    whole = probe_text.replace("FROM trades", "FROM side").replace("PARTITION BY symbol", "PARTITION BY side")
    whole = whole.replace("SELECT symbol, 'buy' AS side", "SELECT symbol, side", 1)
    head, body = whole.split("\n\n", 1)
    body = "WITH side AS (SELECT side, symbol, event_time, seq, price FROM trades)\n" + body
    body = body.replace("MEASURES ", "MEASURES B.symbol AS symbol, ")
    assert not by_symbol(engines.make_matcher(rules.bind(probe(f"{head}\n\n{body}"))))


def test_signal_of_a_rule_is_a_signal(probe: Probe) -> None:
    """What is written reads back as the Signal that it was."""
    from streaming.compiled.program import signal_records
    from streaming.stored import history

    rule, block = rules.bind(probe()), tape().block()
    (one, *_) = engines.make_matcher(rule).push(block, START_NS + 40 * NS_PER_MS)
    ((key, value),) = signal_records([one], NOW_NS)
    read = history.signal_from_json(value)
    assert key == one.symbol.encode()
    assert structs.asdict(read) == {**structs.asdict(one), "ts_signal": NOW_NS}
