"""Pushes: the event, and what GitHub does by itself at each push.

Source: https://docs.github.com/webhooks/webhook-events-and-payloads#push
"""

from collections.abc import Callable

from sandbox.github.checks import Checks
from sandbox.github.documents import Documents, iso
from sandbox.github.events import Events
from sandbox.github.git import Commit
from sandbox.github.model import NO_COMMIT, Account, Json, Push
from sandbox.github.webhooks import Webhooks


class Pushes:
    def __init__(
        self,
        documents: Documents,
        events: Events,
        hooks: Webhooks,
        checks: Checks,
        account_of: Callable[[str], Account],
    ) -> None:
        self._documents = documents
        self._events = events
        self._hooks = hooks
        self._checks = checks
        self._account_of = account_of

    def pushed(self, push: Push) -> None:
        if self._hooks.wants("push"):
            self._hooks.send("push", self._event(push))
        if push.head and push.ref.startswith("refs/heads/") and self._hooks.wants("check_suite"):
            self._checks.open_suite(push.repository, push.head.sha)

    def _event(self, push: Push) -> Json:
        """`repository` has its times as numbers here."""
        pusher = self._account_of(push.pusher)
        html = self._documents.repository(push.repository)["html_url"]
        head = self._commit(push, push.head) if push.head else None
        body: Json = {
            "ref": push.ref,
            "before": push.before,
            "after": push.after,
            "base_ref": None,
            "created": push.before == NO_COMMIT,
            "deleted": push.after == NO_COMMIT,
            "forced": push.forced,
            "compare": f"{html}/compare/{push.before[:12]}...{push.after[:12]}",
            "commits": [head] if head and push.ref.startswith("refs/heads/") else [],
            "head_commit": head,
            "pusher": {"name": pusher.login, "email": f"{pusher.login}@example.com"},
            **self._events.common_fields(push.repository, pusher),
        }
        times: Json = {"created_at": 1_704_067_200, "pushed_at": 1_704_067_200}
        return body | {"repository": {**body["repository"], **times}}

    def _commit(self, push: Push, commit: Commit) -> Json:
        html = self._documents.repository(push.repository)["html_url"]
        who = {"name": commit.author, "email": "nobody@example.com", "username": commit.author}
        return {
            "id": commit.sha,
            "tree_id": commit.sha,
            "distinct": True,
            "message": commit.message,
            "timestamp": iso(commit.at),
            "url": f"{html}/commit/{commit.sha}",
            "author": who,
            "committer": who,
            "added": [],
            "removed": [],
            "modified": [],
        }
