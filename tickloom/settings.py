"""Settings: one class a process or server, read from one TOML file and the environment.

The file is ``tickloom.toml`` in the working directory, or what ``TICKLOOM_CONFIG`` names. Each
class reads its own ``[section]``; a variable ``TICKLOOM_<SECTION>_<KEY>`` overrides the file, and
an argument overrides both. An unknown section or key is refused with the nearest known name: a
typo must not silently leave a default in force.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_origin

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from tickloom.errors import SettingsError

CONFIG_VARIABLE = "TICKLOOM_CONFIG"
CONFIG_DEFAULT = Path("tickloom.toml")

VARIABLE_PREFIX = "TICKLOOM_"
#: Variables that are no settings: the file's name, and what set-up and the stack's guard use.
OTHER_VARIABLES = (CONFIG_VARIABLE, "TICKLOOM_PYTHON", "TICKLOOM_GUARD")

Port = Annotated[int, Field(ge=0, le=65_535)]
LINE_PATTERN = r"^\d{1,3}(\.\d{1,3}){3}:\d{1,5}(@\d{1,3}(\.\d{1,3}){3})?$"
LINES_MAX = 8  # of one feed
HOST_PORT_PATTERN = r"^[^:\s]+:\d{1,5}$"


def _prefix(section: str) -> str:
    """How the variables of a section begin."""
    return f"{VARIABLE_PREFIX}{section.replace('.', '_').upper()}_"


class ProcessSettings(BaseSettings):
    """Base of all settings classes. Use :meth:`load`, which turns every mistake into a SettingsError."""

    section: ClassVar[str] = ""
    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, validate_default=True, enable_decoding=False
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.model_config["env_prefix"] = _prefix(cls.section)

    @field_validator("*", mode="before")
    @classmethod
    def _read_list(cls, value: Any, info: ValidationInfo) -> Any:
        """A list in a variable is JSON, or simply its items with commas between; a table is JSON."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, str) and get_origin(field.annotation) is tuple:
            if value.lstrip().startswith("["):
                return json.loads(value)
            return [item.strip() for item in value.split(",") if item.strip()]
        if isinstance(value, str) and get_origin(field.annotation) is dict:
            return json.loads(value)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        check_variables()
        table = read_config().get(cls.section, {})
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=table)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read file, environment and ``overrides``, in rising order of precedence.

        Raises
        ------
        SettingsError
            Naming the section, the key, what is wrong with it and the nearest known key.
        """
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise SettingsError(_explain(cls, error)) from None

    def environment(self) -> dict[str, str]:
        """These settings as environment variables: how the stack hands them to a child process."""
        prefix = self.model_config["env_prefix"]
        dumped = self.model_dump(mode="json")
        return {
            f"{prefix}{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in dumped.items()
            if value is not None
        }


class StackSettings(ProcessSettings):
    """The local stack: where its state lives and which services it runs."""

    section: ClassVar[str] = "stack"
    data_dir: Path = Path("var")
    # all but binance, which connects to the outside
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


class IngestSettings(ProcessSettings):
    """What every ingester shares; each feed's class adds its own addresses."""

    linger_ms: float = Field(3.0, gt=0)
    # of book deltas, which are many and which no rule waits for: in each write they cost what the ticks cost
    book_linger_ms: float = Field(20.0, ge=0)
    batch_events_max: int = Field(1_000, ge=1)
    heartbeat_ms: int = Field(200, ge=10)
    # how late a partition without ticks of its own may hear of a new watermark: what takes event time over
    # all partitions waits for the slowest
    quiet_ms: int = Field(10, ge=1)
    lateness_ms: int = Field(0, ge=0)
    idle_ms: int = Field(5_000, ge=0)
    questdb_flush_ms: int = Field(200, ge=1)
    questdb_flush_rows_max: int = Field(50_000, ge=1)
    capture_segment_mb: int = Field(256, ge=1)
    session_date: str = Field("", pattern=r"^(\d{4}-\d{2}-\d{2})?$")
    metrics_port: Port = 0
    # how long nothing may come before what is known is stale (0: for ever): of an instrument, of those that
    # are named (stale_ms_of = {"BTC-USDT" = 2000}), of the venue as a whole, its heartbeats included
    stale_ms: int = Field(30_000, ge=0)
    stale_ms_of: dict[str, Annotated[int, Field(ge=0)]] = {}
    line_stale_ms: int = Field(5_000, ge=0)
    clock_ms: int = Field(1_000, ge=10)  # while nothing comes, the capture says so often that time goes on


