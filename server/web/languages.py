"""Which languages the widget speaks, and which of them a page gets."""

import re
from collections.abc import Iterable, Mapping
from functools import cache

import msgspec

from server.assets import static_path
from server.errors import SettingsError

# The words inside the widget's own bundle.
ENGLISH = "en"
# Language, script and region; extensions after them change no words.
_TAG = re.compile(r"([a-z]{2,3})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?(?![a-z0-9])", re.IGNORECASE)
_OLD_NAMES = {"iw": "he"}

Words = Mapping[str, dict[str, str]]


@cache
def words() -> Words:
    """The widget's sentences by language, English aside. Raises SettingsError when the front end was not built."""
    folder = static_path() / "strings"
    found = {
        path.stem: msgspec.json.decode(path.read_bytes(), type=dict[str, str]) for path in sorted(folder.glob("*.json"))
    }
    if not found:
        raise SettingsError("the widget's languages were not built; run `make install`")
    return found


def languages() -> list[str]:
    """All that the widget has words in, English first."""
    return [ENGLISH, *words()]


def resolve(requested: str, own: Iterable[str]) -> tuple[str, dict[str, str] | None]:
    """The first locale whose language the widget speaks, and its words.

    Where it speaks none of them it shows English, and the locale is the first of `own`, for answers are not bound to
    the widget's languages.
    """
    tags = [_TAG.match(each.replace("_", "-")) for each in (requested, *own)]
    for tag in tags:
        language = tag[1].lower() if tag else ""
        strings = words().get(_OLD_NAMES.get(language, language))
        if tag and (strings is not None or language == ENGLISH):
            return tag[0], strings
    return next((tag[0] for tag in tags[1:] if tag), ENGLISH), None
