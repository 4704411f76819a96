"""The tools in deploy.yml: whether address and credentials work.

Each gets one request that changes nothing; environments with the same options share it.

Units: seconds.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from handlers import HANDLERS
from handlers import errors as tool_errors
from handlers.contract import HandlerContext, Options, VerifiesAccess
from handlers.http import MAX_CALLS_PER_ORIGIN
from webhook.check import Finding, Level
from webhook.config.environments import Environment

# For all of them together, however many hang.
WITHIN = 15.0
NOT_CALLED = "not called; its first deployment shows whether address and credentials work"

Result = tuple[Level, str]


@dataclass(frozen=True, slots=True)
class Tool:
    """Options that environments with these `names` share."""

    handler: str
    options: Options
    names: list[str] = field(default_factory=list)


async def check_tools(
    envs: Iterable[Environment], context: HandlerContext, within: float = WITHIN
) -> list[Finding]:
    """One finding for the tools of a handler that have the same result."""
    tools = _tools(envs)
    slots = asyncio.Semaphore(MAX_CALLS_PER_ORIGIN)
    results = await asyncio.gather(*(_check(tool, context, slots, within) for tool in tools))
    grouped: dict[tuple[str, Result], list[str]] = {}
    for tool, result in zip(tools, results, strict=True):
        if result:
            grouped.setdefault((tool.handler, result), []).extend(tool.names)
    return [
        Finding(level, f"tool {', '.join(dict.fromkeys(names))} ({handler})", message)
        for (handler, (level, message)), names in grouped.items()
    ]


def _tools(envs: Iterable[Environment]) -> list[Tool]:
    found: list[Tool] = []
    for env in envs:
        if not isinstance(env.options, Options):
            continue
        new = Tool(env.handler, env.options)
        same = [t for t in found if (t.handler, t.options) == (new.handler, new.options)]
        if not same:
            found.append(new)
        (same or [new])[0].names.append(env.name)
    return found


async def _check(
    tool: Tool, context: HandlerContext, slots: asyncio.Semaphore, within: float
) -> Result | None:
    """None if there is nothing to report."""
    handler = HANDLERS[tool.handler]
    if not issubclass(handler, VerifiesAccess):
        # A tool that needs the App's permissions is GitHub itself, which is checked already.
        return None if handler.local or tool.options.permissions() else ("note", NOT_CALLED)
    try:
        async with asyncio.timeout(within), slots:
            return "ok", await handler(tool.options, context).verify_access()
    except (tool_errors.Unavailable, tool_errors.Rejected) as error:
        return "error", str(error)
    except TimeoutError:
        return "error", f"no response within {within:g} s"
