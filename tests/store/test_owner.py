"""A command leaves alone what belongs to the relay of another user."""

import os
import stat
from pathlib import Path

import pytest

from tests.test_settings import environ
from webhook.check.run import check
from webhook.errors import ConfigErrors, UserError
from webhook.startup import read, set_up
from webhook.store.embedded import EmbeddedPostgres
from webhook.store.owner import foreign_owner, hand_over, remedy

ANOTHER = 65534  # nobody's number on most systems; it need not have a name


def tree(folder: Path) -> list[tuple[str, int, int, int]]:
    """Owner and mode of all in it, and of the directories above."""
    paths = [*folder.parents, folder, *sorted(folder.rglob("*"))]
    found = [(str(path), path.lstat()) for path in paths]
    return [(name, one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode)) for name, one in found]


@pytest.fixture
def of_another(tmp_path: Path) -> Path:
    """The data directory of another user; who is not root can hand over none, and takes root's."""
    if os.geteuid() != 0:
        return Path("/")
    data_dir = tmp_path / "data"
    (data_dir / "postgres").mkdir(parents=True, mode=0o700)
    for path in (data_dir / "postgres", data_dir):
        path.chmod(0o700)
        os.chown(path, ANOTHER, ANOTHER)
    return data_dir


async def test_a_command_names_the_user_to_be_and_changes_nothing(
    of_another: Path, tmp_path: Path
) -> None:
    (tmp_path / "deploy.yml").write_text("envs: [{name: x, handler: command, with: {run: [a]}}]")
    variables = environ(
        GITPLOY_CONFIG=str(tmp_path / "deploy.yml"),
        GITPLOY_DATA_DIR=str(of_another),
        GITPLOY_GITHUB_BASE_URL="http://127.0.0.1:9",
    )
    watched = of_another if of_another != Path("/") else tmp_path
    before = tree(watched)
    user = remedy(of_another.stat().st_uid)
    for given in (variables, {**variables, "GITPLOY_STORE_SOURCE": "postgresql://127.0.0.1:9/d"}):
        with pytest.raises(ConfigErrors) as caught:
            set_up(given)
        [error] = caught.value.errors
        assert error.startswith(f"GITPLOY_DATA_DIR '{of_another}' ")
        assert user in error
        assert read(given)[2] == [error]
        lines: list[str] = []
        assert not await check(given, lines.append)
        assert error in "\n".join(lines)
    assert tree(watched) == before


def test_the_embedded_postgresql_of_another_user_is_not_started(tmp_path: Path) -> None:
    postgres = tmp_path / "postgres"
    postgres.mkdir()
    user = os.geteuid()
    assert foreign_owner(tmp_path, user) is None
    if user == 0:
        os.chown(postgres, ANOTHER, ANOTHER)
        before = tree(tmp_path)
        with pytest.raises(UserError, match="is another user's; run it as user"):
            EmbeddedPostgres(tmp_path).start()
        assert tree(tmp_path) == before
    owner = postgres.stat().st_uid
    assert foreign_owner(tmp_path, ANOTHER - 1) == owner


def test_a_volume_of_root_is_used_by_whom_it_lets_write(tmp_path: Path) -> None:
    assert foreign_owner(tmp_path, ANOTHER) is None
    assert foreign_owner(Path("/"), ANOTHER) is None
    assert foreign_owner(tmp_path / "missing", ANOTHER) is None


def test_the_remedy_can_be_typed() -> None:
    assert remedy(0).startswith("run it as user root: sudo -u root -E python -m webhook")
    assert "sudo -u '#4294967000' -E" in remedy(4294967000)
    assert hand_over("'/srv/data'", 0).endswith(": sudo chown -R root '/srv/data'")
