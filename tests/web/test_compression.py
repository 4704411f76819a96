"""Pages are compressed for browsers that take it, and say nothing of their session by that."""

import gzip

from flask.testing import FlaskClient

from tests.web.viewing import Rows, app, page_url
from webhook.github.authorization import Person
from webhook.timing import utc_now
from webhook.web.auth.sessions import Session, Sessions


def test_a_page_is_compressed_for_who_takes_it(store_url: str) -> None:
    Rows(store_url).deployment()
    with app(store_url) as created:
        browser: FlaskClient = created.test_client()
        plain = browser.get(page_url())
        packed = browser.get(page_url(), headers={"Accept-Encoding": "br, gzip"})
        refused = browser.get(page_url(), headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in plain.headers
    assert "Content-Encoding" not in refused.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert len(packed.data) * 2 < len(plain.data)
    assert "acme/web" in gzip.decompress(packed.data).decode()


def test_files_are_compressed_and_still_revalidated(store_url: str) -> None:
    with app(store_url) as created:
        browser: FlaskClient = created.test_client()
        address, packing = "/deployments/-/static/components.css", {"Accept-Encoding": "gzip"}
        plain = browser.get(address)
        packed = browser.get(address, headers=packing)
        again = browser.get(address, headers={**packing, "If-None-Match": packed.headers["ETag"]})
        part = browser.get(address, headers={**packing, "Range": "bytes=0-9"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Length"] == str(len(packed.data))
    assert gzip.decompress(packed.data) == plain.data
    assert again.status_code == 304
    assert part.data == plain.data[:10]


def test_a_forms_token_is_written_differently_each_time() -> None:
    sessions = Sessions(None, "https://relay.example.com", ["0123456789abcdef"], utc_now)  # type: ignore[arg-type]
    mona = Session("one", Person(1, "mona"), utc_now(), utc_now())
    other = Session("two", Person(1, "mona"), utc_now(), utc_now())
    first, second = sessions.form_token(mona), sessions.form_token(mona)
    assert first[:20] != second[:20]
    assert sessions.is_form_token(mona, first)
    assert sessions.is_form_token(mona, second)
    assert not sessions.is_form_token(other, first)
    for odd in ("", "x", "=", first[:-4], first.upper(), "\ud800", "ä"):
        assert not sessions.is_form_token(mona, odd)
