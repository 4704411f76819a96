"""GitHub's documents: the stand-in's data as the API and the webhooks show it.

Source: the shapes that githubkit generates from GitHub's OpenAPI description; tests compare.
"""

import base64
from collections.abc import Sequence
from datetime import datetime

from sandbox.github.git import Commit, Comparison
from sandbox.github.model import (
    Account,
    Delivery,
    Deployment,
    Installation,
    Json,
    Repository,
    Role,
    Status,
    Team,
    User,
    World,
)

CREATED_AT = "2024-01-01T00:00:00Z"
USER_LINKS = "followers following gists starred subscriptions organizations repos events"
REPOSITORY_LINKS = (
    "archive assignees blobs branches collaborators comments commits compare contents contributors "
    "deployments downloads events forks git_commits git_refs git_tags issue_comment issue_events "
    "issues keys labels languages merges milestones notifications pulls releases stargazers "
    "statuses subscribers subscription tags teams trees hooks"
)
REPOSITORY_COUNTS = (
    "forks forks_count stargazers_count watchers watchers_count open_issues open_issues_count size"
)
REPOSITORY_BLANKS = "description homepage language license mirror_url"
REPOSITORY_OFF = "is_template has_pages has_discussions archived disabled fork"
REPOSITORY_ON = "has_issues has_projects has_wiki has_downloads allow_forking"
ORGANIZATION_LINKS = "repos events hooks issues members public_members"
PROFILE_BLANKS = "company location hireable bio twitter_username"
PROFILE_COUNTS = "public_repos public_gists followers following"
RIGHTS = ("pull", "triage", "push", "maintain", "admin")
# How many of these rights come with each of GitHub's own roles.
RIGHTS_OF = {"none": 0, "read": 1, "triage": 2, "write": 3, "maintain": 4, "admin": 5}


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def node(kind: str, number: int) -> str:
    return f"{kind}_{base64.urlsafe_b64encode(str(number).encode()).decode().rstrip('=')}"


