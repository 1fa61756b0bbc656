"""Settings of ingesters: what all share, and what each feed adds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from tickloom.settings.base import Port, ProcessSettings

LINE_PATTERN = r"^\d{1,3}(\.\d{1,3}){3}:\d{1,5}(@\d{1,3}(\.\d{1,3}){3})?$"
LINES_MAX = 8  # of one feed
SNAPSHOT_LINES_MAX, DEFINITION_LINES_MAX = 4, 3
Lines = tuple[Annotated[str, Field(pattern=LINE_PATTERN)], ...]
HOST_PORT_PATTERN = r"^[^:\s]+:\d{1,5}$"


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
    questdb_flush_rows_max: int = Field(100_000, ge=1)
    capture_segment_mb: int = Field(256, ge=1)
    session_date: str = Field("", pattern=r"^(\d{4}-\d{2}-\d{2})?$")
    metrics_port: Port = 0
    # how long nothing may come before what is known is stale (0: for ever): of an instrument, of those that
    # are named (stale_ms_of = {"BTC-USDT" = 2000}), of the venue as a whole, its heartbeats included
    stale_ms: int = Field(30_000, ge=0)
    stale_ms_of: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    line_stale_ms: int = Field(5_000, ge=0)
    clock_ms: int = Field(1_000, ge=10)  # while nothing comes, the capture says so often that time goes on


class LineSettings(IngestSettings):
    """What feeds share that come as UDP datagrams, on one line or on several."""

    venue: str
    host: str = "127.0.0.1"  # of the first line (A); with a group, the interface that joins it
    port: Port
    multicast_group: str = ""
    # the same feed on further lines (B, C, ...): each ADDRESS:PORT, or GROUP:PORT@INTERFACE for multicast
    other_lines: Lines = Field((), max_length=LINES_MAX - 1)
    line_silent_ms: int = Field(3_000, ge=1)  # longer than the venue's heartbeats are apart
    gap_timeout_ms: int = Field(1_000, ge=1)  # after it opened, a hole that nobody filled is given up
    receive_buffer_bytes: int = 16 * 1024 * 1024


class ItchSettings(LineSettings):
    """The ITCH 5.0 ingester: MoldUDP64 in, or SoupBinTCP. MoldUDP64 has a heartbeat each second."""

    section: ClassVar[str] = "itch"
    venue: str = "XNAS"
    port: Port = 26400
    rerequest_host: str = "127.0.0.1"
    rerequest_port: Port = 26401
    hold_ms: float = Field(3.0, ge=0)  # a hole may be filled by another line before it is asked for
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


class IexSettings(LineSettings):
    """The IEX DEEP and TOPS ingester, and their files. IEX-TP has a heartbeat each second. Only messages of
    one type and symbol are in order of time: the ten seconds of lateness cover what the exchange's own sample
    of TOPS 1.6 does."""

    section: ClassVar[str] = "iex"
    venue: str = "IEXG"
    port: Port = 26430
    lateness_ms: int = Field(10_000, ge=0)
    # nobody is asked; the lines are milliseconds apart. The decoder itself waits a second of the venue's time
    gap_timeout_ms: int = Field(100, ge=1, le=1_000)
    metrics_port: Port = 9411


class Mdp3Settings(LineSettings):
    """The CME MDP 3.0 ingester, one channel, and its files. Heartbeats are 30 s apart."""

    section: ClassVar[str] = "mdp3"
    venue: str = "XCME"
    channel: str = Field("310", pattern=r"^\d{1,5}$")
    port: Port = 26440
    # the channel's market recovery and instrument replay feeds, listened to while they are needed; each as a
    # further line is written, A and B of the same feed with commas. Empty: lost books stay lost, and
    # instruments that the incremental feed does not define have no names
    snapshot_lines: Lines = Field((), max_length=SNAPSHOT_LINES_MAX)
    definition_lines: Lines = Field((), max_length=DEFINITION_LINES_MAX)
    line_silent_ms: int = Field(65_000, ge=1)
    line_stale_ms: int = Field(65_000, ge=0)
    gap_timeout_ms: int = Field(50, ge=1, le=50)  # nobody is asked; the decoder itself waits 50 ms
    metrics_port: Port = 9412


class DbnSettings(IngestSettings):
    """Databento's live gateway, one dataset, and its files. Records are in the order in which they were
    received: the ten seconds of lateness cover what venues' own times do in it. The key is in a file, or in
    the variable DATABENTO_API_KEY."""

    section: ClassVar[str] = "dbn"
    venue: str = (
        ""  # under which events are kept: any of the registry, such as XNAS, whatever its own feed is
    )
    dataset: str = Field("", pattern=r"^$|^[A-Z0-9]+\.[A-Z0-9]+$")
    schemas: tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]+$")], ...] = ("mbp-1",)
    # empty: the venue's in the registry; ALL_SYMBOLS: every one of the dataset
    symbols: tuple[Annotated[str, Field(pattern=r"^[^,|=\s]+$")], ...] = ()
    stype_in: Literal["raw_symbol", "instrument_id", "parent", "continuous"] = "raw_symbol"
    gateway: str = Field("", pattern=rf"^$|{HOST_PORT_PATTERN}")  # empty: Databento's own of the dataset
    api_key_file: Path | None = None
    # behind a lost connection, or a restart on the same day, ask for what came since; else that is a gap
    replay: bool = True
    snapshot: bool = True  # schema mbo begins with the orders that rest
    heartbeat_s: int = Field(5, ge=5, le=1_800)
    silence_ms_max: int = Field(20_000, ge=100)
    line_stale_ms: int = Field(15_000, ge=0)
    reconnect_ms: int = Field(200, ge=1)
    reconnect_ms_max: int = Field(30_000, ge=1)
    lateness_ms: int = Field(10_000, ge=0)
    metrics_port: Port = 9413


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
    """The Kraken ingester. Its address says what is spoken there, as it does at the venue: websocket API v2
    where the path ends with /v2, v1 elsewhere."""

    section: ClassVar[str] = "kraken"
    venue: str = "KRAKEN"
    instruments: tuple[str, ...] = ("BTC-CHF", "ETH-CHF")
    websocket_url: str = "wss://ws.kraken.com/v2"
    metrics_port: Port = 9406

    @property
    def api_version(self) -> Literal[1, 2]:
        """Of the websocket API at ``websocket_url``."""
        return 2 if urlsplit(self.websocket_url).path.rstrip("/").endswith("/v2") else 1


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


class SyntheticSettings(ProcessSettings):
    """The seeded generator of market sessions. All it makes is synthetic and says so."""

    section: ClassVar[str] = "synthetic"
    seed: int = 20_240_808
    duration_s: float = Field(120.0, gt=0)  # of market time
    speed: float = Field(1.0, gt=0)  # market seconds a real second
    websocket_port: Port = 26410
    rest_port: Port = 26411
