"""``make differential``: thousands of random rules and tapes through Flink and through the compiled matcher.

Jobs of some dozens of rules over a few tapes each: Flink runs one after the other in a process of its own
while others compile and match. Every signal is compared. Of the first cases that differ, a small form is
written to a file, with the rule, the tape and both results; the same seed gives the same cases.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.differential import compare, corpus
from tests.differential.cases import RuleCase
from tests.differential.compare import Difference, difference
from tests.differential.naive import Match
from tests.differential.reference import FlinkReference, Outcome
from tests.differential.shrink import ATTEMPTS_MAX, Case, shrink
from tests.differential.strategies import Group

RULES_OF_JOB = 40
TAPES_OF_GROUP = 8
CASES = 2_240
PROCESSES = 2
SHRUNKEN_MAX = 3


@dataclass(slots=True)
class Totals:
    """What was run and what came of it; report: folder for what differs, attempts: to make it smaller."""

    report: Path
    attempts: int
    cases: int = 0
    signals: int = 0
    matching_cases: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Job:
    """Some rules over one group of tapes; what the compiled matcher makes of each is on its way."""

    group: Group
    rules: list[RuleCase]
    pool: ProcessPoolExecutor
    compiled: list[Future[list[Match] | str]]

    @property
    def texts(self) -> dict[str, str]:
        return {f"r{number}": rule.text(f"r{number}") for number, rule in enumerate(self.rules)}


def main() -> int:
    """Run, report, and say by the exit code whether the engines agree."""
    options = _options()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(3))
    _say(f"seed {seed}: at least {options.cases} cases of rule and tape (again with --seed {seed})")
    begun = time.monotonic()
    totals = Totals(options.report, options.attempts)
    _run(seed, options.cases, totals, begun)
    minutes = (time.monotonic() - begun) / 60
    _say(
        f"{totals.cases} cases in {minutes:.1f} min: {totals.signals} signals in {totals.matching_cases} of "
        f"them, {len(totals.wrong)} rules differ"
    )
    for wrong in totals.wrong:
        _say(wrong)
    return 1 if totals.wrong else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make differential", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="default: another one each time")
    parser.add_argument("--cases", type=int, default=CASES, help=f"default: {CASES}")
    parser.add_argument(
        "--report", type=Path, default=Path("var/differential"), help="folder for what differs"
    )
    parser.add_argument(
        "--attempts", type=int, default=ATTEMPTS_MAX, help="to make a case smaller; default: %(default)s"
    )
    return parser.parse_args()


def _run(seed: int, cases: int, totals: Totals, begun: float) -> None:
    with tempfile.TemporaryDirectory(prefix="differential-") as cache, FlinkReference() as flink:
        # kernels that nobody will need again; the pools' processes, which come later, take it over
        os.environ["XDG_CACHE_HOME"] = cache
        os.environ.pop("NUMBA_CACHE_DIR", None)
        for job in _ahead(_jobs(seed, cases)):
            with job.pool:
                outcome = flink.run(job.texts, corpus.together(corpus.tapes_of(job.group)))
                _judge(job, outcome, totals, flink)
            passed = time.monotonic() - begun
            wrong = len(totals.wrong)
            _say(f"  {totals.cases:6} cases, {totals.signals:7} signals, {wrong} differ, {passed:5.0f} s")


def _jobs(seed: int, cases: int) -> Iterator[Job]:
    """Each with processes of its own: their memory, full of machine code, is given back with them.

    (A pool that replaces its processes after so many tasks may wait for ever on Python 3.11: gh-115634.)
    """
    spawn = multiprocessing.get_context("spawn")
    for number in range(-(-cases // (RULES_OF_JOB * TAPES_OF_GROUP))):
        job_seed = seed * 10_000 + number
        group = corpus.group_of(job_seed, TAPES_OF_GROUP)
        chosen = corpus.rules_of(job_seed, group, RULES_OF_JOB)
        pool = ProcessPoolExecutor(PROCESSES, spawn)
        yield Job(group, chosen, pool, [pool.submit(_compiled, rule, group) for rule in chosen])


def _ahead(jobs: Iterator[Job]) -> Iterator[Job]:
    """One job ahead, so that no process waits for Flink."""
    waiting = next(jobs, None)
    while waiting is not None:
        following = next(jobs, None)
        yield waiting
        waiting = following


def _compiled(rule: RuleCase, group: Group) -> list[Match] | str:
    """In a process of the pool: the signals, or the error."""
    try:
        return compare.by_compiled(rule, corpus.tapes_of(group))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _judge(job: Job, outcome: Outcome, totals: Totals, flink: FlinkReference) -> None:
    tapes = corpus.tapes_of(job.group)
    for number, (rule, future) in enumerate(zip(job.rules, job.compiled, strict=True)):
        name = f"r{number}"
        totals.cases += len(tapes)
        found = future.result()
        refused = outcome.refused.get(name) or outcome.failed.get(name)
        if refused is not None:
            totals.wrong.append(_write(totals, f"Flink does not take it: {refused}", rule, job.group))
            continue
        expected = outcome.signals[name]
        totals.signals += len(expected)
        totals.matching_cases += len({match.symbol.partition(".")[2] for match in expected})
        if isinstance(found, str):
            totals.wrong.append(_write(totals, f"the compiled matcher: {found}", rule, job.group))
        elif different := difference(found, expected):
            totals.wrong.append(_report(Case(rule, job.group), different, totals, flink))


def _report(case: Case, different: Difference, totals: Totals, flink: FlinkReference) -> str:
    if len(totals.wrong) < SHRUNKEN_MAX:
        case = shrink(case, lambda smaller: bool(_difference(smaller, flink)), totals.attempts)
        different = _difference(case, flink) or different
    tapes = corpus.tapes_of(case.group)
    naive = difference(compare.by_naive(case.rule, tapes), _by_flink(case, flink))
    sides = "the naive engine agrees with " + ("neither" if naive else "Flink")
    return _write(totals, f"against Flink:\n{different}\n{sides}", case.rule, case.group)


def _difference(case: Case, flink: FlinkReference) -> Difference:
    found = _compiled(case.rule, case.group)
    if isinstance(found, str):
        return Difference()
    return difference(found, _by_flink(case, flink))


def _by_flink(case: Case, flink: FlinkReference) -> list[Match]:
    batches = corpus.together(corpus.tapes_of(case.group))
    return flink.run({"generated": case.rule.text()}, batches).signals.get("generated", [])


def _write(totals: Totals, what: str, rule: RuleCase, group: Group) -> str:
    totals.report.mkdir(parents=True, exist_ok=True)
    path = totals.report / f"{len(totals.wrong)}.txt"
    tapes = "\n".join(
        f"tape {index} (symbols + {f'.{index}' if index else 'nothing'}):\n"
        + "\n".join(f"  {event}" for event in tape.events)
        for index, tape in enumerate(group.tapes)
        if tape.events
    )
    watermarks = f"watermarks behind the batches, ms: {group.watermarks_ms}"
    path.write_text(f"{what}\n\n{rule.text()}\n{watermarks}\n{tapes}\n\n{rule!r}\n")
    return f"  {path}: {what.splitlines()[0]}"


if __name__ == "__main__":
    sys.exit(main())
