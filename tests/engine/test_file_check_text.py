"""The check run of a changed deploy.yml fits what GitHub takes."""

from datetime import UTC, datetime
from typing import get_args

from sandbox.github.checks import MAX_OUTPUT
from webhook.engine.file_check_text import MOST_ANNOTATIONS, check_run_of
from webhook.github.check_runs import LONGEST_TITLE
from webhook.repository_file.review import Finding, Kind
from webhook.store.file_checks import FileCheck

CHECK = FileCheck(
    id=1,
    external_id="x",
    at=datetime(2026, 11, 27, tzinfo=UTC),
    over=False,
    installation_id=1,
    repo=f"acme/{'s' * 95}",
    repo_id=1,
    number=1,
    sha="0" * 40,
    base="main",
)


def test_as_many_findings_as_there_can_be_fit() -> None:
    kinds = get_args(Kind)
    text = "\N{ROCKET}" * 1000
    findings = [Finding(kind=kind, text=text, line=10_000, column=10_000) for kind in kinds] * 60
    found = check_run_of(CHECK, findings, is_there=True)
    assert len(found.title) <= LONGEST_TITLE
    assert len(found.annotations) == MOST_ANNOTATIONS
    assert 50_000 < len(found.summary) <= MAX_OUTPUT
    assert found.summary.count("and 10 more") == len(kinds)
