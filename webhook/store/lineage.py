"""Where a deployment comes from: who requested it, and the success before it.

Only the web process reads it, for the page of a deployment.
"""

from dataclasses import dataclass

from psycopg.rows import class_row

from webhook.store.database import Sync


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """`login`: who requested it in Slack, or pushed it, "" for all others; `action`: of which kind
    that was. `origin`: the action that created it from another deployment: `origin_id`, in
    `origin_environment` of `origin_repo`. `previous_sha`: the commit of the last success before it
    in its environment, "" if there was none."""

    login: str = ""
    action: str = ""
    origin: str = ""
    origin_id: int = 0
    origin_repo: str = ""
    origin_environment: str = ""
    previous_sha: str = ""


def lineage_of(connection: Sync, deployment_id: int) -> Lineage:
    cursor = connection.cursor(row_factory=class_row(Lineage))
    cursor.execute(
        "select coalesce(login, '') as login, coalesce(kind, '') as action,"
        " case when actions.deployment_id is null then '' else kind end as origin,"
        " coalesce(actions.deployment_id, 0) as origin_id,"
        " coalesce(actions.repo, '') as origin_repo,"
        " coalesce((select environment from deployments origin"
        " where origin.id = actions.deployment_id), '') as origin_environment,"
        " coalesce((select sha from deployments as other where other.repo_id = this.repo_id"
        " and lower(other.environment) = lower(this.environment) and other.id < this.id"
        " and other.succeeded order by other.id desc limit 1), '')"
        " as previous_sha"
        " from deployments as this left join actions on created_deployment_id = this.id"
        " where this.id = %s order by actions.id limit 1",
        [deployment_id],
    )
    return cursor.fetchone() or Lineage()
