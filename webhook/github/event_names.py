"""What a payload says of itself, whichever event it is of: its action, and its repository. And
which event that is, by its keys: GitHub says it in a header that a copied payload lacks.

Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"[a-z_]{1,100}", re.ASCII)

# The first whose keys are all there; an event has those of others, too.
_BY_KEYS: tuple[tuple[str, Collection[str]], ...] = (
    ("deployment_protection_rule", ("deployment_callback_url",)),
    ("deployment_status", ("deployment_status", "deployment")),
    ("workflow_job", ("workflow_job",)),
    ("deployment", ("deployment",)),
    ("workflow_run", ("workflow_run",)),
    ("check_run", ("check_run",)),
    ("check_suite", ("check_suite",)),
    ("pull_request", ("pull_request",)),
    ("push", ("ref", "before", "after")),
    ("status", ("sha", "context", "state")),
    ("ping", ("zen", "hook_id")),
    ("installation_repositories", ("repositories_added",)),
)
# An installation's own event has nothing but these.
_INSTALLATION = {"action", "installation", "repositories", "requester", "sender", "enterprise"}


def guessed_event(payload: Mapping[str, Any]) -> str:
    """ "" where nothing says it."""
    for event, keys in _BY_KEYS:
        if all(key in payload for key in keys):
            return event
    own = "installation" in payload and payload.keys() <= _INSTALLATION
    return "installation" if own else ""


@dataclass(frozen=True, slots=True)
class PayloadAbout:
    """`action`: "" where the event has none. `repo_id`: None where it is about no repository.
    `repo`: any text."""

    action: str = ""
    repo_id: int | None = None
    repo: str = ""


def about(body: bytes) -> PayloadAbout:
    """Nothing of what cannot be read: it is shown, and decides who may see the payload."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return PayloadAbout()
    if not isinstance(payload, dict):
        return PayloadAbout()
    action, repository = payload.get("action"), payload.get("repository")
    repository = repository if isinstance(repository, dict) else {}
    repo_id, name = repository.get("id"), repository.get("full_name")
    known = type(repo_id) is int and 0 < repo_id < 2**63
    return PayloadAbout(
        action=action if isinstance(action, str) and _NAME.fullmatch(action) else "",
        repo_id=repo_id if known else None,
        repo=name if isinstance(name, str) else "",
    )
