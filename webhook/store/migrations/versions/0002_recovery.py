"""What was missed comes back: how a delivery came, and how far GitHub's list was compared.

Only adds: processes of the version before work on beside it.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

ACTIONS = """
alter table actions
    add column source text not null default '';    -- command line; empty: Slack, or a rule
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

# Read before anything is locked: there may be many deliveries.
DEAD_LETTERS = """
-- Deliveries that could not be processed, so that they are found and counted at once. No index of
-- deliveries: each would get another entry whenever an outcome is written.
create table dead_letters (
    delivery_id bigint primary key
);
insert into dead_letters select id from deliveries where outcome = 'failed';
"""

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

REPLAYS = """
alter table deliveries
    add column failures integer not null default 0,     -- unexpected errors since it came
    add column done_before boolean not null default false;  -- processed once, then replayed

create function keep_dead_letters() returns trigger language plpgsql as $$
begin
    if tg_op <> 'DELETE' and new.outcome = 'failed' then
        insert into dead_letters values (new.id) on conflict do nothing;
    else
        delete from dead_letters where delivery_id = old.id;
    end if;
    return null;
end $$;
create trigger deliveries_failed_at_once after insert on deliveries
    for each row when (new.outcome = 'failed') execute function keep_dead_letters();
create trigger deliveries_failed after update of outcome on deliveries
    for each row when (
        (coalesce(new.outcome, '') = 'failed') <> (coalesce(old.outcome, '') = 'failed')
    ) execute function keep_dead_letters();
create trigger deliveries_forgotten after delete on deliveries
    for each row when (old.outcome = 'failed') execute function keep_dead_letters();
-- What failed since they were read.
insert into dead_letters
    select id from deliveries where id > (select max(id) - 10000 from deliveries)
    and outcome = 'failed' on conflict do nothing;
"""

RESTORES = """
-- When the store was restored from a backup. What was asked for before that and was not started at
-- the backup may have run since (webhook.gates.restore).
create table restores (
    id bigint generated always as identity primary key,
    restored_at timestamptz not null default now(),
    backup_at timestamptz not null              -- nothing that came later was in the backup
);
-- Of deployments that were asked for before a restore.
create table restored_deployments (
    deployment_id bigint not null references deployments on delete cascade,
    restore_id bigint not null references restores,
    asked_github_at timestamptz,                -- when GitHub said what became of it; null: not yet
    released_at timestamptz,                    -- a person lets it start
    primary key (deployment_id, restore_id)
);
"""

SCAN = """
-- How far GitHub's list of deliveries was compared with `deliveries`: one row. Times of GitHub are
-- by its own clock.
create table delivery_scan (
    id integer primary key default 1 check (id = 1),
    watermark timestamptz,                      -- GitHub's: all until then were compared
    -- The comparison under way, or that was interrupted.
    begins timestamptz,                         -- GitHub's: it goes back so far; null: none is
    newest timestamptz,                         -- GitHub's: of what it has seen
    cursor text not null default '',            -- of the page that is next
    compared_at timestamptz,                    -- when all was compared last
    failing_since timestamptz,
    error text not null default '',             -- why it failed the last time
    not_before timestamptz,                     -- GitHub wants no earlier call
    doubted_at timestamptz,                     -- when a delivery may have been lost
    doubt text not null default '',             -- why
    found bigint not null default 0             -- how many were missing, ever
);
-- Deliveries in GitHub's list that did not arrive.
create table missed_deliveries (
    guid text primary key,
    event text not null,
    github_id bigint not null,                  -- of the newest attempt
    attempted_at timestamptz not null,          -- GitHub's: of the newest attempt
    delivered_at timestamptz not null,          -- GitHub's: of the first attempt that is known
    found_at timestamptz not null default now(),
    state text not null default 'missing'
        check (state in ('missing', 'recovered', 'given_up')),
    tries integer not null default 0,           -- redeliveries that GitHub was asked for
    next_try timestamptz not null default now(),
    ended_at timestamptz,                       -- when it was recovered or given up
    reason text not null default ''             -- why it is not recovered
);
create index missed_deliveries_open on missed_deliveries (next_try) where state = 'missing';
create index missed_deliveries_given_up on missed_deliveries (found_at) where state = 'given_up';
create index missed_deliveries_found on missed_deliveries (found_at);
"""

SCHEMA = (ACTIONS, CONFIGS, DEAD_LETTERS, DELIVERIES, LATE, REPLAYS, RESTORES, SCAN)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for sql in SCHEMA:
        run(sql)
