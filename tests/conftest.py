"""Fixtures for every test: hermetic settings, shared market data, and real servers on free ports.

``questdb``, ``kafka`` and ``flink`` start lazily, once a pytest session, through the code that
``tickloom up`` uses, and set ``TICKLOOM_*`` variables, so that ``KafkaSettings.load()`` points to
them. A test that kills servers makes a ``Stack`` of its own (see tests/tickloom/stack).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from streaming.live.cluster import Cluster
from tickloom.settings import FlinkSettings, KafkaSettings, QuestDbSettings, StackSettings
from tickloom.stack import flink as flink_server
from tickloom.stack import kafka as kafka_server
from tickloom.stack import questdb as questdb_server
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.ports import free_ports as find_free_ports
from tickloom.stack.service import Service
from tickloom.stack.supervisor import Stack

PROJECT = Path(__file__).parent.parent
SHARED_DATA = PROJECT.parent / "shared" / "data"
Settings = TypeVar("Settings", QuestDbSettings, KafkaSettings, FlinkSettings)
SERVER_START_S = 180.0  # on a busy machine
SERVERS = {"questdb", "kafka", "flink"}  # fixtures

# no test asks how long something takes: others use the machine, too
settings.register_profile("tickloom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tickloom")


def pytest_configure() -> None:
    """A shell that runs the suite in the background has it ignore Ctrl-C. So would every process that a test
    starts; and Dagster, which gives SIGTERM the action of SIGINT, would have servers ignore their stop."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before -m is looked at
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs servers is serial: two workers would start them twice, on cores that one set fills."""
    for item in items:
        if item.get_closest_marker("slow") or SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("serial")


@pytest.fixture(scope="session", autouse=True)
def hermetic_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No settings file and no variable of the caller's reaches a test; all state goes to a temporary
    data directory, which is the value."""
    directory = tmp_path_factory.mktemp("tickloom")
    config = directory / "tickloom.toml"
    config.touch()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TICKLOOM_")]:
            patch.delenv(name)
        patch.setenv("TICKLOOM_CONFIG", str(config))
        patch.setenv("TICKLOOM_STACK_DATA_DIR", str(directory))
        yield directory


@pytest.fixture(scope="session")
def stack_configuration(hermetic_settings: Path) -> StackConfiguration:
    """The session's settings: free ports, the temporary data directory, topics of several shards."""
    return StackConfiguration.load(
        stack={"data_dir": hermetic_settings, "start_timeout_s": SERVER_START_S}, kafka={"tick_partitions": 4}
    ).with_free_ports()


@pytest.fixture(scope="session")
def questdb(stack_configuration: StackConfiguration) -> Iterator[QuestDbSettings]:
    """A running QuestDB."""
    stack, settings = stack_configuration.stack, stack_configuration.questdb
    services = [questdb_server.service(settings, stack.data_dir / "questdb")]
    yield from _running(stack, settings, "questdb", services)


@pytest.fixture(scope="session")
def kafka(stack_configuration: StackConfiguration) -> Iterator[KafkaSettings]:
    """A running Kafka broker."""
    stack, settings = stack_configuration.stack, stack_configuration.kafka
    services = [kafka_server.service(settings, stack.data_dir / "kafka")]
    yield from _running(stack, settings, "kafka", services)


@pytest.fixture(scope="session")
def flink(stack_configuration: StackConfiguration, kafka: KafkaSettings) -> Iterator[FlinkSettings]:
    """A running Flink session cluster, and the broker that its jobs read; the environment also has
    what a PyFlink client needs."""
    stack, settings = stack_configuration.stack, stack_configuration.flink
    services = flink_server.services(settings, stack.data_dir / "flink")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in flink_server.client_environment().items():
            patch.setenv(name, value)
        yield from _running(stack, settings, "flink", services)


@pytest.fixture(autouse=True)
def no_job_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test submits to the session's cluster does not run on into the next one, also if it failed."""
    if "flink" not in request.fixturenames:
        yield
        return
    cluster = Cluster(request.getfixturevalue("flink"))
    before = {job.job_id for job in cluster.rule_jobs()}
    yield
    for job in cluster.rule_jobs():
        if job.job_id not in before:
            cluster.cancel(job.job_id)


def _running(
    stack: StackSettings, settings: Settings, name: str, services: Sequence[Service]
) -> Iterator[Settings]:
    """Run ``services`` as a stack of their own, and point the environment to them."""
    own = stack.model_copy(update={"data_dir": stack.data_dir / name})
    with pytest.MonkeyPatch.context() as patch, Stack(services, own):
        for variable, value in settings.environment().items():
            patch.setenv(variable, value)
        yield settings


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """``free_ports(n)``: n ports that are free now."""
    return find_free_ports


@pytest.fixture
def free_port() -> int:
    """A port that is free now, for TCP and UDP."""
    return find_free_ports(1)[0]


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """``shared_data("itch/NAME")``: a file or folder of the market data that nobody here wrote; skips
    the test, naming what is missing, where it is not there."""

    def find(relative: str) -> Path:
        path = SHARED_DATA / relative
        if not path.exists():
            pytest.skip(f"../shared/data/{relative} is missing")
        return path

    return find
