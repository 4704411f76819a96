"""The whole schema."""

from alembic import op

revision = "0001"
down_revision = None

DELIVERIES = """
-- Webhook deliveries as GitHub sent them. A redelivery has the hook and GUID of the first one.
create table deliveries (
    id bigint generated always as identity primary key,
    hook_id bigint not null,
    guid text not null,
    event text not null,
    body bytea not null,                        -- compressed
    received_at timestamptz not null default now(),
    arrivals integer not null default 1,        -- how often GitHub sent it
    outcome text check (outcome in ('done', 'ignored', 'failed')),  -- null: not processed yet
    reason text not null default '',            -- why it was ignored or failed
    deployment_id bigint,                       -- the deployment that it was about
    unique (hook_id, guid)
-- Room on each page, so that the outcome is written without another entry in each index.
) with (fillfactor = 60);
-- It need not try to compress what is compressed.
alter table deliveries alter column body set storage external;
comment on column deliveries.body is
    'as GitHub sent it, compressed with zstd where that is shorter (then it begins with 28b52ffd)';
create index deliveries_deployment on deliveries (deployment_id) where deployment_id is not null;
"""

REPOSITORIES = """
-- The names that repositories had in GitHub's events; the one that was seen last is current.
create table repository_names (
    repo_id bigint not null,
    full_name text not null,
    html_url text not null,
    seen_at timestamptz not null,               -- when GitHub made the newest event with it
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (repo_id, full_name)
);
create index repository_names_name on repository_names (lower(full_name));
"""

REPOSITORY_FILES = """
-- The deploy.yml that a repository has itself, as GitHub showed it last: at the head of its default
-- branch, and at commits that were to be deployed.
create table repository_files (
    repo_id bigint not null,
    ref text not null,                          -- HEAD, or a commit
    state text not null check (state in ('present', 'unusable', 'missing')),
    etag text not null default '',              -- of GitHub's response
    blob text not null default '',              -- git's name of the content
    content bytea not null default '',          -- its beginning, where it is too long to be read
    reason text not null default '',            -- why it is unusable
    read_at timestamptz not null,               -- when GitHub was asked last, and answered
    changed_at timestamptz not null default 'epoch',  -- a push has changed it then, or may have
    missing_since timestamptz,                  -- since when GitHub has not shown what was there,
                                                -- before that counts
    primary key (repo_id, ref)
);
"""

