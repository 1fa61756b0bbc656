"""Kafka topics as Flink tables, and the views that rules read. Pure text; ``streaming.live.client`` runs it.

A record of ``ticks.<VENUE>`` is a batch of events (``tickloom.codec``): the columns here, NOT NULL
throughout, are its Avro schema. Its ``watermark`` drives event time, so an empty batch moves it too.
Each view flattens one array of the batch. Columns of a view may be NULL, although most never are:
in MATCH_RECOGNIZE, ``LAST(A.price, 1)`` of a row that is not there is NULL, and where the column
says NOT NULL Flink 2.3 folds ``... IS NULL`` to false and the condition lies in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streaming import derived
from streaming.live.java_format import FORMAT, POISON_COLUMNS
from tickloom import topics
from tickloom.codec import EVENT_FIELDS, HEADER_FIELDS
from tickloom.events import CONDITION_TEXTS, GAP_TEXTS, SIDE_TEXTS, SPREAD_STATE_TEXTS, STATUS_TEXTS
from tickloom.news_codec import NEWS_FIELDS
from tickloom.settings import KafkaSettings
from tickloom.spread_codec import SPREAD_FIELDS

BATCHES = "tick_batches"
NEWS_BATCHES = "news_batches"
EVENTS = "tick_events"
SIGNALS = "signals"
QUARANTINE = "quarantine"
QUARANTINED = "quarantined"  # among the views of EVENTS

FETCH_BYTES_MAX = 128 * 1024
# A fetch that is out holds back what comes meanwhile on a partition that it did not ask for. While ticks come
# it is soon answered; and an idle job asks the broker not too often.
FETCH_WAIT_MS = 20
BACKLOG_S = 3  # a batch older than this when it is read is backlog
BACKLOG_STEP_MS = 10_000  # of event time

_SQL_TYPES = {"long": "BIGINT", "int": "INT", "double": "DOUBLE", "string": "STRING"}
_PRICE_MIN = "-1E18"  # false for NaN, which is "no price on that side", and for NULL

#: Columns of ``signals``, in the order of ``tickloom.events.Signal``.
SIGNAL_COLUMNS: tuple[tuple[str, str], ...] = (
    ("signal_id", "STRING"),
    ("rule", "STRING"),
    ("version", "STRING"),
    ("symbol", "STRING"),
    ("side", "STRING"),
    ("strength", "DOUBLE"),
    ("ref_price", "DOUBLE"),
    ("first_seq", "BIGINT"),
    ("last_seq", "BIGINT"),
    ("venue", "STRING"),
    ("ts_event", "BIGINT"),
    ("ts_signal", "BIGINT"),
)


def _texts(column: str, texts: Sequence[str]) -> str:
    """A code as its text; an unknown code as its number."""
    cases = " ".join(f"WHEN {code} THEN '{text}'" for code, text in enumerate(texts))
    return f"CASE {column} {cases} ELSE CAST({column} AS STRING) END"


def _price(column: str) -> str:
    """NULL for NaN: SQL knows what to do with it."""
    return f"CASE WHEN {column} > {_PRICE_MIN} THEN {column} END"


def _number(column: str) -> str:
    """NULL for NaN, the only number that is not itself a bound of another."""
    return f"CASE WHEN {column} <= 0E0 OR {column} > 0E0 THEN {column} END"


_MID = (
    f"CASE WHEN e.bid_price > {_PRICE_MIN} AND e.ask_price > {_PRICE_MIN} "
    "THEN (e.bid_price + e.ask_price) / 2 END"
)
_HEAD = (
    ("symbol", "STRING", "e.symbol"),
    ("ts_event", "BIGINT", "e.ts_event"),
    ("ts_recv", "BIGINT", "e.ts_recv"),
    ("seq", "BIGINT", "e.seq"),
)
#: View to the batch's array, and its columns: name, type, expression over the event ``e``.
EVENT_VIEWS: dict[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {
    "trades": (
        "trades",
        (
            *_HEAD,
            ("price", "DOUBLE", "e.price"),
            ("size", "DOUBLE", "e.size"),
            ("side", "STRING", _texts("e.side", SIDE_TEXTS)),
            ("condition", "STRING", _texts("e.`condition`", CONDITION_TEXTS)),
            ("venue_id", "BIGINT", "e.venue_id"),
        ),
    ),
    "quotes": (
        "quotes",
        (
            *_HEAD,
            ("bid_price", "DOUBLE", _price("e.bid_price")),
            ("bid_size", "DOUBLE", "e.bid_size"),
            ("ask_price", "DOUBLE", _price("e.ask_price")),
            ("ask_size", "DOUBLE", "e.ask_size"),
            ("mid", "DOUBLE", _MID),
            ("venue_id", "BIGINT", "e.venue_id"),
        ),
    ),
    "statuses": (
        "statuses",
        (*_HEAD, ("status", "STRING", _texts("e.status", STATUS_TEXTS)), ("reason", "STRING", "e.reason")),
    ),
    "gaps": (
        "gaps",
        (
            *_HEAD,
            ("first_missing", "BIGINT", "e.first_missing"),
            ("last_missing", "BIGINT", "e.last_missing"),
            ("reason", "STRING", _texts("e.reason", GAP_TEXTS)),
        ),
    ),
    "spreads": (
        "spreads",
        (
            *_HEAD,
            ("spread", "DOUBLE", "e.spread"),
            ("z", "DOUBLE", "e.z"),
            ("z_rolling", "DOUBLE", _number("e.z_rolling")),
            ("mid_a", "DOUBLE", "e.mid_a"),
            ("mid_b", "DOUBLE", "e.mid_b"),
            ("age_ns", "BIGINT", "e.age_ns"),
            ("calibration", "BIGINT", "e.calibration"),
            ("state", "STRING", _texts("e.`state`", SPREAD_STATE_TEXTS)),
        ),
    ),
    "news": (
        "news",
        (
            *_HEAD,
            ("venue", "STRING", "e.venue"),
            ("score", "DOUBLE", _number("e.score")),
            ("words", "BIGINT", "e.words"),
            ("published", "BIGINT", "e.published"),
            ("source", "STRING", "e.`source`"),
            ("story", "STRING", "e.story"),
            ("headline", "STRING", "e.headline"),
            ("link", "STRING", "e.link"),
            ("model", "STRING", "e.`model`"),
        ),
    ),
}
#: Fields of each array, of whichever topic.
_ARRAYS = {**EVENT_FIELDS, **SPREAD_FIELDS, **NEWS_FIELDS}
#: Views over views, in the order in which they are made. A bar's event_time is its last millisecond.
DERIVED_VIEWS: dict[str, tuple[str, str]] = {
    "bars_1s": (
        "trades",
        """
        SELECT symbol, window_time AS event_time, MAX(ts_event) AS ts_event, MAX(ts_recv) AS ts_recv,
          MAX(seq) AS seq, MIN(seq) AS first_seq,
          FIRST_VALUE(price) AS open_price, MAX(price) AS high_price,
          MIN(price) AS low_price, LAST_VALUE(price) AS close_price,
          SUM(size) AS volume, COUNT(*) AS trade_count
        FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' SECOND))
        WHERE `condition` <> 'broken'
        GROUP BY symbol, window_start, window_end, window_time
        """,
    ),
}
#: Every name that a rule may read from.
VIEWS = (*EVENT_VIEWS, *DERIVED_VIEWS)
#: The rowtime attribute of a view. Flink's has milliseconds: rules order by event_time, seq.
EVENT_TIME = "TO_TIMESTAMP_LTZ(ts_event / 1000000, 3)"


def batches_ddl(
    topic: str,
    kafka: KafkaSettings,
    options: Mapping[str, str],
    views: Sequence[str] = (),
    table: str = BATCHES,
) -> str:
    """CREATE TABLE over a topic of batches that has ``views``; without, of tick batches.

    No event behind a batch is older than its ``watermark``, but it may be as old: Flink's watermark
    says that nothing as old will come, so it stays one millisecond below. A batch that was written a
    while ago is backlog: its watermark is rounded down to :data:`BACKLOG_STEP_MS`, because each costs
    MATCH_RECOGNIZE time for every row that waits behind it.
    """
    columns = [f"`{name}` {_SQL_TYPES[kind]} NOT NULL" for name, kind in HEADER_FIELDS]
    for array, fields in derived.fields(views).items():
        row = ", ".join(f"`{name}` {_SQL_TYPES[kind]} NOT NULL" for name, kind in fields)
        columns.append(f"`{array}` ARRAY<ROW<{row}> NOT NULL> NOT NULL")
    columns.extend(f"`{name}` STRING" for name in POISON_COLUMNS)
    columns.append("`partition` INT NOT NULL METADATA VIRTUAL")
    columns.append("`offset` BIGINT NOT NULL METADATA VIRTUAL")
    columns.append("written TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL")
    columns.append("batch_time AS TO_TIMESTAMP_LTZ(`watermark` / 1000000, 3)")
    columns.append(
        "WATERMARK FOR batch_time AS CASE "
        f"WHEN written > CURRENT_TIMESTAMP - INTERVAL '{BACKLOG_S}' SECOND "
        "THEN batch_time - INTERVAL '0.001' SECOND "
        f"ELSE TO_TIMESTAMP_LTZ(`watermark` / 1000000 / {BACKLOG_STEP_MS} * {BACKLOG_STEP_MS} - 1, 3) END"
    )
    with_options = {
        "connector": "kafka",
        "topic": topic,
        "properties.bootstrap.servers": kafka.bootstrap,
        "format": FORMAT,
        "properties.fetch.max.wait.ms": str(FETCH_WAIT_MS),
        # small fetches, so that no partition is read far ahead of the others; see flatten()
        "properties.max.partition.fetch.bytes": str(FETCH_BYTES_MAX),
        **options,
    }
    return f"CREATE TEMPORARY TABLE {table} ({', '.join(columns)}) WITH ({with_clause(with_options)})"


def event_columns(views: Sequence[str]) -> dict[str, str]:
    """Name and type of every column that one of these views has; same name, same type."""
    return {name: kind for view in views for name, kind, _ in EVENT_VIEWS[view][1]}


def flatten(views: Sequence[str], quarantined_topic: str = "", beside: Sequence[str] = ()) -> str:
    """SELECT of the views' events out of the batches, one row an event.

    Views share the rows' columns, NULL where a view lacks one, and ``view`` says whose a row is: one
    reading of the topic serves them all. With a reading each, one would run ahead of the other, and
    MATCH_RECOGNIZE takes time in the square of the rows that wait for the watermark.

    quarantined_topic: the topic that is read, where its records that are no batches are wanted too: they
    are rows of the view :data:`QUARANTINED`, whose few columns ride in those of events. beside: those of the
    views that are in :data:`NEWS_BATCHES`; event time is then the earlier one of both topics.
    """
    columns = event_columns(views)
    parts = [_quarantined(quarantined_topic, columns)] if quarantined_topic else []
    for view in views:
        array, own = EVENT_VIEWS[view]
        table = NEWS_BATCHES if view in beside else BATCHES
        expressions = {name: expression for name, _, expression in own}
        names = ", ".join(f"`{name}`" for name, _ in _ARRAYS[array])
        selected = ", ".join(
            f"{expressions.get(name, f'CAST(NULL AS {kind})')} AS `{name}`" for name, kind in columns.items()
        )
        parts.append(
            f"SELECT {_text(view)} AS `view`, {selected} "
            f"FROM {table} AS b CROSS JOIN UNNEST(b.`{array}`) AS e({names})"
        )
    return " UNION ALL ".join(parts)


def _quarantined(topic: str, columns: Mapping[str, str]) -> str:
    """SELECT of what is no batch: the record of the quarantine as symbol, its place as ts_recv and seq."""
    kept = {
        "topic": _text(topic),
        "partition": "`partition`",
        "offset": "`offset`",
        "time": _epoch_ns("CURRENT_TIMESTAMP"),
        "error": "poison_error",
        "bytes": "poison",
    }
    record = ", ".join(f"KEY '{name}' VALUE {value}" for name, value in kept.items())
    riding = {
        "symbol": f"JSON_OBJECT({record})",
        "ts_event": "CAST(0 AS BIGINT)",
        "ts_recv": "CAST(`partition` AS BIGINT)",
        "seq": "`offset`",
    }
    selected = ", ".join(
        f"{riding.get(name, f'CAST(NULL AS {kind})')} AS `{name}`" for name, kind in columns.items()
    )
    return f"SELECT {_text(QUARANTINED)} AS `view`, {selected} FROM {BATCHES} WHERE poison IS NOT NULL"


def quarantine_ddl(topic: str, kafka: KafkaSettings) -> str:
    """CREATE TABLE over the topic of what is no batch; its records are ``streaming.live.operator``'s."""
    with_options = {
        "connector": "kafka",
        "topic": topic,
        "properties.bootstrap.servers": kafka.bootstrap,
        "key.format": "raw",
        "key.fields": "key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "sink.delivery-guarantee": "at-least-once",
    }
    columns = "`key` STRING NOT NULL, `value` STRING NOT NULL"
    return f"CREATE TEMPORARY TABLE {QUARANTINE} ({columns}) WITH ({with_clause(with_options)})"


