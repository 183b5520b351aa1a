"""The word lists of each language, by sentences that speakers say."""

from __future__ import annotations

import pytest

from whisperfusion.text import phrases
from whisperfusion.text.backchannel import is_backchannel
from whisperfusion.text.commands import has_command, has_stop
from whisperfusion.text.end_of_turn import Ending, ending
from whisperfusion.text.languages import WORDS, words_of
from whisperfusion.text.segmentation import words

MORE = {  # turns that are not over
    "es": "Quiero una mesa para|Vivo en la|Me gusta pero|El número de mi|Eh|Es que pues|Creo que",
    "fr": "Je voudrais réserver une table pour|J'habite à|C'est pour le|Euh|Je pense que|Oui mais",
    "pt": "Eu queria marcar uma|Moro na|Preciso de|Hum|Acho que|Gosto mas|É para o meu",
    "it": "Vorrei prenotare un|Abito a|Mi piace ma|Ehm|Penso che|È per la|Parlo con",
    "de": "Ich möchte einen Tisch für|Ich wohne im|Ich glaube dass|Ähm|Das ist mein|Ja aber",
    "ru": "Я хочу поехать в|Мне нравится но|Я думаю что|Эм|Это мой|Потому что",
    "zh": "我想去北京因为|我喜欢但是|我想如果|我要咖啡和|呃|先吃饭然后",
    "ja": "駅までの道を|えっと|それはつまり|コーヒーと、それから|でもこの",
    "hi": "मुझे टिकट चाहिए क्योंकि|मैं जाना चाहता हूँ लेकिन|मुझे लगता है कि|चाय और|मैं अगर",
    "ur": "مجھے ٹکٹ چاہیے کیونکہ|میں جانا چاہتا ہوں لیکن|مجھے لگتا ہے کہ|چائے اور",
    "ar": "أريد أن أذهب إلى|أعيش في|أظن أن|أحب القهوة و|أريده لأن|يعني",
    "bn": "আমি যেতে চাই কিন্তু|আমার মনে হয় যে|চা এবং|টিকিট চাই কারণ|মানে",
}
OVER = {  # turns that are
    "es": "¿Qué es?|Quiero un poco más.|Sí.|Si.|¿Para qué?|Me llamo Ana.|Está bien.|¿Y él?",
    "fr": "Et vous ?|Je ne sais plus.|Oui.|C'est bon.|Il fait beau aujourd'hui.|À Paris.",
    "pt": "O que é?|Gosto muito.|Sim.|Moro em Lisboa.|Está bem.|Obrigado.|Para quê?",
    "it": "Che cos'è?|Perché?|Sì.|Abito a Roma.|Va bene.|Come stai?|Grazie.",
    "de": "Mach das Licht an.|Was ist das?|Ich komme mit.|Hör mir zu.|Ja.|Wie?|In Berlin.",
    "ru": "Что это?|А как?|Да.|Я живу в Москве.|Спасибо.|Почему?|Мне пора домой.",
    "zh": "是的。|我在。|今天天气怎么样？|好的。|我住在北京。|谢谢。",
    "ja": "お名前は？|すみませんが。|いつでも。|東京です。|どこに行くの？|そうですけど。",
    "hi": "दिल्ली में।|हाँ।|आप कैसे हैं?|मुझे चाय चाहिए।|धन्यवाद।",
    "ur": "لاہور میں۔|ہاں۔|آپ کیسے ہیں؟|مجھے چائے چاہیے۔|شکریہ۔",
    "ar": "نعم.|كيف حالك؟|أعيش في القاهرة.|شكرا.|ما هذا؟",
    "bn": "হ্যাঁ।|আপনি কেমন আছেন?|আমি ঢাকায় থাকি।|ধন্যবাদ।",
}
LISTENING = {
    "es": "Ajá|Por supuesto|Sí, sí|Ya veo|Claro, entiendo|Así es",
    "fr": "Oui|C'est ça|D'accord|Tout à fait|Ouais, je vois",
    "pt": "Pois é|Com certeza|Tá bom|Legal|Sim, sim",
    "it": "Ho capito|Certo|D'accordo|Sì, esatto",
    "de": "Alles klar|Genau|Mhm|Na klar|Ja, stimmt",
    "ru": "Ага|Понятно|Да, да|Я понимаю",
    "zh": "嗯|好的|没错|原来如此|嗯嗯",
    "ja": "はい|なるほど|そうですね|わかりました|うん、うん",
    "hi": "हाँ|ठीक है|जी हाँ|अच्छा|हम्म",
    "ur": "جی ہاں|ٹھیک ہے|اچھا|بالکل",
    "ar": "نعم|طيب|بالضبط|تمام",
    "bn": "হ্যাঁ|ঠিক আছে|আচ্ছা|হুম",
}
STOPPING = {
    "es": "Para|Espera un momento|Basta|Ya basta|Cállate",
    "fr": "Arrête|Attendez|Ça suffit|Tais-toi|Stop",
    "pt": "Pare|Chega|Espera aí|Silêncio",
    "it": "Fermati|Basta così|Aspetta|Silenzio",
    "de": "Stopp|Halt|Hör auf|Warte mal|Sei still",
    "ru": "Стоп|Хватит|Подожди|Стой",
    "zh": "停|等一下|别说了|安静",
    "ja": "止めて|やめて|ちょっと待って|ストップ",
    "hi": "रुको|रुक जाओ|चुप|बस|एक मिनट",
    "ur": "رکو|ٹھہریں|خاموش|ایک منٹ",
    "ar": "توقف|انتظر لحظة|كفى|اسكت",
    "bn": "থামো|দাঁড়ান|চুপ|এক মিনিট",
}


