"""Settings: one class a process or server, read from one TOML file and the environment.

The file is ``tickloom.toml`` in the working directory, or what ``TICKLOOM_CONFIG`` names. Each
class reads its own ``[section]``; a variable ``TICKLOOM_<SECTION>_<KEY>`` overrides the file, and
an argument overrides both. An unknown section or key is refused with the nearest known name: a
typo must not silently leave a default in force.
"""

from tickloom.settings.base import (
    CONFIG_DEFAULT,
    CONFIG_VARIABLE,
    DECLARED,
    FEEDS,
    OTHER_VARIABLES,
    SECTIONS,
    VARIABLE_PREFIX,
    Port,
    ProcessSettings,
    check_variables,
    config_path,
    read_config,
)
from tickloom.settings.ingest import (
    BinanceSettings,
    BybitSettings,
    CoinbaseSettings,
    DbnSettings,
    IexSettings,
    IngestSettings,
    ItchSettings,
    KrakenSettings,
    LineSettings,
    Mdp3Settings,
    NewsSettings,
    OkxSettings,
    StreamSettings,
    SyntheticSettings,
    WebsocketSettings,
)
from tickloom.settings.servers import (
    DagsterSettings,
    FlinkSettings,
    KafkaSettings,
    QuestDbSettings,
    StackSettings,
)
from tickloom.settings.trading import ExchangeSettings, ExecutionSettings, PairsSettings

SECTIONS.update(
    (kind.section, kind)
    for kind in (
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
)

__all__ = [
    "CONFIG_DEFAULT",
    "CONFIG_VARIABLE",
    "DECLARED",
    "FEEDS",
    "OTHER_VARIABLES",
    "SECTIONS",
    "VARIABLE_PREFIX",
    "BinanceSettings",
    "BybitSettings",
    "CoinbaseSettings",
    "DagsterSettings",
    "DbnSettings",
    "ExchangeSettings",
    "ExecutionSettings",
    "FlinkSettings",
    "IexSettings",
    "IngestSettings",
    "ItchSettings",
    "KafkaSettings",
    "KrakenSettings",
    "LineSettings",
    "Mdp3Settings",
    "NewsSettings",
    "OkxSettings",
    "PairsSettings",
    "Port",
    "ProcessSettings",
    "QuestDbSettings",
    "StackSettings",
    "StreamSettings",
    "SyntheticSettings",
    "WebsocketSettings",
    "check_variables",
    "config_path",
    "read_config",
]
