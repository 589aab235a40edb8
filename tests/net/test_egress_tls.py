"""The one way out over TLS: the name is proven while the address is pinned."""

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server.errors import EgressError
from server.net.egress import Egress
from tests.net.weather import (
    LOOPBACK,
    PATIENCE_S,
    Handler,
    Server,
    answering,
    local,
    ok,
    repeating,
    serving,
    silent,
)


def certificate(directory: Path, name: str, *, days: int = 1, issuer: str | None = None) -> ssl.SSLContext:
    """A server's context with a certificate for `name`: by the authority `issuer`, or self-signed and an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(tz=datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signer_name = key, subject
    if issuer is not None:
        pem = (directory / f"{issuer}.pem").read_bytes()
        loaded = serialization.load_pem_private_key(pem, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer, signer_name = loaded, x509.load_pem_x509_certificate(pem).subject
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / f"{name}.pem"
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_tls_is_to_the_name_and_goes_to_the_address(tmp_path: Path) -> None:
    """The certificate is checked for the name, which the server is told in SNI and in Host, while DNS is asked once."""
    certificate(tmp_path, "authority")
    server_tls = certificate(tmp_path, "hooks.test", issuer="authority")
    asked: list[str] = []
    told: list[str | None] = []

    def sni(_connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        told.append(name)

    async def counted(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    server_tls.sni_callback = sni
    trust = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    egress = Egress(LOOPBACK, lookup=counted, tls=trust)
    async with serving(repeating(ok()), tls=server_tls) as server:
        for _ in range(2):
            url = server.url(scheme="https", host="hooks.test")
            assert (await egress.request("POST", url, body=b"{}", timeout_s=PATIENCE_S)).body == b"ok"
        await egress.close()
    assert (asked, told, server.connections) == (["hooks.test"], ["hooks.test"], 1)
    assert f"\r\nHost: hooks.test:{server.port}\r\n".encode() in server.requests[0]


@pytest.mark.parametrize(
    ("name", "days", "issuer", "says"),
    [
        ("hooks.test", 1, None, "self-signed"),
        ("hooks.test", -1, "authority", "expired"),
        ("other.test", 1, "authority", "Hostname mismatch"),
    ],
)
async def test_a_certificate_that_is_wrong(tmp_path: Path, name: str, days: int, issuer: str | None, says: str) -> None:
    """Self-signed, expired, or of another name: nothing is sent, and the owner reads what is wrong."""
    certificate(tmp_path, "authority")
    server_tls = certificate(tmp_path, name, days=days, issuer=issuer)
    egress = Egress(LOOPBACK, lookup=local, tls=ssl.create_default_context(cafile=str(tmp_path / "authority.pem")))
    async with serving(repeating(ok()), tls=server_tls) as server:
        with pytest.raises(EgressError, match=says) as caught:
            await egress.request(
                "POST", server.url(scheme="https", host="hooks.test"), body=b"{}", timeout_s=PATIENCE_S
            )
        await egress.close()
    assert (caught.value.kind, caught.value.sent, server.requests) == ("tls", False, [])


async def test_the_machine_s_authorities_are_the_default(tmp_path: Path, egress: Egress) -> None:
    """Without a list of its own, an authority that nobody knows is refused."""
    async with serving(repeating(ok()), tls=certificate(tmp_path, "hooks.test")) as server:
        with pytest.raises(EgressError) as caught:
            await egress.request("GET", server.url(scheme="https", host="hooks.test"), timeout_s=PATIENCE_S)
    assert (caught.value.kind, caught.value.sent, server.requests) == ("tls", False, [])


async def test_https_to_a_plain_port(egress: Egress) -> None:
    """The other side answers with HTTP; the owner is told to look at the port."""
    async with serving(answering(ok(), ok())) as server:

        def make(_server: Server) -> Handler:
            async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await writer.drain()

            return handle

        async with serving(make) as plain:
            with pytest.raises(EgressError, match="TLS") as caught:
                await egress.request("POST", plain.url(scheme="https"), body=b"{}", timeout_s=PATIENCE_S)
    assert (caught.value.kind, caught.value.sent, server.requests) == ("tls", False, [])


async def test_a_handshake_that_never_ends(egress: Egress) -> None:
    """TCP stands, TLS does not: nothing was sent."""
    async with serving(silent) as server:
        with pytest.raises(EgressError) as caught:
            await egress.request("POST", server.url(scheme="https"), body=b"{}", timeout_s=0.2)
    assert (caught.value.kind, caught.value.sent) == ("timeout", False)
