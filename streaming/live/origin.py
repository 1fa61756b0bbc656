"""Where a live job begins: with what comes, with what is there, where one stopped, or with its state.

A savepoint lies in a folder that says whose state it is, and a job tells the same in its configuration.
State goes to the same rule, version, engine and text only. A changed rule begins where the old one
stopped: at the savepoint's offsets, or those that the rule's consumer group had at its last checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal
from urllib.parse import unquote

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streaming.live.savepoint import offsets
from tickloom.errors import ServiceError
from tickloom.settings import FlinkSettings, KafkaSettings

Start = Literal["earliest", "latest", "stopped"]
Engine = Literal["flink", "compiled"]

OFFSETS_TIMEOUT_S = 15.0
_GROUP = "tickloom.rule."
_EARLIEST = "earliest-offset"
_DEPTH = 4  # folders of an identity: rule, version, engine, text


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose state it is. text: a hash of what the rule says, with all its values."""

    rule: str
    version: str
    engine: str
    text: str

    @property
    def folder(self) -> str:
        """Below the folder of savepoints."""
        return "/".join(asdict(self).values())

    @property
    def parameters(self) -> str:
        """As Flink's ``pipeline.global-job-parameters``."""
        return ",".join(f"{name}:{value}" for name, value in asdict(self).items())

    def __str__(self) -> str:
        return f"{self.rule} v{self.version} ({self.engine}, text {self.text})"


def text_hash(text: str, values: Mapping[str, Mapping[str, str]]) -> str:
    """Eight hex digits of a rule's text and its sets of values."""
    return hashlib.sha256(
        f"{text.strip()}|{sorted((k, sorted(v.items())) for k, v in values.items())}".encode()
    ).hexdigest()[:8]


def of_parameters(parameters: Mapping[str, str]) -> Identity | None:
    """What a job's parameters say; None where it is no job of a rule."""
    names = ("rule", "version", "engine", "text")
    return Identity(*(parameters[name] for name in names)) if all(n in parameters for n in names) else None


def of_savepoint(path: str) -> Identity | None:
    """Whose savepoint it is by its folder; None where ``tickloom rules stop`` has not made it."""
    parts = unquote(path).rstrip("/").split("/")[-_DEPTH - 1 : -1]
    known = len(parts) == _DEPTH and parts[2] in ("flink", "compiled")
    return Identity(*parts) if known else None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a job begins.

    Attributes
    ----------
    source : dict
        Options of the Kafka source.
    savepoint : str
        Path of the state to go on with; "" for none.
    note : str
        What the user should know of it.
    """

    source: dict[str, str]
    savepoint: str = ""
    note: str = ""

    @property
    def complete(self) -> bool:
        """Whether the job sees what was there before it; else only what comes from now on."""
        return bool(self.savepoint) or self.source["scan.startup.mode"] == _EARLIEST


def find(
    wanted: Identity,
    topic: str,
    kafka: KafkaSettings,
    flink: FlinkSettings,
    *,
    start: Start | None = None,
    savepoint: str = "",
) -> Origin:
    """Where a job of ``wanted`` begins.

    Parameters
    ----------
    start : optional
        None: with the savepoint's state, else where the savepoint's job stopped, else with what comes.

    Raises
    ------
    ServiceError
        The savepoint is another rule's, or nobody's; the broker does not answer.
    """
    group = {"properties.group.id": f"{_GROUP}{wanted.rule}"}
    if not savepoint:
        return Origin({**group, **_source(start or "latest", topic, kafka)})
    found = of_savepoint(savepoint)
    if found is None or found.rule != wanted.rule:
        whose = f"of rule {found.rule}" if found else "not one that `tickloom rules stop` made"
        raise ServiceError(
            f"the savepoint {savepoint} is {whose}. Give the path that `tickloom rules stop "
            f"{wanted.rule}` printed, or none."
        )
    if found == wanted and start in (None, "stopped"):
        return Origin({**group, **_stopped()}, savepoint)
    note = (
        f"the state of {found} is not for {wanted}: what was half matched is forgotten, and a pattern is "
        "seen again once all of it lies behind the start"
    )
    if start in (None, "stopped"):
        at = {number: end for (name, number), end in offsets(savepoint, flink).items() if name == topic}
        if at:
            return Origin({**group, **_specific(at)}, note=note)
        note += (
            f". The savepoint cannot be read from here: up to {flink.checkpoint_interval_ms} ms come twice"
        )
    return Origin({**group, **_source(start or "stopped", topic, kafka)}, note=note)


def earliest() -> dict[str, str]:
    """Options of a source that begins with all that the topic still holds."""
    return {"scan.startup.mode": _EARLIEST}


def _source(start: Start, topic: str, kafka: KafkaSettings) -> dict[str, str]:
    if start == "earliest":
        return earliest()
    return _stopped() if start == "stopped" else _ends_now(topic, kafka)


def _stopped() -> dict[str, str]:
    """Begin at the group's offsets; where it has none, or they are gone from the topic, with what is left."""
    return {"scan.startup.mode": "group-offsets", "properties.auto.offset.reset": "earliest"}


def _ends_now(topic: str, kafka: KafkaSettings) -> dict[str, str]:
    """Begin behind what the topic holds at this moment.

    Flink's own latest-offset is looked up when the job starts, and again if it fails before its first
    checkpoint: what came in between would be skipped.
    """
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "tickloom-rules", "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=OFFSETS_TIMEOUT_S).topics[topic].partitions
        ends = {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=OFFSETS_TIMEOUT_S)[
                1
            ]
            for number in partitions
        }
    except KafkaException as error:
        raise ServiceError(
            f"Kafka at {kafka.bootstrap} does not answer ({error}). Is it up? See `tickloom status`."
        ) from error
    finally:
        consumer.close()
    return _specific(ends)


def _specific(at: Mapping[int, int]) -> dict[str, str]:
    listed = ";".join(f"partition:{number},offset:{offset}" for number, offset in sorted(at.items()))
    return {"scan.startup.mode": "specific-offsets", "scan.startup.specific-offsets": listed}
