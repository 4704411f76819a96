"""`python -m webhook deliveries simulate`: what would happen with a delivery, with no effect; and
what another deploy.yml would change for those of the last days."""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from webhook.cli.exit_codes import errors_exit_with
from webhook.cli.payloads import is_file, read_payload
from webhook.cli.selection import Chosen, delivery_id, filters, matching
from webhook.config.environments import Config
from webhook.deployments.simulation import (
    Compared,
    Difference,
    Simulation,
    changes,
    grouped,
)
from webhook.engine.explain import worker_caveats
from webhook.engine.services import Services
from webhook.engine.simulate import Subject, simulate
from webhook.errors import UserError
from webhook.startup import Setup, read_config, set_up_command
from webhook.store import deliveries as stored
from webhook.store.deliveries import Selection, State
from webhook.store.schema import migrated_store
from webhook.text import json_text, one_line
from webhook.web.pages.deliveries.simulation_text import RESULTS, facts_of

MOST = 10_000
SAME, DIFFERS, FAILED = 0, 1, 2
_LONGEST = 400
_WIDTH = 12
_NAMED = 3
_MANY = 500


@click.command("simulate")
@click.argument("delivery", required=False, metavar="[PAYLOAD.JSON|GUID]")
@filters
@click.option("--config", "other", metavar="FILE", default="", help="By this deploy.yml instead.")
@click.option("--limit", default=MOST, show_default=True, type=click.IntRange(1, 1_000_000))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def simulate_command(
    *,
    delivery: str | None,
    event: str,
    outcome: State | None,
    repos: tuple[str, ...],
    since: datetime | None,
    other: str,
    limit: int,
    as_json: bool,
) -> None:
    """Print what would happen with a delivery, without any effect.

    A file has a payload as GitHub shows it (Recent Deliveries), or what `deliveries show --json`
    prints; its event is guessed unless --event names it. With --since and --config: what would
    differ between deploy.yml and that FILE for the deliveries from then on. Exit code: 0 no
    difference, 1 differences, 2 errors.
    """
    errors_exit_with(FAILED)
    chosen = Chosen(selection=Selection(since=since, event=event, outcome=outcome), repos=repos)
    if delivery is None:
        sys.exit(_compare(chosen, other, limit, as_json=as_json))
    if since or outcome or repos:
        raise UserError("One delivery is not chosen by --since, --outcome or --repo as well")
    _print_one(delivery, event, other, as_json=as_json)


# -- one delivery -----------------------------------------------------------------------------


def _print_one(delivery: str, event: str, other: str, *, as_json: bool) -> None:
    setup = set_up_command()
    config = _read(other) if other else None
    with migrated_store(setup.settings) as (url, connection):
        note, subject, known_id = "", None, 0
        if is_file(delivery):
            payload = read_payload(delivery, event)
            note, subject = payload.note, payload.subject
        else:
            known_id = delivery_id(connection, setup.settings, delivery)

        async def run() -> Simulation:
            async with _opened(setup, url, config) as services:
                found = subject or await _stored(services, known_id, event)
                simulation = await simulate(_with(services, config), found)
                caveats = () if config else tuple(await worker_caveats(services))
            return replace(simulation, unknown=(*simulation.unknown, *caveats))

        found = asyncio.run(run())
    if note:
        click.echo(f"Note: {note}.", err=True)
    if as_json:
        click.echo(json_text(asdict(found)))
        return
    for fact in facts_of(found):
        for number, line in enumerate(fact.lines):
            click.echo(f"{'' if number else fact.name:{_WIDTH}}{line}".rstrip())


def _read(path: str) -> Config:
    if not Path(path).is_file():
        raise UserError(f"{path} cannot be read: it is no file; --config takes another deploy.yml")
    return read_config({**os.environ, "GITPLOY_CONFIG": path})


def _opened(setup: Setup, url: str, config: Config | None) -> Any:
    """Secrets of both files are hidden."""
    from webhook.slack.actions import ACTIONS
    from webhook.worker import open_simulation

    secrets = setup.secrets | (config.secrets if config else frozenset())
    return open_simulation(replace(setup, secrets=secrets), url, actions=ACTIONS)