def insert_quarantined(topic: str) -> str:
    """INSERT of the rows of :data:`QUARANTINED`, which came from ``topic``."""
    key = f"CONCAT({_text(topic)}, '/', CAST(ts_recv AS STRING), '/', CAST(seq AS STRING))"
    where = f"`view` = {_text(QUARANTINED)}"
    return f"INSERT INTO {QUARANTINE} SELECT {key}, symbol FROM {EVENTS} WHERE {where}"


def view_query(view: str, venue: str = "") -> str:
    """SELECT of one view out of :data:`EVENTS`. News are of all venues: those of ``venue`` are chosen."""
    names = ", ".join(f"`{name}`" for name, _, _ in EVENT_VIEWS[view][1])
    ours = f" AND venue = {_text(venue)}" if view == derived.NEWS else ""
    return f"SELECT {names}, event_time FROM {EVENTS} WHERE `view` = {_text(view)}{ours}"


def signals_ddl(topic: str, kafka: KafkaSettings) -> str:
    """CREATE TABLE over the topic of signals: JSON, keyed by symbol, at least once.

    The columns are NOT NULL: a signal without a price or side is a defect of its rule, and stops it.
    """
    columns = ", ".join(f"`{name}` {kind} NOT NULL" for name, kind in SIGNAL_COLUMNS)
    with_options = {
        "connector": "kafka",
        "topic": topic,
        "properties.bootstrap.servers": kafka.bootstrap,
        "properties.linger.ms": "0",  # signals are few, and each of them is waited for
        "key.format": "raw",
        "key.fields": "symbol",
        "value.format": "json",
        "sink.delivery-guarantee": "at-least-once",
    }
    return f"CREATE TEMPORARY TABLE {SIGNALS} ({columns}) WITH ({with_clause(with_options)})"


