"""What the tests of notifiers are lent."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp
import pytest

from tests.notifiers.written import RELAY
from webhook.notifiers.contract import NotifierContext


@pytest.fixture
async def context() -> AsyncIterator[NotifierContext]:
    async with aiohttp.ClientSession() as session:
        yield NotifierContext(http=session, server_url=RELAY, clock=lambda: datetime.now(UTC))
