"""`python -m webhook check` of who may approve: teams, what the App may see, enough people."""

from pathlib import Path

import pytest

from sandbox.faults import Fault
from sandbox.sandbox import Sandbox
from tests.check.test_check import checked, environ, sandbox

__all__ = ["environ", "sandbox"]  # fixtures


async def found(
    environ: dict[str, str], review: str, repos: str = "acme/*", *, break_glass: str = "[]"
) -> list[str]:
    """The lines about reviews."""
    Path(environ["GITPLOY_CONFIG"]).write_text(
        f"envs: [{{name: production, repos: ['{repos}'], handler: command, with: {{run: [x]}},"
        f" break_glass: {break_glass}, review: {{enabled: true, {review}}}}}]"
    )
    _, text = await checked(environ)
    return [line for line in text.splitlines() if " review: " in line]


async def test_teams_are_looked_up(environ: dict[str, str], sandbox: Sandbox) -> None:
    [line] = await found(environ, "teams: platform")
    assert line.startswith("error review: team acme/platform: the App may not see who is in it")
    assert "give it the organization permission Members: read" in line
    sandbox.installation.permissions["members"] = "read"
    [line] = await found(environ, "teams: platform")
    assert line.startswith("error review: team acme/platform: GitHub shows the App no such team")
    sandbox.github.add_team("acme/platform", "mona", "hubot")
    [line] = await found(environ, "teams: platform")
    assert line == "ok    review: production"
    [line] = await found(environ, "teams: [platform, other/sre]", "*")
    assert line == "error review: team other/sre: the App is not installed in other"
    sandbox.github.faults.add("GET /orgs/acme/teams/platform", Fault.status(502), times=2)
    [line] = await found(environ, "teams: platform")
    assert line.startswith("note  review: team acme/platform could not be read")


async def test_people_who_do_not_exist_are_named(environ: dict[str, str], sandbox: Sandbox) -> None:
    sandbox.installation.permissions["members"] = "read"
    sandbox.github.add_user("mona")
    unknown = "error review: GitHub has no account '{}'; correct it in deploy.yml"
    lines = await found(environ, "reviewers: [octcat, octocat, mona]", break_glass="[octocat, eve]")
    assert lines == [unknown.format("octcat"), unknown.format("eve")]
    lines = await found(environ, "reviewers: octocat", break_glass="acme/sre")
    assert lines[0].startswith("error review: team acme/sre: GitHub shows the App no such team")
    assert lines[1].startswith(
        "note  review: production: 1 must approve, and just 1 may: what that"
    )
    assert "waits for an override" in lines[1]


@pytest.mark.parametrize(
    ("review", "line"),
    [
        (
            "teams: platform, count: 3",
            "error review: production: 3 must approve, and only 2 may; name more people",
        ),
        (
            "teams: platform, reviewers: octocat, count: 3",
            "note  review: production: 3 must approve, and just 3 may: what one of them asks for is"
            " refused, and so is what a bot creates; name more people",
        ),
        ("teams: platform, reviewers: octocat, count: 3, self: true", "ok    review: production"),
        (
            "reviewers: octocat",
            "note  review: production: 1 must approve, and just 1 may: what that person asks for is"
            " refused, and so is what a bot creates; name more people",
        ),
    ],
)
async def test_a_review_that_too_few_may_give_is_named(
    environ: dict[str, str], sandbox: Sandbox, review: str, line: str
) -> None:
    sandbox.installation.permissions["members"] = "read"
    sandbox.github.add_team("acme/platform", "mona", "hubot")
    assert await found(environ, review) == [line]
