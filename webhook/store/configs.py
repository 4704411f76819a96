"""Texts of deploy.yml with which workers started, by their digests: what runs keeps the one with
which it began."""

from webhook.store.database import Async


async def keep(connection: Async, digest: str, text: bytes) -> None:
    """`text`: encrypted; with the newest key, if it is kept again."""
    await connection.execute(
        "insert into configs (digest, text) values (%s, %s)"
        " on conflict (digest) do update set text = excluded.text, used_at = now()",
        [digest, text],
    )


async def text_of(connection: Async, digest: str) -> bytes | None:
    cursor = await connection.execute("select text from configs where digest = %s", [digest])
    row = await cursor.fetchone()
    return row["text"] if row else None
