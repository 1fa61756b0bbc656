"""Rules in, running jobs out: what `tickloom rules submit | stop | status | explain` do.

A rule runs on one of two engines: ``flink``, its text as Flink SQL, or ``compiled``, its matcher inside a
Python operator over whole batches. Where a job begins is :mod:`streaming.live.origin`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from streaming import derived, engines, rules
from streaming.authoring import linter
from streaming.compiled import program as compiled_program
from streaming.compiled.warm import warm_up
from streaming.live import batch_job, client, origin, runs, texts
from streaming.live.batch_job import BatchJob
from streaming.live.client import JobOptions
from streaming.live.cluster import Cluster, RuleJob
from streaming.live.origin import Engine, Identity, Origin, Start
from streaming.live.runs import Run
from streaming.rules import Rule
from streaming.stored import proven
from tickloom import topics
from tickloom.clock import SystemClock
from tickloom.errors import RuleError, ServiceError
from tickloom.settings import FlinkSettings, KafkaSettings, StackSettings

# Without its ingester, news has no time, and prices that wait for it fill the TaskManager. After so long a
# rule goes on without; stories of before that come later are then late, and are left out.
NEWS_IDLE_S = 30
BUFFER_TIMEOUT_MS = 0  # a row is sent on at once; any other value wakes a thread each time, idle or not


@dataclass(frozen=True, slots=True)
class Submitted:
    """A rule that now runs. version: with its overrides (:func:`streaming.rules.version_of`). note: what
    became of the state it was to go on with, if it could not."""

    rule: str
    version: str
    job_id: str
    engine: Engine = "flink"
    note: str = ""


def submit(
    wanted: Sequence[Rule],
    flink: FlinkSettings,
    kafka: KafkaSettings,
    *,
    engine: Engine | None = None,
    start: Start | None = None,
    overrides: Mapping[str, str] | None = None,
    replace: bool = False,
    savepoint: str = "",
    signal_topic: str = topics.SIGNALS,
) -> Iterator[Submitted]:
    """Run each rule as a job of its own; yields each one when all its tasks run.

    Parameters
    ----------
    engine : {"flink", "compiled"}, optional
        None: compiled where its signals have been proven to be Flink's, else flink.
    start : {"earliest", "latest", "stopped"}, optional
        Where in the topic to begin: with all that it still holds, with what comes from now on, or where
        the rule's last job stopped. None: go on from the savepoint or the job that is replaced, if there
        is one, else with what comes.
    replace : bool
        Stop a job of the same rule first, and go on where it stopped; else it is an error that one runs.
    savepoint : str
        Go on from this savepoint, which :func:`stop` gave; one rule only.

    Raises
    ------
    RuleError
        The linter, Flink or the compiled engine refuses a rule. All rules pass the linter before the
        first is submitted.
    ServiceError
        A server does not answer, a rule already runs, or no slot is free.
    """
    wanted = [rules.bind(rule, overrides) for rule in wanted]
    for rule in wanted:
        linter.check(rule)
    chosen = [engine or default_engine(rule) for rule in wanted]
    programs = [
        _program(rule, kafka, signal_topic) if which == "compiled" else None
        for rule, which in zip(wanted, chosen, strict=True)
    ]
    cluster = Cluster(flink)
    savepoints = [savepoint or make_room(cluster, rule.name, replace) for rule in wanted]
    require_slots(cluster, flink, len(wanted))
    needed = {source_topic(rule) for rule in wanted}
    needed.update(topics.NEWS for rule in wanted if reads_news(rule))
    topics.ensure_topics([*needed, signal_topic, topics.QUARANTINE], kafka)
    submitted = []
    for rule, which, program, path in zip(wanted, chosen, programs, savepoints, strict=True):
        identity = identity_of(rule, which)
        begin = origin.find(identity, source_topic(rule), kafka, flink, start=start, savepoint=path)
        texts.keep(StackSettings.load().data_dir, rule, SystemClock().now_ns())
        if program is None:
            news = None
            if reads_news(rule):
                news = origin.find(identity, topics.NEWS, kafka, flink, start=start, savepoint=path).source
            options = live_options(rule, flink, begin, signal_topic, news)
            job_id = client.submit(rule, options, flink, kafka)
        else:
            job_id = batch_job.submit(_batch_job(identity, program, begin), flink, kafka)
        runs.submitted(
            Run(
                rule.name,
                rule.version,
                which,
                job_id,
                SystemClock().now_ns(),
                {key: str(value) for key, value in (overrides or {}).items()},
                complete=begin.complete,
            )
        )
        submitted.append(Submitted(rule.name, rule.version, job_id, which, begin.note))
    for one in submitted:
        cluster.wait_running(one.job_id)
        yield one


def default_engine(rule: Rule) -> Engine:
    """The engine of a bound rule whose user named none."""
    if reads_news(rule):
        return "flink"
    return "compiled" if proven.is_proven(identity_of(rule, "compiled")) else "flink"


def identity_of(rule: Rule, engine: Engine) -> Identity:
    """Whose state a job of a bound rule has."""
    return Identity(rule.name, rule.version, engine, origin.text_hash(rule.text, rule.sets))


def explain(
    rule: Rule, flink: FlinkSettings, kafka: KafkaSettings, overrides: Mapping[str, str] | None = None
) -> str:
    """Flink's plan of a rule; needs no server.

    Raises
    ------
    RuleError
        The linter or Flink refuses it.
    """
    rule = rules.bind(rule, overrides)
    linter.check(rule)
    begin = origin.earliest()
    options = JobOptions(source_topic(rule), topics.SIGNALS, begin, _common(rule, flink), news_source=begin)
    return client.explain(rule, options, flink, kafka)


def stop(name: str, flink: FlinkSettings, *, savepoint: bool = True) -> list[str]:
    """Stop every job of a rule. Returns the savepoints' paths; none without ``savepoint``.

    Raises
    ------
    ServiceError
        It does not run, or Flink does not stop it.
    """
    cluster = Cluster(flink)
    running = cluster.running(name)
    if not running:
        known = ", ".join(job.rule for job in cluster.rule_jobs()) or "none"
        raise ServiceError(f"rule {name} does not run. Running are: {known}.")
    paths = [_stop(cluster, job, savepoint) for job in running]
    return [path for path in paths if path]


def live_options(
    rule: Rule,
    flink: FlinkSettings,
    begin: Origin,
    signal_topic: str,
    news_source: Mapping[str, str] | None = None,
) -> JobOptions:
    """A job over the live stream: checkpointed, without an end, with frequent watermarks.

    By a timer, and not with each batch: a job that has fallen behind then gets fewer of them for the rows
    that it has to catch up with, and they are what costs MATCH_RECOGNIZE its time.
    """
    configuration = {
        **_common(rule, flink),
        "pipeline.global-job-parameters": identity_of(rule, "flink").parameters,
        "execution.checkpointing.interval": f"{flink.checkpoint_interval_ms} ms",
        "pipeline.auto-watermark-interval": f"{flink.watermark_interval_ms} ms",
        "execution.buffer-timeout.interval": f"{BUFFER_TIMEOUT_MS} ms",
    }
    if begin.savepoint:
        configuration["execution.state-recovery.path"] = begin.savepoint
    news = {**(news_source or {}), "scan.watermark.idle-timeout": f"{NEWS_IDLE_S} s"}
    return JobOptions(
        source_topic(rule), signal_topic, begin.source, configuration, quarantine=True, news_source=news
    )


def source_topic(rule: Rule) -> str:
    """The topic that a rule reads."""
    return derived.source_topic(rule.venue, engines.views_read(rule))


def reads_news(rule: Rule) -> bool:
    """Whether a rule reads the topic of news, alone or beside its venue's market."""
    return derived.NEWS in engines.views_read(rule)


