"""The pages of the stand-in for GitHub, as a browser gets them."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sandbox.github.server import GitHub

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture
async def browser(github: GitHub) -> AsyncIterator[aiohttp.ClientSession]:
    """Of mona, who may write in acme/web; zoe may read it, and eve may not."""
    github.add_installation("acme", ["acme/web"])
    for login, role in (("mona", "write"), ("zoe", "read"), ("eve", "none")):
        github.add_collaborator("acme/web", login, role)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as opened:
        yield opened


async def opened(
    github: GitHub, browser: aiohttp.ClientSession, path: str, status: int = 200
) -> str:
    async with browser.get(github.url + path) as response:
        assert response.status == status
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
        return await response.text()


async def sent(github: GitHub, browser: aiohttp.ClientSession, path: str, **form: str) -> str:
    async with browser.post(github.url + path, data=form) as response:
        return await response.text()


async def test_the_deployments_page_shows_environments_history_and_links(
    github: GitHub, browser: aiohttp.ClientSession
) -> None:
    github.strict = True
    repository = github.repository("acme/web")
    repository.refs["v1"] = repository.push(f"Show {HOSTILE}")
    assert "Nobody has reported" not in await opened(github, browser, "/acme/web/deployments")
    form = {"ref": "v1", "environment": "review/a b", "description": HOSTILE, "unchecked": "on"}
    page = await sent(github, browser, "/acme/web/deployments", **form)
    [deployment] = github.deployments.values()
    assert (deployment.creator.login, deployment.ref, deployment.task) == ("mona", "v1", "deploy")
    assert "Nobody has reported a status yet" in page
    links: dict[str, Any] = {
        "log_url": "http://127.0.0.1:1/log",
        "environment_url": "http://127.0.0.1:1/live",
    }
    await github.create_status(deployment.id, "in_progress", description="on its way")
    await github.create_status(deployment.id, "success", description="there", **links)
    page = await opened(github, browser, "/acme/web/deployments")
    for text in ("Active", "on its way", "in_progress", *links.values(), "2 statuses", "by mona"):
        assert text in page
    assert HOSTILE not in page
    assert "0 deployments" in await opened(github, browser, "/acme/web/deployments/production")
    assert "1 deployment " in await opened(github, browser, "/acme/web/deployments/review/a b")


async def test_a_page_that_has_not_changed_is_not_sent_again(
    github: GitHub, browser: aiohttp.ClientSession
) -> None:
    url = f"{github.url}/acme/web/deployments"
    async with browser.get(url) as response:
        headers = {"If-None-Match": response.headers["ETag"]}
    async with browser.get(url, headers=headers) as response:
        assert response.status == 304
    await github.create_deployment("acme/web")
    async with browser.get(url, headers=headers) as response:
        assert response.status == 200
    async with browser.get(f"{github.url}/-/assets/live.js") as response:
        assert response.content_type == "text/javascript"


async def test_what_github_rejects_is_shown_and_no_deployment_is_created(
    github: GitHub, browser: aiohttp.ClientSession
) -> None:
    repository = github.repository("acme/web")
    repository.set_check("main", "ci", "failure")
    page = await sent(github, browser, "/acme/web/deployments", ref="main", environment="qa")
    assert "Commit status checks failed for main" in page
    assert 'value="qa"' in page  # what was typed is still there
    assert not github.deployments
    page = await sent(github, browser, "/acme/web/deployments", environment="qa")
    assert "ref" in page
    assert "supplied" in page


async def test_people_see_what_they_may_read_and_only_writers_have_the_form(
    github: GitHub, browser: aiohttp.ClientSession
) -> None:
    assert "<form" in await opened(github, browser, "/acme/web/deployments")
    page = await sent(github, browser, "/-/person", login="zoe", next="/acme/web/deployments")
    assert "zoe may only read here" in page
    page = await sent(github, browser, "/acme/web/deployments", ref="main")
    assert "Must have write access" in page
    assert not github.deployments
    await sent(github, browser, "/-/person", login="eve", next="//elsewhere.example")
    page = await opened(github, browser, "/acme/web/deployments", 404)
    missing = await opened(github, browser, "/acme/web2/deployments", 404)
    assert page == missing.replace("web2", "web")
    assert "acme/web" not in await opened(github, browser, "/")


async def test_links_of_commits_and_comparisons_lead_somewhere(
    github: GitHub, browser: aiohttp.ClientSession
) -> None:
    repository = github.repository("acme/web")
    first = repository.push("Begin", files={"a.txt": "1"})
    second = repository.push("Go on\n\nSlowly.", "zoe", files={"a.txt": "2"})
    await github.create_deployment("acme/web", second)
    page = await opened(github, browser, f"/acme/web/commit/{second}")
    for text in ("Go on", "Slowly.", "zoe", "modified", "a.txt", "production", first):
        assert text in page
    page = await opened(github, browser, f"/acme/web/compare/acme:{first[:7]}...acme:{second[:7]}")
    assert "1 commit<" in page
    assert "Go on" in page
    assert "lacks 1" in await opened(github, browser, f"/acme/web/compare/{second}...{first}")
    assert "Begin" in await opened(github, browser, "/acme/web/tree/main")
    unknown = await github.create_deployment("acme/web", "v9")
    assert "never pushed" in await opened(github, browser, f"/acme/web/commit/{unknown.sha}")
    await opened(github, browser, "/acme/web/commit/" + "0" * 40, 404)
    page = await sent(github, browser, "/acme/web/push", message="Mend it", ref="fix")
    assert "Mend it" in page
    assert repository.git.sha("fix")
    github.rename_repository("acme/web", "acme/shop")
    assert "acme/shop" in await opened(github, browser, "/acme/web")
