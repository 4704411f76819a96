"""What is said of an action: to the person who asked, and in the deployment's thread.

What the person is told is made of the action's row, so that it can be said after a crash too.
"""

from collections.abc import Callable
from datetime import datetime

from webhook.deployments.labels import phase_label
from webhook.engine.services import Services
from webhook.slack.blocks.mrkdwn import BlockMessage, bold, escape, link
from webhook.slack.response_url import question
from webhook.store import actions, deployments, environments, timeline
from webhook.store.actions import Action
from webhook.store.database import Async
from webhook.store.environments import CurrentDeployment

# Of a repository's environments, the newest.
MOST_STANDINGS = 20
_LONGEST_WORDS = 1500


async def said(services: Services, action: Action) -> BlockMessage | None:
    """None: there is nothing to say, the form is there."""
    if action.kind == "form" and action.outcome == "done":
        return None
    if action.outcome == "waiting":
        return question(f"Deploy {_what(action, bold)}?", action.id, button="Deploy to production")
    if action.kind == "status" and action.outcome == "done":
        return BlockMessage(await _standings(services, action.repo), [])
    text = _outcome(action)
    page = await _page(services, action)
    return BlockMessage(f"{text}. {link(page, 'Its page')}" if page else text, [])


def _outcome(action: Action) -> str:
    if action.made is not None and action.kind == "deploy":
        return f"Deploying {_what(action)}"
    if action.made is not None:
        return f"Deployment {action.made} was asked for"
    if action.kind == "cancel" and action.outcome == "done":
        return "It is being cancelled"
    return escape(action.words.rstrip(". "), _LONGEST_WORDS)


async def _page(services: Services, action: Action) -> str:
    """What it made, else what another one made before it, else where the button was pressed."""
    if action.made is not None:
        return services.links.page(action.repo, action.made)
    if action.deployment_id is None:
        return ""
    async with services.pool.connection() as connection:
        row = await deployments.read(connection, action.deployment_id)
        before = await actions.same(connection, action)
    if row is None:
        return ""
    made = before.made if before and action.outcome == "refused" else None
    return services.links.page(row.repo, made or row.id)


async def _standings(services: Services, repo: str) -> str:
    async with services.pool.connection() as connection:
        found = await environments.of_repository(connection, repo, MOST_STANDINGS + 1)
    if not found:
        return f"The relay has seen no deployment of {escape(repo, 200)}"
    lines = [_current(services, one) for one in found[:MOST_STANDINGS]]
    if len(found) > MOST_STANDINGS:
        lines.append("and others, which were deployed to before these")
    return f"{escape(repo, 200)}:\n" + "\n".join(lines)


def _current(services: Services, one: CurrentDeployment) -> str:
    ref = "" if one.ref == one.sha else f"{escape(one.ref, 60)} @ "
    page = link(services.links.page(one.repo, one.deployment_id), str(one.deployment_id))
    label = phase_label(one.phase, held=one.held, started=one.started)
    about = f"{label.text}, {ref}{one.sha[:7]}, {_age(one, services.clock())} ({page})"
    return f"{label.sign} *{escape(one.environment, 60)}*: {about}"


def _age(one: CurrentDeployment, now: datetime) -> str:
    seconds = (now - one.changed_at).total_seconds()
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds / size)}{unit} ago"
    return "just now"


def _what(action: Action, shown: Callable[[str], str] = str) -> str:
    ref, environment = escape(action.ref, 255), escape(action.environment, 255)
    return f"{shown(ref)} of {escape(action.repo, 200)} to {shown(environment)}"


async def tell_there(
    services: Services, connection: Async, action: Action, words: str, made: int | None
) -> None:
    """Who asked for what and when, in the thread and on the page of the deployment whose button was
    pressed; in the caller's transaction."""
    row = await deployments.read(connection, action.deployment_id or 0)
    known = await actions.read(connection, action.id)
    if row is None or known is None:
        return
    entry = timeline.NewEntry(
        actor=known.login,
        state=timeline.ASKED,
        description=words,
        log_url=services.links.page(row.repo, made) if made is not None else "",
        counted=False,
    )
    await timeline.add(connection, row.id, entry)
    await services.notify(connection, row)
