"""Receivers to compare with: each verifies the SHA-256 signature and responds with 202.

flask       Flask under granian, stores nothing: what the framework costs
gidgethub   aiohttp with gidgethub's own verification and parsing, stores nothing
each        Flask under granian, one INSERT and COMMIT for each delivery
"""

import hashlib
import hmac
import os
import sys
import threading

import psycopg
from aiohttp import web
from flask import Flask, Response, jsonify, request
from gidgethub import sansio
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from benchmarks.load import SECRET


def flask() -> Flask:
    app = Flask(__name__)

    @app.post("/webhook")
    def webhook() -> tuple[Response, int]:
        _verify(request.get_data(cache=False))
        return jsonify(status="accepted"), 202

    return app


def each() -> Flask:
    app = Flask(__name__)
    local = threading.local()

    @app.post("/webhook")
    def webhook() -> tuple[Response, int]:
        body = request.get_data(cache=False)
        _verify(body)
        if not hasattr(local, "connection"):
            url = os.environ["GITPLOY_STORE_SOURCE"]
            local.connection = psycopg.connect(url, autocommit=True)
        local.connection.execute(
            "insert into deliveries (hook_id, guid, event, body) values (1, %s, 'star', %b)",
            [request.headers["X-GitHub-Delivery"], body],
        )
        return jsonify(status="accepted"), 202

    return app


def _verify(body: bytes) -> None:
    expected = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(expected, request.headers["X-Hub-Signature-256"])


def gidgethub(port: int) -> None:
    async def webhook(request: web.Request) -> web.Response:
        sansio.Event.from_http(request.headers, await request.read(), secret=SECRET)
        return web.json_response({"status": "accepted"}, status=202)

    app = web.Application()
    app.router.add_post("/webhook", webhook)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


def main(name: str, port: int) -> None:
    if name == "gidgethub":
        gidgethub(port)
        return
    Granian(
        f"benchmarks.peers:{name}",
        factory=True,
        interface=Interfaces.WSGI,
        port=port,
        workers=int(os.environ["WEB_CONCURRENCY"]),
        blocking_threads=int(os.environ.get("THREADS", "4")),
        log_level=LogLevels.error,
    ).serve()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
