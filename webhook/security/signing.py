"""What the relay signs: links to the page of one deployment, and tokens with which tools report.

A report token is valid for one deployment, until its deadline. It is signed, not stored: every
process makes the same one for a deployment, and nothing can be stolen from the store. The views
reject it when the deployment has ended.

Source: itsdangerous, "URL Safe Serialization".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from itsdangerous import BadData, URLSafeSerializer

from handlers.contract import ReportCredentials
from webhook.timing import Clock, utc_now

# Days that a link works, and up to a month more: within a month every link to a page is the same,
# so that messages are not edited just because their link was signed again.
LINK_DAYS = 90
# Ends a link to one entry of the page's timeline, before the entry's id.
ENTRY_ANCHOR = "#entry-"
_DAY = 24 * 3600
_MONTH = 30 * _DAY

REPORT_PREFIX = "grt_"
# Hidden in all logs and messages. It has no condition on the character before it: in escaped text,
# that may be the n of a line's end.
REPORT_PATTERN = re.compile(r"grt_[A-Za-z0-9_.-]{20,}")


class Links:
    """Signs with the first key, accepts all of them."""

    def __init__(self, server_url: str, secret_keys: Sequence[str], clock: Clock = utc_now) -> None:
        self._clock = clock
        self._server_url = server_url
        # itsdangerous needs the newest key last.
        self._serializer = URLSafeSerializer(list(reversed(secret_keys)), salt="deployment-page")

    def page(self, repo: str, deployment_id: int) -> str:
        expires = (int(self._clock().timestamp() + LINK_DAYS * _DAY) // _MONTH + 1) * _MONTH
        key = self._serializer.dumps([deployment_id, expires])
        return f"{self._server_url}/deployments/{repo}/{deployment_id}?key={key}"

    def is_entry_url(self, url: str, deployment_id: int) -> bool:
        """Whether a status with this log_url is one that the relay wrote for this deployment,
        whatever its repository was called then."""
        start, _, rest = url.partition(f"/{deployment_id}?key=")
        key, entry_id, _ = rest.partition(ENTRY_ANCHOR)
        ours = start.startswith(f"{self._server_url}/deployments/")
        return ours and bool(entry_id) and self.opens(key, deployment_id)

    def opens(self, key: str, deployment_id: int) -> bool:
        try:
            signed_id, expires = self._serializer.loads(key)
        except (BadData, TypeError, ValueError):
            return False
        return bool(signed_id == deployment_id and self._clock().timestamp() < expires)


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
            token=f"{REPORT_PREFIX}{self._serializer.dumps(content)}",
        )

    def read(self, token: str) -> ReportClaims | None:
        """None if it is not one of the relay's, or has expired."""
        try:
            content = self._serializer.loads(token.removeprefix(REPORT_PREFIX))
            deployment_id, environment, expires = content
        except (BadData, TypeError, ValueError):
            return None
        if not token.startswith(REPORT_PREFIX) or self._clock().timestamp() >= expires:
            return None
        return ReportClaims(deployment_id, environment)
