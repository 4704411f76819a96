"""What was missed comes back: how a delivery came, and how far GitHub's list was compared.

Only adds: processes of the version before work on beside it.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

DELIVERIES = """
alter table deliveries
    -- webhook: GitHub sent it. pulled: the relay fetched it. listed: nobody sent it; it was made
    -- from a deployment that GitHub listed.
    add column way text not null default 'webhook' check (way in ('webhook', 'pulled', 'listed')),
    add column delivered_at timestamptz;        -- when GitHub sent it first; null: just now
"""

LATE = """
-- As webhook.deployments.lateness; empty: the relay learned of it in time.
alter table deployments
    add column lateness text not null default ''
        check (lateness in ('', 'late', 'missed', 'resumed'));

-- Repositories whose deployments on GitHub are compared with the store's.
create table listed_repositories (
    repo_id bigint primary key,
    since timestamptz not null,                 -- older ones are not the relay's
    listed_until timestamptz not null,          -- all that were created before were compared
    etag text not null,                         -- of that list
    listed_at timestamptz not null
);
"""

SCHEMA = (DELIVERIES, LATE)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for sql in SCHEMA:
        run(sql)
