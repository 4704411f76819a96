"""What the demo prints: news only, and where it cannot go on, a sentence."""

import io
import json
from pathlib import Path

from sandbox.demo.failure import DemoError, explanation
from sandbox.demo.output import Output
from sandbox.demo.playground import PEOPLE_TO_BE, ROLES
from sandbox.sandbox import PEOPLE, Sandbox
from tests.world import live

ROOT = Path(__file__).parents[2]


async def test_of_an_edit_it_prints_what_has_changed(store_url: str, tmp_path: Path) -> None:
    sandbox, printed = Sandbox(interactive=True), io.StringIO()
    output = Output(sandbox, printed)
    async with live(store_url, tmp_path, sandbox=sandbox) as world:
        await world.deployed(ref="v1.0")
        output.print_deployment("another one", brief=True)
        await world.deployed(ref="v1.0")
    first, _, second = printed.getvalue().partition("another one")
    assert first.count("by octocat") == first.count("[Logs]") == 1
    assert first.count("✅ acme/site to production succeeded") == 1
    assert "(in its thread)" in first
    assert "queued" not in second
    assert second.count("Slack") == second.count("succeeded") == 1


def test_it_names_the_lines_of_the_log_that_matter(tmp_path: Path) -> None:
    log = tmp_path / "relay.log"
    records = [
        {"level": "info", "event": "status written"},
        {"level": "warning", "event": "request rejected", "error": "wrong signature"},
        {"level": "warning", "event": "request rejected", "error": "wrong signature"},
    ]
    traceback = (
        'Traceback (most recent call last):\n  File "a.py", line 1, in b\nOSError: no space\n'
    )
    log.write_text("\n".join(map(json.dumps, records)) + "\n" + traceback)
    sentence, *lines = explanation(DemoError("the end did not happen"), log).splitlines()
    assert sentence.startswith("The demo failed: the end did not happen. Run it again")
    assert lines == ["  request rejected: wrong signature", "  OSError: no space"]
    assert "log" not in explanation(DemoError("it"), tmp_path / "none")


def test_it_ends_with_what_to_do_next() -> None:
    printed = io.StringIO()
    Output(Sandbox(), printed).print_summary([], "v1 to production", "To open: relay demo --keep")
    end = "All as expected, also what failed: v1 to production. To open: relay demo --keep\n"
    assert printed.getvalue().endswith(end)


def test_with_keep_it_says_first_where_to_begin_and_as_whom() -> None:
    printed = io.StringIO()
    first, others = {"the board": "http://a/"}, {"the site": "http://b/"}
    Output(Sandbox(), printed).print_addresses(first, PEOPLE_TO_BE, others, "curl")
    found = printed.getvalue().split()
    in_order = ["http://a/", *PEOPLE_TO_BE, "http://b/", "curl"]
    assert sorted(in_order, key=found.index) == in_order
    assert set(PEOPLE_TO_BE) == set(PEOPLE) == set(ROLES)
