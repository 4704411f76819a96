"""Why a deployment was created that nobody requested: a rule of deploy.yml asks for it."""

from collections.abc import Mapping
from typing import Literal

Cause = Literal["push", "promotion"]
# The kinds of the rows of `actions` that create them.
KINDS: Mapping[Cause, str] = {"push": "auto_deploy", "promotion": "auto_promote"}
# How what they create is called, as `origin` of an action (webhook.deployments.actions).
ORIGINS: Mapping[str, str] = {KINDS["promotion"]: "promoted from {environment}"}
_CAUSES: Mapping[str, Cause] = {kind: cause for cause, kind in KINDS.items()}


def cause_of(kind: str) -> Cause | None:
    """Of an action; None of what a person requested."""
    return _CAUSES.get(kind)


def heading_of(cause: Cause | None) -> str:
    """Of what `requested` says, as the name of a field."""
    return "Requested by" if cause is None else "Cause"


def requested(cause: Cause | None, login: str) -> str:
    """Who asked for a deployment, and how; `login` is "" where that is not known."""
    by = f" by {login}" if login else ""
    match cause:
        case "push":
            return f"deployed automatically for a push{by}"
        case "promotion":
            return f"promoted automatically, requested{by}" if by else "promoted automatically"
    return by.strip()
