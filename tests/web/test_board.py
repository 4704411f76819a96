"""The board: what is where, what is in the way, and what waits for whom."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from pathlib import Path

import aiohttp
import pytest

from sandbox.sandbox import REPOSITORY
from tests.web.people import Browser, Page, browser
from tests.web.viewing import Seen
from tests.world import World, live
from webhook.deployments.blockers import Blocker
from webhook.timing import utc_now
from webhook.web.auth.access import KEPT

RUN = '{run: ["true"]}'
DEPLOY_YML = f"""
slack: {{channel: "#deploys"}}
frozen_windows:
  - {{from: "2020-01-01", to: "2200-01-01", reason: "stocktaking", environments: [frozen]}}
envs:
  - {{name: staging, handler: command, with: {RUN}}}
  - name: production
    after: staging
    handler: command
    with: {RUN}
    review: {{enabled: true, reviewers: [octowriter], teams: [acme/platform]}}
  - {{name: frozen, repos: [acme/site], handler: command, with: {RUN}}}
  - {{name: "*", handler: command, with: {RUN}}}
"""
SHAS = [f"{number:x}" * 40 for number in range(1, 15)]
HOSTILE = "<script>alert(1)</script>\"'&"


@dataclass
class Stage:
    """Rows of the store, without what a worker would do."""

    world: World
    number: int = 100

    def account(self, login: str) -> int:
        user = self.world.github.world.user(login)
        assert user is not None
        return int(user.account.id)

    def repository(self, name: str) -> int:
        """On GitHub, and in the App's installation."""
        known = self.world.github.world.repositories
        if name not in known:
            added = self.world.github.add_repository(name)
            self.world.sandbox.installation.repositories.append(added)
        return int(known[name].id)

    def put(
        self,
        environment: str,
        sha: str,
        phase: str = "success",
        *,
        repo: str = REPOSITORY,
        by: str = "octocat",
        since: str = "",
        total: int = 0,
        behind: int = 0,
        ago: timedelta = timedelta(hours=2),
        blockers: tuple[Blocker, ...] = (),
        ref: str = "main",
    ) -> int:
        self.number += 1
        at = utc_now() - ago
        changelog = {"since": since, "total": total, "behind": behind, "commits": []}
        ended = phase not in ("queued", "in_progress")
        self.world.execute(
            "insert into deployments (id, repo, repo_id, repo_url, installation_id, environment,"
            " ref, sha, task, description, creator, creator_id, production, production_on_github,"
            " transient, created_at, requested_at, phase, phase_at, ended_at, run, blockers,"
            " changelog) values (%s, %s, %s, %s, %s, %s, %s, %s, 'deploy', '', %s, %s, %s, false,"
            " false, %s, %s, %s, %s, %s, %s, %s, %s)",
            *(self.number, repo, self.repository(repo), f"https://github.com/{repo}"),
            *(self.world.sandbox.installation.id, environment, ref, sha),
            *(by, self.account(by), environment == "production", at, at, phase, at),
            at if ended else None,
            None if blockers else '{"id": "1", "state": "success"}',
            json.dumps([one.to_json() for one in blockers]),
            json.dumps(changelog) if since else None,
        )
        return self.number

    def lock(
        self, environment: str, owner: str, *, repo_id: int = 0, ago: timedelta = timedelta(0)
    ) -> None:
        self.world.execute(
            "insert into locks (repo_id, repo, environment, owner, reason, source, created_at)"
            " values (%s, %s, %s, %s, 'the disk is full', 'slack', %s)",
            *(repo_id, REPOSITORY if repo_id else "", environment, owner, utc_now() - ago),
        )


def waiting_for(*asked: str) -> tuple[Blocker, ...]:
    approval = Blocker(
        gate="approval", reason="Waits for approval: 0 of 1", for_person=True, asks=asked
    )
    return (approval, Blocker(gate="serialization", reason="Waits for its turn"))


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    operators = {"GITPLOY_ADMIN_USERS": "octoops"}
    async with live(store_url, tmp_path, DEPLOY_YML, workers=0, environ=operators) as started:
        started.github.add_user("octoops")
        started.github.default_role = "none"
        yield started


@pytest.fixture
def stage(world: World) -> Stage:
    return Stage(world)


