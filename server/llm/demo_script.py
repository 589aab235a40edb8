"""What the demo model says: a scripted answer out of the facts that stand in the system prompt.

Pure and deterministic: the same transcript gives the same words. It finds facts by the words they share with the
question, weighted by how rare a word is in the prompt; it never makes a fact up. English and Hebrew.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from server.llm.provider import ChatMessage

Language = Literal["en", "he"]


class Topic(msgspec.Struct, frozen=True):
    """Something a visitor asks about: its name in each language, and the words that mean it."""

    en: str
    he: str
    words: str


class Way(msgspec.Struct, frozen=True):
    """A way of asking for a tool: `says` a pattern of the question, `means` words of the tool's name, the best first.

    `of`: an `item` may be asked for, known or not; a `listed` item must stand in the facts with its price.
    """

    says: str
    means: str
    of: Literal["anything", "item", "listed"] = "anything"


class _Phrases(msgspec.Struct, frozen=True):
    stop_words: str
    numbers: dict[str, int]
    ways: list[Way]
    topics: dict[str, Topic]
    statuses: dict[str, dict[Language, str]]
    phrases: dict[Language, dict[str, str]]


_LOADED: Final = msgspec.toml.decode((Path(__file__).parent / "demo_phrases.toml").read_bytes(), type=_Phrases)
PHRASES: Final = _LOADED.phrases
NUMBERS: Final = _LOADED.numbers
WAYS: Final = _LOADED.ways
STATUSES: Final = _LOADED.statuses
_STOP: Final = frozenset(_LOADED.stop_words.split())
_WORD: Final = re.compile(r"[$€£₪]|[^\W_]+(?:['’][^\W_]+)*")  # noqa: RUF001  the typographic apostrophe is meant


def stems(text: str) -> list[str]:
    """Lower-case words without endings that hide a match ("prices" and "price", "deliveries" and "delivery")."""
    out = []
    for raw in _WORD.findall(text.lower()):
        word = raw
        if word.isascii() and len(word) > 3:
            for ending, instead in (("ies", "y"), ("ing", ""), ("'s", ""), ("ed", ""), ("es", "e"), ("s", "")):
                if word.endswith(ending) and not word.endswith("ss") and len(word) - len(ending) >= 3:
                    word = word[: -len(ending)] + instead
                    break
        out.append(word)
    return out


_TOPIC_WORDS: Final = {name: frozenset(stems(topic.words)) for name, topic in _LOADED.topics.items()}
# Sentences that tell the model how to behave are not facts about the business.
_INSTRUCTION: Final = re.compile(
    r"^(?:you(?:'re| are| must| should| can| answer| speak| may| help| never)\b|your (?:task|job|role|tone|answers?)\b"
    r"|answer|never|always|do not|don't|be (?:brief|kind|friendly|polite|short|concise|warm)|if (?:you|asked|the)\b"
    r"|keep|use|reply|respond|write|speak|refuse|only|when (?:you|asked|a visitor|a result)|ask|offer|suggest|say|stay"
    r"|if a tool|a tool's|text in (?:it|the conversation)|several at once"
    r"|אתה|אתם|ענה|ענו|אל )",
    re.IGNORECASE,
)
_BULLET: Final = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[^\s\d])")
_STRONG: Final = re.compile(
    r"(?<!\w)(?:[$€£₪]\s?\d[\d.,]*\d|[$€£₪]\s?\d|\d[\d.,]*\s?[$€£₪]|\d{1,2}(?::\d\d)?\s?(?:am|pm)\b|\d{1,2}:\d\d)",
    re.IGNORECASE,
)
_URL: Final = re.compile(r"(?<![(\[])https?://[^\s)>\]]*[^\s)>\].,;!?]")
_EMAIL: Final = re.compile(r"(?<![\w/:])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_PRICED: Final = re.compile(
    r"^(?P<item>[^:$€£₪|]{2,60}?)\s*(?:[:–—-]|\bfor\b|\bcosts?\b|\bis\b)\s*"  # noqa: RUF001  dashes of price lists
    r"(?P<price>[$€£₪]\s?\d[\d.,]*\d|[$€£₪]\s?\d)\W*$"
)
_HELLO: Final = re.compile(
    r"^\W*(?:hi|hello|hey|good (?:morning|afternoon|evening)|howdy|שלום|היי|הי|אהלן|בוקר טוב|ערב טוב)\b", re.IGNORECASE
)
_THANKS: Final = re.compile(r"\b(?:thanks?|thank you|thx|cheers)\b|תודה", re.IGNORECASE)
_BYE: Final = re.compile(r"^\W*(?:bye|goodbye|see you|להתראות|ביי)\b", re.IGNORECASE)
_SELF: Final = re.compile(
    r"\b(?:what|who) are you\b|\bare you (?:a |an )?(?:bot|robot|human|real|ai|person|machine|model)\b|\bwhich model\b"
    r"|מי אתה|מה אתה|אתה (?:בוט|רובוט|אמיתי)",
    re.IGNORECASE,
)
_ALL: Final = re.compile(
    r"\b(?:everything|tell me (?:more|about (?:you|your|the|this))"
    r"|about (?:you|your (?:shop|bakery|business|company|store))"
    r"|overview|long answer)\b|ספר לי|הכול|הכל",
    re.IGNORECASE,
)
_CODE: Final = re.compile(r"\b(?:code|snippet|embed|script tag|install (?:this|the) (?:chat|widget))\b", re.IGNORECASE)
_SUMMARY: Final = re.compile(r"^\W*(?:\w+\W+){0,6}summar(?:y|i[sz]e)", re.IGNORECASE)
_PLACE: Final = re.compile(
    r"\b(?:assistant|desk|concierge|agent|helper|host|voice|bot)\s+(?:of|for|at)\s+"
    r"(?P<place>(?:[A-Z][\w'’&-]*[ ]?){1,5})"  # noqa: RUF001  the typographic apostrophe is meant
)


_EMBED: Final = (
    '```html\n<script async src="https://desk.example.com/widget.js" data-client-key="pk_..."></script>\n```'
)


class Fact(msgspec.Struct, frozen=True):
    """One thing the prompt says. `heading` is the title it stands under, "" when it stands under none."""

    text: str
    heading: str


def language_of(text: str) -> Language:
    return "he" if re.search(r"[\u0590-\u05ff]", text) else "en"


def content_words(text: str) -> set[str]:
    """The words that say what a text is about. Addresses are left out: hello@... is no greeting."""
    text = _EMAIL.sub(" email ", _URL.sub(" ", text))
    return {word for word in stems(text) if (word not in _STOP and len(word) > 1) or word in "$€£₪"}


def facts_of(prompt: str) -> list[Fact]:
    """The facts of a system prompt, in its order. A bullet is one fact; prose is cut into sentences."""
    facts: list[Fact] = []
    heading = ""
    blank = False
    for raw in prompt.splitlines():
        line = raw.strip()
        if not line:
            blank = True
            continue
        if blank and not _BULLET.match(line) and not line.startswith("#"):
            heading = ""  # a paragraph of its own; a "Menu:" line below sets the next one
        blank = False
        if line.startswith("#") or (line.endswith(":") and len(line) < 60 and not _BULLET.match(line)):
            heading = line.strip("#: ").strip()
            continue
        if _BULLET.match(line):
            facts.append(Fact(_BULLET.sub("", line), heading))
            continue
        facts.extend(Fact(sentence.strip(), heading) for sentence in _SENTENCE.split(line) if sentence.strip())
    return [fact for fact in facts if not _INSTRUCTION.match(fact.text)]


def _topics(words: set[str]) -> set[str]:
    return {name for name, meant in _TOPIC_WORDS.items() if words & meant}


def _asked_topics(question: str) -> set[str]:
    """Of the question all words count, "how much" and "when" too, which are noise in a fact."""
    return _topics((set(stems(question)) - {"today", "find", "call", "table"}) | content_words(question))


def find(question: str, facts: Sequence[Fact]) -> list[Fact]:
    """The facts that answer a question, in the prompt's order; empty when none does."""
    question = _HELLO.sub("", question)
    asked = content_words(question)
    topics = _asked_topics(question)
    fact_words = [content_words(f"{fact.text} {fact.heading}") for fact in facts]
    rarity: dict[str, float] = {}
    for words in fact_words:
        for word in words:
            rarity[word] = rarity.get(word, 0) + 1
    for word, count in rarity.items():
        rarity[word] = math.log(1 + len(facts) / count)
    # A word that is no topic's own names one thing: "how much is a Margherita" asks for no price list.
    named = (asked - frozenset().union(*_TOPIC_WORDS.values())) & frozenset(rarity)
    scores = []
    for fact, words in zip(facts, fact_words, strict=True):
        score = sum(rarity[word] for word in asked & words)
        shared = topics & _topics(words)
        if "prices" in shared and "prices" not in _topics(content_words(fact.text)) and not _STRONG.search(fact.text):
            shared -= {"prices"}
        # Under a title that names the topic stands what was asked for; elsewhere the word came by chance.
        titled = set() if named else topics & _topics(content_words(fact.heading))
        scores.append(score + 3.0 * len(shared) + 4.0 * len(titled))
    best = max(scores, default=0.0)
    if best < 1.5:  # a word that half of the facts share says nothing
        return []
    return [fact for fact, score in zip(facts, scores, strict=True) if score >= 0.6 * best][:8]


