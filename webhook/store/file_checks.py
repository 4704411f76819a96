"""deploy.yml of pull requests to be checked: a row for each commit that one has had as its head,
base branch, and time that a person wants it checked again. What became of its check run is in the
outbox."""

from dataclasses import dataclass, fields
from datetime import datetime

from psycopg.rows import class_row

from webhook.store import outbox
from webhook.store.database import Async
from webhook.store.outbox import Entry

KIND: outbox.Kind = "check_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFileCheck:
    """`number`: of the pull request; `sha`: its head; `base`: its base branch."""

    repo_id: int
    repo: str
    installation_id: int
    number: int
    sha: str
    base: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck(NewFileCheck):
    """`external_id`: by which its check run is found again on GitHub. `over`: it is there, or is
    not to be written any more."""

    id: int
    external_id: str
    at: datetime
    over: bool


_NEW = tuple(field.name for field in fields(NewFileCheck))
_OVER = (
    f"exists (select from outbox where kind = '{KIND}' and position = {{id}}"
    " and state in ('sent', 'skipped', 'rejected'))"
)


async def add(connection: Async, new: NewFileCheck) -> int:
    """Its id; the same again for the same commit, pull request and base branch."""
    cursor = await connection.execute(
        f"insert into file_checks ({', '.join(_NEW)}) values ({', '.join('%s' for _ in _NEW)})"
        " on conflict (repo_id, number, sha, base, attempt)"
        " do update set installation_id = excluded.installation_id returning id",
        [getattr(new, name) for name in _NEW],
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["id"])


async def add_again(connection: Async, repo_id: int, sha: str) -> list[int]:
    """Ids of new ones for that commit, of each of which a check run was written."""
    columns = ", ".join(_NEW)
    cursor = await connection.execute(
        f"insert into file_checks ({columns}, attempt) select {columns}, attempt + 1 from ("
        f" select distinct on (number, base) id, attempt, {columns} from file_checks"
        " where repo_id = %s and sha = %s order by number, base, attempt desc) newest"
        f" where {_OVER.format(id='newest.id')} on conflict do nothing returning id",
        [repo_id, sha],
    )
    return [row["id"] async for row in cursor]


async def read(connection: Async, check_id: int) -> FileCheck | None:
    cursor = connection.cursor(row_factory=class_row(FileCheck))
    await cursor.execute(
        f"select id, external_id, at, {', '.join(_NEW)},"
        f" {_OVER.format(id='file_checks.id')} as over from file_checks where id = %s",
        [check_id],
    )
    return await cursor.fetchone()


async def outbox_entry(connection: Async, check: FileCheck) -> Entry:
    """That of its check run."""
    return await outbox.entry_of(connection, KIND, None, position=check.id)
