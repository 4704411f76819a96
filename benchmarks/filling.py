"""Fills a store with the deployments of thirty days, and all that belongs to them.

2,000 repositories with three to six environments each; number 1 has a fifth of everything, and an
environment in which none ever succeeded. 200 deployments are in flight. What is in the way now
(two repositories to which no status can be written, a channel that is gone) is as much at any size.
"""

from importlib import import_module
from typing import Any

import psycopg

REPOSITORIES = 2_000
HOT = 1
IN_FLIGHT = 200
LEAST_WAITING, MOST_WAITING = 10_000, 100_000
# GitHub's ids are as long.
FIRST_ID = 2_000_000_000
FIRST_STATUS = 5_000_000_000
REJECTING = (8, 12)  # repositories of which GitHub rejects the newest statuses
ARCHIVED = 14  # one whose channel is gone
IN_THE_WAY = (*REJECTING, ARCHIVED)  # each has a few of the newest deployments
CHANNELS = 40


def _plan(count: int) -> str:
    """What is known of each deployment, computed once."""
    return f"""
create temporary table plan as
with repositories as (
    select i, case when i % 5 = 0 then {HOT}
            when i > {count} - 1000 and i % 125 in {IN_THE_WAY} then i % 125
            else 2 + abs(hashint8(i)::bigint) % {REPOSITORIES - 1} end as repo_id,
        now() - interval '30 days' * (1 - i::float8 / {count}) as at,
        i > {count} - 1000 as recent, i > {count} - 1000 and i % 25 < 5 as in_flight
    from generate_series(1::bigint, {count}) i
), environments as (
    select *, case when i % 5 = 0 then (i / 5) % 6
        else abs(hashint8(i + 7)::bigint) % (3 + repo_id % 4) end as number
    from repositories
)
select i, {FIRST_ID} + i as id, repo_id, at, recent, in_flight, number,
    case when number = 0 then 'production' when repo_id = {HOT} and number = 5 then 'unrouted'
        else 'stage-' || number end as environment,
    case when in_flight then case when i % 50 < 25 then 'queued' else 'in_progress' end
        when repo_id = {HOT} and number = 5 then 'error'
        when i % 11 = 3 then 'failure' when i % 13 = 4 then 'error'
        when number = 0 then 'success' else 'inactive' end as phase,
    substr(md5((i / 3)::text) || md5('-' || i / 3), 1, 40) as sha,
    (array['github_actions', 'drone', 'command'])[1 + (repo_id - 1) % 3] as handler
from environments
"""


_DEPLOYMENTS = """
insert into deployments (id, repo, repo_id, repo_url, installation_id, environment, ref, sha, task,
    payload, description, creator, production_on_github, transient, created_at, requested_at,
    delivery, watched, production, phase, phase_at, status_description, ended_at, handler, run,
    started_at, deadline, changelog)
select id, 'acme/app-' || repo_id, repo_id, 'https://github.com/acme/app-' || repo_id,
    100 + repo_id % 10, environment, 'main', sha, 'deploy', '{"version": 1}', '', 'octocat',
    number = 0, false, at, case when i % 97 = 5 and not in_flight then null else at end,
    md5('delivery' || i)::uuid::text, i % 101 = 6, number = 0, phase, at + interval '3 minutes',
    case when phase in ('failure', 'error') then 'The command failed with exit code 3' else '' end,
    case when not in_flight then at + interval '3 minutes' end, handler,
    case when phase <> 'queued' then jsonb_build_object('id', (id * 10)::text, 'url',
        'https://ci.example/' || id, 'held', false, 'description', '', 'environment_url', '',
        'state', case when phase in ('success', 'inactive') then 'success' else phase end) end,
    at + interval '1 second', at + interval '1 hour',
    case when i % 2 = 0 and not in_flight then
        jsonb_build_object('since', substr(md5('since' || i), 1, 32), 'total', 0, 'behind', 0,
            'commits', '[]'::jsonb) end
from plan order by i
"""

# As GitHub does: the newest success of an environment stays one.
_NEWEST_SUCCESS = """
update deployments set phase = 'success' where id in (
    select max(id) from deployments where phase = 'inactive' group by repo_id, environment)
"""

