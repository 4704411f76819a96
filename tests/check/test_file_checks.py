"""`python -m webhook check` of what check runs on pull requests need."""

from tests.config.test_load import config
from tests.github.github_app import on_github
from webhook.check.github import check_github

TIGHTENED = config(
    "envs:\n- {name: a, handler: command, with: {run: [x]}, repository_file: tighten}\n"
)


async def test_what_check_runs_lack_is_said_where_a_repositorys_file_counts() -> None:
    async with on_github() as world:

        async def found() -> list[str]:
            every = await check_github(world.github, TIGHTENED)
            return [one.message for one in every if "pull requests" in one.message]

        [message] = await found()
        assert message.startswith(
            "without checks: write and pull_requests: read and the event pull_request, pull"
            " requests get no check of their deploy.yml; give it and subscribe at http"
        )
        world.there.app.permissions.update(checks="write", pull_requests="read")
        world.there.app.events.append("pull_request")
        assert await found() == []
