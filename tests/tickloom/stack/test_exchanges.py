"""Further exchanges as services of the stack: their names, ports, health, and who waits for them."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tickloom.errors import DestinationsError, SettingsError
from tickloom.settings.feeds import LIVE
from tickloom.stack import opened
from tickloom.stack.applications import AGENT, EXCHANGE, NAMES, agent, catalogue, names
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.ports import is_free, taken

VENUES = """
metrics_port = 9414
control_port = 0
[venues.XNAS]
ports = { fix = 26530, feed = 26520, rerequest = 26521 }
"""


def configured(tmp_path: Path, text: str = VENUES, name: str = "nyc") -> StackConfiguration:
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    exchange = {"instances": (path,)}
    return StackConfiguration.load(stack={"data_dir": tmp_path}, exchange=exchange)


def test_an_instance_is_a_service_beside_the_exchange(tmp_path: Path) -> None:
    """It runs whenever the exchange does, is shown behind it, and the agent waits for it."""
    configuration = configured(tmp_path)
    own = tuple(name for name in names(configuration) if name not in LIVE)
    assert own == (*NAMES[:6], "exchange-nyc", *NAMES[6:])
    chosen = catalogue(configuration, (AGENT, EXCHANGE))
    assert [one.name for one in chosen] == [EXCHANGE, "exchange-nyc", AGENT]
    assert "exchange-nyc" in agent(configuration).depends_on
    service = chosen[1]
    assert service.argv[3:] == ("exchange", "--name", "nyc", "--venues", str(tmp_path / "nyc.toml"))
    assert service.ports == {
        "nyc.toml: metrics_port": 9414,
        "nyc.toml: XNAS fix": 26530,
        "nyc.toml: XNAS rerequest (udp)": 26521,  # the feed is where it sends to; 0 is no port yet
    }


def test_free_ports_are_no_claims(tmp_path: Path) -> None:
    """A stack that is moved to free ports does not ask for those of the file."""
    configuration = configured(tmp_path).with_free_ports()
    assert configuration.exchange.free_ports
    (service,) = catalogue(configuration, ("exchange-nyc",))
    assert service.ports == {}
    assert configuration.environment()["TICKLOOM_EXCHANGE_FREE_PORTS"] == "true"


def test_healthy_when_the_port_that_it_opened_answers(tmp_path: Path) -> None:
    """Before it has said where it listens it is not; nor with what a killed one left behind."""
    (service,) = catalogue(configured(tmp_path), ("exchange-nyc",))
    assert "has not said" in service.health(0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    opened.write(tmp_path, "nyc", {"metrics": server.server_port})
    Thread(target=server.serve_forever, daemon=True).start()
    assert service.health(1) == ""
    server.shutdown()
    server.server_close()
    assert "127.0.0.1" in service.health(2)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("[venues.XNAS]", "nyc", "metrics_port is missing"),
        ("[venues", "nyc", "not TOML"),
        ("metrics_port = 'x'", "nyc", "metrics_port is no port"),
        (VENUES, "exchange", "'exchange' is taken"),
    ],
)
def test_a_file_that_cannot_be_run_is_refused(tmp_path: Path, text: str, name: str, said: str) -> None:
    """Before anything is started, with what to mend."""
    with pytest.raises(SettingsError, match=said):
        catalogue(configured(tmp_path, text, name), (EXCHANGE,))


def test_a_taken_port_names_the_file(free_port: int) -> None:
    """No variable sets it."""
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", free_port))
        holder.listen()
        (line,) = taken({"nyc.toml: XNAS fix": free_port})
    assert "write another one in nyc.toml" in line


def test_a_port_is_taken_again_after_a_restart(tmp_path: Path, free_port: int) -> None:
    """A free one is asked for once; a number of the file is always that."""
    assert opened.again(tmp_path, "nyc", "XNAS fix", 0) == 0
    with pytest.raises(DestinationsError, match="start it with this"):
        opened.read(tmp_path, "nyc")
    opened.write(tmp_path, "nyc", {"XNAS fix": free_port})
    assert is_free(free_port)
    assert opened.again(tmp_path, "nyc", "XNAS fix", 0) == free_port
    assert opened.again(tmp_path, "nyc", "XNAS fix", 4711) == 4711
    assert opened.again(tmp_path, "nyc", "other", 0) == 0
