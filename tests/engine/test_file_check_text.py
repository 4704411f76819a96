"""The check run of a changed deploy.yml, as its reviewers read it."""

from datetime import UTC, datetime
from typing import get_args

from webhook.engine.file_check_text import MOST_ANNOTATIONS, check_run_of
from webhook.github.check_runs import LONGEST_SUMMARY, LONGEST_TITLE
from webhook.repository_file.review import Finding, Kind
from webhook.store.file_checks import FileCheck

CHECK = FileCheck(
    repo_id=1,
    repo=f"{'o' * 39}/{'r' * 100}",
    installation_id=1,
    number=1,
    sha="a" * 40,
    base="main",
    id=1,
    external_id="b",
    at=datetime(2026, 11, 27, tzinfo=UTC),
    over=False,
)


def test_a_file_with_very_much_to_say_of_it_gets_a_check_run_that_github_takes() -> None:
    findings = [
        Finding(kind=kind, text="x" * 1000, line=10_000, column=10_000)
        for kind in get_args(Kind)
        for _ in range(1000)
    ]
    found = check_run_of(CHECK, findings, is_there=True)
    assert len(found.summary) <= LONGEST_SUMMARY
    assert found.summary.count("and 950 more") == 5
    assert len(found.title) <= LONGEST_TITLE
    assert len(found.annotations) == MOST_ANNOTATIONS