def _program(rule: Rule, kafka: KafkaSettings, signal_topic: str) -> BatchJob:
    """The job of a compiled rule, but for where it begins. Compiling here says now what it cannot take,
    and leaves the kernel in the cache where the worker finds it."""
    if reads_news(rule):
        raise RuleError(
            rule.file, 0, "a rule over news runs live on Flink only: it has two topics", "give --engine flink"
        )
    warm_up(rule)
    whole = not compiled_program.by_symbol(engines.make_matcher(rule))
    topic = source_topic(rule)
    topics.ensure_topics([topic], kafka)
    partitions = batch_job.count_partitions([topic], kafka) if whole else 0
    return BatchJob(
        name=f"{rule.job_name} (compiled)",
        identity="",
        factory=partial(compiled_program.make_program, rule, partitions),
        sources=[topic],
        target=signal_topic,
        source={},
        whole=whole,
    )


def _batch_job(identity: Identity, program: BatchJob, begin: Origin) -> BatchJob:
    recovery = {"execution.state-recovery.path": begin.savepoint} if begin.savepoint else {}
    return dataclasses.replace(
        program,
        identity=str(identity),
        source=begin.source,
        flink={"pipeline.global-job-parameters": identity.parameters, **recovery},
    )


def make_room(cluster: Cluster, name: str, replace: bool) -> str:
    """Stop what runs under a rule's name. The savepoint to go on from; "" for none.

    Raises
    ------
    ServiceError
        It runs, and is not to be replaced.
    """
    running = cluster.running(name)
    if running and not replace:
        raise ServiceError(
            f"rule {name} already runs as job {running[0].job_id}. "
            f"Stop it (`tickloom rules stop {name}`) or give --replace."
        )
    return "".join([_stop(cluster, job, savepoint=True) for job in running][-1:])


def _stop(cluster: Cluster, job: RuleJob, savepoint: bool) -> str:
    """Stop a job; the path of its savepoint. One that does not run cannot make any."""
    runs.stopped(job.job_id, SystemClock().now_ns())
    if savepoint and job.state == "RUNNING":
        identity = origin.of_parameters(cluster.parameters(job.job_id))
        return cluster.stop(job.job_id, identity.folder if identity else "")
    cluster.cancel(job.job_id)
    return ""


def _common(rule: Rule, flink: FlinkSettings) -> dict[str, str]:
    return {
        "pipeline.name": rule.job_name,
        "parallelism.default": str(flink.parallelism),
        "pipeline.object-reuse": "true",  # else every row is copied between chained operators
        "table.local-time-zone": "UTC",
        "table.exec.sink.not-null-enforcer": "ERROR",
        "execution.attached": "false",
    }


def require_slots(cluster: Cluster, flink: FlinkSettings, jobs: int) -> None:
    """A job without slots would wait minutes for one, and fail then."""
    free, needed = cluster.free_slots(), jobs * flink.parallelism
    if free < needed:
        raise ServiceError(
            f"Flink has {free} free slots; {jobs} rules of parallelism {flink.parallelism} need {needed}. "
            "Stop a rule, or raise flink.slots and start the stack again."
        )
