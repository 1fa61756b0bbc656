"""Launching runs as a user does: through the webserver, carried out by Dagster's own run queue."""

from __future__ import annotations

from typing import Any

import httpx

from tickloom.cli.demo.phases import until
from tickloom.errors import ServiceError
from tickloom.settings import DagsterSettings

LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
STATUS = "query ($id: ID!) { runOrError(runId: $id) { __typename ... on Run { status } } }"


def launch_and_wait(
    settings: DagsterSettings, job: str, partitions: list[tuple[str, str]], timeout_s: float
) -> None:
    """Launch a run of ``job`` for each (day, venue) and wait until all have succeeded; an empty venue where a
    partition of the job is a day.

    Raises
    ------
    ServiceError
        Dagster refused a run, or one failed; the UI's address leads to its log.
    """
    url = f"http://{settings.host}:{settings.port}"
    with httpx.Client(base_url=url, timeout=30.0, trust_env=False) as client:
        runs = [_launch(client, job, day, venue) for day, venue in partitions]
        open_runs = set(runs)

        def all_ended() -> bool:
            for run in sorted(open_runs):
                status = _ask(client, STATUS, {"id": run})["runOrError"]["status"]
                if status in ("FAILURE", "CANCELED"):
                    raise ServiceError(f"Dagster run of {job} ended as {status}: see {url}/runs/{run}")
                if status == "SUCCESS":
                    open_runs.discard(run)
            return not open_runs

        until(f"the end of Dagster's {job}", all_ended, timeout_s, f"see {url}/runs")


def _launch(client: httpx.Client, job: str, day: str, venue: str) -> str:
    params = {
        "selector": {
            "repositoryLocationName": "orchestration.definitions",
            "repositoryName": "__repository__",
            "jobName": job,
        },
        "mode": "default",
        "runConfigData": {},
        "executionMetadata": {
            "tags": [
                {"key": "dagster/partition", "value": f"{day}|{venue}"},
                {"key": "dagster/partition/date", "value": day},
                {"key": "dagster/partition/venue", "value": venue},
            ]
            if venue
            else [{"key": "dagster/partition", "value": day}]
        },
    }
    answer = _ask(client, LAUNCH, {"params": params})["launchRun"]
    if answer["__typename"] != "LaunchRunSuccess":
        raise ServiceError(f"Dagster refused to run {job} for {day} {venue}: {answer}")
    run_id: str = answer["run"]["runId"]
    return run_id


def _ask(client: httpx.Client, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/graphql", json={"query": query, "variables": variables}).json()
    if "errors" in answer:
        raise ServiceError(f"Dagster's GraphQL: {answer['errors'][0]['message']}")
    data: dict[str, Any] = answer["data"]
    return data
