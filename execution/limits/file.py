"""The limits file in, checked limits of firm, rules and instruments out. A malformed one is refused whole."""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from execution.limits.tables import BreachPlan, FirmLimits, InstrumentLimits, RuleLimits, Table
from tickloom.errors import LimitsError
from tickloom.instruments import Registry

FILE_VERSION = 1
DEFAULT = "default"
#: What a breach plan may be declared for.
BREACHES = ("loss", "drawdown", "var", "position", "dead_feed", "lost_venue", "operator")

T = TypeVar("T", bound=Table)


@dataclass(frozen=True, slots=True)
class Limits:
    """A limits file in force.

    ``digest``: first 12 hex digits of the SHA-256 of its text. ``revision``: grows with every change.
    ``plans``: by kind of breach.
    """

    firm: FirmLimits
    rules: dict[str, RuleLimits]
    default: InstrumentLimits
    instruments: dict[tuple[str, str], InstrumentLimits]
    digest: str
    revision: int = 0
    plans: dict[str, BreachPlan] = field(default_factory=dict)

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
    known = ("version", "revision", "firm", "rules", "instruments", "breach")
    for name in tables:
        if name not in known:
            _refuse(source, f"unknown key {name!r}{nearest(name, known)}")
    if tables.get("version") != FILE_VERSION:
        _refuse(source, f"version = {tables.get('version')!r}; this program reads version {FILE_VERSION}")
    revision = tables.get("revision", 0)
    if isinstance(revision, bool) or not isinstance(revision, int) or revision < 0:
        _refuse(source, f"revision = {revision!r}; it is a whole number, 0 or more")
    instruments = dict(_table(source, tables, "instruments"))
    default = dict(_table(source, instruments, DEFAULT, "instruments."))
    instruments.pop(DEFAULT, None)
    rules = _table(source, tables, "rules").items()
    found = Limits(
        firm=_model(source, FirmLimits, "firm", _table(source, tables, "firm")),
        rules={name: _model(source, RuleLimits, f"rules.{name}", entry) for name, entry in rules},
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
        revision=revision,
        plans=_plans(source, tables.get("breach", {})),
    )
    for names in (found.firm.restricted, *(rule.restricted for rule in found.rules.values())):
        for name in names:
            _instrument_key(source, name, registry)
    return found


def _plans(source: str, tables: Any) -> dict[str, BreachPlan]:
    if not isinstance(tables, dict):
        _refuse(source, "breach is no table")
    for name in tables:
        if name not in BREACHES:
            _refuse(source, f"[breach.{name}] is no kind of breach{nearest(name, BREACHES)}")
    return {name: _model(source, BreachPlan, f"breach.{name}", entry) for name, entry in tables.items()}


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
        _refuse(source, f"[{where}] " + "; ".join(findings_of(cls, error)))


def findings_of(cls: type[BaseModel], error: ValidationError) -> list[str]:
    """What is wrong with a table of a strict file, a text a key."""
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
