"""Our own processes and Dagster's as services, and the whole catalogue of the stack.

Each of our processes opens its Prometheus port when it is ready, and that is its health check.
"""

from __future__ import annotations

import difflib
import functools
import json
import sys
import urllib.request
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from tickloom.errors import SettingsError
from tickloom.settings import DagsterSettings
from tickloom.settings.feeds import LIVE
from tickloom.stack import exchanges, flink, ingesters, kafka, questdb
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.service import PROBE_TIMEOUT_S, HealthCheck, Service, http_answers, own_process

SCHEMA = "schema"
EXCHANGE = "exchange"
AGENT = "agent"
ITCH = ingesters.ITCH
SPREADS = "spreads"
DAGSTER_WEBSERVER = "dagster-webserver"
DAGSTER_DAEMON = "dagster-daemon"

AFTER_SCHEMA = (kafka.NAME, questdb.NAME, SCHEMA)

BATCH_NICENESS = (
    10  # Dagster and its runs get a tenth of what an ingester or the agent gets, where both want it
)

#: Everything the stack can run but declared feeds, in the order in which it is shown.
NAMES = (
    questdb.NAME, kafka.NAME, flink.JOBMANAGER, flink.TASKMANAGER, SCHEMA, EXCHANGE, AGENT,
    *ingesters.NAMES, SPREADS, DAGSTER_WEBSERVER, DAGSTER_DAEMON,
)  # fmt: skip


def names(configuration: StackConfiguration) -> tuple[str, ...]:
    """All that this stack can run: :data:`NAMES`, the configured further exchanges behind the first, and the
    feeds that declare themselves, where this process knows them, behind the other ingesters.

    Raises
    ------
    SettingsError
        A feed has the name of another service.
    """
    further = exchanges.names(configuration.exchange)
    if taken := sorted(LIVE.keys() & {*NAMES, *further}):
        raise SettingsError(
            f"feed {taken[0]!r} has the name of a service of the stack: give it another one in the "
            "declaration.py of its folder"
        )
    after_exchange, after_ingesters = NAMES.index(EXCHANGE) + 1, NAMES.index(SPREADS)
    return (
        *NAMES[:after_exchange],
        *further,
        *NAMES[after_exchange:after_ingesters],
        *LIVE,
        *NAMES[after_ingesters:],
    )


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
        close = difflib.get_close_matches(unknown[0], known, n=1)
        meant = f"did you mean {close[0]!r}? There" if close else "there"
        raise SettingsError(f"no service {unknown[0]!r}; {meant} are {', '.join(known)}")
    if EXCHANGE in chosen:
        chosen.update(exchanges.names(configuration.exchange))
    data_dir = configuration.stack.data_dir
    makers: dict[str, Callable[[], Service]] = {
        questdb.NAME: lambda: questdb.service(configuration.questdb, data_dir),
        kafka.NAME: lambda: kafka.service(configuration.kafka, data_dir),
        flink.JOBMANAGER: lambda: flink.jobmanager(configuration.flink, data_dir),
        flink.TASKMANAGER: lambda: flink.taskmanager(configuration.flink, data_dir),
        SCHEMA: lambda: schema(configuration, chosen),
        EXCHANGE: lambda: exchange(configuration),
        AGENT: lambda: agent(configuration),
        SPREADS: lambda: spreads(configuration),
        DAGSTER_WEBSERVER: lambda: dagster_webserver(configuration.dagster, data_dir),
        DAGSTER_DAEMON: lambda: dagster_daemon(configuration.dagster, data_dir),
    }
    for one in instances(configuration):
        makers[one.name] = lambda one=one: one  # type: ignore[misc]
    for name in (*ingesters.NAMES, *LIVE):
        makers[name] = functools.partial(ingester, configuration, name)
    return [makers[name]() for name in known if name in chosen]


def schema(configuration: StackConfiguration, chosen: Collection[str] = ()) -> Service:
    """Topics and tables, those of ``chosen`` ingesters too: runs once and ends; the others wait for it."""
    written = {
        topic
        for name in (*ingesters.NAMES, *LIVE)
        if name in chosen
        for topic in ingesters.topic_names(ingesters.settings_of(configuration, name))
    }
    return Service(
        name=SCHEMA,
        argv=(sys.executable, "-m", "tickloom.stack.prepare", *sorted(written)),
        health=lambda attempt: "not done yet",
        depends_on=(kafka.NAME, questdb.NAME),
        restart=False,
    )


def exchange(configuration: StackConfiguration) -> Service:
    """The simulated exchange; its books come off the feed's topics."""
    settings = configuration.exchange
    return own_process(
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
    return own_process(
        AGENT,
        "agent",
        section="execution",
        metrics_port=settings.metrics_port,
        depends_on=(kafka.NAME, questdb.NAME, SCHEMA, EXCHANGE, *exchanges.names(configuration.exchange)),
        ports={"execution.web_port": settings.web_port},
    )


def ingester(configuration: StackConfiguration, name: str) -> Service:
    """One of :data:`ingesters.NAMES`, or a declared feed."""
    return ingesters.service(configuration, name, AFTER_SCHEMA)


def spreads(configuration: StackConfiguration) -> Service:
    """What writes the spreads of pairs from Kafka to QuestDB."""
    return own_process(
        SPREADS,
        "pairs",
        "record",
        section="pairs",
        metrics_port=configuration.pairs.metrics_port,
        depends_on=AFTER_SCHEMA,
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
        depends_on=AFTER_SCHEMA,
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
