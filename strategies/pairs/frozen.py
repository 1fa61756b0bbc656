"""A file of calibrations in, a checked set with a version of its own out; and back. Pure apart from the file.

``strategies/pairs/VENUE.toml`` holds what the spreads of a venue are computed with. It is frozen: nothing
recalibrates a running job. Its version is a hash of all that a spread depends on, so nobody can change a
mean and leave the version: every spread carries it, and a rule says which version it trades on.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tickloom.clock import NS_PER_S
from tickloom.errors import CalibrationError
from tickloom.events import Calibration
from tickloom.instruments import Pair, Registry
from tickloom.prices import NANOS
from tickloom.toml_file import read_tables

PAIRS_DIR = Path(__file__).resolve().parent
PAIRS_MAX = 20_000  # all pairs of 200 stocks; some 2 MB of state
#: Where nobody has said otherwise.
STALE_MS = 10_000
ROLLING_HALF_LIFE_MS = 300_000

_NUMBERS = ("hedge_ratio", "mean", "deviation")
_EVIDENCE = ("p_value", "q_value", "half_life_s", "johansen_hedge_ratio", "observations", "bar_s")
_SETTINGS = ("venue", "valid_from", "stale_ms", "rolling_half_life_ms", "about")


@dataclass(frozen=True, slots=True)
class PairCalibration:
    """A pair, and what its spread ``mid_a - hedge_ratio * mid_b`` is compared with.

    Attributes
    ----------
    hedge_ratio : float
        Shares of leg B to a share of leg A.
    mean, deviation : float
        Of the spread, in the quote currency.
    evidence : dict
        What the calibration found besides (p-value, half-life, sample); of no influence on spreads.
    """

    symbol: str
    leg_a: str
    leg_b: str
    hedge_ratio: float
    mean: float
    deviation: float
    evidence: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True)
class PairSet:
    """The frozen calibrations of a venue.

    Attributes
    ----------
    stale_ms : int
        A leg whose last quote is older, in event time, makes no spread.
    rolling_half_life_ms : int
        Of the weights of the rolling mean and deviation, in event time.
    valid_from : datetime
        The end of the sample: before it, these calibrations knew the future.
    """

    venue: str
    pairs: tuple[PairCalibration, ...]
    stale_ms: int
    rolling_half_life_ms: int
    valid_from: datetime
    about: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check(self)

    @cached_property
    def version(self) -> int:
        """32 bits of SHA-256 of everything that a spread depends on, the order of pairs not among it."""
        pairs = sorted(
            [pair.symbol, pair.leg_a, pair.leg_b, *(repr(float(getattr(pair, name))) for name in _NUMBERS)]
            for pair in self.pairs
        )
        content = [self.venue, self.stale_ms, self.rolling_half_life_ms, pairs]
        return int(hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8], 16)


def venues() -> list[str]:
    """Venues that have a file."""
    return sorted(path.stem for path in PAIRS_DIR.glob("*.toml") if path.stem.isupper())


def find(venue: str, directory: Path | None = None) -> PairSet:
    """The frozen calibrations of a venue; ``directory``: of another place than ``PAIRS_DIR``.

    Raises
    ------
    CalibrationError
        There are none, or the file is refused.
    """
    path = (directory or PAIRS_DIR) / f"{venue}.toml"
    if not path.exists():
        raise CalibrationError(
            f"{venue} has no calibrated pairs ({path} is not there). Calibrate and freeze some: "
            "`tickloom pairs calibrate`, `tickloom pairs freeze`."
        )
    found = load(path)
    if found.venue != venue:
        raise CalibrationError(f"{path}: venue is {found.venue!r}; name the file {found.venue}.toml")
    return found


def load(path: Path) -> PairSet:
    """Read a file of calibrations.

    Raises
    ------
    CalibrationError
        Naming the entry and what is wrong with it.
    """
    tables = read_tables(path, "It holds the frozen calibrations; restore it.", CalibrationError)
    unknown = set(tables) - {*_SETTINGS, "pairs"}
    if unknown:
        raise CalibrationError(
            f"{path}: unknown key {sorted(unknown)[0]!r}; known are {', '.join(_SETTINGS)}."
        )
    try:
        pairs = tuple(_pair(entry) for entry in tables.get("pairs", []))
        valid_from = tables["valid_from"]
        if not isinstance(valid_from, datetime) or valid_from.tzinfo is None:
            raise ValueError("valid_from is a time with a zone, such as 2026-11-20T21:00:00Z")
        return PairSet(
            venue=tables["venue"],
            pairs=pairs,
            stale_ms=tables["stale_ms"],
            rolling_half_life_ms=tables["rolling_half_life_ms"],
            valid_from=valid_from,
            about=tables.get("about", ""),
        )
    except KeyError as error:
        raise CalibrationError(f"{path}: {error} is missing. Compare it with its neighbours.") from None
    except (TypeError, ValueError, CalibrationError) as error:
        raise CalibrationError(f"{path}: {error}") from None


def dumps(pair_set: PairSet) -> str:
    """The text of a file: what :func:`load` reads back as an equal set."""
    lines = [
        f"# Frozen calibrations of {pair_set.venue}: what its spreads are computed with. An edit that",
        "# changes one makes another version (`tickloom pairs list`); a rule names the one it trades on.",
        f"venue = {json.dumps(pair_set.venue)}",
        f"about = {json.dumps(pair_set.about)}",
        f"valid_from = {pair_set.valid_from.astimezone(UTC).isoformat().replace('+00:00', 'Z')}",
        f"stale_ms = {pair_set.stale_ms}",
        f"rolling_half_life_ms = {pair_set.rolling_half_life_ms}",
    ]
    for pair in pair_set.pairs:
        entries = {"symbol": pair.symbol, "leg_a": pair.leg_a, "leg_b": pair.leg_b}
        numbers = {name: float(getattr(pair, name)) for name in _NUMBERS}
        lines += ["", "[[pairs]]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in {**entries, **numbers}.items()]
        if pair.evidence:
            inside = ", ".join(f"{key} = {json.dumps(value)}" for key, value in pair.evidence.items())
            lines.append(f"evidence = {{ {inside} }}")
    return "\n".join(lines) + "\n"


def of_calibrations(
    found: Sequence[Calibration],
    before: PairSet | None = None,
    *,
    stale_ms: int | None = None,
    rolling_half_life_ms: int | None = None,
) -> PairSet:
    """What a calibration admitted, as a set. Settings not given are those of the set ``before``.

    Raises
    ------
    CalibrationError
        Nothing was admitted.
    """
    admitted = [one for one in found if one.admitted]
    if not admitted:
        raise CalibrationError(f"none of {len(found)} pairs was admitted; there is nothing to freeze")
    pairs = tuple(
        PairCalibration(
            one.symbol,
            one.leg_a,
            one.leg_b,
            one.hedge_ratio,
            one.mean,
            one.deviation,
            {name: getattr(one, name) for name in _EVIDENCE},
        )
        for one in admitted
    )
    sample = admitted[0]
    begin, end = (datetime.fromtimestamp(ns / NS_PER_S, UTC) for ns in (sample.sample_from, sample.ts))
    span = f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"
    return PairSet(
        venue=sample.venue,
        pairs=pairs,
        stale_ms=stale_ms or (before.stale_ms if before else STALE_MS),
        rolling_half_life_ms=rolling_half_life_ms
        or (before.rolling_half_life_ms if before else ROLLING_HALF_LIFE_MS),
        valid_from=end,
        about=f"{sample.method} over bars of {sample.bar_s:g} s, {span}",
    )


def changes(before: PairSet | None, after: PairSet) -> list[str]:
    """What a set has that the one before it had not, or had otherwise; a line each."""
    old = {pair.symbol: pair for pair in before.pairs} if before else {}
    new = {pair.symbol: pair for pair in after.pairs}
    lines = [f"{symbol}: no longer there" for symbol in old if symbol not in new]
    for symbol, pair in new.items():
        if symbol not in old:
            lines.append(f"{symbol}: new")
            continue
        moved = [
            f"{name} {getattr(old[symbol], name):.6g} -> {getattr(pair, name):.6g}"
            for name in _NUMBERS
            if getattr(old[symbol], name) != getattr(pair, name)
        ]
        if moved:
            lines.append(f"{symbol}: {', '.join(moved)}")
    return lines


def disagreements(pair_set: PairSet, registry: Registry) -> list[str]:
    """Where the registry, by which the agent trades a pair's legs, says something else than the set.

    A pair that the registry does not have is watched and not traded, which is no disagreement.
    """
    found = []
    for pair in pair_set.pairs:
        traded: Pair | None = registry.pairs.get((pair_set.venue, pair.symbol))
        if traded is None:
            continue
        ratio = traded.hedge_ratio / NANOS
        if (traded.leg_a, traded.leg_b) != (pair.leg_a, pair.leg_b) or not math.isclose(
            ratio, pair.hedge_ratio, abs_tol=1 / NANOS
        ):
            found.append(
                f"{pair.symbol}: {pair.leg_a} - {pair.hedge_ratio:g} {pair.leg_b} here, "
                f"{traded.leg_a} - {ratio:g} {traded.leg_b} in instruments.toml"
            )
    return found


def _pair(entry: dict[str, Any]) -> PairCalibration:
    known = ("symbol", "leg_a", "leg_b", *_NUMBERS, "evidence")
    for key in entry:
        if key not in known:
            raise ValueError(f"pair {entry.get('symbol', '?')} has the unknown key {key!r}")
    for key in known[:-1]:
        if key not in entry:
            raise ValueError(f"pair {entry.get('symbol', '?')} has no {key}")
    return PairCalibration(
        symbol=str(entry["symbol"]),
        leg_a=str(entry["leg_a"]),
        leg_b=str(entry["leg_b"]),
        hedge_ratio=float(entry["hedge_ratio"]),
        mean=float(entry["mean"]),
        deviation=float(entry["deviation"]),
        evidence=dict(entry.get("evidence", {})),
    )


def _check(pair_set: PairSet) -> None:
    for name in ("stale_ms", "rolling_half_life_ms"):
        value = getattr(pair_set, name)
        if not isinstance(value, int) or value <= 0:
            raise CalibrationError(f"{name} = {value!r}; write a whole number of milliseconds above 0")
    if not 1 <= len(pair_set.pairs) <= PAIRS_MAX:
        raise CalibrationError(f"{len(pair_set.pairs)} pairs; 1 to {PAIRS_MAX:,} can be computed")
    seen = set()
    for pair in pair_set.pairs:
        if pair.symbol != f"{pair.leg_a}~{pair.leg_b}" or pair.leg_a == pair.leg_b:
            raise CalibrationError(f"pair {pair.symbol} of {pair.leg_a} and {pair.leg_b}; write LEG_A~LEG_B")
        if pair.symbol in seen:
            raise CalibrationError(f"pair {pair.symbol} is there twice; keep one of the two")
        seen.add(pair.symbol)
        if not all(math.isfinite(getattr(pair, name)) for name in _NUMBERS) or pair.hedge_ratio == 0:
            raise CalibrationError(f"pair {pair.symbol}: hedge ratio, mean and deviation are finite numbers")
        if pair.deviation <= 0:
            raise CalibrationError(f"pair {pair.symbol}: deviation {pair.deviation:g}; it is above 0")
