"""Pull requests.

Source: docs.github.com/rest/pulls/pulls#get-a-pull-request. Needs the permission pull_requests:
read. Errors: those of `GitHub`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from webhook.errors import Forbidden, Rejected
from webhook.github.client import GitHub
from webhook.github.tokens import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """As it is now. `base_sha`: the tip of its base branch when its head was pushed last.
    `default_branch`: the repository's."""

    is_open: bool
    head_sha: str
    base: str
    base_sha: str
    default_branch: str


async def pull_request(github: GitHub, scope: Scope, number: int) -> PullRequest | None:
    """None if there is none of that number."""
    path = f"/repos/{scope.repo}/pulls/{number}"
    try:
        return await github.request(scope.only(pull_requests="read"), "GET", path, _read)
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND and not isinstance(error, Forbidden):
            return None
        raise


def _read(document: Mapping[str, Any]) -> PullRequest:
    return PullRequest(
        is_open=document["state"] == "open",
        head_sha=str(document["head"]["sha"]),
        base=str(document["base"]["ref"]),
        base_sha=str(document["base"]["sha"]),
        default_branch=str(document["base"]["repo"]["default_branch"]),
    )