def is_priced(fact: Fact) -> bool:
    """Whether it is a line of a price list."""
    return _PRICED.match(fact.text.rstrip(".")) is not None


def dress(text: str) -> str:
    """A fact as markdown: prices and times bold, addresses as links."""
    text = _URL.sub(lambda m: f"[{m.group().split('//', 1)[1].rstrip('/')}]({m.group()})", text)
    text = _EMAIL.sub(lambda m: f"[{m.group()}](mailto:{m.group()})", text)
    return _STRONG.sub(lambda m: f"**{m.group().strip()}**", text) if "](" not in text else text


def _join(names: Sequence[str], language: Language) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {PHRASES[language]['and']} {names[-1]}"


def _topic_names(facts: Sequence[Fact], language: Language) -> str:
    held = set().union(*(_topics(content_words(fact.text)) for fact in facts)) if facts else set()
    names = [topic.he if language == "he" else topic.en for name, topic in _LOADED.topics.items() if name in held]
    return _join([f"**{name}**" for name in names[:3]], language)


def _listed(facts: Sequence[Fact], language: Language) -> str:
    """Several facts: a table where they are a price list, else a list."""
    priced = [_PRICED.match(fact.text.rstrip(".")) for fact in facts]
    rows = [match for match in priced if match]
    words = PHRASES[language]
    if len(rows) < 3:
        return "\n".join(f"- {dress(fact.text)}" for fact in facts)
    table = [f"| {words['item']} | {words['price']} |", "| --- | ---: |"]
    table += [f"| {row['item'].strip()} | **{row['price']}** |" for row in rows]
    rest = [f"- {dress(fact.text)}" for fact, match in zip(facts, priced, strict=True) if not match]
    return "\n".join(table) + ("\n\n" + "\n".join(rest) if rest else "")


