"""Ports: which are free, and who holds one that is not."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import psutil

UDP_MARK = "(udp)"


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """``count`` different ports that are free now, for TCP and UDP. Somebody may take one before you do."""
    taken: list[socket.socket] = []
    found: list[int] = []
    try:
        while len(found) < count:
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            taken.append(tcp)
            tcp.bind((host, 0))
            port = tcp.getsockname()[1]
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            taken.append(udp)
            try:
                udp.bind((host, port))
            except OSError:
                continue
            found.append(port)
    finally:
        for one in taken:
            one.close()
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
            section, _, name = key.removesuffix(UDP_MARK).strip().partition(".")
            lines.append(
                f"port {port} ({key}) is taken by {holder(port, udp=udp)}: stop that, or set "
                f"TICKLOOM_{section.upper()}_{name.upper()} to a free one"
            )
    return lines
