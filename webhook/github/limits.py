"""How much of GitHub's rate limit is left.

Source: docs.github.com/rest/rate-limit. Asking does not count. Errors: those of `GitHub`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webhook.github.client import GitHub
from webhook.github.tokens import Scope


@dataclass(frozen=True, slots=True)
class Limit:
    """Of one installation. `resets_at`: when all of `limit` is there again."""

    limit: int
    remaining: int
    resets_at: datetime


async def limit_of(github: GitHub, installation_id: int) -> Limit:
    scope = Scope(installation_id, "", 0).only(metadata="read")
    return await github.request(scope, "GET", "/rate_limit", _read)


def _read(document: Any) -> Limit:
    core = document["resources"]["core"]
    resets_at = datetime.fromtimestamp(int(core["reset"]), UTC)
    return Limit(int(core["limit"]), int(core["remaining"]), resets_at)
