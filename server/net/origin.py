"""Origins of web pages, in the one form in which browsers send them. Pure."""

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?")


def normal_origin(text: str) -> str | None:
    """`https://Shop.example:443/x` as a browser sends it, `https://shop.example`; None when it is not an origin."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or parts.username is not None:
        return None
    host = normal_host(parts.hostname or "")
    if host is None:
        return None
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in {None, usual} else "")


def normal_host(host: str) -> str | None:
    """A host as browsers write it: lower case, an international name as Punycode, an IPv6 address in brackets."""
    if ":" in host:
        try:
            return f"[{IPv6Address(host)}]"
        except ValueError:
            return None
    try:
        ascii_host = host.encode("idna").decode()
    except UnicodeError:
        return None
    return ascii_host if _HOST.fullmatch(ascii_host) else None
