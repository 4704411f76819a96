"""The deployment that tests of gates ask about."""

from datetime import UTC, datetime

from webhook.gates.contract import Candidate

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)  # a Friday
CANDIDATE = Candidate(
    id=7,
    repo="acme/shop",
    repo_id=1,
    environment="Production",
    ref="main",
    sha="a" * 40,
    requested_at=NOW,
    asker="hubot",
    asker_id=2,
    rolls_back=False,
)
