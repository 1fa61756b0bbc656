"""Two engines' signals in, what differs out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streaming import rules
from streaming.compiled import Matcher, compile_rule
from tests.differential import corpus, naive
from tests.differential.cases import RuleCase
from tests.differential.corpus import Batches
from tests.differential.expressions import Value
from tests.differential.naive import Match
from tickloom.events import EventBlock, Signal

TOLERANCE = 1e-9  # of strength and ref_price, relative


@dataclass(slots=True)
class Difference:
    """missing: the reference has them, the other engine has not. extra: the other way round."""

    missing: list[Match] = field(default_factory=list)
    extra: list[Match] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra)

    def __str__(self) -> str:
        lines = [f"  missing: {match}" for match in self.missing] + [
            f"  extra:   {match}" for match in self.extra
        ]
        return "\n".join(lines)


def difference(found: Iterable[Match], reference: Sequence[Match]) -> Difference:
    """Signal by signal, each as often as it is there. Order does not matter."""
    places: dict[tuple[Value, ...], list[Match]] = {}
    for match in reference:
        places.setdefault(_place(match), []).append(match)
    result = Difference()
    for match in found:
        candidates = places.get(_place(match), [])
        same = next((one for one in candidates if _same(match, one)), None)
        if same is None:
            result.extra.append(match)
        else:
            candidates.remove(same)
    result.missing = [match for candidates in places.values() for match in candidates]
    return result


def _place(match: Match) -> tuple[Value, ...]:
    return match.symbol, match.side, match.first_seq, match.last_seq, match.ts_event


def _same(one: Match, other: Match) -> bool:
    return _close(one.strength, other.strength) and _close(one.ref_price, other.ref_price)


def _close(one: Value, other: Value) -> bool:
    if not isinstance(one, float) or not isinstance(other, float):
        return one is other
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=TOLERANCE)


def by_compiled(case: RuleCase, tapes: Sequence[Batches]) -> list[Match]:
    """The compiled matcher's signals, tape by tape."""
    compiled = compile_rule(case.rule())
    found: list[Match] = []
    for batches in tapes:
        matcher = Matcher(compiled)
        for block, watermark_ns in batches:
            found += map(match_of, matcher.push(block, watermark_ns))
        found += map(match_of, matcher.finish())
    return found


def by_compiled_text(text: str, block: EventBlock) -> list[Match]:
    """The compiled matcher's signals of a rule file over all of a block."""
    name = text.partition("-- rule: ")[2].partition("\n")[0]
    matcher = Matcher(compile_rule(rules.parse(text, Path(f"{name}.sql"))))
    return [match_of(signal) for signal in (*matcher.push(block, 0), *matcher.finish())]


def by_naive(case: RuleCase, tapes: Sequence[Batches]) -> list[Match]:
    """The naive engine's signals, tape by tape."""
    return [match for batches in tapes for match in naive.run(case, corpus.in_time(batches))]


def match_of(signal: Signal) -> Match:
    """What engines must agree upon."""
    return Match(
        signal.symbol,
        signal.side,
        signal.strength,
        signal.ref_price,
        signal.first_seq,
        signal.last_seq,
        signal.ts_event,
    )
