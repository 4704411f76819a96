"""What the Drone handler takes under `with:` in deploy.yml."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from handlers import contract
from handlers.drone.parameters import free
from handlers.http import tls_context
from handlers.option_types import BaseUrl, Duration, File, Text
from handlers.placeholders import Template

# What only the relay's own promotions need.
_OF_PROMOTIONS = ("target", "parameters", "payload", "build", "branch")


def _certificates(path: str) -> str:
    try:
        tls_context(path)
    except OSError:
        raise ValueError(f"'{path}' is not a file of certificates in PEM") from None
    return path


def _root(url: str) -> str:
    if URL(url).path.strip("/"):
        raise ValueError("Drone answers at the root of its host; leave the path out")
    return url


class DroneOptions(contract.Options):
    """`native`: Drone's own webhook starts the build, which is only followed."""

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
    """How long a build to promote, or with `native` the promotion, may stay out."""
    ca: Annotated[File, AfterValidator(_certificates)] | None = None
    """The certificates that sign Drone's, in PEM."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.mode == "native":
            for name in _OF_PROMOTIONS:
                if name in self.model_fields_set:
                    raise ValueError(f"'{name}' has no effect with 'mode: native'; leave it out")
        if self.ca and not self.url.startswith("https://"):
            raise ValueError("'ca' needs a 'url' that begins with https://")
        if self.branch and self.build != "create":
            raise ValueError("'branch' has no effect without 'build: create'; leave it out")
        return self
