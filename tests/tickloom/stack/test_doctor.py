"""Doctor: each thing that keeps the stack from running is found and comes with a remedy."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tickloom.errors import SettingsError
from tickloom.stack import doctor
from tickloom.stack.configuration import StackConfiguration


def test_taken_tcp_and_udp_ports_are_found_with_their_holder(tmp_path: Path) -> None:
    """A listening TCP port and a bound UDP port of the settings are both reported, with the pid and the
    variable to set."""
    configuration = StackConfiguration.load(
        stack={"data_dir": tmp_path, "services": ("questdb", "itch")}
    ).with_free_ports()
    with (
        socket.create_server(("127.0.0.1", configuration.questdb.pg_port)),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        udp.bind(("127.0.0.1", configuration.itch.port))
        findings = list(doctor.check_ports(configuration))
    assert [one.ok for one in findings] == [False, False]
    assert "pid" in findings[0].detail
    assert "(questdb.pg_port)" in findings[0].detail
    assert "TICKLOOM_QUESTDB_PG_PORT" in findings[0].remedy
    assert "(itch.port (udp))" in findings[1].detail
    assert "TICKLOOM_ITCH_PORT" in findings[1].remedy
    assert [one.ok for one in doctor.check_ports(configuration)] == [True]


def test_two_services_on_one_port_are_found(tmp_path: Path, free_port: int) -> None:
    """Two settings with the same port are a problem even while the port is free."""
    configuration = StackConfiguration.load(
        stack={"data_dir": tmp_path, "services": ("questdb",)},
        questdb={"http_port": free_port, "health_port": free_port},
    )
    problems = [one for one in doctor.check_ports(configuration) if not one.ok]
    assert any("questdb.health_port, questdb.http_port are the same" in one.detail for one in problems)


@pytest.mark.parametrize(
    ("version", "ok"), [((3, 10), False), ((3, 11), True), ((3, 12), True), ((3, 13), False)]
)
def test_wrong_python_is_found(version: tuple[int, int], ok: bool) -> None:
    """Only 3.11 and 3.12 pass."""
    assert doctor.check_python(version).ok is ok


def test_too_little_memory_and_disk_are_found(tmp_path: Path) -> None:
    """One MB less than needed is a problem; exactly enough is not."""
    assert not doctor.check_memory(1_000, available_mb=999).ok
    assert doctor.check_memory(1_000, available_mb=1_000).ok
    assert not doctor.check_disk(tmp_path, 10**9).ok
    assert doctor.check_disk(tmp_path / "not" / "yet" / "there", 0).ok


def test_missing_jars_are_found(tmp_path: Path) -> None:
    """An empty cache is reported with the first coordinate and the command that fills it."""
    finding = doctor.check_jars(tmp_path)
    assert not finding.ok
    assert "org.questdb:questdb:9.3.4 is missing" in finding.detail
    assert finding.remedy == "run `tickloom setup`"


def test_unwritable_data_directory_is_found(tmp_path: Path) -> None:
    """A data directory below something that is no directory cannot be written."""
    (tmp_path / "file").touch()
    assert not doctor.check_data_dir(tmp_path / "file" / "var").ok
    assert doctor.check_data_dir(tmp_path / "var").ok


def test_settings_that_cannot_be_read_are_a_finding() -> None:
    """A typo in the settings is one finding among the others, not the end of the examination."""

    def broken() -> StackConfiguration:
        raise SettingsError("unknown key 'prot'")

    findings = {one.check: one for one in doctor.examine(broken)}
    assert not findings["settings"].ok
    assert "prot" in findings["settings"].detail
    assert "python" in findings


def test_command_ends_with_1_on_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`tickloom doctor` prints a line a check, marks the problem with its remedy, and exits with 1."""
    import typer

    from tickloom.cli.stack import doctor as command

    app = typer.Typer()
    app.command()(command)
    monkeypatch.setenv("TICKLOOM_STACK_DISK_MB_MIN", str(10**9))
    result = CliRunner().invoke(app)
    assert result.exit_code == 1
    assert "problem disk:" in result.output
    assert "-> make room" in result.output