# Three statuses each; of one in flight those so far, and of some a report that is not judged.
_TIMELINE = f"""
insert into timeline (deployment_id, position, at, actor, state, description, log_url, counted,
    judged, github_id)
select id, i * 4 + k, at + k * interval '40 seconds', 'relay',
    case k when 1 then 'queued' when 2 then 'in_progress'
        else case phase when 'inactive' then 'success' else phase end end,
    'The command runs', 'https://relay.example/deployments/' || id, true, k < 4,
    case when k < 4 and not in_flight then {FIRST_STATUS} + i * 4 + k end
from plan, generate_series(1, 4) k
where case when in_flight then k = 1 or (k = 2 and phase = 'in_progress') or (k = 4 and i % 50 = 0)
    else k < 4 end
order by i, k
"""
_POSITION = "select setval('timeline_position', (select max(position) from timeline))"

_STATUSES = f"""
insert into outbox (kind, deployment_id, position, state, claimed_until, first_claimed_at, attempts,
    error, rejected_call, rejected_since, ref)
select 'status', deployment_id, position, sending,
    case when sending = 'claimed' then now() + interval '1 minute' end, timeline.at, 1,
    case when sending = 'rejected' then 'GitHub returned 403: Resource not accessible' else '' end,
    case when sending = 'rejected' then 'POST statuses' else '' end,
    case when sending = 'rejected' then now() - interval '1 hour' end,
    case when sending = 'sent' then jsonb_build_object('id', {FIRST_STATUS} + position) end
from timeline join plan on plan.id = deployment_id, lateral (select case
    when in_flight then case i % 4 when 0 then 'waiting' when 1 then 'claimed' else 'sent' end
    when repo_id in {REJECTING} and recent then 'rejected'
    when position % 80021 = 3 then 'rejected' else 'sent' end as sending) known
where judged order by position
"""

# The main message of each, a reply of some, an alert of failures.
_MESSAGES = f"""
insert into outbox (kind, deployment_id, destination, purpose, position, state, first_claimed_at,
    attempts, error, rejected_call, ref, digest, edits)
select 'message', id, destination, purpose, case when purpose = 'main' then 0 else i * 4 + 3 end,
    case when gone then 'rejected' else 'sent' end, at, 1,
    case when gone then 'Slack: is_archived; choose another channel in deploy.yml' else '' end,
    '', case when not gone then jsonb_build_object('team', 'T1', 'channel_id',
        'C' || md5(destination), 'ts', extract(epoch from at)::text) end, md5(i::text), 2
from plan, lateral (
    select 'main' as purpose, 'slack:#deploys-' || repo_id % {CHANNELS} as destination
    union all select 'reply', 'slack:#deploys-' || repo_id % {CHANNELS} where i % 4 = 1
    union all select 'alert', 'slack:#oncall' where phase in ('failure', 'error')
    union all select 'main', 'slack:#archived' where repo_id = {ARCHIVED}
) message, lateral (select destination = 'slack:#archived' or i % 20011 = 4 as gone) known
order by i
"""

# Of locks and freezes: few, and in the same channels.
_ANNOUNCEMENTS = """
insert into announcements (key, document, at)
select 'lock:' || i, '{"key": "", "text": "production is locked", "mentions": [], "lock_id": 0}',
    at from plan where i % 50 = 2 order by i
"""
_ANNOUNCED = f"""
insert into outbox (kind, destination, purpose, position, state, first_claimed_at, attempts, ref)
select 'message', 'slack:#deploys-' || id % {CHANNELS}, 'announcement', id, 'sent', at, 1,
    jsonb_build_object('team', 'T1', 'channel_id', 'C', 'ts', extract(epoch from at)::text)
from announcements order by id
"""

_ACTIONS = """
insert into actions (key, at, kind, exclusive_group, team, slack_user, slack_name, login,
    deployment_id, repo, repo_id, environment, ref, inputs, outcome, message,
    created_deployment_id, reply)
select 'press-' || i, at, kind, case when kind in ('rollback', 'cancel') then kind else '' end,
    'T1', 'U' || i % 50, 'mona', 'octocat', case when kind <> 'deploy' then id end,
    'acme/app-' || repo_id, repo_id, environment, 'main', '{}',
    case when in_flight and i % 2 = 0 then 'waiting' else 'done' end, '',
    case when kind <> 'cancel' then id + 1 end,
    case when in_flight then jsonb_build_object('url', 'https://slack.example/' || i, 'trigger', '',
        'confirms', 0) end
from plan, lateral (select (array['rollback', 'retry', 'cancel', 'deploy'])[1 + i % 4] as kind) k
where i % 17 = 1 order by i
"""
_CREATED = """
insert into outbox (kind, deployment_id, action_id, purpose, state, first_claimed_at, attempts, ref)
select 'deployment', deployment_id, id, exclusive_group,
    case when outcome = 'waiting' then 'waiting' else 'sent' end, at, 1,
    jsonb_build_object('id', created_deployment_id::text)
from actions where kind <> 'cancel' order by id
"""

