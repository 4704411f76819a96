"""Who is in a team, as the App sees it on GitHub."""

from collections.abc import AsyncIterator

import pytest

from tests.github.github_app import REPO, OnGitHub, on_github
from webhook.errors import LACKS_PERMISSION, NOT_INSTALLED, Forbidden
from webhook.github.teams import Team, is_member, size


@pytest.fixture
async def world() -> AsyncIterator[OnGitHub]:
    async with on_github() as world:
        world.there.add_team("acme/platform", "mona", "Octo_acme", pending=["hubot"])
        yield world


def test_a_slug_alone_is_a_team_of_the_repository_s_organization() -> None:
    assert Team.named("platform", REPO) == Team.named("acme/platform", REPO)
    assert str(Team.named("other/sre", REPO)) == "other/sre"


async def test_an_active_member_is_in_it(world: OnGitHub) -> None:
    world.installation.permissions["members"] = "read"
    platform = Team.named("Platform", REPO)
    expected = {"MONA": True, "octo_acme": True, "hubot": False, "nobody": False, "a/b": False}
    for login, member in expected.items():
        assert await is_member(world.github, world.scope, platform, login) == member, login
    assert await size(world.github, world.scope, platform) == 2
    assert await size(world.github, world.scope, Team("acme", "none")) is None
    assert not await is_member(world.github, world.scope, Team("acme", "none"), "mona")
    assert world.granted() == [{"members": "read", "metadata": "read"}]


async def test_the_error_names_the_missing_permission(world: OnGitHub) -> None:
    with pytest.raises(Forbidden, match="members: read") as caught:
        await is_member(world.github, world.scope, Team("acme", "platform"), "mona")
    assert caught.value.code == LACKS_PERMISSION


async def test_a_team_of_another_organization_is_read_by_the_app_s_installation_there(
    world: OnGitHub,
) -> None:
    world.there.add_team("other/sre", "mona")
    sre = Team("other", "sre")
    with pytest.raises(Forbidden, match="not installed in other") as caught:
        await is_member(world.github, world.scope, sre, "mona")
    assert caught.value.code == NOT_INSTALLED
    world.there.add_installation("other", permissions={"members": "read"})
    assert await is_member(world.github, world.scope, sre, "mona")