def cases(table: dict[str, str]) -> list[tuple[str, str]]:
    return [(language, one) for language, texts in table.items() for one in texts.split("|")]


@pytest.mark.parametrize(("language", "text"), cases(MORE))
def test_words_that_ask_for_more(language: str, text: str) -> None:
    assert ending(text, language) is Ending.OPEN


@pytest.mark.parametrize(("language", "text"), cases(OVER))
def test_whole_turns(language: str, text: str) -> None:
    assert ending(text, language) is not Ending.OPEN


@pytest.mark.parametrize(("language", "text"), cases(LISTENING))
def test_signs_of_listening(language: str, text: str) -> None:
    assert is_backchannel(text, language)
    assert not is_backchannel(f"{text}, Rotterdam", language)


@pytest.mark.parametrize(("language", "text"), cases(STOPPING))
def test_what_stops_a_reply(language: str, text: str) -> None:
    found = words(text)
    assert has_stop(found, language) and has_command(found, language)
    assert not is_backchannel(text, language)


def test_each_language_has_all_of_it() -> None:
    """Of at least ten, and what stops a reply is never taken for listening."""
    assert set(MORE) == set(OVER) == set(LISTENING) == set(STOPPING) == set(WORDS) - {"en"}
    assert len(WORDS) > 10
    for language, known in WORDS.items():
        assert known.note.startswith("(") and known.note.endswith(")") and known.filler, language
        assert known.failed and known.interrupted and known.failed != known.interrupted
        assert known.stops <= known.commands
        for stop in known.commands:
            assert words(stop) and not is_backchannel(stop, language), (language, stop)


def test_english_knows_no_words_of_others() -> None:
    """They are English words there: "pare", "alto", "halt"."""
    for text in ("para", "alto", "pare", "moment", "ferma"):
        assert not has_command((text,)) and not has_stop((text,))
    assert has_command(("stop",), "ja") and has_stop(("stop",), None)
    assert words_of(None) == words_of("sv") and not words_of("sv").stops
    assert not phrases.COMMANDS & WORDS["en"].commands


def test_a_language_without_words_goes_by_its_marks() -> None:
    assert ending("Jag bor i", "sv") is Ending.PLAIN
    assert ending("Jag bor i ...", "sv") is Ending.OPEN
    assert ending("Vad heter du egentligen?", "sv") is Ending.QUESTION
