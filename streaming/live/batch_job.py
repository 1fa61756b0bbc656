"""A program over whole tick batches in, a running Flink job around ``streaming.live.operator`` out.

    Kafka records, as bytes ─▶ by shard ─▶ the program, in Python ─▶ records on one topic
                                                            └─────▶ the quarantine

Java does not look into a record: the table of the source has its bytes, and where they came from. The
key of a shard is chosen here and looked up by partition in SQL, so no Python runs before the program.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streaming import tables
from streaming.live import java_format
from streaming.live.gateway import flink_errors, table_environment
from tickloom import topics
from tickloom.errors import ServiceError
from tickloom.settings import FlinkSettings, KafkaSettings

RECORDS = "tick_records"
OUTPUTS = "outputs"
#: The key groups into which Flink cuts keyed state; a savepoint can be restored only with the same number.
KEY_GROUPS = 512
WHOLE_KEY = 0
METADATA_TIMEOUT_S = 15.0
# Of records that a process may be behind the others by. A thread takes each as it comes and has no bundles,
# but a timer that asks for them: each millisecond, it took a thirtieth of the job's CPU time.
BUNDLE_RECORDS_MAX = 256
BUNDLE_TIME_MS = {"process": 1, "thread": 1_000}
# What the source asks for at once. A response is one array of the JVM, and one of half a G1 region (1 MiB for
# a heap of up to 2 GiB) is put among the old ones, each in regions of its own.
FETCH_BYTES_MAX = 393_216
# The kernel's default of 64 KiB is emptied in many small reads: a third of the fetcher's time in the kernel.
RECEIVE_BUFFER_BYTES = 1_048_576
SINK_BATCH_BYTES_MAX = 131_072  # to one partition in one request; some 350 signals
# How far partitions of a program that takes all of them may be apart, in the time of their writing.
DRIFT_MAX_MS = 1_000
DRIFT_CHECK_MS = 100


@dataclass(frozen=True, slots=True)
class BatchJob:
    """What is to run.

    Attributes
    ----------
    name : str
        Of the job, as Flink's web UI shows it.
    identity : str
        Whose state it is: a program goes on only from a state of the same identity.
    factory : callable
        Makes a :class:`streaming.live.operator.BatchProgram` in the worker; is pickled.
    sources : sequence of str
        Topics of tick batches, with equal numbers of partitions.
    target : str
        The topic that takes what the program gives.
    source : mapping
        Options of the Kafka source: where it starts, whether it ends.
    whole : bool
        One program takes all partitions, whose records are in order only partition by partition; else
        each partition has a program of its own.
    flink : mapping
        Flink configuration beyond :func:`options`.
    """

    name: str
    identity: str
    factory: Any
    sources: Sequence[str]
    target: str
    source: Mapping[str, str]
    whole: bool = False
    flink: Mapping[str, str] = field(default_factory=dict)


def submit(job: BatchJob, flink: FlinkSettings, kafka: KafkaSettings) -> str:
    """Send a job to the session cluster. Returns its id.

    Raises
    ------
    ServiceError
        A server does not answer, a topic is not there, or Flink refuses the job.
    """
    topics.ensure_topics([job.target, topics.QUARANTINE], kafka)
    partitions = count_partitions(job.sources, kafka)
    with flink_errors(flink, lambda _, reason: ServiceError(f"Flink does not take {job.name}: {reason}")):
        table_env = table_environment(flink, {**options(job, flink), **job.flink})
        table_env.execute_sql(records_ddl(job.sources, kafka, job.source, aligned=job.whole))
        table_env.execute_sql(outputs_ddl([job.target, topics.QUARANTINE], kafka))
        outputs = _outputs(table_env, job, partitions, alone=_parallelism(job, flink) == 1)
        statements = table_env.create_statement_set()
        table_env.create_temporary_view("program", table_env.from_data_stream(outputs))
        statements.add_insert_sql(f"INSERT INTO {OUTPUTS} SELECT `key`, `value`, `topic` FROM program")
        return str(statements.execute().get_job_client().get_job_id())


def options(job: BatchJob, flink: FlinkSettings) -> dict[str, str]:
    """Flink configuration of such a job."""
    mode = python_mode(flink)
    return {
        "pipeline.name": job.name,
        "pipeline.max-parallelism": str(KEY_GROUPS),
        "parallelism.default": str(_parallelism(job, flink)),
        "pipeline.object-reuse": "true",
        "execution.attached": "false",
        "execution.checkpointing.interval": f"{flink.checkpoint_interval_ms} ms",
        # a record is a batch, so there is nothing to gain from waiting for more
        "execution.buffer-timeout.interval": "0 ms",
        "table.local-time-zone": "UTC",
        "python.executable": sys.executable,  # the cluster has the same environment at the same path
        "python.client.executable": sys.executable,
        "python.execution-mode": mode,
        "python.fn-execution.bundle.size": str(BUNDLE_RECORDS_MAX),
        "python.fn-execution.bundle.time": str(BUNDLE_TIME_MS[mode]),
    }


def python_mode(flink: FlinkSettings) -> str:
    """Where the program runs: ``thread`` of the TaskManager where Python can be loaded there.

    A thread costs a record less than a process and waits for no bundle, but needs Python as a shared
    library, which Debian packs apart.
    """
    if flink.python_mode != "auto":
        return flink.python_mode
    from find_libpython import find_libpython

    return "thread" if find_libpython() else "process"


def records_ddl(
    sources: Sequence[str], kafka: KafkaSettings, source: Mapping[str, str], *, aligned: bool = False
) -> str:
    """CREATE TABLE over topics as bytes, with where each record was.

    ``aligned``: a program that takes all partitions must remember what is ahead of the one that is least
    far. Over a backlog, read byte by byte alike, a quiet partition would run hours ahead of a busy one:
    so each waits for the others, by when their records were written. None is ever idle: one that gets
    nothing, not even heartbeats, stops event time anyway, and in Flink 2.3.0 one that is taken for idle
    while it waits may wait for ever (FLINK-40093).
    """
    columns = (
        "`raw` BYTES, `topic` STRING METADATA VIRTUAL, "
        "`partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL"
    )
    alignment: dict[str, str] = {}
    if aligned:
        columns += (
            ", written TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, WATERMARK FOR written AS written"
        )
        alignment = {
            "scan.watermark.alignment.group": RECORDS,
            "scan.watermark.alignment.max-drift": f"{DRIFT_MAX_MS} ms",
            "scan.watermark.alignment.update-interval": f"{DRIFT_CHECK_MS} ms",
            "properties.max.partition.fetch.bytes": str(tables.FETCH_BYTES_MAX),
        }
    with_options = {
        "connector": "kafka",
        "topic": ";".join(sources),
        "properties.bootstrap.servers": kafka.bootstrap,
        "format": "raw",
        **alignment,
        "properties.fetch.max.bytes": str(FETCH_BYTES_MAX),
        "properties.receive.buffer.bytes": str(RECEIVE_BUFFER_BYTES),
        "properties.fetch.max.wait.ms": str(tables.FETCH_WAIT_MS),
        **source,
    }
    return f"CREATE TEMPORARY TABLE {RECORDS} ({columns}) WITH ({tables.with_clause(with_options)})"


def outputs_ddl(targets: Sequence[str], kafka: KafkaSettings) -> str:
    """CREATE TABLE over what the program gives: each row names the topic that it goes to."""
    columns = "`key` BYTES, `value` BYTES, `topic` STRING METADATA"
    with_options = {
        "connector": "kafka",
        "topic": ";".join(targets),
        "properties.bootstrap.servers": kafka.bootstrap,
        "properties.linger.ms": "0",
        # A broker takes one request of a connection at a time. So what comes while it is at one goes together
        # with the next, instead of in five requests that wait behind each other: it takes the producer
        # two fifths less time.
        "properties.max.in.flight.requests.per.connection": "1",
        "properties.batch.size": str(SINK_BATCH_BYTES_MAX),
        "key.format": "raw",
        "key.fields": "key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "sink.delivery-guarantee": "at-least-once",
    }
    return f"CREATE TEMPORARY TABLE {OUTPUTS} ({columns}) WITH ({tables.with_clause(with_options)})"


def count_partitions(sources: Sequence[str], kafka: KafkaSettings) -> int:
    """Partitions of each of the topics.

    Raises
    ------
    ServiceError
        The broker does not answer, a topic is not there, or they differ.
    """
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    try:
        known = admin.list_topics(timeout=METADATA_TIMEOUT_S).topics
    except KafkaException as error:
        raise ServiceError(
            f"Kafka at {kafka.bootstrap} does not answer ({error}). Is it up? See `tickloom status`."
        ) from error
    counts = {name: len(known[name].partitions) if name in known else 0 for name in sources}
    if 0 in counts.values() or len(set(counts.values())) != 1:
        raise ServiceError(f"topics need the same number of partitions, and have: {counts}")
    return next(iter(counts.values()))


def _parallelism(job: BatchJob, flink: FlinkSettings) -> int:
    return 1 if job.whole else flink.parallelism


def _outputs(table_env: Any, job: BatchJob, partitions: int, *, alone: bool) -> Any:
    """The program's DataStream of (key, value, topic). ``alone``: it runs in one subtask."""
    from pyflink.common import Types
    from pyflink.datastream.data_stream import DataStream, KeyedStream
    from pyflink.java_gateway import get_gateway

    from streaming.live.operator import ShardFunction

    jvm = get_gateway().jvm
    binary = Types.PRIMITIVE_ARRAY(Types.BYTE())
    record = Types.ROW([binary, Types.STRING(), Types.INT(), Types.LONG()])
    flat = Types.ROW([Types.INT(), *record.get_field_types()])
    pair = Types.ROW([Types.INT(), record])
    select = f"SELECT {_key(job, partitions)} AS shard, `raw`, `topic`, `partition`, `offset` FROM {RECORDS}"
    rows = table_env.to_append_stream(table_env.sql_query(select), flat)
    _name_source(rows)
    # What DataStream.key_by does, but that its first step, a Python function that makes (key, value) rows
    # of all records, is Java here.
    pairs = rows._j_data_stream.map(java_format.function(jvm, "Pair"), pair.get_java_type_info())
    selector = jvm.KeyByKeySelector()
    key_type = Types.ROW([Types.INT()]).get_java_type_info()
    if alone:
        # All keys are this subtask's, so a record need not be written for an exchange and read from it again:
        # source and program run in one thread. The state is keyed as it is with more subtasks.
        utilities = jvm.org.apache.flink.streaming.api.datastream.DataStreamUtils
        by_key = utilities.reinterpretAsKeyedStream(pairs, selector, key_type)
    else:
        by_key = pairs.keyBy(selector, key_type)
    keyed = KeyedStream(by_key, record, rows)
    function = ShardFunction(job.factory, job.identity, job.target, topics.QUARANTINE, whole=job.whole)
    packed = keyed.process(function, Types.ROW([binary, Types.STRING()])).name("program").uid("program")
    outputs = Types.ROW_NAMED(["key", "value", "topic"], [binary, binary, Types.STRING()])
    unpack = java_format.function(jvm, "Unpack")
    unpacked = packed._j_data_stream.flatMap(unpack, outputs.get_java_type_info())
    return DataStream(unpacked.name("records"))


