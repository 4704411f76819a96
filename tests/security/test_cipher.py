"""Tokens are encrypted in the store, and old keys decrypt them as long as they are set."""

import pytest

from webhook.errors import UserError
from webhook.security.cipher import Cipher, DecryptionError

OLD, NEW = "the old key, long enough", "the new key, long enough"
TOKEN = "xoxb-1000-2000-secret"


def test_an_encrypted_token_is_unreadable_and_can_be_decrypted() -> None:
    encrypted = Cipher([NEW]).encrypt(TOKEN)
    assert TOKEN.encode() not in encrypted
    assert b"xoxb" not in encrypted
    assert Cipher([NEW]).decrypt(encrypted) == TOKEN
    assert Cipher([NEW]).encrypt(TOKEN) != encrypted


def test_an_old_key_decrypts_as_long_as_it_follows_the_new_one() -> None:
    encrypted = Cipher([OLD]).encrypt(TOKEN)
    assert Cipher([NEW, OLD]).decrypt(encrypted) == TOKEN
    with pytest.raises(DecryptionError):
        Cipher([NEW]).decrypt(encrypted)


def test_the_newest_key_encrypts() -> None:
    both = Cipher([NEW, OLD])
    for encrypted in (both.encrypt(TOKEN), both.rotate(Cipher([OLD]).encrypt(TOKEN))):
        assert Cipher([NEW]).decrypt(encrypted) == TOKEN
        with pytest.raises(DecryptionError):
            Cipher([OLD]).decrypt(encrypted)


@pytest.mark.parametrize("broken", [b"", b"xoxb-1000-2000-secret", b"gAAAAA"], ids=str)
def test_what_was_never_encrypted_is_an_error(broken: bytes) -> None:
    for act in (Cipher([NEW]).decrypt, Cipher([NEW]).rotate):
        with pytest.raises(DecryptionError):
            act(broken)


def test_a_changed_token_is_an_error() -> None:
    encrypted = bytearray(Cipher([NEW]).encrypt(TOKEN))
    encrypted[40] ^= 1
    with pytest.raises(DecryptionError):
        Cipher([NEW]).decrypt(bytes(encrypted))


def test_the_error_has_a_remedy_and_shows_no_secret() -> None:
    with pytest.raises(UserError) as caught:
        Cipher([NEW]).rotate(Cipher([OLD]).encrypt(TOKEN))
    message = str(caught.value)
    for part in (
        "GITPLOY_SECRET_KEY",
        "in all processes",
        "after the new one",
        "slack install-link",
    ):
        assert part in message
    assert OLD not in message
    assert TOKEN not in message


def test_a_cipher_shows_no_key() -> None:
    assert OLD not in repr(Cipher([OLD])) + str(vars(Cipher([OLD])))
