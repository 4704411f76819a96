"""One delivery: what came, what became of it and why, and what people have requested since."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from webhook.config.routing import route
from webhook.engine.deliveries import WAYS, why_not_replayed
from webhook.github.event_names import about
from webhook.store import deliveries, delivery_requests, delivery_search, recovery
from webhook.store.deliveries import Delivery, DeliverySummary
from webhook.web.auth.viewer import Viewer
from webhook.web.pages.deliveries.filter import require_seen
from webhook.web.pages.deliveries.payload import LONGEST_PARSED, Payload, payload_of
from webhook.web.pages.deliveries.rows import (
    DeliveryRow,
    MissedRow,
    RequestRow,
    missed_row,
    request_row,
    row_of,
)
from webhook.web.pages.elements import line
from webhook.web.services import PageServices

_MOST_REQUESTS = 20
PULLS = (
    "This relay fetches its deliveries (GITPLOY_DELIVERIES=pull), so that GitHub has nowhere to"
    " send one; replay what is stored here"
)


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """`repo_id`: None where it is about no repository."""

    summary: DeliverySummary
    delivery: Delivery
    repo_id: int | None
    repo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryDetail:
    """`way`: how it came. `why_not_replay`, `why_not_redeliver`: "" where it can be."""

    row: DeliveryRow
    way: str
    headers: Sequence[tuple[str, str]]
    route: str
    payload: Payload
    missed: MissedRow | None
    requests: Sequence[RequestRow]
    why_not_replay: str
    why_not_redeliver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedDetail:
    row: MissedRow
    requests: Sequence[RequestRow]
    why_not_redeliver: str


def stored_delivery(services: PageServices, viewer: Viewer, guid: str) -> StoredDelivery | None:
    """None: it is not stored. Raises the same 404 where the viewer may not see it."""
    with services.pool.connection() as connection:
        summary = delivery_search.of_guid(connection, guid)
        delivery = deliveries.read_sync(connection, summary.id) if summary else None
    if summary is None or delivery is None:
        return None
    said = about(delivery.body)
    repo_id = summary.repo_id or said.repo_id
    require_seen(viewer, repo_id)
    return StoredDelivery(summary, delivery, repo_id, summary.repo or said.repo)


def read_delivery(services: PageServices, viewer: Viewer, guid: str) -> DeliveryDetail | None:
    found = stored_delivery(services, viewer, guid)
    if found is None:
        return None
    summary, delivery, now = found.summary, found.delivery, services.clock()
    with services.pool.connection() as connection:
        missed = recovery.missed(connection, guid)
        requested = delivery_requests.of_guid(connection, guid, _MOST_REQUESTS)
    return DeliveryDetail(
        row=row_of(_with_repository(found), services.redactor, now),
        way=WAYS[delivery.way],
        headers=(
            ("X-GitHub-Event", line(delivery.event)),
            ("X-GitHub-Delivery", line(delivery.guid)),
            ("X-GitHub-Hook-ID", str(delivery.hook_id)),
        ),
        route=_route(services, found),
        payload=payload_of(delivery.body, services.redactor),
        missed=missed_row(missed) if missed else None,
        requests=[request_row(one, arrivals=summary.arrivals) for one in requested],
        why_not_replay=why_not_replayed(summary, services.keep, now),
        why_not_redeliver=why_not_redelivered(services, delivery),
    )


def read_missed(services: PageServices, viewer: Viewer, guid: str) -> MissedDetail | None:
    """One that GitHub lists and that has not arrived; the operators'."""
    if not viewer.operator:
        return None
    with services.pool.connection() as connection:
        missed = recovery.missed(connection, guid)
        requested = delivery_requests.of_guid(connection, guid, _MOST_REQUESTS)
    if missed is None:
        return None
    return MissedDetail(
        row=missed_row(missed),
        requests=[request_row(one) for one in requested],
        why_not_redeliver=PULLS if services.settings.deliveries == "pull" else "",
    )


def why_not_redelivered(services: PageServices, delivery: Delivery) -> str:
    if delivery.way == "listed":
        return "Nobody sent it, so that GitHub cannot send it again"
    return PULLS if services.settings.deliveries == "pull" else ""


def _with_repository(found: StoredDelivery) -> DeliverySummary:
    """The body as a whole, which says it where nobody has read that yet."""
    return replace(found.summary, repo=found.repo or None, body=found.delivery.body)


def _route(services: PageServices, found: StoredDelivery) -> str:
    """By which part of deploy.yml it would go now; "" of what is about no environment."""
    name = found.summary.environment or _environment_in(found.delivery)
    if not name or not found.repo:
        return ""
    config = services.config.config
    env = route(config, found.repo, name)
    if env is None:
        known = ", ".join(sorted({one.name for one in config.envs})[:10])
        return f"none for “{line(name)}”; deploy.yml has: {known or 'no environment'}"
    return f"{env.name}, deployed by {env.handler}"


def _environment_in(delivery: Delivery) -> str:
    if len(delivery.body) > LONGEST_PARSED or not delivery.event.startswith("deployment"):
        return ""
    try:
        payload: Any = json.loads(delivery.body)
        name = payload.get("environment") or payload["deployment"]["environment"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return name if isinstance(name, str) else ""
