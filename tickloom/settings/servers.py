"""Settings of the local stack and of the servers in it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from tickloom.errors import SettingsError
from tickloom.settings.base import Port, ProcessSettings


class StackSettings(ProcessSettings):
    """The local stack: where its state lives and which services it runs."""

    section: ClassVar[str] = "stack"
    data_dir: Path = Path("var")
    # all but the ingesters that connect to the outside (tickloom/stack/ingesters.py)
    services: tuple[str, ...] = (
        "questdb", "kafka", "flink-jobmanager", "flink-taskmanager", "schema", "exchange", "agent",
        "itch", "spreads", "dagster-webserver", "dagster-daemon",
    )  # fmt: skip
    maven_repository: str = ""  # where set-up takes jars from; empty: Maven Central
    start_timeout_s: float = Field(120.0, gt=0)
    stop_timeout_s: float = Field(20.0, gt=0)
    restart_backoff_ms: int = Field(500, ge=0)
    restart_backoff_ms_max: int = Field(10_000, ge=0)
    memory_mb_min: int = 5_000
    disk_mb_min: int = 3_000


class QuestDbSettings(ProcessSettings):
    """Where QuestDB is, and how large its heap may be when the stack runs it."""

    section: ClassVar[str] = "questdb"
    host: str = "127.0.0.1"
    http_port: Port = 9000
    pg_port: Port = 8812
    health_port: Port = 9003
    user: str = "admin"
    password_file: Path | None = None
    heap_mb: int = Field(512, ge=128)
    log_levels: str = "ADVISORY,CRITICAL,ERROR"  # what the server writes of itself; INFO is a line a query

    def password(self) -> str:
        """The password: the file's first line, else QuestDB's default for a server on loopback."""
        if self.password_file is None:
            return "quest"
        try:
            return self.password_file.read_text().splitlines()[0]
        except (OSError, IndexError) as error:
            raise SettingsError(f"questdb.password_file {self.password_file}: {error}") from None

    @property
    def http_url(self) -> str:
        return f"http://{self.host}:{self.http_port}"

    @property
    def dsn(self) -> str:
        """libpq connection string of the PostgreSQL-wire endpoint."""
        return f"host={self.host} port={self.pg_port} user={self.user} password={self.password()} dbname=qdb"


class KafkaSettings(ProcessSettings):
    """Where the broker is, and how topics are cut."""

    section: ClassVar[str] = "kafka"
    host: str = "127.0.0.1"
    port: Port = 9092
    controller_port: Port = 9093
    # as many as jobs have cores (flink.parallelism): each is a record of its own at every write, and records
    # are what broker, reader and Python are busy with (docs/decisions/0007)
    tick_partitions: int = Field(1, ge=1, le=256)
    replication: int = Field(1, ge=1)
    retention_hours: int = Field(48, ge=1)
    heap_mb: int = 512

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"


class FlinkSettings(ProcessSettings):
    """Where the Flink session cluster is, and how it is cut."""

    section: ClassVar[str] = "flink"
    host: str = "127.0.0.1"
    rest_port: Port = 8081
    rpc_port: Port = 6123
    blob_port: Port = 6124
    taskmanager_rpc_port: Port = 6122
    taskmanager_data_port: Port = 6121
    slots: int = Field(8, ge=1)
    parallelism: int = Field(1, ge=1)
    checkpoint_interval_ms: int = Field(5_000, ge=100)
    watermark_interval_ms: int = Field(2, ge=1)  # no longer than an ingester waits between two writes
    jobmanager_heap_mb: int = Field(512, ge=128)
    taskmanager_heap_mb: int = Field(768, ge=256)
    managed_mb: int = Field(256, ge=64)  # sorters of bounded runs, and Python workers
    network_mb: int = Field(128, ge=64)
    metaspace_mb: int = Field(256, ge=128)
    heartbeat_interval_ms: int = Field(2_000, ge=100)
    heartbeat_timeout_ms: int = Field(15_000, ge=1_000)  # two busy cores can hold a JVM up for seconds
    restart_delay_ms: int = Field(1_000, ge=0)
    # where compiled rules run: a thread of the TaskManager, or Python processes of their own
    python_mode: Literal["auto", "thread", "process"] = "auto"

    @property
    def rest_url(self) -> str:
        return f"http://{self.host}:{self.rest_port}"


class DagsterSettings(ProcessSettings):
    """Dagster's webserver, and the first day that can be loaded."""

    section: ClassVar[str] = "dagster"
    first_day: str = Field("2024-01-01", pattern=r"^\d{4}-\d{2}-\d{2}$")
    host: str = "127.0.0.1"
    port: Port = 3000
