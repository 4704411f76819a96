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

FACTS = r"""
-- What counts of each deployment that has ended (docs/explanation/insights.md). It outlives the
-- deployment; no person is in it.
create table deployment_facts (
    deployment_id bigint primary key,
    repo_id bigint not null,
    environment text not null,                  -- as GitHub writes it
    production boolean not null,
    outcome text not null check (outcome in ('success', 'failure', 'error')),
    ran boolean not null,                       -- false: it ended before its tool was started
    sha text not null,
    rework boolean not null,                    -- a rollback or a hotfix
    blames bigint,                              -- the deployment on which Roll back was pressed
    handler text not null,
    reason text not null,                       -- why it failed, without what differs each time
    requested_at timestamptz not null,
    started_at timestamptz,                     -- null: not known
    ended_at timestamptz not null,
    waits jsonb not null,                       -- seconds by gate
    commits_since text,                         -- the commits are those since this one
    committed_at timestamptz[],                 -- of each, by its committer; null: not known
    since_sha text                              -- of a success, the commit of the success before it
);

alter table deployments
    -- Of each gate that has held it back: {"seconds": for how long, "since": when it began to, null
    -- where it does not now}.
    add column waits jsonb not null default '{}',
    -- Of the commits in GitHub's comparison, as in deployment_facts.
    add column committed_at timestamptz[];

-- Ids, commits, times of day: what differs in each message about the same.
create function common_reason(description text) returns text language sql immutable as $$
    select left(regexp_replace(description,
        '\m[0-9a-f]{7,40}\M|\m\d{4,}\M|\m\d{1,2}:\d{2}(:\d{2})?\M', '…', 'g'), 160)
$$;

create function fact_of(it deployments) returns deployment_facts language sql stable as $$
    select it.id, it.repo_id, it.environment, it.production,
        case it.phase when 'inactive' then 'success' else it.phase end,
        it.phase <> 'error' or it.started_at is not null,
        it.sha,
        it.task ~* '(^|:)(rollback|hotfix)(:|$)'
            or coalesce(it.payload @> '{"rework": true}', false) or it.id in (
                select created_deployment_id from actions
                where created_deployment_id = it.id and kind = 'rollback'),
        (select deployment_id from actions where created_deployment_id = it.id
            and kind = 'rollback' order by actions.id limit 1),
        it.handler,
        case when it.phase in ('failure', 'error') then common_reason(it.status_description)
            else '' end,
        it.created_at,
        coalesce(it.started_at, (select min(at) from timeline
            where deployment_id = it.id and state = 'in_progress' and counted)),
        it.ended_at,
        -- Of one that ended while a gate held it back, until then.
        coalesce((select jsonb_object_agg(key, round(coalesce((value->>'seconds')::numeric, 0)
                + coalesce(greatest(0, extract(epoch from
                    it.ended_at - (value->>'since')::timestamptz)), 0)))
            from jsonb_each(case jsonb_typeof(it.waits) when 'object' then it.waits else '{}' end)),
            '{}'),
        it.changelog->>'since', it.committed_at, null
$$;

"""

FACTS_FILLED = """
insert into deployment_facts (deployment_id, repo_id, environment, production, outcome, ran, sha,
    rework, blames, handler, reason, requested_at, started_at, ended_at, waits, commits_since,
    committed_at, since_sha)
select fact.deployment_id, fact.repo_id, fact.environment, fact.production, fact.outcome, fact.ran,
    fact.sha, fact.rework, fact.blames, fact.handler, fact.reason, fact.requested_at,
    fact.started_at, fact.ended_at, fact.waits, fact.commits_since, fact.committed_at,
    case when fact.outcome = 'success' then lag(fact.sha) over (
        partition by fact.repo_id, lower(fact.environment), fact.outcome = 'success'
        order by fact.ended_at, fact.deployment_id) end
from deployments cross join lateral fact_of(deployments) fact
where deployments.ended_at is not null and phase in ('success', 'inactive', 'failure', 'error')
order by fact.ended_at;
"""

