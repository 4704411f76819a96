"""GitHub's event of a protection rule, the address of the answer, and its text."""

from typing import Any

import pytest

from tests.github.test_events import deployment_body, parsed, rejection
from webhook.engine.rule_answers import comment
from webhook.github.events import NOBODY, Ignored, Person, ProtectionRuleRequested
from webhook.github.protection_rules import LONGEST_COMMENT, run_of

API = "https://api.github.com"
URL = f"{API}/repos/acme/web/actions/runs/7/deployment_protection_rule"
PERSON = {"login": "octocat", "id": 1, "type": "User"}
APP = {"login": "renovate[bot]", "id": 2, "type": "Bot"}


def rule(**changes: Any) -> Any:
    asked = {"action": "requested", "environment": "production", "deployment_callback_url": URL}
    body = deployment_body(**asked, event="push", pull_requests=[])
    return parsed("deployment_protection_rule", body | changes)


def test_a_request_is_parsed_whatever_it_lacks() -> None:
    full = rule(sender=PERSON)
    assert isinstance(full, ProtectionRuleRequested)
    assert (full.deployment and full.deployment.id, full.callback_url) == (42, URL)
    assert full.sender == Person("octocat", 1)
    less = rule(sender=APP, deployment=None, deployment_callback_url=None)
    assert (less.deployment, less.callback_url, less.sender) == (None, "", NOBODY)
    assert isinstance(rule(action="completed"), Ignored)
    assert "environment" in rejection("deployment_protection_rule", b'{"action": "requested"}')


@pytest.mark.parametrize(
    ("run", "person"),
    [
        ({"triggering_actor": PERSON, "actor": APP}, Person("octocat", 1)),
        ({"triggering_actor": None, "actor": PERSON}, Person("octocat", 1)),
        ({"triggering_actor": APP, "actor": PERSON}, NOBODY),
        ({"triggering_actor": {"login": "x"}}, NOBODY),
        (None, NOBODY),
    ],
)
def test_who_started_the_run_of_a_job_is_no_bot(run: Any, person: Person) -> None:
    assert parsed("deployment", deployment_body(workflow_run=run)).started_by == person


@pytest.mark.parametrize("api", [API, f"{API}/", "https://ghe.acme.io/api/v3"])
def test_the_run_is_that_of_the_documented_address(api: str) -> None:
    url = URL.replace(API, api.rstrip("/"))
    assert run_of(url, api, "Acme/Web") == 7
    for foreign in (
        url.replace("https://", "http://"),
        url.replace("https://", "https://x@"),
        url.replace(".io", ".io:8443").replace(".com", ".com:8443"),
        url.replace(".io", ".io.evil.example").replace(".com", ".com.evil.example"),
        url.replace("/acme/web/", "/acme/other/"),
        url.replace("/7/", "/07/"),
        url.replace("/7/", "/7/../8/"),
        f"{url}/",
        f"{url}#x",
        f"{url}?x",
        "https://[",
        "",
    ):
        assert run_of(foreign, api, "acme/web") is None, foreign


def test_a_comment_formats_nothing_mentions_nobody_and_fits() -> None:
    text = comment("*a* [b](https://c.d) @mona #1 <br> `x`", "[Deployment 1](https://relay/1)")
    assert text == (
        "\\*a\\* \\[b\\]\\(https\\://c\\.d\\) @\u200bmona #\u200b1 \\<br\\> \\`x\\`"
        " [Deployment 1](https://relay/1)"
    )
    for long in ("*" * 5000, "word " * 1000, "x" * 1000, "@" * 1000, "漢字" * 500, "🚀" * 400):
        cut = comment(long, "[Deployment 1](https://relay/1)")
        assert 900 < len(cut.encode()) <= LONGEST_COMMENT
        assert "…" in cut
        assert cut.endswith(" [Deployment 1](https://relay/1)")
