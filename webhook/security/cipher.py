"""Encrypts Slack's tokens for the store.

Source: cryptography.io, "Fernet" (MultiFernet) and "HKDF". Each key in GITPLOY_SECRET_KEY gives a
Fernet key of its own, used for nothing else. Errors: `DecryptionError`.
"""

import base64
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from webhook.errors import UserError
from webhook.invocation import COMMAND

# Another label gives other keys: changing it would lose all encrypted tokens.
_LABEL = b"gitploy-relay: slack tokens at rest"


class DecryptionError(UserError):
    """No known key decrypts it."""

    def __init__(self) -> None:
        super().__init__(
            "A stored Slack token cannot be decrypted: GITPLOY_SECRET_KEY is not the one that"
            " encrypted it. Set the same one in all processes; after a change set the old one after"
            " the new one, comma-separated (where it was never set, it is in"
            " GITPLOY_DATA_DIR/secret_key). Or install the Slack app again:"
            f" {COMMAND} slack install-link"
        )


class Cipher:
    """Encrypts with the first key, decrypts with all of them."""

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([_fernet(key) for key in secret_keys])

    def encrypt(self, text: str) -> bytes:
        return self._fernet.encrypt(text.encode())

    def decrypt(self, token: bytes) -> str:
        try:
            return self._fernet.decrypt(token).decode()
        except InvalidToken:
            raise DecryptionError from None

    def rotate(self, token: bytes) -> bytes:
        """The same, encrypted with the first key."""
        try:
            return self._fernet.rotate(token)
        except InvalidToken:
            raise DecryptionError from None


def _fernet(secret_key: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_LABEL)
    return Fernet(base64.urlsafe_b64encode(derived.derive(secret_key.encode())))
