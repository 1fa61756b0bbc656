"""All settings of a stack in one value: what the services listen on, and what children are told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tickloom.settings import (
    SECTIONS,
    BinanceSettings,
    BybitSettings,
    CoinbaseSettings,
    DagsterSettings,
    DbnSettings,
    ExchangeSettings,
    ExecutionSettings,
    FlinkSettings,
    IexSettings,
    ItchSettings,
    KafkaSettings,
    KrakenSettings,
    LineSettings,
    Mdp3Settings,
    NewsSettings,
    OkxSettings,
    PairsSettings,
    ProcessSettings,
    QuestDbSettings,
    StackSettings,
    SyntheticSettings,
)
from tickloom.settings.feeds import LIVE, FeedSettings
from tickloom.stack.ports import UDP_MARK, free_ports


@dataclass(frozen=True, slots=True)
class StackConfiguration:
    """One settings object a section, named as the section is.

    :meth:`environment` goes to the children, so that they see just these settings, whatever file
    or variables they would find themselves.
    """

    stack: StackSettings
    questdb: QuestDbSettings
    kafka: KafkaSettings
    flink: FlinkSettings
    itch: ItchSettings
    iex: IexSettings
    mdp3: Mdp3Settings
    dbn: DbnSettings
    binance: BinanceSettings
    kraken: KrakenSettings
    okx: OkxSettings
    coinbase: CoinbaseSettings
    bybit: BybitSettings
    news: NewsSettings
    exchange: ExchangeSettings
    execution: ExecutionSettings
    pairs: PairsSettings
    dagster: DagsterSettings
    synthetic: SyntheticSettings
    #: Of the feeds that declare themselves, by name: those in ``stack.services``. What a feed needs to be set
    #: is no matter of a stack that does not run it.
    feeds: Mapping[str, FeedSettings] = field(default_factory=dict)

    @classmethod
    def load(cls, **overrides: dict[str, Any]) -> Self:
        """Read file and environment; ``overrides`` by section, e.g. ``kafka={"port": 19092}``.

        The data directory becomes absolute: children may run elsewhere.

        Raises
        ------
        SettingsError
            Whatever :meth:`ProcessSettings.load` refuses.
        """
        loaded: dict[str, Any] = {
            name: kind.load(**overrides.get(name, {}))
            for name, kind in SECTIONS.items()
            if name in {one.name for one in dataclasses.fields(cls)}
        }
        stack: StackSettings = loaded["stack"]
        loaded["stack"] = stack.model_copy(update={"data_dir": stack.data_dir.absolute()})
        loaded["feeds"] = {name: kind.load() for name, kind in LIVE.items() if name in stack.services}
        return cls(**loaded)

    def with_free_ports(self) -> Self:
        """The same with every port replaced by one that is free now: for tests and second stacks."""
        keys = [(name, key) for name, part in self._sections().items() for key in port_keys(type(part))]
        found = dict(zip(keys, free_ports(len(keys)), strict=True))
        moved: dict[str, Any] = {
            name: part.model_copy(update={key: found[name, key] for key in port_keys(type(part))})
            for name, part in self._sections().items()
        }
        moved["exchange"] = moved["exchange"].model_copy(update={"free_ports": True})
        feeds = {name: moved.pop(part.section) for name, part in self.feeds.items()}
        return dataclasses.replace(self, **moved, feeds=feeds)

    def ports(self) -> dict[str, int]:
        """Every port by settings key; those of UDP are marked as :class:`Service` marks them."""
        return {
            f"{name}.{key}{f' {UDP_MARK}' if _is_udp(part, key) else ''}": port
            for name, part in self._sections().items()
            for key in port_keys(type(part))
            if isinstance(port := getattr(part, key), int)
        }

    def environment(self) -> dict[str, str]:
        """All settings as ``TICKLOOM_*`` variables."""
        return {
            name: value for part in self._sections().values() for name, value in part.environment().items()
        }

    def _sections(self) -> dict[str, ProcessSettings]:
        own = {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name != "feeds"}
        return {**own, **{part.section: part for part in self.feeds.values()}}


def _is_udp(part: ProcessSettings, key: str) -> bool:
    return isinstance(part, LineSettings) and key != "metrics_port"


def port_keys(kind: type[ProcessSettings]) -> list[str]:
    """The keys of ``kind`` that hold a port; of a declared feed the metrics', as others are its venue's."""
    if issubclass(kind, FeedSettings):
        return ["metrics_port"]
    return [key for key in kind.model_fields if key == "port" or key.endswith("_port")]
