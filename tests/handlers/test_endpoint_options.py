"""The options of internal tooling in deploy.yml, and the remedies for wrong ones."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from handlers.contract import Handler
from handlers.endpoint import Endpoint, EndpointOptions
from tests.handlers.runs import a_context
from tests.handlers.tools import a_certificate
from webhook.config import environments
from webhook.config import load as config
from webhook.errors import ConfigErrors

URL = "https://deploy.acme.io/deploy"


def read(**options: Any) -> EndpointOptions:
    given = {"url": URL, **options}
    return EndpointOptions.model_validate(given, context={"environ": {}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": None}, "url\n.*valid string"),
        ({"url": "deploy.acme.io"}, "is not an address"),
        ({"method": "DELETE"}, "'POST', 'PUT', 'PATCH' or 'GET'"),
        ({"secret": ""}, "at least 1 character"),
        ({"secret": "x\n"}, "has a line break"),
        ({"headers": {"Host": "x"}}, "the relay writes the header 'Host' itself"),
        ({"headers": {"content-LENGTH": "1"}}, "writes the header 'content-LENGTH' itself"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "itself; leave it out"),
        ({"headers": {"Connection": "close"}}, "itself; leave it out"),
        ({"headers": {"x-hub-signature-256": "sha256="}}, "itself; leave it out"),
        ({"headers": {"Idempotency-Key": "{sha}"}}, "itself; leave it out"),
        ({"headers": {"X-Gitploy-Event": "x"}}, "itself; leave it out"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "the header 'x-a' is there twice"),
        ({"headers": {"X A": "1"}}, "'X A' is not the name of a header"),
        ({"headers": {"X:A": "1"}}, "'X:A' is not the name of a header"),
        ({"headers": {"": "1"}}, "'' is not the name of a header"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "a header is one line"),
        ({"headers": {"X-A": "\x00"}}, "a header is one line"),
        ({"headers": {"X-A": 7}}, "valid string"),
        ({"headers": {"X-A": "{branch}"}}, "unknown placeholder '{branch}'"),
        ({"body": "x"}, "must be keys or a list"),
        ({"body": {"a": [{"b": "{branch}"}]}}, "unknown placeholder '{branch}'"),
        ({"body": ["{"]}, "a lone '{'"),
        ({"body": [float("nan")]}, "a number that JSON does not know"),
        ({"method": "GET", "body": {}}, "`body`: a GET has none"),
        ({"method": "GET", "secret": "x"}, "`secret` signs a body, and a GET has none"),
        ({"secret": "x", "cancel": {"url": URL, "method": "DELETE"}}, "and a DELETE has none"),
        ({"cancel": {}}, "cancel.url\n.*Field required"),
        ({"cancel": {"url": "https://other.acme.io/"}}, "must be on the host of `url`"),
        ({"cancel": {"url": "http://deploy.acme.io/"}}, "must be on the host of `url`"),
        ({"cancel": {"url": URL, "method": "GET"}}, "'POST', 'PUT', 'PATCH' or 'DELETE'"),
        ({"ca": "ca.pem"}, "must be an absolute path"),
        ({"token": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_cannot_work_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        read(**options)


def test_valid_options_are_accepted(tmp_path: Path) -> None:
    assert read().method == "POST"
    assert read(cancel={"url": "https://deploy.acme.io:443/x"}).cancel
    assert read(headers={"Cookie": "a=b", "Content-Type": "application/cloudevents+json"}).headers
    files = a_certificate(tmp_path)
    assert read(ca=files.file, certificate=files.file, key=files.key).key


def test_files_that_do_not_fit_are_rejected(tmp_path: Path) -> None:
    one, other = a_certificate(tmp_path), a_certificate(tmp_path, "other.example")
    with pytest.raises(ValidationError, match="do not fit: KEY_VALUES_MISMATCH"):
        read(certificate=one.file, key=other.key)
    with pytest.raises(ValidationError, match="the key without a password"):
        read(certificate=one.file, key=one.locked_key)
    with pytest.raises(ValidationError, match="do not fit: NO_CERTIFICATE"):
        read(ca=one.key)
    with pytest.raises(ValidationError, match="`key` needs its `certificate`"):
        read(key=one.key)
    with pytest.raises(ValidationError, match="are for an https address"):
        read(url="http://deploy.acme.io", ca=one.file)


def test_secrets_are_not_shown() -> None:
    shown = repr(read(secret="hunter2", headers={"Authorization": "hunter2"}))
    assert "hunter2" not in shown


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    handler: Handler = Endpoint(read(), a_context(tmp_path))
    assert not handler.local
    assert not handler.appears_within
    assert read().permissions() == {}
    assert read().events() == ()


# -- in deploy.yml -----------------------------------------------------------------------------

FILE = """
envs:
  - name: production
    handler: endpoint
    with:
      url: https://deploy.acme.io/{}
      secret: "${{TOOL_SECRET}}"
      headers: {{X-Team: shop}}
      body: {{what: [1, true, null, "{{sha}}"]}}
"""


def load(text: str, **environ: str) -> environments.Config:
    given = {"TOOL_SECRET": "hunter2", **environ}
    options = {"endpoint": EndpointOptions}
    return config.load(text, source="deploy.yml", environ=given, handler_options=options)


def test_deploy_yml_is_read() -> None:
    [environment] = load(FILE.format("deploy/{environment}")).envs
    assert isinstance(environment.options, EndpointOptions)
    assert environment.options.secret == "hunter2"
    assert environment.options.body == {"what": [1, True, None, "{sha}"]}


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        (FILE.format("{branch}"), {}, "deploy.yml:6:12: envs[0].with.url: unknown placeholder"),
        (FILE.format("x"), {"TOOL_SECRET": "hunter2\n"}, "7:15: envs[0].with.secret: has a line"),
        (FILE.format("x").replace("X-Team", "Host"), {}, "8:16: envs[0].with.headers: the relay"),
        (FILE.format("x").replace("X-Team: shop", "X-Team: 7"), {}, "8:25: envs[0].with.headers"),
        (FILE.format("x").replace("{sha}", "{tag}"), {}, "9:13: envs[0].with.body: unknown placeh"),
        (FILE.format("x").replace("body", "boddy"), {}, "9:7: envs[0].with.boddy: is not a key"),
        (FILE.format("x") + "      method: GET\n", {}, "6:7: envs[0].with: `body`: a GET has none"),
        (
            FILE.format("x") + "      cancel: {uri: x}\n",
            {},
            "envs[0].with.cancel.uri: is not a key",
        ),
    ],
)
def test_errors_name_their_key(text: str, environ: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(text, **environ)
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_editors_show_what_each_key_means() -> None:
    schema = environments.json_schema({"endpoint": EndpointOptions})
    error = schema["$defs"]["EndpointOptions"]["properties"]
    assert [name for name, about in error.items() if not about.get("description")] == []
