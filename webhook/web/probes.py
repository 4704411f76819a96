"""/healthz: the process responds. /readyz: deliveries can be stored, and a worker is running."""

import psycopg
from flask import Blueprint, Response, jsonify

from webhook.store import jobs, schema
from webhook.store.database import SyncPool

# Seconds without a heartbeat after which a worker counts as dead.
HEARTBEAT_LIMIT = 30.0
OK = "ok"


def blueprint(pool: SyncPool) -> Blueprint:
    bp = Blueprint("probes", __name__)

    @bp.get("/healthz")
    def healthz() -> Response:
        return jsonify(status=OK)

    @bp.get("/readyz")
    def readyz() -> Response:
        checks = _checks(pool)
        ready = all(result == OK for result in checks.values())
        response = jsonify(ready=ready, **checks)
        response.status_code = 200 if ready else 503
        return response

    return bp


def _checks(pool: SyncPool) -> dict[str, str]:
    try:
        with pool.connection() as connection:
            migrations = _migrations(schema.revision(connection))
            if migrations != OK:
                return {"store": OK, "migrations": migrations, "worker": "unknown"}
            worker = _worker(jobs.seconds_since_heartbeat(connection))
            return {"store": OK, "migrations": OK, "worker": worker}
    except psycopg.Error:
        error = "does not respond; check GITPLOY_STORE_SOURCE and PostgreSQL"
        return {"store": error, "migrations": "unknown", "worker": "unknown"}


def _migrations(found: str | None) -> str:
    if found == schema.NEWEST_REVISION:
        return OK
    return f"at {found or 'none'}, not {schema.NEWEST_REVISION}; run: python -m webhook migrate"


def _worker(seconds: float | None) -> str:
    if seconds is None:
        return "none is running; start one: python -m webhook worker"
    if seconds > HEARTBEAT_LIMIT:
        return f"last heartbeat {seconds:.0f} s ago; start one: python -m webhook worker"
    return OK