def insert_signals(view: str, rule: str, version: str, venue: str, match_time: str) -> str:
    """INSERT of a rule's matches: identity, provenance and times around the rule's own columns.

    ``ts_event`` is the event time of the match's last row; ``ts_signal`` the TaskManager's clock when
    the row is made. Both in ns, with millisecond resolution.
    """
    identity = ", ".join(
        (_text(rule), _text(version), "symbol", "CAST(first_seq AS STRING)", "CAST(last_seq AS STRING)")
    )
    selected = (
        f"SHA256(CONCAT_WS('|', {identity}))",
        _text(rule),
        _text(version),
        "symbol",
        "side",
        "CAST(strength AS DOUBLE)",
        "CAST(ref_price AS DOUBLE)",
        "first_seq",
        "last_seq",
        _text(venue),
        _epoch_ns(match_time),
        _epoch_ns("CURRENT_TIMESTAMP"),
    )
    return f"INSERT INTO {SIGNALS} SELECT {', '.join(selected)} FROM {view}"


def tick_topic(venue: str) -> str:
    """The topic of a venue's ticks."""
    return topics.ticks(venue)


def _epoch_ns(time: str) -> str:
    """A TIMESTAMP_LTZ(3) as ns since the epoch; the session's time zone must be UTC."""
    return f"(EXTRACT(EPOCH FROM {time}) * 1000 + EXTRACT(MILLISECOND FROM {time})) * 1000000"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def with_clause(options: Mapping[str, str]) -> str:
    """What stands between the brackets of a table's WITH."""
    return ", ".join(f"{_text(key)} = {_text(value)}" for key, value in options.items())
