"""Captures of a day and venue, verified byte for byte and packed."""

import dagster as dg  # annotations are read at run time: no postponed ones here

from ingest.capture_sessions import pack, verify
from orchestration.defs.partitions import DAY_AND_VENUE, capture_sessions, day_and_venue
from tickloom.errors import CaptureError


@dg.asset(
    partitions_def=DAY_AND_VENUE,
    group_name="archive",
    kinds={"file"},
    check_specs=[
        dg.AssetCheckSpec(
            "captures_sound",
            asset="packed_captures",
            description="Every record of every session has its checksum, and none is missing.",
        )
    ],
    description="The captures of a day and venue, read to the last byte, then compressed with an index. "
    "Loads, counts and lineage read packed segments as they read plain ones.",
)
def packed_captures(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Verify each session of the partition; pack those that are sound."""
    day, venue = day_and_venue(context)
    sessions = capture_sessions(day, venue)
    if not sessions:
        raise dg.Failure(f"no capture of {venue} on {day}: nothing to pack", allow_retries=False)
    records = plain_bytes = packed_bytes = 0
    damaged: dict[str, str] = {}
    for path in sessions:
        context.log.info("verifying %s %s", venue, path.name)
        try:
            records += verify(path).records
            for packed in pack(path):
                plain_bytes += packed.plain_bytes
                packed_bytes += packed.packed_bytes
        except CaptureError as error:
            context.log.error("%s", error)
            damaged[path.name] = str(error)
    return dg.MaterializeResult(
        metadata={
            "sessions": [path.name for path in sessions],
            "records": records,
            "packed_now_mb": round(plain_bytes / 1e6, 1),
            "packed_to_mb": round(packed_bytes / 1e6, 1),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=not damaged, check_name="captures_sound", metadata={"damaged": damaged}
            )
        ],
    )
