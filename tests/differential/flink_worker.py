"""Many rules over a few batches in one bounded Flink job, in a process of its own. Run by ``reference.py``.

Flink runs inside the JVM of PyFlink's gateway: no cluster, no Kafka. The views are made by the code that
live jobs use, over a table of batches that comes from a file; the rules are rendered as for live jobs,
and so is the INSERT around them. Only the ends of the pipe differ.

Protocol: one line a job on standard input, the path of a directory that holds ``job.json``; when
``result.json`` is there, one line "done" on standard output.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from streaming import rules, sqltext, tables
from streaming.authoring.linter import views_used
from streaming.live import client
from streaming.live.gateway import PLANNER_OPTIONS
from streaming.rules import MATCH_TIME
from tickloom.codec import EVENT_FIELDS, HEADER_FIELDS
from tickloom.stack import flink as flink_stack

HEAP_MB = 1_500
_CONFIGURATION = {
    "parallelism.default": "1",
    "table.local-time-zone": "UTC",
    "pipeline.object-reuse": "true",
    "pipeline.auto-watermark-interval": "0 ms",  # one behind every batch, as the batches say
    "restart-strategy.type": "none",
    "rest.bind-port": "0",
    "taskmanager.numberOfTaskSlots": "1",
    "taskmanager.memory.network.min": "256m",
    "taskmanager.memory.network.max": "256m",
    "taskmanager.memory.managed.size": "64m",
}
_SQL_TYPES = {"long": "BIGINT", "int": "INT", "double": "DOUBLE", "string": "STRING"}


def main() -> None:
    """Answer jobs until standard input ends."""
    directory = Path(sys.argv[1])
    os.environ.update(flink_stack.client_environment(HEAP_MB))
    os.environ["FLINK_LOG_DIR"] = str(directory)
    os.environ["FLINK_IDENT_STRING"] = "reference"
    # PyFlink and the JVM may print what they like; the answers have a way of their own
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        job = Path(line.strip())
        (job / "result.json").write_text(json.dumps(_answer(job)))
        answers.write("done\n")
        answers.flush()


def _answer(job: Path) -> dict[str, Any]:
    wanted = json.loads((job / "job.json").read_text())
    try:
        table_env = _environment(wanted["options"])
        views = sorted({view for _, text in wanted["rules"] for view in _views(text)})
        table_env.execute_sql(_batches_ddl(job / "batches"))
        table_env.execute_sql(_signals_ddl(job / "signals"))
        client._create_views(table_env, [view for view in tables.VIEWS if view in views], "XNAS")
    except Exception as error:
        return {"failed": str(error)}
    inserts, refused = _inserts(table_env, wanted["rules"])
    try:
        _run(table_env, inserts)
    except Exception as error:
        # made together, a job does not say which rule is wrong
        reasons = {name: _reason(table_env, statements) for name, statements in inserts.items()}
        refused |= {name: reason for name, reason in reasons.items() if reason}
        made = {name: statements for name, statements in inserts.items() if not reasons[name]}
        if len(made) == len(inserts):
            return {"refused": refused, "failed": _cause(error)}
        try:
            _run(table_env, made)
        except Exception as second:
            return {"refused": refused, "failed": _cause(second)}
    return {"refused": refused, "signals": _signals(job / "signals")}


def _inserts(table_env: Any, named: list[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The INSERTs of each rule, one a set, and the reason for which the planner does not take a rule."""
    inserts: dict[str, list[str]] = {}
    refused: dict[str, str] = {}
    for name, text in named:
        rule = rules.parse(text, Path(f"{name}.sql"))
        statements = []
        try:
            for number, select in enumerate(rules.render(rule)):
                view = f"matches_{name}_{number}"
                table_env.create_temporary_view(view, table_env.sql_query(select))
                statements.append(tables.insert_signals(view, name, rule.version, rule.venue, MATCH_TIME))
        except Exception as error:
            refused[name] = _cause(error)
            continue
        inserts[name] = statements
    return inserts, refused


def _run(table_env: Any, inserts: dict[str, list[str]]) -> None:
    job = table_env.create_statement_set()
    for statements in inserts.values():
        for sql in statements:
            job.add_insert_sql(sql)
    if inserts:
        job.execute().wait()


def _reason(table_env: Any, statements: list[str]) -> str:
    """Why Flink makes no job of a rule's INSERTs; "" if it does."""
    from pyflink.table import ExplainDetail

    try:
        for sql in statements:
            table_env.explain_sql(sql, ExplainDetail.JSON_EXECUTION_PLAN)
    except Exception as error:
        return _cause(error)
    return ""


def _environment(options: dict[str, str]) -> Any:
    from pyflink.common import Configuration
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment

    configuration = Configuration()
    for key, value in {**_CONFIGURATION, **PLANNER_OPTIONS, **options}.items():
        configuration.set_string(key, value)
    return StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment(configuration))


def _views(text: str) -> list[str]:
    return views_used(sqltext.parse(text.partition("\n\n")[2], "rule"))


def _batches_ddl(path: Path) -> str:
    """The table of batches of streaming.tables, out of a file of JSON, with a watermark behind each."""
    columns = [f"`{name}` {_SQL_TYPES[kind]} NOT NULL" for name, kind in HEADER_FIELDS]
    for array, fields in EVENT_FIELDS.items():
        row = ", ".join(f"`{name}` {_SQL_TYPES[kind]} NOT NULL" for name, kind in fields)
        columns.append(f"`{array}` ARRAY<ROW<{row}> NOT NULL> NOT NULL")
    columns.append("batch_time AS TO_TIMESTAMP_LTZ(`watermark` / 1000000, 3)")
    columns.append("WATERMARK FOR batch_time AS batch_time - INTERVAL '0.001' SECOND")
    return (
        f"CREATE TEMPORARY TABLE {tables.BATCHES} ({', '.join(columns)}) "
        f"WITH ('connector' = 'filesystem', 'path' = '{path.as_uri()}', 'format' = 'json')"
    )


def _signals_ddl(path: Path) -> str:
    columns = ", ".join(f"`{name}` {kind}" for name, kind in tables.SIGNAL_COLUMNS)
    return (
        f"CREATE TEMPORARY TABLE {tables.SIGNALS} ({columns}) "
        f"WITH ('connector' = 'filesystem', 'path' = '{path.as_uri()}', 'format' = 'json')"
    )


def _signals(path: Path) -> list[dict[str, Any]]:
    files = sorted(path.glob("*")) if path.exists() else []
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def _cause(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if "Exception" in line or "Error" in line]
    return telling[-1] if telling else str(error)[:500]


if __name__ == "__main__":
    main()
