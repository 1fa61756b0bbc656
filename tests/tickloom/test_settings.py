"""Settings: what overrides what, and that no typo leaves a default in force."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tickloom.errors import SettingsError
from tickloom.settings import (
    SECTIONS,
    BinanceSettings,
    FlinkSettings,
    KafkaSettings,
    ProcessSettings,
    QuestDbSettings,
    StackSettings,
)
from tickloom.stack.configuration import StackConfiguration, port_keys


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty settings file that is in force."""
    path = tmp_path / "mine.toml"
    path.touch()
    monkeypatch.setenv("TICKLOOM_CONFIG", str(path))
    for name in [name for name in os.environ if name.startswith("TICKLOOM_")]:
        if name != "TICKLOOM_CONFIG":  # what fixtures of running servers have set would beat the file
            monkeypatch.delenv(name)
    return path


def test_argument_beats_variable_beats_file_beats_default(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source overrides the ones before it, key by key."""
    assert KafkaSettings.load().port == 9092
    config.write_text("[kafka]\nport = 1001\nhost = 'filehost'\n")
    assert KafkaSettings.load().bootstrap == "filehost:1001"
    monkeypatch.setenv("TICKLOOM_KAFKA_PORT", "1002")
    assert KafkaSettings.load().bootstrap == "filehost:1002"
    assert KafkaSettings.load(port=1003).bootstrap == "filehost:1003"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[kafka]\nprot = 1\n", r"mine\.toml: \[kafka\] unknown key 'prot'; did you mean 'port'"),
        ("[kafak]\nport = 1\n", r"mine\.toml: unknown section \[kafak\]; did you mean 'kafka'"),
        ("[flink]\nslotz = 1\n", r"\[flink\] unknown key 'slotz'; did you mean 'slots'"),
        ("kafka = 1\n", r"kafka is a section: write \[kafka\]"),
        ("[kafka]\nport = \n", r"mine\.toml: not TOML.*line 2"),
        ("[kafka]\nport = 'many'\n", r"\[kafka\] port = 'many': .*valid integer"),
        ("[kafka]\nport = 70000\n", r"\[kafka\] port = 70000: .*less than or equal to 65535"),
        ("[kafka]\ntick_partitions = 0\n", r"tick_partitions = 0: .*greater than or equal to 1"),
    ],
)
def test_mistake_in_the_file_is_refused_with_its_remedy(config: Path, text: str, message: str) -> None:
    """A misspelt section or key, of this process or another, is refused with the nearest name; a value that
    cannot be is refused with the reason."""
    config.write_text(text)
    with pytest.raises(SettingsError, match=message):
        KafkaSettings.load()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "TICKLOOM_KAFKA_PROT",
            "1",
            "TICKLOOM_KAFKA_PROT; did you mean TICKLOOM_KAFKA_PORT",
        ),
        ("TICKLOOM_QUSTDB_HTTP_PORT", "1", "did you mean TICKLOOM_QUESTDB_HTTP_PORT"),
        ("TICKLOOM_KAFKA_PORT", "x", r"port = 'x' \(from TICKLOOM_KAFKA_PORT\)"),
    ],
)
def test_mistake_in_the_environment_is_refused_with_its_remedy(
    config: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    """A variable that looks like a setting and is none is refused, and so is a wrong value, by its name."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=message):
        KafkaSettings.load()


def test_unknown_argument_is_refused(config: Path) -> None:
    """A misspelt override in code is refused too."""
    with pytest.raises(SettingsError, match=r"unknown key 'prot'; did you mean 'port'"):
        KafkaSettings.load(prot=1)


def test_missing_file_is_refused_when_it_was_named(config: Path) -> None:
    """A settings file that was asked for and is not there is an error; no file at all is none."""
    config.unlink()
    with pytest.raises(SettingsError, match=r"mine\.toml: No such file"):
        KafkaSettings.load()


def test_file_that_is_no_text_is_refused(config: Path) -> None:
    """Bytes that are no UTF-8 are no TOML either, and no traceback."""
    config.write_bytes(b"\xff\xfe[kafka]")
    with pytest.raises(SettingsError, match=r"mine\.toml: not UTF-8: .*Mend it"):
        KafkaSettings.load()


def test_file_in_the_working_directory_is_found(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without TICKLOOM_CONFIG, tickloom.toml of the working directory is read."""
    monkeypatch.delenv("TICKLOOM_CONFIG")
    monkeypatch.chdir(tmp_path)
    assert KafkaSettings.load().port == 9092
    (tmp_path / "tickloom.toml").write_text("[kafka]\nport = 1001\n")
    assert KafkaSettings.load().port == 1001


@pytest.mark.parametrize("value", ["kafka, questdb", '["kafka", "questdb"]', "kafka,questdb,"])
def test_list_in_a_variable_is_json_or_has_commas(
    config: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """A user writes a list as on any command line; children get JSON; both are read."""
    monkeypatch.setenv("TICKLOOM_STACK_SERVICES", value)
    assert StackSettings.load().services == ("kafka", "questdb")


def test_broken_list_is_refused(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON that does not parse is a settings error, not a traceback."""
    monkeypatch.setenv("TICKLOOM_STACK_SERVICES", '["kafka"')
    with pytest.raises(SettingsError, match="from TICKLOOM_STACK_SERVICES"):
        StackSettings.load()


@pytest.mark.parametrize("kind", SECTIONS.values(), ids=list(SECTIONS))
def test_environment_gives_a_child_the_same_settings(
    config: Path, monkeypatch: pytest.MonkeyPatch, kind: type[ProcessSettings]
) -> None:
    """Settings turned into variables and loaded again are equal: what the stack hands to its children."""
    settings = kind.load()
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert kind.load() == settings


def test_values_of_each_type_survive_the_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tuples, floats and paths come back as they were."""
    binance = BinanceSettings.load(instruments=("A-B", "C-D"), linger_ms=0.25)
    questdb = QuestDbSettings.load(password_file="/a b/c")
    for settings in (binance, questdb):
        for name, value in settings.environment().items():
            monkeypatch.setenv(name, value)
    assert BinanceSettings.load() == binance
    assert QuestDbSettings.load() == questdb


def test_password_is_the_first_line_of_its_file(config: Path, tmp_path: Path) -> None:
    """The QuestDB password comes from a file, without its line end; a missing or empty file is named."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    assert "password=hunter2 " in QuestDbSettings.load(password_file=secret).dsn
    secret.write_text("")
    with pytest.raises(SettingsError, match="secret"):
        QuestDbSettings.load(password_file=secret).password()


def test_free_ports_are_all_different_and_reach_the_children(config: Path) -> None:
    """A stack moved to free ports has no port twice, and its environment carries each of them."""
    moved = StackConfiguration.load().with_free_ports()
    environment = moved.environment()
    variables = [
        f"TICKLOOM_{section}_{key}".upper() for section, kind in SECTIONS.items() for key in port_keys(kind)
    ]
    values = [environment[variable] for variable in variables]
    assert len(variables) > 15
    assert len(set(values)) == len(values)
    assert environment["TICKLOOM_FLINK_REST_PORT"] == str(moved.flink.rest_port)
    assert moved.flink.rest_port != FlinkSettings.load().rest_port