def _with(services: Services, config: Config | None) -> Services:
    return replace(services, config=config) if config else services


async def _stored(services: Services, known_id: int, event: str = "") -> Subject:
    async with services.pool.connection() as connection:
        found = await stored.read(connection, known_id)
    if found is None:
        raise UserError("The delivery was deleted at this moment")
    return Subject(name=found.guid, event=event or found.event, body=found.body)


# -- two deploy.yml ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Comparison:
    compared: Sequence[Compared]
    limited: bool

    @property
    def same(self) -> dict[str, int]:
        """How many are the same, by their outcome."""
        counts: dict[str, int] = {}
        for one in self.compared:
            if not one.changes:
                name = RESULTS[one.after.outcome]
                counts[name] = counts.get(name, 0) + 1
        return counts


def _compare(chosen: Chosen, other: str, limit: int, *, as_json: bool) -> int:
    if chosen.selection.since is None:
        raise UserError("Write a file with a payload, a GUID, or --since 7d --config new.yml")
    if not other:
        raise UserError("--since compares two files: name the other one, as --config new.yml")
    setup, config = set_up_command(), _read(other)
    with migrated_store(setup.settings) as (url, connection):
        ids = [one.id for one in matching(connection, chosen, limit + 1)]
        if len(ids) > _MANY:  # a hundred in a second
            click.echo(f"Comparing {len(ids[:limit]):,} deliveries…", err=True)

        async def run() -> list[Compared]:
            async with _opened(setup, url, config) as services:
                after = _with(services, config)
                return [await _compared(services, after, one) for one in ids[:limit]]

        found = _Comparison(asyncio.run(run()), len(ids) > limit)
    differences = grouped(found.compared)
    if as_json:
        _print_json(found, differences)
    else:
        _print_differences(found, differences, setup.config.source, config.source)
    return DIFFERS if differences else SAME


async def _compared(services: Services, after: Services, known_id: int) -> Compared:
    """What only matters in `after` is kept: there may be many."""
    subject = await _stored(services, known_id)
    now, then = await simulate(services, subject), await simulate(after, subject)
    route = then.route or now.route
    kept = replace(then, route=route, calls=(), messages=(), statuses=(), gates=(), unknown=())
    return Compared(after=kept, changes=changes(now, then))


def _print_json(found: _Comparison, differences: Sequence[Difference]) -> None:
    for one in differences:
        click.echo(json_text({**asdict(one), "count": len(one.deliveries)}))
    total = {"compared": len(found.compared), "same": found.same, "limited": found.limited}
    click.echo(json_text({**total, "differences": len(differences)}))


def _print_differences(
    found: _Comparison, differences: Sequence[Difference], before: str, after: str
) -> None:
    same = found.same
    counts = ", ".join(f"{count:,} {name}" for name, count in same.items())
    differ = len(found.compared) - sum(same.values())
    limited = "; older ones are left out, by --limit" if found.limited else ""
    several = "delivery" if len(found.compared) == 1 else "deliveries"
    click.echo(f"{len(found.compared):,} {several}, by {before} and by {after}{limited}:")
    click.echo(
        f"{sum(same.values()):,} the same{f' ({counts})' if counts else ''}, {differ:,} differ."
    )
    for one in differences:
        where = f" of {one.repository}" if one.repository else ""
        to = f" to {one.environment}" if one.environment else ""
        click.echo(f"\n{len(one.deliveries):,} x {one_line(f'{one.event}{where}{to}', _LONGEST)}")
        for change in one.changes:
            before_, after_ = (one_line(text, _LONGEST) for text in (change.before, change.after))
            click.echo(f"  {change.aspect}: {before_}")
            click.echo(f"  {'':{len(change.aspect)}}→ {after_}")
        more = f" and {len(one.deliveries) - _NAMED:,} more" if one.deliveries[_NAMED:] else ""
        click.echo(f"  {', '.join(one.deliveries[:_NAMED])}{more}")