DEPLOYMENTS = """
-- One row for each deployment; every decision is made from this row.
create table deployments (
    -- As GitHub describes it.
    id bigint primary key,
    repo text not null,                         -- its current name; repo_id never changes
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
    creator_id bigint not null default 0,       -- the person's account; 0: unknown, or a bot
    production_on_github boolean not null,
    transient boolean not null,
    created_at timestamptz not null,

    -- How the relay learned of it.
    requested_at timestamptz,                   -- null: only statuses of it have been seen
    delivery text not null default '',          -- GUID of the delivery that requested it
    watched boolean not null default false,     -- GitHub Actions runs it, the relay only watches
    rule_run_id bigint not null default 0,      -- the workflow run that waits for the relay's
                                                -- answer to its protection rule; 0: none does
    rule_check_at timestamptz,                  -- when GitHub is asked what became of that run
    asker text not null default '',             -- login of the person who started that run
    asker_id bigint not null default 0,         -- that account; 0: unknown, or a bot
    production boolean not null,                -- deploy.yml decides, else GitHub

    -- Its state.
    phase text not null,
    phase_at timestamptz not null default now(),
    status_description text not null default '',  -- of the phase, for people
    environment_url text not null default '',
    ended_at timestamptz,                       -- null: it has not ended yet
    cancel_requested_by text,                   -- login of the person who requested that
    blockers jsonb not null default '[]',       -- what keeps it from starting, when gates were
                                                -- asked last (webhook.deployments.blockers)
    superseded_by bigint not null default 0,    -- the newer deployment that went instead; 0: none

    -- The run of its tool.
    handler text not null default '',
    run jsonb,                                  -- the handler's Run; null: no run is known
    started_at timestamptz,                     -- when the tool was first called to start it
    started_on text,                            -- the machine (machines.id) that did so
    starting boolean not null default false,    -- since then, until nothing may come of it: while
                                                -- no run is known, it counts as one
    deadline timestamptz,                       -- when the run times out
    start_claimed_until timestamptz,            -- until then, a start whose response was lost may
                                                -- have worked although the tool does not show it
    possible_starts integer not null default 0, -- starts that may have run, where a repeated one
                                                -- would run once more
    reported_at timestamptz,                    -- when the tool last reported a status by itself
    polled_at timestamptz,                      -- when a tool that sends events was last polled
    polled_events text not null default '',     -- digest of the events that were known then
    tool_error text not null default '',        -- why the tool cannot be queried at the moment
    tool_error_since timestamptz,
    rejected_call text not null default '',     -- the call that is rejected in a way that does not
                                                -- count yet (webhook.rejections)
    rejected_since timestamptz,
    rejected_at timestamptz,                    -- when it was rejected last
    outage_announced boolean not null default false,  -- whether the status says so

    -- Commits since the last success, as JSON; null: GitHub has not been queried for them.
    changelog jsonb,

    -- Counts the changes, so that no process overwrites a change that it has not read.
    version integer not null default 0,

    -- For indexes, which name no column that changes at each step: a change of none of their
    -- columns writes to none of them.
    succeeded boolean not null generated always as (phase in ('success', 'inactive')) stored,
    waiting boolean not null generated always as         -- for its gates
        (ended_at is null and blockers <> '[]') stored,
    gated boolean not null generated always as           -- its start passes gates
        (not watched or rule_run_id > 0) stored,
    replaceable boolean not null generated always as     -- a later success makes it inactive
        (phase = 'success' and not production_on_github and not transient) stored,
    followed boolean not null generated always as        -- until it and its run have ended
        (ended_at is null or coalesce(run->>'state' in ('queued', 'in_progress'), starting)) stored
-- Room on each page: most of its changes need no other entry in each index then.
) with (fillfactor = 70);
create index deployments_environment on deployments (repo_id, lower(environment), id desc);
create index deployments_repository on deployments (repo_id, id desc);
create index deployments_succeeded on deployments (repo_id, lower(environment), id desc)
    where succeeded;
create index deployments_replaceable on deployments (repo_id, lower(environment), id)
    where replaceable;
create index deployments_open on deployments (id) where ended_at is null;
create index deployments_commit on deployments (repo_id, sha);
create index deployments_followed on deployments (repo_id, lower(environment)) where followed;
create index deployments_rule on deployments (repo_id, rule_run_id) where rule_run_id > 0;
create index deployments_waiting on deployments (repo_id, lower(environment)) where waiting;
"""

TIMELINE = """
-- What was reported of a deployment, and what people requested, in order.
create sequence timeline_position;
create table timeline (
    id bigint generated always as identity primary key,
    deployment_id bigint not null references deployments on delete cascade,
    position bigint not null default nextval('timeline_position'),  -- the order in which entries
                                                -- count and are sent to GitHub
    at timestamptz not null default now(),
    actor text not null,
    state text not null,                        -- a state of GitHub's, or 'requested', 'overridden'
    description text not null,
    log_url text not null default '',
    environment_url text not null default '',
    judged boolean not null default true,       -- false: a tool reported it, and it is not known
                                                -- yet whether it counts; its position follows then
    counted boolean not null,                   -- it changed the deployment; else it came too late
                                                -- or said nothing new, and is only kept
    held boolean not null default false,        -- it waits for a person
    asked_before boolean not null default false,  -- whom it waits for knows that already
    github_id bigint unique                     -- id of the status on GitHub, once it is known
);
alter sequence timeline_position owned by timeline.position;
create index timeline_of_deployment on timeline (deployment_id, position);
create index timeline_unjudged on timeline (deployment_id, id) where not judged;
"""

