"""GitHub Actions: a repository's own workflows deploy it.

`mode: watch` follows the workflows that GitHub starts for a deployment; `mode: dispatch` starts one
itself. The events `workflow_run` and `workflow_job` say how they go on; where they are late or do
not come, the API is polled.

Source: https://docs.github.com/rest/actions
Errors: `Rejected` for what the repository lacks, with a message for whoever wrote its workflows.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

from handlers import contract
from handlers.contract import Deployment, HandlerContext, Pace, Run, ToolEvent
from handlers.github_actions.dispatch import Dispatch
from handlers.github_actions.options import GitHubActionsOptions
from handlers.github_actions.watch import Watch
from handlers.preview import Preview

__all__ = ["GitHubActions", "GitHubActionsOptions"]


class GitHubActions:
    Options: ClassVar[type[contract.Options]] = GitHubActionsOptions
    local: ClassVar[bool] = False
    pace: ClassVar[Pace] = Pace(least=5, most=30)
    appears_within: ClassVar[timedelta] = timedelta(seconds=20)

    def __init__(self, options: GitHubActionsOptions, context: HandlerContext) -> None:
        mode = Watch if options.mode == "watch" else Dispatch
        self._mode: Watch | Dispatch = mode(options, context.github, context.clock)

        self.starts_nothing = options.mode == "watch"

    async def find(self, deployment: Deployment) -> Run | None:
        return await self._mode.find(deployment)

    async def start(self, deployment: Deployment) -> Run:
        return await self._mode.start(deployment)

    def preview(self, deployment: Deployment) -> Preview:
        return self._mode.preview(deployment)

    async def check(self, deployment: Deployment, run: Run) -> Run:
        return await self._mode.check(deployment, run)

    async def observe(self, deployment: Deployment, run: Run, events: Sequence[ToolEvent]) -> Run:
        return await self._mode.observe(deployment, run, events)

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        await self._mode.cancel(deployment, run)
