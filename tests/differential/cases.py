"""A rule and a tape as plain data: what is generated, written out for the engines, and made smaller.

A :class:`RuleCase` is the parts of a rule file, a :class:`TapeCase` the events of a tape by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from pathlib import Path

from streaming import rules
from streaming.rules import Rule
from streaming.tape import Tape
from tests.differential.expressions import BIGINT, DOUBLE, STRING, TIME, Column, Expression, sql
from tickloom.events import EventBlock

VIEW_COLUMNS: dict[str, dict[str, str]] = {
    "trades": {
        "symbol": STRING,
        "event_time": TIME,
        "seq": BIGINT,
        "price": DOUBLE,
        "size": DOUBLE,
        "side": STRING,
        "condition": STRING,
    },
    "quotes": {
        "symbol": STRING,
        "event_time": TIME,
        "seq": BIGINT,
        "bid_price": DOUBLE,
        "bid_size": DOUBLE,
        "ask_price": DOUBLE,
        "ask_size": DOUBLE,
        "mid": DOUBLE,
    },
}


@dataclass(frozen=True, slots=True)
class Branch:
    """A SELECT over a view, or over another one's rows. columns: name and expression of each."""

    view: str
    columns: tuple[tuple[str, Expression], ...]
    where: Expression | None = None

    def sql(self) -> str:
        items = ", ".join(_item(name, sql(tree)) for name, tree in self.columns)
        where = f" WHERE {sql(self.where)}" if self.where is not None else ""
        return f"SELECT {items} FROM {self.view}{where}"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a pattern. count_max None: no limit. condition None: not in DEFINE."""

    name: str
    count_min: int = 1
    count_max: int | None = 1
    reluctant: bool = False
    quantifier: str = ""
    condition: Expression | None = None


@dataclass(frozen=True, slots=True)
class RuleCase:
    """A rule.

    Attributes
    ----------
    view : str
        Read directly where there are no branches.
    branches : tuple of Branch
        The WITH before the pattern, a UNION ALL where there are several.
    filter : Expression or None
        Condition of one more query, between those and the pattern.
    order : tuple of str
        Sort keys behind event_time.
    skip : tuple of str, str
        Mode ("past", "next", "first", "last", "to") and variable.
    measures : tuple
        Name and expression of each.
    outputs : tuple
        Name and expression of side, strength and ref_price, over measures and partition keys.
    parameters : tuple
        Name, type and default of each.
    """

    view: str
    branches: tuple[Branch, ...]
    partition: tuple[str, ...]
    order: tuple[str, ...]
    variables: tuple[Variable, ...]
    within_ms: int | None
    skip: tuple[str, str]
    measures: tuple[tuple[str, Expression], ...]
    outputs: tuple[tuple[str, Expression], ...]
    where: Expression | None = None
    parameters: tuple[tuple[str, str, str], ...] = ()
    filter: Expression | None = None

    def text(self, name: str = "generated") -> str:
        """The rule file."""
        header = [f"-- rule: {name}", "-- version: 1", "-- venue: XNAS", "-- about: generated"]
        header += [
            f"-- parameter: {one} {kind} {default} generated" for one, kind, default in self.parameters
        ]
        if self.within_ms is not None:
            header.append(f"-- parameter: span interval {self.within_ms}ms from first to last row")
        lines = [*header, ""]
        if self.branches:
            union = "\n  UNION ALL\n  ".join(branch.sql() for branch in self.branches)
            lines.append(f"WITH {'selected' if self.filter is not None else 'kept'} AS (\n  {union}\n)")
        if self.filter is not None:
            names = ", ".join(_item(name, sql(Column("", name))) for name, _ in self.branches[0].columns)
            lines.append(f", kept AS (SELECT {names} FROM selected WHERE {sql(self.filter)})")
        outputs = ", ".join(f"{sql(tree)} AS {one}" for one, tree in self.outputs)
        lines.append(f"SELECT symbol, {outputs}, first_seq, last_seq")
        lines.append(f"FROM {'kept' if self.branches else self.view} MATCH_RECOGNIZE (")
        lines.append(f"  PARTITION BY {', '.join(self.partition)}")
        lines.append(f"  ORDER BY {', '.join(('event_time', *self.order))}")
        measures = ",\n    ".join(f"{sql(tree)} AS {one}" for one, tree in self.measures)
        lines.append(f"  MEASURES\n    {measures}")
        lines.append("  ONE ROW PER MATCH")
        lines.append(f"  AFTER MATCH {self._skip()}")
        pattern = " ".join(one.name + one.quantifier for one in self.variables)
        within = " WITHIN :span" if self.within_ms is not None else ""
        lines.append(f"  PATTERN ({pattern}){within}")
        defines = [
            f"{one.name} AS {sql(one.condition)}" for one in self.variables if one.condition is not None
        ]
        lines.append("  DEFINE\n    " + ",\n    ".join(defines))
        lines.append(")" + (f" WHERE {sql(self.where)}" if self.where is not None else ""))
        return "\n".join(lines) + "\n"

    def rule(self, name: str = "generated") -> Rule:
        """The rule as the engines take it."""
        return rules.parse(self.text(name), Path(f"{name}.sql"))

    def _skip(self) -> str:
        mode, variable = self.skip
        if mode in ("past", "next"):
            return "SKIP PAST LAST ROW" if mode == "past" else "SKIP TO NEXT ROW"
        return f"SKIP TO {variable}" if mode == "to" else f"SKIP TO {mode.upper()} {variable}"


def _item(name: str, text: str) -> str:
    return text if text.strip("`") == name else f"{text} AS {name}"


@dataclass(frozen=True, slots=True)
class TradeCase:
    """A trade: what streaming.tape.Tape.trade takes."""

    symbol: str
    at_ms: float
    price: float
    size: float
    side: str
    condition: str = "regular"


@dataclass(frozen=True, slots=True)
class QuoteCase:
    """A best bid and ask; None: no price on that side."""

    symbol: str
    at_ms: float
    bid: float | None
    ask: float | None
    bid_size: float
    ask_size: float


@dataclass(frozen=True, slots=True)
class TapeCase:
    """Events in the order of their seq."""

    events: tuple[TradeCase | QuoteCase, ...]

    def tape(self, tape: Tape | None = None, suffix: str = "") -> Tape:
        """The events as a tape; behind those of ``tape``, if there is one, and with other symbols."""
        tape = Tape() if tape is None else tape
        for one in self.events:
            if isinstance(one, TradeCase):
                tape.trade(one.symbol + suffix, one.at_ms, one.price, one.size, one.side, one.condition)
            else:
                bid = nan if one.bid is None else one.bid
                ask = nan if one.ask is None else one.ask
                tape.quote(one.symbol + suffix, one.at_ms, bid, ask, one.bid_size, one.ask_size)
        return tape

    def block(self) -> EventBlock:
        """The events as an ingester's block."""
        return self.tape().block()
