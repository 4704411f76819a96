"""GitHub's API for handlers: with the App's token for one repository, and the handlers' errors."""

from collections.abc import Mapping
from typing import Any

from handlers import errors as tool_errors
from handlers.contract import Deployment
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.github.client import GitHub
from webhook.github.tokens import Scope


class ToolsGitHub:
    def __init__(self, github: GitHub) -> None:
        self._github = github

    async def get(self, deployment: Deployment, permissions: Mapping[str, str], path: str) -> Any:
        return await self._call(deployment, permissions, "GET", path)

    async def post(
        self, deployment: Deployment, permissions: Mapping[str, str], path: str, body: Any
    ) -> Any:
        return await self._call(deployment, permissions, "POST", path, body)

    async def _call(
        self,
        deployment: Deployment,
        permissions: Mapping[str, str],
        method: str,
        path: str,
        body: Any = None,
    ) -> Any:
        scope = Scope(
            deployment.installation_id,
            deployment.repo,
            deployment.repo_id,
            tuple(sorted(permissions.items())),
        )
        try:
            return await self._github.call(scope, method, path, body)
        except RetryAt as error:
            raise tool_errors.Unavailable(str(error), retry_at=error.at) from error
        except UnknownOutcome as error:
            raise tool_errors.UnknownOutcome(str(error)) from error
        except Rejected as error:
            raise tool_errors.Rejected(
                str(error), status=error.status, reason=str(error.__cause__ or "")
            ) from error
