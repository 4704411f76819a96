"""What notifiers read of a response, whoever sends it."""

import pytest

from webhook.notifiers.http import Response


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[1]", b"\xff", b"[" * 200_000])
def test_a_body_that_is_no_json_object_is_an_empty_document(body: bytes) -> None:
    assert Response(200, body).document() == {}
