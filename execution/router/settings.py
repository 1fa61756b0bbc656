"""The routing file in, checked settings out. A malformed one is refused whole. Pure apart from the read.

Rates are floats, amounts decimal text, times whole milliseconds; ``docs/routing.md`` has each key beside the
formula that it is used in.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import Field, ValidationError

from execution.limits.file import findings_of, nearest
from execution.limits.tables import Amount, Milliseconds, Table
from tickloom.clock import NS_PER_MS
from tickloom.errors import RoutingError

FILE_VERSION = 1
#: Where the file is, unless the settings say otherwise.
ROUTING_FILE = Path(__file__).resolve().parent.parent.parent / "strategies" / "routing.toml"

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]
Few = Annotated[int, Field(ge=0, le=100)]
Positive = Annotated[int, Field(ge=1, le=1_000)]

T = TypeVar("T", bound=Table)


class TakeSettings(Table):
    """Sweeps. miss_bps: what a share that was not there costs more when it is had elsewhere later.

    drift_bps_per_s: what waiting costs. levels_max: of a destination's book. memory_ms: how long a
    displayed size that we aimed at is not believed in, where the book says nothing new.
    """

    miss_bps: Rate = 1.0
    drift_bps_per_s: Rate = 0.5
    levels_max: Annotated[int, Field(ge=1, le=50)] = 5
    memory_ms: Milliseconds = 1_000


class DarkSettings(Table):
    """Pings. pings_max: of a parent in each pool. leak_bps: what an unfilled ping gives away.

    minimum: MinQty as a share of what is sent, so that nobody fishes for it with small orders.
    """

    enabled: bool = True
    pings_max: Few = 1
    fill_prior: Share = 0.25
    leak_bps: Rate = 0.05
    minimum: Share = 0.0


class PostSettings(Table):
    """Posts of patient parents. wait_ms: until it is taken back; posts_max: before the rest crosses.

    reprice_ticks: how far the market may leave it behind, but not before reprice_ms.
    """

    enabled: bool = True
    posts_max: Few = 3
    wait_ms: Milliseconds = 2_000
    reprice_ticks: Positive = 1
    reprice_ms: Milliseconds = 200
    fill_prior: Share = 0.3


class LearnSettings(Table):
    """What own executions teach. prior_weight: orders that the priors count for; half_life_orders: in which
    what was learnt loses half its weight. rejects_max in a row leave a destination out for backoff_ms, twice
    as long each time up to backoff_ms_max."""

    fill_prior: Share = 0.95
    hidden_prior: Share = 0.05
    prior_weight: Weight = 8.0
    half_life_orders: Weight = 100.0
    rejects_max: Positive = 3
    backoff_ms: Milliseconds = 1_000
    backoff_ms_max: Milliseconds = 60_000


class LegSettings(Table):
    """Pairs. leg_risk_max: money that may be unhedged between the two legs; None: no limit.

    laggard_share: of it, from which on the leg behind stops waiting and crosses, no further than
    laggard_cross_bps past the far touch. wait_ms: how long a leg that finds nothing within its limit waits
    for a book before it is given up, as that ends the other one, too.
    """

    leg_risk_max: Amount | None = None
    laggard_share: Share = 0.5
    laggard_cross_bps: Rate = 10.0
    wait_ms: Milliseconds = 2_000


class RoutingTable(Table):
    """``[routing]``: what holds for all of it. rounds_max: of decisions a parent. feed_age_ms_max: a book
    whose feed was silent for longer is not traded on."""

    enabled: bool = True
    rounds_max: Positive = 12
    feed_age_ms_max: Milliseconds = 3_000


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """A routing file in force. ``digest``: first 12 hex digits of the SHA-256 of its text."""

    routing: RoutingTable
    take: TakeSettings
    dark: DarkSettings
    post: PostSettings
    learn: LearnSettings
    legs: LegSettings
    revision: int = 0
    digest: str = ""

    @property
    def memory_ns(self) -> int:
        return self.take.memory_ms * NS_PER_MS


_TABLES: dict[str, type[Table]] = {
    "routing": RoutingTable,
    "take": TakeSettings,
    "dark": DarkSettings,
    "post": PostSettings,
    "learn": LearnSettings,
    "legs": LegSettings,
}


def load(path: Path = ROUTING_FILE) -> RoutingSettings:
    """Read a routing file.

    Raises
    ------
    RoutingError
        Naming the key, what is wrong with it, and the nearest known one. Nothing of it is used.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RoutingError(f"{path}: {error.strerror}. Restore it, or set execution.routing_file.") from None
    return parse(raw, str(path))


def parse(raw: bytes, source: str) -> RoutingSettings:
    """A routing file's bytes as settings. ``source`` is its name in messages.

    Raises
    ------
    RoutingError
        As :func:`load`.
    """
    try:
        tables = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        _refuse(source, f"not TOML: {error}; mend that line")
    known = ("version", "revision", *_TABLES)
    for name in tables:
        if name not in known:
            _refuse(source, f"unknown key {name!r}{nearest(name, known)}")
    version = tables.get("version")
    if isinstance(version, bool) or version != FILE_VERSION:
        _refuse(source, f"version = {version!r}; this program reads version {FILE_VERSION}")
    revision = tables.get("revision", 0)
    if isinstance(revision, bool) or not isinstance(revision, int) or revision < 0:
        _refuse(source, f"revision = {revision!r}; it is a whole number, 0 or more")
    found: dict[str, Any] = {
        name: _model(source, cls, name, tables.get(name, {})) for name, cls in _TABLES.items()
    }
    learn: LearnSettings = found["learn"]
    if learn.backoff_ms > learn.backoff_ms_max:
        _refuse(source, f"[learn] backoff_ms is above backoff_ms_max ({learn.backoff_ms_max})")
    return RoutingSettings(**found, revision=revision, digest=hashlib.sha256(raw).hexdigest()[:12])


def _model(source: str, cls: type[T], where: str, entry: Any) -> T:
    if not isinstance(entry, dict):
        _refuse(source, f"{where} is no table")
    try:
        return cls.model_validate(entry)
    except ValidationError as error:
        _refuse(source, f"[{where}] " + "; ".join(findings_of(cls, error)))


def _refuse(source: str, finding: str) -> NoReturn:
    raise RoutingError(f"{source}: {finding}. The whole file is refused and no routing is in force.")
