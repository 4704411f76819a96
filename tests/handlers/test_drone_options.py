"""The options under `with:` for Drone, as deploy.yml is loaded."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from handlers.drone.options import DroneOptions
from tests.handlers.tools import a_certificate
from webhook.config import load as config
from webhook.errors import ConfigErrors

LEAST = {"url": "https://drone.example.com", "token": "${DRONE_TOKEN}"}


def load(**options: Any) -> DroneOptions:
    text = yaml.safe_dump({"envs": [{"name": "production", "handler": "drone", "with": options}]})
    environ = {"DRONE_TOKEN": "55f24eb3"}
    loaded = config.load(
        text, source="deploy.yml", environ=environ, handler_options={"drone": DroneOptions}
    )
    found = loaded.envs[0].options
    assert isinstance(found, DroneOptions)
    return found


def errors_of(**options: Any) -> str:
    with pytest.raises(ConfigErrors) as caught:
        load(**LEAST | options)
    return str(caught.value)


def test_address_and_token_are_enough() -> None:
    options = load(**LEAST)
    assert (options.token, options.mode, options.target) == ("55f24eb3", "promote", "{environment}")
    assert (options.build, options.repo, options.payload) == ("existing", "{repo}", True)
    assert options.start_within.total_seconds() == 120


@pytest.mark.parametrize("missing", LEAST)
def test_address_and_token_are_needed(missing: str) -> None:
    with pytest.raises(ConfigErrors, match=missing):
        load(**{name: value for name, value in LEAST.items() if name != missing})


@pytest.mark.parametrize(
    "options",
    [
        {"url": "drone.example.com"},
        {"url": "https://drone.example.com/acme/shop"},
        {"token": ""},
        {"mode": "watch"},
        {"target": ""},
        {"target": "{envronment}"},
        {"parameters": {"A": "{nothing}"}},
        {"parameters": {"A": 1}},
        {"parameters": {"target": "x"}},
        {"parameters": {"access_token": "x"}},
        {"parameters": {"GITPLOY_DEPLOYMENT_ID": "x"}},
        {"parameters": {"": "x"}},
        {"parameters": {"A=B": "x"}},
        {"parameters": {"A\nB": "x"}},
        {"payload": "no"},
        {"build": "new"},
        {"branch": "main"},
        {"start_within": "2 minutes"},
        {"ca": "drone.pem"},
        {"ca": "/nowhere/drone.pem"},
        {"ca": "/etc/hostname"},
        {"mode": "native", "target": "x"},
        {"mode": "native", "parameters": {}},
        {"mode": "native", "payload": False},
        {"mode": "native", "build": "create"},
        {"colour": "red"},
    ],
    ids=str,
)
def test_contradictory_options_are_an_error(options: dict[str, Any]) -> None:
    found = errors_of(**options)
    assert found.startswith("deploy.yml:")
    assert list(options)[-1] in found


def test_a_file_that_is_not_a_certificate_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "drone.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    assert "is not a file of certificates in PEM" in errors_of(ca=str(tmp_path / "drone.pem"))


def test_a_certificate_for_a_plain_connection_is_an_error(tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path).file
    assert "needs a 'url' that begins with https" in errors_of(
        url="http://drone.example.com", ca=certificate
    )
    assert load(**LEAST, ca=certificate).ca == certificate


def test_the_token_is_not_in_what_a_log_would_show() -> None:
    assert "55f24eb3" not in repr(load(**LEAST))


def test_options_of_the_native_mode_load() -> None:
    assert load(**LEAST, mode="native", repo="corp/shop", start_within="5m").mode == "native"
