"""Deliveries, deployments, their steps, output and Slack messages; Procrastinate's own tables."""

from alembic import op
from procrastinate.schema import migrations_path

revision = "0001"
down_revision = None

# Procrastinate's migrations up to here; a newer Procrastinate brings a migration of ours.
LAST_OF_PROCRASTINATE = "03.04.00_50_post_add_retry_failed_job_procedure.sql"

DELIVERIES = """
create table deliveries (
    id bigint generated always as identity primary key,
    hook_id bigint not null,
    guid text not null,
    event text not null,
    body bytea not null,
    received_at timestamptz not null default now(),
    arrivals integer not null default 1,
    outcome text check (outcome in ('done', 'ignored', 'failed')),
    note text not null default '',
    deployment_id bigint,
    unique (hook_id, guid)
);
-- Compressing bodies would cost more than keeping them.
alter table deliveries alter column body set storage external;
create index deliveries_received_at on deliveries (received_at);
"""

DEPLOYMENTS = """
create table deployments (
    id bigint primary key,
    repo text not null,
    repo_id bigint not null,
    repo_url text not null,
    installation_id bigint not null,
    environment text not null,
    ref text not null,
    sha text not null,
    task text not null,
    payload jsonb,
    description text not null,
    creator text not null,
    production boolean not null,
    production_on_github boolean not null,
    transient boolean not null,
    created_at timestamptz not null,
    asked_at timestamptz,
    delivery text not null default '',
    watched boolean not null default false,
    phase text not null,
    phase_at timestamptz not null default now(),
    words text not null default '',
    handler text not null default '',
    run jsonb,
    environment_url text not null default '',
    started_at timestamptz,
    started_on text,
    deadline timestamptz,
    ended_at timestamptz,
    version integer not null default 0
);
create index deployments_place on deployments (lower(repo), lower(environment), id desc);
create index deployments_open on deployments (asked_at) where ended_at is null;
"""

# One row a step of a deployment. `outbox` is null for a step that somebody else reported, else
# how far our status has come on its way to GitHub. `tried_until`: until then a call may be under
# way, in whatever process.
STEPS = """
create table steps (
    id bigint generated always as identity primary key,
    deployment_id bigint not null references deployments on delete cascade,
    at timestamptz not null default now(),
    actor text not null,
    state text not null,
    words text not null,
    log_url text not null default '',
    environment_url text not null default '',
    counted boolean not null,
    github_id bigint unique,
    outbox text check (outbox in ('waiting', 'tried', 'sent', 'refused', 'skipped')),
    tried_until timestamptz,
    trouble text not null default ''
);
create index steps_of_deployment on steps (deployment_id, id);
create index steps_unsent on steps (deployment_id, id) where outbox in ('waiting', 'tried');
"""

# Machines whose workers run commands, by the name of their data directory.
PLACES = """
create table places (
    place text primary key,
    since timestamptz not null default now(),
    seen_at timestamptz not null default now()
);
"""

OUTPUT = """
create table output (
    deployment_id bigint not null references deployments on delete cascade,
    at_byte bigint not null,
    chunk bytea not null,
    primary key (deployment_id, at_byte)
);
"""

# `shown` is a digest of what the message says, so that an edit which changes nothing is not sent.
SLACK_MESSAGES = """
create table slack_messages (
    deployment_id bigint not null references deployments on delete cascade,
    purpose text not null check (purpose in ('message', 'reply', 'failures')),
    channel text not null,
    team text not null default '',
    channel_id text not null default '',
    ts text not null default '',
    shown text not null default '',
    edits integer not null default 0,
    first_tried_at timestamptz,
    tried_until timestamptz,
    trouble text not null default '',
    primary key (deployment_id, purpose, channel)
);
create index slack_messages_trouble on slack_messages (deployment_id) where trouble <> '';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for sql in (DELIVERIES, DEPLOYMENTS, STEPS, PLACES, OUTPUT, SLACK_MESSAGES):
        run(sql)
    for path in sorted(migrations_path.glob("*.sql")):
        if path.name <= LAST_OF_PROCRASTINATE:
            run(path.read_text(encoding="utf-8").replace("%", "%%"))
