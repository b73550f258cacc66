"""Who may read the HTTP port: TLS and basic authentication."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Certificate chain and key, as PEM files."""

    certificate_file: str
    key_file: str

    def check(self) -> None:
        """Raises ValueError that names the file if they can't be read or don't belong together."""
        for path in (self.certificate_file, self.key_file):
            try:
                Path(path).read_bytes()
            except OSError as error:
                raise ValueError(
                    f"TLS: expected a PEM file at {path}, but it can't be read: {error.strerror}"
                ) from error
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate_file, self.key_file, password=_refuse_password)
        except (ssl.SSLError, ValueError) as error:
            raise ValueError(
                f"TLS: expected a certificate and its unencrypted key, as PEM, in {self.certificate_file} "
                f"and {self.key_file}, but: {error}"
            ) from error


def _refuse_password() -> str:
    """Called for an encrypted key; without it OpenSSL would ask at the terminal and wait."""
    raise ValueError("the key is encrypted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """User and password of basic authentication (RFC 7617)."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, password=…)"

    def match(self, authorization: str | None) -> bool:
        """Whether an Authorization header has them. The time taken doesn't tell how much of them is right."""
        scheme, _, encoded = (authorization or "").partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            given = b""
        expected = f"{self.username}:{self.password}".encode()
        # Digests have one length, whatever was sent.
        same = hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())
        return scheme.lower() == "basic" and same
