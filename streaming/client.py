"""Rendered rules in, Flink jobs out: the one module that talks to PyFlink, and so starts a JVM.

No Python runs inside a job: PyFlink is used as the client of Flink's Java API. The JVM is started at
first use, serves all later ones of this process, and ends with it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from streaming import rules, sqltext, tables
from streaming.linter import views_used
from streaming.rules import MATCH_TIME, Rule
from tickloom.errors import RuleError, ServiceError, SetupError
from tickloom.settings import FlinkSettings, KafkaSettings, StackSettings

_AT = re.compile(r"line ([1-9]\d*), column")  # inside MATCH_RECOGNIZE Flink may say "From line 0 to line 15"
_CAUSE = re.compile(r"^(?:Caused by: )?(?:[\w$]+\.)+[\w$]*(?:Exception|Error): (.*)$")
_EXECUTION_PLAN = "== Physical Execution Plan =="
_CONNECTION = ("Connection refused", "Could not connect", "Connection reset", "UnknownHost")


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
    """

    tick_topic: str
    signal_topic: str
    source: Mapping[str, str]
    flink: Mapping[str, str]


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
    selects, version = rules.render(rule, overrides), rules.version_of(rule, overrides)
    table_env = _environment(flink, job.flink)
    table_env.execute_sql(tables.batches_ddl(job.tick_topic, kafka, job.source))
    table_env.execute_sql(tables.signals_ddl(job.signal_topic, kafka))
    _create_views(table_env, views_used(sqltext.parse(rule.text, rule.file)))
    statements = table_env.create_statement_set()
    for number, select in enumerate(selects):
        view = f"matches_{number}"
        table_env.create_temporary_view(view, table_env.sql_query(select))
        statements.add_insert_sql(tables.insert_signals(view, rule.name, version, rule.venue, MATCH_TIME))
    return statements


def _create_views(table_env: Any, wanted: Sequence[str]) -> None:
    """Flatten the batches into the wanted views.

    The way over a DataStream, on which no function runs, is what lets the batch's watermark live on
    as the watermark of ``event_time``: SQL alone has no way to change a table's rowtime.
    """
    from pyflink.table import Schema

    needed = set(wanted) | {tables.DERIVED_VIEWS[view][0] for view in wanted if view in tables.DERIVED_VIEWS}
    views = [view for view in tables.EVENT_VIEWS if view in needed]
    stream = table_env.to_data_stream(table_env.sql_query(tables.flatten(views)))
    schema = Schema.new_builder().column("view", "STRING")
    for name, kind in tables.event_columns(views).items():
        schema = schema.column(name, kind)
    schema = schema.column_by_expression("event_time", tables.EVENT_TIME)
    schema = schema.watermark("event_time", "SOURCE_WATERMARK()")
    table_env.create_temporary_view(tables.EVENTS, table_env.from_data_stream(stream, schema.build()))
    for view in views:
        table_env.create_temporary_view(view, table_env.sql_query(tables.view_query(view)))
    for view, (_, query) in tables.DERIVED_VIEWS.items():
        if view in wanted:
            table_env.create_temporary_view(view, table_env.sql_query(query))


def _environment(flink: FlinkSettings, options: Mapping[str, str]) -> Any:
    """A table environment whose jobs go to the session cluster."""
    _prepare_jvm()
    from pyflink.common import Configuration
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.java_gateway import get_gateway
    from pyflink.table import StreamTableEnvironment
    from pyflink.util.java_utils import to_jarray

    configuration = Configuration()
    for key, value in options.items():
        configuration.set_string(key, value)
    jvm = get_gateway().jvm
    # get_execution_environment() is local whatever the configuration says: PyFlink leaves it to `flink run`
    remote = jvm.org.apache.flink.streaming.api.environment.RemoteStreamEnvironment(
        flink.host, flink.rest_port, configuration._j_configuration, to_jarray(jvm.String, [])
    )
    return StreamTableEnvironment.create(StreamExecutionEnvironment(remote))


def _prepare_jvm() -> None:
    """Tell PyFlink which java, which jars, and where its log goes."""
    from tickloom.stack import flink as flink_stack

    os.environ.update(flink_stack.client_environment())
    # it plans a few queries and ends: compiling itself well would take longer than it lives
    os.environ["JVM_ARGS"] += " -XX:TieredStopAtLevel=1"
    log_dir = StackSettings.load().data_dir.absolute() / "log"
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"{log_dir}: {error.strerror}. Set stack.data_dir to where logs may be written."
        ) from None
    os.environ["FLINK_LOG_DIR"] = str(log_dir)  # else it logs into site-packages
    os.environ["FLINK_IDENT_STRING"] = "rules"


@contextmanager
def _flink_errors(rule: Rule, flink: FlinkSettings) -> Iterator[None]:
    """Turn a Java exception into one of ours: its reason, and the line of the rule it points at."""
    from py4j.protocol import Py4JError
    from pyflink.util.exceptions import JavaException

    try:
        yield
    except (Py4JError, JavaException) as error:
        text = str(error)
        if any(sign in text for sign in _CONNECTION):
            raise ServiceError(
                f"Flink at {flink.rest_url} does not answer. Is it up? See `tickloom status`."
            ) from error
        line, reason = _reason(text)
        raise RuleError(
            rule.file,
            line,
            f"Flink: {reason}",
            f"mend that line; `tickloom rules explain {rule.name}` asks Flink again",
        ) from error


def _reason(text: str) -> tuple[int, str]:
    """Line and innermost cause of a Java stack trace."""
    causes = [found[1] for line in text.splitlines() if (found := _CAUSE.match(line.strip()))]
    telling = [cause for cause in causes if cause.strip()]
    reason = telling[-1] if telling else text.splitlines()[0]
    at = next((found for cause in reversed(telling) if (found := _AT.search(cause))), None)
    return (int(at[1]) if at else 0), reason.strip().rstrip(".")
