"""Whether the relay works, for whoever monitors it.

/healthz: this process responds. /readyz: it can store deliveries. /readyz?verbose shows all
findings beside it, and what counts for no status (`SHOWN`); /workz responds with 503
where a finding is not `ok`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, timedelta
from threading import Lock
from time import monotonic

import psycopg
from flask import Blueprint, Response, jsonify, request
from psycopg.errors import UndefinedTable

from webhook.invocation import COMMAND
from webhook.store import deliveries, outbox, recovery, schedule, schema, workers
from webhook.store.database import Sync, SyncPool
from webhook.store.unavailable import store_reason
from webhook.timing import DEFAULT_TIMING, Timing

# Seconds without a heartbeat after which a worker counts as dead.
HEARTBEAT_LIMIT = 30.0
# Seconds that a job may wait before the workers count as too few, or as stuck.
QUEUE_LIMIT = 60.0
# For so long a comparison with GitHub's list may fail: its limits and outages are shorter.
COMPARISON_LIMIT = timedelta(minutes=30)
# Dead letters are counted up to so many.
MOST_COUNTED = 1000
OK = "ok"
UNKNOWN = "unknown"

# `ok`, or what is wrong and what to do about it.
Check = Callable[[Sync], str]
Findings = dict[str, str]


def blueprint(pool: SyncPool, timing: Timing = DEFAULT_TIMING) -> Blueprint:
    bp = Blueprint("probes", __name__)
    # In this order: what comes first is in the way of the rest.
    readiness: Mapping[str, Check] = {"store": _Store(timing), "migrations": _migrations}

    @bp.get("/healthz")
    def healthz() -> Response:
        return jsonify(status=OK)

    @bp.get("/readyz")
    def readyz() -> Response:
        ready = findings(pool, readiness)
        rest = findings(pool, {**WORK, **SHOWN}) if "verbose" in request.args else {}
        return _response("ready", ready, rest)

    @bp.get("/workz")
    def workz() -> Response:
        return _response("working", findings(pool, {**readiness, **WORK}), {})

    return bp


def findings(pool: SyncPool, checks: Mapping[str, Check]) -> Findings:
    """What cannot be asked is `unknown`: the first finding says why."""
    findings = dict.fromkeys(checks, UNKNOWN)
    try:
        with pool.connection() as connection:
            for name, check in checks.items():
                findings[name] = check(connection)
    except UndefinedTable:
        pass  # `migrations` says so
    except psycopg.Error as error:
        findings["store"] = store_reason(error)
    return findings


def _response(title: str, counted: Findings, shown: Findings) -> Response:
    """The status depends on what is counted; the rest is only shown."""
    good = all(finding == OK for finding in counted.values())
    response = jsonify({title: good, **shown, **counted})
    response.status_code = 200 if good else 503
    return response


class _Store:
    """Writes as a delivery does, since a full disk shows then only; now and then, whoever asks."""

    def __init__(self, timing: Timing) -> None:
        self._interval = timing.write_check_interval.total_seconds()
        self._lock = Lock()
        self._next = 0.0
        self._found = OK

    def __call__(self, connection: Sync) -> str:
        with self._lock:
            if monotonic() >= self._next:
                self._found = self._write(connection)
                self._next = monotonic() + self._interval
            return self._found

    def _write(self, connection: Sync) -> str:
        try:
            deliveries.check_insert(connection)
        except UndefinedTable:
            return OK  # `migrations` says so
        except psycopg.Error as error:
            return store_reason(error)
        return OK


def _migrations(connection: Sync) -> str:
    found = schema.revision(connection)
    if found == schema.NEWEST_REVISION or schema.is_newer(found):
        return OK
    return f"at {found or 'none'}, not {schema.NEWEST_REVISION}; run: {COMMAND} migrate"


def _worker(connection: Sync) -> str:
    seconds = workers.seconds_since_seen(connection)
    if seconds is None:
        return f"none is running; start one: {COMMAND} worker"
    if seconds > HEARTBEAT_LIMIT:
        return f"last heartbeat {seconds:.0f} s ago; start one: {COMMAND} worker"
    return OK


def _queue(connection: Sync) -> str:
    seconds = schedule.longest_overdue(connection)
    if seconds <= QUEUE_LIMIT:
        return OK
    return f"a job has waited for {seconds:.0f} s; read the workers' log, or start another worker"


def _github(connection: Sync) -> str:
    found = [one.public for one in outbox.unsent_statuses(connection)]
    return "; ".join([*found, f"for the repository, run: {COMMAND} check"]) if found else OK


def _deliveries(connection: Sync) -> str:
    found = recovery.summary(connection)
    if found.failing_for is None or found.failing_for < COMPARISON_LIMIT:
        return OK
    minutes = found.failing_for.total_seconds() // 60
    return f"not compared with GitHub's list for {minutes:.0f} min; run: {COMMAND} check"


def _compared(connection: Sync) -> str:
    """Also where that is as it should be."""
    found = recovery.summary(connection)
    if (finding := _deliveries(connection)) != OK:
        return finding
    if found.compared_at is None:
        return "not compared with GitHub's list yet"
    counts = f"{found.found} found, {found.missing} missing, {found.given_up} given up"
    at = found.compared_at.astimezone(UTC).isoformat(timespec="seconds")
    more = f"; run: {COMMAND} check" if found.given_up else ""
    return f"compared with GitHub's list at {at}: {counts}{more}"


def _dead_letters(connection: Sync) -> str:
    count = deliveries.dead_letters(connection, MOST_COUNTED)
    if not count:
        return OK
    found = f"{count if count < MOST_COUNTED else f'{MOST_COUNTED} or more'} could not be processed"
    return f"{found}; see: {COMMAND} deliveries --outcome failed"


# Whether what was stored is worked on, and reaches GitHub: for people and their monitoring.
WORK: Mapping[str, Check] = {
    "worker": _worker,
    "queue": _queue,
    "github": _github,
    "deliveries": _deliveries,
}


def _config(connection: Sync) -> str:
    """During a reload, it passes."""
    if not workers.several_configs(connection):
        return OK
    read = "workers on one machine have read different deploy.yml files"
    return f"{read}; if that lasts, run there: {COMMAND} reload"


# Nothing stands still for it.
SHOWN: Mapping[str, Check] = {
    "deliveries": _compared,
    "config": _config,
    "dead_letters": _dead_letters,
}
