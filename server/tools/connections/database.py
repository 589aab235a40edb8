"""How to reach a client's own database."""

import ssl
from typing import Final, Literal

import msgspec

DatabaseKind = Literal["mysql_database", "postgres_database"]
# "verify": encrypted, and the certificate must be valid for `host`. "require": encrypted, whoever answers; that keeps
# listeners out, not somebody who poses as the server. "off": plain.
Tls = Literal["require", "verify", "off"]

DEFAULT_PORTS: Final[dict[DatabaseKind, int]] = {"mysql_database": 3306, "postgres_database": 5432}


class DatabaseConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One database and the user that reads it. The user should be allowed to read and nothing else.

    `port` None is the kind's own (`DEFAULT_PORTS`). `ca` are certificates in PEM to trust instead of the machine's;
    many managed databases are signed by an authority of their own.
    """

    host: str
    port: int | None = None
    database: str
    user: str
    password: str
    tls: Tls = "verify"
    ca: str | None = None

    def __post_init__(self) -> None:
        # msgspec makes a ValidationError of it.
        if self.ca is not None and self.tls != "verify":
            raise ValueError("ca is for tls = verify")
        if self.ca is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=self.ca)
            except (ssl.SSLError, ValueError, TypeError):
                raise ValueError("ca must be certificates in PEM, -----BEGIN CERTIFICATE----- and so on") from None

    def __repr__(self) -> str:
        """Without the password: a traceback or a debugger must not spread it."""
        return f"DatabaseConnection({self.user}@{self.host}:{self.port or 'default'}/{self.database}, tls={self.tls})"
