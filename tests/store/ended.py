"""Deployments that have ended, written as the worker does, so that what counts of them is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from webhook.store import insights
from webhook.store.database import Sync
from webhook.store.insights import Figures, Insights, Scope

# A Monday.
DAY = datetime(2026, 3, 2, tzinfo=UTC)
NOW = DAY + timedelta(days=28)
_COLUMNS = (
    "insert into deployments (id, repo, repo_id, repo_url, installation_id, environment, ref, sha,"
    " task, payload, description, creator, production_on_github, production, transient, created_at,"
    " requested_at, phase, started_at, handler)"
    " values (%(id)s, %(repo)s, %(repo_id)s, 'https://github.com/acme/web', %(installation)s,"
    " %(environment)s, 'main', %(sha)s, %(task)s, %(payload)s, '', 'octocat', %(production)s,"
    " %(production)s, false, %(created)s, %(created)s, 'queued', %(started)s, 'drone')"
)


@dataclass
class History:
    """Of a store; each deployment that `ends` begins five minutes before. `repos`: names, by ID."""

    connection: Sync
    next_id: int = 1
    repos: Mapping[int, str] = field(default_factory=dict)
    installation_id: int = 7
    ids: list[int] = field(default_factory=list)

    def ends(
        self,
        at: timedelta,
        sha: str,
        outcome: str = "success",
        *,
        task: str = "deploy",
        environment: str = "production",
        repo_id: int = 1,
        committed: Sequence[timedelta] | None = None,
        since: str = "",
        ran: bool = True,
        payload: Any = None,
        message: str = "",
        rolls_back: int = 0,
        lasts: timedelta = timedelta(minutes=5),
    ) -> int:
        """`committed`: when its commits were, since `since`. `rolls_back`: the deployment on which
        Roll back was pressed."""
        number, self.next_id = self.next_id, self.next_id + 1
        ended = DAY + at
        values = {
            "id": number,
            "repo": self.repos.get(repo_id, f"acme/web-{repo_id}"),
            "repo_id": repo_id,
            "installation": self.installation_id,
            "environment": environment,
            "sha": sha,
            "task": task,
            "payload": Jsonb(payload) if payload is not None else None,
            "production": environment.lower() == "production",
            "created": ended - lasts,
            "started": ended - lasts if ran else None,
        }
        self.connection.execute(_COLUMNS, values)
        if rolls_back:
            self.connection.execute(
                "insert into actions (key, kind, team, slack_user, slack_name, deployment_id,"
                " created_deployment_id) values (%s, 'rollback', '', '', '', %s, %s)",
                [f"press {number}", rolls_back, number],
            )
        if committed is not None:
            self.connection.execute(
                "update deployments set changelog = jsonb_build_object('since', %s::text),"
                " committed_at = %s where id = %s",
                [since, [DAY + one for one in committed], number],
            )
        self.connection.execute(
            "update deployments set phase = %s, ended_at = %s, status_description = %s"
            " where id = %s",
            [outcome, ended, message, number],
        )
        return number

    def read(
        self,
        *,
        environment: str = "",
        repo_ids: tuple[int, ...] | None = None,
        since: datetime = DAY,
        until: datetime = NOW,
    ) -> Insights:
        return insights.read(
            self.connection, self.scope(environment, repo_ids, since, until), NOW, 9
        )

    def scope(
        self,
        environment: str = "",
        repo_ids: tuple[int, ...] | None = None,
        since: datetime = DAY,
        until: datetime = NOW,
    ) -> Scope:
        return Scope(
            repo_ids=repo_ids,
            environment=environment,
            before=since - (until - since),
            since=since,
            until=until,
        )

    def figures(self, **given: Any) -> Figures:
        """Of the current period."""
        found = self.read(**given).figures
        return next((one for one in found if one.current and one.bucket is None), Figures())


def connected(store_url: str) -> "psycopg.Connection[dict[str, Any]]":
    return psycopg.connect(
        store_url, autocommit=True, row_factory=dict_row, options="-c timezone=UTC"
    )
