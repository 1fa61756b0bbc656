"""Simple Binary Encoding: an XML schema in, decoders out.

The way: :mod:`ingest.sbe.schema` reads the XML into the types of :mod:`ingest.sbe.model`, with every offset,
size and null value worked out; :mod:`ingest.sbe.layout` turns a block of fields into a numpy structured
dtype; :mod:`ingest.sbe.columns` decodes many messages at once into columns (compiled), and
:mod:`ingest.sbe.objects` one message into plain Python values, for tools and tests.

Source: FIX Simple Binary Encoding, technical specification 1.0 (with errata): sections 2 (field encoding), 3
(message structure), 4 (schema), 5 (extension). Covered: types, composites (nested, ``ref``), enums, sets,
constant and optional fields, groups (nested), variable-length data, both byte orders, and messages of an
older or newer version than the schema. Not covered: semantic checks of values (``minValue``, ``maxValue``).
"""

from ingest.sbe.columns import ColumnDecoder
from ingest.sbe.model import Schema
from ingest.sbe.objects import ObjectDecoder
from ingest.sbe.schema import load_schema, parse_schema

__all__ = ["ColumnDecoder", "ObjectDecoder", "Schema", "load_schema", "parse_schema"]