def _everything(facts: Sequence[Fact], place: str, language: Language) -> str:
    parts = [PHRASES[language]["all"].format(place=place)]
    for heading in dict.fromkeys(fact.heading for fact in facts):
        under = [fact for fact in facts if fact.heading == heading]
        parts.append((f"**{heading}**\n\n" if heading else "") + _listed(under, language))
    parts.append(PHRASES[language]["more"])
    return "\n\n".join(parts)


def _summary(messages: Sequence[ChatMessage]) -> str:
    said = [" ".join(m.text.split()) for m in messages if m.role == "user"]
    return PHRASES["en"]["summary"].format(questions=" / ".join(text[:160] for text in said[-6:]))


def answer(messages: Sequence[ChatMessage]) -> str:
    """The answer, in markdown, to the last thing the visitor said."""
    prompt = "\n".join(message.text for message in messages if message.role == "system")
    question = next((m.text for m in reversed(messages) if m.role == "user"), "").strip()
    if _SUMMARY.match(prompt):
        return _summary(messages)
    language = language_of(question)
    words = PHRASES[language]
    facts = facts_of(prompt)
    match = _PLACE.search(prompt)
    name = match["place"].strip().rstrip(".,") if match else ""
    place = ({"en": f" to {name}", "he": f" אל {name}"}[language]) if name else ""
    if _SELF.search(question):
        return words["self"]
    if _CODE.search(question):
        return f"{words['code']}\n\n{_EMBED}"
    found = find(question, facts)
    if not found or len(question) < 12:
        if _BYE.search(question):
            return words["bye"]
        if _THANKS.search(question):
            return words["thanks"]
        if _HELLO.search(question):
            topics = _topic_names(facts, language)
            return words["greeting" if topics else "greeting_bare"].format(place=place, topics=topics)
    if _ALL.search(question) and facts:
        about = ({"en": f" about {name}", "he": f" על {name}"}[language]) if name else ""
        return _everything(facts, about, language)
    if not found:
        topics = _topic_names(facts, language)
        return words["unknown"] + (f"\n\n{words['unknown_topics'].format(topics=topics)}" if topics else "")
    if len(found) == 1:
        return f"{dress(found[0].text)}\n\n{words['more']}"
    return f"{words['many']}\n\n{_listed(found, language)}\n\n{words['more']}"
