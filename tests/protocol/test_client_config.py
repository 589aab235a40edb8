"""What a client may choose: the same rules for who writes and for who reads."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import Invalid
from server.protocol.client_config import (
    Colors,
    ModelChoice,
    ModelConfig,
    WidgetConfig,
    check_model,
    check_widget,
    one_line,
    read_model,
    read_widget,
)

LOOKS: dict[str, Any] = {
    "title": "Bob's",
    "subtitle": "Pizza",
    "colors": {"primary": "#c22d1b", "primary_dark": "#FF8A70"},
    "logo_url": "/demo/pizza/logo.svg",
    "position": "left",
    "welcome_message": "Ciao! 🍕\nHungry?",
    "suggestions": ["Menu?", "פתוח?"],
    "theme": "dark",
    "radius": 14,
    "launcher_text": "Ask",
}
# A field and what it may not be.
WRONG_LOOKS: list[tuple[str, Any]] = [
    ("title", "a\nb"),
    ("title", 5),
    ("subtitle", "\x1b[0m"),
    ("colors", {"primary": "red"}),
    ("colors", {"primary_dark": "#1234567"}),
    ("colors", "red"),
    ("logo_url", "javascript:alert(1)"),
    ("logo_url", "//evil.example/x.svg"),
    ("logo_url", "/\\evil.example"),
    ("logo_url", "https://a b/x"),
    ("logo_url", "https://user@host/x"),
    ("logo_url", "http://[::1"),
    ("logo_url", "https://"),
    ("logo_url", "logo.svg"),
    ("position", "middle"),
    ("welcome_message", "a\x07"),
    ("suggestions", ["a"] * 7),
    ("suggestions", ["a\r\nb"]),
    ("suggestions", "a"),
    ("theme", None),
    ("radius", 29),
    ("radius", 1.5),
    ("launcher_text", "x" * 41),
]


def test_what_is_right_is_kept() -> None:
    """As it was written, by writer and reader alike."""
    looks = msgspec.convert(LOOKS, WidgetConfig)
    assert check_widget(looks, at="widget") == looks
    assert read_widget(LOOKS) == (looks, [])
    assert read_widget({**LOOKS, "of a later version": 1}) == (looks, [])
    assert read_widget({}) == (WidgetConfig(), [])
    assert msgspec.to_builtins(looks) == LOOKS
    chosen: dict[str, Any] = {"provider": "openai", "model": "ft:gpt-4o:bob", "temperature": 0.0}
    chosen["fallback"] = {"model": "library/llama3.2:3b-q4_K_M"}
    config = msgspec.convert(chosen, ModelConfig)
    assert check_model(config, at="model") == config and read_model(chosen) == (config, [])
    assert read_model({}) == (ModelConfig(), [])


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://www.example.com/logo.svg", True),
        ("/demo/pizza/logo.svg", True),
        ("http://localhost:8000/logo.svg", True),
        ("http://127.0.0.1/logo.svg", True),
        ("http://[::1]:8000/logo.svg", True),
        ("http://www.example.com/logo.svg", False),
        ("HTTP://www.example.com/logo.svg", False),
        ("http://localhost.example.com/logo.svg", False),
        ("http://10.0.0.1/logo.svg", False),
    ],
)
def test_a_logo_without_tls(url: str, allowed: bool) -> None:
    """It is refused, because pages served by https do not show it; one that was stored before is still read."""
    looks = msgspec.convert({**LOOKS, "logo_url": url}, WidgetConfig)
    assert read_widget({**LOOKS, "logo_url": url}) == (looks, [])
    if allowed:
        assert check_widget(looks, at="widget") == looks
        return
    with pytest.raises(Invalid) as refusal:
        check_widget(looks, at="widget")
    assert refusal.value.field == "widget.logo_url"
    assert (
        refusal.value.message.startswith("`widget.logo_url` begins with http://") and "https" in refusal.value.message
    )


def test_what_is_empty_is_left_out() -> None:
    """A form sends empty texts; none of them is stored."""
    empty = WidgetConfig(
        title=" ", subtitle="", colors=Colors(primary=""), logo_url=" ", suggestions=["", " a "], launcher_text="\t"
    )
    assert check_widget(empty, at="widget") == WidgetConfig(suggestions=["a"])
    assert check_model(ModelConfig(model=" ", fallback=ModelChoice(model="")), at="model") == ModelConfig()


@pytest.mark.parametrize(("field", "value"), WRONG_LOOKS)
def test_a_wrong_field_costs_itself_alone(field: str, value: Any) -> None:
    """A stored one is named and left at its default; a written one is refused by its name."""
    read, ignored = read_widget({**LOOKS, field: value})
    assert ignored == [field]
    assert read == msgspec.convert({name: each for name, each in LOOKS.items() if name != field}, WidgetConfig)
    with pytest.raises((Invalid, msgspec.ValidationError)) as refusal:
        check_widget(msgspec.convert({**LOOKS, field: value}, WidgetConfig), at="widget")
    if isinstance(refusal.value, Invalid):
        assert (refusal.value.field or "").startswith(f"widget.{field}")


@pytest.mark.parametrize(
    ("stored", "read", "ignored"),
    [
        ({"temperature": "hot", "model": "m"}, ModelConfig(model="m"), ["temperature"]),
        ({"temperature": 2.5}, ModelConfig(), ["temperature"]),
        ({"provider": "nobody", "model": "m", "temperature": 1}, ModelConfig(temperature=1.0), ["provider", "model"]),
        ({"provider": "nobody"}, ModelConfig(), ["provider"]),
        ({"model": "a b"}, ModelConfig(), ["model"]),
        ({"model": "m", "fallback": {"model": "a b"}}, ModelConfig(model="m"), ["fallback"]),
        ({"fallback": "m"}, ModelConfig(), ["fallback"]),
        ([], ModelConfig(), ["all of it"]),
        ("x", ModelConfig(), ["all of it"]),
        (None, ModelConfig(), ["all of it"]),
    ],
)
def test_a_wrong_model(stored: object, read: ModelConfig, ignored: list[str]) -> None:
    """A model whose provider is not known goes with it: another has not got it."""
    assert read_model(stored) == (read, ignored)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (ModelConfig(model="gpt 4o"), "model.model"),
        (ModelConfig(model="../x"), "model.model"),
        (ModelConfig(fallback=ModelChoice(model="-x")), "model.fallback.model"),
        (ModelConfig(model="m", fallback=ModelChoice(model="m")), "model.fallback"),
    ],
)
def test_a_wrong_choice_is_refused(config: ModelConfig, field: str) -> None:
    """With its field, and what it may be."""
    with pytest.raises(Invalid) as refusal:
        check_model(config, at="model")
    assert refusal.value.field == field and len(refusal.value.message) > len(field) + 10


@given(
    st.dictionaries(
        st.sampled_from([*WidgetConfig.__struct_fields__, "provider", "model", "temperature", "fallback"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
            max_leaves=8,
        ),
    )
)
def test_no_row_breaks_a_reader(stored: dict[str, Any]) -> None:
    """Whatever stands there: something right is read, which a second reading finds right as well."""
    widget, _ = read_widget(stored)
    assert read_widget(msgspec.to_builtins(widget)) == (widget, [])
    model, _ = read_model(stored)
    assert read_model(msgspec.to_builtins(model)) == (model, [])


def test_one_line() -> None:
    """Joiners and marks of direction belong to emoji and to Arabic; line ends of any kind do not."""
    assert one_line("👩\u200d🍳 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u200f\u05e9\u05dc\u05d5\u05dd")
    assert not any(one_line(f"a{end}b") for end in ("\n", "\r", "\x85", "\u2028", "\u2029", "\0", "\t"))
