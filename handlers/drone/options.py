"""Options of the Drone handler under `with:` in deploy.yml, and the parameters of a promotion.

A pipeline's steps find parameters as variables. Drone's runners put them into `${...}` of
.drone.yml in place of Drone's own variables of the same name, and plugins read PLUGIN_ variables as
settings; whoever creates a deployment must not choose those.

Source: https://github.com/drone/runner-go/blob/master/pipeline/runtime/runner.go
Errors: `ValueError` with the remedy; `Rejected` for values that no variable can hold.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from handlers import contract
from handlers.contract import Deployment
from handlers.errors import Rejected
from handlers.http import tls_context
from handlers.options import BaseUrl, Duration, File, Template, Text, fill, payload_values, plain

# Needed by the relay's own promotions only.
_PROMOTION_OPTIONS = ("target", "parameters", "payload", "build", "branch")


MARK = "GITPLOY_DEPLOYMENT_ID"
BUILT_FOR = "GITPLOY_BUILD_FOR"
# `access_token` is Drone's other way to sign in, `target` its word for the environment.
RESERVED = frozenset({"target", "access_token", MARK, BUILT_FOR})
NOT_FOR_PAYLOADS = ("DRONE_", "CI_", "PLUGIN_")

_UNFIT = re.compile("[\0\ud800-\udfff]")


def free(names: dict[str, str]) -> dict[str, str]:
    """A validator. Errors: ValueError with the remedy."""
    if reserved := sorted(RESERVED & names.keys()):
        raise ValueError(f"'{reserved[0]}' has a special meaning; use another name")
    if unfit := sorted(name for name in names if not _is_name(name)):
        raise ValueError(f"'{unfit[0]}' is not the name of a variable")
    return names


def parameters(
    templates: Mapping[str, str], deployment: Deployment, *, with_payload: bool
) -> dict[str, str]:
    from_payload = payload_values(deployment) if with_payload else {}
    given = {
        name: _checked_value(name, value)
        for name, value in from_payload.items()
        if _is_allowed(name)
    }
    configured = {name: fill(template, deployment) for name, template in templates.items()}
    return given | configured | {MARK: str(deployment.id)}


def _is_allowed(name: str) -> bool:
    return _is_name(name) and name not in RESERVED and not name.startswith(NOT_FOR_PAYLOADS)


def _is_name(name: str) -> bool:
    return bool(name) and "=" not in name


def _checked_value(name: str, value: str) -> str:
    plain("a key of the payload", name)
    if _UNFIT.search(value):
        raise Rejected(f"the payload's '{name}' has a character that no variable can hold")
    return value


def _certificates(path: str) -> str:
    try:
        tls_context(path)
    except OSError:
        raise ValueError(f"'{path}' is not a file of certificates in PEM") from None
    return path


def _root(url: str) -> str:
    if URL(url).path.strip("/"):
        raise ValueError("Drone is served at the root of its host; leave the path out")
    return url


class DroneOptions(contract.Options):
    """With `native` Drone's own webhook starts the build; the relay only follows it."""

    url: Annotated[BaseUrl, AfterValidator(_root)]
    """Where people open Drone."""
    token: Annotated[Text, Field(repr=False)]
    """Of a user who may write to the repositories; Drone shows it under /account."""
    mode: Literal["promote", "native"] = "promote"
    """Who starts the build: the relay (promote), or Drone's own webhook (native)."""
    target: Annotated[Template, Field(min_length=1)] = "{environment}"
    """What pipelines are triggered by, and find in DRONE_DEPLOY_TO."""
    parameters: Annotated[dict[Text, Template], AfterValidator(free)] = Field(default_factory=dict)
    """Variables for the pipeline. Whoever may see its builds in Drone sees them."""
    payload: bool = True
    """Whether the keys of the deployment's payload become variables, too."""
    build: Literal["existing", "create"] = "existing"
    """What is promoted: a push or tag build that exists, or one made where there is none."""
    branch: Annotated[Template, Field(min_length=1)] | None = None
    """Of builds that are made; the repository's default branch otherwise."""
    repo: Annotated[Template, Field(min_length=1)] = "{repo}"
    """owner/name in Drone."""
    start_within: Duration = timedelta(minutes=2)
    """How long a build to promote, or with `native` the promotion, may take to appear."""
    ca: Annotated[File, AfterValidator(_certificates)] | None = None
    """The certificates that sign Drone's, in PEM."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.mode == "native":
            for name in _PROMOTION_OPTIONS:
                if name in self.model_fields_set:
                    raise ValueError(f"'{name}' has no effect with 'mode: native'; leave it out")
        if self.ca and not self.url.startswith("https://"):
            raise ValueError("'ca' needs a 'url' that begins with https://")
        if self.branch and self.build != "create":
            raise ValueError("'branch' has no effect without 'build: create'; leave it out")
        return self

    @property
    def starts_by_itself(self) -> bool:
        return self.mode == "native"
