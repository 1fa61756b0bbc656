"""What rules raised live on a day against a replay of the stored day, by day and venue."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Any

import dagster as dg  # annotations are read at run time: no postponed ones here

from orchestration import results
from orchestration.defs.partitions import DAY_AND_VENUE, day_and_venue
from storage.news import with_news
from storage.reader import QuestDbReader
from storage.signals import read_signals
from streaming import rules
from streaming.live import jobs, runs
from streaming.rules import JOB, Rule
from streaming.stored import proof
from streaming.stored.parity import Report
from tickloom.errors import RuleError
from tickloom.events import EventBlock, Signal
from tickloom.settings import FlinkSettings, KafkaSettings

FOLDER = "parity"


def _row(report: Report, number: int) -> dict[str, Any]:
    """A difference in the words of a check's page."""
    one = report.differences[number]
    reference, replay = (
        f"{signal.first_seq}..{signal.last_seq}" if signal else "-" for signal in (one.reference, one.replay)
    )
    return {
        "rule": f"{report.rule} v{report.version}",
        "symbol": one.symbol,
        "outcome": one.outcome.value,
        "cause": one.cause.value,
        "live": reference,
        "replay": replay,
        "evidence": one.evidence,
        "signal_id": one.signals[0].signal_id,
    }


def _unproven(rule: str, signals: int, reason: str) -> dict[str, Any]:
    """A rule that could not be replayed at all, as a difference."""
    return {
        "rule": rule,
        "symbol": "-",
        "outcome": f"{signals} signals not replayed",
        "cause": reason,
        "live": "-",
        "replay": "-",
        "evidence": "-",
        "signal_id": "-",
    }


def _ran(signals: list[Signal], begin_ns: int, end_ns: int) -> dict[str, list[Signal]]:
    """Rules that ran on the day, each with its signals: also one that raised none."""
    found: dict[str, list[Signal]] = defaultdict(list)
    for run in runs.known():
        if run.from_ns < end_ns and (not run.to_ns or run.to_ns >= begin_ns):
            found[run.rule] = []
    for signal in signals:
        found[signal.rule].append(signal)
    return dict(sorted(found.items()))


def _find(name: str, venue: str) -> Rule | None:
    """The rule's file; None where it is of another venue, or a job, which nothing else can replay."""
    rule = rules.find(name)
    return rule if rule.venue == venue and rule.kind != JOB else None


def _events(rule: Rule, reader: QuestDbReader, from_ns: int, to_ns: int) -> Iterable[EventBlock]:
    """What the rule reads of the stored day."""
    blocks = reader.read_events(rule.venue, from_ns, to_ns, proof.KINDS)
    return with_news(blocks, reader, rule.venue, from_ns, to_ns) if jobs.reads_news(rule) else blocks


def _prove(name: str, venue: str, day: date, signals: list[Signal], reader: QuestDbReader) -> list[Report]:
    """A report for each set of parameters with which the rule ran."""
    rule = _find(name, venue)
    if rule is None:
        return []
    ran = runs.known(name)
    return [
        proof.prove(
            rule,
            day,
            lambda from_ns, to_ns: _events(rule, reader, from_ns, to_ns),
            FlinkSettings.load(),
            KafkaSettings.load(),
            live=live,
            runs=ran,
        )
        for live in proof.identities(rule, signals, ran)
    ]


@dg.asset(
    partitions_def=DAY_AND_VENUE,
    group_name="parity",
    kinds={"questdb"},
    check_specs=[
        dg.AssetCheckSpec(
            "signals_identical",
            asset="rule_parity",
            description="The replay by the other engine has each signal that was raised live, and no other.",
        )
    ],
    description="Signals of every rule that ran on a day and venue against a replay of the stored day, "
    "signal by signal: identical, missing, extra or shifted, each difference with its cause.",
)
def rule_parity(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Replay the day for each rule that ran, and hold it against what was raised."""
    day_text, venue = day_and_venue(context)
    day = date.fromisoformat(day_text)
    begin_ns, end_ns = proof.day_ns(day)
    reports: list[Report] = []
    rows: list[dict[str, Any]] = []
    with QuestDbReader() as reader:
        live = read_signals(reader, venue, begin_ns, end_ns)
        for name, signals in _ran(live, begin_ns, end_ns).items():
            context.log.info("replaying %s over %s", name, day_text)
            try:
                found = _prove(name, venue, day, signals, reader)
            except RuleError as error:  # the file is gone, or is refused now
                if signals:
                    rows.append(_unproven(name, len(signals), str(error)))
                continue
            reports += found
    rows += [_row(report, number) for report in reports for number in range(len(report.differences))]
    content = {"day": day_text, "venue": venue, "rules": [report.as_dict() for report in reports]}
    identical = sum(report.identical for report in reports)
    proven = [f"{report.rule} v{report.version}" for report in reports]
    words = results.sentence(rows) if rows else f"{identical} signals are identical"
    return dg.MaterializeResult(
        metadata={
            "live_signals": len(live),
            "identical": identical,
            "different": len(rows),
            "rules": proven,
            "file": dg.MetadataValue.path(results.keep(FOLDER, f"{day_text}.{venue}.json", content)),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="signals_identical",
                passed=not rows,
                description=words if proven or rows else f"no rule ran on {venue} on {day_text}",
                metadata={"differences": results.table(rows)},
            )
        ],
    )
