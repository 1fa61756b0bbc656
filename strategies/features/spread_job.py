"""The features job: the spread program between ``ticks.<VENUE>`` and ``spreads.<VENUE>``, live on Flink."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from strategies.features.spread_program import SpreadProgram
from strategies.pairs import frozen
from strategies.pairs.frozen import PairSet
from streaming.live import batch_job, jobs, origin
from streaming.live.batch_job import BatchJob
from streaming.live.cluster import Cluster
from streaming.live.origin import Identity, Start
from tickloom import codec, topics
from tickloom.clock import NS_PER_S
from tickloom.codec import TickBatch
from tickloom.events import QUOTE_DTYPE, EventBlock, SymbolTable
from tickloom.settings import FlinkSettings, KafkaSettings

#: Raise it with a change of the program after which a job cannot go on from the state of one before.
STATE_FORMAT = "1"
START_TIMEOUT_S = 180.0  # a worker loads Python and Numba, on a machine that may be starting all else too


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job that now runs. note: what became of the state it was to go on with, if it could not."""

    name: str
    calibration: int
    pairs: int
    job_id: str
    note: str


def name_of(venue: str) -> str:
    """Of the job, among those of the rules: `tickloom rules status` and `stop` know it by this."""
    return f"spreads.{venue}"


def submit(
    venue: str,
    flink: FlinkSettings,
    kafka: KafkaSettings,
    *,
    start: Start | None = None,
    replace_running: bool = False,
    savepoint: str = "",
) -> Submitted:
    """Run the features job of a venue, with the calibrations that are frozen now.

    Its state goes on over a recalibration: legs keep their last quotes, and pairs whose hedge ratio did
    not change their rolling statistics (:meth:`strategies.features.spreads.Spreads.restore`).

    Parameters
    ----------
    start, savepoint
        As in :func:`streaming.live.jobs.submit`.
    replace_running : bool
        Stop the venue's job first, and go on where it stopped; else it is an error that one runs.

    Raises
    ------
    CalibrationError
        The venue has no frozen calibrations.
    ServiceError
        A server does not answer, the job already runs, or no slot is free.
    """
    pair_set = frozen.find(venue)
    name, cluster = name_of(venue), Cluster(flink)
    savepoint = savepoint or jobs.make_room(cluster, name, replace_running)
    jobs.require_slots(cluster, flink, 1)
    ticks, spreads = topics.ticks(venue), topics.spreads(venue)
    topics.ensure_topics([ticks, spreads], kafka)
    # equal numbers, since a shard of one is a partition of the other
    partitions = batch_job.count_partitions([ticks, spreads], kafka)
    identity = Identity(name, STATE_FORMAT, "compiled", "spreads")
    begin = origin.find(identity, ticks, kafka, flink, start=start, savepoint=savepoint)
    recovery = {"execution.state-recovery.path": begin.savepoint} if begin.savepoint else {}
    job = replace(
        job_of(pair_set, partitions),
        identity=str(identity),
        source=begin.source,
        flink={"pipeline.global-job-parameters": identity.parameters, **recovery},
    )
    compile_kernels(pair_set)
    job_id = batch_job.submit(job, flink, kafka)
    cluster.wait_running(job_id, START_TIMEOUT_S)
    return Submitted(name, pair_set.version, len(pair_set.pairs), job_id, begin.note)


def compile_kernels(pair_set: PairSet) -> None:
    """Compile here what the worker runs, which then finds it in the cache: two quotes through a program."""
    program = SpreadProgram(pair_set, 1)
    pair = pair_set.pairs[0]
    quotes = np.zeros(2, dtype=QUOTE_DTYPE)
    quotes["symbol"] = (1, 2)
    block = EventBlock(pair_set.venue, "", SymbolTable([pair.leg_a, pair.leg_b]), quotes=quotes)
    program.process(codec.encode(TickBatch(0, 0, 0, NS_PER_S, block)))


def job_of(pair_set: PairSet, partitions: int) -> BatchJob:
    """The job, but for where it begins and whose state it has."""
    return BatchJob(
        name=f"rule: {name_of(pair_set.venue)} v{pair_set.version} (compiled)",
        identity="",
        factory=partial(SpreadProgram, pair_set, partitions),
        sources=[topics.ticks(pair_set.venue)],
        target=topics.spreads(pair_set.venue),
        source={},
        whole=True,  # the legs of a pair may lie on different partitions
    )
