"""The pages of the notifiers are correct."""

import re
import time
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.event_receiver import make_secret
from webhook.deployments.announcement import Announcement
from webhook.deployments.changelog import Commit
from webhook.deployments.notice import DeploymentNotice, NoticeEntry
from webhook.notifiers.webhook import ANNOUNCEMENT_TYPE, TYPE, signed

PAGE = (Path(__file__).parents[2] / "docs/how-to/webhook-notifier.md").read_text()


def test_the_page_has_each_key_of_an_event_s_data() -> None:
    table = PAGE.partition("`data` has:")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`.+?) \|", table, re.M) for name in keys(row)}
    assert named == {field.name for field in fields(DeploymentNotice)} | {"label", "entries"}
    assert {field.name for field in fields(Commit)} <= keys(table)
    assert {field.name for field in fields(NoticeEntry)} | {"label"} <= keys(table)
    assert f"`{TYPE}.`" in PAGE


def test_the_page_has_each_key_of_an_announcement() -> None:
    section = PAGE.partition("\n## Announcements\n")[2].partition("\n## ")[0]
    table = set(re.findall(r"^\| `(.+?)` \|", section, re.M))
    assert table == {field.name for field in fields(Announcement)} - {"key", "at"}
    assert f"`{ANNOUNCEMENT_TYPE}`" in section


def keys(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", text))


def test_the_page_s_receiver_verifies_what_is_signed() -> None:
    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/how-to/webhook-notifier.md", "exec"), names)
    secret, body, now = make_secret(), b'{"id": "1"}', datetime.now(UTC)
    both = signed("1", body, f"{make_secret()},{secret}", now)
    assert names["verify"](both, body, secret)
    assert not names["verify"](both, body + b" ", secret)
    assert not names["verify"](both, body, make_secret())
    old = signed("1", body, secret, datetime.fromtimestamp(time.time() - 3600, UTC))
    assert not names["verify"](old, body, secret)