def cell(page: Page, environment: str, repo: str = REPOSITORY) -> Seen:
    """What is said of an environment, whatever the layout is."""
    address = f'<a href="/environments/{repo}/{environment}">'
    assert address in page.html, page.text
    rest = page.html.partition(address)[2]
    ends = [end for tag in ("</td>", "</li>") if (end := rest.find(tag)) >= 0]
    return Seen(address + rest[: min(ends)])


def shown(page: Page) -> list[str]:
    """Environments, in their order on the page."""
    start = "/environments/"
    links = [one.removeprefix(start) for one in page.links if one.startswith(start)]
    return list(dict.fromkeys(one.rpartition("/")[2] for one in links))


async def board(reader: Browser, query: str = "") -> Page:
    page = await reader.open(f"/{query}")
    assert page.status == 200
    return page


async def test_who_has_not_signed_in_sees_the_home_page_and_curl_plain_text(
    world: World, stage: Stage
) -> None:
    stage.put("production", SHAS[0])
    async with browser(world) as nobody:
        page = await nobody.open("/")
        assert "The relay is running" in page.text
        assert "/signin" in page.links
        assert REPOSITORY not in page.html
        button = await nobody.open("/signout")
        assert (button.status, button.headers["Allow"]) == (405, "OPTIONS, POST")
        assert "Nothing was done" in button.text
        slacks = await nobody.open("/slack/commands")
        assert (slacks.status, slacks.headers["Allow"]) == (405, "OPTIONS, POST")
        assert "what a button, or Slack, sends" in slacks.text
    async with browser(world, "octocat") as octocat:
        plain = await octocat.open("/", Accept="*/*")
        assert plain.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert REPOSITORY not in plain.html


async def test_each_sees_the_repositories_that_github_shows_them(
    world: World, stage: Stage
) -> None:
    stage.put("production", SHAS[0])
    stage.put("production", SHAS[1], repo="acme/secret", ref="hush")
    world.github.add_collaborator("acme/secret", "octoadmin", "admin")
    async with browser(world, "octoadmin") as admin, browser(world, "octoreader") as reader:
        both, one = await board(admin), await board(reader)
        assert {"acme/secret", REPOSITORY} <= set(both.text.split())
        assert "secret" not in one.html
        for query in ("?q=hush", f"?q={SHAS[1][:7]}", "?q=secret"):
            assert "acme/secret" in (await board(admin, query)).text
            found = await board(reader, query)
            assert "No match" in found.text
            assert REPOSITORY not in found.text
    async with browser(world, "octoguest") as guest:
        page = await board(guest)
        assert "Nothing here that you may see" in page.text
        assert "acme" not in page.text


async def test_before_the_first_deployment_it_says_what_to_do(world: World) -> None:
    async with browser(world, "octocat") as octocat:
        text = (await board(octocat)).text
        assert "Nothing has been deployed yet" in text
        assert f"{world.url}/webhook" in text
        assert "python -m webhook check" in text


