"""The Kafka broker: one KRaft node that is its own controller, on loopback.

Its storage is formatted before the first start, as KRaft demands (Kafka documentation, "KRaft").
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tickloom.errors import SetupError
from tickloom.settings import KafkaSettings
from tickloom.stack import artifacts
from tickloom.stack.service import PROBE_TIMEOUT_S, HealthCheck, Service, port_accepts

NAME = "kafka"
VERSION = "4.2.1"
CLUSTER_ID = "dGlja2xvb20tbG9jYWwtMQ"  # 16 bytes in base64: any value, but the same at each start
FORMAT_TIMEOUT_S = 60.0
MESSAGE_BYTES_MAX = 4 * 1024 * 1024


def service(settings: KafkaSettings, data_dir: Path) -> Service:
    """A broker with its files in ``data_dir/kafka``."""
    directory = data_dir / "kafka"
    conf = directory / "server.properties"
    argv = (
        *_java(settings.heap_mb, directory),
        "kafka.Kafka",
        str(conf),
    )
    return Service(
        name=NAME,
        argv=argv,
        health=_answers(settings),
        ports={"kafka.port": settings.port, "kafka.controller_port": settings.controller_port},
        prepare=lambda: prepare(settings, directory),
        address=settings.bootstrap,
    )


def prepare(settings: KafkaSettings, directory: Path) -> None:
    """Write the configuration, and format the storage where that was not done yet.

    Raises
    ------
    SetupError
        The storage tool refuses.
    """
    directory.mkdir(parents=True, exist_ok=True)
    conf = directory / "server.properties"
    conf.write_text("".join(f"{key}={value}\n" for key, value in properties(settings, directory).items()))
    (directory / "log4j2.properties").write_text(LOG4J)
    if (directory / "logs" / "meta.properties").exists():
        return
    tool = (*_java(128, directory), "kafka.tools.StorageTool")
    done = subprocess.run(
        [*tool, "format", "-t", CLUSTER_ID, "-c", str(conf), "--ignore-formatted"],
        capture_output=True,
        text=True,
        timeout=FORMAT_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise SetupError(
            f"Kafka's storage in {directory} cannot be formatted: {(done.stderr or done.stdout).strip()}. "
            f"Remove {directory} to begin with an empty broker."
        )


def properties(settings: KafkaSettings, directory: Path) -> dict[str, str | int]:
    """The broker's configuration."""
    listener = f"{settings.host}:{settings.port}"
    controller = f"{settings.host}:{settings.controller_port}"
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{listener},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{listener}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(directory / "logs"),
        # a topic that nobody declared is a typo
        "auto.create.topics.enable": "false",
        "num.partitions": settings.tick_partitions,
        "default.replication.factor": 1,
        "log.retention.hours": settings.retention_hours,
        "message.max.bytes": MESSAGE_BYTES_MAX,
        # internal topics: one replica is all there is, and 50 partitions each only slow the start
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # a client that was killed and comes back must not wait 45 s for its partitions
        "group.min.session.timeout.ms": 1_000,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }


def _java(heap_mb: int, directory: Path) -> tuple[str, ...]:
    classpath = ":".join(str(jar) for jar in artifacts.jars("kafka"))
    return (
        str(artifacts.java()),
        f"-Xms{min(64, heap_mb)}m",
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={directory / 'log4j2.properties'}",
        "-cp",
        classpath,
    )


def _answers(settings: KafkaSettings) -> HealthCheck:
    accepts = port_accepts(settings.host, settings.port)

    def check(attempt: int) -> str:
        if missing := accepts(attempt):  # spares librdkafka's log a line a probe
            return missing
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        client = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})
        try:
            brokers = client.list_topics(timeout=PROBE_TIMEOUT_S).brokers
        except KafkaException as error:
            return f"{settings.bootstrap}: {error}"
        return "" if brokers else f"{settings.bootstrap}: no broker is registered yet"

    return check


LOG4J = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
logger.config.name = org.apache.kafka.common.config
logger.config.level = warn
"""
