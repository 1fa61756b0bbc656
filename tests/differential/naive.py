"""A rule's meaning, told the slow way: Flink's automaton for strictly contiguous patterns, in plain Python.

A second implementation beside the compiled matcher, to check the harness itself and to make failing cases
smaller without Flink. Reference: flink-cep 2.3 (states and transitions of NFACompiler, the steps of NFA,
the order of java.util.PriorityQueue, which decides between matches that begin and end on the same rows).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.differential.cases import RuleCase, Variable
from tests.differential.expressions import Expression, Row, Rows, Value, evaluate
from tickloom.clock import NS_PER_MS
from tickloom.events import CONDITION_TEXTS, SIDE_TEXTS, EventBlock
from tickloom.prices import NO_PRICE

_NANOS = 1e9
_FINAL = "final"
_END_MS = 1 << 62
Start = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Match:
    """A signal's own columns. ts_event: ns, of the last row."""

    symbol: str
    side: Value
    strength: Value
    ref_price: Value
    first_seq: Value
    last_seq: Value
    ts_event: int


# -- rows


def view_rows(block: EventBlock, view: str) -> list[dict[str, Value]]:
    """The rows of a view, as Flink's SQL sees them."""
    records = block.trades if view == "trades" else block.quotes
    return [_row(block, view, record) for record in records]


def _row(block: EventBlock, view: str, record: Any) -> dict[str, Value]:
    row: dict[str, Value] = {
        "symbol": block.symbols.names[record["symbol"]],
        "event_time": int(record["ts_event"]) // NS_PER_MS,
        "seq": int(record["seq"]),
    }
    if view == "trades":
        row["price"], row["size"] = _size(record["price"]), _size(record["size"])
        row["side"], row["condition"] = SIDE_TEXTS[record["side"]], CONDITION_TEXTS[record["condition"]]
        return row
    bid, ask = _price(record["bid_price"]), _price(record["ask_price"])
    row["bid_price"], row["ask_price"] = bid, ask
    row["bid_size"], row["ask_size"] = _size(record["bid_size"]), _size(record["ask_size"])
    row["mid"] = None if bid is None or ask is None else (bid + ask) / 2
    return row


def _size(nanos: int) -> float:
    return int(nanos) / _NANOS


def _price(nanos: int) -> float | None:
    return None if nanos == NO_PRICE else _size(nanos)


def pattern_rows(case: RuleCase, block: EventBlock) -> list[dict[str, Value]]:
    """What the pattern reads: the WITH before it applied, in no order yet."""
    if not case.branches:
        return view_rows(block, case.view)
    found = []
    for branch in case.branches:
        for row in view_rows(block, branch.view):
            if branch.where is None or evaluate(branch.where, _no_rows, row) is True:
                found.append({name: evaluate(tree, _no_rows, row) for name, tree in branch.columns})
    if case.filter is None:
        return found
    return [row for row in found if evaluate(case.filter, _no_rows, row) is True]


def _no_rows(variable: str) -> Sequence[Row]:
    return ()


# -- the automaton

Condition = Callable[["_Run", Row], bool]


@dataclass(slots=True)
class _Edge:
    take: bool  # else it proceeds without a row
    target: _State
    conditions: list[Condition]

    def open(self, run: _Run, row: Row) -> bool:
        return all(condition(run, row) for condition in self.conditions)


@dataclass(slots=True, eq=False)
class _State:
    name: str
    edges: list[_Edge] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Run:
    """A partial match: where it stands, and the rows it took with their variables."""

    state: _State
    start: Start | None = None
    start_ms: int = 0
    taken: tuple[tuple[str, int, Row], ...] = ()

    def rows(self, variable: str, current: Row | None = None, deciding: str = "") -> list[Row]:
        found = [row for name, _, row in self.taken if name == variable]
        return [*found, current] if current is not None and variable == deciding else found


def _condition(variable: Variable) -> Condition:
    tree = variable.condition
    if tree is None:
        return lambda run, row: True

    def holds(run: _Run, row: Row) -> bool:
        return evaluate(tree, lambda name: run.rows(name, row, variable.name)) is True

    return holds


def _not(condition: Condition) -> Condition:
    return lambda run, row: not condition(run, row)


def automaton(variables: Sequence[Variable]) -> _State:
    """The start state."""
    following = _State(_FINAL)
    for variable in reversed(variables):
        following = _states_of(variable, following)
    return following


def _states_of(variable: Variable, following: _State) -> _State:
    low, high = max(variable.count_min, 1), variable.count_max
    optional = variable.count_min == 0
    taken = _condition(variable)
    single = (variable.count_min, high) in ((0, 1), (1, 1))
    if not variable.reluctant and not single and variable.count_min != high:
        for edge in following.edges:  # greedy: what follows takes no row that this one would take
            edge.conditions.append(_not(taken))
    after = following
    if high is None:
        after = _State(f"{variable.name}:loop")
        after.edges.append(_Edge(False, following, []))
        after.edges.append(_Edge(True, after, [taken]))
    else:
        for _ in range(low, high):
            after = _step(variable, taken, after, following)
    for _ in range(low - 1):
        after = _step(variable, taken, after, None)
    return _step(variable, taken, after, following if optional else None)


def _step(variable: Variable, taken: Condition, after: _State, proceed: _State | None) -> _State:
    state = _State(variable.name)
    state.edges.append(_Edge(True, after, [taken]))
    if proceed is not None:
        state.edges.append(_Edge(False, proceed, []))
    return state