async def test_it_shows_what_is_there_and_what_is_newest(world: World, stage: Stage) -> None:
    live_id = stage.put("production", SHAS[0], by="octoadmin")
    failed = stage.put("production", SHAS[1], "failure", ref="hotfix")
    stage.put("staging", SHAS[0])
    async with browser(world, "octoreader") as reader:
        page = await board(reader)
        there = cell(page, "production")
        assert f"main @ {SHAS[0][:7]}" in there.text
        assert "by octoadmin" in there.text
        assert f"failed: hotfix @ {SHAS[1][:7]} by octocat" in there.text
        assert "same as staging" in there.text
        assert {
            f"/deployments/{REPOSITORY}/{live_id}",
            f"/deployments/{REPOSITORY}/{failed}",
            f"https://github.com/{REPOSITORY}/commit/{SHAS[0]}",
        } <= set(there.links())
        # In the order of the chain; what deploy.yml names is there before its first deployment.
        assert shown(page) == ["staging", "frozen", "production"]
        assert "Nothing deployed yet" in cell(page, "frozen").text
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_it_says_what_waits_and_why_and_what_is_locked_or_frozen(
    world: World, stage: Stage
) -> None:
    site = stage.repository(REPOSITORY)
    stage.put("production", SHAS[0])
    stage.put("production", SHAS[1], "queued", blockers=waiting_for("octowriter"))
    stage.put("production", SHAS[2], "queued", blockers=waiting_for("octowriter"))
    stage.put("staging", SHAS[1], "in_progress")
    stage.put("eu", SHAS[1])
    stage.put("eu", SHAS[1], repo="acme/api")
    world.github.add_collaborator("acme/api", "octoreader", "read")
    stage.lock("production", "octoadmin", repo_id=site)
    stage.lock("e*", "octocat")
    async with browser(world, "octoreader") as reader:
        page = await board(reader)
        there = cell(page, "production").text
        assert "on hold: main @ 3333333" in there
        assert "Waits for approval: 0 of 1 (and 1 more)" in there
        assert "1 more waits" in there
        assert "Locked by octoadmin, no known end: the disk is full" in there
        assert "in progress" in cell(page, "staging").text
        assert "No success yet" in cell(page, "staging").text
        assert "Frozen until" in cell(page, "frozen").text
        assert "stocktaking" in cell(page, "frozen").text
        for repo in (REPOSITORY, "acme/api"):
            text = cell(page, "eu", repo).text
            assert "Locked by octocat (e* of all repositories)" in text
        assert "Locked" not in cell(page, "staging").text
        assert "Waits for you" not in page.text


async def test_it_shows_the_commits_that_production_lacks(world: World, stage: Stage) -> None:
    def chain(repo: str, production: str) -> None:
        stage.put("staging", SHAS[0], repo=repo)
        stage.put("staging", SHAS[1], repo=repo, since=SHAS[0], total=2)
        stage.put("staging", SHAS[2], repo=repo, since=SHAS[1], total=3)
        stage.put("production", production, repo=repo)
        world.github.add_collaborator(repo, "octoreader", "read")

    chain("acme/one", SHAS[1])
    chain("acme/two", SHAS[0])
    chain("acme/unknown", SHAS[5])
    chain("acme/compared", SHAS[5])
    stage.put("production", SHAS[2], "failure", repo="acme/compared", since=SHAS[5], total=4)
    chain("acme/ahead", SHAS[2])
    stage.put("production", SHAS[6], repo="acme/ahead", since=SHAS[2], total=1)
    async with browser(world, "octoreader") as reader:
        page = await board(reader)
        head = page.html.partition("<thead")[2].partition("</thead>")[0]
        columns = [one.partition("</th>")[0].rpartition(">")[2] for one in head.split("<th ")[1:]]
        assert columns == ["Repository", "staging", "production"]
        drifts = {
            "acme/one": "3 commits behind staging",
            "acme/two": "5 commits behind staging",
            "acme/unknown": "differs from staging",
            "acme/compared": "4 commits behind staging",
            "acme/ahead": "1 commit ahead of staging",
        }
        for repo, text in drifts.items():
            assert text in cell(page, "production", repo).text, repo
        compared = f"https://github.com/acme/one/compare/{SHAS[1]}...{SHAS[2]}"
        assert compared in cell(page, "production", "acme/one").links()


async def test_search_and_filters_stand_in_the_address(world: World, stage: Stage) -> None:
    stage.put("production", SHAS[0], ref="release/9", by="octoadmin")
    stage.put("staging", SHAS[1])
    stage.put("eu", SHAS[2], "failure", by="octowriter")
    stage.lock("staging", "octoadmin")
    async with browser(world, "octoreader") as reader:
        for query, expected in {
            "?q=release": ["production"],
            "?q=OCTOADMIN+production": ["production"],
            f"?q={SHAS[1][:6]}": ["staging"],
            "?q=acme/site+eu": ["eu"],
            "?state=failed": ["eu"],
            "?state=locked": ["staging"],
            "?state=frozen": ["frozen"],
            "?environment=Staging": ["staging"],
            "?production=1": ["production"],
            "?q=nowhere": [],
            "?q=%00%ff": [],
            "?environment=%00eu%00": ["eu"],
            "?mine=1": [],
        }.items():
            page = await board(reader, query)
            assert shown(page) == expected, query
        form = page.form("/")
        assert form.method == "get"
        page = await board(reader, "?state=locked&q=staging")
        fields = next(one.fields for one in page.forms if "state" in one.fields)
        assert (fields["q"], "mine" in fields) == ("staging", False)
        assert "There is no state “sleepy”" in (await board(reader, "?state=sleepy")).text
    async with browser(world, "octowriter") as writer:
        assert len(shown(await board(writer, "?mine=1"))) == 4


