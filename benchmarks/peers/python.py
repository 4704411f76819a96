"""The peers in Python: `python -m benchmarks.peers.python NAME`, with PORT and WEB_CONCURRENCY.

flask              Flask under granian, stores nothing: what the framework costs
flask-commit-each  the same, with one INSERT and COMMIT for each delivery
flask-githubapp    that extension of Flask under granian, stores nothing
gidgethub          aiohttp with gidgethub's own verification and parsing, stores nothing
"""

import hashlib
import hmac
import os
import sys
import threading
from multiprocessing import Process

import psycopg
from aiohttp import web
from flask import Flask, Response, jsonify, request
from gidgethub import sansio
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

SECRET = os.environ.get("SECRET", "")
FACTORIES = {
    "flask": "flask",
    "flask-commit-each": "flask_commit_each",
    "flask-githubapp": "flask_githubapp",
}


def flask() -> Flask:
    app = Flask(__name__)

    @app.post("/webhook")
    def webhook() -> tuple[Response, int]:
        _verify(request.get_data(cache=False))
        return jsonify(status="accepted"), 202

    return app


def flask_commit_each() -> Flask:
    app = Flask(__name__)
    local = threading.local()

    @app.post("/webhook")
    def webhook() -> tuple[Response, int]:
        body = request.get_data(cache=False)
        _verify(body)
        if not hasattr(local, "connection"):
            local.connection = psycopg.connect(os.environ["STORE"], autocommit=True)
        local.connection.execute(
            "insert into each_delivery (guid, event, body) values (%s, %s, %b)",
            [request.headers["X-GitHub-Delivery"], request.headers["X-GitHub-Event"], body],
        )
        return jsonify(status="accepted"), 202

    return app


def _verify(body: bytes) -> None:
    expected = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(expected, request.headers["X-Hub-Signature-256"])


def flask_githubapp() -> Flask:
    from flask_githubapp import GitHubApp

    app = Flask(__name__)
    app.config |= {
        "GITHUBAPP_ID": 1,
        "GITHUBAPP_KEY": "",
        "GITHUBAPP_SECRET": SECRET,
        "GITHUBAPP_ROUTE": "/webhook",
    }
    GitHubApp(app).on("deployment.created")(lambda: None)
    return app


def gidgethub(port: int) -> None:
    async def webhook(request: web.Request) -> web.Response:
        sansio.Event.from_http(request.headers, await request.read(), secret=SECRET)
        return web.json_response({"status": "accepted"}, status=202)

    app = web.Application()
    app.router.add_post("/webhook", webhook)
    web.run_app(app, host="127.0.0.1", port=port, reuse_port=True, print=None, access_log=None)


def main(name: str) -> None:
    port, processes = int(os.environ["PORT"]), int(os.environ["WEB_CONCURRENCY"])
    if name == "gidgethub":
        for _ in range(processes - 1):
            Process(target=gidgethub, args=[port], daemon=True).start()
        gidgethub(port)
        return
    Granian(
        f"benchmarks.peers.python:{FACTORIES[name]}",
        factory=True,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        port=port,
        workers=processes,
        blocking_threads=int(os.environ.get("THREADS", "1")),
        websockets=False,
        log_level=LogLevels.error,
    ).serve()


if __name__ == "__main__":
    main(sys.argv[1])
