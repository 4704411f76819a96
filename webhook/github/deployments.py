"""Deployments that the App creates.

Source: docs.github.com/rest/deployments/deployments. Needs the permission deployments: write.
Errors: those of `GitHub`. After `UnknownOutcome` it may have been created: `find_deployment`
searches for the marker in its description.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from webhook.errors import Forbidden, Rejected
from webhook.github.client import GitHub
from webhook.github.tokens import Scope
from webhook.text import LONGEST_DESCRIPTION, one_line

_SHA = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDeployment:
    """A deployment to be created. Its description ends with `marker`, whatever is cut before it."""

    ref: str
    environment: str
    task: str = "deploy"
    payload: Mapping[str, Any] | str | None = None
    description: str = ""
    production: bool
    transient: bool = False
    auto_merge: bool = False
    required_contexts: tuple[str, ...] = ()
    marker: str = ""

    def as_request(self) -> dict[str, Any]:
        """By default for exactly this ref: nothing is merged into it, and no commit status prevents
        what a person requested."""
        return {
            "ref": self.ref,
            "environment": self.environment,
            "task": self.task,
            "payload": {} if self.payload is None else self.payload,
            "description": self._text(),
            "production_environment": self.production,
            "transient_environment": self.transient,
            "auto_merge": self.auto_merge,
            "required_contexts": list(self.required_contexts),
        }

    def _text(self) -> str:
        room = LONGEST_DESCRIPTION - len(self.marker) - 1
        return f"{one_line(self.description, room)} {self.marker}".strip()


async def create_deployment(github: GitHub, scope: Scope, new: NewDeployment) -> int:
    """Create it and return its id. `Rejected` if GitHub merged a branch instead (202), or sees a
    conflict (409); with code `INVALID` if it does not know the ref (422)."""
    path = f"/repos/{scope.repo}/deployments"
    writing = scope.only(deployments="write")
    return await github.request(writing, "POST", path, _id, new.as_request())


def _id(response: Mapping[str, Any]) -> int:
    message = str(response.get("message", ""))
    if "id" not in response and "merged" in message:
        message = f"GitHub merged a branch instead of deploying: {message.rstrip('.')}"
        message += "; deploy it now, once more"
        raise Rejected(message, HTTPStatus.ACCEPTED)
    return int(response["id"])


async def exists(github: GitHub, scope: Scope, deployment_id: int) -> bool:
    """Whether GitHub still has it; somebody may delete one."""
    path = f"/repos/{scope.repo}/deployments/{deployment_id}"
    writing = scope.only(deployments="write")
    try:
        return await github.request(writing, "GET", path, lambda found: "id" in found)
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND and not isinstance(error, Forbidden):
            return False
        raise


async def find_deployment(
    github: GitHub, scope: Scope, *, sha_or_ref: str, environment: str, marker: str
) -> int | None:
    """The newest deployment by the App with `marker` in its description, if it is among GitHub's
    newest hundred of that commit (or ref) and environment. No other's description may have it."""
    if not marker:
        raise ValueError("every description contains nothing")
    app_id = await github.app_id()

    def read(deployments: Any) -> int | None:
        marked = (d for d in deployments if marker in (d.get("description") or ""))
        ours = (d for d in marked if _is_by(d, app_id))
        return next((int(d["id"]) for d in ours), None)

    what = "sha" if _SHA.fullmatch(sha_or_ref) else "ref"
    query = urlencode({what: sha_or_ref, "environment": environment, "per_page": 100})
    path = f"/repos/{scope.repo}/deployments?{query}"
    return await github.request(scope.only(deployments="write"), "GET", path, read)


def _is_by(deployment: Mapping[str, Any], app_id: int) -> bool:
    """An older Enterprise Server does not say so; the marker is nobody else's."""
    if "performed_via_github_app" not in deployment:
        return True
    app = deployment["performed_via_github_app"]
    return app is not None and int(app["id"]) == app_id
