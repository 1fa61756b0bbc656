"""Feeds that declare themselves: one folder each; their settings are as strict as any."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from typer.testing import CliRunner

from ingest import declared as declarations
from ingest import feeds
from ingest._template import session
from ingest._template.declaration import TemplateSettings
from ingest._template.decoder import TemplateDecoder
from ingest.feeds import FEEDS, decoder_for, live_of
from ingest.itch import session as itch_session
from tickloom.cli import ingest as command
from tickloom.cli.ingest import app
from tickloom.errors import SettingsError
from tickloom.instruments import Registry, Venue
from tickloom.settings import KafkaSettings
from tickloom.settings.feeds import FeedSettings, declare

REGISTERED = Registry({"TEMPLATE": Venue("TEMPLATE", "", "template", "UTC", "USD")}, [])


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "tickloom.toml"
    path.touch()
    monkeypatch.setenv("TICKLOOM_CONFIG", str(path))
    return path


def test_folder_is_found() -> None:
    """Nothing names the template but its own folder; the registry of instruments leads to its decoder."""
    assert FEEDS["template"].settings is TemplateSettings
    registry = Registry({"V": Venue("V", "", "template", "UTC", "USD")}, [])
    assert isinstance(decoder_for("V", "20261120", registry), TemplateDecoder)
    kind, run = live_of("template")
    assert kind is TemplateSettings
    assert run.__module__ == "ingest._template.session"


def test_feed_without_a_session_is_refused() -> None:
    """With the names of those that have one."""
    for name in ("kraken", "morse"):
        with pytest.raises(SettingsError, match=rf"no feed '{name}' to run; known are template"):
            live_of(name)


def test_command_runs_what_is_declared(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``tickloom ingest live`` hands the feed's settings to its session, and refuses what is no such feed."""
    config.write_text("[feeds.template]\nport = 77\n")
    ran: list[TemplateSettings] = []
    monkeypatch.setattr(feeds.Registry, "load", lambda: REGISTERED)
    monkeypatch.setattr(session, "run", lambda settings, sinks, stop: ran.append(settings))
    runner = CliRunner()
    assert runner.invoke(app, ["live", "template"], catch_exceptions=False).exit_code == 0
    assert [settings.port for settings in ran] == [77]
    with pytest.raises(SettingsError, match="no feed 'morse' to run"):
        runner.invoke(app, ["live", "morse"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("venue", "why"),
    [("TEMPLATE", "is not in strategies/instruments.toml"), ("KRAKEN", "is of feed 'kraken' there")],
)
def test_venue_that_is_not_registered_is_refused(
    config: Path, monkeypatch: pytest.MonkeyPatch, venue: str, why: str
) -> None:
    """Before anything is captured that nobody could decode, with what to write where."""
    config.write_text(f'[feeds.template]\nvenue = "{venue}"\n')
    monkeypatch.setattr(session, "run", lambda *_: pytest.fail("it ran"))
    with pytest.raises(
        SettingsError, match=rf"feeds\.template\.venue = '{venue}' {why}.*\[venues\.{venue}\]"
    ):
        CliRunner().invoke(app, ["live", "template"], catch_exceptions=False)


@pytest.mark.parametrize(
    "name", ["iex", "mdp3", "dbn", "binance", "kraken", "okx", "coinbase", "bybit", "news"]
)
def test_unknown_venue_ends_every_ingester_that_needs_its_names(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also one that would otherwise listen, and decode nothing."""
    monkeypatch.setenv(f"TICKLOOM_{name.upper()}_VENUE", "NOPE")
    with pytest.raises(SettingsError, match=rf"{name}\.venue = 'NOPE' is not in"):
        CliRunner().invoke(app, [name], catch_exceptions=False)


def test_itch_needs_no_registry_but_no_venue_of_another_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stocks are named on the wire: it goes on and says what nobody else will be able to read."""
    ran: list[str] = []
    monkeypatch.setattr(command, "configure_logging", lambda _: None)
    monkeypatch.setattr(itch_session, "run", lambda settings, *_: ran.append(settings.venue))
    monkeypatch.setenv("TICKLOOM_ITCH_VENUE", "XBOS")
    with structlog.testing.capture_logs() as said:
        CliRunner().invoke(app, ["itch"], catch_exceptions=False)
    assert ran == ["XBOS"]
    assert [(one["event"], one["remedy"]) for one in said] == [
        ("venue.not_registered", "[venues.XBOS] in strategies/instruments.toml")
    ]
    monkeypatch.setenv("TICKLOOM_ITCH_VENUE", "KRAKEN")
    with pytest.raises(SettingsError, match=r"itch\.venue = 'KRAKEN' is of feed 'kraken' there"):
        CliRunner().invoke(app, ["itch"], catch_exceptions=False)


def test_another_folder_is_another_feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of that name anywhere under the folder adds its feeds; the same name again is refused."""
    folder = tmp_path / "ingest"
    (folder / "asia" / "_template").mkdir(parents=True)
    (folder / "asia" / "_template" / declarations.FILE).touch()
    (folder / "_template").mkdir()
    (folder / "_template" / declarations.FILE).touch()
    monkeypatch.setattr(declarations, "__file__", str(folder / "declared.py"))
    asked: list[str] = []

    def load(name: str) -> SimpleNamespace:
        asked.append(name)
        return SimpleNamespace(FEEDS={name.split(".")[-2]: FEEDS["template"]})

    monkeypatch.setattr(declarations.importlib, "import_module", load)
    with pytest.raises(SettingsError, match="feed '_template' is declared twice"):
        declarations.declared()
    assert asked == ["ingest._template.declaration", "ingest.asia._template.declaration"]
    (folder / "asia" / "_template").rename(folder / "asia" / "tokyo")
    assert list(declarations.declared()) == ["_template", "tokyo"]


def test_declaration_that_cannot_be_read_is_told_by_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes a feed learns which file, and what is wrong with it."""
    (tmp_path / "ingest" / "mine").mkdir(parents=True)
    (tmp_path / "ingest" / "mine" / declarations.FILE).touch()
    monkeypatch.setattr(declarations, "__file__", str(tmp_path / "ingest" / "declared.py"))
    monkeypatch.setattr(declarations.importlib, "import_module", lambda name: SimpleNamespace())
    with pytest.raises(
        SettingsError, match=r"ingest\.mine\.declaration: AttributeError: .*FEEDS.*docs/feeds"
    ):
        declarations.declared()


def test_settings_come_from_file_and_variables(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Section feeds.NAME, and variables of the same name."""
    config.write_text('[feeds.template]\nport = 1234\nvenue = "V"\n')
    assert (TemplateSettings.load().port, TemplateSettings.load().venue) == (1234, "V")
    monkeypatch.setenv("TICKLOOM_FEEDS_TEMPLATE_PORT", "1235")
    monkeypatch.delenv("TICKLOOM_KAFKA_PORT", raising=False)
    assert TemplateSettings.load().port == 1235
    assert KafkaSettings.load().port == 9092


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[feeds.template]\nprot = 1\n", "unknown key 'prot'; did you mean 'port'"),
        ("[feeds.tmplate]\nport = 1\n", r"unknown section \[feeds.tmplate\]; did you mean 'feeds.template'"),
        ("feeds = 1\n", r"unknown section \[feeds\]"),
    ],
)
def test_typing_mistakes_are_refused(config: Path, text: str, said: str) -> None:
    config.write_text(text)
    with pytest.raises(SettingsError, match=said):
        TemplateSettings.load()


def test_wrong_variable_is_refused(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKLOOM_FEEDS_TEMPLATE_PROT", "1")
    with pytest.raises(SettingsError, match="did you mean TICKLOOM_FEEDS_TEMPLATE_PORT"):
        TemplateSettings.load()


def test_process_that_runs_no_feed_lets_their_settings_be(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent reads the same file, and knows nothing of feeds."""
    config.write_text("[feeds.elsewhere]\nport = 1\n")
    monkeypatch.setenv("TICKLOOM_FEEDS_ELSEWHERE_HOST", "h")
    monkeypatch.delenv("TICKLOOM_KAFKA_PORT", raising=False)
    code = "from tickloom.settings import KafkaSettings; print(KafkaSettings.load().port)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("9092\n", 0), done.stderr


@pytest.mark.parametrize("section", ["kafka", "feeds.template"])
def test_section_of_another_is_refused(section: str) -> None:
    """A copied folder whose section was not renamed would share the settings of the first."""
    other = type("OtherSettings", (FeedSettings,), {"section": section, "__annotations__": {}})
    with pytest.raises(SettingsError, match=r"name it feeds\.NAME"):
        declare(other)


def test_declaration_loads_no_kernel() -> None:
    """Who asks which feeds there are does not load what decodes them."""
    code = "import ingest.feeds, sys; print([m for m in sys.modules if m.endswith('_template.decoder')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