FACTS_KEPT = """
create index deployment_facts_ended on deployment_facts (ended_at);
create index deployment_facts_production on deployment_facts (ended_at) where production;
create index deployment_facts_repository on deployment_facts (repo_id, ended_at);
create index deployment_facts_repository_production
    on deployment_facts (repo_id, ended_at) where production;
create index deployment_facts_environment
    on deployment_facts (repo_id, lower(environment), ended_at, deployment_id) where ran;
create index deployment_facts_rework on deployment_facts (ended_at) where rework;

-- Triggers, so that nothing that ends a deployment can forget it: the version before does so, too.
-- They never fail: what cannot be counted is left out of the figures, and the deployment goes on.
create function keep_fact() returns trigger language plpgsql as $$
declare
    fact deployment_facts;
begin
    fact := fact_of(new);
    if fact.outcome = 'success' then
        fact.since_sha := (select sha from deployment_facts where repo_id = fact.repo_id
            and lower(environment) = lower(fact.environment) and ran and outcome = 'success'
            and ended_at <= fact.ended_at order by ended_at desc, deployment_id desc limit 1);
        -- Where the relay learns late of one that has ended before others.
        update deployment_facts set since_sha = fact.sha where deployment_id = (
            select deployment_id from deployment_facts where repo_id = fact.repo_id
            and lower(environment) = lower(fact.environment) and ran and outcome = 'success'
            and ended_at > fact.ended_at order by ended_at, deployment_id limit 1);
    end if;
    insert into deployment_facts values (fact.*) on conflict (deployment_id) do nothing;
    return null;
exception when others then
    raise warning using message = 'deployment ' || new.id || ' is not counted: ' || sqlerrm;
    return null;
end $$;
create trigger deployments_ended after update of phase, ended_at on deployments for each row
    when (new.ended_at is not null and new.phase in ('success', 'failure', 'error')
        and (old.ended_at is null or old.phase in ('seen', 'queued', 'in_progress')))
    execute function keep_fact();

create function keep_commit_times() returns trigger language plpgsql as $$
begin
    update deployment_facts
        set commits_since = new.changelog->>'since', committed_at = new.committed_at
        where deployment_id = new.id;
    return null;
exception when others then
    raise warning using
        message = 'commits of deployment ' || new.id || ' are not counted: ' || sqlerrm;
    return null;
end $$;
create trigger deployments_compared after update of committed_at on deployments for each row
    when (new.ended_at is not null and new.committed_at is not null)
    execute function keep_commit_times();

create function keep_waits() returns trigger language plpgsql as $$
begin
    new.waits := coalesce((
        select jsonb_object_agg(gate, jsonb_build_object(
            'seconds', coalesce((old.waits->gate->>'seconds')::float8, 0)
                + case when holds then 0 else coalesce(greatest(0, extract(epoch from
                    clock_timestamp() - (old.waits->gate->>'since')::timestamptz)), 0) end,
            'since', case when holds then
                coalesce((old.waits->gate->>'since')::timestamptz, clock_timestamp()) end))
        from (select gate, bool_or(holds) as holds from (
                select jsonb_object_keys(old.waits) as gate, false as holds
                union all select one->>'gate', true from jsonb_array_elements(new.blockers) one
            ) known where gate is not null group by gate) gates
    ), '{}');
    return new;
exception when others then
    raise warning using
        message = 'waits of deployment ' || new.id || ' are not counted: ' || sqlerrm;
    return new;
end $$;
create trigger deployments_wait before update of blockers on deployments for each row
    when (old.blockers is distinct from new.blockers) execute function keep_waits();
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

# All in one transaction, which keeps its locks: what reads every deployment goes first, so that
# deliveries are taken and people's requests kept meanwhile.
SCHEMA = (
    FACTS,
    FACTS_FILLED,
    FACTS_KEPT,
    ACTIONS,
    AUDIT,
    DELIVERIES,
    DELIVERY_REQUESTS,
    LIVE,
    SIGN_OUTS,
)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for sql in SCHEMA:
        run(sql)
