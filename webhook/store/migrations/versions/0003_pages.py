"""Pages for people who sign in: what they request, and what they see at once.

Only adds: processes of the version before work on beside it.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

ACTIONS = """
-- What a person requested on a page lately.
create index actions_on_page on actions (login_id, id) where source = 'page';
"""

AUDIT = """
-- What people did with one deployment.
create index audit_of_deployment on audit (deployment_id, id) where deployment_id is not null;
"""

DELIVERIES = """
-- Of the payload, which is compressed; null: not processed since the relay keeps them. No index: it
-- would get another entry whenever an outcome is written.
alter table deliveries
    add column action text,
    add column repo_id bigint;                  -- null also where it is about no repository
"""

DELIVERY_REQUESTS = """
-- What people requested on the pages of the deliveries.
create table delivery_requests (
    id bigint generated always as identity primary key,
    key text not null unique,                   -- the same each time that a form is sent
    at timestamptz not null default now(),
    kind text not null check (kind in ('replay', 'redeliver')),
    login text not null,
    user_id bigint not null,                    -- that account on GitHub
    guid text not null default '',              -- of one delivery; empty: of all that match
    repo_id bigint not null default 0,          -- of that delivery; 0: of none
    repo text not null default '',
    filter jsonb not null default '{}',         -- what they match
    deliveries bigint[] not null default '{}',  -- to process again, the oldest first
    position integer not null default 0,        -- so many of them were taken
    skipped integer not null default 0,         -- of which were being processed just then
    arrivals integer not null default 0,        -- how often GitHub had sent it before
    state text not null default 'waiting'
        check (state in ('waiting', 'running', 'done', 'cancelled', 'failed')),
    message text not null default '',           -- why it failed; who cancelled it
    results jsonb not null default '{}',        -- how many ended how, once it is over
    ended_at timestamptz
);
create index delivery_requests_guid on delivery_requests (guid, id) where guid <> '';
create index delivery_requests_user on delivery_requests (user_id, id) where guid = '';
"""

SIGN_OUTS = """
-- When somebody has signed out, or took the App's authorization back: sessions that began before
-- are void.
create table sign_outs (
    user_id bigint primary key,                 -- of the account on GitHub
    not_before timestamptz not null
);
"""

SCHEMA = (ACTIONS, AUDIT, DELIVERIES, DELIVERY_REQUESTS, SIGN_OUTS)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for sql in SCHEMA:
        run(sql)