async def test_own_repositories_come_first(world: World, stage: Stage) -> None:
    for number, repo in enumerate(("acme/a", "acme/b", "acme/c")):
        stage.put("eu", SHAS[number], repo=repo, by="octoadmin" if repo == "acme/c" else "octocat")
        for login in ("octoadmin", "octoreader"):
            world.github.add_collaborator(repo, login, "read")
    async with browser(world, "octoadmin") as admin, browser(world, "octoreader") as reader:
        orders = [
            [one.split("/")[-2] for one in page.links if one.startswith("/environments")][::1]
            for page in (await board(admin), await board(reader))
        ]
        assert [list(dict.fromkeys(one)) for one in orders] == [["c", "a", "b"], ["a", "b", "c"]]


async def test_what_waits_for_a_person_is_on_top(world: World, stage: Stage) -> None:
    site = stage.repository(REPOSITORY)
    ours = stage.put(
        "production", SHAS[1], "queued", blockers=waiting_for("octowriter", "acme/platform")
    )
    failed = stage.put("eu", SHAS[2], "failure", by="octowriter")
    stage.put("us", SHAS[2], "failure", by="octowriter")
    stage.put("us", SHAS[3], by="octocat")
    stage.put("uk", SHAS[2], "failure", by="octowriter", ago=timedelta(days=30))
    stage.lock("staging", "octowriter", repo_id=site, ago=timedelta(hours=3))
    stage.lock("eu", "octowriter", repo_id=site)

    def waits(page: Page) -> list[str]:
        part = page.html.partition('<div id="board-waits">')[2].partition("</section>")[0]
        rows = part.split("<li ")[1:] if "Waits for you" in part else []
        return [Seen(f"<li {one}").text for one in rows]

    async with (
        browser(world, "octowriter") as writer,
        browser(world, "octoadmin") as admin,
        browser(world, "octoreader") as reader,
        browser(world, "octocat") as octocat,
    ):
        page = await board(writer)
        approval, failure, lock = waits(page)
        assert approval.startswith("Waits for your approval main @ 2222222 to production of acme")
        assert "asked for by octocat" in approval
        assert f"/deployments/{REPOSITORY}/{ours}" in page.links
        assert failure.startswith("Your deployment failed main @ 3333333 to eu of acme/site")
        assert f"/deployments/{REPOSITORY}/{failed}" in page.links
        assert lock.startswith("Your lock still holds staging of acme/site the disk is full")
        asked = await writer.press(page, "/acts/approve", deployment=str(ours))
        done = await writer.press(asked, "/acts/approve")
        assert done.url == f"{world.url}/"
        assert "Approve : requested, it is being done" in (await board(writer)).text
        assert page.form("/acts/unlock").fields["environment"] == "staging"
        [maybe] = waits(await board(admin))
        assert maybe.startswith("Waits for an approval that may be yours")
        assert waits(await board(reader)) == [], "who may only read approves nothing"
        [own] = waits(await board(octocat))
        assert own.startswith("Your deployment waits main @ 2222222 to production")
        world.execute(
            "insert into approvals (deployment_id, repo_id, environment, sha, policy, user_id,"
            " login, approved, source) values (%s, %s, 'production', %s, 'x', %s, 'octowriter',"
            " true, 'slack')",
            *(ours, site, SHAS[1], stage.account("octowriter")),
        )
        assert len(waits(await board(writer))) == 2, "who has answered is not asked again"


async def test_hostile_names_are_only_text(world: World, stage: Stage) -> None:
    stage.put(HOSTILE, SHAS[0], ref=f"{HOSTILE}\u202e", by="octocat")
    world.execute("update deployments set repo_url = 'javascript:alert(1)'")
    async with browser(world, "octoreader") as reader:
        page = await board(reader, "?q=script&state=<i>")
        assert "<script>alert" not in page.html
        assert "<i>" not in page.html
        assert HOSTILE in page.text
        assert "\u202e" not in page.html
        assert not any(one.startswith("javascript:") for one in page.links)


