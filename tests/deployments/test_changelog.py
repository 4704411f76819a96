"""What a deployment brings, and how it is kept."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.deployments.changelog import Changelog, Commit

COMMITS = st.builds(Commit, st.text(), st.text(), st.text(), st.text())
CHANGELOGS = st.builds(
    Changelog, st.text(), st.integers(), st.integers(), st.lists(COMMITS, max_size=5).map(tuple)
)


@settings(max_examples=30)
@given(CHANGELOGS)
def test_a_stored_changelog_is_read_back_unchanged(changelog: Changelog) -> None:
    assert Changelog.from_json(json.loads(json.dumps(changelog.to_json()))) == changelog


def test_commits_that_are_not_named_are_counted() -> None:
    one = Commit("a" * 40, "One", "mona", "https://github.com/acme/site/commit/a")
    assert Changelog("b" * 40, 13, 0, (one,)).more == 12
    assert Changelog("b" * 40, 0, 3, ()).more == 0
