"""Rendered rules in, Flink SQL jobs out.

No Python runs inside these jobs: PyFlink is used as the client of Flink's Java API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from streaming import derived, engines, rules, sqltext, tables
from streaming.live.gateway import flink_errors, shared_parts, table_environment
from streaming.rules import MATCH_TIME, PATTERN, Rule
from tickloom import topics
from tickloom.errors import RuleError
from tickloom.settings import FlinkSettings, KafkaSettings

_EXECUTION_PLAN = "== Physical Execution Plan =="


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a job reads and runs.

    Attributes
    ----------
    tick_topic, signal_topic : str
    source : mapping
        Options of the Kafka source: where it starts, whether it ends.
    flink : mapping
        Flink configuration of the job.
    quarantine : bool
        Keep records that are no batches, which else are left out.
    news_topic : str
    news_source : mapping
        The topic of news and where it starts, where a rule reads it beside the market.
    """

    tick_topic: str
    signal_topic: str
    source: Mapping[str, str]
    flink: Mapping[str, str]
    quarantine: bool = False
    news_topic: str = topics.NEWS
    news_source: Mapping[str, str] = field(default_factory=dict)


def submit(
    rule: Rule,
    job: JobOptions,
    flink: FlinkSettings,
    kafka: KafkaSettings,
    overrides: Mapping[str, str] | None = None,
) -> str:
    """Send a rule to the session cluster as a job of its own. Returns the job's id.

    Raises
    ------
    RuleError
        Flink does not take the rule.
    ServiceError
        The cluster does not answer.
    """
    with _flink_errors(rule, flink):
        statements = _statements(rule, job, flink, kafka, overrides)
        client = statements.execute().get_job_client()
        return str(client.get_job_id())


def explain(
    rule: Rule,
    job: JobOptions,
    flink: FlinkSettings,
    kafka: KafkaSettings,
    overrides: Mapping[str, str] | None = None,
) -> str:
    """Flink's plan of a rule. No server is asked.

    Raises
    ------
    RuleError
        Flink does not take the rule; with line and reason.
    """
    with _flink_errors(rule, flink):
        from pyflink.table import ExplainDetail

        # asking for the execution plan makes Flink generate the operators' code, which finds what the
        # planner alone does not: functions that MATCH_RECOGNIZE lacks, for one
        statements = _statements(rule, job, flink, kafka, overrides)
        plan = str(statements.explain(ExplainDetail.JSON_EXECUTION_PLAN))
        return plan.partition(_EXECUTION_PLAN)[0].rstrip()


def _statements(
    rule: Rule,
    job: JobOptions,
    flink: FlinkSettings,
    kafka: KafkaSettings,
    overrides: Mapping[str, str] | None,
) -> Any:
    """One INSERT for each set of a rule, in one job."""
    version = rules.version_of(rule, overrides)
    views = engines.views_read(rule)
    table_env = table_environment(flink, job.flink)
    beside = derived.news_beside(views)
    read = [view for view in views if view not in beside]
    table_env.execute_sql(tables.batches_ddl(job.tick_topic, kafka, job.source, read))
    if beside:
        news = tables.batches_ddl(job.news_topic, kafka, job.news_source, beside, tables.NEWS_BATCHES)
        table_env.execute_sql(news)
    table_env.execute_sql(tables.signals_ddl(job.signal_topic, kafka))
    _create_views(table_env, views, rule.venue, job.tick_topic if job.quarantine else "")
    statements = table_env.create_statement_set()
    if job.quarantine:
        table_env.execute_sql(tables.quarantine_ddl(topics.QUARANTINE, kafka))
        statements.add_insert_sql(tables.insert_quarantined(job.tick_topic))
    for number, select in enumerate(engines.flink_selects(table_env, rule, overrides)):
        view, matches = f"matches_{number}", table_env.sql_query(select)
        _check_numbers(rule, matches)
        table_env.create_temporary_view(view, matches)
        statements.add_insert_sql(tables.insert_signals(view, rule.name, version, rule.venue, MATCH_TIME))
    return statements


def _check_numbers(rule: Rule, matches: Any) -> None:
    """The INSERT casts these columns to DOUBLE: Flink would take text, and fail when a signal comes."""
    from pyflink.table.types import NumericType

    schema = matches.get_resolved_schema()
    for name, kind in zip(schema.get_column_names(), schema.get_column_data_types(), strict=True):
        if name in ("strength", "ref_price") and not isinstance(kind, NumericType):
            raise RuleError(
                rule.file,
                _line_of_output(rule, name),
                f"{name} is {type(kind).__name__.removesuffix('Type').upper()}, no number",
                "give a number, or write CAST(... AS DOUBLE) if the text is one",
            )


def _line_of_output(rule: Rule, name: str) -> int:
    """Where a rule gives an output column; 0 where its kind has no SELECT of the usual form."""
    if rule.kind != PATTERN:
        return 0
    query = sqltext.parse(rule.text, rule.file)
    return next((item[0].line for item in query.select_items if query.output_name(item) == name), 0)


def _create_views(table_env: Any, wanted: Sequence[str], venue: str, quarantined_topic: str = "") -> None:
    """Flatten the batches into the wanted views.

    The way over a DataStream, on which no function runs, is what lets the batch's watermark live on
    as the watermark of ``event_time``: SQL alone has no way to change a table's rowtime.
    """
    from pyflink.table import Schema

    needed = set(wanted) | {tables.DERIVED_VIEWS[view][0] for view in wanted if view in tables.DERIVED_VIEWS}
    views = [view for view in tables.EVENT_VIEWS if view in needed]
    query = table_env.sql_query(tables.flatten(views, quarantined_topic, derived.news_beside(wanted)))
    with shared_parts(table_env):
        stream = table_env.to_data_stream(query)
    schema = Schema.new_builder().column("view", "STRING")
    for name, kind in tables.event_columns(views).items():
        schema = schema.column(name, kind)
    schema = schema.column_by_expression("event_time", tables.EVENT_TIME)
    schema = schema.watermark("event_time", "SOURCE_WATERMARK()")
    table_env.create_temporary_view(tables.EVENTS, table_env.from_data_stream(stream, schema.build()))
    for view in views:
        table_env.create_temporary_view(view, table_env.sql_query(tables.view_query(view, venue)))
    for view, (_, query) in tables.DERIVED_VIEWS.items():
        if view in wanted:
            table_env.create_temporary_view(view, table_env.sql_query(query))


def _flink_errors(rule: Rule, flink: FlinkSettings) -> AbstractContextManager[None]:
    """What Flink does not take is an error of the rule, with the line that it points at."""
    return flink_errors(
        flink,
        lambda line, reason: RuleError(
            rule.file,
            line,
            f"Flink: {reason}",
            f"mend that line; `tickloom rules explain {rule.name}` asks Flink again",
        ),
    )
