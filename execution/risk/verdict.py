"""The gate's record of one intent: what refused it, and every check's value and limit, to be asked later."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np

from execution.risk.arithmetic import RATIO_PER_BPS, SATURATED, UNLIMITED
from execution.risk.checks import SPECS, Check, Level, Unit
from execution.risk.layout import CHECKS
from tickloom.clock import NS_PER_MS
from tickloom.prices import format_nanos


@dataclass(frozen=True, slots=True)
class Refusal:
    """One check that was not passed. limit, value: as they are shown; scope: whose limit it is."""

    check: Check
    limit: str
    value: str
    scope: str

    @property
    def text(self) -> str:
        """The reason on the order's row."""
        return f"{self.check}: {self.value}, limit {self.limit} ({self.scope})"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check at one level. value, limit: in the check's unit (``execution.risk.checks.Unit``).

    ``reduces``: the value is past its limit and does not count, because the order only reduces.
    """

    check: Check
    level: Level
    value: int
    limit: int
    passed: bool
    reduces: bool

    @property
    def text(self) -> str:
        """``order_notional firm: 10100 of 30000``."""
        unit = _UNITS[self.check]
        shown = f"{show(unit, self.value)} of {show(unit, self.limit)}"
        return f"{self.check} {self.level.name.lower()}: {shown}{'' if self.passed else ' REFUSED'}"


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """``code``: -1 passed, else place * 3 + level of the first check past its limit. ``record``: int64
    (3, checks, levels) as bytes: values, limits, and whether a value past its limit counts. revision,
    digest: of the limits in force."""

    code: int
    record: bytes
    revision: int
    digest: str

    @property
    def passed(self) -> bool:
        return self.code < 0

    @property
    def check(self) -> Check | None:
        """What refused."""
        return SPECS[self.code // 3].check if self.code >= 0 else None

    @property
    def level(self) -> Level | None:
        """Whose limit it was."""
        return Level(self.code % 3) if self.code >= 0 else None

    def number(self, check: Check, level: Level) -> tuple[int, int]:
        """(value, limit) of one check."""
        table = np.frombuffer(self.record, np.int64).reshape(3, CHECKS, 3)
        return int(table[0, _PLACES[check], level]), int(table[1, _PLACES[check], level])

    def results(self) -> list[CheckResult]:
        """Every check that has a limit, in the gate's order."""
        table = np.frombuffer(self.record, np.int64).reshape(3, CHECKS, 3)
        found = []
        for place, spec in enumerate(SPECS):
            for level in spec.levels:
                value, limit, reduces = (int(table[row, place, level]) for row in range(3))
                if limit != UNLIMITED:
                    past = value > limit
                    passed = not past or bool(reduces)
                    found.append(CheckResult(spec.check, level, value, limit, passed, past and bool(reduces)))
        return found

    def as_json(self) -> bytes:
        """For the journal: checks with a limit only, ``[check, level, value, limit, passed]`` each."""
        refused = [self.check, self.level.name.lower()] if self.check and self.level is not None else None
        about = msgspec.json.encode({"revision": self.revision, "digest": self.digest, "refused": refused})
        numbers = memoryview(self.record).cast("q")  # int64, as the kernel wrote them
        rows = ",".join(
            [
                f"{head}{value}{limited}true]"
                if value <= limit or numbers[place + 2 * _SIZE]
                else f"{head}{value}{limited}false]"
                for place, head, limited, limit in _limited(self.record[_SIZE * 8 : 2 * _SIZE * 8])
                for value in (numbers[place],)
            ]
        )
        return b'%b,"checks":[%b]}' % (about[:-1], rows.encode())


_UNITS = {spec.check: spec.unit for spec in SPECS}
#: (place, level, name of the check, name of the level), in the gate's order.
_ROWS = [
    (place, int(level), spec.check.value, level.name.lower())
    for place, spec in enumerate(SPECS)
    for level in spec.levels
]
_SIZE = CHECKS * 3  # of each of the record's three tables


@lru_cache(maxsize=4_096)  # a text for each rule and instrument; made anew it takes five times as long
def _limited(limits: bytes) -> list[tuple[int, str, str, int]]:
    """(place in the table, text before the value, text behind it, limit) of the checks with a limit."""
    numbers = memoryview(limits).cast("q")
    return [
        (place, f'["{name}","{level_name}",', f",{limit},", limit)
        for check, level, name, level_name in _ROWS
        for place in (check * 3 + level,)
        if (limit := numbers[place]) != UNLIMITED
    ]


_PLACES = {spec.check: place for place, spec in enumerate(SPECS)}


def show(unit: Unit, value: int) -> str:
    """A value or limit as people write it."""
    if value >= SATURATED:
        return "past every limit"
    if value <= -SATURATED:
        return "none"
    if unit is Unit.TIME:
        return f"{value / NS_PER_MS:.6f}".rstrip("0").rstrip(".") + " ms"
    if unit is Unit.RATIO:
        return f"{value / RATIO_PER_BPS:.4f}".rstrip("0").rstrip(".") + " bps"
    if unit in (Unit.SWITCH, Unit.COUNT):
        return str(value)
    return format_nanos(value)
