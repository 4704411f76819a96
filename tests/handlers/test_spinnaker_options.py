"""Options of Spinnaker in deploy.yml: what is accepted, what is rejected and with which message."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from handlers.spinnaker.options import SpinnakerOptions
from tests.handlers.tools import a_certificate
from webhook.config.load import load
from webhook.errors import ConfigErrors

URL = "https://gate.example"
BY_WEBHOOK = {"url": URL, "source": "github-deployment"}
BY_NAME = {"url": URL, "application": "shop", "pipeline": "Deploy"}


def loaded(**options: Any) -> SpinnakerOptions:
    env = {"name": "production", "handler": "spinnaker", "with": options}
    config = load(
        yaml.safe_dump({"envs": [env]}),
        source="deploy.yml",
        environ={},
        handler_options={"spinnaker": SpinnakerOptions},
    )
    options_ = config.envs[0].options
    assert isinstance(options_, SpinnakerOptions)
    return options_


def rejected(**options: Any) -> str:
    with pytest.raises(ConfigErrors) as caught:
        loaded(**options)
    [error] = str(caught.value).splitlines()
    return error


@pytest.mark.parametrize(
    "options",
    [
        BY_WEBHOOK,
        BY_NAME,
        BY_WEBHOOK | {"application": "shop", "start_within": "5m"},
        BY_WEBHOOK | {"username": "relay", "password": "secret", "deck": "https://deck.example/a"},
        BY_NAME | {"token": "secret", "parameters": {"size": "{payload.size}"}},
        BY_NAME | {"pipeline": "Deploy: all (prod) + Läufe"},
    ],
)
def test_what_is_enough(options: dict[str, Any]) -> None:
    assert loaded(**options).url == URL


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "x"}, "url: is missing"),
        ({"url": URL}, "give either 'source' or 'application' and 'pipeline'"),
        (BY_WEBHOOK | {"pipeline": "x"}, "give either 'source' or 'application' and 'pipeline'"),
        ({"url": URL, "pipeline": "x"}, "'pipeline' needs its 'application'"),
        (BY_NAME | {"start_within": "1m"}, "'start_within' is for 'source' only; remove it"),
        (BY_WEBHOOK | {"start_within": "2h"}, "start_within: out of bounds; write 1s to 1h"),
        (BY_WEBHOOK | {"start_within": "soon"}, "'soon' is not a duration"),
        (BY_WEBHOOK | {"username": "relay"}, "'username' and 'password' go together"),
        (BY_WEBHOOK | {"password": "x"}, "'username' and 'password' go together"),
        (BY_WEBHOOK | {"username": "a:b", "password": "x"}, "cannot contain ':'"),
        (BY_WEBHOOK | {"certificate": __file__}, "'certificate' and 'key' go together"),
        (
            BY_WEBHOOK | {"token": "x", "username": "a", "password": "b"},
            "give only one of 'username' with 'password', 'token', 'certificate' with 'key'",
        ),
        (BY_WEBHOOK | {"ca": "/not/there.pem"}, "there is no file '/not/there.pem'"),
        (BY_WEBHOOK | {"ca": __file__}, f"{__file__} cannot be used: "),
        (
            BY_WEBHOOK | {"url": "http://gate.example", "ca": __file__},
            "'ca' needs a 'url' that begins with https://",
        ),
        (BY_WEBHOOK | {"source": "a/b"}, "'a/b' cannot be part of an address"),
        (BY_NAME | {"pipeline": "100%"}, "or give a pipeline by its ID"),
        (BY_NAME | {"pipeline": ".."}, "'..' cannot be part of an address"),
        (BY_NAME | {"application": ""}, "application: must not be empty"),
        (BY_NAME | {"parameters": {"ref": "x"}}, "'ref' is set by the relay; use another name"),
        (BY_NAME | {"parameters": {"a": "{branch}"}}, "unknown placeholder '{branch}'"),
        (
            BY_NAME | {"parameters": {"a": "$${{a}}"}},
            "'${{a}}' contains '${', which Spinnaker would evaluate",
        ),
        (BY_NAME | {"pipelines": "x"}, "did you mean 'pipeline'?"),
    ],
)
def test_what_is_wrong_is_reported_with_its_remedy(options: dict[str, Any], message: str) -> None:
    assert message in rejected(**options)


def test_files_of_a_certificate_must_fit(tmp_path: Path) -> None:
    one, other = a_certificate(tmp_path), a_certificate(tmp_path, "other.example")
    fitting = {"ca": one.file, "certificate": one.file, "key": one.key}
    assert loaded(**BY_WEBHOOK, **fitting).tls()
    message = rejected(**BY_WEBHOOK, **fitting | {"key": other.key})
    assert f"{one.file} and {other.key} and {one.file} cannot be used: " in message
    message = rejected(**BY_WEBHOOK, **fitting | {"key": one.locked_key})
    assert f"'{one.locked_key}' is protected by a password; the relay has none" in message


def test_secrets_do_not_show(tmp_path: Path) -> None:
    options = loaded(**BY_WEBHOOK, username="relay", password="pa55")
    assert "pa55" not in repr(options)
    assert "t0ken" not in repr(loaded(**BY_WEBHOOK, token="t0ken"))
