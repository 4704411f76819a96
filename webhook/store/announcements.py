"""Announcements: kept once by their key, each with its destinations; the schedule sends them."""

from collections.abc import Collection
from dataclasses import asdict

from psycopg.types.json import Jsonb

from webhook.deployments.announcement import Announcement
from webhook.store import schedule
from webhook.store.database import Async
from webhook.store.schedule import Key


async def add(connection: Async, announcement: Announcement, destinations: Collection[str]) -> None:
    """To be sent once the caller's transaction has ended; nothing where it was added before.
    `destinations`: names of targets, as "slack:#deploys"."""
    document = {name: value for name, value in asdict(announcement).items() if name != "at"}
    cursor = await connection.execute(
        "insert into announcements (key, document) values (%s, %s)"
        " on conflict (key) do nothing returning id",
        [announcement.key, Jsonb(document)],
    )
    if row := await cursor.fetchone():
        await schedule.request(connection, [Key("announce", row["id"], to) for to in destinations])


async def is_known(connection: Async, key: str) -> bool:
    cursor = await connection.execute("select from announcements where key = %s", [key])
    return await cursor.fetchone() is not None


async def read(connection: Async, announcement_id: int) -> Announcement | None:
    cursor = await connection.execute(
        "select document, at from announcements where id = %s", [announcement_id]
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    document = row["document"]
    return Announcement(**{**document, "mentions": tuple(document["mentions"])}, at=row["at"])
