"""Tools behind a network: starts in doubt, reports of their own, trouble that lasts."""

from alembic import op

revision = "0002"
down_revision = "0001"

# `tried_until`: until then a start may have got through although the tool does not show it yet.
# `reported_at`: when the tool last reported by itself. `tool_trouble`: why it cannot be asked.
DEPLOYMENTS = """
alter table deployments
    add column tried_until timestamptz,
    add column reported_at timestamptz,
    add column tool_trouble text not null default '',
    add column tool_trouble_since timestamptz;
create index deployments_followed on deployments (repo_id, sha) where ended_at is null;
"""

# `reported`: a tool reported it, and nobody has judged yet whether it counts. `turn`: the order in
# which steps count and go to GitHub; one that was reported takes its turn when it is judged.
STEPS = """
create sequence steps_turn;
alter table steps add column turn bigint;
update steps set turn = id;
select setval('steps_turn', (select coalesce(max(id), 0) + 1 from steps), false);
alter table steps alter column turn set default nextval('steps_turn'),
    alter column turn set not null;
alter sequence steps_turn owned by steps.turn;
drop index steps_unsent;
create index steps_unsent on steps (deployment_id, turn) where outbox in ('waiting', 'tried');
alter table steps drop constraint steps_outbox_check;
alter table steps add constraint steps_outbox_check
    check (outbox in ('reported', 'waiting', 'tried', 'sent', 'refused', 'skipped'));
create index steps_reported on steps (deployment_id, id) where outbox = 'reported';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for sql in (DEPLOYMENTS, STEPS):
        run(sql)