class ItchSettings(IngestSettings):
    """The ITCH 5.0 ingester: MoldUDP64 in, or SoupBinTCP."""

    section: ClassVar[str] = "itch"
    venue: str = "XNAS"
    host: str = "127.0.0.1"
    port: Port = 26400
    multicast_group: str = ""
    rerequest_host: str = "127.0.0.1"
    rerequest_port: Port = 26401
    # the same feed on further lines (B, C, ...): each ADDRESS:PORT, or GROUP:PORT@INTERFACE for multicast
    other_lines: tuple[Annotated[str, Field(pattern=LINE_PATTERN)], ...] = Field((), max_length=LINES_MAX - 1)
    line_silent_ms: int = Field(3_000, ge=1)  # MoldUDP64 has a heartbeat each second
    hold_ms: float = Field(3.0, ge=0)  # a hole may be filled by another line before it is asked for
    gap_timeout_ms: int = Field(1_000, ge=1)
    receive_buffer_bytes: int = 16 * 1024 * 1024
    transport: Literal["moldudp64", "soupbintcp"] = "moldudp64"
    soup_address: str = Field("127.0.0.1:26402", pattern=HOST_PORT_PATTERN)
    soup_username: str = Field("", max_length=6)
    soup_password: str = Field("", max_length=10)
    soup_session: str = Field("", max_length=10)  # empty: the venue's current one
    # GLIMPSE, with the same user: makes books whole behind a gap that nobody could fill; empty: there is none
    snapshot_address: str = Field("", pattern=rf"^$|{HOST_PORT_PATTERN}")
    reconnect_ms: int = Field(100, ge=1)  # bound of the first delay; doubled with each failure
    reconnect_ms_max: int = Field(10_000, ge=1)
    metrics_port: Port = 9401


class FileFeedSettings(ProcessSettings):
    """What feeds share that are read from files."""

    lateness_ms: int = Field(0, ge=0)
    capture_segment_mb: int = Field(256, ge=1)


class IexSettings(FileFeedSettings):
    """IEX DEEP and TOPS from files. Only messages of one type and symbol are in order of time: the ten
    seconds cover what the exchange's own sample of TOPS 1.6 does."""

    section: ClassVar[str] = "iex"
    lateness_ms: int = Field(10_000, ge=0)


class Mdp3Settings(FileFeedSettings):
    """CME MDP 3.0 from files."""

    section: ClassVar[str] = "mdp3"


class DbnSettings(FileFeedSettings):
    """Databento's files. Records are in the order in which they were received: the ten seconds cover what
    venues' own times do in it."""

    section: ClassVar[str] = "dbn"
    lateness_ms: int = Field(10_000, ge=0)


class WebsocketSettings(IngestSettings):
    """What the websocket ingesters share. Instruments are canonical names of ``venue``."""

    venue: str
    instruments: tuple[str, ...]
    websocket_url: str
    connections: int = Field(1, ge=1, le=64)  # at least; as many more as the venue's limits need
    lateness_ms: int = Field(500, ge=0)
    reconnect_ms: int = Field(200, ge=1)
    reconnect_ms_max: int = Field(30_000, ge=1)
    silence_ms_max: int = Field(20_000, ge=100)
    line_stale_ms: int = Field(
        15_000, ge=0
    )  # longer than ping_ms: a quiet venue says no more than its answers


class BinanceSettings(WebsocketSettings):
    """The Binance-format websocket ingester."""

    section: ClassVar[str] = "binance"
    venue: str = "BINANCE"
    market: Literal["spot", "usdm"] = "spot"
    instruments: tuple[str, ...] = ("BTC-USDT", "ETH-USDT")
    websocket_url: str = "wss://stream.binance.com:9443"
    rest_url: str = "https://api.binance.com"
    metrics_port: Port = 9402


