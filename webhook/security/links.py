"""Signed links to the page of one deployment. Source: itsdangerous, "URL Safe Serialization"."""

from collections.abc import Sequence

from itsdangerous import BadData, URLSafeSerializer

from webhook.timing import Clock, utc_now

# Days that a link works, and up to a month more: within a month every link to a page is the same,
# so that messages are not edited just because their link was signed again.
LINK_DAYS = 90
# Ends a link to one entry of the page's timeline, before the entry's id.
ENTRY_ANCHOR = "#entry-"
_DAY = 24 * 3600
_MONTH = 30 * _DAY


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

    def is_entry_url(self, url: str, repo: str, deployment_id: int) -> bool:
        """Whether a status with this log_url is one that the relay wrote for this deployment."""
        start = f"{self._server_url}/deployments/{repo}/{deployment_id}?key="
        key, entry_id, _ = url.removeprefix(start).partition(ENTRY_ANCHOR)
        return url.startswith(start) and bool(entry_id) and self.opens(key, deployment_id)

    def opens(self, key: str, deployment_id: int) -> bool:
        try:
            signed_id, expires = self._serializer.loads(key)
        except (BadData, TypeError, ValueError):
            return False
        return bool(signed_id == deployment_id and self._clock().timestamp() < expires)
