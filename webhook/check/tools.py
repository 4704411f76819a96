"""What `check` asks of the tools in deploy.yml: whether address and credentials fit.

Each is asked one question that changes nothing; environments with the same options share it.

Units: seconds.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from handlers import HANDLERS
from handlers import errors as tool_errors
from handlers.contract import HandlerContext, Options, VerifiesAccess
from handlers.http import MAX_CALLS_PER_ORIGIN
from webhook.check.findings import Finding, Kind
from webhook.config.environments import Environment

# For all of them together, however many hang.
WITHIN = 15.0
NOT_ASKED = "not asked; its first deployment shows whether address and credentials fit"

Outcome = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Tool:
    """What environments with these `names` share."""

    handler: str
    options: Options
    names: list[str] = field(default_factory=list)


async def look_at_tools(
    envs: Iterable[Environment], context: HandlerContext, within: float = WITHIN
) -> list[Finding]:
    """A line for those of one kind that say the same."""
    tools = _tools(envs)
    places = asyncio.Semaphore(MAX_CALLS_PER_ORIGIN)
    outcomes = await asyncio.gather(*(_ask(tool, context, places, within) for tool in tools))
    said: dict[tuple[str, Outcome], list[str]] = {}
    for tool, outcome in zip(tools, outcomes, strict=True):
        if outcome:
            said.setdefault((tool.handler, outcome), []).extend(tool.names)
    return [
        Finding(kind, f"tool {', '.join(dict.fromkeys(names))} ({handler})", words)
        for (handler, (kind, words)), names in said.items()
    ]


def _tools(envs: Iterable[Environment]) -> list[Tool]:
    found: list[Tool] = []
    for env in envs:
        if not isinstance(env.options, Options):
            continue
        made = Tool(env.handler, env.options)
        same = [t for t in found if (t.handler, t.options) == (made.handler, made.options)]
        if not same:
            found.append(made)
        (same or [made])[0].names.append(env.name)
    return found


async def _ask(
    tool: Tool, context: HandlerContext, places: asyncio.Semaphore, within: float
) -> Outcome | None:
    """None where there is nothing to say."""
    handler = HANDLERS[tool.handler]
    if not issubclass(handler, VerifiesAccess):
        # What needs the App's permissions is GitHub's own; they are looked at.
        return None if handler.local or tool.options.permissions() else ("note", NOT_ASKED)
    try:
        async with asyncio.timeout(within), places:
            return "ok", await handler(tool.options, context).verify_access()
    except (tool_errors.Unavailable, tool_errors.Rejected) as error:
        return "fault", str(error)
    except TimeoutError:
        return "fault", f"no answer within {within:g} s"
