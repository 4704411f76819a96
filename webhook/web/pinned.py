"""The commit that a preview has shown, as its form sends it back: signed, so that a person confirms
what GitHub has said that a branch is, and nobody gives a commit another branch's name.

Source: itsdangerous, "URL Safe Serialization".
"""

from collections.abc import Sequence
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

from webhook.timing import Clock

# As long as a question in Slack may be answered.
VALID_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Pinned:
    """`name`: the branch or tag, "" where the commit itself was named."""

    name: str
    sha: str


class Pins:
    """Signs with the first key, accepts all of them."""

    def __init__(self, secret_keys: Sequence[str], clock: Clock) -> None:
        self._clock = clock
        # itsdangerous needs the newest key last.
        self._serializer = URLSafeSerializer(list(reversed(secret_keys)), salt="pinned-ref")

    def sign(self, repo_id: int, environment: str, pinned: Pinned) -> str:
        until = int(self._clock().timestamp()) + VALID_SECONDS
        content = [repo_id, environment.lower(), pinned.name, pinned.sha, until]
        return str(self._serializer.dumps(content))

    def read(self, text: str, repo_id: int, environment: str) -> Pinned | None:
        """None if it is not for that environment, or too old."""
        try:
            signed_id, signed_environment, name, sha, until = self._serializer.loads(text)
        except (BadData, TypeError, ValueError):
            return None
        about = (signed_id, signed_environment) == (repo_id, environment.lower())
        return Pinned(name, sha) if about and self._clock().timestamp() < until else None