class _Queue:
    """java.util.PriorityQueue, whose order of equal elements is part of the result."""

    def __init__(self, runs: Iterable[_Run] = ()) -> None:
        self.items: list[_Run] = []
        for run in runs:
            self.add(run)

    @staticmethod
    def _key(run: _Run) -> Start:
        return run.start if run.start is not None else (1 << 63, 1 << 31)

    def add(self, run: _Run) -> None:
        items, place = self.items, len(self.items)
        items.append(run)
        while place > 0 and self._key(run) < self._key(items[(place - 1) >> 1]):
            items[place] = items[(place - 1) >> 1]
            place = (place - 1) >> 1
            items[place] = run

    def poll(self) -> _Run:
        first, last = self.items[0], self.items.pop()
        if self.items:
            self._sift_down(0, last)
        return first

    def keep(self, wanted: Callable[[_Run], bool]) -> None:
        if not all(wanted(run) for run in self.items):
            self.items = [run for run in self.items if wanted(run)]
            for place in reversed(range(len(self.items) // 2)):
                self._sift_down(place, self.items[place])

    def _sift_down(self, place: int, run: _Run) -> None:
        items = self.items
        while place < len(items) // 2:
            child = 2 * place + 1
            if child + 1 < len(items) and self._key(items[child]) > self._key(items[child + 1]):
                child += 1
            if self._key(run) <= self._key(items[child]):
                break
            items[place] = items[child]
            place = child
        items[place] = run


class _Key:
    """The matching of one partition."""

    def __init__(self, case: RuleCase) -> None:
        self.case = case
        self.begin = automaton(case.variables)
        self.partial = _Queue([_Run(self.begin)])
        self.completed = _Queue()
        self.ended: list[tuple[_Run, int]] = []

    def row(self, row: Row, at_ms: int, place: int) -> None:
        partial, potential = _Queue(), []
        for run in self.partial.items:
            for following in self._next(run, row, at_ms, place):
                if following.state.name == _FINAL:
                    potential.append(following)
                else:
                    partial.add(following)
        self._complete(potential, partial, at_ms)

    def time(self, at_ms: int) -> None:
        within = self.case.within_ms
        kept = [
            run
            for run in self.partial.items
            if run.start is None or not within or at_ms - run.start_ms < within
        ]
        self._complete([], _Queue(kept), at_ms)

    def _next(self, run: _Run, row: Row, at_ms: int, place: int) -> list[_Run]:
        found = []
        waiting = [run.state]
        edges = []
        while waiting:
            state = waiting.pop()
            for edge in state.edges:
                if edge.open(run, row):
                    if edge.take:
                        edges.append((state, edge))
                    else:
                        waiting.append(edge.target)
        for state, edge in edges:
            start = run.start if run.start is not None else (at_ms, place)
            start_ms = run.start_ms if run.start is not None else at_ms
            taken = (*run.taken, (state.name.partition(":")[0], place, row))
            found.append(_Run(edge.target, start, start_ms, taken))
        if run.start is None:
            found.append(_Run(self.begin))
        return found

    def _complete(self, potential: list[_Run], partial: _Queue, at_ms: int) -> None:
        for run in potential:
            self.completed.add(run)
        while self.completed.items:
            earliest = self.completed.items[0]
            if partial.items and _Queue._key(earliest) > _Queue._key(partial.items[0]):
                break
            self.completed.poll()
            self._prune(earliest, partial)
            self._prune(earliest, self.completed)
            self.ended.append((earliest, at_ms))
        self.partial = partial

    def _prune(self, match: _Run, queue: _Queue) -> None:
        mode, variable = self.case.skip
        places = [(row["event_time"], place) for _, place, row in match.taken]
        if mode in ("past", "next"):
            until = places[-1] if mode == "past" else places[0]
            queue.keep(lambda run: run.start is None or run.start > until)
            return
        own = [(row["event_time"], place) for name, place, row in match.taken if name == variable]
        target = own[0] if mode == "first" else own[-1]
        queue.keep(lambda run: run.start is None or run.start >= target)


def run(case: RuleCase, block: EventBlock) -> list[Match]:
    """Every match over the events of ``block``, which end."""
    partitions: dict[tuple[Value, ...], list[dict[str, Value]]] = {}
    for row in pattern_rows(case, block):
        partitions.setdefault(tuple(row[name] for name in case.partition), []).append(row)
    found: list[Match] = []
    for rows in partitions.values():
        rows.sort(key=lambda row: tuple(row[name] for name in ("event_time", *case.order)))  # type: ignore[arg-type,return-value]
        key = _Key(case)
        last_ms: Value = None
        for place, row in enumerate(rows):
            at_ms = row["event_time"]
            assert isinstance(at_ms, int)
            if at_ms != last_ms:
                key.time(at_ms)
            last_ms = at_ms
            key.row(row, at_ms, place)
        key.time(_END_MS)
        found += [match for ended, _ in key.ended if (match := _measure(case, ended)) is not None]
    return found


def _measure(case: RuleCase, ended: _Run) -> Match | None:
    rows: Rows = ended.rows
    last = ended.taken[-1][2]
    measured: dict[str, Value] = {name: evaluate(tree, rows) for name, tree in case.measures}
    measured |= {name: last[name] for name in case.partition}
    if case.where is not None and evaluate(case.where, _no_rows, measured) is not True:
        return None
    outputs: dict[str, Any] = {name: evaluate(tree, _no_rows, measured) for name, tree in case.outputs}
    at_ms = last["event_time"]
    assert isinstance(at_ms, int)
    return Match(
        str(measured["symbol"]),
        outputs["side"],
        _double(outputs["strength"]),
        _double(outputs["ref_price"]),
        measured["first_seq"],
        measured["last_seq"],
        at_ms * NS_PER_MS,
    )


def _double(value: Expression | Any) -> Value:
    return None if value is None else float(value)
