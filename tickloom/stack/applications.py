"""Our own processes and Dagster's as services, and the whole catalogue of the stack.

Each of our processes opens its Prometheus port when it is ready, and that is its health check.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from tickloom.errors import SettingsError
from tickloom.settings import DagsterSettings
from tickloom.stack import exchanges, flink, kafka, questdb
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.ports import UDP_MARK
from tickloom.stack.service import PROBE_TIMEOUT_S, HealthCheck, Service, http_answers

SCHEMA = "schema"
EXCHANGE = "exchange"
AGENT = "agent"
ITCH = "itch"
BINANCE = "binance"
SPREADS = "spreads"
DAGSTER_WEBSERVER = "dagster-webserver"
DAGSTER_DAEMON = "dagster-daemon"

BATCH_NICENESS = (
    10  # Dagster and its runs get a tenth of what an ingester or the agent gets, where both want it
)

#: Everything the stack can run, in the order in which it is shown.
NAMES = (
    questdb.NAME, kafka.NAME, flink.JOBMANAGER, flink.TASKMANAGER, SCHEMA, EXCHANGE, AGENT, ITCH,
    BINANCE, SPREADS, DAGSTER_WEBSERVER, DAGSTER_DAEMON,
)  # fmt: skip


def names(configuration: StackConfiguration) -> tuple[str, ...]:
    """All that this stack can run: :data:`NAMES`, and the configured further exchanges behind the first."""
    at = NAMES.index(EXCHANGE) + 1
    return (*NAMES[:at], *exchanges.names(configuration.exchange), *NAMES[at:])


def catalogue(configuration: StackConfiguration, wanted: Iterable[str] | None = None) -> list[Service]:
    """The services ``wanted`` (those of ``stack.services`` by default), in the catalogue's order.

    With the exchange come all its further instances.

    Raises
    ------
    SettingsError
        A name that the stack does not know.
    SetupError
        A piece that one of them needs (a jar, the JRE) is missing.
    """
    chosen, known = set(configuration.stack.services if wanted is None else wanted), names(configuration)
    if unknown := sorted(chosen - set(known)):
        raise SettingsError(f"no service {unknown[0]!r}; there are {', '.join(known)}")
    if EXCHANGE in chosen:
        chosen.update(exchanges.names(configuration.exchange))
    data_dir = configuration.stack.data_dir
    makers: dict[str, Callable[[], Service]] = {
        questdb.NAME: lambda: questdb.service(configuration.questdb, data_dir),
        kafka.NAME: lambda: kafka.service(configuration.kafka, data_dir),
        flink.JOBMANAGER: lambda: flink.jobmanager(configuration.flink, data_dir),
        flink.TASKMANAGER: lambda: flink.taskmanager(configuration.flink, data_dir),
        SCHEMA: schema,
        EXCHANGE: lambda: exchange(configuration),
        AGENT: lambda: agent(configuration),
        ITCH: lambda: itch(configuration),
        BINANCE: lambda: binance(configuration),
        SPREADS: lambda: spreads(configuration),
        DAGSTER_WEBSERVER: lambda: dagster_webserver(configuration.dagster, data_dir),
        DAGSTER_DAEMON: lambda: dagster_daemon(configuration.dagster, data_dir),
    }
    for one in instances(configuration):
        makers[one.name] = lambda one=one: one  # type: ignore[misc]
    return [makers[name]() for name in known if name in chosen]


def schema() -> Service:
    """Topics and tables: runs once and ends; the others wait for it."""
    return Service(
        name=SCHEMA,
        argv=(sys.executable, "-m", "tickloom.stack.prepare"),
        health=lambda attempt: "not done yet",
        depends_on=(kafka.NAME, questdb.NAME),
        restart=False,
    )


def exchange(configuration: StackConfiguration) -> Service:
    """The simulated exchange; its books come off the feed's topics."""
    settings = configuration.exchange
    return _own(
        EXCHANGE,
        "exchange",
        metrics_port=settings.metrics_port,
        depends_on=(kafka.NAME, SCHEMA),
        ports={"exchange.port": settings.port},
        address=f"{settings.host}:{settings.port}",
    )


def instances(configuration: StackConfiguration) -> list[Service]:
    """The further exchanges."""
    data_dir = configuration.stack.data_dir
    return exchanges.services(configuration.exchange, data_dir, (kafka.NAME, SCHEMA))


def agent(configuration: StackConfiguration) -> Service:
    """The Faust worker that holds orders and risk."""
    settings = configuration.execution
    return _own(
        AGENT,
        "agent",
        section="execution",
        metrics_port=settings.metrics_port,
        depends_on=(kafka.NAME, questdb.NAME, SCHEMA, EXCHANGE, *exchanges.names(configuration.exchange)),
        ports={"execution.web_port": settings.web_port},
    )


