"""The containers: the same stack as ``tickloom up``, nothing published beyond loopback, no secret in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tickloom.settings import (
    OTHER_VARIABLES,
    SECTIONS,
    DagsterSettings,
    ExchangeSettings,
    ExecutionSettings,
    FlinkSettings,
    KafkaSettings,
    PairsSettings,
    QuestDbSettings,
)
from tickloom.stack import artifacts, flink, ingesters
from tickloom.stack.applications import DAGSTER_YAML, NAMES
from tickloom.stack.configuration import StackConfiguration

PROJECT = Path(__file__).parents[2]
COMPOSE = PROJECT / "docker-compose.yml"
DOCKERFILE = PROJECT / "deploy" / "Dockerfile"
ONE_SHOT = {"schema"}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return services


def test_docker_compose_accepts_the_file() -> None:
    """`docker compose config -q` has nothing to say."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("no docker command line with compose")
    done = subprocess.run([docker, "compose", "config", "-q"], cwd=PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_same_services_as_the_local_stack(services: dict[str, Any]) -> None:
    """Each service of `tickloom up` is a container of the same name, and there are no others."""
    assert set(services) == set(NAMES)


def test_what_connects_to_the_outside_is_asked_for(services: dict[str, Any]) -> None:
    """Each ingester but ITCH has a profile of its own name; nothing else has one."""
    profiles = {name: service["profiles"] for name, service in services.items() if "profiles" in service}
    assert profiles == {name: [name] for name in ingesters.NAMES if name != ingesters.ITCH}


def test_ports_are_published_on_loopback_and_can_be_moved(services: dict[str, Any]) -> None:
    """Every port is 127.0.0.1:${TICKLOOM_SECTION_KEY:-default}, the default of that setting."""
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert len(published) == 8
    for port in published:
        match = re.fullmatch(r"127\.0\.0\.1:\$\{TICKLOOM_([A-Z0-9]+)_([A-Z_]+):-(\d+)\}:\d+(/udp)?", port)
        assert match, port
        section, key, default = match[1].lower(), match[2].lower(), int(match[3])
        assert SECTIONS[section].model_fields[key].default == default


def test_every_service_has_a_health_check_and_waits_for_health(services: dict[str, Any]) -> None:
    """All but the one-shot are checked; a dependency is waited for until healthy, the one-shot until done."""
    for name, service in services.items():
        assert ("healthcheck" in service) == (name not in ONE_SHOT), name
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            assert how == {"condition": wanted}, (name, other)


def test_health_checks_ask_the_ports_of_the_settings(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a container's check asks is what the process in it listens on by default."""
    for name in [name for name in os.environ if name.startswith("TICKLOOM_") and name != "TICKLOOM_CONFIG"]:
        monkeypatch.delenv(name)  # what fixtures of running servers have set
    expected = {
        "exchange": ExchangeSettings.load().metrics_port,
        "agent": ExecutionSettings.load().metrics_port,
        **{name: getattr(StackConfiguration.load(), name).metrics_port for name in ingesters.NAMES},
        "spreads": PairsSettings.load().metrics_port,
        "dagster-webserver": DagsterSettings.load().port,
    }
    for name, port in expected.items():
        assert f"127.0.0.1:{port}/" in services[name]["healthcheck"]["test"][-1]
    assert str(QuestDbSettings.load().health_port) in services["questdb"]["healthcheck"]["test"][-1]
    assert str(FlinkSettings.load().rest_port) in services["flink-jobmanager"]["healthcheck"]["test"][-1]
    assert KafkaSettings.load().port == 9092


def test_images_are_those_of_the_local_stack(services: dict[str, Any]) -> None:
    """Servers have the versions that are pinned for `tickloom up`; no digest and no registry is named."""
    version = {
        jar.coordinate.rpartition(":")[0]: jar.coordinate.rpartition(":")[2] for jar in artifacts.read_lock()
    }
    assert services["questdb"]["image"] == f"questdb/questdb:{version['org.questdb:questdb']}"
    assert services["kafka"]["image"] == f"apache/kafka:{version['org.apache.kafka:kafka_2.13']}"
    assert f"FLINK_IMAGE=flink:{flink.VERSION}-" in DOCKERFILE.read_text()
    for name, service in services.items():
        assert "@" not in service["image"], name
        assert "." not in service["image"].partition(":")[0], f"{name} names a registry"


@pytest.mark.parametrize("path", [COMPOSE, DOCKERFILE], ids=lambda path: path.name)
def test_no_syntax_line_and_no_digest(path: Path) -> None:
    """Neither file asks for a front end from a registry, nor pins a digest."""
    text = path.read_text()
    assert "# syntax=" not in text
    assert "@sha256" not in text


def test_secrets_come_from_files(services: dict[str, Any]) -> None:
    """The only secret is a file outside the repository; no variable holds a password."""
    secrets = yaml.safe_load(COMPOSE.read_text())["secrets"]
    assert {key for secret in secrets.values() for key in secret} == {"file"}
    for name, service in services.items():
        for variable in service.get("environment", {}):
            assert "PASSWORD" not in variable or variable.endswith("_FILE"), (name, variable)
    assert "/deploy/secrets/" in (PROJECT / ".gitignore").read_text().splitlines()


def test_variables_are_settings_that_exist(services: dict[str, Any]) -> None:
    """No container is given a TICKLOOM_ variable that settings would refuse."""
    known = {
        f"TICKLOOM_{section}_{key}".upper() for section, kind in SECTIONS.items() for key in kind.model_fields
    }
    given = {variable for service in services.values() for variable in service.get("environment", {})}
    mentioned = set(re.findall(r"TICKLOOM_[A-Z0-9_]+", COMPOSE.read_text()))
    for variable in given | mentioned:
        if variable.startswith("TICKLOOM_"):
            assert variable in known | set(OTHER_VARIABLES), variable


def test_dagster_is_configured_as_in_the_local_stack() -> None:
    """The containers' dagster.yaml is what the local stack writes: no telemetry among other things."""
    text = (PROJECT / "deploy" / "dagster.yaml").read_text()
    assert text == DAGSTER_YAML
    assert yaml.safe_load(text)["telemetry"] == {"enabled": False}