class Documents:
    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def api(self) -> str:
        return f"{self._world.url}/api/v3"

    def account(self, account: Account) -> Json:
        url = f"{self.api}/users/{account.login}"
        html = self._world.url + ("/apps/" if account.type == "Bot" else "/")
        return {
            "login": account.login,
            "id": account.id,
            "node_id": node("U", account.id),
            "avatar_url": f"{self._world.url}/avatars/{account.id}",
            "gravatar_id": "",
            "url": url,
            "html_url": html + account.login.removesuffix("[bot]"),
            **{f"{link}_url": f"{url}/{link}" for link in USER_LINKS.split()},
            "received_events_url": f"{url}/received_events",
            "type": account.type,
            "site_admin": False,
        }

    def organization(self, account: Account) -> Json:
        url = f"{self.api}/orgs/{account.login}"
        return {
            "login": account.login,
            "id": account.id,
            "node_id": node("O", account.id),
            "url": url,
            **{f"{link}_url": f"{url}/{link}" for link in ORGANIZATION_LINKS.split()},
            "avatar_url": f"{self._world.url}/avatars/{account.id}",
            "description": None,
        }

    def app(self) -> Json:
        app = self._world.app
        return {
            "id": app.id,
            "slug": app.slug,
            "node_id": node("A", app.id),
            "client_id": app.client_id,
            "owner": self.account(app.owner),
            "name": app.slug,
            "description": None,
            "external_url": "https://example.com",
            "html_url": f"{self._world.url}/apps/{app.slug}",
            "created_at": CREATED_AT,
            "updated_at": CREATED_AT,
            "permissions": dict(app.permissions),
            "events": list(app.events),
        }

    def _via(self, creator: Account, *, by_app: bool) -> Json | None:
        """The App that did it: this one, or another one whose bot is the creator. GitHub's own
        Actions is not named."""
        if by_app:
            return self.app()
        if creator.type != "Bot" or creator.login == "github-actions[bot]":
            return None
        slug = creator.login.removesuffix("[bot]")
        other = {"id": creator.id - 1, "client_id": f"Iv1.{creator.id}", "slug": slug, "name": slug}
        return {**self.app(), **other}

    def installation(self, installation: Installation) -> Json:
        account, app = installation.account, self._world.app
        url = f"{self.api}/app/installations/{installation.id}"
        return {
            "id": installation.id,
            "account": self.account(account),
            "repository_selection": installation.selection,
            "access_tokens_url": f"{url}/access_tokens",
            "repositories_url": f"{self.api}/installation/repositories",
            "html_url": f"{self._world.url}/settings/installations/{installation.id}",
            "app_id": app.id,
            "client_id": app.client_id,
            "app_slug": app.slug,
            "target_id": account.id,
            "target_type": account.type,
            "permissions": dict(installation.permissions),
            "events": list(app.events),
            "created_at": CREATED_AT,
            "updated_at": CREATED_AT,
            "single_file_name": None,
            "suspended_by": self.account(app.owner) if installation.suspended else None,
            "suspended_at": CREATED_AT if installation.suspended else None,
        }

    def repository(self, repository: Repository) -> Json:
        name = repository.full_name
        url, html = f"{self.api}/repos/{name}", f"{self._world.url}/{name}"
        return {
            "id": repository.id,
            "node_id": node("R", repository.id),
            "name": repository.name,
            "full_name": name,
            "private": repository.private,
            "visibility": "private" if repository.private else "public",
            "owner": self.account(repository.owner),
            "html_url": html,
            "url": url,
            **{f"{link}_url": f"{url}/{link}" for link in REPOSITORY_LINKS.split()},
            "clone_url": f"{html}.git",
            "git_url": f"git://127.0.0.1/{name}.git",
            "ssh_url": f"git@127.0.0.1:{name}.git",
            "svn_url": html,
            **dict.fromkeys(REPOSITORY_BLANKS.split()),
            **dict.fromkeys(REPOSITORY_COUNTS.split(), 0),
            **dict.fromkeys(REPOSITORY_OFF.split(), False),
            **dict.fromkeys(REPOSITORY_ON.split(), True),
            **dict.fromkeys(("created_at", "updated_at", "pushed_at"), CREATED_AT),
            "default_branch": repository.default_branch,
            "topics": [],
            "web_commit_signoff_required": False,
        }

    def deployment(self, deployment: Deployment) -> Json:
        repository_url = f"{self.api}/repos/{deployment.repository.full_name}"
        url = f"{repository_url}/deployments/{deployment.id}"
        return {
            "url": url,
            "id": deployment.id,
            "node_id": node("DE", deployment.id),
            "task": deployment.task,
            "original_environment": deployment.original_environment,
            "environment": deployment.environment,
            "description": deployment.description,
            "created_at": iso(deployment.created_at),
            "updated_at": iso(deployment.updated_at),
            "statuses_url": f"{url}/statuses",
            "repository_url": repository_url,
            "creator": self.account(deployment.creator),
            "sha": deployment.sha,
            "ref": deployment.ref,
            "payload": deployment.payload,
            "transient_environment": deployment.transient,
            "production_environment": deployment.production,
            "performed_via_github_app": self._via(deployment.creator, by_app=deployment.by_app),
        }

    def status(self, deployment: Deployment, status: Status) -> Json:
        repository_url = f"{self.api}/repos/{deployment.repository.full_name}"
        url = f"{repository_url}/deployments/{deployment.id}"
        return {
            "url": f"{url}/statuses/{status.id}",
            "id": status.id,
            "node_id": node("DES", status.id),
            "state": status.state,
            "creator": self.account(status.creator),
            "description": status.description,
            "environment": status.environment,
            "target_url": status.log_url,
            "created_at": iso(status.created_at),
            "updated_at": iso(status.created_at),
            "deployment_url": url,
            "repository_url": repository_url,
            # Optional by GitHub's own description.
            **{
                name: url
                for name, url in (
                    ("environment_url", status.environment_url),
                    ("log_url", status.log_url),
                )
                if url
            },
            "performed_via_github_app": self._via(status.creator, by_app=status.by_app),
        }

    def delivery(self, delivery: Delivery) -> Json:
        return {
            "id": delivery.id,
            "guid": delivery.guid,
            "delivered_at": iso(delivery.delivered_at),
            "redelivery": delivery.redelivery,
            "duration": round(delivery.duration, 3),
            "status": delivery.status,
            "status_code": delivery.status_code,
            "event": delivery.event,
            "action": delivery.action,
            "installation_id": delivery.installation_id,
            "repository_id": delivery.repository_id,
            "throttled_at": None,
        }

    def delivery_in_full(self, delivery: Delivery, url: str) -> Json:
        request: Json = {"headers": delivery.headers, "payload": delivery.payload}
        if delivery.forgotten:
            request = {"headers": None, "payload": None}
        response: Json = {
            "headers": delivery.response_headers,
            "payload": delivery.response_body,
        }
        return {**self.delivery(delivery), "url": url, "request": request, "response": response}

    def full_repository(self, repository: Repository) -> Json:
        """With what only the repository's own route has."""
        counts = {"network_count": 0, "subscribers_count": 0}
        return {**self.repository(repository), **counts}

    def commit(self, repository: Repository, commit: Commit) -> Json:
        url, html = self._urls(repository)
        git = f"{url}/git/commits/{commit.sha}"
        user = self._world.user(commit.author)
        account = self.account(user.account) if user else None
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
        """`commits` are those of one page; `files`, which the first page has, is not included."""
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
            "status": comparison.status,
            "ahead_by": len(comparison.ahead),
            "behind_by": len(comparison.behind),
            "total_commits": len(comparison.ahead),
            "commits": [self.commit(repository, commit) for commit in commits],
        }

    def permission(self, user: User, role: Role) -> Json:
        count = RIGHTS_OF.get(role.name, RIGHTS_OF[role.permission])
        rights = {right: index < count for index, right in enumerate(RIGHTS)}
        account = self.account(user.account)
        return {
            "permission": role.permission,
            "role_name": role.name,
            "user": {**account, "permissions": rights, "role_name": role.name},
        }

    def team(self, team: Team) -> Json:
        """In full, as only its own route shows it."""
        url, html = self._urls_of_team(team)
        return {
            "id": team.id,
            "node_id": node("T", team.id),
            "url": url,
            "html_url": html,
            "name": team.slug,
            "slug": team.slug,
            "description": None,
            "privacy": "closed",
            "notification_setting": "notifications_enabled",
            "permission": "pull",
            "members_url": f"{url}/members{{/member}}",
            "repositories_url": f"{url}/repos",
            "parent": None,
            "type": "organization",
            "members_count": sum(state == "active" for state in team.members.values()),
            "repos_count": 0,
            "created_at": CREATED_AT,
            "updated_at": CREATED_AT,
            "organization": self._organization_in_full(team.organization),
        }

    def membership(self, team: Team, login: str, state: str) -> Json:
        url, _ = self._urls_of_team(team)
        return {"url": f"{url}/memberships/{login}", "role": "member", "state": state}

    def _urls_of_team(self, team: Team) -> tuple[str, str]:
        org = team.organization.login
        return (
            f"{self.api}/orgs/{org}/teams/{team.slug}",
            f"{self._world.url}/orgs/{org}/teams/{team.slug}",
        )

    def _organization_in_full(self, account: Account) -> Json:
        counts = ("public_repos", "public_gists", "followers", "following")
        return {
            **self.organization(account),
            "html_url": f"{self._world.url}/{account.login}",
            "has_organization_projects": True,
            "has_repository_projects": True,
            **dict.fromkeys(counts, 0),
            "type": account.type,
            "created_at": CREATED_AT,
            "updated_at": CREATED_AT,
            "archived_at": None,
        }

    def profile(self, account: Account, user: User | None) -> Json:
        """The public profile; a bot or an organization has no `user`."""
        return {
            **self.account(account),
            "name": user.name if user else None,
            "email": user.email if user else None,
            "blog": "",
            **dict.fromkeys(PROFILE_BLANKS.split()),
            **dict.fromkeys(PROFILE_COUNTS.split(), 0),
            "created_at": CREATED_AT,
            "updated_at": CREATED_AT,
        }

    def search_result(self, user: User) -> Json:
        return {**self.account(user.account), "score": 1.0}

    def _urls(self, repository: Repository) -> tuple[str, str]:
        name = repository.full_name
        return f"{self.api}/repos/{name}", f"{self._world.url}/{name}"

    def _signature(self, commit: Commit, user: User | None) -> Json:
        """A commit has the name and address that its author set in git."""
        local = f"{user.account.id}+{user.account.login}" if user else "nobody"
        name = (user.name if user else None) or commit.author
        return {"name": name, "email": f"{local}@example.com", "date": iso(commit.at)}