def itch(configuration: StackConfiguration) -> Service:
    """The ITCH 5.0 ingester."""
    settings = configuration.itch
    tcp = settings.transport == "soupbintcp"
    return _own(
        ITCH,
        "ingest",
        "itch",
        metrics_port=settings.metrics_port,
        depends_on=(kafka.NAME, questdb.NAME, SCHEMA),
        ports={} if tcp else {f"itch.port {UDP_MARK}": settings.port},
        address=f"reads {settings.soup_address}" if tcp else f"udp {settings.host}:{settings.port}",
    )


def binance(configuration: StackConfiguration) -> Service:
    """The Binance-format ingester: the one service that connects to the outside."""
    settings = configuration.binance
    return _own(
        BINANCE,
        "ingest",
        "binance",
        metrics_port=settings.metrics_port,
        depends_on=(kafka.NAME, questdb.NAME, SCHEMA),
        address=f"reads {settings.websocket_url}",
    )


def spreads(configuration: StackConfiguration) -> Service:
    """What writes the spreads of pairs from Kafka to QuestDB."""
    return _own(
        SPREADS,
        "pairs",
        "record",
        section="pairs",
        metrics_port=configuration.pairs.metrics_port,
        depends_on=(kafka.NAME, questdb.NAME, SCHEMA),
    )


def _own(
    name: str,
    *command: str,
    metrics_port: int,
    depends_on: tuple[str, ...],
    section: str = "",
    ports: dict[str, int] | None = None,
    address: str = "",
) -> Service:
    if metrics_port == 0:
        raise SettingsError(
            f"{section or name}.metrics_port = 0: the stack needs it to see whether {name} is healthy. "
            "Set it to a free port."
        )
    return Service(
        name=name,
        argv=(sys.executable, "-m", "tickloom", *command),
        health=http_answers(f"http://127.0.0.1:{metrics_port}/metrics"),
        depends_on=depends_on,
        environment={"PYTHONUNBUFFERED": "1"},
        ports={f"{section or name}.metrics_port": metrics_port, **(ports or {})},
        address=address,
    )


def dagster_webserver(settings: DagsterSettings, data_dir: Path) -> Service:
    """Dagster's UI, with its home in ``data_dir/dagster``."""
    home = data_dir / "dagster"
    url = f"http://{settings.host}:{settings.port}"
    return Service(
        name=DAGSTER_WEBSERVER,
        argv=(
            *(sys.executable, "-m", "dagster_webserver", "-m", "orchestration.definitions"),
            *("-h", settings.host, "-p", str(settings.port)),
        ),
        health=http_answers(f"{url}/server_info"),
        depends_on=(kafka.NAME, questdb.NAME, SCHEMA),
        environment=_dagster_environment(home),
        ports={"dagster.port": settings.port},
        prepare=lambda: write_dagster_home(home),
        address=url,
        niceness=BATCH_NICENESS,
    )


def dagster_daemon(settings: DagsterSettings, data_dir: Path) -> Service:
    """Dagster's scheduler and run queue. Its health is what the webserver says of its heartbeats."""
    home = data_dir / "dagster"
    return Service(
        name=DAGSTER_DAEMON,
        argv=(sys.executable, "-m", "dagster._daemon", "run", "-m", "orchestration.definitions"),
        health=_daemon_beats(f"http://{settings.host}:{settings.port}/graphql"),
        depends_on=(DAGSTER_WEBSERVER,),
        environment=_dagster_environment(home),
        prepare=lambda: write_dagster_home(home),
        niceness=BATCH_NICENESS,
    )


def write_dagster_home(home: Path) -> None:
    """``dagster.yaml``: SQLite in the home, no telemetry, few runs at once."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(DAGSTER_YAML)


def _dagster_environment(home: Path) -> dict[str, str]:
    return {"DAGSTER_HOME": str(home), "PYTHONUNBUFFERED": "1"}


def _daemon_beats(url: str) -> HealthCheck:
    query = "{instance{daemonHealth{allDaemonStatuses{daemonType required healthy}}}}"

    def check(attempt: int) -> str:
        request = urllib.request.Request(
            url, json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
        )
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=PROBE_TIMEOUT_S) as answer:
                health = json.load(answer)["data"]["instance"]["daemonHealth"]
            sick = [
                one["daemonType"]
                for one in health["allDaemonStatuses"]
                if one["required"] and not one["healthy"]
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"{url}: {error}"
        return f"no heartbeat of {', '.join(sick)}" if sick else ""

    return check


DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
"""