TOOL_EVENTS = """
-- What tools sent about their runs, the newest of each thing it is about. It may come before the
-- event of the deployment.
create table tool_events (
    repo_id bigint not null,
    name text not null,                         -- of the event
    subject bigint not null,                    -- the tool's id of what it is about
    run_id bigint not null,                     -- the run that it is or belongs to
    sha text not null,                          -- the commit that the run is for
    title text not null,                        -- of the run; it may name the deployment
    revision text not null,                     -- sorts later where the document is newer
    document jsonb not null,
    received_at timestamptz not null default now(),
    primary key (repo_id, name, subject)
);
create index tool_events_run on tool_events (repo_id, run_id);
create index tool_events_sha on tool_events (repo_id, sha);
-- The numbers in titles, one of which may be a deployment's id.
create index tool_events_numbers on tool_events
    using gin (string_to_array(regexp_replace(title, '\\D+', ' ', 'g'), ' '));
create index tool_events_received_at on tool_events (received_at);
"""

OUTPUT = """
-- What runs print, in chunks.
create table output (
    deployment_id bigint not null references deployments on delete cascade,
    at_byte bigint not null,                    -- position of the chunk in the whole output
    chunk bytea not null,
    primary key (deployment_id, at_byte)
);
"""

MACHINES = """
-- Machines with workers. A command can only be followed on the machine where it was started.
create table machines (
    id text primary key,                        -- name of the machine's data directory
    since timestamptz not null default now(),   -- alive without interruption since
    seen_at timestamptz not null default now()
);
"""

WORKERS = """
-- Worker processes, and what they read when they started.
create table workers (
    id text primary key,                        -- new with each start
    machine_id text not null,                   -- as in machines
    config_digest text not null,                -- of deploy.yml
    version text not null,                      -- of the relay
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);
"""

RATE_LIMITS = """
-- When the next call may be made, of calls to another service that are limited together.
create table rate_limits (
    name text primary key,
    next_at timestamptz not null default 'epoch',
    held_until timestamptz not null default 'epoch',  -- the other service limits calls until then
    epoch integer not null default 0            -- raised with each such wait, which cancels all
                                                -- slots that were given out before
);
-- The slots of the calls that wait.
create table rate_limit_slots (
    name text not null references rate_limits on delete cascade,
    key text not null,                          -- of the call
    at timestamptz not null,
    epoch integer not null,
    primary key (name, key)
);
"""

SLACK_INSTALLATIONS = """
-- Workspaces in which the Slack app was installed by OAuth. Tokens are encrypted
-- (webhook.security.cipher).
create table slack_installations (
    team text primary key,
    team_name text not null,
    app_id text not null,
    bot_user text not null,
    scopes text not null,                       -- as Slack granted them, comma-separated
    token bytea not null,
    refresh_token bytea,
    expires_at timestamptz,                     -- null: the token does not expire
    installed_at timestamptz not null default now(),
    installed_by text not null,
    error text not null default '',             -- why the token is not used any more
    rejected_since timestamptz,                 -- since when Slack rejects it, before that counts
    rejected_at timestamptz                     -- when it was rejected last
);

-- Single-use values of the installation. Only digests are stored.
create table oauth_states (
    digest bytea primary key,
    -- link: begins an installation; state: the state parameter of OAuth.
    purpose text not null check (purpose in ('link', 'state')),
    browser bytea,                              -- digest of the cookie that belongs to a state
    expires_at timestamptz not null
);
"""