async def test_more_repositories_are_on_further_pages(world: World, stage: Stage) -> None:
    stage.put("production", SHAS[0])
    stage.put("production", SHAS[1], repo="acme/zoo", by="octoops")
    world.execute(
        "insert into deployments (id, repo, repo_id, repo_url, installation_id, environment, ref,"
        " sha, task, description, creator, production, production_on_github, transient,"
        " created_at, phase) select 1000 + i, 'acme/app-' || lpad(i::text, 3, '0'), 90000 + i, '',"
        " installation_id, environment, ref, sha, task, '', 'octocat', true, false, false,"
        " created_at, 'success' from deployments, generate_series(1, 230) i where id = 101"
    )

    def names(page: Page) -> list[str]:
        found = [one.split("/")[3] for one in page.links if one.startswith("/environments/")]
        return list(dict.fromkeys(found))

    async with browser(world, "octoops") as operator:
        first = await board(operator, "?environment=production")
        apps = [f"app-{number:03}" for number in range(1, 231)]
        assert names(first) == ["zoo", *apps[:199]]
        [after] = [one for one in first.links if "after=" in one]
        second = await board(operator, after.removeprefix("/"))
        assert names(second) == [*apps[199:], "site"]
        assert not [one for one in second.links if "after=" in one]


async def test_many_previews_hide_no_environment_that_has_a_name(
    world: World, stage: Stage
) -> None:
    for environment in ("production", "staging", "eu"):
        stage.put(environment, SHAS[0])
    for number in range(40):
        stage.put(f"a-preview-{number:02}", SHAS[1])
    async with browser(world, "octoreader") as reader:
        page = await board(reader)
        folded = page.html.partition("<details>")[2].partition("</details>")[0]
        for environment in ("staging", "frozen", "production"):
            assert cell(page, environment)
            assert f">{environment}</a>" not in folded
        assert "19 more environments" in page.text
        assert "a-preview-39" not in page.text
        assert "Only the first by name" in page.text
        for query in ("?q=A-preview-39", "?environment=a-preview-39"):
            assert shown(await board(reader, query)) == ["a-preview-39"]


async def test_an_open_board_follows_what_happens(world: World, stage: Stage) -> None:
    site, api = stage.repository(REPOSITORY), stage.repository("acme/api")
    stage.put("production", SHAS[0])
    stage.put("production", SHAS[0], repo="acme/api")
    for login in ("octoreader", "octoadmin"):
        world.github.add_collaborator("acme/api", login, "read")
    async with browser(world, "octoreader") as reader, browser(world) as nobody:
        address = unescape((await board(reader)).html.partition('data-live="')[2].partition('"')[0])
        refused = await nobody.session.get(world.url + address, allow_redirects=False)
        assert refused.status == 303
        async with reader.session.get(world.url + address) as stream:
            assert stream.content_type == "text/event-stream"
            first = await news(stream)
            assert not {one for one in first if one.startswith(("board ", "repository"))}

            stage.lock("production", "octoadmin", repo_id=site)
            changed = await news(stream, f"repository-{site}")
            assert "Locked by octoadmin" in changed[f"repository-{site}"]
            assert f"repository-{api}" not in changed, "only what has changed is sent"

            world.github.add_collaborator("acme/api", "octoreader", "none")
            with world.clock.moved(KEPT + timedelta(seconds=1)):
                stage.lock("staging", "octoadmin", repo_id=site)
                whole = (await news(stream, "board"))["board"]
            assert f"repository-{site}" in whole
            assert "acme/api" not in whole, "who may not read it any more does not see it any more"

        # Who comes back with what the page began with gets all that has changed since.
        async with reader.session.get(world.url + address) as stream:
            assert "Locked by octoadmin" in (await news(stream, "board"))["board"]


async def news(stream: aiohttp.ClientResponse, part: str = "") -> dict[str, str]:
    """The parts of the next event that has this one."""
    async with asyncio.timeout(10):
        async for line in stream.content:
            if line.startswith(b"data: "):
                parts: dict[str, str] = json.loads(line.removeprefix(b"data: "))["parts"]
                if not part or part in parts:
                    return parts
    raise AssertionError("the stream has ended")
