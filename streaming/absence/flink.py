"""An absence rule's parts in, helper views and SELECTs for Flink out: what the kernel is held to.

Flink's MATCH_RECOGNIZE fires on rows only, so each expected row gets a second one, its `due` row, the
interval later. Two patterns follow one another. The first finds the due rows before which nothing that was
expected came, and witnesses enough: the silences that fire when they are due. The second reads those
instead of all due rows, beside the witnesses, one of which may fire a silence that is overdue; it has
the measures. No Python runs in the job.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from streaming import rules
from streaming.absence import measures
from streaming.absence.measures import Fact
from streaming.absence.query import ROWS, Text, rows_query
from streaming.absence.text import Absence, Amount, Relation, amount, parse
from streaming.parameters import Parameter
from streaming.rules import MATCH_TIME, Overrides, Rule
from streaming.sqltext import Token

#: Roles of rows, in the order in which those of one time and seq are looked at.
DUE, WITNESS, EXPECTED, UNLESS = range(4)
_MS = "(EXTRACT(EPOCH FROM event_time) * 1000 + EXTRACT(MILLISECOND FROM event_time))"
# Of one millisecond, due rows come first: an expected row just the interval later came too late.
_ORDER = "event_time, behind, seq, `role`"


@dataclass(slots=True)
class _Set:
    """One set of a rule, on the way to its SELECT. number: makes the names of its views its own."""

    rule: Rule
    absence: Absence
    measures: measures.Measures
    chosen: dict[str, str]
    number: int

    def view(self, name: str) -> str:
        return f"absence_{self.number}_{name}"

    def amount(self, given: Amount) -> int:
        return amount(self.rule, given, self.chosen)

    def interval(self, ms: int) -> str:
        return Parameter("interval", "interval", None, "", 0).literal(f"{ms}ms", self.rule.file)

    @property
    def keys(self) -> str:
        return ", ".join(f"`{name}`" for name in self.absence.partition)

    def spell(self, token: Token) -> str:
        """A token as Flink reads it: parameters are literals."""
        if token.kind != "parameter":
            return token.text
        parameter = self.rule.parameters[token.text[1:]]
        return parameter.literal(self.chosen[parameter.name], self.rule.file)

    def text(self) -> Text:
        return Text(self.spell)


def flink_selects(table_env: Any, rule: Rule, overrides: Overrides | None = None) -> list[str]:
    """Register the helper views of each set; returns its SELECT over them, with the time of the match.

    Raises
    ------
    RuleError
        The text is not understood, or a parameter has no value.
    """
    absence = parse(rule)
    read = measures.read(absence, rule.file)
    found = []
    for number, name in enumerate(rule.sets):
        one = _Set(rule, absence, read, rules.values(rule, name, overrides), number)
        _create_rows(table_env, one)
        _create_due(table_env, one)
        _create_ready(table_env, one)
        found.append(_select(one))
    return found


def _create_rows(table_env: Any, one: _Set) -> None:
    """View `rows`: expected, witness and unless rows side by side, each with its own columns and NULLs."""
    absence, read = one.absence, one.measures
    columns = {f"e_{number}": fact for number, fact in enumerate(read.columns)}
    arguments = {f"w_{number}": fact for number, fact in enumerate(read.arguments)}
    wanted: list[tuple[int, Relation, dict[str, Fact]]] = [(EXPECTED, absence.expect, columns)]
    if absence.witness is not None:
        wanted.append((WITNESS, absence.witness, arguments))
    if absence.unless is not None:
        wanted.append((UNLESS, absence.unless, {}))
    kinds: dict[str, str] = {}
    for role, relation, own in wanted:
        table = table_env.sql_query(_role_query(one, relation, own))
        table_env.create_temporary_view(one.view(f"role_{role}"), table)
        kinds |= _kinds(table, own)
    selects = []
    for role, _, own in wanted:
        padded = [
            f"`{name}`" if name in own else f"CAST(NULL AS {kind}) AS `{name}`"
            for name, kind in kinds.items()
        ]
        items = (one.keys, "event_time", "1 AS behind", "seq", f"{role} AS `role`", "at_ms", *padded)
        selects.append(f"SELECT {', '.join(items)} FROM {one.view(f'role_{role}')}")
    table_env.create_temporary_view(one.view("rows"), table_env.sql_query(" UNION ALL ".join(selects)))


def _role_query(one: _Set, relation: Relation, own: dict[str, Fact]) -> str:
    """Rows of one relation: keys, times, and what the measures ask of them."""
    query = rows_query(one.text(), one.absence, relation, "`")
    query.add(f" SELECT {one.keys}, event_time, seq, {_MS} AS at_ms")
    for name, fact in own.items():
        query.add(", ").write(fact.tokens).add(f" AS `{name}`")
    return str(query.add(f" FROM {ROWS}"))


def _create_due(table_env: Any, one: _Set) -> None:
    """View `due`: each expected row an interval later. Over a DataStream, because SQL has no way to move
    a table's time; its watermark stays, and as due rows lie ahead of it, none is late."""
    from pyflink.table import Schema

    silence_ms = one.amount(one.absence.within)
    query = (
        f"SELECT {one.keys}, seq, at_ms, at_ms + {silence_ms} AS due_ms FROM {one.view(f'role_{EXPECTED}')}"
    )
    stream = table_env.to_data_stream(table_env.sql_query(query))
    schema = Schema.new_builder().column_by_expression("event_time", "TO_TIMESTAMP_LTZ(due_ms, 3)")
    schema = schema.watermark("event_time", "SOURCE_WATERMARK()")
    table_env.create_temporary_view(one.view("due"), table_env.from_data_stream(stream, schema.build()))