ACTIONS = """
-- What people requested in Slack, and the result.
create table actions (
    id bigint generated always as identity primary key,
    key text not null unique,                   -- the same each time that Slack delivers a press
    at timestamptz not null default now(),
    kind text not null,                         -- its name (webhook.slack.actions)
    exclusive_group text not null default '',   -- excludes others of the group; empty: none

    -- Who requested it.
    team text not null,
    slack_user text not null,
    slack_name text not null,
    login text not null default '',             -- on GitHub; empty until it is known
    login_id bigint not null default 0,         -- that account; 0 until it is known

    -- What for: a deployment, or a ref for an environment.
    deployment_id bigint references deployments on delete cascade,
    target bigint not null default 0,           -- the deployment that a rollback repeats
    repo text not null default '',
    repo_id bigint not null default 0,          -- 0: only the name was typed
    environment text not null default '',
    ref text not null default '',               -- as GitHub gets it
    ref_name text not null default '',          -- the branch or tag, where GitHub gets a commit
    inputs jsonb not null default '{}',         -- of a dynamic payload, as they were typed

    -- refused: not allowed, or not possible; failed: GitHub rejected it.
    outcome text not null default 'waiting'
        check (outcome in ('waiting', 'done', 'refused', 'failed')),
    code text not null default '',              -- why it was not done
    message text not null default '',           -- description of the outcome, for people
    created_deployment_id bigint,

    reply jsonb,                                -- where to respond; null once that is done
    reply_attempts integer not null default 0,  -- how often Slack did not accept the response
    wait_notified boolean not null default false -- the person knows that it takes a while
);
-- Of each deployment one action of a group at most is done.
create unique index actions_exclusive on actions (deployment_id, exclusive_group)
    where exclusive_group <> '' and outcome = 'done';
create index actions_created_deployment on actions (created_deployment_id);
create index actions_of_deployment on actions (deployment_id) where deployment_id is not null;
"""

FILE_CHECKS = """
-- deploy.yml of pull requests to be checked: a row for each commit that one has had as its head.
create table file_checks (
    id bigint generated always as identity primary key,
    external_id text not null default gen_random_uuid()::text,  -- of its check run on GitHub
    repo_id bigint not null,
    repo text not null,                         -- its name then
    installation_id bigint not null,
    number bigint not null,                     -- of the pull request
    sha text not null,                          -- its head
    base text not null,                         -- its base branch
    attempt integer not null default 0,         -- raised where a person wants it checked again
    at timestamptz not null default now(),
    unique (repo_id, number, sha, base, attempt)
);
create index file_checks_commit on file_checks (repo_id, sha);
"""

AUTOMATIC_DEPLOYMENTS = """
-- Deployments that nobody requests: one at most of each environment and commit.
create table automatic_deployments (
    id bigint generated always as identity primary key,
    at timestamptz not null,                    -- when its cause became known
    cause text not null check (cause in ('push', 'promotion')),

    -- What is to be deployed, and where.
    repo text not null,                         -- its name then
    repo_id bigint not null,
    installation_id bigint not null,
    environment text not null,
    sha text not null,
    ref text not null,                          -- refs/heads/..., refs/tags/...; empty: unknown

    login text not null,                        -- who pushed it, or asked for what is promoted
    login_id bigint not null,                   -- that account; 0: unknown, or no person
    from_deployment_id bigint not null,         -- what is promoted; 0 of a push
    due_at timestamptz,                         -- not before then
    deadline timestamptz not null,              -- until when it waits
    skips_checks text not null,                 -- the marker in its message by which GitHub starts
                                                -- no workflows for it

    -- skipped: it is not wanted; superseded: a newer one was ready first, or is the branch's head.
    state text not null
        check (state in ('waiting', 'created', 'skipped', 'superseded', 'failed')),
    code text not null default '',              -- why it failed
    reason text not null default '',            -- why it waits or has ended, for people
    contexts text[] not null default '{}',      -- the checks for which it waits
    action_id bigint references actions on delete set null,  -- that creates it
    created_deployment_id bigint,
    ended_at timestamptz
);
create unique index automatic_deployments_once
    on automatic_deployments (repo_id, lower(environment), sha);
create index automatic_deployments_commit on automatic_deployments (repo_id, sha);
create index automatic_deployments_created
    on automatic_deployments (repo_id, lower(environment), at, id) where state = 'created';
create index automatic_deployments_waiting
    on automatic_deployments (repo_id, lower(environment), at, id) where state = 'waiting';
create index automatic_deployments_action on automatic_deployments (action_id)
    where action_id is not null;
"""

