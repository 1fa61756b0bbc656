"""Ports: which are free, and who holds one that is not."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from tickloom.stack.configuration import StackConfiguration

UDP_MARK = "(udp)"
DRAWN_FROM = range(15_000, 32_000)


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """``count`` different ports that are free now, for TCP and UDP. Somebody may take one before you do.

    They are drawn below the range from which the kernel takes the ports of outgoing connections, so
    that none is gone by the time a server wants it.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(DRAWN_FROM, len(DRAWN_FROM)):
        if len(found) == count:
            break
        if is_free(port, host=host) and is_free(port, udp=True, host=host):
            found.append(port)
    return found


def is_free(port: int, *, udp: bool = False, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on ``port`` now."""
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if not udp:  # as servers do: a port whose last connections linger is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def holder(port: int, *, udp: bool = False) -> str:
    """``pid 12 (java)``, or "another process" where the machine does not let us see whose it is."""
    try:
        for connection in psutil.net_connections("udp" if udp else "tcp"):
            listening = udp or connection.status == psutil.CONN_LISTEN
            if listening and connection.laddr and connection.laddr.port == port and connection.pid:
                return f"pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    except (psutil.Error, OSError):
        pass
    return "another process"


def taken(ports: Mapping[str, int]) -> list[str]:
    """One line for each of ``ports`` (by settings key) that is not free: who has it, what to do."""
    lines = []
    for key, port in ports.items():
        udp = key.endswith(UDP_MARK)
        if port and not is_free(port, udp=udp):
            name = key.removesuffix(UDP_MARK).strip().replace(".", "_").upper()
            advice = f"set TICKLOOM_{name} to a free one"
            if ": " in key:  # of an exchange's own file
                advice = f"write another one in {key.partition(': ')[0]}, or set exchange.free_ports"
            lines.append(f"port {port} ({key}) is taken by {holder(port, udp=udp)}: stop that, or {advice}")
    return lines


def taken_ports(configuration: StackConfiguration) -> dict[str, int]:
    """Those of all the configured ports (by settings key) that are not free now."""
    return {
        key: port
        for key, port in configuration.ports().items()
        if port and not is_free(port, udp=key.endswith(UDP_MARK))
    }
