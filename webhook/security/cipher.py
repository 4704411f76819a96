"""Seals what the store must not show: Slack's tokens.

Source: cryptography.io, "Fernet" (MultiFernet) and "HKDF". Each word of GITPLOY_SECRET_KEY makes a
Fernet key of its own, used for nothing else. Errors: `DecryptionError`.
"""

import base64
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from webhook.errors import UserError

# Another label makes other keys: changing it would lose all that is sealed.
_LABEL = b"gitploy-relay: slack tokens at rest"


class DecryptionError(UserError):
    """No key that is known here opens it."""

    def __init__(self) -> None:
        super().__init__(
            "A stored Slack token cannot be opened: GITPLOY_SECRET_KEY is not the one that it was"
            " sealed with. Set the same one in all processes; after a change set the old one behind"
            " the new one, comma-separated (where it was never set, it is in"
            " GITPLOY_DATA_DIR/secret_key). Or install the Slack app again:"
            " python -m webhook slack install-link"
        )


class Cipher:
    """Seals with the first of the keys, opens with all of them."""

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([_fernet(key) for key in secret_keys])

    def seal(self, text: str) -> bytes:
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise DecryptionError from None

    def renew(self, sealed: bytes) -> bytes:
        """The same, sealed with the first of the keys."""
        try:
            return self._fernet.rotate(sealed)
        except InvalidToken:
            raise DecryptionError from None


def _fernet(secret_key: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_LABEL)
    return Fernet(base64.urlsafe_b64encode(derived.derive(secret_key.encode())))
