"""All that the store knows of a deployment, as a document: ids are text, for readers of JSON whose
numbers are not exact."""

from collections.abc import Iterator, Mapping
from typing import Any

from webhook.cli.documents import Document, print_facts, print_table
from webhook.deployments.automatic import cause_of, requested
from webhook.deployments.blockers import end_of
from webhook.engine.deliveries import RESULTS, reason_of
from webhook.notifiers import title_of
from webhook.store import actions, lineage, outbox, timeline
from webhook.store.database import Sync
from webhook.store.deliveries import Selection, newest
from webhook.store.deployments import DeploymentRow
from webhook.timing import utc_now

# Of one deployment.
_MOST_DELIVERIES = 100
_ON_GITHUB = {
    "sent": "written",
    "waiting": "not yet",
    "claimed": "not yet",
    "rejected": "rejected",
    "skipped": "replaced by a newer one",
    None: "",
}


def deployment_document(connection: Sync, row: DeploymentRow) -> dict[str, Any]:
    run = row.run
    found = lineage.lineage_of(connection, row.id)
    return {
        "id": str(row.id),
        "repository": row.repo,
        "environment": row.environment,
        "production": row.production,
        "ref": row.shown_ref,
        "sha": row.sha,
        "task": row.task,
        "description": row.description,
        "creator": row.creator,
        "requested_by": requested(cause_of(found.action), found.login),
        "created_from": str(found.origin_id) if found.origin_id else None,
        "created_at": row.created_at,
        "requested_at": row.requested_at,
        "requested_by_delivery": row.delivery,
        "phase": row.phase,
        "phase_at": row.phase_at,
        "status": row.status_description,
        "lateness": row.lateness,
        "handler": row.handler,
        "watched": row.watched,
        "started_at": row.started_at,
        "deadline": row.deadline,
        "ended_at": row.ended_at,
        "superseded_by": str(row.superseded_by) if row.superseded_by else None,
        "cancel_requested_by": row.cancel_requested_by,
        "tool_error": row.tool_error,
        "environment_url": row.environment_url,
        "run": run and {"id": run.id, "state": run.state, "url": run.url, "says": run.description},
        "blockers": list(_blockers(row)),
        "timeline": list(_timeline(connection, row.id)),
        "messages": list(_messages(connection, row.id)),
        "actions": list(_actions(connection, row.id)),
        "deliveries": list(_deliveries(connection, row.id)),
    }


def _blockers(row: DeploymentRow) -> Iterator[dict[str, Any]]:
    now = utc_now()
    for one in row.blockers:
        yield {
            "gate": one.gate,
            "verdict": "refuses" if one.denies else "waits",
            "until": None if one.denies else one.until,
            "ends": "" if one.denies else end_of(one, now).removeprefix("until "),
            "reason": one.reason,
            "way_out": one.way_out,
            "asks": list(one.asks),
        }


def _timeline(connection: Sync, deployment_id: int) -> Iterator[dict[str, Any]]:
    for one in timeline.of_deployment(connection, deployment_id):
        yield {
            "at": one.at,
            "by": one.actor,
            "state": one.state,
            "counted": one.counted,
            "github_id": str(one.github_id) if one.github_id else None,
            "on_github": _ON_GITHUB[one.outbox],
            "error": one.error,
            "description": one.description,
            "log_url": one.log_url,
        }


def _messages(connection: Sync, deployment_id: int) -> Iterator[dict[str, Any]]:
    for one in outbox.messages_of(connection, deployment_id):
        yield {
            "where": " ".join(title_of(one.destination)),
            "message": one.purpose,
            "state": one.state,
            "error": one.error,
        }


def _actions(connection: Sync, deployment_id: int) -> Iterator[dict[str, Any]]:
    for one in actions.of_deployment(connection, deployment_id):
        created = one.created_deployment_id
        yield {
            "at": one.at,
            "action": one.kind,
            "by": one.login or one.slack_name,
            "outcome": one.outcome,
            "created": str(created) if created else None,
            "reason": one.message,
        }


def _deliveries(connection: Sync, deployment_id: int) -> Iterator[dict[str, Any]]:
    selection = Selection(deployment_id=deployment_id)
    for one in newest(connection, _MOST_DELIVERIES, selection):
        yield {
            "received": one.received_at,
            "delivery": one.guid,
            "event": one.event,
            "result": RESULTS[one.outcome],
            "reason": one.reason or (reason_of(one, utc_now()) if one.outcome is None else ""),
        }


def print_deployment(document: Document) -> None:
    run = document["run"] or {}
    title = f"Deployment {document['id']}: {document['repository']} to {document['environment']}"
    print_facts(
        f"{title}, {document['phase']}",
        {
            "why": document["status"],
            "late": document["lateness"],
            "ref": document["ref"],
            "commit": document["sha"],
            "task": document["task"],
            "production": document["production"],
            "created by": document["creator"],
            "asked for": document["requested_by"],
            "from deployment": document["created_from"],
            "created": document["created_at"],
            "by delivery": document["requested_by_delivery"],
            "in this state since": document["phase_at"],
            "handler": "GitHub Actions, watched" if document["watched"] else document["handler"],
            "run": " ".join(filter(None, (run.get("id"), run.get("state"), run.get("url")))),
            "run says": run.get("says"),
            "tool's error": document["tool_error"],
            "started": document["started_at"],
            "deadline": None if document["ended_at"] else document["deadline"],
            "ended": document["ended_at"],
            "superseded by": document["superseded_by"],
            "cancel asked for by": document["cancel_requested_by"],
            "environment's page": document["environment_url"],
        },
    )
    for name, (heading, columns) in _TABLES.items():
        print_table(heading, columns, document[name])


_TABLES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "blockers": (
        "Why it waits",
        {"gate": "gate", "verdict": "verdict", "ends": "until", "reason": "reason"}
        | {"way_out": "who can end it"},
    ),
    "timeline": (
        "Timeline, and what GitHub has of it",
        {"at": "at (UTC)", "state": "state", "by": "by", "on_github": "on GitHub"}
        | {"error": "GitHub's error", "description": "description"},
    ),
    "messages": (
        "Messages",
        {"where": "where", "message": "message", "state": "state", "error": "error"},
    ),
    "actions": (
        "What people requested",
        {"at": "at (UTC)", "action": "action", "by": "by", "outcome": "result"}
        | {"created": "created", "reason": "reason"},
    ),
    "deliveries": (
        "Deliveries",
        {"received": "received (UTC)", "delivery": "delivery", "event": "event"}
        | {"result": "result", "reason": "reason"},
    ),
}
