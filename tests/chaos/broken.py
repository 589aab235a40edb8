"""What a broken promise is, and how a text of numbered tokens shows one."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import msgspec

from tests.chaos.table import Figure

Promise = Literal["lost", "doubled", "mixed", "cut", "reordered", "gap", "differs", "stale"]
"""`lost`: acknowledged, and not there or never answered. `doubled`: there twice. `mixed`: text of two asks or turns in
one. `cut`: text missing. `reordered`: not in the order it was said. `gap`: an event left out. `differs`: two readers
are told different things. `stale`: written by somebody who was no longer entitled to."""

_QUESTION = re.compile(r"mark=(\S+)(?:.*?\btokens=(\d+))?")
_TOKEN = re.compile(r"(\S+):(\d+):(\d+)")


class Broken(msgspec.Struct, frozen=True):
    """One broken promise: whose, and what exactly."""

    promise: Promise
    who: str
    what: str


def asked_for(question: str) -> tuple[str, int] | None:
    """The mark and the number of tokens that a visitor's words ask the model for."""
    found = _QUESTION.match(question)
    return (found[1], int(found[2] or 10)) if found else None


def wrong_text(text: str, *, mark: str | None = None, tokens: int | None = None) -> tuple[Promise, str] | None:
    """What is wrong with a text of numbered tokens: None where it is one ask's, in order, from the first token on.

    With `tokens` it must be whole. Without, the last token may be half. A text that is not numbered is `mixed`.
    """
    words = text.split()
    if tokens is None and words and not text.endswith(" "):
        words.pop()
    first: tuple[str, str] | None = None
    for i, word in enumerate(words):
        found = _TOKEN.fullmatch(word)
        if found is None:
            return "mixed", f"{word!r} is no token of an answer, in {text!r}"
        whose = found[1], found[2]
        first = first or whose
        if whose != first or (mark is not None and found[1] != mark):
            return "mixed", f"{word!r} is of another ask, in {text!r}"
        no = int(found[3])
        if no < i:
            return "doubled", f"{word!r} comes again, in {text!r}"
        if no > i:
            return "cut", f"{word!r} comes instead of token {i}, in {text!r}"
    if tokens is not None and len(words) != tokens:
        return ("cut" if len(words) < tokens else "doubled"), f"{len(words)} tokens instead of {tokens}: {text!r}"
    return None


def figures(broken: Sequence[Broken], report: Callable[[str], None] = print) -> list[Figure]:
    """One figure for each promise, all with the goal 0. What was broken is reported, one line each."""
    for each in broken:
        report(f"{each.promise}: {each.who}: {each.what}")
    counts = Counter(each.promise for each in broken)
    return [Figure(promise, counts[promise], goal=0, promise=True) for promise in get_args(Promise)]
