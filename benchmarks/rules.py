"""Three rules over the same trades: Flink's MATCH_RECOGNIZE, the compiled matcher in a Flink job and alone.

    python -m benchmarks.rules [trades] [runs] [engines] [rules]

Engines: those to run, of ``history,job,sql,esper`` (all); rules: of ``ab,acb,abc`` (all). Esper is the peer
that is fast on one core, and needs a JDK with Maven on the PATH; Flink SQL takes most of the time.

Rates are of one core in steady state: trades a CPU second, between a short and a long tape for a job, so
that its start is not in them (``startup_s`` says what that takes). CPU seconds are of everything that
works on the ticks: the TaskManager with its Python workers, or this process. A TaskManager runs for weeks;
here its JVM compiles itself for minutes, at up to half of a core. That is not counted for either engine, and
told as ``jit_s``; each rule runs over the long tape once before anything is measured. Flink SQL runs over a
day of ``trades`` (and a fifth of it), the compiled job over some days and over more. Every engine must find
as many matches as the others, but for Esper's ``acb``: it lets a match out before it knows that no earlier
one will come.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from benchmarks import _rules_tape as tapes
from benchmarks._rules_esper import Esper
from benchmarks._rules_flink import BLOCK_ROWS, Servers, Spent, Steady, servers, tape_blocks
from storage.parquet import ParquetReader, write_events
from streaming import engines
from streaming.compiled import warm
from streaming.rules import Rule
from streaming.stored import history
from tickloom.events import EventBlock

TRADES = 5_000_000
DAYS = (4, 16)  # of the tapes for the compiled job
ENGINES = ("history", "job", "sql", "esper")
SHORT = 5  # the short tape for Flink SQL is so many times shorter


def main() -> None:
    """Print one JSON line a metric."""
    trades = int(sys.argv[1]) if len(sys.argv) > 1 else TRADES
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    engines_run = tuple(sys.argv[3].split(",")) if len(sys.argv) > 3 else ENGINES
    if not set(engines_run) <= set(ENGINES):
        raise SystemExit(f"engines are {', '.join(ENGINES)}, not {sys.argv[3]}")
    chosen = sys.argv[4].split(",") if len(sys.argv) > 4 else list(tapes.RULES)
    if not set(chosen) <= set(tapes.RULES):
        raise SystemExit(f"rules are {', '.join(tapes.RULES)}, not {sys.argv[4]}")
    with tempfile.TemporaryDirectory(prefix="tickloom-bench-") as name, servers() as running:
        loaded = tapes.load_rules(Path(name))
        rules = {key: loaded[key] for key in chosen}
        for rule in rules.values():
            warm.warm_up(rule)  # machine code is kept on disk, so this is once a machine
        write_events(tape_blocks(trades), Path(name), ["trades"])
        found = {key: _History(rule, trades, Path(name)) for key, rule in rules.items()}
        jobs = {key: _Jobs(rule, trades, found[key], running) for key, rule in rules.items()}
        peer = _Peer(trades, Path(name), found) if "esper" in engines_run else None
        if "job" in engines_run:
            for one in jobs.values():
                one.warm_up()
        for _ in range(runs):  # in turns, so that all see the machine as it is
            for key in rules:
                if "history" in engines_run:
                    found[key].measure()
                if "sql" in engines_run:
                    jobs[key].measure_sql()
                if "job" in engines_run:
                    jobs[key].measure_compiled()
                if peer is not None:
                    peer.measure(key)
        for key in rules:
            _tell(key, jobs[key], found[key], peer)
        if "acb" in found:
            matches = found["acb"].matches
            _print("rules.by_hand.acb", _by_hand(trades, matches, runs), matches, {})


def _tell(key: str, jobs: _Jobs, history_: _History, peer: _Peer | None) -> None:
    """Print a rule's lines: each rate, and what it is of the baselines' that were measured beside it."""
    baselines = {"flink_sql": jobs.sql, "esper": peer.runs[key] if peer is not None else []}
    for engine, runs in baselines.items():
        matches = peer.matches.get(key, 0) if peer is not None and engine == "esper" else history_.matches
        _print(f"rules.{engine}.{key}", runs, matches, {})
    _print(f"rules.flink_compiled.{key}", jobs.compiled, history_.matches, baselines)
    _print(f"rules.history.{key}", history_.in_memory, history_.matches, baselines)
    _print(f"rules.history_parquet.{key}", history_.end_to_end, history_.matches, baselines)


class _History:
    """The compiled matcher alone, over columns in memory and from files."""

    def __init__(self, rule: Rule, trades: int, folder: Path) -> None:
        self._rule, self._trades, self._folder = rule, trades, folder
        self._blocks = list(tape_blocks(trades))
        self.in_memory: list[Steady] = []
        self.end_to_end: list[Steady] = []
        self.matches = self._match(self._blocks)

    def measure(self) -> None:
        """Run once each way."""
        self.in_memory.append(_timed(self._trades, lambda: self._match(self._blocks), self.matches))
        self.end_to_end.append(_timed(self._trades, self._from_files, self.matches))

    def count(self, trades: int, days: int) -> int:
        """Matches over another length of the tape."""
        return self._match(tape_blocks(trades, days))

    def _match(self, blocks: Iterable[EventBlock]) -> int:
        matcher = engines.make_matcher(self._rule)
        matches = 0
        for block in blocks:
            matches += len(matcher.push(block, int(block.trades["ts_event"][-1])))
        return matches + len(matcher.finish())

    def _from_files(self) -> int:
        """As `tickloom rules run --engine compiled --source FOLDER`."""
        blocks = ParquetReader(self._folder).read_events(tapes.VENUE, 0, 2**62, ["trades"], BLOCK_ROWS)
        return len(history.run_compiled([self._rule], blocks)[self._rule.name])


class _Jobs:
    """Both engines in a Flink job."""

    def __init__(self, rule: Rule, trades: int, expected: _History, running: Servers) -> None:
        self._rule, self._trades, self._running = rule, trades, running
        self._short = trades // SHORT
        self._expected = {
            (self._short, 1): expected.count(self._short, 1),
            (trades, 1): expected.matches,
            **{(trades, days): expected.count(trades, days) for days in DAYS},
        }
        self.sql: list[Steady] = []
        self.compiled: list[Steady] = []

    def warm_up(self) -> None:
        """Run the compiled job until the JVM has compiled it."""
        self._running.run_compiled(self._rule, self._trades, DAYS[-1])

    def measure_sql(self) -> None:
        """Run Flink SQL over both of its tapes."""
        short, day = (self._short, 1), (self._trades, 1)
        self.sql.append(self._between(self._running.run_sql, short, day))

    def measure_compiled(self) -> None:
        """Run the compiled job over both of its tapes."""
        self.compiled.append(self._between(self._running.run_compiled, *((self._trades, n) for n in DAYS)))

    def _between(self, run: Callable[[Rule, int, int], Spent], *tapes_: tuple[int, int]) -> Steady:
        spent = []
        for trades, days in tapes_:
            one = run(self._rule, trades, days)
            expected = self._expected[trades, days]
            if one.matches != expected:
                raise AssertionError(f"{self._rule.name}: {one.matches} matches, not {expected}")
            spent.append(one)
        return Steady.between(*spent)


class _Peer:
    """Esper, if it can run here."""

    def __init__(self, trades: int, folder: Path, expected: Mapping[str, _History]) -> None:
        self._esper = Esper(trades, folder / "esper")
        self._expected = expected
        self.runs: dict[str, list[Steady]] = {key: [] for key in expected}
        self.matches: dict[str, int] = {}
        if self._esper.why_not:
            print(
                json.dumps({"metric": "rules.esper", "value": None, "why": self._esper.why_not}), flush=True
            )

    def measure(self, key: str) -> None:
        """Run a rule."""
        if self._esper.why_not:
            return
        steady, matches = self._esper.measure(key)
        if key != "acb" and matches != self._expected[key].matches:
            raise AssertionError(f"{key}: Esper has {matches} matches, not {self._expected[key].matches}")
        self.runs[key].append(steady)
        self.matches[key] = matches


def _by_hand(trades: int, expected: int, runs: int) -> list[Steady]:
    """The kernel that was written for one rule."""
    tape = tapes.make_tape(trades)
    columns = (np.ascontiguousarray(tape["symbol"]), tape["price"] / 1e9, tape["ts_event"] // 1_000_000)

    def count() -> int:
        return int(tapes.acb_by_hand(*columns, tapes.SYMBOLS))

    count()
    return [_timed(trades, count, expected) for _ in range(runs)]


def _timed(trades: int, work: Callable[[], int], expected: int) -> Steady:
    began, cpu = time.perf_counter(), time.process_time()
    matches = work()
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    if matches != expected:
        raise AssertionError(f"{matches} matches, not {expected}")
    return Steady(trades / cpu_s, trades / seconds, 0.0, cpu_s)


def _print(metric: str, runs: list[Steady], matches: int, baselines: Mapping[str, list[Steady]]) -> None:
    """A metric's line, with its ratio to each baseline that ran; nothing where it did not run itself."""
    if not runs:
        return
    value = statistics.median(one.per_core for one in runs)
    line: dict[str, object] = {
        "metric": metric,
        "value": round(value),
        "unit": "trades/s a core",
        "per_second": round(statistics.median(one.per_second for one in runs)),
        "startup_s": round(statistics.median(one.startup_s for one in runs), 1),
        "cpu_s": round(statistics.median(one.cpu_s for one in runs), 2),
        "jit_s": round(statistics.median(one.jit_s for one in runs), 2),
        "matches": matches,
        "runs": len(runs),
    }
    # turn by turn: what the machine is slow at for a minute, it is slow at for both
    ratios = {
        name: statistics.median(one.per_core / other.per_core for one, other in zip(runs, them, strict=True))
        for name, them in baselines.items()
        if them
    }
    if "flink_sql" in ratios:
        line |= {"baseline": "flink_sql", "ratio": round(ratios["flink_sql"], 1)}
    if "esper" in ratios:
        line["ratio_to_esper"] = round(ratios["esper"], 2)
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
