"""What a change of a repository's file takes away, in fact and by what the file says alone."""

import pytest

from tests.repository_file.test_tighten import operators
from webhook.repository_file.read import read
from webhook.repository_file.review import Change, review

PEOPLE = "review: {enabled: true, reviewers: [mona, hubot]}"
TEAM = "review: {enabled: true, teams: [acme/sre]}"
NOBODY = "envs: [{name: production}]"
MONA = "envs: [{name: production, review: {enabled: true, reviewers: [mona]}}]"
NONE = ("held", "production: review: no approval is needed any more")


@pytest.mark.parametrize(
    ("own", "before", "after", "found"),
    [
        (PEOPLE, MONA, NOBODY, [NONE, ("loosened", "production: review: hubot may approve, too")]),
        (TEAM, MONA, NOBODY, [NONE, ("loosened", "production: review: whoever the operator's"
                                                 " deploy.yml names may approve, too")]),
        ("", MONA, NOBODY, [("loosened", "production: review: no approval is needed any more")]),
        (PEOPLE, NOBODY, MONA, []),
        (TEAM, NOBODY, MONA, []),
        ("", NOBODY, MONA, []),
    ],
)  # fmt: skip
def test_whose_approval_counts_in_the_end(
    own: str, before: str, after: str, found: list[tuple[str, str]]
) -> None:
    change = Change(before=read(before.encode()), after=read(after.encode()))
    findings = review(change, lambda _: operators(own))
    assert [(one.kind, one.text) for one in findings] == found
