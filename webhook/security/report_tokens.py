"""Tokens with which tools report: each is valid for one deployment, until its deadline.

A token is signed, not stored: every process makes the same one for a deployment, and nothing can be
stolen from the store. The views reject it when the deployment has ended.

Source: itsdangerous, "URL Safe Serialization".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from itsdangerous import BadData, URLSafeSerializer

from handlers.contract import ReportCredentials
from webhook.timing import Clock, utc_now

PREFIX = "grt_"
# Hidden in all logs and messages. It has no condition on the character before it: in escaped text,
# that may be the n of a line's end.
PATTERN = re.compile(r"grt_[A-Za-z0-9_.-]{20,}")


@dataclass(frozen=True, slots=True)
class ReportClaims:
    """What a token is valid for."""

    deployment_id: int
    environment: str


class ReportTokens:
    """Signs with the first key, accepts all of them."""

    def __init__(self, server_url: str, secret_keys: Sequence[str], clock: Clock = utc_now) -> None:
        self._clock = clock
        self._api = f"{server_url}/api/v3"
        # itsdangerous needs the newest key last.
        self._serializer = URLSafeSerializer(list(reversed(secret_keys)), salt="report-token")

    def credentials(
        self, repo: str, deployment_id: int, environment: str, deadline: datetime
    ) -> ReportCredentials:
        content = [deployment_id, environment.lower(), int(deadline.timestamp())]
        return ReportCredentials(
            url=f"{self._api}/repos/{repo}/deployments/{deployment_id}/statuses",
            api=self._api,
            token=f"{PREFIX}{self._serializer.dumps(content)}",
        )

    def read(self, token: str) -> ReportClaims | None:
        """None if it is not one of the relay's, or has expired."""
        try:
            content = self._serializer.loads(token.removeprefix(PREFIX))
            deployment_id, environment, expires = content
        except (BadData, TypeError, ValueError):
            return None
        if not token.startswith(PREFIX) or self._clock().timestamp() >= expires:
            return None
        return ReportClaims(deployment_id, environment)
