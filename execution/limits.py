"""The limits file in, checked limits out: firm, rule and instrument level. A malformed file is refused whole.

Amounts are decimal text (``"25000"``) and become int64 nanos exactly; TOML floats are refused, because
a limit must be the number that was written. Every limit is the largest value that still passes.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tickloom.errors import LimitsError, PriceRangeError
from tickloom.instruments import Registry
from tickloom.prices import NANOS, parse_nanos

FILE_VERSION = 1
DEFAULT = "default"


def _amount(value: Any) -> int:
    """Decimal text or a whole number as nanos."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError('write amounts as text, such as "2500.50"')
    try:
        return parse_nanos(value) if isinstance(value, str) else value * NANOS
    except PriceRangeError as error:
        raise ValueError(str(error)) from None


Amount = Annotated[int, BeforeValidator(_amount), Field(ge=0)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


T = TypeVar("T", bound=_Table)


class FirmLimits(_Table):
    """Over everything.

    daily_loss_max: nanos of the quote currency, realised and unrealised since the UTC day began.
    """

    daily_loss_max: Amount


class RuleLimits(_Table):
    """Of one rule's signals: how they are sized and how old they may be.

    notional: of one signal's (first) leg, nanos. signal_age_ms_max: wall clock since the rule fired.
    event_age_ms_max: event time of the venue since the match. repeat_ms_min: event time between two
    orders of the same rule, instrument and side (0: no such check). cancel_after_ms: a resting order
    is cancelled after that long (0: never).
    """

    enabled: bool = True
    notional: Amount
    time_in_force: Literal["ioc", "day"] = "ioc"
    slippage_bps: int = Field(10, ge=0, le=1_000)
    signal_age_ms_max: int = Field(ge=1)
    event_age_ms_max: int = Field(ge=1)
    daily_loss_max: Amount
    repeat_ms_min: int = Field(0, ge=0)
    cancel_after_ms: int = Field(0, ge=0)


class InstrumentLimits(_Table):
    """Of one instrument. The ``default`` table is complete; others override some of its keys.

    position_max, order_quantity_max: units, nanos; 0 means no limit in units (those in notional hold).
    collar_bps: of the limit price from the mid. quote_age_ms_max: wall clock since the last quote of
    the instrument was received. feed_age_ms_max: since anything, a heartbeat included, came of its shard.
    """

    restricted: bool = False
    position_max: Amount = 0
    position_notional_max: Amount
    order_quantity_max: Amount = 0
    order_notional_max: Amount
    collar_bps: int = Field(ge=0, le=10_000)
    quote_age_ms_max: int = Field(ge=1)
    feed_age_ms_max: int = Field(ge=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """A limits file in force. ``digest``: first 12 hex digits of the SHA-256 of its text."""

    firm: FirmLimits
    rules: dict[str, RuleLimits]
    default: InstrumentLimits
    instruments: dict[tuple[str, str], InstrumentLimits]
    digest: str

    def instrument(self, venue: str, symbol: str) -> InstrumentLimits:
        """Limits of an instrument: its own over the default."""
        return self.instruments.get((venue, symbol), self.default)


def load(path: Path, registry: Registry) -> Limits:
    """Read a limits file.

    Raises
    ------
    LimitsError
        Naming the key, what is wrong with it, and the nearest known one. Nothing of it is used.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise LimitsError(
            f"{path}: {error.strerror}. No limits, no orders: set execution.limits_file."
        ) from None
    return parse(raw, str(path), registry)


def parse(raw: bytes, source: str, registry: Registry) -> Limits:
    """A limits file's bytes as limits. ``source`` is its name in messages.

    Raises
    ------
    LimitsError
        As :func:`load`.
    """
    try:
        tables = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LimitsError(
            f"{source}: not TOML: {error}. The whole file is refused; mend that line."
        ) from None
    known = ("version", "firm", "rules", "instruments")
    for name in tables:
        if name not in known:
            _refuse(source, f"unknown key {name!r}{nearest(name, known)}")
    if tables.get("version") != FILE_VERSION:
        _refuse(source, f"version = {tables.get('version')!r}; this program reads version {FILE_VERSION}")
    instruments = dict(_table(source, tables, "instruments"))
    default = dict(_table(source, instruments, DEFAULT, "instruments."))
    instruments.pop(DEFAULT, None)
    return Limits(
        firm=_model(source, FirmLimits, "firm", _table(source, tables, "firm")),
        rules={
            name: _model(source, RuleLimits, f"rules.{name}", entry)
            for name, entry in _table(source, tables, "rules").items()
        },
        default=_model(source, InstrumentLimits, "instruments.default", default),
        instruments={
            _instrument_key(source, name, registry): _model(
                source,
                InstrumentLimits,
                f'instruments."{name}"',
                {**default, **entry} if isinstance(entry, dict) else entry,
            )
            for name, entry in instruments.items()
        },
        digest=hashlib.sha256(raw).hexdigest()[:12],
    )


def nearest(name: str, known: Any) -> str:
    """``; did you mean 'x'?`` or the list of what is known."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def _table(source: str, tables: dict[str, Any], name: str, prefix: str = "") -> dict[str, Any]:
    table = tables.get(name)
    if not isinstance(table, dict):
        _refuse(source, f"[{prefix}{name}] is missing" if table is None else f"{prefix}{name} is no table")
    return table


def _model(source: str, cls: type[T], where: str, entry: Any) -> T:
    if not isinstance(entry, dict):
        _refuse(source, f"{where} is no table")
    try:
        return cls.model_validate(entry)
    except ValidationError as error:
        _refuse(source, f"[{where}] " + "; ".join(_findings(cls, error)))


def _findings(cls: type[_Table], error: ValidationError) -> list[str]:
    findings = []
    for finding in error.errors():
        key = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "extra_forbidden":
            findings.append(f"unknown key {key!r}{nearest(key, cls.model_fields)}")
        elif finding["type"] == "missing":
            findings.append(f"{key} is missing")
        else:
            findings.append(f"{key} = {finding['input']!r}: {finding['msg']}")
    return findings


def _instrument_key(source: str, name: str, registry: Registry) -> tuple[str, str]:
    venue, _, symbol = name.partition(".")
    if registry.instrument(venue, symbol) is None:
        names = [f"{item.venue}.{item.symbol}" for item in registry.instruments.values()]
        close = difflib.get_close_matches(name, names, n=1)
        hint = (
            f"; did you mean {close[0]!r}?"
            if close
            else "; write VENUE.SYMBOL of strategies/instruments.toml"
        )
        _refuse(source, f"[instruments.{name!r}] is no instrument{hint}")
    return venue, symbol


def _refuse(source: str, finding: str) -> NoReturn:
    raise LimitsError(f"{source}: {finding}. The whole file is refused and no limits are in force.")
