"""What a visitor reads while a tool works: "Looking up your order", in their language."""

import re
import unicodedata
from collections.abc import Mapping

from server.errors import Invalid
from server.tools.tool import Tool

MAX_CHARACTERS = 80
_MAX_LANGUAGES = 40
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?")
# Controls, and the marks that turn the direction of the text around them.
_CONTROLS = frozenset({"Cc", "Zl", "Zp", "Cs"})
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_DEFAULT = {
    "en": "Working on it: {name}",
    "he": "מטפלים בזה: {name}",
    "ar": "جارٍ العمل على ذلك: {name}",
    "de": "Ich kümmere mich darum: {name}",
    "fr": "Je m'en occupe : {name}",
    "es": "Me ocupo de ello: {name}",
}


def label(tool: Tool, locale: str) -> str:
    """The tool's own label in this language, else in English, else a sentence with its name. Never empty."""
    language = locale.partition("-")[0].lower()
    for choice in (locale, language, "en"):
        if given := tool.label.get(choice, "").strip():
            return given
    name = " ".join(tool.name.replace("_", " ").replace("-", " ").split())
    return _DEFAULT.get(language, _DEFAULT["en"]).format(name=name or tool.name)


def check_labels(labels: Mapping[str, str], *, field: str = "label") -> dict[str, str]:
    """The labels, trimmed. Raises Invalid with the language's path."""
    if len(labels) > _MAX_LANGUAGES:
        raise Invalid(f"{field}: at most {_MAX_LANGUAGES} languages are allowed", field=field)
    checked: dict[str, str] = {}
    for language, given in labels.items():
        if not _LANGUAGE.fullmatch(language):
            raise Invalid(f"{field}: {language[:20]!r} is not a language; it may be such as en or pt-BR", field=field)
        text = given.strip()
        if not 1 <= len(text) <= MAX_CHARACTERS:
            raise Invalid(f"{field}/{language}: takes 1 to {MAX_CHARACTERS} characters", field=field)
        if any(unicodedata.category(each) in _CONTROLS or each in _DIRECTION for each in text):
            raise Invalid(f"{field}/{language}: may not contain line breaks or control characters", field=field)
        checked[language] = text
    return checked
