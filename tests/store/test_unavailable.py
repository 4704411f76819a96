"""A store whose disk is full: the limit of a file's size is what a test can set without a disk."""

import resource
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from sandbox.sandbox import Sandbox
from tests.chaos.test_processes import environ, run
from tests.github.test_webhook import post
from tests.web.test_probes import get
from tests.world import QUICK, World, live
from webhook.check.run import check
from webhook.store.embedded import EmbeddedPostgres
from webhook.store.schema import migrate

# No file of PostgreSQL's log grows beyond this.
WAL_SEGMENT = 16 * 1024 * 1024
OFTEN = replace(QUICK, write_check_interval=timedelta(0))


@pytest.fixture
def store_with_little_space() -> Iterator[str]:
    """Its tables may not grow beyond the size of a segment of the write-ahead log."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with tempfile.TemporaryDirectory(prefix="relay-test-") as folder:
        server = EmbeddedPostgres(Path(folder))
        resource.setrlimit(resource.RLIMIT_FSIZE, (WAL_SEGMENT, before[1]))
        try:
            url = server.start()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        migrate(url)
        yield url
        server.stop()


async def test_while_nothing_can_be_written_the_relay_is_not_ready_and_says_why(
    store_with_little_space: str, tmp_path: Path
) -> None:
    async with live(store_with_little_space, tmp_path, workers=0, timing=OFTEN) as world:
        assert (await get(world, "/readyz"))[0] == 200
        assert (await post(world, body=LARGE))[0] == 202
        fill(world)
        status, body = await get(world, "/readyz")
        assert (status, body["ready"], body["migrations"]) == (503, False, "ok")
        assert "files may not grow as large as PostgreSQL needs; raise the limit" in body["store"]
        assert (await post(world, X_GitHub_Delivery="guid-2", body=LARGE))[0] == 503
        lines: list[str] = []
        await check({**world.setup.environ, "GITPLOY_STORE_SOURCE": world.store_url}, lines.append)
        [line] = [line for line in lines if " store: " in line]
        assert "error" in line
        assert "takes no deliveries: files may not grow as large as PostgreSQL needs" in line
        world.execute("truncate deliveries")
        assert (await get(world, "/readyz"))[0] == 200
        assert (await post(world, X_GitHub_Delivery="guid-2", body=LARGE))[0] == 202


def fill(world: World) -> None:
    """Until nothing more fits."""
    size = WAL_SEGMENT // 4
    while size > 1024:
        try:
            world.execute(
                "insert into deliveries (hook_id, guid, event, body) values (1, %s, 'push', %b)",
                secrets.token_urlsafe(),
                secrets.token_bytes(size),
            )
        except psycopg.errors.InternalError_:
            size //= 2


# It does not fit into the space that is left in the last page.
LARGE = b'{"zen": "' + secrets.token_hex(32 * 1024).encode() + b'"}'


async def test_a_first_start_without_space_is_one_sentence(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        variables = environ(sandbox, tmp_path)
        python = f"{variables['PATH'].split(':')[0]}/python"
        code, output = await run(f"sh -c 'ulimit -f 1000; {python} -m webhook migrate'", variables)
    assert code == 1
    assert output == (
        "The embedded PostgreSQL does not start: files may not grow as large as"
        f" {variables['GITPLOY_DATA_DIR']}/postgres needs; raise the limit (ulimit -f)\n"
    )
