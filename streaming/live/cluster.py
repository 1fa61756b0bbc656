"""Questions to a Flink session cluster over its REST interface: what runs, and stop it.

Reference: Flink 2.3 documentation, "REST API" (v1).
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

import httpx

from tickloom.clock import NS_PER_MS, Clock, SystemClock
from tickloom.errors import ServiceError, ServiceTimeout
from tickloom.settings import FlinkSettings

REQUEST_TIMEOUT_S = 30.0  # a busy machine has taken ten for an answer
POLL_S = 0.1
ENDED = ("FINISHED", "CANCELED", "FAILED", "SUSPENDED")
_JOB_NAME = re.compile(r"rule: (?P<rule>\S+) v(?P<version>\S+)(?: \((?P<engine>[a-z]+)\))?")
_LATE = "numLateRecordsDropped"
_QUARANTINED = "numRecordsQuarantined"


@dataclass(frozen=True, slots=True)
class RuleJob:
    """A rule that runs, or ran, as a job.

    state: Flink's (RUNNING, RESTARTING, FAILED, ...). started_ns: UTC. late_rows: rows that came behind
    the watermark and were not looked at; quarantined: records that could not be decoded. Both since the
    job's last start; -1 where it is not known.
    """

    rule: str
    version: str
    job_id: str
    state: str
    started_ns: int
    checkpoints: int = 0
    restores: int = 0
    late_rows: int = -1
    failure: str = ""
    engine: str = "flink"
    quarantined: int = -1

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class Cluster:
    """A Flink session cluster."""

    def __init__(self, settings: FlinkSettings, clock: Clock | None = None) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        # trust_env: a proxy of the environment must not see requests to loopback
        self._http = httpx.Client(base_url=settings.rest_url, timeout=REQUEST_TIMEOUT_S, trust_env=False)

    def rule_jobs(self, *, ended: bool = False, details: bool = False) -> list[RuleJob]:
        """The rules' jobs, oldest first. ended: also those that do not run any more."""
        found = []
        for entry in self._get("/jobs/overview")["jobs"]:
            named = _JOB_NAME.fullmatch(entry["name"])
            if not named or (entry["state"] in ENDED and not ended):
                continue
            job_id, state = entry["jid"], entry["state"]
            more = self._details(job_id, state) if details else {}
            started = int(entry["start-time"]) * NS_PER_MS
            engine = named["engine"] or "flink"
            found.append(
                RuleJob(named["rule"], named["version"], job_id, state, started, engine=engine, **more)
            )
        return sorted(found, key=lambda job: job.started_ns)

    def running(self, rule: str) -> list[RuleJob]:
        """Jobs of that rule that have not ended, of whatever version."""
        return [job for job in self.rule_jobs() if job.rule == rule]

    def state(self, job_id: str) -> str:
        """Flink's state of a job, as it is now: ``/jobs/ID`` may be as old as web.refresh-interval."""
        return str(self._get(f"/jobs/{job_id}/status")["status"])

    def failure(self, job_id: str) -> str:
        """The first line of why a job failed last; "" if it never did."""
        history = self._get(f"/jobs/{job_id}/exceptions").get("exceptionHistory", {}).get("entries", [])
        if not history:
            return ""
        return _cause(str(history[0].get("stacktrace", "")))[:300]

    def event_time_ms(self, job_id: str) -> int:
        """The event time that all of a job's tasks have passed; 0 where none has one yet."""
        marks = []
        for vertex in self._get(f"/jobs/{job_id}")["vertices"]:
            for mark in self._get(f"/jobs/{job_id}/vertices/{vertex['id']}/watermarks"):
                marks.append(int(mark["value"]))
        return max(0, min(marks, default=0))

    def free_slots(self) -> int:
        """Slots that a job could take."""
        return int(self._get("/overview")["slots-available"])

    def wait_running(self, job_id: str, timeout_s: float = 60.0) -> None:
        """Return when every task of the job runs.

        Raises
        ------
        ServiceError
            The job failed or ended.
        ServiceTimeout
            It still does not run; it stays where it is.
        """
        deadline = self._deadline(timeout_s)
        while True:
            job = self._get(f"/jobs/{job_id}")
            states = {vertex["status"] for vertex in job["vertices"]}
            if job["state"] == "RUNNING" and states <= {"RUNNING", "FINISHED"}:
                return
            if job["state"] in ENDED:
                if job["state"] == "FINISHED":
                    return
                raise ServiceError(f"{job['name']} is {job['state']}: {self.failure(job_id)}")
            self._wait(
                deadline, f"{job['name']} does not run after {timeout_s:.0f} s ({', '.join(sorted(states))})"
            )

    def wait_ended(self, job_id: str, timeout_s: float) -> str:
        """Return the state in which the job ended."""
        deadline = self._deadline(timeout_s)
        while (state := self.state(job_id)) not in ENDED:
            self._wait(deadline, f"job {job_id} is {state} after {timeout_s:.0f} s")
        return state

    def parameters(self, job_id: str) -> dict[str, str]:
        """The global parameters that a job was submitted with."""
        found = self._get(f"/jobs/{job_id}/config")["execution-config"].get("user-config", {})
        return {str(name): str(value) for name, value in found.items()}

    def stop(self, job_id: str, folder: str = "", timeout_s: float = 60.0) -> str:
        """Stop a job with a savepoint; the savepoint's path.

        Parameters
        ----------
        folder : str
            Where to put it, below the cluster's folder of savepoints.

        Raises
        ------
        ServiceError
            Flink could not make the savepoint; the job runs on.
        """
        target = {"targetDirectory": f"{self._savepoints()}/{folder}"} if folder else {}
        trigger = self._post(f"/jobs/{job_id}/stop", {"drain": False, **target})["request-id"]
        deadline = self._deadline(timeout_s)
        while True:
            answer = self._get(f"/jobs/{job_id}/savepoints/{trigger}")
            if answer["status"]["id"] == "COMPLETED":
                break
            self._wait(deadline, f"job {job_id} made no savepoint in {timeout_s:.0f} s. Cancel it instead.")
        operation = answer["operation"]
        if "location" not in operation:
            cause = str(operation.get("failure-cause", {}).get("stack-trace", "")).splitlines()
            raise ServiceError(
                f"job {job_id} cannot be stopped with a savepoint ({cause[:1]}). Cancel it instead."
            )
        self.wait_ended(job_id, timeout_s)
        return str(operation["location"])

    def cancel(self, job_id: str, timeout_s: float = 60.0) -> None:
        """End a job without a savepoint. A job that has ended does not mind."""
        answer = self._request("PATCH", f"/jobs/{job_id}", None, accept=(202, 404, 409))
        if answer.status_code == 202:
            self.wait_ended(job_id, timeout_s)

    def _details(self, job_id: str, state: str) -> dict[str, Any]:
        counts = self._get(f"/jobs/{job_id}/checkpoints").get("counts", {})
        return {
            "checkpoints": int(counts.get("completed", 0)),
            "restores": int(counts.get("restored", 0)),
            "late_rows": self._counted(job_id, _LATE),
            "quarantined": self._counted(job_id, _QUARANTINED),
            "failure": "" if state == "RUNNING" else self.failure(job_id),
        }

    def _counted(self, job_id: str, counter: str) -> int:
        """Sum of a counter over all operators of a job."""
        total = 0
        for vertex in self._get(f"/jobs/{job_id}")["vertices"]:
            path = f"/jobs/{job_id}/vertices/{vertex['id']}/subtasks/metrics"
            # an operator's metric may be listed more than once
            names = {entry["id"] for entry in self._get(path) if entry["id"].endswith(counter)}
            for metric in self._get(f"{path}?get={','.join(sorted(names))}&agg=sum") if names else []:
                total += int(float(metric["sum"]))
        return total

    def _savepoints(self) -> str:
        """The cluster's folder of savepoints, as a URL."""
        known = {entry["key"]: entry["value"] for entry in self._get("/jobmanager/config")}
        folder = known.get("execution.checkpointing.savepoint-dir", "")
        if not folder:
            raise ServiceError(
                f"Flink at {self.settings.rest_url} has no execution.checkpointing.savepoint-dir. "
                "Set it, or stop the rule without a savepoint."
            )
        return str(folder).rstrip("/")

    def _deadline(self, timeout_s: float) -> int:
        return self._clock.monotonic_ns() + round(timeout_s * 1e9)

    def _wait(self, deadline_ns: int, late: str) -> None:
        if self._clock.monotonic_ns() > deadline_ns:
            raise ServiceTimeout(
                f"{late}. See {self.settings.rest_url} and `tickloom logs flink-taskmanager`."
            )
        time.sleep(POLL_S)

    def _get(self, path: str) -> Any:
        return self._request("GET", path, None).json()

    def _post(self, path: str, body: Any) -> Any:
        return self._request("POST", path, body, accept=(200, 202)).json()

    def _request(self, method: str, path: str, body: Any, accept: tuple[int, ...] = (200,)) -> httpx.Response:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ServiceError(
                f"Flink at {self.settings.rest_url} does not answer ({error}). See `tickloom status`."
            ) from error
        if answer.status_code not in accept:
            errors = "; ".join(str(line).splitlines()[0] for line in answer.json().get("errors", []))
            raise ServiceError(f"Flink refuses {method} {path}: {answer.status_code} {errors}")
        return answer


def _cause(trace: str) -> str:
    """The innermost cause in a Java stack trace; of an error in a Python worker, the Python error itself."""
    _, in_python, traceback = trace.rpartition("Traceback (most recent call last):\n")
    if in_python:
        # its frames are indented, and Java's begin with "at"
        own = [line for line in traceback.splitlines() if line.strip()]
        return next((line for line in own if not line[0].isspace()), own[0].strip() if own else "")
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by: ")]
    return causes[-1].removeprefix("Caused by: ") if causes else (lines[0] if lines else "")