# The event itself, what GitHub sends back of its statuses, and two that are ignored. The oldest
# hours are about to be deleted.
_DELIVERIES = """
insert into deliveries (hook_id, guid, event, body, received_at, outcome, reason, deployment_id,
    action, repo_id)
select 1, case when k = 0 then md5('delivery' || i) else md5(i || '/' || k) end::uuid::text,
    (array['deployment', 'deployment_status', 'deployment_status', 'push', 'workflow_run'])[k + 1],
    convert_to('{"repository": {"full_name": "acme/app-' || repo_id || '"}}', 'UTF8'),
    at + k * interval '40 seconds' - interval '4 hours',
    case when in_flight and i % 25 = 0 and k < 2 then null when k < 3 then 'done' else 'ignored'
        end,
    case when k < 3 then '' else 'not about a deployment' end, case when k < 3 then id end,
    case when k < 3 then 'created' else '' end, repo_id
from plan, generate_series(0, 4) k order by i, k
"""

# Of one delivery each, or of a hundred.
_DELIVERY_REQUESTS = """
insert into delivery_requests (key, kind, login, user_id, guid, repo_id, deliveries, position,
    state, ended_at)
select i::text, 'replay', 'octocat', i % 10,
    case when i % 2 = 0 then md5('delivery' || i)::uuid::text else '' end, 1,
    array(select id from deliveries order by id limit 100), 100, 'done', now()
from generate_series(1, 2000) i
"""

_OUTPUT = """
insert into output select id, 0, convert_to(repeat('Deploying. ', 30), 'UTF8')
from plan where handler = 'command' order by i
"""

# A run and its two jobs.
_TOOL_EVENTS = """
insert into tool_events
select repo_id, case k when 0 then 'workflow_run' else 'workflow_job' end, id * 10 + k, id * 10,
    sha, case when i % 10 = 0 then 'Deploy ' || id else 'Build and deploy' end, '2026-01-01',
    jsonb_build_object('action', 'completed', 'id', id * 10 + k, 'name', 'deploy',
        'conclusion', 'success'), at + k * interval '1 minute'
from plan, generate_series(0, 2) k where handler = 'github_actions' order by i, k
"""

# The file at the head of each repository, and at a commit of each tenth deployment.
_REPOSITORY_FILES = f"""
insert into repository_files (repo_id, ref, state, content, read_at)
select id, 'HEAD', 'present', convert_to('envs: []', 'UTF8'), now()
from generate_series(1, {REPOSITORIES}) id
union all
select repo_id, min(sha), 'present', convert_to('envs: []', 'UTF8'), max(at)
from plan where i % 10 = 0 group by repo_id, sha
"""

_NAMES = f"""
insert into repository_names (repo_id, full_name, html_url, seen_at)
select id, 'acme/' || name || '-' || id, 'https://github.com/acme/' || name || '-' || id,
    now() - interval '40 days' * k
from generate_series(1, {REPOSITORIES}) id, generate_series(0, 1) k,
    lateral (select case k when 0 then 'app' else 'old' end as name) named
where k = 0 or id % 20 = 1
"""


# Each deployment in flight is followed. Of others there waits as much as a store of that size may
# have, spread over the next hours; as much at any size is due, urgent, or claimed.
def _schedule(count: int) -> str:
    return f"""
insert into schedule (subject, task, detail, due_at, urgent, machine_id, claimed_by)
select id, task, '', case when i % 25 = 0 then at else now() + interval '1 hour' end,
    i % 25 = 0, case when i % 10 = 1 then 'machine-' || 1 + i % 3 else '' end,
    case when i % 25 = 1 and task = 'advance' then 'worker-1' end
from plan, (values ('advance'), ('send_statuses')) task (task)
where in_flight and (task = 'advance' or i % 4 < 2)
union all
select i, case when i <= 200 then 'notify' else 'advance' end,
    case when i <= 200 then 'slack:#deploys' else '' end,
    now() + case when i <= 60 then interval '-1 second'
        else interval '1 hour' * (1 + i::float8 / waiting) end,
    i % 3 = 0 and i <= 120,
    case when i % 3 = 1 then 'machine-' || 1 + i % 2 else '' end,
    case when i <= 30 then 'worker-1' end
from (select {min(max(count, LEAST_WAITING), MOST_WAITING)} as waiting) given,
    generate_series(1, waiting) i
"""


