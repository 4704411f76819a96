"""Table repository_files: the deploy.yml that a repository has itself, as GitHub showed it last."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from webhook.store.database import Async, Sync
from webhook.store.gates import names

HEAD = "HEAD"

State = Literal["present", "unusable", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryFile:
    """`ref`: `HEAD` or a commit. `missing_since`: since when GitHub does not show it any more,
    before that counts."""

    repo_id: int
    ref: str
    state: State
    read_at: datetime
    etag: str = ""
    blob: str = ""
    content: bytes = b""
    reason: str = ""
    missing_since: datetime | None = None


_NAMES = names(RepositoryFile)
_VALUES = ", ".join(f"%({name})s" for name in _NAMES.split(", "))
_NEW = ", ".join(f"{name} = excluded.{name}" for name in _NAMES.split(", ")[2:])


async def read(
    connection: Async, repo_id: int, shas: tuple[str, ...] = ()
) -> Mapping[str, RepositoryFile]:
    """By its refs: that of the head, and those of the commits, as far as they are known."""
    cursor = await connection.execute(
        f"select {_NAMES} from repository_files where repo_id = %s and ref = any(%s)",
        [repo_id, [HEAD, *shas]],
    )
    return {row["ref"]: RepositoryFile(**row) async for row in cursor}


def read_sync(connection: Sync, repo_id: int) -> Mapping[str, RepositoryFile]:
    """That of the head, if it is known."""
    query = f"select {_NAMES} from repository_files where repo_id = %s and ref = %s"
    rows = connection.execute(query, [repo_id, HEAD]).fetchall()
    return {row["ref"]: RepositoryFile(**row) for row in rows}


async def is_recent(connection: Async, repo_id: int, ref: str, since: datetime) -> bool:
    """Whether GitHub has shown it since then, or that there is none, and no push has changed it
    after that."""
    cursor = await connection.execute(
        "select from repository_files where repo_id = %s and ref = %s"
        " and read_at >= %s and read_at > changed_at and missing_since is null",
        [repo_id, ref, since],
    )
    return await cursor.fetchone() is not None


async def changed_since(connection: Async, repo_id: int, at: datetime) -> bool:
    """Whether a push has changed that at the head of the default branch after that."""
    cursor = await connection.execute(
        "select from repository_files where repo_id = %s and ref = %s and changed_at > %s",
        [repo_id, HEAD, at],
    )
    return await cursor.fetchone() is not None


async def keep(connection: Async, file: RepositoryFile) -> None:
    """Unless a newer one is there: of two workers the slower one may have the older."""
    await connection.execute(
        f"insert into repository_files ({_NAMES}) values ({_VALUES})"
        f" on conflict (repo_id, ref) do update set {_NEW}"
        " where repository_files.read_at <= excluded.read_at",
        asdict(file),
    )


async def changed(connection: Async, repo_id: int, at: datetime) -> bool:
    """By a push, to the head of the default branch. Whether it is known here."""
    cursor = await connection.execute(
        "update repository_files set changed_at = %s where repo_id = %s and ref = %s",
        [at, repo_id, HEAD],
    )
    return cursor.rowcount > 0
