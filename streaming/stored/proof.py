"""A rule and a stored day in, the proof out that its signals are those of the other engine, or what differs.

What was raised live is held against a replay by the engine that did not run live; or, without anything
live, one engine over the stored day against the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from streaming import derived, engines, rules, tables
from streaming.live import jobs
from streaming.live.origin import Engine
from streaming.live.runs import Run
from streaming.rules import JOB, Rule
from streaming.stored import causes, history, parity, proven
from streaming.stored.history import Metered, OnTime
from streaming.stored.parity import LIVE, Report
from tickloom.clock import NS_PER_DAY, NS_PER_MS, NS_PER_S
from tickloom.errors import RuleError
from tickloom.events import EventBlock, Signal
from tickloom.settings import SECTIONS, FlinkSettings, IngestSettings, KafkaSettings

# Partial matches that were open at midnight, and what tells at its end whether a silence lasted.
WARM_UP_NS = 3_600 * NS_PER_S
COOL_DOWN_NS = 60 * NS_PER_S
#: Tables whose events are replayed.
KINDS = ("trades", "quotes", "statuses", "gaps")

Read = Callable[[int, int], Iterable[EventBlock]]
"""Stored events of the venue, with from_ns <= ts_event < to_ns, in order."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Parameters with which a rule ran, and the signals that it raised with them."""

    overrides: dict[str, str]
    signals: list[Signal]
    engine: Engine | None  # None: not known


def day_ns(day: date) -> tuple[int, int]:
    """First ns of a UTC day, and of the next."""
    begin = (day - date(1970, 1, 1)).days * NS_PER_DAY
    return begin, begin + NS_PER_DAY


def identities(rule: Rule, live: Sequence[Signal], runs: Sequence[Run]) -> list[Identity]:
    """The parameters with which ``rule`` raised ``live``, each with its signals.

    Signals of a version that the file does not give any more, or whose parameters nobody wrote down,
    come with the most frequent of the others: no replay can be identical to them. A rule that raised
    nothing has the parameters with which it ran last.
    """
    ran = {rule.version: Identity({}, [], None)}
    for run in runs:
        if run.version == rule.version or _gives(rule, run):
            ran[run.version] = Identity(run.overrides, [], run.engine)
    count = Counter(signal.version for signal in live)
    replayable = [version for version, _ in count.most_common() if version in ran]
    if not replayable:
        replayable = [next((run.version for run in reversed(runs) if run.version in ran), rule.version)]
    for signal in live:
        ran[signal.version if signal.version in replayable else replayable[0]].signals.append(signal)
    return [ran[version] for version in replayable]


def _gives(rule: Rule, run: Run) -> bool:
    """Whether the parameters of a run still make its version out of the file."""
    known = {*rule.parameters, *(f"{name}.{key}" for name in rule.sets for key in rule.parameters)}
    return set(run.overrides) <= known and rules.version_of(rule, run.overrides) == run.version


def other_engine(rule: Rule, live: Engine | None) -> Engine:
    """The engine to replay on: not that of the live run, but Flink where the rule is Flink's alone.

    Raises
    ------
    RuleError
        It is a job of its own, which nothing but itself can repeat.
    """
    if rule.kind == JOB:
        raise RuleError(
            rule.file, 0, "a Python job has no second engine", "hold it to its tapes: `tickloom rules test`"
        )
    if live == "compiled":
        return "flink"
    return "compiled" if engines.is_compiled(rule) else "flink"


def prove(
    rule: Rule,
    day: date,
    read: Read,
    flink: FlinkSettings,
    kafka: KafkaSettings,
    *,
    live: Identity | None,
    against: Engine | None = None,
    engine: Engine | None = None,
    overrides: Mapping[str, str] | None = None,
    runs: Sequence[Run] = (),
    on_time: OnTime | None = None,
) -> Report:
    """Replay a day and compare; the result is kept as the rule's proof where two engines were compared.

    Parameters
    ----------
    day : date
        UTC, of ts_event.
    live : Identity or None
        What was raised live; None: compare with a run of ``against``.
    engine : optional
        Of the replay; None: the one that the reference is not of.
    overrides : mapping, optional
        Parameters where there is no ``live``.
    runs : sequence of Run
        When the rule ran live.
    on_time : callable, optional
        Is told the event time that the run has reached, ns; it begins anew with each run over the day.

    Raises
    ------
    RuleError
        The rule is refused, or cannot be replayed.
    ServiceError, FeedError, StorageError
        As :func:`streaming.stored.history.run`.
    """
    begin, end = day_ns(day)
    bound = rules.bind(rule, live.overrides if live else overrides)

    def run(which: Engine) -> tuple[list[Signal], int]:
        blocks = Metered(read(begin - WARM_UP_NS, end + COOL_DOWN_NS), on_time)
        found = history.run_on(which, bound, blocks, flink, kafka, on_time=on_time)
        return [signal for signal in found if begin <= signal.ts_event < end], blocks.events

    reference_engine = live.engine if live else against
    engine = engine or other_engine(bound, reference_engine)
    report = Report(
        rule.name,
        bound.version,
        rule.venue,
        day.isoformat(),
        reference=LIVE if live else str(against),
        replay=engine,
        live_engine=(live.engine or "") if live else "",
    )
    reference = live.signals if live else run(against or "flink")[0]
    replay, report.events = run(engine)
    report.identical, report.differences = parity.compare(reference, replay)
    if report.differences:
        context = causes.Context(
            bound.version, tables_read(bound), lateness_ms(rule.venue) * NS_PER_MS, runs if live else ()
        )
        causes.explain(report.differences, read(begin - WARM_UP_NS, end + COOL_DOWN_NS), context)
    if reference_engine is not None and reference_engine != engine:
        _keep(bound, report)
    return report


def _keep(bound: Rule, report: Report) -> None:
    """Let the outcome decide the rule's default engine. A day without signals proves nothing."""
    identity = jobs.identity_of(bound, "compiled")
    if not report.agrees:
        proven.withdraw(identity)
    elif report.identical:
        proven.record(identity)


def tables_read(rule: Rule) -> tuple[str, ...]:
    """Tables that a rule's rows come from."""
    views = engines.views_read(rule)
    if derived.derived_view(views):
        return ("quotes",)
    return tuple(dict.fromkeys(tables.DERIVED_VIEWS.get(view, (view, ""))[0] for view in views))


def lateness_ms(venue: str) -> int:
    """How far the watermark of a venue's ingester stays behind its latest event."""
    for section in SECTIONS.values():
        if issubclass(section, IngestSettings):
            settings = section.load()
            if getattr(settings, "venue", None) == venue:
                return settings.lateness_ms
    return 0
