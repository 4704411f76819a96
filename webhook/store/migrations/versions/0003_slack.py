"""Slack: workspaces installed by OAuth, a thread of steps, paced calls, answers of people."""

from alembic import op

revision = "0003"
down_revision = "0002"

# Tokens are encrypted (webhook.security.cipher). `trouble`: why the token is not used any more.
INSTALLATIONS = """
create table slack_installations (
    team text primary key,
    team_name text not null,
    app_id text not null,
    bot_user text not null,
    scopes text not null,
    token bytea not null,
    refresh_token bytea,
    expires_at timestamptz,
    installed_at timestamptz not null default now(),
    installed_by text not null,
    trouble text not null default ''
);
"""

# What may be used once: links that begin an installation, and the states of OAuth, of which only
# digests are kept. `browser` is the digest of the cookie that belongs to a state.
STATES = """
create table slack_states (
    digest bytea primary key,
    purpose text not null check (purpose in ('link', 'state')),
    browser bytea,
    expires_at timestamptz not null
);
"""

# When the next call of a kind may be made in a channel. Slots that were given out before the
# `epoch` was raised, because Slack asked to wait until `held_until`, count no more.
LANES = """
create table slack_lanes (
    lane text primary key,
    next_at timestamptz not null default 'epoch',
    held_until timestamptz not null default 'epoch',
    epoch integer not null default 0
);
"""

# `step`: a reply in the thread; `about` is the turn of the last step that it tells of. What a
# message's thread did not tell before this migration is not told any more, but for a failure, which
# had a `reply`. `tries`: how often the call was made.
MESSAGES = """
alter table slack_messages
    add column about bigint not null default 0,
    add column tries integer not null default 0,
    add column slot_at timestamptz,
    add column slot_epoch integer;
alter table slack_messages drop constraint slack_messages_pkey;
alter table slack_messages add primary key (deployment_id, purpose, channel, about);
alter table slack_messages drop constraint slack_messages_purpose_check;
alter table slack_messages add constraint slack_messages_purpose_check
    check (purpose in ('message', 'reply', 'failures', 'step'));
insert into slack_messages (deployment_id, purpose, channel, team, channel_id, ts, about)
    select deployment_id, 'step', channel, team, channel_id, ts,
        coalesce(max(steps.turn) filter (where state not in ('failure', 'error')), 0)
    from slack_messages join steps using (deployment_id)
    where purpose = 'message' and ts <> ''
    group by deployment_id, channel, team, channel_id, ts;
"""

# `held`: it waits for a person. `ships`: what is new since the last success. `cancel_asked_by`:
# who wants it to end.
DEPLOYMENTS = """
alter table steps add column held boolean not null default false;
alter table deployments
    add column ships jsonb,
    add column cancel_asked_by text;
"""

# What people asked for in Slack: who, when, what, and what became of it. `key` is the same for the
# same press, however often it is delivered. `reply`: where the answer goes, until it was given.
# `made`: the deployment that it made. `tried_until`: until then a call may be under way; `looks`:
# how often it was looked for since. `answers`: how often Slack did not take the answer; `noted`: it
# was said that this takes a while.
ACTIONS = """
create table actions (
    id bigint generated always as identity primary key,
    key text not null unique,
    at timestamptz not null default now(),
    kind text not null check (kind in ('cancel', 'retry', 'rollback', 'deploy', 'status', 'form')),
    team text not null,
    slack_user text not null,
    slack_name text not null,
    login text not null default '',
    deployment_id bigint references deployments on delete cascade,
    repo text not null default '',
    environment text not null default '',
    ref text not null default '',
    reply jsonb,
    outcome text not null default 'waiting'
        check (outcome in ('waiting', 'tried', 'done', 'refused', 'failed')),
    words text not null default '',
    made bigint,
    tried_until timestamptz,
    looks integer not null default 0,
    answers integer not null default 0,
    noted boolean not null default false
);
create unique index actions_one_cancel on actions (deployment_id)
    where kind = 'cancel' and outcome in ('tried', 'done');
create unique index actions_one_after on actions (deployment_id)
    where kind in ('retry', 'rollback') and outcome in ('tried', 'done');
create index actions_made on actions (made);
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for sql in (INSTALLATIONS, STATES, LANES, MESSAGES, DEPLOYMENTS, ACTIONS):
        run(sql)