class StreamSettings(WebsocketSettings):
    """The websocket ingesters of venues that stream their own snapshots."""

    ping_ms: int = Field(10_000, ge=10)  # a quiet venue then answers well within silence_ms_max
    snapshot_ms_max: int = Field(5_000, ge=10)  # a book that is not there by then is subscribed anew


class KrakenSettings(StreamSettings):
    """The Kraken ingester, websocket API v1."""

    section: ClassVar[str] = "kraken"
    venue: str = "KRAKEN"
    instruments: tuple[str, ...] = ("BTC-CHF", "ETH-CHF")
    websocket_url: str = "wss://ws.kraken.com"
    metrics_port: Port = 9406


class OkxSettings(StreamSettings):
    """The OKX ingester, API v5."""

    section: ClassVar[str] = "okx"
    venue: str = "OKX"
    instruments: tuple[str, ...] = ("BTC-USDT", "UNI-USD-PERP")
    websocket_url: str = "wss://ws.okx.com:8443/ws/v5/public"
    metrics_port: Port = 9407


class CoinbaseSettings(StreamSettings):
    """The Coinbase Exchange ingester."""

    section: ClassVar[str] = "coinbase"
    venue: str = "COINBASE"
    instruments: tuple[str, ...] = ("CRV-EUR", "SKL-USD")
    websocket_url: str = "wss://ws-feed.exchange.coinbase.com"
    metrics_port: Port = 9408


class BybitSettings(StreamSettings):
    """The Bybit ingester, API v5."""

    section: ClassVar[str] = "bybit"
    venue: str = "BYBIT"
    instruments: tuple[str, ...] = ("ETH-USDT-PERP", "LTC-USDT-PERP")
    websocket_url: str = "wss://stream.bybit.com/v5/public/linear"
    metrics_port: Port = 9409


class NewsSettings(IngestSettings):
    """The news ingester: RSS, Atom and JSON lines, as ``sources_file`` lists them."""

    section: ClassVar[str] = "news"
    venue: str = "NEWS"
    sources_file: Path = Path("strategies/news.toml")
    lexicon_file: Path = Path("strategies/lexicon.toml")
    model: str = ""  # module:Class of another model than the lexicon (ingest/news/model.py)
    model_timeout_ms: int = Field(2_000, ge=1)  # for a batch; then its stories go on without a score
    window_hours: int = Field(72, ge=1)  # a story that was not seen for so long is new when it comes again
    keys_max: int = Field(200_000, ge=1)  # of stories in that window, two a story: some 30 MB
    document_bytes_max: int = Field(4 * 1024 * 1024, ge=1_024)
    line_bytes_max: int = Field(256 * 1024, ge=64)
    timeout_ms: int = Field(20_000, ge=10)  # for a document from first to last byte; for silence in a stream
    retry_ms: int = Field(1_000, ge=1)
    retry_ms_max: int = Field(600_000, ge=1)
    idle_ms: int = Field(250, ge=0)  # stories are rare, and what joins them to prices waits for their time
    metrics_port: Port = 9410


class ExchangeSettings(ProcessSettings):
    """The simulated exchange."""

    section: ClassVar[str] = "exchange"
    host: str = "127.0.0.1"
    port: Port = 26500
    venues: tuple[str, ...] = ("XNAS", "BINANCE")
    latency_ms: float = Field(0.0, ge=0)
    metrics_port: Port = 9404
    # further exchanges, a file of venues and ports each; their names are the files'
    instances: tuple[Path, ...] = ()
    free_ports: bool = False  # of those: take free ones, whatever their files say


class ExecutionSettings(ProcessSettings):
    """The Faust agent that turns signals into orders and holds all risk."""

    section: ClassVar[str] = "execution"
    enabled: bool = False  # live order entry is off until somebody switches it on
    venues: tuple[str, ...] = ("XNAS", "BINANCE")
    limits_file: Path = Path("strategies/limits.toml")
    # where orders go; none: each venue's to the exchange of [exchange]
    destinations_file: Path | None = None
    routing_file: Path = Path("strategies/routing.toml")  # how they are split; of a destinations file
    drop_copy_wait_ms: int = Field(
        500, ge=0
    )  # how long the order's own session may take to report a copied fill
    web_port: Port = 6066
    metrics_port: Port = 9403


