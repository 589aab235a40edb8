"""Where the console is. Its API and its socket answer pages of this one origin, compared whole: scheme, host, port.

The origin is FRONTDESK_PUBLIC_URL's. Without one, and on loopback, it is the one that the browser calls, which must be
loopback too: a name that somebody has pointed at this machine is none.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from server.errors import Forbidden
from server.net.origin import normal_origin


class Site(msgspec.Struct, frozen=True):
    """`secure` is whether cookies travel over TLS alone: everywhere but on loopback."""

    origin: str
    secure: bool

    @property
    def cookie(self) -> str:
        """The cookie's name. With `__Host-` a browser takes it from this very host alone."""
        return "__Host-frontdesk" if self.secure else "frontdesk"


def own_site(public_url: str | None, host: str | None) -> Site:
    """The site of a request with this `Host`. Raises Forbidden `no_public_url`, `https_needed`."""
    if public_url is None or _loopback(public_url):
        scheme = urlsplit(public_url).scheme if public_url else "http"
        origin = normal_origin(f"{scheme}://{host}") if host else None
        if origin is None or not _loopback(origin):
            raise Forbidden(
                "the console answers on localhost alone until FRONTDESK_PUBLIC_URL says where it is",
                code="no_public_url",
            )
        return Site(origin, secure=False)
    origin = normal_origin(public_url)
    if origin is None or not origin.startswith("https:"):
        raise Forbidden("the console needs TLS: FRONTDESK_PUBLIC_URL must begin with https://", code="https_needed")
    return Site(origin, secure=True)


def check_own_origin(site: Site, origin: str | None) -> None:
    """Raises Forbidden `origin_not_allowed` unless the page that asks is the console's own."""
    if origin != site.origin:
        raise Forbidden(f"only pages of {site.origin} may do this", code="origin_not_allowed")


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
