"""What many tests of the pages begin with; a module may have its own of the same name."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from tests.web.viewing import Rows, app


@pytest.fixture
def rows(store_url: str) -> Rows:
    return Rows(store_url)


@pytest.fixture
def browser(store_url: str) -> Iterator[FlaskClient]:
    with app(store_url) as created:
        yield created.test_client()
