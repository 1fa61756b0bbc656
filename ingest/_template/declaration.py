"""What the feed says of itself: :mod:`ingest.feeds` finds it here. No kernel is imported for it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ingest.declared import Feed
from tickloom.settings import Port
from tickloom.settings.feeds import FeedSettings


class TemplateSettings(FeedSettings):
    """Section ``[feeds.template]`` of ``tickloom.toml``; variables ``TICKLOOM_FEEDS_TEMPLATE_...``."""

    section: ClassVar[str] = "feeds.template"
    venue: str = "TEMPLATE"
    host: str = "127.0.0.1"
    port: Port = 26420
    reconnect_ms: int = Field(200, ge=1)
    reconnect_ms_max: int = Field(30_000, ge=1)
    silence_ms_max: int = Field(5_000, ge=100)  # the venue sends a heartbeat each second
    metrics_port: Port = 9420  # of its own: two ingesters may run on one machine


#: Under the name that the registry of instruments has as a venue's feed.
FEEDS = {
    "template": Feed(
        decoder="ingest._template.decoder:TemplateDecoder",
        settings=TemplateSettings,
        session="ingest._template.session:run",
    )
}
