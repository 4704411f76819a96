"""GitHub as handlers see it: the App's token for one repository, errors in the contract's words."""

from collections.abc import Mapping
from typing import Any

from handlers import errors as tool_errors
from handlers.contract import Deployment
from webhook.outbound.app_tokens import Scope
from webhook.outbound.github import GitHub
from webhook.outbound.trouble import Later, Refused, Unsure


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
        except Later as later:
            raise tool_errors.Unavailable(str(later), retry_at=later.at) from later
        except Unsure as trouble:
            raise tool_errors.UnknownOutcome(str(trouble)) from trouble
        except Refused as refused:
            raise tool_errors.Rejected(
                str(refused), status=refused.status, reason=str(refused.__cause__ or "")
            ) from refused
