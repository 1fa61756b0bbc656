"""The demo's phases: stack, rules, market, drain, reconciliation, report."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from tickloom import spread_codec, topics
from tickloom.cli.demo import phases, report, trading
from tickloom.cli.demo.sources import Services, Source
from tickloom.clock import NS_PER_S, SystemClock
from tickloom.errors import SetupError, TickloomError
from tickloom.stack.applications import (
    AGENT,
    DAGSTER_DAEMON,
    DAGSTER_WEBSERVER,
    EXCHANGE,
    ITCH,
    SCHEMA,
    SPREADS,
    catalogue,
)
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.ports import UDP_MARK, is_free
from tickloom.stack.supervisor import Stack

CORE = ("questdb", "kafka", "flink-jobmanager", "flink-taskmanager")
DAGSTER = (DAGSTER_WEBSERVER, DAGSTER_DAEMON)
RECONCILE_TIMEOUT_S = 180.0
DRAIN_TIMEOUT_S = 120.0


class Demo:
    """One run. ``run`` is true when every count agrees and the reconciliation is clean."""

    def __init__(self, source: Source, data_dir: Path, *, keep: bool) -> None:
        self.source = source
        self.keep = keep
        self.data_dir = data_dir.absolute()
        self.console = Console(highlight=False)
        self.clock = SystemClock()
        self.report = report.Report(input=source.label)
        self.configuration = self._configure()

    def run(self) -> bool:
        """Go through the phases; stops what it started, whatever happens (unless ``keep``)."""
        self._empty_data_dir()
        if self.source.rules:
            trading.lowered_limits(self.data_dir)
        os.environ.update(self.configuration.environment())
        started_ns = self.clock.monotonic_ns()
        own = self.source.services(self.configuration)
        chosen = [
            *catalogue(self.configuration, (*CORE, SCHEMA, *DAGSTER, EXCHANGE, AGENT, SPREADS)),
            *own.ingesters,
            *own.markets,
        ]
        stack = Stack(chosen, self.configuration.stack, environment=self.configuration.environment())
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        try:
            self._phases(stack, own)
            self.report.seconds["total"] = self._since(started_ns)
            self.report.write(self.data_dir / "report.json")
            report.show(self.report, self.console)
            self.console.print(f"\nThe same as JSON: {_short(self.data_dir / 'report.json')}")
            if self.keep:
                self._show_addresses()
                self.console.print("Everything is still running. Ctrl-C stops it.")
                threading.Event().wait()
        except KeyboardInterrupt:
            self.console.print("stopping")
            return self.keep and not self.report.problems
        finally:
            stack.stop()
        return not self.report.problems

    def _phases(self, stack: Stack, own: Services) -> None:
        """A stage that fails is a problem of the report, which tells all that is known by then."""
        try:
            self._start(stack, [service.name for service in own.ingesters])
            self._play(stack, [service.name for service in own.markets])
            self._reconcile()
            report.collect_trading(self.report)
        except TickloomError as error:
            self.report.problems.append(str(error))
        report.collect_reconciliation(self.report, self.data_dir / "reconciliation")
        self._judge()

    # ---- phases

    def _start(self, stack: Stack, ingesters: list[str]) -> None:
        with self._phase("stack", "starting QuestDB, Kafka and Flink"):
            stack.start(CORE)
        with self._phase("schema", "creating tables and topics"):
            stack.start([SCHEMA])
        with self._phase("processes", "starting the ingesters, the exchange, the agent and Dagster"):
            stack.start([*ingesters, EXCHANGE, AGENT, SPREADS, *DAGSTER], wait=False)
            with self._phase("rules", "submitting the rules to Flink"):
                self.source.submit_rules()
            for name in (*ingesters, EXCHANGE, AGENT, SPREADS, *DAGSTER):
                stack.wait_healthy(name)
        self._show_addresses()

    def _play(self, stack: Stack, markets: list[str]) -> None:
        over_ns = phases.session_over_ns(self.source.last_date)
        with self._phase("session", f"playing {self.source.label}"):
            stack.start(markets)
            for venue in self.source.venues:
                phases.until(
                    f"the end of {venue}'s session on Kafka",
                    lambda venue=venue: phases.published(topics.ticks(venue), over_ns),  # type: ignore[misc]
                    self.source.seconds_max,
                    "see the ingester's log in the data directory",
                )
        with self._phase("drain", "letting QuestDB, Flink and the agent finish"):
            for port in self.source.ingester_metrics_ports(self.configuration):
                phases.until(
                    "QuestDB having what Kafka has",
                    lambda port=port: phases.sinks_level(port),  # type: ignore[misc]
                    DRAIN_TIMEOUT_S,
                    "see the ingester's log",
                )
            if self.source.rules:
                phases.until(
                    "Flink reaching the end of the session",
                    lambda: phases.jobs_done(over_ns),
                    DRAIN_TIMEOUT_S,
                    "look at its UI",
                )
            for venue in self.source.pair_venues:
                phases.until(
                    f"the end of {venue}'s spreads on Kafka and in QuestDB",
                    lambda venue=venue: (  # type: ignore[misc]
                        phases.published(topics.spreads(venue), over_ns, spread_codec.decode)
                        and phases.spreads_stored(venue)
                    ),
                    DRAIN_TIMEOUT_S,
                    "look at Flink's UI, and at the log of spreads",
                )
            phases.until(
                "the agent having dealt with every signal", phases.agent_quiet, DRAIN_TIMEOUT_S, "see its log"
            )

    def _reconcile(self) -> None:
        from tickloom.cli.demo.dagster_runs import launch_and_wait

        with self._phase("reconciliation", "reconciling ticks, orders and positions in Dagster"):
            launch_and_wait(
                self.configuration.dagster,
                "daily_reconciliation",
                [(self.source.session_date, venue) for venue in self.source.venues],
                RECONCILE_TIMEOUT_S,
            )
        if self.source.rules:
            day = self.source.session_date
            traded = [(day, venue) for venue in self.source.pair_venues]
            with self._phase("costs", "reckoning what the orders cost, and whether the router chose well"):
                for job, partitions in (("daily_costs", traded), ("daily_routing", [(day, "")])):
                    launch_and_wait(self.configuration.dagster, job, partitions, RECONCILE_TIMEOUT_S)

    def _judge(self) -> None:
        """What would make a user say that it did not work."""
        if self.report.problems:
            return
        for venue in self.source.venues:
            counts = self.report.feeds.get(venue, {})
            if not counts or not counts["captured"] == counts["kafka"] == counts["questdb"] > 0:
                self.report.problems.append(f"{venue}: capture, Kafka and QuestDB differ: {counts}")
        if not self.report.reconciliation["ok"]:
            self.report.problems.append("the reconciliation found differences")
        for rule in self.source.rules:
            if not self.report.signals.get(rule):
                self.report.problems.append(f"rule {rule} raised no signal")
        if self.source.rules and not self.report.fills:
            self.report.problems.append("no order was filled")
        for breach in self.report.breaches:
            if breach["seconds"] is None:
                self.report.problems.append(f"{breach['scope']}: still being taken down")

    # ---- small things

    def _configure(self) -> StackConfiguration:
        overrides = self.source.overrides()
        overrides.setdefault("stack", {})["data_dir"] = self.data_dir
        overrides.setdefault("execution", {})["enabled"] = True
        if self.source.rules:
            overrides["execution"]["limits_file"] = self.data_dir / trading.LIMITS_FILE
        configuration = StackConfiguration.load(**overrides)
        configured = catalogue(configuration, (*CORE, *DAGSTER, EXCHANGE, AGENT, SPREADS, ITCH))
        taken = {
            key: port
            for service in configured
            for key, port in service.ports.items()
            if not is_free(port, udp=key.endswith(UDP_MARK))
        }
        if taken:
            names = ", ".join(f"{key} {port}" for key, port in taken.items())
            self.console.print(f"[yellow]Ports in use ({names}); taking free ones instead.[/]")
            configuration = configuration.with_free_ports()
        return self.source.finish(configuration)

    def _empty_data_dir(self) -> None:
        marker = self.data_dir / ".tickloom-demo"
        if self.data_dir.exists() and any(self.data_dir.iterdir()) and not marker.exists():
            raise SetupError(
                f"{self.data_dir} is not empty and not a demo's: give another folder with --data-dir"
            )
        shutil.rmtree(self.data_dir, ignore_errors=True)
        self.data_dir.mkdir(parents=True)
        marker.touch()

    def _show_addresses(self) -> None:
        self.report.addresses = {
            "QuestDB console": self.configuration.questdb.http_url,
            "Flink UI": self.configuration.flink.rest_url,
            "Dagster UI": f"http://{self.configuration.dagster.host}:{self.configuration.dagster.port}",
        }
        for name, address in self.report.addresses.items():
            self.console.print(f"  {name:<16} {address}")

    @contextmanager
    def _phase(self, name: str, text: str) -> Iterator[None]:
        started_ns = self.clock.monotonic_ns()
        self.console.print(f"[bold]{text}[/] ...")
        yield
        self.report.seconds[name] = self._since(started_ns)
        self.console.print(f"  {text}: done in {self.report.seconds[name]:.1f} s")

    def _since(self, started_ns: int) -> float:
        return round((self.clock.monotonic_ns() - started_ns) / NS_PER_S, 1)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
