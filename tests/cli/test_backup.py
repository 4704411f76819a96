"""`backup` and `restore` at the command line, of a PostgreSQL that is configured."""

import json
import stat
import zipfile
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from tests.cli.test_slack import environ, private_key
from webhook.__main__ import main

__all__ = ["environ", "private_key"]

DEPLOYMENT = """
insert into deployments (id, repo, repo_id, repo_url, installation_id, environment, ref, sha, task,
    description, creator, production_on_github, transient, created_at, production, phase)
values (7, 'acme/site', 1, '', 1, 'production', 'main', 'x', 'deploy', '', 'octocat', true, false,
    now(), true, 'queued')
"""


@pytest.mark.slow
def test_a_backup_is_whole_and_a_restore_loses_nothing(
    store_url: str, environ: dict[str, str], tmp_path: Path
) -> None:
    variables, file = environ | {"GITPLOY_STORE_SOURCE": store_url}, tmp_path / "a.backup"

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments), env=variables)

    def refused(*arguments: str) -> str:
        result = run(*arguments)
        assert result.exit_code == 1, result.output
        return result.stderr

    assert "which standard output cannot be; name a file" in refused("backup", "-")
    assert "is no directory; create it first" in refused("backup", str(tmp_path / "x" / "y"))
    assert refused("backup", "/sys/a.backup").startswith("No backup was made: ")
    with psycopg.connect(store_url) as connection:
        connection.execute(DEPLOYMENT)
    assert "1 deployment as of" in run("backup", str(file)).stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with zipfile.ZipFile(file) as archive:
        key = (tmp_path / "secret_key").read_text()
        assert archive.read("secret_key").decode() == key
        assert json.loads(archive.read("manifest.json"))["deployments"] == 1
    assert "exists already; name another file" in refused("backup", str(file))
    assert not [*tmp_path.glob(".*.part")]

    assert "The store has 1 deployment; --replace moves it aside" in refused("restore", str(file))
    with psycopg.connect(store_url):
        assert "Others work with the store (1 conn" in refused("restore", str(file), "--replace")
    for name, said in (
        ("cut", "File is not a zip file"),
        ("damaged", "Bad CRC-32 for file 'store.dump'; take one that"),
        ("newer", "at migration 0099"),
    ):
        broken = tmp_path / name
        _break(file, broken, name)
        assert said in refused("restore", str(broken), "--replace")

    (tmp_path / "secret_key").write_text("another key")
    restored = run("restore", str(file), "--replace").stdout
    assert "What was there before is in schema before_restore_" in restored
    assert (tmp_path / "secret_key").read_text() == key
    assert [one.read_text() for one in tmp_path.glob("secret_key.before*")] == ["another key"]
    aside = restored.partition("in schema ")[2].partition(".")[0]
    with psycopg.connect(store_url, autocommit=True) as connection:
        [(old, new, gap)] = connection.execute(
            f"select (select count(*) from {aside}.deployments),"
            " (select count(*) from deployments), restored_at - backup_at from restores"
        ).fetchall()
        assert (old, new) == (1, 1)
        assert timedelta(0) < gap < timedelta(minutes=5)
        connection.execute(f"drop schema {aside} cascade")


def _break(file: Path, broken: Path, how: str) -> None:
    if how == "cut":
        broken.write_bytes(file.read_bytes()[:-100])
        return
    if how == "damaged":
        flipped = bytearray(file.read_bytes())
        flipped[len(flipped) // 2] ^= 255
        broken.write_bytes(flipped)
        return
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(broken, "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            other.writestr(name, content.replace(b'"0003"', b'"0099"'))
