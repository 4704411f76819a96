"""A delivery that GitHub is to send once more, as somebody wants it: found in GitHub's list by its
GUID, or the beginning of that."""

import asyncio
from datetime import datetime, timedelta
from http import HTTPStatus

from webhook.engine.recovery import MOST_PAGES
from webhook.errors import Rejected, RetryAt, UnknownOutcome, UserError
from webhook.github import deliveries as github_deliveries
from webhook.github.client import GitHub
from webhook.github.deliveries import PAGE, ListedDelivery, Page, is_stale, kept_for
from webhook.text import and_more

_MOST_NAMED = 5
# From one page to the next; whoever waits for the answer is not kept longer.
_LONGEST_PAUSE = timedelta(seconds=5)
_NOTHING_DONE = "nothing was done"


async def find_delivery(github: GitHub, guid: str) -> ListedDelivery | None:
    """The newest attempt of it; None: GitHub does not have it. Errors: `UserError`."""
    try:
        return await _find(github, guid)
    except RetryAt as error:
        message = f"GitHub wants no call before {_at(error.at)}; {_NOTHING_DONE}"
        raise UserError(message) from error
    except (UnknownOutcome, Rejected) as error:
        message = f"GitHub does not say which deliveries it has: {error}; {_NOTHING_DONE}"
        raise UserError(message) from error


async def redeliver(github: GitHub, guid: str, attempt: int) -> None:
    """`attempt`: GitHub's id of any. Whether and when it arrives is to be seen. Errors:
    `UserError`."""
    try:
        await github_deliveries.redeliver(github, attempt)
    except RetryAt as error:
        message = f"GitHub wants no call before {_at(error.at)}; {_NOTHING_DONE}"
        raise UserError(message) from error
    except UnknownOutcome as error:
        message = f"GitHub gave no clear response ({error}): it may send {guid}, or not"
        raise UserError(message) from error
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise UserError(f"GitHub does not have {guid} any more") from error
        raise UserError(f"GitHub does not send {guid} again: {error}") from error


async def _find(github: GitHub, guid: str) -> ListedDelivery | None:
    page = await github_deliveries.page(github)
    oldest = page.at - kept_for(github)
    for _ in range(MOST_PAGES):
        if found := _in(page, guid):
            return found
        if not page.cursor or (page.oldest or oldest) < oldest:
            return None
        if page.pace > _LONGEST_PAUSE:
            raise RetryAt("few calls are left", page.at + page.pace)
        await asyncio.sleep(page.pace.total_seconds())
        page = await _next(github, page.cursor)
    message = f"GitHub's newest {MOST_PAGES * PAGE:,} deliveries have no {guid}"
    raise UserError(f"{message}; send it again on the App's Advanced page there")


async def _next(github: GitHub, cursor: str) -> Page:
    """From the begin again where GitHub does not know the cursor any more."""
    try:
        return await github_deliveries.page(github, cursor)
    except Rejected as error:
        if is_stale(error):
            return await github_deliveries.page(github)
        raise


def _in(page: Page, guid: str) -> ListedDelivery | None:
    found: dict[str, ListedDelivery] = {}
    for one in page.deliveries:
        if one.guid.startswith(guid):
            found.setdefault(one.guid, one)
    if guid in found:
        return found[guid]
    if len(found) > 1:
        names = and_more(list(found), most=_MOST_NAMED)
        raise UserError(f"'{guid}' is the beginning of several deliveries: {names}; write more")
    return next(iter(found.values()), None)


def _at(at: datetime) -> str:
    return f"{at:%H:%M:%S} UTC"
