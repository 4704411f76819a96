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

# Read before anything is locked: there may be many deliveries.
DEAD_LETTERS = """
-- Deliveries that could not be processed, so that they are found and counted at once. No index of
-- deliveries: each would get another entry whenever an outcome is written.
create table dead_letters (
    delivery_id bigint primary key
);
insert into dead_letters select id from deliveries where outcome = 'failed';
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

ACTIONS = """
alter table actions
    add column source text not null default '';    -- command line; empty: Slack, or a rule
"""

SCHEMA = (DEAD_LETTERS, DELIVERIES, REPLAYS, ACTIONS)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for sql in SCHEMA:
        run(sql)