class PairsSettings(ProcessSettings):
    """Spreads of pairs: whose are computed, and kept in QuestDB."""

    section: ClassVar[str] = "pairs"
    venues: tuple[str, ...] = ("XNAS",)  # each with frozen calibrations, strategies/pairs/VENUE.toml
    metrics_port: Port = 9405


class DagsterSettings(ProcessSettings):
    """Dagster's webserver, and the first day that can be loaded."""

    section: ClassVar[str] = "dagster"
    first_day: str = Field("2024-01-01", pattern=r"^\d{4}-\d{2}-\d{2}$")
    host: str = "127.0.0.1"
    port: Port = 3000


class SyntheticSettings(ProcessSettings):
    """The seeded generator of market sessions. All it makes is synthetic and says so."""

    section: ClassVar[str] = "synthetic"
    seed: int = 20_240_808
    duration_s: float = Field(120.0, gt=0)  # of market time
    speed: float = Field(1.0, gt=0)  # market seconds a real second
    websocket_port: Port = 26410
    rest_port: Port = 26411


SECTIONS: dict[str, type[ProcessSettings]] = {
    cls.section: cls
    for cls in (
        StackSettings,
        QuestDbSettings,
        KafkaSettings,
        FlinkSettings,
        ItchSettings,
        IexSettings,
        Mdp3Settings,
        DbnSettings,
        BinanceSettings,
        KrakenSettings,
        OkxSettings,
        CoinbaseSettings,
        BybitSettings,
        NewsSettings,
        ExchangeSettings,
        ExecutionSettings,
        PairsSettings,
        DagsterSettings,
        SyntheticSettings,
    )
}


FEEDS = "feeds"
#: Sections ``feeds.NAME`` of the feeds that this process may run; see :mod:`tickloom.feed_settings`.
DECLARED: dict[str, type[ProcessSettings]] = {}


def config_path() -> Path | None:
    """The settings file in force, or None where there is none."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    return CONFIG_DEFAULT if CONFIG_DEFAULT.exists() else None


def read_config() -> dict[str, dict[str, Any]]:
    """Parse the settings file and refuse what no class knows.

    Raises
    ------
    SettingsError
        The file is missing, is no TOML, or has an unknown section or key, be it of another process.
    """
    path = config_path()
    if path is None:
        return {}
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}. Mend {CONFIG_VARIABLE} or create the file.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}. Mend that line.") from None
    known_sections = SECTIONS | DECLARED
    if isinstance(feeds := tables.get(FEEDS), dict):
        del tables[FEEDS]
        if DECLARED:
            tables |= {f"{FEEDS}.{name}": table for name, table in feeds.items()}
    for name, table in tables.items():
        if name not in known_sections:
            raise SettingsError(f"{path}: unknown section [{name}]{_nearest(name, known_sections)}.")
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: {name} is a section: write [{name}] and its keys below.")
        for key in table:
            if key not in (known := known_sections[name].model_fields):
                raise SettingsError(f"{path}: [{name}] unknown key {key!r}{_nearest(key, known)}.")
    return tables


def check_variables() -> None:
    """Refuse an environment variable that looks like a setting and is none.

    Raises
    ------
    SettingsError
        Naming the variable and the nearest one that there is.
    """
    known = {*OTHER_VARIABLES}
    for section, kind in (SECTIONS | DECLARED).items():
        known.update(f"{_prefix(section)}{key.upper()}" for key in kind.model_fields)
    unknown = () if DECLARED else (_prefix(FEEDS),)
    for name in os.environ:
        if name.startswith(VARIABLE_PREFIX) and name not in known and not name.startswith(unknown):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ". Unset it."
            raise SettingsError(f"environment: unknown variable {name}{hint}")


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def _explain(cls: type[ProcessSettings], error: ValidationError) -> str:
    lines, prefix = [], cls.model_config["env_prefix"]
    for finding in error.errors():
        key = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "extra_forbidden":
            lines.append(f"unknown key {key!r}{_nearest(key, cls.model_fields)}")
        else:
            variable = f"{prefix}{key.partition('.')[0]}".upper()
            came_from = f" (from {variable})" if variable in os.environ else ""
            lines.append(f"{key} = {finding['input']!r}{came_from}: {finding['msg']}")
    where = config_path() or "settings"
    return f"{where}: [{cls.section}] " + "; ".join(lines)
