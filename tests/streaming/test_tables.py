"""The tables' layout: equal to the codec's schema and to what the kernel calls a signal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streaming import tables
from tickloom.codec import SCHEMA
from tickloom.events import Signal
from tickloom.settings import KafkaSettings


def test_signal_columns_are_the_kernels() -> None:
    """The sink's columns are the fields of Signal, in their order."""
    assert [name for name, _ in tables.SIGNAL_COLUMNS] == list(Signal.__struct_fields__)


def test_views_have_what_rules_order_by() -> None:
    """Every view has a symbol and a seq; event_time is the harness's."""
    for view in tables.EVENT_VIEWS:
        assert {"symbol", "ts_event", "seq"} <= set(tables.event_columns([view]))


def test_columns_of_one_name_are_of_one_type() -> None:
    """Views share the columns of one row, so a name means one type."""
    for view, (_, columns) in tables.EVENT_VIEWS.items():
        everything = tables.event_columns(list(tables.EVENT_VIEWS))
        assert {name: everything[name] for name, _, _ in columns} == tables.event_columns([view])


@pytest.mark.slow
def test_flink_derives_the_codecs_schema(flink: Any) -> None:
    """The Avro schema that Flink makes of the batch table is the codec's, but for names of records."""
    from pyflink.java_gateway import get_gateway

    from streaming.live.gateway import table_environment

    table_env = table_environment(flink, {"table.local-time-zone": "UTC"})
    ddl = tables.batches_ddl("ticks.NONE", KafkaSettings.load(), {"scan.startup.mode": "earliest-offset"})
    table_env.execute_sql(ddl)
    names = ", ".join(f"`{field['name']}`" for field in SCHEMA["fields"])
    table = table_env.sql_query(f"SELECT {names} FROM {tables.BATCHES}")
    row_type = table._j_table.getResolvedSchema().toPhysicalRowDataType().getLogicalType()
    converter = get_gateway().jvm.org.apache.flink.formats.avro.typeutils.AvroSchemaConverter
    derived = converter.convertToSchema(row_type.copy(False)).toString()
    assert _unnamed(json.loads(derived)) == _unnamed(SCHEMA)


def _unnamed(schema: Any) -> Any:
    """The schema without what a record is called: binary Avro does not carry it."""
    if isinstance(schema, list):
        return [_unnamed(entry) for entry in schema]
    if isinstance(schema, dict):
        dropped = ("namespace", "name") if schema.get("type") == "record" else ()
        return {key: _unnamed(value) for key, value in schema.items() if key not in dropped}
    return schema
