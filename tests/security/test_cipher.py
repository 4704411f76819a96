"""What the store must not show is sealed, and a changed key opens it as long as it is there."""

import pytest

from webhook.errors import UserError
from webhook.security.cipher import Cipher, DecryptionError

OLD, NEW = "the old key, long enough", "the new key, long enough"
TOKEN = "xoxb-1000-2000-secret"


def test_what_is_sealed_shows_nothing_and_opens_again() -> None:
    sealed = Cipher([NEW]).seal(TOKEN)
    assert TOKEN.encode() not in sealed
    assert b"xoxb" not in sealed
    assert Cipher([NEW]).open(sealed) == TOKEN
    assert Cipher([NEW]).seal(TOKEN) != sealed


def test_an_old_key_opens_as_long_as_it_stands_behind_the_new_one() -> None:
    sealed = Cipher([OLD]).seal(TOKEN)
    assert Cipher([NEW, OLD]).open(sealed) == TOKEN
    with pytest.raises(DecryptionError):
        Cipher([NEW]).open(sealed)


def test_the_newest_key_seals() -> None:
    both = Cipher([NEW, OLD])
    for sealed in (both.seal(TOKEN), both.renew(Cipher([OLD]).seal(TOKEN))):
        assert Cipher([NEW]).open(sealed) == TOKEN
        with pytest.raises(DecryptionError):
            Cipher([OLD]).open(sealed)


@pytest.mark.parametrize("broken", [b"", b"xoxb-1000-2000-secret", b"gAAAAA"], ids=str)
def test_what_was_never_sealed_is_refused(broken: bytes) -> None:
    for act in (Cipher([NEW]).open, Cipher([NEW]).renew):
        with pytest.raises(DecryptionError):
            act(broken)


def test_what_was_changed_is_refused() -> None:
    sealed = bytearray(Cipher([NEW]).seal(TOKEN))
    sealed[40] ^= 1
    with pytest.raises(DecryptionError):
        Cipher([NEW]).open(bytes(sealed))


def test_the_refusal_says_what_to_do_and_nothing_secret() -> None:
    with pytest.raises(UserError) as refused:
        Cipher([NEW]).renew(Cipher([OLD]).seal(TOKEN))
    words = str(refused.value)
    for part in ("GITPLOY_SECRET_KEY", "in all processes", "behind", "slack install-link"):
        assert part in words
    assert OLD not in words
    assert TOKEN not in words


def test_a_vault_shows_no_key() -> None:
    assert OLD not in repr(Cipher([OLD])) + str(vars(Cipher([OLD])))
