"""Ingesters as services: each can be named, and what it needs reaches it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ingest._template.declaration import TemplateSettings
from ingest.declared import declared
from tickloom.cli.demo.sources import Synthetic
from tickloom.cli.stack import down
from tickloom.errors import SettingsError
from tickloom.settings import StackSettings
from tickloom.settings import feeds as feed_settings
from tickloom.stack import doctor, ingesters, prepare
from tickloom.stack.applications import NAMES, catalogue, names
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.ports import taken

OUTSIDE = ("iex", "mdp3", "dbn", "binance", "kraken", "okx", "coinbase", "bybit", "news")


@pytest.fixture(autouse=True)
def feeds() -> None:
    """Those of the folders are known, as to `tickloom up`."""
    declared()


def configuration(tmp_path: Path, *services: str) -> StackConfiguration:
    return StackConfiguration.load(stack={"data_dir": tmp_path, "services": services})


@pytest.mark.parametrize("name", ["itch", *OUTSIDE])
def test_ingester_is_a_service_by_its_name(tmp_path: Path, name: str) -> None:
    """It runs `tickloom ingest NAME` behind the servers, and its metrics port is what doctor looks at."""
    found = configuration(tmp_path, name)
    (one,) = catalogue(found)
    assert one.argv == (sys.executable, "-m", "tickloom", "ingest", name)
    assert one.depends_on == ("kafka", "questdb", "schema")
    assert one.ports[f"{name}.metrics_port"] == getattr(found, name).metrics_port
    assert found.environment()[f"TICKLOOM_{name}_METRICS_PORT".upper()]


def test_what_connects_to_the_outside_runs_only_when_it_is_named() -> None:
    """None of them is in the default of stack.services."""
    assert not {*OUTSIDE, "template"} & set(StackSettings.load().services)


def test_news_says_where_it_reads(tmp_path: Path) -> None:
    """`tickloom status` shows the file of sources."""
    (news,) = catalogue(configuration(tmp_path, "news"))
    assert news.address == "reads the sources of strategies/news.toml"


def test_declared_feed_is_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tickloom ingest live NAME` with its settings in the environment, behind the other ingesters."""
    monkeypatch.setenv("TICKLOOM_FEEDS_TEMPLATE_HOST", "10.0.0.7")
    found = configuration(tmp_path, "news", "template", "spreads")
    assert [one.name for one in catalogue(found)] == ["news", "template", "spreads"]
    one = catalogue(found)[1]
    assert one.argv[2:] == ("tickloom", "ingest", "live", "template")
    assert one.ports == {"feeds.template.metrics_port": TemplateSettings.load().metrics_port}
    assert found.environment()["TICKLOOM_FEEDS_TEMPLATE_HOST"] == "10.0.0.7"
    assert one.environment["TICKLOOM_FEEDS_TEMPLATE_HOST"] == "10.0.0.7"


def test_declared_feed_may_be_named_on_the_command_line_alone(tmp_path: Path) -> None:
    """Its settings are then read when it is asked for; a stack that does not run it does not read them."""
    found = configuration(tmp_path, "news")
    assert found.feeds == {}
    (one,) = catalogue(found, ["template"])
    assert one.environment["TICKLOOM_FEEDS_TEMPLATE_PORT"] == str(TemplateSettings.load().port)


def test_declared_feed_moves_to_a_free_port(tmp_path: Path) -> None:
    """Its metrics do; its venue stays where it is."""
    before = configuration(tmp_path, "template")
    moved = before.with_free_ports()
    assert moved.feeds["template"].metrics_port != before.feeds["template"].metrics_port
    assert moved.environment()["TICKLOOM_FEEDS_TEMPLATE_PORT"] == str(TemplateSettings.load().port)
    assert len(moved.ports()) == len(set(moved.ports().values()))


def test_taken_port_of_a_declared_feed_is_told_with_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name that a shell can set: no dot in it."""
    monkeypatch.setattr("tickloom.stack.ports.is_free", lambda *_, **__: False)
    (line,) = taken({"feeds.template.metrics_port": 9420})
    assert "set TICKLOOM_FEEDS_TEMPLATE_METRICS_PORT to a free one" in line


def test_feed_without_a_metrics_port_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the key to set."""
    monkeypatch.setenv("TICKLOOM_FEEDS_TEMPLATE_METRICS_PORT", "0")
    with pytest.raises(SettingsError, match=r"feeds\.template\.metrics_port = 0: .*Set it to a free port"):
        catalogue(configuration(tmp_path, "template"))


def test_name_that_is_none_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """By `up`, and as a finding by doctor; the list has the feeds too."""
    found = configuration(tmp_path, "questdb", "nws")
    with pytest.raises(
        SettingsError, match=r"no service 'nws'; did you mean 'news'\? There are questdb.*template"
    ):
        catalogue(found)
    (finding,) = doctor.check_ports(found)
    assert not finding.ok
    assert "'nws'" in finding.detail


def test_feed_with_the_name_of_a_service_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of both would never run."""
    monkeypatch.setitem(feed_settings.LIVE, "agent", TemplateSettings)
    with pytest.raises(SettingsError, match="feed 'agent' has the name of a service"):
        names(configuration(tmp_path, "news"))


def test_topics_of_the_named_ingesters_are_prepared(tmp_path: Path) -> None:
    """Those of `schema` itself, and what the chosen ingesters write to beside."""
    (schema, *_) = catalogue(configuration(tmp_path, "schema", "news", "kraken", "template"))
    prepared = schema.argv[schema.argv.index("tickloom.stack.prepare") + 1 :]
    assert prepared == (
        *("book.KRAKEN", "book.TEMPLATE", "news", "ticks.KRAKEN", "ticks.TEMPLATE"),
        *("trust.KRAKEN", "trust.NEWS", "trust.TEMPLATE"),
    )
    assert "ticks.BINANCE" in prepare.topic_names()


def test_topics_given_to_prepare_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, with those that are always there; then the tables follow."""
    asked: list[list[str]] = []
    ran: list[list[str]] = []
    monkeypatch.setattr(sys, "argv", ["prepare", "news", "ticks.XNAS"])
    monkeypatch.setattr("tickloom.topics.ensure_topics", lambda made, settings: asked.append(made))
    monkeypatch.setattr("os.execv", lambda program, argv: ran.append(argv))
    prepare.main()
    assert asked == [sorted({*prepare.topic_names(), "news"})]
    assert ran[0][-2:] == ["schema", "apply"]


def test_every_ingester_is_in_the_catalogue() -> None:
    """In one row, in the order of their own module."""
    at = NAMES.index("itch")
    assert NAMES[at : at + len(ingesters.NAMES)] == ingesters.NAMES


def test_broken_declaration_keeps_nobody_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`tickloom down` asks for no feed."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("ingest.declared.declared", lambda: pytest.fail("it was asked"))
    down()
    assert "no stack runs" in capsys.readouterr().out


def test_demo_has_its_ingesters(tmp_path: Path) -> None:
    """One of ITCH and one of coins."""
    services = Synthetic(None, None).services(configuration(tmp_path))
    assert [one.name for one in services.ingesters] == ["itch", "binance"]
