"""A rule in, what runs it out, whatever its kind: a matcher in this process, or Flink's SELECTs.

The one place that knows which kind of rule goes to which code. Commands, jobs and history ask here and
know neither ``streaming.compiled`` nor ``streaming.absence``.
"""

from __future__ import annotations

from typing import Any, Protocol

from streaming import rules, sqltext
from streaming.rules import ABSENCE, JOB, Overrides, Rule
from tickloom.errors import RuleError
from tickloom.events import EventBlock, Signal


class RuleMatcher(Protocol):
    """A rule running in this process: events in, signals out, state of its own."""

    @property
    def late_rows(self) -> int:
        """Rows that came when the watermark had passed them, and were not looked at."""
        ...

    def push(self, block: EventBlock, watermark_ns: int) -> list[Signal]:
        """Take events, in any order above the last watermark; nothing older than ``watermark_ns`` comes
        after them. Signals have ts_signal = 0: the caller stamps them."""
        ...

    def finish(self) -> list[Signal]:
        """What the end of a bounded stream decides."""
        ...

    def snapshot(self) -> bytes:
        """The state, bounded."""
        ...

    def restore(self, raw: bytes) -> None:
        """Go on from a snapshot of the same rule, version and parameters."""
        ...


def make_matcher(rule: Rule, overrides: Overrides | None = None) -> RuleMatcher:
    """The compiled engine's matcher of a rule, with no state yet.

    Raises
    ------
    RuleError
        The rule is outside what the compiled engine takes.
    """
    if rule.kind == JOB:
        raise RuleError(rule.file, 0, "a PyFlink job runs on Flink only", "give --engine flink")
    if rule.kind == ABSENCE:
        from streaming.absence import AbsenceMatcher, compile_absence

        return AbsenceMatcher(compile_absence(rule, overrides))
    from streaming.compiled import Matcher, compile_rule

    matcher: RuleMatcher = Matcher(
        compile_rule(rule, {key: str(value) for key, value in (overrides or {}).items()})
    )
    return matcher


def is_compiled(rule: Rule) -> bool:
    """Whether the compiled engine takes a rule."""
    try:
        make_matcher(rule)
    except RuleError:
        return False
    return True


def views_read(rule: Rule) -> list[str]:
    """Names of the harness's views that a rule may read.

    Raises
    ------
    RuleError
        The text is not understood.
    """
    if rule.kind == JOB:
        return list(rule.reads)
    if rule.kind == ABSENCE:
        from streaming.absence import views_read as of_absence

        return of_absence(rule)
    from streaming.authoring.linter import views_used

    return views_used(sqltext.parse(rule.text, rule.file))


def flink_selects(table_env: Any, rule: Rule, overrides: Overrides | None = None) -> list[str]:
    """One SELECT a set, with the column :data:`streaming.rules.MATCH_TIME`, for Flink to run.

    ``table_env`` has the views of :func:`views_read`; a kind that needs helper views registers them there.

    Raises
    ------
    RuleError
        The text is not understood, or a parameter has no value.
    """
    if rule.kind == JOB:
        from streaming import job

        return job.selects(table_env, rules.bind(rule, overrides))
    if rule.kind == ABSENCE:
        from streaming.absence import flink_selects as of_absence

        return of_absence(table_env, rule, overrides)
    return rules.render(rule, overrides)


def proven(rule: Rule, signals: list[Signal], last_ts: int) -> list[Signal]:
    """Of a bounded Flink run's signals, those that its events prove.

    The end of the data moves Flink's watermark to the end of time, and so ends every silence; whether it
    lasted, the events behind the end would have told. last_ts: ns, of the last event.
    """
    if rule.kind != ABSENCE:
        return signals
    return [signal for signal in signals if signal.ts_event <= last_ts]
