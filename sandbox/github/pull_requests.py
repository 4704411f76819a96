"""Pull requests: opened, pushed to, retargeted and closed, from a branch or from a fork.

Source: https://docs.github.com/rest/pulls/pulls and
https://docs.github.com/webhooks/webhook-events-and-payloads#pull_request. The head of each, a
fork's too, is a ref of the repository that it is for: refs/pull/N/head.
"""

from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from sandbox.github.auth import Auth
from sandbox.github.documents import Documents, iso, node
from sandbox.github.events import Events
from sandbox.github.model import Account, ErrorResponse, Json, Repository, World
from sandbox.github.webhooks import Webhooks

PULL_REQUEST = "/repos/{owner}/{repo}/pulls/{number:\\d+}"
LINKS = {
    "comments": "issues/{}/comments",
    "commits": "pulls/{}/commits",
    "statuses": "statuses/{}",
    "issue": "issues/{}",
    "review_comments": "pulls/{}/comments",
    "review_comment": "pulls/comments{{/number}}",
}
COUNTS = "comments review_comments commits additions deletions changed_files"


@dataclass(slots=True, kw_only=True)
class PullRequest:
    """`head`: a branch of `head_repository`, which is None where a fork was deleted. `base_sha`:
    the tip of the base branch when the head was pushed last."""

    id: int
    number: int
    title: str
    user: Account
    repository: Repository
    head_repository: Repository | None
    head: str
    base: str
    head_sha: str
    base_sha: str
    state: Literal["open", "closed"] = "open"

    @property
    def ref(self) -> str:
        return f"refs/pull/{self.number}/head"

    @property
    def is_of_fork(self) -> bool:
        return self.head_repository is not self.repository


class PullRequests:
    """`known`: by the repository's id and the number."""

    def __init__(
        self, world: World, documents: Documents, events: Events, auth: Auth, hooks: Webhooks
    ) -> None:
        self.known: dict[tuple[int, int], PullRequest] = {}
        self._world = world
        self._documents = documents
        self._events = events
        self._auth = auth
        self._hooks = hooks

    def routes(self) -> list[web.RouteDef]:
        return [web.get(PULL_REQUEST, self._read)]

    def open(
        self,
        repository: Repository,
        head: str,
        by: Account,
        *,
        base: str = "",
        title: str = "Change it",
        fork: Repository | None = None,
    ) -> PullRequest:
        """Of the branch `head` as it is now; of a fork's, its first commit is pushed before."""
        base = base or repository.default_branch
        number = 1 + max((n for owner, n in self.known if owner == repository.id), default=0)
        source = fork or repository
        sha = source.git.sha(head)
        if sha is None:
            raise ErrorResponse(422, "Validation Failed", [{"field": "head", "code": "invalid"}])
        pull = PullRequest(
            id=self._world.id(),
            number=number,
            title=title,
            user=by,
            repository=repository,
            head_repository=source,
            head=head,
            base=base,
            head_sha=sha,
            base_sha=repository.sha(base),
        )
        self.known[repository.id, number] = pull
        self._follow(pull, sha)
        self._send(pull, "opened", by)
        return pull

    def synchronize(self, pull: PullRequest, by: Account) -> str | None:
        """Its branch has another head now. Returns the delivery's GUID."""
        source = pull.head_repository or pull.repository
        before, sha = pull.head_sha, source.sha(pull.head)
        self._follow(pull, sha)
        pull.base_sha = pull.repository.sha(pull.base)
        return self._send(pull, "synchronize", by, before=before, after=sha)

    def retarget(self, pull: PullRequest, base: str, by: Account) -> str | None:
        changes = {"base": {"ref": {"from": pull.base}, "sha": {"from": pull.base_sha}}}
        pull.base, pull.base_sha = base, pull.repository.sha(base)
        return self._send(pull, "edited", by, changes=changes)

    def rename(self, pull: PullRequest, title: str, by: Account) -> str | None:
        changes = {"title": {"from": pull.title}}
        pull.title = title
        return self._send(pull, "edited", by, changes=changes)

    def set_state(self, pull: PullRequest, state: Literal["open", "closed"], by: Account) -> None:
        pull.state = state
        self._send(pull, "closed" if state == "closed" else "reopened", by)

    def _follow(self, pull: PullRequest, sha: str) -> None:
        """GitHub fetches a fork's commits into the repository."""
        pull.head_sha = sha
        if pull.head_repository is not None:
            for one, commit in pull.head_repository.git.commits.items():
                pull.repository.git.commits.setdefault(one, commit)
        pull.repository.git.pulls[pull.ref] = sha

    def _send(self, pull: PullRequest, action: str, by: Account, **fields: Any) -> str | None:
        body: Json = {
            "action": action,
            "number": pull.number,
            "pull_request": self.document(pull),
            **fields,
            **self._events.common_fields(pull.repository, by),
        }
        return self._hooks.send("pull_request", body)

    async def _read(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "pull_requests", "read")
        pull = self.known.get((repository.id, int(request.match_info["number"])))
        if pull is None:
            raise ErrorResponse(404, "Not Found")
        return web.json_response(self.document(pull))

    def document(self, pull: PullRequest) -> Json:
        api = f"{self._documents.api}/repos/{pull.repository.full_name}"
        html = f"{self._world.url}/{pull.repository.full_name}/pull/{pull.number}"
        url = f"{api}/pulls/{pull.number}"
        statuses = f"{api}/statuses/{pull.head_sha}"
        links = {name: f"{api}/{path.format(pull.number)}" for name, path in LINKS.items()}
        links["statuses"] = statuses
        closed = pull.state == "closed"
        at = iso(self._world.now())
        return {
            "url": url,
            "id": pull.id,
            "node_id": node("PR", pull.id),
            "html_url": html,
            "diff_url": f"{html}.diff",
            "patch_url": f"{html}.patch",
            "number": pull.number,
            "state": pull.state,
            "locked": False,
            "title": pull.title,
            "user": self._documents.account(pull.user),
            "body": None,
            "created_at": at,
            "updated_at": at,
            "closed_at": at if closed else None,
            "merged_at": None,
            "merge_commit_sha": None,
            "assignee": None,
            "assignees": [],
            "requested_reviewers": [],
            "requested_teams": [],
            "labels": [],
            "milestone": None,
            "draft": False,
            **{f"{name}_url": link for name, link in links.items()},
            "head": self._side(pull.head_repository, pull.head, pull.head_sha),
            "base": self._side(pull.repository, pull.base, pull.base_sha),
            "_links": {
                **{name: {"href": link} for name, link in links.items()},
                "self": {"href": url},
                "html": {"href": html},
            },
            "author_association": "CONTRIBUTOR" if pull.is_of_fork else "MEMBER",
            "auto_merge": None,
            "active_lock_reason": None,
            "merged": False,
            "mergeable": None,
            "rebaseable": None,
            "mergeable_state": "unknown",
            "merged_by": None,
            "maintainer_can_modify": False,
            **dict.fromkeys(COUNTS.split(), 0),
        }

    def _side(self, repository: Repository | None, ref: str, sha: str) -> Json:
        if repository is None:  # "unknown repository" on its page
            return {"label": None, "ref": ref, "sha": sha, "user": None, "repo": None}
        return {
            "label": f"{repository.owner.login}:{ref}",
            "ref": ref,
            "sha": sha,
            "user": self._documents.account(repository.owner),
            "repo": self._documents.repository(repository),
        }
