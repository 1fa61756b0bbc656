"""The destinations file in; where orders of a market's instruments can go, and by which gateways, out.

A *market* is the venue whose instrument something is: positions and limits are kept by it. A *destination* is
a place that trades a market's instruments, and a *gateway* is the session that leads there. A malformed file
is refused whole, as a limits file is.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from execution.limits.file import findings_of, nearest
from tickloom.clock import NS_PER_MS
from tickloom.errors import DestinationsError, PriceRangeError
from tickloom.prices import parse_nanos
from tickloom.settings import ExchangeSettings, ExecutionSettings, Port

FILE_VERSION = 1
SIMULATED: Final = "simulated"
FIX: Final = "fix"
OUCH: Final = "ouch"
LATENCY_MS_MAX = 60_000
_FIX_ONLY = ("sender", "target", "begin_string", "heartbeat_s", "reset_utc")

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Destination:
    """A place that trades instruments of ``market``.

    maker_fee, taker_fee: nanos of currency a share, below 0: a rebate. ``book``: whose ticks show its
    displayed book (of a dark one, its reference). ``latency_ns``: one way, until own executions tell.
    """

    name: str
    market: str
    gateway: str
    kind: str = "lit"  # or "dark"
    book: str = ""
    maker_fee: int = 0
    taker_fee: int = 0
    latency_ns: int = 1_000_000

    @property
    def dark(self) -> bool:
        return self.kind == "dark"


@dataclass(frozen=True, slots=True)
class Destinations:
    """All of them, by name."""

    by_name: dict[str, Destination] = field(default_factory=dict)

    def of(self, market: str) -> list[Destination]:
        """Those that trade a market's instruments, in the file's order."""
        return [one for one in self.by_name.values() if one.market == market]

    def books(self) -> tuple[str, ...]:
        """The venues whose ticks show the books of all, each once."""
        return tuple(dict.fromkeys(one.book for one in self.by_name.values()))


class GatewaySettings(BaseModel):
    """A session, table ``[gateways.NAME]``.

    ``exchange`` names a simulated exchange of this machine, which tells itself where it listens; else
    ``host`` and ``port`` do. ``login_file``: user name in its first line, password in its second.
    ``drop_copy``: listen to the exchange's drop copy as well. The rest is FIX's: CompIDs of what we send,
    BeginString, HeartBtInt, and when both sides begin again at 1 ("HH:MM", UTC).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["simulated", "fix", "ouch"]
    exchange: str = ""
    host: str = "127.0.0.1"
    port: Port = 0
    login_file: str = ""
    drop_copy: bool = False
    sender: str = "TICKLOOM"
    target: str = ""
    begin_string: Literal["FIX.4.4", "FIX.4.2"] = "FIX.4.4"
    heartbeat_s: Annotated[int, Field(ge=1, le=3_600)] = 30
    reset_utc: Annotated[str, Field(pattern=r"^((?:[01][0-9]|2[0-3]):[0-5][0-9])?$")] = ""

    def login(self) -> tuple[str, str]:
        """User name and password; empty without a file.

        Raises
        ------
        DestinationsError
            It cannot be read, or has not two lines.
        """
        if not self.login_file:
            return "", ""
        try:
            user, password = Path(self.login_file).read_text().splitlines()[:2]
        except (OSError, ValueError) as error:
            raise DestinationsError(
                f"login_file {self.login_file}: {error}; write the user name and the password, a line each"
            ) from None
        return user, password


