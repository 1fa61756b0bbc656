"""What a service of the stack is: how it is launched, what it waits for, when it is healthy."""

from __future__ import annotations

import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tickloom.errors import SettingsError

PROBE_TIMEOUT_S = 2.0

HealthCheck = Callable[[int], str]
"""Given the attempt (1 for the first launch), returns "" when healthy, else what is not yet so."""

# One opener without proxies: a health check must never leave the machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the stack.

    Attributes
    ----------
    argv : tuple of str
        ``{attempt}`` in an argument becomes the number of the launch, from 1.
    health : HealthCheck
    depends_on : tuple of str
        Services that must be healthy before this one is launched; those not in the stack are ignored.
    environment : mapping
        On top of the stack's.
    ports : mapping of str to int
        What it listens on, by settings key; a key that ends in ``(udp)`` is a UDP port.
    prepare : callable, optional
        Called before each launch, for configuration files; may raise TickloomError.
    address : str
        What a user may open or connect to; "" if nothing.
    restart : bool
        Whether it is launched again when it ends without being told to.
    niceness : int
        How far it stands back where cores are short, as of nice(2): what no order waits for.
    """

    name: str
    argv: tuple[str, ...]
    health: HealthCheck
    depends_on: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    prepare: Callable[[], None] | None = None
    address: str = ""
    restart: bool = True
    niceness: int = 0


def http_get(url: str, timeout_s: float = PROBE_TIMEOUT_S) -> bytes:
    """Body of a 2xx answer; OSError (of which URLError is one) for everything else."""
    with _opener.open(url, timeout=timeout_s) as answer:
        body: bytes = answer.read()
    return body


def http_answers(url: str) -> HealthCheck:
    """Healthy when GET ``url`` answers 2xx."""

    def check(attempt: int) -> str:
        try:
            http_get(url)
        except (OSError, ValueError) as error:
            return f"{url}: {error}"
        return ""

    return check


def port_accepts(host: str, port: int) -> HealthCheck:
    """Healthy when a TCP connection to ``host``:``port`` is accepted."""

    def check(attempt: int) -> str:
        try:
            socket.create_connection((host, port), PROBE_TIMEOUT_S).close()
        except OSError as error:
            return f"{host}:{port}: {error}"
        return ""

    return check


def both(*checks: HealthCheck) -> HealthCheck:
    """Healthy when all ``checks`` are; says what the first one misses."""

    def check(attempt: int) -> str:
        return next((missing for one in checks if (missing := one(attempt))), "")

    return check


def own_process(
    name: str,
    *command: str,
    metrics_port: int,
    depends_on: tuple[str, ...],
    section: str = "",
    ports: Mapping[str, int] | None = None,
    address: str = "",
    environment: Mapping[str, str] | None = None,
) -> Service:
    """``tickloom COMMAND`` as a service. It opens its Prometheus port when it is ready: that is its health.

    Raises
    ------
    SettingsError
        ``metrics_port`` is 0.
    """
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
        environment={"PYTHONUNBUFFERED": "1", **(environment or {})},
        ports={f"{section or name}.metrics_port": metrics_port, **(ports or {})},
        address=address,
    )
