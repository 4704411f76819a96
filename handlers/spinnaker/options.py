"""Options of `handler: spinnaker` under `with:` in deploy.yml.

Errors: `ValueError` with the remedy.
"""

import ssl
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from handlers import contract
from handlers.http import tls_context
from handlers.options import BaseUrl, Duration, File, Template, Text

# What Orca evaluates.
EXPRESSION = "${"
STANDARD_PARAMETERS = (
    "owner",
    "repo",
    "deployment_id",
    "ref",
    "sha",
    "environment",
    "report_url",
    "report_token",
)
SHORTEST, LONGEST = timedelta(seconds=1), timedelta(hours=1)


def _segment(name: str) -> str:
    # Gate's firewall rejects these in a path, escaped or not.
    if name in (".", "..") or set("/\\%;") & set(name):
        raise ValueError(
            f"'{name}' cannot be part of an address: Gate refuses / \\ % ; and a mere . or .."
            " there; rename it in Spinnaker, or give a pipeline by its ID"
        )
    return name


def _bounded(duration: timedelta) -> timedelta:
    if not SHORTEST <= duration <= LONGEST:
        raise ValueError("out of bounds; write 1s to 1h")
    return duration


def _free(parameters: dict[str, str]) -> dict[str, str]:
    if reserved := sorted(parameters.keys() & set(STANDARD_PARAMETERS)):
        raise ValueError(f"'{reserved[0]}' is set by the relay; use another name")
    for text in (*parameters, *parameters.values()):
        if EXPRESSION in text:
            raise ValueError(f"'{text}' contains '{EXPRESSION}', which Spinnaker would evaluate")
    return parameters


_Segment = Annotated[Text, AfterValidator(_segment)]


class SpinnakerOptions(contract.Options):
    """Either `source`, or `application` and `pipeline`."""

    url: BaseUrl
    """Gate, Spinnaker's API."""
    source: _Segment | None = None
    """The source of the pipelines' webhook trigger."""
    application: _Segment | None = None
    """Of the pipeline; with `source`: the only one in which pipelines are searched."""
    pipeline: _Segment | None = None
    """The name or ID of the pipeline to run."""
    deck: BaseUrl | None = None
    """Where people open Spinnaker, for links."""
    username: Text | None = None
    """With `password`."""
    password: Annotated[Text | None, Field(repr=False)] = None
    token: Annotated[Text | None, Field(repr=False)] = None
    """Sent as `Authorization: Bearer`."""
    certificate: File | None = None
    """A client certificate (PEM), with `key`."""
    key: File | None = None
    """Its private key (PEM), without a password."""
    ca: File | None = None
    """The authorities (PEM) to trust instead of the system's."""
    parameters: Annotated[dict[Text, Template], AfterValidator(_free)] = Field(default_factory=dict)
    """For the pipeline, besides the standard ones."""
    start_within: Annotated[Duration, AfterValidator(_bounded)] = timedelta(minutes=2)
    """How long a pipeline with that source may take to start: 2m by default."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.source is None) == (self.pipeline is None):
            raise ValueError("give either 'source' or 'application' and 'pipeline'")
        if self.pipeline and not self.application:
            raise ValueError("'pipeline' needs its 'application'")
        if self.pipeline and "start_within" in self.model_fields_set:
            raise ValueError("'start_within' is for 'source' only; remove it")
        return self

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("'username' and 'password' go together")
        if ":" in (self.username or ""):
            raise ValueError("a 'username' cannot contain ':'")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("'certificate' and 'key' go together")
        given = [self.username, self.token, self.certificate]
        if sum(value is not None for value in given) > 1:
            raise ValueError(
                "give only one of 'username' with 'password', 'token', 'certificate' with 'key'"
            )
        return self

    @model_validator(mode="after")
    def _readable_files(self) -> Self:
        files = [("certificate", self.certificate), ("key", self.key), ("ca", self.ca)]
        given = [(name, path) for name, path in files if path]
        if given and not self.url.startswith("https://"):
            raise ValueError(f"'{given[0][0]}' needs a 'url' that begins with https://")
        try:
            # OpenSSL would call it a "PEM lib" error.
            if self.key and b"ENCRYPTED" in Path(self.key).read_bytes():
                raise ValueError(f"'{self.key}' is protected by a password; the relay has none")
            if given:
                self.tls()
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(
                f"{' and '.join(path for _, path in given)} cannot be used: {error}"
            ) from None
        return self

    def tls(self) -> ssl.SSLContext | None:
        if not (self.ca or self.certificate):
            return None
        return tls_context(self.ca, self.certificate, self.key)
