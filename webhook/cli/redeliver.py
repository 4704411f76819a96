"""`python -m webhook deliveries redeliver`: ask GitHub to send a delivery once more."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import click

from handlers import durations
from webhook.cli.listing import WITHIN
from webhook.cli.operator import operator
from webhook.cli.selection import known_delivery
from webhook.engine.deliveries import RESULTS, reason_of
from webhook.engine.redelivery import find_delivery, redeliver
from webhook.engine.services import Services
from webhook.errors import UserError
from webhook.github.deliveries import ListedDelivery, kept_for
from webhook.invocation import COMMAND
from webhook.startup import Setup, set_up_command
from webhook.store import audit
from webhook.store.audit import NewAct
from webhook.store.database import Sync
from webhook.store.deliveries import DeliverySummary, summaries, with_guid
from webhook.store.schema import migrated_store
from webhook.text import json_text
from webhook.timing import utc_now

_POLL_SECONDS = 0.1
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Arrival:
    """`arrived`: None where nobody waited for it."""

    arrived: bool | None
    delivery: DeliverySummary | None
    message: str


@click.command("redeliver")
@click.argument("guid")
@click.option("--no-wait", is_flag=True, help="Do not wait until it arrives.")
@WITHIN
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with ids as text.")
def redeliver_command(guid: str, no_wait: bool, within: timedelta, as_json: bool) -> None:
    """Ask GitHub to send a delivery of the last three days once more.

    For one that did not arrive, or to see whether they do: one that was processed before does
    nothing when it comes again (`replay` processes it). Exit code: 0 it has arrived, or need not be
    waited for; 1 it has not, or GitHub does not send it; 2 wrong usage.
    """
    setup = set_up_command()
    if setup.settings.deliveries == "pull":
        raise UserError(
            "This relay fetches its deliveries (GITPLOY_DELIVERIES=pull), so that GitHub has"
            f" nowhere to send one; {COMMAND} deliveries replay GUID processes one again"
        )
    with migrated_store(setup.settings) as (url, connection):
        before = known_delivery(connection, guid)
        found = _with_services(
            setup, url, lambda services: _ask(services, connection, guid, before)
        )
        arrival = (
            _Arrival(None, before, "GitHub sends it")
            if no_wait
            else _wait(connection, found, before, within)
        )
    _print(found, arrival, as_json=as_json)
    sys.exit(1 if arrival.arrived is False else 0)


def _with_services(setup: Setup, url: str, run: Callable[[Services], Awaitable[T]]) -> T:
    from webhook.slack.actions import ACTIONS
    from webhook.worker import open_services

    async def opened() -> T:
        async with open_services(setup, url, actions=ACTIONS) as services:
            return await run(services)

    return asyncio.run(opened())


async def _ask(
    services: Services, connection: Sync, guid: str, before: DeliverySummary | None
) -> ListedDelivery:
    """It is in the audit if GitHub takes it."""
    wanted = before.guid if before else guid
    found = await find_delivery(services.github, wanted)
    if found is None:
        raise UserError(_not_there(services, wanted, before))
    with connection.transaction():
        details = {"delivery": found.guid, "github_id": str(found.id)}
        act = NewAct(actor=operator(), source="command line", action="redeliver", details=details)
        audit.add_sync(connection, act)
        await redeliver(services.github, found.guid, found.id)
    return found


def _not_there(services: Services, guid: str, before: DeliverySummary | None) -> str:
    days = kept_for(services.github).days
    if before is None:
        advice = "check the GUID on the App's Advanced page there"
        return f"GitHub has no delivery {guid} of the last {days} days; {advice}"
    at = before.delivered_at or before.received_at
    replay = f"replay what is stored here: {COMMAND} deliveries replay {guid}"
    return (
        f"GitHub keeps deliveries for {days} days, and does not have {guid}, of"
        f" {at:%Y-%m-%d %H:%M} UTC, any more; {replay}"
    )


def _wait(
    connection: Sync, found: ListedDelivery, before: DeliverySummary | None, within: timedelta
) -> _Arrival:
    deadline = time.monotonic() + within.total_seconds()
    known = before.arrivals if before else 0
    now: DeliverySummary | None = None
    while True:
        if ids := with_guid(connection, found.guid, 1):
            [now] = summaries(connection, ids.values())
        arrived = now is not None and now.arrivals > known
        if arrived and now is not None and now.outcome is not None:
            return _Arrival(True, now, _processed(now, before))
        if time.monotonic() >= deadline:
            return _Arrival(arrived, now, _late(within, arrived=arrived))
        time.sleep(_POLL_SECONDS)


def _processed(now: DeliverySummary, before: DeliverySummary | None) -> str:
    result = RESULTS[now.outcome]
    if before is not None and before.outcome is not None:
        replay = f"{COMMAND} deliveries replay {now.guid[:8]} processes it once more"
        return f"It has arrived. It was {result} before, so that nothing was done; {replay}"
    reason = reason_of(now, utc_now())
    return f"It has arrived, and was {result}{f': {reason}' if reason else ''}"


def _late(within: timedelta, *, arrived: bool) -> str:
    waited = durations.write(within.total_seconds())
    if arrived:
        return f"It has arrived, and no worker has processed it within {waited}"
    return (
        f"It has not arrived within {waited}; {COMMAND} check says whether GitHub sends deliveries"
        " to this relay"
    )


def _print(found: ListedDelivery, arrival: _Arrival, *, as_json: bool) -> None:
    if not as_json:
        click.echo(f"{arrival.message}.", err=arrival.arrived is False)
        return
    delivery = arrival.delivery
    document = {
        "delivery": found.guid,
        "github_id": str(found.id),
        "event": found.event,
        "arrived": arrival.arrived,
        "arrivals": delivery.arrivals if delivery else 0,
        "result": RESULTS[delivery.outcome] if delivery else None,
        "message": arrival.message,
    }
    click.echo(json_text(document))
