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

SIGN_OUTS = """
-- When somebody has signed out, or took the App's authorization back: sessions that began before
-- are void.
create table sign_outs (
    user_id bigint primary key,                 -- of the account on GitHub
    not_before timestamptz not null
);
"""

SCHEMA = (ACTIONS, SIGN_OUTS)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for sql in SCHEMA:
        run(sql)
