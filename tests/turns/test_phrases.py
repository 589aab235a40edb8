"""What the server says to visitors."""

from typing import get_args

import pytest

from server.turns import phrases
from server.turns.phrases import LANGUAGES, Phrase


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("phrase", get_args(Phrase))
def test_every_language_says_everything(language: str, phrase: Phrase) -> None:
    """Each sentence is there in each language, and is that language's own."""
    said = phrases.say(phrase, f"{language}-XX")
    assert said
    assert language == "en" or said != phrases.say(phrase, "en")


@pytest.mark.parametrize("locale", ["", "xx", "tlh-001", "EN-gb", "en"])
def test_an_unknown_language_reads_english(locale: str) -> None:
    """So does an empty locale, and case does not matter."""
    assert phrases.say("busy", locale) == "There is a lot going on right now. Please try again in a moment."
    assert phrases.say("busy", "DE-at") == phrases.say("busy", "de")


@pytest.mark.parametrize(
    ("code", "phrase"),
    [
        ("model_busy", "busy"),
        ("model_timeout", "too_slow"),
        ("model_filtered", "filtered"),
        ("model_garbage", "unavailable"),
        ("internal", "unavailable"),
        ("attempts", "unavailable"),
        ("never heard of", "unavailable"),
    ],
)
def test_each_failure_has_its_sentence(code: str, phrase: Phrase) -> None:
    """A code that is new reads as any failure does."""
    assert phrases.for_failure(code, "fr") == phrases.say(phrase, "fr")