def _create_ready(table_env: Any, one: _Set) -> None:
    """View `ready`: `rows`, and of the due rows those that fire when they are due."""
    rows = table_env.from_path(one.view("rows"))
    schema = rows._j_table.getResolvedSchema()
    names = [str(name) for name in schema.getColumnNames()]
    own = names[len(one.absence.partition) + 5 :]
    kinds = _kinds(rows, own)
    nulls = "".join(f", CAST(NULL AS {kinds[name]}) AS `{name}`" for name in own)
    silence_ms, least = one.amount(one.absence.within), one.amount(one.absence.least)
    enough = f" AND COUNT(Q.witnessed) >= {least}" if one.absence.witness is not None else ""
    query = f"""
        WITH waiting AS (
          SELECT {one.keys}, event_time, behind, seq, `role`, at_ms,
            CASE WHEN `role` = {WITNESS} THEN 1 END AS witnessed
          FROM {one.view("rows")}
          UNION ALL
          SELECT {one.keys}, event_time, 0 AS behind, seq, {DUE} AS `role`, at_ms,
            CAST(NULL AS INT) AS witnessed
          FROM {one.view("due")}
        )
        SELECT * FROM {one.view("rows")}
        UNION ALL
        SELECT {one.keys}, {MATCH_TIME} AS event_time, 0 AS behind, seq, {DUE} AS `role`, at_ms{nulls}
        FROM waiting MATCH_RECOGNIZE (
          PARTITION BY {one.keys}
          ORDER BY {_ORDER}
          MEASURES E.seq AS seq, E.at_ms AS at_ms, MATCH_ROWTIME() AS {MATCH_TIME}
          ONE ROW PER MATCH
          AFTER MATCH SKIP PAST LAST ROW
          PATTERN (E Q*? D) WITHIN {one.interval(silence_ms + 1)}
          DEFINE
            E AS E.`role` = {EXPECTED},
            Q AS Q.`role` = {WITNESS} OR (Q.`role` = {DUE} AND NOT (Q.seq = E.seq AND Q.at_ms = E.at_ms)),
            D AS D.`role` = {DUE} AND D.seq = E.seq AND D.at_ms = E.at_ms{enough}
        )
        """
    table_env.create_temporary_view(one.view("ready"), table_env.sql_query(query))


def _select(one: _Set) -> str:
    """The rule's own SELECT, over the pattern that fires once in a silence."""
    absence = one.absence
    query = one.text().add("SELECT ")
    for number, item in enumerate(absence.items):
        query.add(", " if number else "").write(item)
    query.add(f", {MATCH_TIME} FROM {one.view('ready')} MATCH_RECOGNIZE ( PARTITION BY {one.keys}")
    query.add(f" ORDER BY {_ORDER} MEASURES MATCH_ROWTIME() AS {MATCH_TIME}")
    for name, parts in one.measures.parts:
        query.add(",")
        for part in parts:
            if isinstance(part, Fact):
                query.at(part.tokens[0].line).add(f" ({_fact(one, part)})")
            else:
                query.add(" ").write([part])
        query.add(f" AS `{name}`")
    within = f" WITHIN {one.interval(one.amount(absence.until))}" if absence.until else ""
    least, silence_ms = one.amount(absence.least), one.amount(absence.within)
    query.add(
        f" ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (E W*? F){within} DEFINE"
        f" E AS E.`role` = {EXPECTED}, W AS W.`role` = {WITNESS},"
        f" F AS (F.`role` = {DUE} AND F.seq = E.seq AND F.at_ms = E.at_ms) OR (F.`role` = {WITNESS}"
        f" AND F.at_ms >= E.at_ms + {silence_ms} AND COUNT(W.seq) + 1 >= {least})) "
    )
    return str(query.write(absence.tail))


def _fact(one: _Set, fact: Fact) -> str:
    """A fact over the variables E (the expected row), W (witnesses) and F (the last one, or a due row,
    which has NULLs)."""
    if not fact.function:
        return f"E.e_{one.measures.columns.index(fact)}"
    arguments = [known.argument for known in one.measures.arguments]
    w = f"w_{arguments.index(fact.argument)}"
    last = f"F.{w}"
    count = f"(COUNT(W.{w}) + CASE WHEN {last} IS NULL THEN 0 ELSE 1 END)"
    total = (
        f"(CASE WHEN COUNT(W.{w}) = 0 THEN {last} WHEN {last} IS NULL THEN SUM(W.{w}) "
        f"ELSE SUM(W.{w}) + {last} END)"
    )
    return {
        "FIRST": f"CASE WHEN COUNT(W.seq) = 0 THEN {last} ELSE FIRST(W.{w}) END",
        "LAST": f"CASE WHEN F.`role` = {WITNESS} THEN {last} ELSE LAST(W.{w}) END",
        "COUNT": count,
        "SUM": total,
        "AVG": f"CASE WHEN {count} > 0 THEN {total} / {count} END",
        "MIN": f"CASE WHEN {last} IS NULL OR MIN(W.{w}) <= {last} THEN MIN(W.{w}) ELSE {last} END",
        "MAX": f"CASE WHEN {last} IS NULL OR MAX(W.{w}) >= {last} THEN MAX(W.{w}) ELSE {last} END",
    }[fact.function]


def _kinds(table: Any, names: Iterable[str]) -> dict[str, str]:
    """SQL types of columns, without NOT NULL."""
    schema = table._j_table.getResolvedSchema()
    found = {}
    for name in names:
        column = schema.getColumn(name).get()
        found[name] = str(column.getDataType().getLogicalType().copy(True).asSerializableString())
    return found
