"""How the answers of a run do by a case's rules. Pure."""

from collections.abc import Iterator, Sequence

from server.turns.cases.case import NewAnswer, Rules, Verdict

# Characters of an answer that are shown on each side of what should not be there.
_AROUND = 40


def judge(rules: Rules, answers: Sequence[NewAnswer]) -> list[Verdict]:
    """A verdict for each rule, and one for whether everything was answered. The case passes when all do."""
    return [_answered(answers), *_called(rules, answers), *_contained(rules, answers), *_absent(rules, answers)]


def _answered(answers: Sequence[NewAnswer]) -> Verdict:
    for no, each in enumerate(answers, 1):
        if each.answer is None:
            return Verdict("answered", "", passed=False, reason=f"question {no} has no answer: {each.error}")
    were = _many(len(answers), "question was", "questions were")
    return Verdict("answered", "", passed=True, reason=f"{were} answered")


def _called(rules: Rules, answers: Sequence[NewAnswer]) -> Iterator[Verdict]:
    calls = [call.tool for each in answers for call in each.calls]
    for tool in rules.must_call:
        if tool in calls:
            yield Verdict("must_call", tool, passed=True, reason=f"called {_many(calls.count(tool), 'time', 'times')}")
        else:
            made = f"called were {', '.join(sorted(set(calls)))}" if calls else "no tool was called"
            yield Verdict("must_call", tool, passed=False, reason=f"not called; {made}")


def _contained(rules: Rules, answers: Sequence[NewAnswer]) -> Iterator[Verdict]:
    for words in rules.must_contain:
        no = _first(words, answers)
        if no is None:
            yield Verdict("must_contain", words, passed=False, reason="in no answer")
        else:
            yield Verdict("must_contain", words, passed=True, reason=f"in answer {no}")


def _absent(rules: Rules, answers: Sequence[NewAnswer]) -> Iterator[Verdict]:
    for words in rules.must_not_contain:
        no = _first(words, answers)
        if no is None:
            yield Verdict("must_not_contain", words, passed=True, reason="in no answer")
        else:
            shown = _excerpt(answers[no - 1].answer or "", words)
            yield Verdict("must_not_contain", words, passed=False, reason=f"in answer {no}: {shown}")


def _first(words: str, answers: Sequence[NewAnswer]) -> int | None:
    """The number of the first answer with these words, in any letter case, however they are spaced."""
    wanted = _plain(words)
    return next((no for no, each in enumerate(answers, 1) if wanted in _plain(each.answer or "")), None)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _excerpt(answer: str, words: str) -> str:
    text, wanted = _plain(answer), _plain(words)
    at = text.index(wanted)
    start, end = max(0, at - _AROUND), at + len(wanted) + _AROUND
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"


def _many(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
