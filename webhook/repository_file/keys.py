"""Which keys a repository's file may have, and what is said of the others.

Gitploy ignores what it does not know, so that files hold keys that never did anything.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from webhook.config.environments import Environment, File
from webhook.gates import GATES

FILE = ("envs",)
ENVIRONMENT = (
    "name",
    "task",
    "description",
    "auto_merge",
    "required_contexts",
    "payload",
    "dynamic_payload",
    "production_environment",
    "deployable_ref",
    "auto_deploy_on",
    "serialization",
    "review",
    "frozen_windows",
)
REVIEW = ("enabled", "reviewers", "count")
WINDOW = ("start", "duration", "location")
DYNAMIC_PAYLOAD = ("enabled", "inputs")
INPUT = ("type", "required", "default", "description", "options")
APPROVAL = ("enabled", "required_count", "approvers")
# Of the operator's file alone; besides the keys of its models, those of notifiers.
_OPERATORS = {"discord", "slack", "webhook", "with"}
_OPERATORS_FILE = {*File.model_fields, *_OPERATORS, "frozen_windows", "repository_file"}
_OPERATORS |= {*Environment.model_fields, *(f for g in GATES.values() for f in g.Keys.model_fields)}
_OPERATORS_REVIEW = {"teams", "self", "expires", "same_commit"}
_OPERATORS_WINDOW = {"from", "to", "reason", "lets", "announce", "repos", "environments"}
OPERATORS = {
    FILE: _OPERATORS_FILE,
    ENVIRONMENT: _OPERATORS,
    REVIEW: _OPERATORS_REVIEW,
    WINDOW: _OPERATORS_WINDOW,
}
# Of deliverybot's file, which has the same name: each of its top keys is a target.
DELIVERYBOTS = {
    "auto_deploy_on",
    "auto_merge",
    "deployments",
    "environment",
    "required_contexts",
    "transient_environment",
}


def ignored(key: str, known: tuple[str, ...]) -> str:
    """What is said of a key that is not known."""
    if key in OPERATORS.get(known, ()):
        return "belongs to the operator's deploy.yml, and does nothing here; remove it"
    return f"is not a key, and does nothing; {_instead(key, known)}"


def _instead(key: str, known: Iterable[str]) -> str:
    close = get_close_matches(key, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
