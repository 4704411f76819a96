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

LIVE = """
-- What pages show has changed: `topics`, separated by spaces. NOTIFY makes commits wait for each
-- other, so it is used only while somebody listens, who holds this lock then
-- (webhook.store.changes).
create function notify_pages(topics text) returns void language plpgsql as $$
begin
    if pg_try_advisory_lock(1885431155, 1) then
        perform pg_advisory_unlock(1885431155, 1);
    else
        perform pg_notify('pages', topics);
    end if;
end $$;

create function deployments_on_pages() returns trigger language plpgsql as $$
declare
    changed deployments := coalesce(new, old);
begin
    perform notify_pages(
        'deployment:' || changed.id || ' repository:' || changed.repo_id || ' deployments'
    );
    return null;
end $$;
create trigger deployments_shown after insert or delete on deployments
    for each row execute function deployments_on_pages();
create trigger deployments_changed after update on deployments
    for each row when (
        old.version <> new.version or old.repo <> new.repo
        or old.changelog is distinct from new.changelog
    ) execute function deployments_on_pages();

-- The topic before the colon is the trigger's argument.
create function parts_on_pages() returns trigger language plpgsql as $$
begin
    perform notify_pages(tg_argv[0] || ':' || new.deployment_id);
    return null;
end $$;
create trigger timeline_shown after insert or update on timeline
    for each row execute function parts_on_pages('deployment');
create trigger overrides_shown after insert on overrides
    for each row execute function parts_on_pages('deployment');
create trigger outbox_shown after insert on outbox
    for each row when (new.deployment_id is not null)
    execute function parts_on_pages('deployment');
create trigger outbox_changed after update on outbox
    for each row when (
        new.deployment_id is not null and (
            (new.state <> old.state and new.state <> 'claimed')
            or new.error <> old.error or new.simplified <> old.simplified
        )
    ) execute function parts_on_pages('deployment');
create trigger output_shown after insert on output
    for each row execute function parts_on_pages('output');

create function actions_on_pages() returns trigger language plpgsql as $$
begin
    perform notify_pages(
        'actions person:' || new.login_id || ' repository:' || new.repo_id
        || coalesce(' deployment:' || new.deployment_id, '')
    );
    return null;
end $$;
create trigger actions_shown after insert on actions
    for each row execute function actions_on_pages();
create trigger actions_changed after update on actions
    for each row when (
        old.outcome <> new.outcome or old.message <> new.message or old.login_id <> new.login_id
    ) execute function actions_on_pages();

create function approvals_on_pages() returns trigger language plpgsql as $$
begin
    perform notify_pages(
        'approvals deployment:' || new.deployment_id || ' repository:' || new.repo_id
    );
    return null;
end $$;
create trigger approvals_shown after insert on approvals
    for each row execute function approvals_on_pages();

create function locks_on_pages() returns trigger language plpgsql as $$
begin
    perform notify_pages('locks repository:' || new.repo_id);
    return null;
end $$;
create trigger locks_shown after insert or update on locks
    for each row execute function locks_on_pages();
"""

SIGN_OUTS = """
-- When somebody has signed out, or took the App's authorization back: sessions that began before
-- are void.
create table sign_outs (
    user_id bigint primary key,                 -- of the account on GitHub
    not_before timestamptz not null
);
"""

SCHEMA = (ACTIONS, AUDIT, DELIVERIES, DELIVERY_REQUESTS, LIVE, SIGN_OUTS)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for sql in SCHEMA:
        run(sql)
