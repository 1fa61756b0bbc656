"""Further simulated exchanges as services, one a file of venues and ports: ``exchange.instances``.

An instance has the name of its file. It says where it listens when it is ready
(:mod:`tickloom.stack.opened`), and that is how its health, and whoever connects to it, finds it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tickloom.errors import DestinationsError, SettingsError
from tickloom.settings import ExchangeSettings
from tickloom.stack import opened
from tickloom.stack.ports import UDP_MARK
from tickloom.stack.service import HealthCheck, Service, http_answers
from tickloom.toml_file import read_tables

PREFIX = "exchange-"
_UDP = ("rerequest",)
_LISTENING = ("port", "control_port", "drop_copy_port", "metrics_port")


def names(settings: ExchangeSettings) -> tuple[str, ...]:
    """Of the services of all instances.

    Raises
    ------
    SettingsError
        Two files of one name.
    """
    found = tuple(f"{PREFIX}{path.stem}" for path in settings.instances)
    if len(set(found)) < len(found) or f"{PREFIX}exchange" in found:
        raise SettingsError(
            "exchange.instances: each is named as its file is, and 'exchange' is taken: give them other names"
        )
    return found


def services(settings: ExchangeSettings, data_dir: Path, depends_on: tuple[str, ...]) -> list[Service]:
    """One a file of ``exchange.instances``, in its order.

    Raises
    ------
    SettingsError
        A file that cannot be read, or has no metrics_port.
    """
    return [
        _service(name, path, settings, data_dir, depends_on)
        for name, path in zip(names(settings), settings.instances, strict=True)
    ]


def _service(
    name: str, path: Path, settings: ExchangeSettings, data_dir: Path, depends_on: tuple[str, ...]
) -> Service:
    ports = _ports(path)
    if f"{path.name}: metrics_port" not in ports:
        raise SettingsError(
            f"{path}: metrics_port is missing: the stack needs it to see whether {name} is healthy; "
            "write one, or 0 for a free one"
        )
    return Service(
        name=name,
        argv=(
            *(sys.executable, "-m", "tickloom", "exchange"),
            *("--name", path.stem, "--venues", str(path.absolute())),
        ),
        health=_answers(data_dir, path.stem),
        depends_on=depends_on,
        environment={"PYTHONUNBUFFERED": "1"},
        ports={} if settings.free_ports else {key: port for key, port in ports.items() if port},
        address=f"{settings.host}, ports in {opened.ports_path(data_dir, path.stem)}",
        prepare=lambda: opened.ports_path(data_dir, path.stem).parent.mkdir(parents=True, exist_ok=True),
    )


def _ports(path: Path) -> dict[str, int]:
    """What the file has it listen on, by a name for messages."""
    tables = read_tables(path, "Mend exchange.instances.")
    found = {f"{path.name}: {key}": tables[key] for key in _LISTENING if key in tables}
    for venue, entry in tables.get("venues", {}).items():
        for key, port in entry.get("ports", {}).items():
            if key != "feed":  # where it sends to
                found[f"{path.name}: {venue} {key}{f' {UDP_MARK}' if key in _UDP else ''}"] = port
    wrong = [key for key, port in found.items() if not isinstance(port, int)]
    if wrong:
        raise SettingsError(f"{path}: {wrong[0].partition(': ')[2]} is no port number")
    return found


def _answers(data_dir: Path, name: str) -> HealthCheck:
    """Healthy when the metrics port that it opened answers."""

    def check(attempt: int) -> str:
        try:
            port = opened.read(data_dir, name)["metrics"]
        except (DestinationsError, KeyError):
            return "it has not said yet where it listens"
        return http_answers(f"http://127.0.0.1:{port}/metrics")(attempt)

    return check