_REST = f"""
insert into machines (id, since, seen_at) select 'machine-' || i, now() - interval '1 day',
    now() + case i when 3 then interval '-1 hour' else interval '1 hour' end  -- the third is gone
    from generate_series(1, 3) i;
insert into workers (id, machine_id, config_digest, version)
    select 'worker-' || i, 'machine-' || i, 'digest', '1' from generate_series(1, 3) i;
insert into rate_limits (name) select 'slack:C' || i from generate_series(1, {CHANNELS}) i;
insert into rate_limit_slots select 'slack:C' || i, 'key', now(), 0
    from generate_series(1, {CHANNELS}) i;
insert into slack_installations (team, team_name, app_id, bot_user, scopes, token, installed_by)
    select 'T' || i, 'Acme', 'A1', 'U1', 'chat:write', 'x', 'octocat' from generate_series(1, 3) i;
-- Before all that is there.
insert into restores (restored_at, backup_at) values ('2000-01-02', '2000-01-01');
"""


# Every other deployment was automatic; few wait.
_AUTOMATIC = """
insert into automatic_deployments (at, cause, repo, repo_id, installation_id, environment, sha, ref,
    login, login_id, from_deployment_id, deadline, skips_checks, state, created_deployment_id,
    ended_at)
select created_at, 'push', repo, repo_id, installation_id, environment, sha, 'refs/heads/main',
    'octocat', 1, 0, created_at + interval '24 hours', '',
    case when ended_at is null then 'waiting' else 'created' end,
    case when ended_at is not null then id end, ended_at
from deployments where id % 2 = 0 order by id on conflict do nothing
"""
# Most have ended.
_LOCKS = """
insert into locks (repo_id, environment, owner, reason, source, created_at, ended_at, ended_how)
select repo_id, lower(environment), 'octocat', 'x', 'slack', created_at,
    case when id % 20 <> 0 then created_at end, case when id % 20 <> 0 then 'unlocked' else '' end
from deployments where id % 3 = 0 on conflict do nothing
"""

# Of a fifth it is known when their commits were committed.
_COMMIT_TIMES = """
update deployments set committed_at = array[created_at - interval '5 days',
    created_at - interval '26 hours', created_at - interval '40 minutes']
where id % 5 = 0 and ended_at is not null
"""
# As the migration does for what is there.
_FACTS = import_module("webhook.store.migrations.versions.0003_pages").FACTS_FILLED
_MORE_FACTS = """
update deployment_facts set commits_since = since_sha where committed_at is not null;
update deployment_facts set rework = true where deployment_id % 50 = 4;
update deployment_facts set waits = '{"serialization": 30, "approval": 600}'
where deployment_id % 10 = 7;
"""

_STEPS = (
    _DEPLOYMENTS,
    _NEWEST_SUCCESS,
    _TIMELINE,
    _POSITION,
    _STATUSES,
    _MESSAGES,
    _ANNOUNCEMENTS,
    _ANNOUNCED,
    _ACTIONS,
    _CREATED,
    _DELIVERIES,
    _DELIVERY_REQUESTS,
    _OUTPUT,
    _TOOL_EVENTS,
    _REPOSITORY_FILES,
    _NAMES,
    _AUTOMATIC,
    _LOCKS,
    _REST,
    _COMMIT_TIMES,
    _FACTS,
    _MORE_FACTS,
)


def fill(connection: psycopg.Connection[Any], count: int) -> None:
    """An empty store; the connection is in autocommit mode, and of a superuser."""
    with connection.transaction():
        # What is inserted fits together: checking each foreign key would take half of the time.
        connection.execute("set local session_replication_role = replica")
        for step in (_plan(count), "analyze plan", *_STEPS, _schedule(count), "drop table plan"):
            connection.execute(step)
    connection.execute("vacuum analyze")
