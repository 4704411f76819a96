"""The status endpoint: a token and other secrets are neither stored nor shown."""

import io
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.status_api.reporting import OTHER_KEY, Tool, at_work, shared_world
from tests.world import until
from webhook import logs


@pytest.mark.slow
async def test_a_token_is_not_in_the_store_the_log_or_any_message(
    postgres: str, tmp_path: Path
) -> None:
    log = io.StringIO()
    async with (
        shared_world(postgres, tmp_path) as world,
        at_work(world, tmp_path / "gate") as tool,
    ):
        logs.set_up(world.setup.secrets, log)
        await _report_with_secrets(tool)
        tool.gate.touch()
        command = await world.deployed("by-itself")
        await world.idle()
        stored = everything(world.store_url)
        visible = [str(s) for id_ in (tool.id, command.id) for s in world.github.statuses(id_)]
        visible += [str(message) for message in world.slack.messages("#deploys")]
    secrets = [tool.report.token, tool.report.token.removeprefix("grt_"), OTHER_KEY]
    for secret in secrets:
        assert secret not in stored
        assert secret not in log.getvalue()
        assert secret not in str(visible)
    assert "grt_" not in stored + log.getvalue() + str(visible)
    assert "it says" in stored
    assert "report stored" in log.getvalue()
    assert "with *** and ***" in str(visible)


async def _report_with_secrets(tool: Tool) -> None:
    token = tool.report.token
    url = f"https://ci.example.com/?token={token}&key={OTHER_KEY}"
    text = f"with {token} and {OTHER_KEY}"
    sha = tool.deployment.sha
    commit = {"state": "pending", "description": text, "target_url": url, "context": text}
    responses = [
        await tool.report_state("in_progress", description=text, log_url=url, environment_url=url),
        await tool.call("POST", f"/repos/acme/site/statuses/{sha}", commit),
        await tool.report_state("in_progress", description="x" * 120 + token),
        await tool.call("GET", f"{tool.path}/statuses"),
        await tool.call("GET", tool.path),
    ]
    assert [response.status for response in responses] == [201, 201, 201, 200, 200]
    assert token not in str(responses)
    assert OTHER_KEY not in str(responses)
    assert responses[0].document["log_url"] == "https://ci.example.com/?token=***&key=***"
    assert responses[2].document["description"] == "x" * 120 + "***"
    rejected = [
        await tool.call("GET", f"/repos/acme/{token}"),
        await tool.call("POST", f"/repos/acme/site/statuses/{token}", commit),
        await tool.call("GET", tool.path, Authorization=f"Digest {token}"),
        await tool.report_state(token),
        await tool.call("POST", f"{tool.path}/statuses", f'{{"state": "{token}"'.encode()),
    ]
    assert [response.status for response in rejected] == [404, 422, 401, 422, 400]
    redacted = "with *** and ***"
    await until(
        lambda: (
            redacted in [status.description for status in tool.world.github.statuses(tool.id)]
            or None
        )
    )


def everything(store_url: str) -> str:
    """Each value of each row of each table, binary ones as Latin-1."""
    with psycopg.connect(store_url) as connection:
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables"
            " where table_type = 'BASE TABLE' and table_schema = 'public'"
        ).fetchall()
        assert len(names) > 8
        rows: list[Any] = []
        for schema, name in names:
            query = sql.SQL("select * from {}").format(sql.Identifier(schema, name))
            rows += connection.execute(query).fetchall()
    return "\n".join(
        value.decode("latin-1") if isinstance(value, bytes) else str(value)
        for row in rows
        for value in row
    )
