"""What the server itself says to visitors, in their language. Kind, short, no internals.

English is complete; a missing language falls back to it.
"""

from typing import Literal

Phrase = Literal[
    "unavailable",
    "busy",
    "too_slow",
    "filtered",
    "month_over",
    "too_many",
    "come_back",
    # What became of a tool.
    "failed",
    "declined",
    "not_answered",
    "in_doubt",
]

_PHRASES: dict[str, dict[Phrase, str]] = {
    "en": {
        "unavailable": "Sorry, I cannot answer right now. Please try again in a moment.",
        "busy": "There is a lot going on right now. Please try again in a moment.",
        "too_slow": "Sorry, that took too long. Please try again.",
        "filtered": "Sorry, I cannot help with that. Is there something else I can do for you?",
        "month_over": "This chat has reached its limit for the month. Please contact us directly.",
        "too_many": "That was a lot of messages. Please wait a moment and try again.",
        "come_back": "We are having a short technical problem. Your message will be sent as soon as it is over.",
        "failed": "That did not work.",
        "declined": "You declined, so it was not done.",
        "not_answered": "There was no answer, so it was not done.",
        "in_doubt": "It is not sure whether this was done.",
    },
    "he": {
        "unavailable": "מצטערים, אי אפשר לענות כרגע. נסו שוב בעוד רגע.",
        "busy": "יש עומס כרגע. נסו שוב בעוד רגע.",
        "too_slow": "מצטערים, זה לקח יותר מדי זמן. נסו שוב.",
        "filtered": "מצטערים, אי אפשר לעזור בזה. אפשר לעזור במשהו אחר?",
        "month_over": "הצ'אט הגיע למכסה החודשית שלו. אפשר לפנות אלינו ישירות.",
        "too_many": "נשלחו הרבה הודעות. חכו רגע ונסו שוב.",
        "come_back": "יש תקלה טכנית קצרה. ההודעה תישלח מיד כשתסתיים.",
        "failed": "זה לא הצליח.",
        "declined": "סירבתם, ולכן זה לא בוצע.",
        "not_answered": "לא התקבלה תשובה, ולכן זה לא בוצע.",
        "in_doubt": "לא ברור אם זה בוצע.",
    },
    "ar": {
        "unavailable": "عذرًا، لا يمكنني الإجابة الآن. يرجى المحاولة بعد قليل.",
        "busy": "هناك ضغط كبير الآن. يرجى المحاولة بعد قليل.",
        "too_slow": "عذرًا، استغرق ذلك وقتًا طويلًا. يرجى المحاولة مرة أخرى.",
        "filtered": "عذرًا، لا يمكنني المساعدة في ذلك. هل هناك شيء آخر؟",
        "month_over": "وصلت هذه الدردشة إلى حدها الشهري. يرجى التواصل معنا مباشرة.",
        "too_many": "رسائل كثيرة. يرجى الانتظار قليلًا ثم المحاولة.",
        "come_back": "لدينا مشكلة تقنية قصيرة. ستُرسل رسالتك فور انتهائها.",
        "failed": "لم ينجح ذلك.",
        "declined": "لقد رفضت، لذلك لم يتم التنفيذ.",
        "not_answered": "لم يصل رد، لذلك لم يتم التنفيذ.",
        "in_doubt": "ليس من المؤكد أن ذلك قد تم.",
    },
    "de": {
        "unavailable": "Leider kann ich gerade nicht antworten. Bitte versuchen Sie es gleich noch einmal.",
        "busy": "Gerade ist viel los. Bitte versuchen Sie es gleich noch einmal.",
        "too_slow": "Das hat leider zu lange gedauert. Bitte versuchen Sie es noch einmal.",
        "filtered": "Dabei kann ich leider nicht helfen. Kann ich sonst etwas für Sie tun?",
        "month_over": "Dieser Chat hat sein Monatslimit erreicht. Bitte melden Sie sich direkt bei uns.",
        "too_many": "Das waren viele Nachrichten. Bitte warten Sie einen Moment.",
        "come_back": "Wir haben eine kurze technische Störung. Ihre Nachricht wird danach gesendet.",
        "failed": "Das hat nicht geklappt.",
        "declined": "Sie haben abgelehnt, daher wurde es nicht ausgeführt.",
        "not_answered": "Es kam keine Antwort, daher wurde es nicht ausgeführt.",
        "in_doubt": "Es ist nicht sicher, ob das ausgeführt wurde.",
    },
    "fr": {
        "unavailable": "Désolé, je ne peux pas répondre pour le moment. Réessayez dans un instant.",
        "busy": "Il y a beaucoup de demandes. Réessayez dans un instant.",
        "too_slow": "Désolé, cela a pris trop de temps. Veuillez réessayer.",
        "filtered": "Désolé, je ne peux pas vous aider sur ce point. Puis-je faire autre chose ?",
        "month_over": "Ce chat a atteint sa limite du mois. Contactez-nous directement.",
        "too_many": "Cela fait beaucoup de messages. Patientez un instant.",
        "come_back": "Nous avons un court problème technique. Votre message partira dès sa résolution.",
        "failed": "Cela n'a pas fonctionné.",
        "declined": "Vous avez refusé, rien n'a donc été fait.",
        "not_answered": "Sans réponse, rien n'a été fait.",
        "in_doubt": "Il n'est pas certain que cela ait été fait.",
    },
    "es": {
        "unavailable": "Lo siento, ahora no puedo responder. Inténtelo de nuevo en un momento.",
        "busy": "Hay muchas consultas ahora. Inténtelo de nuevo en un momento.",
        "too_slow": "Lo siento, ha tardado demasiado. Inténtelo de nuevo.",
        "filtered": "Lo siento, no puedo ayudar con eso. ¿Puedo hacer otra cosa por usted?",
        "month_over": "Este chat ha alcanzado su límite mensual. Contáctenos directamente.",
        "too_many": "Son muchos mensajes. Espere un momento.",
        "come_back": "Tenemos un breve problema técnico. Su mensaje se enviará en cuanto termine.",
        "failed": "No ha funcionado.",
        "declined": "Lo ha rechazado, así que no se ha hecho.",
        "not_answered": "No hubo respuesta, así que no se ha hecho.",
        "in_doubt": "No es seguro que se haya hecho.",
    },
}

# Which sentence stands for which failed turn; anything else is "unavailable".
_BY_CODE: dict[str, Phrase] = {
    "model_busy": "busy",
    "model_timeout": "too_slow",
    "model_filtered": "filtered",
}

LANGUAGES = tuple(_PHRASES)
ENGLISH = _PHRASES["en"]


def say(phrase: Phrase, locale: str) -> str:
    """The sentence in a BCP 47 locale's language."""
    language = locale.partition("-")[0].lower()
    return _PHRASES.get(language, _PHRASES["en"])[phrase]


def for_failure(code: str, locale: str) -> str:
    """The sentence for a turn that failed with `code`."""
    return say(_BY_CODE.get(code, "unavailable"), locale)
