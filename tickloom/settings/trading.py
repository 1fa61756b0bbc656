"""Settings of what trades: the simulated exchange, the agent, the pairs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from tickloom.settings.base import Port, ProcessSettings


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
