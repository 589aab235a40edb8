"""URLs that people configure: read once, strictly, by the parser that the connection uses.

Attacks on URLs live from two parsers that disagree. So the shape is checked first, and what is not plain is refused:
no userinfo, no fragment, no backslash, no blank, no look-alike letters, no dot segments. Then yarl, which aiohttp
connects by, parses it, and has to find the same host.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import unquote

from yarl import URL

from server.net.address import AddressPolicy, Refused, parse_address

# Longer ones are refused by many servers (nginx: 8 KiB for the request line).
MAX_URL: Final = 8000
_HOST: Final = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-\u0080-\U0010ffff]+"
_CHARACTER: Final = r"[A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]\u0080-\U0010ffff]|%[0-9A-Fa-f]{2}"
_SHAPE: Final = re.compile(
    rf"(?P<scheme>[A-Za-z]+)://(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?"
    rf"(?P<path>/(?:{_CHARACTER})*)?(?:\?(?:{_CHARACTER}|\?)*)?"
)
_ONLY_HOST: Final = re.compile(_HOST)
_NOT_A_URL: Final = (
    "is not a URL; it may be http:// or https://, a host, and a path such as https://hooks.example.com/x"
)


def parse_url(text: str, policy: AddressPolicy) -> URL:
    """The URL that is connected to. Raises Refused."""
    if len(text) > MAX_URL:
        raise Refused(f"is longer than {MAX_URL} characters")
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise _trouble(text)
    if not text.isascii():
        _check_letters(text)
    if shape["scheme"].lower() not in ("http", "https"):
        raise Refused("may begin with http:// or https:// only")
    if shape["port"] is not None and not 1 <= int(shape["port"]) <= 65535:
        raise Refused("has a port that is not a number from 1 to 65535")
    # Decoded, for a server decodes before it looks for them. A template's argument of ".." would walk up the path.
    if {".", ".."} & set(re.split(r"[/\\]", unquote(shape["path"] or ""))):
        raise Refused("has . or .. as a part of its path; write the path without")
    try:
        url = URL(text)
    except ValueError:
        raise Refused(_NOT_A_URL) from None
    _check_agreement(url, shape["host"])
    assert url.raw_host is not None
    policy.check_host(url.raw_host)
    return url


def parse_host(text: str, policy: AddressPolicy) -> str:
    """A host alone, for a database: a name or an address; ASCII, lower case, without brackets. Raises Refused."""
    bare = f"[{text}]" if ":" in text and not text.startswith("[") else text
    if not _ONLY_HOST.fullmatch(bare):
        raise Refused("is not a host; it may be a name such as db.example.com, or an address, without a port")
    host = parse_url(f"http://{bare}/", policy).raw_host
    assert host is not None
    return host


def _trouble(text: str) -> Refused:
    """Why a text has not the shape of a URL."""
    for character in text:
        if character == "#":
            return Refused("may not have a fragment (#...)")
        if character in '\\"<>^`{|}':
            return Refused(f"may not contain {character}; write it percent-encoded")
        if not character.isprintable() or character.isspace():
            return Refused("may not contain blanks or control characters")
    if "@" in re.split(r"[/?]", text.partition("://")[2], maxsplit=1)[0]:
        return Refused("may not contain a user name or password; set authentication apart from the URL")
    return Refused(_NOT_A_URL)


def _check_letters(text: str) -> None:
    """Raises Refused for what is not shown, for blanks, and for signs that parsers split at or map to others."""
    for character in text:
        if not character.isprintable() or character.isspace():
            raise Refused("may not contain blanks or control characters")
        if not character.isascii() and unicodedata.category(character)[0] not in "LMN":
            raise Refused(f"may not contain {character}; write it percent-encoded")


def _check_agreement(url: URL, host: str) -> None:
    """Raises Refused where yarl connects to another host than the text shows."""
    found = url.raw_host
    if not found or not found.isascii() or url.raw_user is not None or url.raw_password is not None:
        raise Refused(_NOT_A_URL)
    if host.startswith("["):
        agrees = parse_address(found) == parse_address(host[1:-1])
    elif host.isascii():
        agrees = found == host.lower()
    else:
        # Letters of other scripts become their xn-- form. Digits of other scripts and look-alikes (fullwidth, circled)
        # can become plain ASCII that the reader of the URL did not see.
        digits = any(not each.isascii() and unicodedata.category(each)[0] == "N" for each in host)
        agrees = not digits and unicodedata.normalize("NFKC", host) == unicodedata.normalize("NFC", host)
    # What is sent is read again by proxies; it must be stable.
    if not agrees or URL(str(url)).raw_host != found:
        raise Refused("has a host that can be read in two ways; write it in plain letters or in its xn-- form")
