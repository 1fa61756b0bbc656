"""Partitions as Kafka's own clients choose them."""

from __future__ import annotations

import pytest

from tickloom import topics


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(text: bytes, expected: int) -> None:
    """The vectors of Kafka's own test (UtilsTest.testMurmur2), which are signed."""
    assert topics.murmur2(text) == expected & 0xFFFF_FFFF


@pytest.mark.parametrize("partitions", [1, 2, 4, 7, 256])
def test_every_partition_has_a_key(partitions: int) -> None:
    """Short, of its own, and one that the partitioner sends there."""
    keys = [topics.partition_key(number, partitions) for number in range(partitions)]
    assert len(set(keys)) == partitions
    assert max(map(len, keys)) <= 4
    for number, key in enumerate(keys):
        assert (topics.murmur2(key) & 0x7FFF_FFFF) % partitions == number


def test_a_partition_that_there_is_not() -> None:
    """Is an error, not an endless search."""
    with pytest.raises(ValueError, match="partition 4 of 4"):
        topics.partition_key(4, 4)
