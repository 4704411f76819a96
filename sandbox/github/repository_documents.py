"""GitHub's documents about commits, what lies between two of them, and people.

Source: the shapes that githubkit generates from GitHub's OpenAPI description; tests compare.
"""

from collections.abc import Sequence

from sandbox.github.documents import BORN, Documents, iso
from sandbox.github.git import Commit, Comparison
from sandbox.github.model import Account, Json, Repository, Role, User, World

PROFILE_BLANKS = "company location hireable bio twitter_username"
PROFILE_COUNTS = "public_repos public_gists followers following"
RIGHTS = ("pull", "triage", "push", "maintain", "admin")
# How many of these rights come with each of GitHub's own roles.
RIGHTS_OF = {"none": 0, "read": 1, "triage": 2, "write": 3, "maintain": 4, "admin": 5}


class RepositoryDocuments:
    def __init__(self, world: World, documents: Documents) -> None:
        self._world = world
        self._documents = documents

    def repository(self, repository: Repository) -> Json:
        """With what only the repository's own route tells."""
        counts = {"network_count": 0, "subscribers_count": 0}
        return {**self._documents.repository(repository), **counts}

    def commit(self, repository: Repository, commit: Commit) -> Json:
        url, html = self._urls(repository)
        git = f"{url}/git/commits/{commit.sha}"
        user = self._world.user(commit.author)
        account = self._documents.account(user.account) if user else None
        signature = self._signature(commit, user)
        return {
            "url": f"{url}/commits/{commit.sha}",
            "sha": commit.sha,
            "node_id": f"C_{commit.sha}",
            "html_url": f"{html}/commit/{commit.sha}",
            "comments_url": f"{url}/commits/{commit.sha}/comments",
            "commit": {
                "url": git,
                "author": signature,
                "committer": signature,
                "message": commit.message,
                "comment_count": 0,
                "tree": {"sha": commit.sha, "url": git.replace("/commits/", "/trees/")},
            },
            "author": account,
            "committer": account,
            "parents": [
                {"sha": p, "url": f"{url}/commits/{p}", "html_url": f"{html}/commit/{p}"}
                for p in commit.parents
            ],
        }

    def comparison(
        self, repository: Repository, comparison: Comparison, commits: Sequence[Commit]
    ) -> Json:
        """`commits` are those of one page; the files of the first page are not in here."""
        url, html = self._urls(repository)
        base, head = comparison.base, comparison.head
        between = f"compare/{base.sha}...{head.sha}"
        owner = repository.owner.login
        permanent = f"compare/{owner}:{base.sha[:7]}...{owner}:{head.sha[:7]}"
        return {
            "url": f"{url}/{between}",
            "html_url": f"{html}/{between}",
            "permalink_url": f"{html}/{permanent}",
            "diff_url": f"{html}/{between}.diff",
            "patch_url": f"{html}/{between}.patch",
            "base_commit": self.commit(repository, base),
            "merge_base_commit": self.commit(repository, comparison.merge_base),
            "status": comparison.standing,
            "ahead_by": len(comparison.ahead),
            "behind_by": len(comparison.behind),
            "total_commits": len(comparison.ahead),
            "commits": [self.commit(repository, commit) for commit in commits],
        }

    def permission(self, user: User, role: Role) -> Json:
        granted = RIGHTS_OF.get(role.name, RIGHTS_OF[role.permission])
        rights = {right: at < granted for at, right in enumerate(RIGHTS)}
        account = self._documents.account(user.account)
        return {
            "permission": role.permission,
            "role_name": role.name,
            "user": {**account, "permissions": rights, "role_name": role.name},
        }

    def profile(self, account: Account, user: User | None) -> Json:
        """What everybody may read; a bot or an organisation has no `user`."""
        return {
            **self._documents.account(account),
            "name": user.name if user else None,
            "email": user.email if user else None,
            "blog": "",
            **dict.fromkeys(PROFILE_BLANKS.split()),
            **dict.fromkeys(PROFILE_COUNTS.split(), 0),
            "created_at": BORN,
            "updated_at": BORN,
        }

    def found(self, user: User) -> Json:
        return {**self._documents.account(user.account), "score": 1.0}

    def _urls(self, repository: Repository) -> tuple[str, str]:
        name = repository.full_name
        return f"{self._documents.api}/repos/{name}", f"{self._world.url}/{name}"

    def _signature(self, commit: Commit, user: User | None) -> Json:
        """The name and address in a commit are whatever its author's git was told."""
        local = f"{user.account.id}+{user.account.login}" if user else "nobody"
        name = (user.name if user else None) or commit.author
        return {"name": name, "email": f"{local}@example.com", "date": iso(commit.at)}
