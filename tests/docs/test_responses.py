"""The page on responses from outside says what the code does."""

import re
from datetime import timedelta
from pathlib import Path

from handlers import HANDLERS, durations
from handlers.errors import DOUBTFUL_STATUSES
from handlers.errors import Rejected as ToolRejected
from webhook.errors import Rejected
from webhook.rejections import RejectionPolicy
from webhook.timing import DEFAULT_TIMING

PAGE = (Path(__file__).parents[2] / "docs/reference/responses.md").read_text()
TITLES = {
    "drone": "Drone",
    "endpoint": "HTTP tooling (`endpoint`)",
    "github-actions": "GitHub Actions",
    "spinnaker": "Spinnaker",
    "woodpecker": "Woodpecker",
}


def rows(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_doubtful_statuses_are_those_of_the_code() -> None:
    written = re.search(r"by default the statuses ([\d, and]+?)\.", PAGE)
    assert written
    assert {int(status) for status in re.findall(r"\d+", written[1])} == DOUBTFUL_STATUSES
    for status in range(400, 600):
        certain = status not in DOUBTFUL_STATUSES
        assert ToolRejected("", status=status).certain == Rejected("", status).certain == certain


def test_the_pauses_are_those_of_the_code() -> None:
    def written(policy: RejectionPolicy) -> list[str]:
        times = (policy.at_least, policy.at_most, policy.counts_after)
        return [durations.write(time / timedelta(seconds=1)) for time in times]

    lines = re.findall(r"^\| a .* \| (\w+) \| (\w+) \| (\w+) \|$", PAGE, re.M)
    policies = (RejectionPolicy.doubtful, RejectionPolicy.access, RejectionPolicy.message)
    assert [list(line) for line in lines] == [
        written(policy(DEFAULT_TIMING)) for policy in policies
    ]


def test_every_tool_has_a_table() -> None:
    assert set(TITLES) == {name for name, handler in HANDLERS.items() if not handler.local}
    for title in (*TITLES.values(), "GitHub", "Slack, Discord and webhooks"):
        kinds = {kind for _, _, kind, _ in rows(title)}
        assert {"certain", "doubtful"} & kinds <= kinds <= {"certain", "doubtful", ""}, title
        assert kinds, title
