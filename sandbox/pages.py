"""Pages of a stand-in, for people: Jinja templates, a style sheet and a script, all of its own."""

import hashlib
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined

ASSETS = "/-/assets"
SHARED = Path(__file__).with_name("assets")
# What the pages may do in a browser: nothing inline, and nothing from elsewhere.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'"
)
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Pages:
    """`folder` has the templates and the assets; all stand-ins share the script that keeps a page
    fresh. What a page shows is escaped."""

    def __init__(
        self, folder: Path, *, undefined: type[Undefined] = StrictUndefined, **globals_: Any
    ) -> None:
        self._folder = folder
        self.environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=undefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.globals |= {"assets": ASSETS, **globals_}

    def routes(self) -> list[web.RouteDef]:
        return [web.get(ASSETS + "/{name:[a-z]+\\.(?:css|js|svg)}", self._asset)]

    def respond(
        self, request: web.Request, template: str, *, status: int = 200, **values: Any
    ) -> web.Response:
        """With an ETag, so that a page that asks again and again costs little."""
        text = self.environment.get_template(template).render(**values)
        etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        if status == 200 and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        return web.Response(text=text, content_type="text/html", status=status, headers=headers)

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        path = next((f / name for f in (self._folder, SHARED) if (f / name).is_file()), None)
        if path is None:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        text = path.read_text(encoding="utf-8")
        return web.Response(text=text, content_type=TYPES[path.suffix], headers=headers)