OUTBOX = """
-- What is written elsewhere, once: statuses, check runs and answers to protection rules on GitHub,
-- messages, deployments that people requested.
create table outbox (
    id bigint generated always as identity primary key,
    kind text not null
        check (kind in ('check_run', 'status', 'message', 'deployment', 'protection_rule')),

    -- What it is about.
    deployment_id bigint references deployments on delete cascade,  -- null: of a command, of a
                                                -- check run, of an announcement, or of a rule
                                                -- without a deployment
    action_id bigint references actions on delete cascade,          -- of a created deployment
    destination text not null default '',       -- of a message
    purpose text not null default '',           -- of a message: main, reply, alert, announcement;
                                                -- of a created deployment, its action's exclusive
                                                -- group; of an answer to a rule: comment, approved,
                                                -- rejected
    position bigint not null default 0,         -- of a status, its timeline entry, and so of an
                                                -- answer to a rule (without a deployment: the
                                                -- delivery); of a message, the last one that it
                                                -- covers; of an announcement, or a check of a
                                                -- file, its id

    -- claimed: a call was begun, and nobody knows its end; rejected: by the other side; skipped:
    -- there is no need for it any more.
    state text not null default 'waiting'
        check (state in ('waiting', 'claimed', 'sent', 'rejected', 'skipped')),
    claimed_until timestamptz,                  -- until then the call may still be under way
    first_claimed_at timestamptz,               -- what it wrote is not older than this
    attempts integer not null default 0,        -- how often the call was begun
    lookups integer not null default 0,         -- how often its result was searched in vain since
    error text not null default '',             -- of the last attempt, until one succeeds
    rejected_call text not null default '',     -- the call that is rejected for some time now
    rejected_since timestamptz,
    rejected_at timestamptz,                    -- when it was rejected last
    ref jsonb,                                  -- where it is on the other side

    -- Of a message.
    digest text not null default '',            -- of its content, to skip empty edits
    edits integer not null default 0,
    simplified boolean not null default false,  -- sent in a simpler form; error is why

    -- For indexes, as in deployments.
    pending boolean not null generated always as (state in ('waiting', 'claimed')) stored,
    exclusive boolean not null generated always as       -- one at most of a deployment and purpose
        (kind = 'deployment' and purpose <> '' and state in ('claimed', 'sent')) stored,
    message_sent boolean not null generated always as (kind = 'message' and ref is not null) stored,

    unique nulls not distinct (deployment_id, kind, action_id, destination, purpose, position)
);
create index outbox_pending on outbox (deployment_id, position) where pending;
create index outbox_of_action on outbox (action_id) where action_id is not null;
create index outbox_unsent on outbox (deployment_id)
    where kind in ('status', 'protection_rule') and error <> '';
create index outbox_failed on outbox (destination, id) where kind = 'message' and error <> '';
create index outbox_destinations on outbox (destination, id) where message_sent;
create index outbox_announcements on outbox (position) where purpose = 'announcement';
create index outbox_file_checks on outbox (position) where kind = 'check_run';
-- Of each deployment one action of a group at most creates another.
create unique index outbox_exclusive on outbox (deployment_id, purpose) where exclusive;
"""

SCHEDULE = """
-- What is to be done, and when (webhook.store.schedule): a row for each thing to do, deleted once
-- there is nothing more to do.
create table schedule (
    subject bigint not null,                    -- a delivery, a deployment, ...
    task text not null,
    detail text not null default '',            -- of a notification, its destination
    due_at timestamptz not null default now(),  -- while it is claimed, the end of the claim
    urgent boolean not null default true,       -- it was requested; else it is only waited for
    machine_id text not null default '',        -- only that machine's workers can do it
    claimed_by text,                            -- the worker that does it now
    wanted bigint not null default 1,           -- raised with each request
    attempts integer not null default 0,        -- failures since it last succeeded
    primary key (subject, task, detail)
);
create index schedule_due on schedule (machine_id, task, urgent, due_at);
"""

