"""`/deploy explain` shows what holds, and what a deployment would meet now, to who may read it."""

import pytest

from tests.slack.actions.action_world import ActionWorld, relay

__all__ = ["relay"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_whoever_may_read_the_repository_sees_what_would_hold_a_deployment(
    relay: ActionWorld,
) -> None:
    site = relay.github.repository("acme/site")
    site.push("One", ref="topic/a_b")
    await relay.typed("lock acme/site stage/x _On <fire>_ & so on", relay.ada)
    before = len(relay.github.deployments)
    text = (await relay.typed("explain acme/site stage/x topic/a_b", relay.rob)).text
    heading, *lines = text.splitlines()
    assert heading.startswith("*acme/site to stage/x: what holds, and what topic/a_b (")
    assert heading.endswith("asked for by reader*")
    assert lines[1:4] == [
        "• `serialization` (the operator's deploy.yml, line 22): false",
        "• `handler` (the operator's deploy.yml, line 21): command",
        "• _everything else is as by default_",
    ]
    [locked] = [line for line in lines if line.startswith("• `lock` (waits, ")]
    assert "Locked by octocat: " in locked
    assert "&lt;fire&gt;" in locked
    assert "_On" not in locked
    assert lines.index("• _all other gates allow it_") > lines.index(locked)
    assert len(relay.github.deployments) == before
    assert relay.world.rows("select 1 from audit where action = 'explain'") == []
    await relay.typed("unlock acme/site stage/x", relay.ada)

    for typed, wrong in {
        "explain acme/site": "Name what to explain: `/deploy explain owner/repo environment",
        "explain acme/site nowhere": "'nowhere' is not in deploy.yml; known: production, ",
        "explain acme/site stage/x gone": "acme/site has no branch, tag or commit 'gone'",
    }.items():
        assert (await relay.typed(typed, relay.rob)).text.startswith(wrong), typed
    assert (
        "you may not write to it" in (await relay.typed("explain acme/other stage", relay.rob)).text
    )
    assert (
        "does not know who you are"
        in (await relay.typed("explain acme/site stage", relay.eve)).text
    )
