"""A savepoint in, the Kafka offsets at which its job stopped out.

The state of Flink's Kafka source (its list state ``SourceReaderState``) is an entry for each partition, in
Flink's ``SimpleVersionedSerialization`` of ``KafkaPartitionSplitSerializer`` version 0, big-endian::

    int32 bytes behind it | int32 version | int32 bytes behind it |
    int16 length, topic | int32 partition | int64 next offset | int64 where it ends

A job commits its offsets to its consumer group too, but those of the savepoint that stops it are lost
more often than not, because the source closes at once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from streaming.live.gateway import flink_errors, prepare_jvm
from tickloom.errors import ServiceError
from tickloom.settings import FlinkSettings

METADATA = "_metadata"
_SOURCE_STATE = "SourceReaderState"
_SPLIT_VERSION = 0

Offsets = dict[tuple[str, int], int]


def local_path(location: str) -> Path:
    """A savepoint's directory; Flink names it by a URL, with or without an authority."""
    return Path(unquote(urlparse(location).path))


def offsets(location: str, flink: FlinkSettings) -> Offsets:
    """Next offset of each topic and partition. Empty where the savepoint cannot be read from here.

    Raises
    ------
    ServiceError
        What is there is no savepoint of this Flink.
    """
    metadata = local_path(location) / METADATA
    if not metadata.exists():
        return {}
    prepare_jvm()
    from pyflink.java_gateway import get_gateway

    jvm = get_gateway().jvm
    found: Offsets = {}
    with flink_errors(flink, lambda _, reason: ServiceError(f"{metadata} is no savepoint: {reason}")):
        for handle in _operator_states(jvm, metadata):
            states = handle.getStateNameToPartitionOffsets()
            if _SOURCE_STATE in states:
                raw = _bytes(handle.getDelegateStateHandle())
                for at in states[_SOURCE_STATE].getOffsets():
                    topic, partition, offset = split(raw, int(at))
                    found[topic, partition] = offset
    return found


def split(raw: bytes, at: int) -> tuple[str, int, int]:
    """Topic, partition and next offset of the entry at ``at``.

    Raises
    ------
    ServiceError
        It is of a version that is not known.
    """
    _, version, _ = struct.unpack_from(">iii", raw, at)
    if version != _SPLIT_VERSION:
        raise ServiceError(
            f"the savepoint's Kafka source has version {version}, known is {_SPLIT_VERSION}. "
            "Submit the rule with --from latest or earliest."
        )
    at += 12
    (length,) = struct.unpack_from(">H", raw, at)
    topic = raw[at + 2 : at + 2 + length].decode()
    partition, offset = struct.unpack_from(">iq", raw, at + 2 + length)
    return topic, partition, offset


def _operator_states(jvm: Any, metadata: Path) -> Iterator[Any]:
    """Handles of all operators' list states. py4j iterates arrays, and not every collection."""
    stream = jvm.java.io.DataInputStream(jvm.java.io.FileInputStream(str(metadata)))
    try:
        loader = jvm.Thread.currentThread().getContextClassLoader()
        loaded = jvm.org.apache.flink.runtime.checkpoint.Checkpoints.loadCheckpointMetadata(
            stream, loader, str(metadata)
        )
    finally:
        stream.close()
    for operator in loaded.getOperatorStates().toArray():
        for subtask in operator.getStates().toArray():
            yield from subtask.getManagedOperatorState().toArray()


def _bytes(handle: Any) -> bytes:
    """Small states lie in the metadata, larger ones in files beside it."""
    inline = handle.asBytesIfInMemory()
    return bytes(inline.get()) if inline.isPresent() else Path(handle.getFilePath().getPath()).read_bytes()