LOCKS = """
-- Locks: a person stops deployments. A row changes once, when the lock ends.
create table locks (
    id bigint generated always as identity primary key,
    repo_id bigint not null default 0,          -- 0: of all repositories
    repo text not null default '',              -- its name then
    environment text not null,                  -- lower case; a name or a pattern, * is all
    owner text not null,                        -- a login on GitHub, or who was at the command line
    reason text not null,
    lets text[] not null default '{}',          -- whose deployments pass it: owner, rollbacks
    source text not null,                       -- slack, command line, page
    created_at timestamptz not null default now(),
    expires_at timestamptz,                     -- null: never
    ended_at timestamptz,                       -- null: it holds, unless it has expired
    ended_by text not null default '',
    ended_how text not null default ''          -- unlocked, taken over, replaced or expired
);
-- One lock at most for each scope.
create unique index locks_scope on locks (repo_id, environment) where ended_at is null;
create function locks_are_history() returns trigger language plpgsql as
    $$ begin raise exception 'a lock that has ended is history'; end $$;
create trigger locks_ended before update on locks
    for each row when (old.ended_at is not null) execute function locks_are_history();
create trigger locks_kept before delete on locks
    for each statement execute function locks_are_history();
"""

APPROVALS = """
-- Answers whether a deployment may start; rows are added only.
create table approvals (
    id bigint generated always as identity primary key,
    deployment_id bigint not null references deployments on delete cascade,
    repo_id bigint not null,
    environment text not null,                  -- lower case
    sha text not null,                          -- the commit that it is for
    policy text not null,                       -- digest of the policy under which it was given
    user_id bigint not null,                    -- the account on GitHub
    login text not null,                        -- its name then
    approved boolean not null,
    comment text not null default '',
    source text not null,                       -- slack, command line, page
    at timestamptz not null default now()
);
create index approvals_of_deployment on approvals (deployment_id);
create index approvals_of_commit on approvals (repo_id, environment, sha);
create function approvals_do_not_change() returns trigger language plpgsql as
    $$ begin raise exception 'an approval does not change'; end $$;
create trigger approvals_append_only before update on approvals
    for each statement execute function approvals_do_not_change();
"""

OVERRIDES = """
-- Break-glass: gates that a person skips for one deployment, for a while; rows are added only.
create table overrides (
    id bigint generated always as identity primary key,
    deployment_id bigint not null references deployments on delete cascade,
    gates text[] not null,
    login text not null,
    reason text not null,
    source text not null,
    at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index overrides_of_deployment on overrides (deployment_id);
create function overrides_do_not_change() returns trigger language plpgsql as
    $$ begin raise exception 'an override does not change'; end $$;
create trigger overrides_append_only before update on overrides
    for each statement execute function overrides_do_not_change();
"""

AUDIT = """
-- Who did what, when, why and from where. Rows are added only, and outlive what they are about.
create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    actor text not null,                        -- a login on GitHub, else who it was there
    source text not null,                       -- slack, command line, page
    action text not null,                       -- lock, unlock, approve, override, deploy, ...
    outcome text not null default 'done',       -- done, refused or failed
    repo_id bigint not null default 0,
    repo text not null default '',
    environment text not null default '',
    deployment_id bigint,
    action_id bigint unique,                    -- of what was requested in Slack, once each
    reason text not null default '',            -- in the person's words, or why it was not done
    details jsonb not null default '{}'
);
create index audit_at on audit (at);
create function audit_is_append_only() returns trigger language plpgsql as
    $$ begin raise exception 'the audit table takes new rows only'; end $$;
create trigger audit_append_only before update or delete or truncate on audit
    for each statement execute function audit_is_append_only();
"""

ANNOUNCEMENTS = """
-- Messages that are no deployment's own: of locks and freezes. The outbox sends
-- them.
create table announcements (
    id bigint generated always as identity primary key,
    key text not null unique,                   -- by which the same is not announced twice
    document jsonb not null,                    -- webhook.deployments.announcement
    at timestamptz not null default now()
);
"""

SCHEMA = (
    DELIVERIES,
    REPOSITORIES,
    REPOSITORY_FILES,
    DEPLOYMENTS,
    TIMELINE,
    TOOL_EVENTS,
    OUTPUT,
    MACHINES,
    WORKERS,
    RATE_LIMITS,
    SLACK_INSTALLATIONS,
    ACTIONS,
    FILE_CHECKS,
    AUTOMATIC_DEPLOYMENTS,
    OUTBOX,
    SCHEDULE,
    LOCKS,
    APPROVALS,
    OVERRIDES,
    AUDIT,
    ANNOUNCEMENTS,
)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for sql in SCHEMA:
        run(sql)
