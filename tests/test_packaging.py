"""The image and compose.yml keep their promises, as far as that can be seen without an engine.

script/package runs the wheel that the image installs.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from sandbox.demo.tools import IN_A_WHEEL, IN_THE_DOCS
from sandbox.sandbox import free_ports
from tests.world import live, until
from webhook.__main__ import main
from webhook.settings import VARIABLES
from webhook.timing import DEFAULT_TIMING

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PYPROJECT["project"]["version"]
# Service -> process of the Procfile.
PROCESSES = {"migrate": "release", "web": "web", "worker": "worker"}

_VARIABLE = re.compile(r"\b(GITPLOY_[A-Z_]+|PORT|DATABASE_URL|WEB_CONCURRENCY)\b")


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    lines = text.replace("\\\n", "").splitlines()
    split = (line.split(None, 1) for line in lines if line.strip())
    return [(name.upper(), value.strip()) for name, value in split]


def stage(number: int) -> dict[str, list[str]]:
    """Instruction -> its values; -1 is the stage that becomes the image."""
    stages: list[dict[str, list[str]]] = []
    for name, value in instructions():
        if name == "FROM":
            stages.append({})
        if stages:
            stages[-1].setdefault(name, []).append(value)
    return stages[number]


IMAGE = stage(-1)


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for value in IMAGE["ENV"] for pair in value.split())


def healthcheck(service: str) -> list[str]:
    """Its argv: that of compose.yml, or of the image."""
    if "healthcheck" in SERVICES[service]:
        kind, *argv = SERVICES[service]["healthcheck"]["test"]
        assert kind == "CMD"
        return [str(argument) for argument in argv]
    argv = json.loads(IMAGE["HEALTHCHECK"][0].partition("CMD ")[2])
    return [str(argument) for argument in argv]


def healthy(argv: Sequence[str], port: int) -> bool:
    """Run it here, where the web process is at another address than in its container."""
    assert argv[0] == "python"
    here = [argument.replace("'web', 8080", f"'127.0.0.1', {port}") for argument in argv[1:]]
    result = subprocess.run(
        [sys.executable, *here],
        env={"PORT": str(port), "http_proxy": "http://127.0.0.1:1"},
        capture_output=True,
        check=False,
        timeout=20,
    )
    return result.returncode == 0


def test_the_image_runs_as_a_user_with_a_number() -> None:
    assert IMAGE["USER"] == ["10001:10001"]
    assert "--owner=10001 --group=10001 --mode=0700 /data" in IMAGE["RUN"][0]
    assert IMAGE["VOLUME"] == ["/data"]


def test_the_image_is_stopped_by_sigterm_that_reaches_the_relay() -> None:
    assert IMAGE["STOPSIGNAL"] == ["SIGTERM"]
    assert json.loads(IMAGE["ENTRYPOINT"][0])  # a shell would keep the signal to itself
    assert json.loads(IMAGE["CMD"][0])[0] in main.commands


def test_the_image_has_the_locked_requirements_only() -> None:
    installs = [run for run in stage(-2)["RUN"] if "uv pip" in run]
    assert ["--require-hashes requirements.txt" in run for run in installs] == [True, False]
    assert "--no-deps" in installs[1]


def test_every_image_has_a_version_and_glibc() -> None:
    arguments = dict(value.split("=", 1) for name, value in instructions() if name == "ARG")
    bases = [value for name, value in instructions() if name == "FROM"]
    images = [base.replace("${PYTHON}", arguments["PYTHON"]).split()[0] for base in bases]
    images += [service["image"] for service in SERVICES.values()]
    for image in images:
        tag = image.partition(":")[2]
        assert re.match(r"\d", tag), image
        assert "alpine" not in tag


def test_one_version_is_named_everywhere() -> None:
    assert VERSION in CliRunner().invoke(main, ["--version"]).output
    assert f"VERSION={VERSION}" in IMAGE["ARG"]
    assert {SERVICES[name]["image"] for name in PROCESSES} == {f"gitploy-relay:{VERSION}"}


def test_the_wheel_is_built_from_what_the_docker_build_gets() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = {line.removeprefix("!") for line in lines if line.startswith("!")}
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    sources = [*wheel["packages"], *wheel.get("force-include", {}), PYPROJECT["project"]["readme"]]
    needed = {source.split("/")[0] for source in sources}
    assert needed | {"pyproject.toml", "requirements.txt", "LICENSE"} <= let_through
    assert "*" in lines  # all else stays out


def test_the_wheel_brings_the_file_that_the_stand_in_of_spinnaker_reads() -> None:
    files = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    source, copy = (str(path.relative_to(ROOT)) for path in (IN_THE_DOCS, IN_A_WHEEL))
    assert files == {source: copy}
    assert IN_THE_DOCS.is_file()


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_confined(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert "privileged" not in service


def test_the_user_of_the_services_is_that_of_the_image() -> None:
    assert {SERVICES[name]["user"] for name in PROCESSES} == {*IMAGE["USER"]}


@pytest.mark.parametrize("name", PROCESSES)
def test_services_run_what_the_procfile_runs(name: str) -> None:
    lines = (ROOT / "Procfile").read_text().splitlines()
    procfile = dict(line.split(": ", 1) for line in lines if line)
    argv = [*json.loads(IMAGE["ENTRYPOINT"][0]), *SERVICES[name]["command"]]
    assert " ".join(argv) == procfile[PROCESSES[name]]


def test_services_wait_for_what_they_need() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    migrated = {"migrate": {"condition": "service_completed_successfully"}}
    assert SERVICES["web"]["depends_on"] == SERVICES["worker"]["depends_on"] == migrated
    assert SERVICES["migrate"]["restart"] == "no"


def test_the_worker_may_finish_its_jobs_before_it_is_killed() -> None:
    within = DEFAULT_TIMING.shutdown_within.total_seconds()
    assert float(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > 2 * within


def test_only_data_and_the_temporary_directory_are_written_to() -> None:
    for name in PROCESSES:
        writable = [mount for mount in SERVICES[name]["volumes"] if not mount.endswith(":ro")]
        assert writable == [f"data:{SERVICES[name]['environment']['GITPLOY_DATA_DIR']}"]
        assert (
            f"./deploy.yml:{SERVICES[name]['environment']['GITPLOY_CONFIG']}:ro"
            in (SERVICES[name]["volumes"])
        )
    assert IMAGE["VOLUME"] == [environment()["GITPLOY_DATA_DIR"]]


def test_the_store_of_postgresql_18_is_kept() -> None:
    assert SERVICES["postgres"]["image"].startswith("postgres:18")
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert set(COMPOSE["volumes"]) == {"data", "postgres"}


def test_every_variable_is_one_that_the_relay_reads() -> None:
    known = {variable.name for variable in VARIABLES}
    for file in ("Dockerfile", "compose.yml"):
        assert set(_VARIABLE.findall((ROOT / file).read_text())) <= known


def test_compose_requires_the_settings_that_the_relay_needs() -> None:
    needed = {variable.name for variable in VARIABLES if variable.required}
    given = SERVICES["web"]["environment"]
    assert {name for name in needed if ":?" not in given.get(name, "")} == set()
    assert {SERVICES[name]["env_file"] for name in PROCESSES} == {".env"}


async def test_healthchecks_call_a_running_relay(store_url: str, tmp_path: Path) -> None:
    web, worker = healthcheck("web"), healthcheck("worker")
    async with live(store_url, tmp_path, workers=0) as world:
        port = int(world.url.rpartition(":")[2])
        assert healthy(web, port)
        assert not healthy(worker, port)
        world.start_worker()
        await until(lambda: world.rows("select 1 from workers") or None)
        assert healthy(worker, port)


def test_healthchecks_fail_where_nobody_listens() -> None:
    [port] = free_ports(1)
    assert not healthy(healthcheck("web"), port)
    assert not healthy(healthcheck("worker"), port)


def test_postgresql_is_checked_with_its_own_client() -> None:
    assert healthcheck("postgres")[0] == "pg_isready"
