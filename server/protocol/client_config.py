"""What a client chooses: how its widget looks, and which model answers. One place for what each field may be.

The console writes these strictly, by `check_widget` and `check_model`. Whoever reads a stored row takes `read_widget`
and `read_model`: a field that makes no sense is left at its default, the others stand. What was allowed to be written
once is still read.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from server.errors import Invalid
from server.protocol.base import Wire

ProviderName = Literal["openai", "anthropic", "ollama", "demo"]

# What the widget shows at most; the rest would push the first message out of sight.
MAX_SUGGESTIONS = 6
# Hosts whose pictures pages served by https show without TLS.
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
# A name as providers give them: letters, digits and what stands between, `library/llama3.2:3b-q4` among them.
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")

ModelName = Annotated[str, msgspec.Meta(max_length=100)]
Suggestion = Annotated[str, msgspec.Meta(max_length=100)]


class Colors(Wire, frozen=True):
    """CSS colours, `#rrggbb`."""

    primary: str | None = None
    primary_dark: str | None = None


class WidgetConfig(Wire, frozen=True):
    """How a client's widget looks and greets. Set by the client, so it is hostile too until checked."""

    title: Annotated[str, msgspec.Meta(max_length=60)] | None = None
    subtitle: Annotated[str, msgspec.Meta(max_length=120)] | None = None
    colors: Colors | None = None
    logo_url: Annotated[str, msgspec.Meta(max_length=2_000)] | None = None
    position: Literal["left", "right"] = "right"
    welcome_message: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    suggestions: Annotated[list[Suggestion], msgspec.Meta(max_length=MAX_SUGGESTIONS)] = []
    theme: Literal["auto", "light", "dark"] = "auto"
    radius: Annotated[int, msgspec.Meta(ge=0, le=28)] | None = None
    launcher_text: Annotated[str, msgspec.Meta(max_length=40)] | None = None


class ModelChoice(Wire, frozen=True):
    """A model by name. Without a provider the deployment's default one, without a model that provider's own default."""

    provider: ProviderName | None = None
    model: ModelName | None = None


class ModelConfig(Wire, frozen=True):
    """Which model answers for a client. Unknown keys are ignored.

    `fallback` answers when the first fails before its first word. `temperature` is 0 to 2; null leaves it to the
    provider, and some models take none but their own.
    """

    provider: ProviderName | None = None
    model: ModelName | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    fallback: ModelChoice | None = None


class Wrong(NamedTuple):
    """A field below the struct, such as `colors.primary`, and what it may be."""

    field: str
    reason: str


T = TypeVar("T", WidgetConfig, ModelConfig)


def check_widget(given: WidgetConfig, *, at: str) -> WidgetConfig:
    """As it is stored: trimmed, without what is empty. Raises Invalid with the field below `at`."""
    return _checked(_tidy_widget(given), _wrong_to_write, at)


def check_model(given: ModelConfig, *, at: str) -> ModelConfig:
    """As `check_widget`."""
    return _checked(_tidy_model(given), _wrong_model, at)


def read_widget(stored: object) -> tuple[WidgetConfig, list[str]]:
    """A stored `widget_config`, and the fields of it that make no sense and count for nothing."""
    return _read(stored, WidgetConfig, _wrong_widget)


def read_model(stored: object) -> tuple[ModelConfig, list[str]]:
    """A stored `model_config`, in the same way. A model without its provider is nothing: another has not got it."""
    config, ignored = _read(stored, ModelConfig, _wrong_model)
    if "provider" in ignored and config.model is not None:
        return msgspec.structs.replace(config, model=None), [*ignored, "model"]
    return config, ignored


def _checked(value: T, wrong: Callable[[T], Iterator[Wrong]], at: str) -> T:
    for field, reason in wrong(value):
        raise Invalid(f"`{at}.{field}` {reason}", field=f"{at}.{field}")
    return value


def _read(stored: object, kind: type[T], wrong: Callable[[T], Iterator[Wrong]]) -> tuple[T, list[str]]:
    if not isinstance(stored, dict):
        return kind(), ["all of it"]
    with suppress(msgspec.ValidationError):
        whole = msgspec.convert(stored, kind)
        if next(wrong(whole), None) is None:
            return whole, []
    return _by_field(stored, kind, wrong)


