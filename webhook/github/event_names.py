"""Which event a payload is of, by its keys: GitHub says it in a header that a copied payload lacks.

Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from collections.abc import Collection, Mapping
from typing import Any

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
