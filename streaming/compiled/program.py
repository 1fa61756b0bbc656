"""Tick batches in, signals as JSON out: a compiled rule as a ``streaming.live.operator.BatchProgram``.

The records are those of the Flink engine (``streaming.tables.signals_ddl``), but that ts_signal has the
clock's full resolution.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import structs

from streaming import derived, engines
from streaming.compiled.matcher import Matcher
from streaming.compiled.records import json_number
from streaming.compiled.warm import warm_up
from streaming.engines import RuleMatcher
from streaming.rules import Rule
from tickloom.clock import Clock, SystemClock
from tickloom.codec import decode_columns
from tickloom.errors import CodecError
from tickloom.events import Signal, SymbolTable

_NEVER = -(1 << 62)
_NO_STAMP = b'"ts_signal":0}'  # the last field of a signal
_STAMP_LENGTH = len(_NO_STAMP)
_encode = msgspec.json.Encoder().encode


class RuleProgram:
    """A rule over one shard, or over all.

    Parameters
    ----------
    partitions : int
        0: what comes is of one shard, whose watermark is the rule's event time. Else it is of so many,
        and event time is the lowest of their watermarks: nothing comes out until each has one.
    """

    def __init__(
        self, rule: Rule, matcher: RuleMatcher, partitions: int = 0, clock: Clock | None = None
    ) -> None:
        self._matcher = matcher
        views = engines.views_read(rule)
        self._decode: Callable[[bytes, SymbolTable], Any]
        if isinstance(matcher, Matcher) and derived.derived_view(views) is None:
            fields = matcher.fields
            self._decode = partial(decode_columns, wanted=fields)
        else:  # an absence also asks when anything at all came last
            self._decode = derived.decoder(views)
        self._clock = clock or SystemClock()
        self._symbols = SymbolTable()
        self._watermarks = [_NEVER] * max(partitions, 1)
        self._whole = partitions > 0

    @property
    def late_rows(self) -> int:
        """Rows behind the watermark."""
        return self._matcher.late_rows

    def process(self, raw: bytes) -> Sequence[tuple[bytes, bytes]]:
        """Signals that a batch made certain, each keyed by its symbol.

        Raises
        ------
        CodecError
            It is no batch of the rule's topic.
        """
        batch = self._decode(raw, self._symbols)
        place = batch.shard if self._whole else 0
        if not 0 <= place < len(self._watermarks):
            raise CodecError(
                f"shard {batch.shard} of a topic with {len(self._watermarks)} partitions; "
                "submit the rule again after a change of kafka.tick_partitions"
            )
        self._watermarks[place] = max(self._watermarks[place], batch.watermark)
        watermark = min(self._watermarks)
        if isinstance(self._matcher, Matcher):
            results = self._matcher.results(batch.block, watermark)
            if not len(results.ints):
                return ()
            return self._matcher.records(results, batch.block.venue, self._clock.now_ns())
        signals = self._matcher.push(batch.block, watermark)
        return signal_records(signals, self._clock.now_ns()) if signals else ()

    def snapshot(self) -> bytes:
        """Watermarks and the matcher's state."""
        marks = json.dumps(self._watermarks).encode()
        return len(marks).to_bytes(4, "little") + marks + self._matcher.snapshot()

    def restore(self, raw: bytes) -> None:
        """Go on from a snapshot of the same rule, version and parameters."""
        begin = 4 + int.from_bytes(raw[:4], "little")
        self._watermarks = json.loads(raw[4:begin])
        self._matcher.restore(raw[begin:])


def make_program(rule: Rule, partitions: int = 0) -> RuleProgram:
    """The program of a bound rule (``streaming.rules.bind``), ready to run; what a worker calls.

    Raises
    ------
    RuleError
        The rule is outside what the compiled engine takes.
    """
    warm_up(rule)  # else the first trade of the day would wait for kernels to be loaded
    return RuleProgram(rule, engines.make_matcher(rule), partitions)


def signal_records(signals: Sequence[Signal], ts_signal_ns: int) -> list[tuple[bytes, bytes]]:
    """Signals that have no stamp yet as records of the topic ``signals``, stamped."""
    stamp = b"%d}" % ts_signal_ns
    found = []
    for one in signals:
        unstamped = _encode(one if math.isfinite(one.strength + one.ref_price) else _spelt(one))
        if unstamped[-_STAMP_LENGTH:] != _NO_STAMP:
            raise ValueError(f"signal {one.signal_id} has the stamp {one.ts_signal} already")
        found.append((one.symbol.encode(), unstamped[:-2] + stamp))
    return found


def _spelt(one: Signal) -> dict[str, Any]:
    """A signal with a number that JSON has no word for."""
    numbers = {"strength": json_number(one.strength), "ref_price": json_number(one.ref_price)}
    return structs.asdict(one) | numbers


def by_symbol(matcher: Any) -> bool:
    """Whether each of a rule's partitions is of one symbol, so that a shard needs no other.

    Parameters
    ----------
    matcher : Matcher or AbsenceMatcher
    """
    from streaming.compiled.tree import Column

    def is_symbol(tree: Any) -> bool:
        return isinstance(tree, Column) and tree.name == "symbol"

    plan = matcher.plan
    if hasattr(plan, "roles"):
        found = [branch for role in plan.roles for branch in role.branches]
        names = [f"key_{place}" for place in range(len(plan.partition))]
    else:
        found, names = plan.branches, plan.partition
    return any(all(is_symbol(branch.columns[name]) for branch in found) for name in names)