def _by_field(stored: dict[str, Any], kind: type[T], wrong: Callable[[T], Iterator[Wrong]]) -> tuple[T, list[str]]:
    """What stands by itself is taken, field by field."""
    good: dict[str, Any] = {}
    bad: list[str] = []
    for name in kind.__struct_fields__:
        if name not in stored:
            continue
        try:
            alone = msgspec.convert({name: stored[name]}, kind)
        except msgspec.ValidationError:
            bad.append(name)
            continue
        if next(wrong(alone), None) is None:
            good[name] = stored[name]
        else:
            bad.append(name)
    return msgspec.convert(good, kind), bad


def _tidy_widget(given: WidgetConfig) -> WidgetConfig:
    colors = given.colors
    if colors is not None:
        colors = Colors(primary=_tidy(colors.primary), primary_dark=_tidy(colors.primary_dark))
    return msgspec.structs.replace(
        given,
        title=_tidy(given.title),
        subtitle=_tidy(given.subtitle),
        colors=None if colors == Colors() else colors,
        logo_url=_tidy(given.logo_url),
        welcome_message=_tidy(given.welcome_message),
        suggestions=[each.strip() for each in given.suggestions if each.strip()],
        launcher_text=_tidy(given.launcher_text),
    )


def _tidy_model(given: ModelConfig) -> ModelConfig:
    fallback = given.fallback
    if fallback is not None:
        fallback = ModelChoice(provider=fallback.provider, model=_tidy(fallback.model))
    return msgspec.structs.replace(
        given, model=_tidy(given.model), fallback=None if fallback == ModelChoice() else fallback
    )


def _tidy(text: str | None) -> str | None:
    return (text or "").strip() or None


def _wrong_widget(given: WidgetConfig) -> Iterator[Wrong]:
    for name in ("primary", "primary_dark"):
        color = getattr(given.colors, name, None)
        if color is not None and _COLOR.fullmatch(color) is None:
            yield Wrong(f"colors.{name}", "takes a colour such as #c22d1b")
    if given.logo_url is not None and not _picture(given.logo_url):
        yield Wrong("logo_url", "takes an address such as https://www.example.com/logo.svg, or a path on this server")
    lines = {"title": given.title, "subtitle": given.subtitle, "launcher_text": given.launcher_text}
    lines |= {f"suggestions[{no}]": text for no, text in enumerate(given.suggestions)}
    for field, text in lines.items():
        if text is not None and not one_line(text):
            yield Wrong(field, "takes one line of text")
    if given.welcome_message is not None and not one_line(given.welcome_message.replace("\n", " ")):
        yield Wrong("welcome_message", "takes text without control characters")


def _wrong_to_write(given: WidgetConfig) -> Iterator[Wrong]:
    yield from _wrong_widget(given)
    if given.logo_url is not None:
        parts = urlsplit(given.logo_url)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            yield Wrong(
                "logo_url", "begins with http://, which pages served by https do not show; take an https:// address"
            )


def _wrong_model(given: ModelConfig) -> Iterator[Wrong]:
    fallback = given.fallback
    for field, name in (("model", given.model), ("fallback.model", fallback.model if fallback else None)):
        if name is not None and _MODEL.fullmatch(name) is None:
            yield Wrong(field, "takes the name of a model, without spaces")
    if fallback is not None and (fallback.provider, fallback.model) == (given.provider, given.model):
        yield Wrong("fallback", "is the same model as the first; leave it out or choose another")


def _picture(url: str) -> bool:
    """A web address, or a path on the server that has the widget; `//host` is neither."""
    if any(character.isspace() or unicodedata.category(character) == "Cc" for character in url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme in {"http", "https"}:
        return bool(parts.hostname) and parts.username is None
    return not parts.scheme and not parts.netloc and url.startswith("/") and "\\" not in url


def one_line(text: str) -> bool:
    """Without control characters. Joiners and marks of direction, as in emoji and in Arabic, are none."""
    return not any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in text)
