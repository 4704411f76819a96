"""A deployment and its repository as GitHub describes them, and which deployments are production.

Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads#deployment
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AliasPath, AwareDatetime, BeforeValidator, Field, StrictBool

from webhook.text import web_url


def _login(value: Any) -> Any:
    """GitHub sends null for an account that was deleted."""
    return value.get("login") or "" if isinstance(value, dict) else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) and 0 < value < 2**63 else 0


def app_of(value: Any) -> Any:
    """Only what identifies it; an older server sends less."""
    if not isinstance(value, dict):
        return None
    texts = {key: str(value.get(key) or "") for key in ("client_id", "slug")}
    return {"id": str(value.get("id") or ""), **texts}


# PostgreSQL's bigint.
GitHubId = Annotated[int, Field(strict=True, gt=0, lt=2**63)]
# Null becomes an empty text.
Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
Login = Annotated[str, BeforeValidator(_login)]
# Pages and Slack link to it, so `javascript:` and the like become an empty text.
WebUrl = Annotated[str, BeforeValidator(web_url)]


@dataclass(frozen=True, slots=True)
class GitHubApp:
    id: str
    client_id: str
    slug: str


@dataclass(frozen=True, slots=True)
class Repository:
    id: GitHubId
    full_name: str
    html_url: WebUrl


@dataclass(frozen=True, slots=True)
class GitHubDeployment:
    """`payload` is GitHub's, parsed: null, a string or an object. `app`: the one that created it,
    by itself or for a person."""

    id: GitHubId
    environment: str
    ref: str
    sha: str
    task: str
    created_at: AwareDatetime
    payload: Any = None
    description: Text = ""
    creator: Login = ""
    production_environment: StrictBool | None = None
    transient_environment: StrictBool | None = None
    creator_type: Annotated[
        str,
        BeforeValidator(lambda value: value if isinstance(value, str) else ""),
        Field(validation_alias=AliasPath("creator", "type")),
    ] = ""
    creator_id: Annotated[
        int,
        BeforeValidator(_number),
        Field(validation_alias=AliasPath("creator", "id")),
    ] = 0
    app: Annotated[
        GitHubApp | None,
        BeforeValidator(app_of),
        Field(validation_alias="performed_via_github_app"),
    ] = None


def person_id(deployment: GitHubDeployment) -> int:
    """The account of the person who created it; 0 if that was a bot or an App, by which nobody
    knows who asked for it."""
    is_bot = deployment.creator_type == "Bot" or deployment.creator.endswith("[bot]")
    return 0 if is_bot else deployment.creator_id


def is_production(environment: str, configured: bool | None) -> bool:
    """As configured (by deploy.yml or the deployment); else by GitHub's rule, which is the name.

    Source: https://docs.github.com/en/rest/deployments/deployments, `production_environment`.
    """
    return environment.lower() == "production" if configured is None else configured