def _name_source(rows: Any) -> None:
    """Give the table's source a uid: else a savepoint knows it by what is chained to it, which depends on
    parallelism."""
    for step in rows._j_data_stream.getTransformation().getTransitivePredecessors():
        if step.getClass().getSimpleName() == "SourceTransformation":
            step.setUid(RECORDS)


def _key(job: BatchJob, partitions: int) -> str:
    """SQL of a record's key."""
    if job.whole:
        return str(WHOLE_KEY)
    cases = " ".join(f"WHEN {shard} THEN {key}" for shard, key in enumerate(spread_keys(partitions)))
    return f"CASE `partition` {cases} ELSE `partition` END"


def spread_keys(partitions: int) -> list[int]:
    """A key for each partition, such that Flink spreads them evenly over whatever parallelism.

    Flink hashes a key to one of :data:`KEY_GROUPS` and gives each subtask a range of them: partition
    numbers as keys could all fall to one subtask. So each partition takes the first number whose group
    lies in its own part of the groups. This depends on the number of partitions only, not on parallelism.
    """
    from pyflink.java_gateway import get_gateway

    jvm = get_gateway().jvm
    assignment = jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment
    keys: dict[int, int] = {}
    candidate = 0
    while len(keys) < partitions:
        row = jvm.org.apache.flink.types.Row(1)
        row.setField(0, candidate)
        part = int(assignment.assignToKeyGroup(row, KEY_GROUPS)) * partitions // KEY_GROUPS
        keys.setdefault(part, candidate)
        candidate += 1
    return [keys[part] for part in range(partitions)]
