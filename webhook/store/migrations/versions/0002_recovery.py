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

CONFIGS = """
-- Texts of deploy.yml with which workers started: what runs keeps the one with which it began.
create table configs (
    digest text primary key,                    -- of the text, as in workers
    text bytea not null,                        -- encrypted: a secret may stand in it
    used_at timestamptz not null default now()  -- when it was in use last
);
alter table deployments
    add column config_digest text not null default '';  -- of the deploy.yml with which it began
"""

SCHEMA = (DELIVERIES, CONFIGS)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for sql in SCHEMA:
        run(sql)
