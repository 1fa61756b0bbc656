"""The real servers, launched as the stack launches them."""

from __future__ import annotations

import json

import psycopg
from confluent_kafka.admin import AdminClient, NewTopic

from tickloom.settings import FlinkSettings, KafkaSettings, QuestDbSettings
from tickloom.stack.service import http_get


def test_questdb_answers_on_the_ports_of_the_settings(questdb: QuestDbSettings) -> None:
    """The server is the pinned version, speaks SQL on both ports, and the settings in the environment
    lead to it."""
    assert QuestDbSettings.load().http_port == questdb.http_port
    answer = json.loads(http_get(f"{questdb.http_url}/exec?query=select%20build()"))
    assert "9.3.4" in answer["dataset"][0][0]
    with psycopg.connect(questdb.dsn) as connection:
        assert connection.execute("SELECT 6 * 7").fetchone() == (42,)


def test_kafka_creates_no_topic_by_itself(kafka: KafkaSettings) -> None:
    """A topic exists only when it was declared: a misspelt one is an error, not a new topic."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic("declared", 3, 1)])["declared"].result(20)
    assert len(admin.list_topics(timeout=20).topics["declared"].partitions) == 3
    unknown = admin.list_topics("misspelt", timeout=20).topics["misspelt"].error
    assert unknown is not None
    assert "UNKNOWN" in unknown.str().upper().replace(" ", "_")


def test_flink_offers_the_slots_of_the_settings(flink: FlinkSettings) -> None:
    """The session cluster is Flink 2.3, with one TaskManager and its slots."""
    overview = json.loads(http_get(f"{flink.rest_url}/overview"))
    assert overview["flink-version"] == "2.3.0"
    assert (overview["taskmanagers"], overview["slots-total"]) == (1, flink.slots)