def _fee(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError('write fees as text, such as "-0.0020"')
    try:
        return parse_nanos(value)
    except PriceRangeError as error:
        raise ValueError(str(error)) from None


_Fee = Annotated[int, BeforeValidator(_fee)]


class _DestinationTable(BaseModel):
    """Table ``[destinations.NAME]``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    market: str
    gateway: str
    kind: Literal["lit", "dark"] = "lit"
    book: str = ""
    maker_fee: _Fee = 0
    taker_fee: _Fee = 0
    latency_ms: Annotated[float, Field(ge=0, le=LATENCY_MS_MAX, strict=False)] = 1.0


@dataclass(frozen=True, slots=True)
class Connectivity:
    """A destinations file in force. ``digest``: first 12 hex digits of the SHA-256 of its text."""

    destinations: Destinations
    gateways: dict[str, GatewaySettings]
    digest: str = ""

    def gateway_of(self, destination: str) -> str:
        """The gateway that leads there; empty where there is no such destination."""
        found = self.destinations.by_name.get(destination)
        return found.gateway if found is not None else ""

    def carried_by(self, gateway: str) -> tuple[str, ...]:
        """The destinations that a gateway leads to, in the file's order."""
        return tuple(one.name for one in self.destinations.by_name.values() if one.gateway == gateway)

    def exchanges(self) -> tuple[str, ...]:
        """The simulated exchanges that it needs, each once."""
        return tuple(dict.fromkeys(one.exchange for one in self.gateways.values() if one.exchange))


def plain(markets: Iterable[str], exchange: ExchangeSettings) -> Connectivity:
    """Without a file: each market is its own only destination, behind one session with the exchange."""
    names = tuple(markets)
    destinations = {name: Destination(name, name, SIMULATED, book=name) for name in names}
    gateway = GatewaySettings(kind=SIMULATED, host=exchange.host, port=exchange.port)
    return Connectivity(Destinations(destinations), {SIMULATED: gateway})


def in_force(execution: ExecutionSettings, exchange: ExchangeSettings) -> Connectivity:
    """What the settings say: their destinations file, or :func:`plain`.

    Raises
    ------
    DestinationsError
        As :func:`load`.
    """
    if execution.destinations_file is None:
        return plain(execution.venues, exchange)
    return load(execution.destinations_file, execution.venues)


def load(path: Path, markets: Iterable[str]) -> Connectivity:
    """Read a destinations file.

    Parameters
    ----------
    markets : iterable of str
        Whose instruments are traded (``execution.venues``): each needs a destination of its own name, where
        goes what is not routed.

    Raises
    ------
    DestinationsError
        Naming the key, what is wrong with it, and the nearest known one. Nothing of it is used.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DestinationsError(f"{path}: {error.strerror}; set execution.destinations_file") from None
    return parse(raw, str(path), markets)


def parse(raw: bytes, source: str, markets: Iterable[str]) -> Connectivity:
    """A destinations file's bytes. ``source`` is its name in messages.

    Raises
    ------
    DestinationsError
        As :func:`load`.
    """
    try:
        tables = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        _refuse(source, f"not TOML: {error}")
    known = ("version", "gateways", "destinations")
    for name in tables:
        if name not in known:
            _refuse(source, f"unknown key {name!r}{nearest(name, known)}")
    if tables.get("version") != FILE_VERSION:
        _refuse(source, f"version = {tables.get('version')!r}; this program reads version {FILE_VERSION}")
    gateways = _tables(source, tables, "gateways", GatewaySettings)
    entries = _tables(source, tables, "destinations", _DestinationTable)
    destinations = {name: _destination(source, name, entry, gateways) for name, entry in entries.items()}
    found = Connectivity(Destinations(destinations), gateways, hashlib.sha256(raw).hexdigest()[:12])
    for name, gateway in gateways.items():
        _check_gateway(source, name, gateway, tables["gateways"][name], found.carried_by(name))
    _check_markets(source, found.destinations, tuple(markets))
    return found


def _destination(
    source: str, name: str, entry: _DestinationTable, gateways: dict[str, GatewaySettings]
) -> Destination:
    where = f"[destinations.{name}]"
    if not (name.isascii() and name.isalnum()):
        _refuse(source, f"{where}: a destination's name has letters and digits only")
    if entry.gateway not in gateways:
        _refuse(source, f"{where} gateway = {entry.gateway!r}{nearest(entry.gateway, gateways)}")
    if entry.kind == "dark" and not entry.book:
        _refuse(source, f"{where}: a dark one shows no book; say in book whose its reference is")
    return Destination(
        name=name,
        market=entry.market,
        gateway=entry.gateway,
        kind=entry.kind,
        book=entry.book or name,
        maker_fee=entry.maker_fee,
        taker_fee=entry.taker_fee,
        latency_ns=round(entry.latency_ms * NS_PER_MS),
    )


def _check_gateway(
    source: str, name: str, gateway: GatewaySettings, given: dict[str, Any], carried: tuple[str, ...]
) -> None:
    where = f"[gateways.{name}]"
    if not carried:
        _refuse(source, f"{where} leads to no destination; name it in one, or take it out")
    if bool(gateway.exchange) == bool(gateway.port):
        _refuse(source, f"{where}: say either exchange (a simulated one of this machine) or host and port")
    one_only = gateway.kind == OUCH or (gateway.kind == FIX and gateway.exchange)
    if one_only and len(carried) > 1:
        _refuse(source, f"{where} leads to {', '.join(carried)}; its port is that of one venue: split it")
    if gateway.kind == FIX and not (gateway.target and gateway.sender):
        _refuse(source, f"{where}: FIX needs sender and target, the CompIDs of what we send")
    wrong = [key for key in _FIX_ONLY if key in given and gateway.kind != FIX]
    if wrong:
        _refuse(source, f"{where}: {wrong[0]} is of FIX gateways")
    if gateway.drop_copy and not gateway.exchange:
        _refuse(source, f"{where}: drop_copy is that of a simulated exchange; name it in exchange")


def _check_markets(source: str, destinations: Destinations, markets: tuple[str, ...]) -> None:
    for name, one in destinations.by_name.items():
        if one.market not in markets:
            hint = nearest(one.market, markets)
            _refuse(
                source, f"[destinations.{name}] market = {one.market!r} is none of execution.venues{hint}"
            )
        if name in markets and one.market != name:
            _refuse(source, f"[destinations.{name}] has the name of another market than its own")
    for market in markets:
        if market not in destinations.by_name:
            _refuse(
                source, f"market {market} has no destination of its own name; write [destinations.{market}]"
            )


def _tables(source: str, tables: dict[str, Any], name: str, cls: type[T]) -> dict[str, T]:
    table = tables.get(name)
    if not isinstance(table, dict) or not table:
        _refuse(source, f"[{name}.NAME] is missing")
    found = {}
    for key, entry in table.items():
        if not isinstance(entry, dict):
            _refuse(source, f"{name}.{key} is no table")
        try:
            found[key] = cls.model_validate(entry)
        except ValidationError as error:
            _refuse(source, f"[{name}.{key}] " + "; ".join(findings_of(cls, error)))
    return found


def _refuse(source: str, finding: str) -> NoReturn:
    raise DestinationsError(f"{source}: {finding}. The whole file is refused.")
