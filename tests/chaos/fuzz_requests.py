"""Requests of all kinds to all endpoints of a relay, from a seed: what GitHub, Slack, tools and
browsers send, and the same broken in every place."""

import json
import random
import string
import uuid
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from sandbox.github.webhooks import delivery_headers
from sandbox.slack.delivery import signature_headers

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
METHODS = ["GET", "GET", "GET", "POST", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"]
EVENTS = [
    *("check_run", "check_suite", "deployment", "deployment_protection_rule"),
    *("deployment_status", "installation", "installation_repositories", "ping", "pull_request"),
    *("push", "status", "workflow_job", "workflow_run", "star", "x" * 100, "\u00e9"),
]
# Where a value could become code, an address, a header, or a line of a log.
HOSTILE: Sequence[Any] = (
    *(None, True, False, 0, -1, 1.5, 1e308, 2**53 + 1, 2**63, 2**64, -(2**70), [], {}, "", " "),
    *("\x00", "a\x00b", "\ud800", "\u202e", "\x1b[2J\x1b]0;x\x07", "\r\nX-Injected: 1\r\n\r\n"),
    *("{{7*7}}", "${7*7}", "{0.__class__}", "%(x)s", "%s%n", "#{7*7}", "<%= 7*7 %>"),
    *("<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "javascript:alert(1)"),
    *("';drop table deliveries;--", "\\", "../../../../etc/passwd", "$(id)", "`id`", "; id"),
    *("http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data", "//evil.example", "@evil"),
    *("<!channel>", "<@U1>", "*bold*", "x" * 70_000, "\U0001f600" * 500, ["x"] * 1000),
    *({"a": {"b": {"c": [1, {"d": None}]}}}, "2026-13-45T99:99:99Z", "0001-01-01T00:00:00Z"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """`raw`: its bytes as they are; else it is written from the rest."""

    kind: str
    method: str = "GET"
    target: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes = b""

    def encoded(self) -> bytes:
        if self.raw:
            return self.raw
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: relay.example"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join(lines).encode("latin-1", "replace")
        return head + b"\r\n\r\n" + self.body


@dataclass(frozen=True, slots=True)
class Known:
    """What whoever holds it can make good requests with. `samples`: bodies of real deliveries.
    `page`: the path of a page with its key. `token`: with which tools report."""

    webhook_secret: str = field(repr=False)
    slack_secret: str = field(repr=False)
    samples: Sequence[tuple[str, Any]]
    page: str = field(repr=False)
    statuses: str
    token: str = field(repr=False)


class Fuzzer:
    def __init__(self, seed: int, known: Known) -> None:
        self._random = random.Random(seed)
        self._known = known
        self._kinds: Sequence[Callable[[], Request]] = (
            *(self._delivery, self._delivery, self._delivery, self._broken_delivery),
            *(self._unsigned, self._report, self._report, self._slack, self._slack),
            *(self._page, self._page, self._any_path, self._any_path, self._raw),
        )

    def next(self) -> Request:
        return self._random.choice(self._kinds)()

    def _delivery(self) -> Request:
        """Signed; its document is GitHub's, changed in a few places."""
        event, sample = self._random.choice(self._known.samples)
        document = self._mutated(sample, self._random.choice([0, 1, 1, 2, 5]))
        if self._random.random() < 0.2:
            event = self._random.choice(EVENTS)
        return self._signed("delivery", event, _dumped(document))

    def _broken_delivery(self) -> Request:
        """Signed; its body is no JSON, or none of GitHub's."""
        _, sample = self._random.choice(self._known.samples)
        body = _dumped(sample)
        broken = self._random.choice(
            [
                body[: self._random.randrange(len(body))],
                body.replace(b'"', b"'", 3),
                b"[" * self._random.choice([10, 100_000]),
                b'{"a":' * self._random.choice([10, 50_000]) + b"1",
                b"\xff\xfe" + body,
                self._random.randbytes(self._random.choice([0, 1, 200])),
                _dumped(self._random.choice(HOSTILE)),
                b"{" + b" " * 1000 + b"}",
            ]
        )
        return self._signed("broken delivery", self._random.choice(EVENTS), broken)

    def _signed(self, kind: str, event: str, body: bytes) -> Request:
        guid = str(uuid.UUID(int=self._random.getrandbits(128)))
        headers = delivery_headers(event, body, self._known.webhook_secret, guid=guid)
        return Request(kind, "POST", "/webhook", self._changed(headers), body)

    def _changed(self, headers: dict[str, str]) -> dict[str, str]:
        if self._random.random() < 0.15:
            headers[self._random.choice([*headers])] = self._text()
        if self._random.random() < 0.05:
            headers.pop(self._random.choice([*headers]))
        return headers

    def _unsigned(self) -> Request:
        _, sample = self._random.choice(self._known.samples)
        body = _dumped(sample)
        signature = self._random.choice(["sha256=" + "0" * 64, "sha1=x", "", self._text()])
        headers = delivery_headers(self._random.choice(EVENTS), body, "another secret altogether")
        headers["X-Hub-Signature-256"] = signature
        return Request("unsigned", "POST", "/webhook", headers, body)

    def _report(self) -> Request:
        """A tool's, with a good token or not."""
        state = self._random.choice(["in_progress", "pending", "queued", "nonsense"])
        document: Any = {"state": state, "description": "x", "log_url": "https://ci.example/1"}
        document |= {"environment_url": "https://x.example", "auto_inactive": True}
        # It goes on: what ends the deployment also ends the token.
        changed = self._mutated(document, self._random.choice([1, 1, 2, 3]))
        if isinstance(changed, dict) and changed.get("state") in ("success", "failure", "error"):
            changed["state"] = "in_progress"
        token = self._known.token if self._random.random() < 0.8 else self._text()
        headers = {"Authorization": f"token {token}", "Content-Type": JSON}
        path = self._known.statuses
        if self._random.random() < 0.3:
            path = self._path(["repos", "acme", "site", "deployments", "1", "statuses"])
        method = self._random.choice(["POST", "POST", "POST", "GET", "DELETE"])
        return Request("report", method, path, self._changed(headers), _dumped(changed))

    def _slack(self) -> Request:
        kind = self._random.choice(["interactions", "commands", "events"])
        document: Any = {
            "type": self._random.choice(["block_actions", "view_submission", "url_verification"]),
            "user": {"id": "U1", "team_id": "T1", "username": "octocat"},
            "team": {"id": "T1"},
            "channel": {"id": "C1"},
            "message": {"ts": "1.2", "text": "x"},
            "actions": [{"action_id": "cancel", "value": "1", "action_ts": "1.2"}],
            "response_url": "https://hooks.slack.com/x",
            "trigger_id": "1.2.3",
            "view": {"callback_id": "deploy", "state": {"values": {}}, "private_metadata": "{}"},
            "event": {"type": "tokens_revoked", "tokens": {"bot": ["U1"]}},
        }
        document = self._mutated(document, self._random.choice([0, 1, 2, 4]))
        if kind == "events":
            body, content = _dumped(document), JSON
        elif kind == "interactions":
            body, content = _form({"payload": _dumped(document).decode()}), FORM
        else:
            text = self._random.choice(["deploy acme/site production main", "lock", self._text()])
            fields = {"command": "/deploy", "text": text, "user_id": "U1", "team_id": "T1"}
            fields |= {"channel_id": "C1", "trigger_id": "1.2.3", "response_url": self._text()}
            body, content = _form(fields), FORM
        good = self._random.random() < 0.8
        secret = self._known.slack_secret if good else "another"
        headers = {"Content-Type": content, **signature_headers(secret, body)}
        return Request("slack", "POST", f"/slack/{kind}", self._changed(headers), body)

    def _page(self) -> Request:
        target = self._known.page
        if self._random.random() < 0.3:
            target = target.replace("?", "/events?") if self._random.random() < 0.1 else target
        if self._random.random() < 0.5:
            at = self._random.randrange(1, len(target))
            target = target[:at] + quote(self._text()[:200], errors="replace") + target[at:]
        headers = {"Last-Event-ID": self._text()} if self._random.random() < 0.2 else {}
        # A stream would go on: HEAD ends at once.
        method = "HEAD" if "events" in target else self._random.choice(["GET", "HEAD"])
        return Request("page", method, target, headers)

    def _any_path(self) -> Request:
        known = ["healthz", "readyz", "workz", "slack", "install", "signin", "deployments", "-"]
        parts = self._random.choices([*known, "static", "page.css", "api", "v3", "..", ""], k=4)
        fields = {"key": self._text(), "verbose": "", "state": self._text()[:500]}
        query = urlencode(fields, errors="replace")
        target = f"{self._path(parts)}?{query}"[:4000]
        headers = {"Cookie": self._text()[:500], "Accept": self._text()[:100]}
        method = self._random.choice(METHODS)
        body = _dumped(self._random.choice(HOSTILE)) if method == "POST" else b""
        return Request("any path", method, target, headers, body)

    def _path(self, parts: Sequence[str]) -> str:
        shown = [
            quote(self._text()[:60], errors="replace") if self._random.random() < 0.2 else part
            for part in parts[: self._random.randint(1, len(parts))]
        ]
        return "/" + "/".join(shown)

    def _raw(self) -> Request:
        """No HTTP, or a head that can be read in two ways."""
        raw = self._random.choice(
            [
                self._random.randbytes(self._random.choice([1, 50, 5000])) + b"\r\n\r\n",
                b"GET / HTTP/9.9\r\n\r\n",
                b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
                b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(300)) + b"\r\n",
                b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6"
                b"\r\n\r\nabcdef",
                b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                b"Content-Length: 3\r\n\r\n0\r\n\r\n",
                b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
                b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ]
        )
        return Request("raw", raw=raw)

    def _text(self) -> str:
        if self._random.random() < 0.3:
            printable = self._random.choices(string.printable[:-5], k=self._random.randint(0, 60))
            return "".join(printable)
        chosen = str(self._random.choice(HOSTILE))[:2000]
        # A header's own line ends belong to `_raw`: here they would be another request.
        return chosen.replace("\r", "").replace("\n", "").replace("\x00", "")

    def _mutated(self, document: Any, changes: int) -> Any:
        copied = json.loads(_dumped(document))
        for _ in range(changes):
            self._change(copied)
        return copied

    def _change(self, document: Any) -> None:
        """One place, chosen on the way down."""
        while True:
            keys: list[Any] = [*document] if isinstance(document, dict) else [*range(len(document))]
            if not keys:
                return
            key = self._random.choice(keys)
            deeper = document[key]
            if isinstance(deeper, dict | list) and deeper and self._random.random() < 0.8:
                document = deeper
                continue
            if self._random.random() < 0.2:
                del document[key]
            else:
                document[key] = deepcopy(self._random.choice(HOSTILE))
            return


def _dumped(document: Any) -> bytes:
    text = json.dumps(document, ensure_ascii=True)
    return text.encode()


def _form(fields: Mapping[str, str]) -> bytes:
    return urlencode(fields, errors="replace").encode()
