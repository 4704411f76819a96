"""What a promotion carries: parameters, which its steps find as variables.

Drone's runners put parameters into `${...}` of .drone.yml in place of Drone's own variables of the
same name, and plugins read PLUGIN_ variables as settings; whoever creates a deployment must not
choose those. Source: https://github.com/drone/runner-go/blob/master/pipeline/runtime/runner.go

Errors: `Rejected` for values that no variable can hold.
"""

import re
from collections.abc import Mapping

from handlers.contract import Deployment
from handlers.errors import Rejected
from handlers.placeholders import fill, payload_values, plain

MARK = "GITPLOY_DEPLOYMENT_ID"
BUILT_FOR = "GITPLOY_BUILD_FOR"
# `access_token` is Drone's other way to sign in, `target` its word for the environment.
TAKEN = frozenset({"target", "access_token", MARK, BUILT_FOR})
NOT_FOR_PAYLOADS = ("DRONE_", "CI_", "PLUGIN_")

_UNFIT = re.compile("[\0\ud800-\udfff]")


def free(names: dict[str, str]) -> dict[str, str]:
    """A validator. Errors: ValueError with the remedy."""
    if taken := sorted(TAKEN & names.keys()):
        raise ValueError(f"'{taken[0]}' has a meaning of its own; take another name")
    if unfit := sorted(name for name in names if not _is_name(name)):
        raise ValueError(f"'{unfit[0]}' is no name for a variable")
    return names


def parameters(
    templates: Mapping[str, str], deployment: Deployment, *, with_payload: bool
) -> dict[str, str]:
    theirs = payload_values(deployment) if with_payload else {}
    given = {name: _fit(name, value) for name, value in theirs.items() if _may(name)}
    ours = {name: fill(template, deployment) for name, template in templates.items()}
    return given | ours | {MARK: str(deployment.id)}


def _may(name: str) -> bool:
    return _is_name(name) and name not in TAKEN and not name.startswith(NOT_FOR_PAYLOADS)


def _is_name(name: str) -> bool:
    return bool(name) and "=" not in name


def _fit(name: str, value: str) -> str:
    plain("a key of the payload", name)
    if _UNFIT.search(value):
        raise Rejected(f"the payload's '{name}' has a character that no variable can hold")
    return value
