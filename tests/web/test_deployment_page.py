"""The page of a deployment for people who have signed in: what they see, and what they do there."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY
from tests.conftest import Databases
from tests.web.people import Browser, Page, browser, signed_in
from tests.world import World, live, until

DEPLOY_YML = """
slack: {channel: "#deploys"}
envs:
  - name: gated
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [octocat, octowriter]}
  - name: two
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [octocat, octowriter, octoadmin], count: 2}
  - name: glass
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [octowriter]}
    break_glass: [octocat]
  - name: "slow*"
    handler: command
    with: {run: ["sh", "-c", 'while ! test -e "$1"; do sleep 0.05; done', sh, "{payload.gate}"]}
  - name: broken
    handler: command
    with: {run: ["false"]}
  - name: production
    handler: command
    with: {run: ["true"]}
  - name: first
    handler: command
    with: {run: ["true"]}
  - name: second
    handler: command
    with: {run: ["true"]}
    after: [first]
"""
ACTS = ("approve", "reject", "cancel", "retry", "rollback", "promote", "override")

pytestmark = pytest.mark.asyncio(loop_scope="module")
_shas = itertools.count(1)


ada = signed_in("octocat")  # may write, and administer nothing
bob = signed_in("octowriter")
root = signed_in("octoadmin")  # may administer the repository
rob = signed_in("octoreader")  # may only read


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("page")
    with databases.one() as url:
        async with live(url, folder, DEPLOY_YML) as started:
            yield started


def new_sha() -> str:
    return f"{next(_shas):07x}".ljust(40, "0")


def address(deployment_id: int) -> str:
    return f"/deployments/{REPOSITORY}/{deployment_id}"


def offered(page: Page) -> set[str]:
    return {name for name in ACTS if page.offers(f"/acts/{name}")}


async def asked(world: World, environment: str, by: str = "octoadmin") -> Deployment:
    """A deployment of a new commit, which waits for approval."""
    deployment = await world.deploy(environment, ref=new_sha(), by=world.github.world.user(by))
    waits = "select from deployments where id = %s and blockers <> '[]'"
    await until(lambda: world.rows(waits, deployment.id) or None)
    return deployment


async def act(person: Browser, deployment: Deployment, name: str, **fields: str) -> Page:
    """Press its button; the page once it is known what became of that."""
    page = await person.open(address(deployment.id))
    given = {f"input.{field}": value for field, value in fields.items()}
    sent = page.form(f"/acts/{name}").fields | given
    after = await person.post(f"/acts/{name}", sent)
    assert after.status == 200, after.text
    assert after.url.endswith(address(deployment.id))
    await ended(person.world, deployment.id)
    return await person.open(address(deployment.id))


async def ended(world: World, deployment_id: int) -> None:
    waiting = "select from actions where deployment_id = %s and outcome = 'waiting'"
    await until(lambda: not world.rows(waiting, deployment_id) or None)


def acts_on(world: World, deployment_id: int) -> list[tuple[Any, ...]]:
    rows = world.rows(
        "select actor, action, outcome, source, reason from audit where deployment_id = %s"
        " order by id",
        deployment_id,
    )
    return [tuple(row.values()) for row in rows]


async def test_a_writer_approves_on_the_page_and_it_runs(
    world: World, ada: Browser, rob: Browser, root: Browser
) -> None:
    deployment = await asked(world, "gated")
    here = address(deployment.id)
    page = await ada.open(here)
    assert offered(page) == {"approve", "reject", "cancel"}
    assert f"Let {deployment.sha[:7]} of acme/site to gated start?" in page.text
    assert "Waits for approval: 0 of 1" in page.text
    seen = await rob.open(here)
    assert not offered(seen)
    assert "For people who may write to the repository on GitHub: Approve, Reject" in seen.text
    refused = await rob.post("/acts/approve", page.form("/acts/approve").fields)
    assert refused.status == 403
    asker = await root.open(here)
    assert offered(asker) == {"cancel"}
    assert "Approve : Not yours: octocat, octowriter may approve it." in asker.text

    after = await act(ada, deployment, "approve", comment="<b>fine</b>")
    await world.github.wait_for(deployment.id, "success")
    await world.idle()
    after = await ada.open(here)
    assert "Approve : done" in after.text
    assert "(acme/site: gated)" in after.text
    assert "Approved by octocat" in after.text
    message = after.text.partition("How it reads now")[2]
    assert "succeeded" in message
    assert "octocat" in message
    assert "<b>fine" not in after.html
    assert "Succeeded" in after.text
    assert acts_on(world, deployment.id) == [
        ("octocat", "approve", "done", "page", "<b>fine</b>"),
    ]
    [given] = world.rows("select source from approvals where deployment_id = %s", deployment.id)
    assert given["source"] == "page"
    for part in ("Where the time went", "Waited for gates", "by approval", "Ran"):
        assert part in after.text
    assert "Deliveries about it" not in after.text
    everything = await root.open(here)
    assert "Deliveries about it" in everything.text
    assert any(link.startswith("/deliveries/") for link in everything.links)
    assert "deployment.created" in everything.text
    assert "octocat approve, on a page" in everything.text


async def test_two_have_to_approve_and_nobody_twice(
    world: World, ada: Browser, bob: Browser
) -> None:
    deployment = await asked(world, "two")
    question = await ada.open(f"/acts/approve?deployment={deployment.id}")  # as from the board
    assert deployment.sha[:7] in question.text
    assert address(deployment.id) in question.links
    form = (await ada.open(address(deployment.id))).form("/acts/approve")
    for _ in range(2):  # a double click
        await ada.post("/acts/approve", form.fields)
    await world.idle()
    page = await ada.open(address(deployment.id))
    assert [one[1] for one in acts_on(world, deployment.id)] == ["approve"]
    assert offered(page) == {"reject", "cancel"}
    assert "You have approved it." in page.text
    assert "1 of 2" in page.text
    await act(bob, deployment, "approve")
    await world.github.wait_for(deployment.id, "success")


async def test_a_rejection_needs_a_reason_and_ends_it(world: World, bob: Browser) -> None:
    deployment = await asked(world, "gated")
    page = await act(bob, deployment, "reject", comment=" ")
    assert "Nothing was rejected: say why in the comment" in page.text
    page = await act(bob, deployment, "reject", comment="x" * 1001)
    assert "A comment has at most 1000 characters, and this one has 1001" in page.text
    page = await act(bob, deployment, "reject", comment="not on a\nFriday\x00")
    await world.github.wait_for(deployment.id, "error")
    page = await bob.open(address(deployment.id))
    assert "Rejected by octowriter" in page.text
    assert "not on a Friday" in page.text
    # Who comes later gets a clear answer.
    form = {**page.form("/signout").fields, "key": "late", "next": address(deployment.id)}
    late = await bob.post("/acts/approve", {**form, "deployment": str(deployment.id)})
    await ended(world, deployment.id)
    late = await bob.open(address(deployment.id))
    assert f"Too late: deployment {deployment.id} has ended" in late.text


async def test_what_runs_is_cancelled_and_what_failed_retried_or_rolled_back(
    world: World, ada: Browser, tmp_path: Path
) -> None:
    running = await world.begin_slow(tmp_path / "never")
    page = await ada.open(address(running.id))
    assert offered(page) == {"cancel"}
    assert "Stop deploying" in page.text
    page = await act(ada, running, "cancel")
    await world.github.wait_for(running.id, "error")
    assert "Cancel, requested on the relay's page" in (await ada.open(address(running.id))).text

    failed = await world.deployed("broken")
    assert offered(await ada.open(address(failed.id))) == {"retry"}
    page = await act(ada, failed, "retry")
    [made] = world.rows(
        "select created_deployment_id as id from actions where kind = 'retry' and deployment_id"
        " = %s",
        failed.id,
    )
    assert address(made["id"]) in page.links
    await world.idle()
    assert "retry of an earlier deployment" in (await ada.open(address(made["id"]))).text

    good = await world.deployed(ref=new_sha())
    newer = await world.deployed(ref=new_sha())
    page = await ada.open(address(newer.id))
    assert f"Roll back production of acme/site to {good.sha[:7]}?" in page.text
    await act(ada, newer, "rollback")
    await world.idle()
    [back] = world.rows(
        "select sha from deployments where id = (select created_deployment_id from actions"
        " where kind = 'rollback' and deployment_id = %s)",
        newer.id,
    )
    assert back["sha"] == good.sha


async def test_a_success_goes_on_to_the_next_environment_once(world: World, ada: Browser) -> None:
    first = await world.deployed("first", ref=new_sha())
    page = await ada.open(address(first.id))
    assert offered(page) == {"promote"}
    assert f"Deploy {first.sha[:7]} of acme/site to second?" in page.text
    form = page.form("/acts/promote").fields
    await act(ada, first, "promote")
    await ada.post("/acts/promote", {**form, "key": "an old copy of the page"})
    await world.idle()
    there = world.rows("select sha, phase from deployments where environment = 'second'")
    assert there == [{"sha": first.sha, "phase": "success"}]
    assert "You have requested that already" in (await ada.open(address(first.id))).text


async def test_who_may_break_the_glass_says_why(world: World, ada: Browser, bob: Browser) -> None:
    deployment = await asked(world, "glass")
    page = await bob.open(address(deployment.id))
    assert offered(page) == {"approve", "reject", "cancel"}
    assert "deploy.yml lets octocat do it" in page.text
    assert "May be overridden by octocat." in page.text
    assert offered(await ada.open(address(deployment.id))) == {"cancel", "override"}
    page = await act(ada, deployment, "override", reason=" ")
    assert "say why it cannot wait" in page.text
    await act(ada, deployment, "override", reason="the shop is down")
    await world.github.wait_for(deployment.id, "success")
    [done] = [one for one in acts_on(world, deployment.id) if one[2] == "done"]
    assert done == ("octocat", "override", "done", "page", "the shop is down")
    assert "skipped approval" in (await bob.open(address(deployment.id))).text


async def test_a_link_opens_it_to_be_read_only(world: World, ada: Browser) -> None:
    deployment = await asked(world, "gated")
    await world.idle()
    link = world.github.statuses(deployment.id)[-1].log_url.removeprefix(world.url)
    async with browser(world) as anybody:
        page = await anybody.open(link)
        assert not offered(page)
        assert "Sign in with GitHub to act on it" in page.text
        assert "Deliveries about it" not in page.text
        bad = await anybody.open(f"{address(deployment.id)}?key=wrong")
        assert bad.status == 403
        assert "sign in with GitHub" in bad.text
        assert f"/signin?next={address(deployment.id)}" in bad.links
    async with browser(world, "octoguest") as guest:
        assert not offered(await guest.open(link))
        assert (await guest.open(address(deployment.id))).status == 404
    # Who has signed in gets their own page by the link, too.
    assert "approve" in offered(await ada.open(link))
