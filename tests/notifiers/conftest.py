"""What the tests of notifiers are lent."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.notifiers.written import RELAY, TIMEOUT
from webhook.notifiers.contract import NotifierContext


@pytest.fixture
async def context() -> AsyncIterator[NotifierContext]:
    async with aiohttp.ClientSession() as session:
        yield NotifierContext(http=session, server_url=RELAY, timeout=TIMEOUT)
