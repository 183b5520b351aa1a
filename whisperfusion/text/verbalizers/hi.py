"""Hindi."""

from __future__ import annotations

import re
from re import Match

from whisperfusion.text.verbalizers import romance
from whisperfusion.text.verbalizers.language import (
    Language,
    Noun,
    alternatives,
    currencies,
    months,
    nouns,
    pairs,
)
from whisperfusion.text.verbalizers.telephones import telephones

# No two of these are made by one rule.
ONES = """
शून्य एक दो तीन चार पाँच छह सात आठ नौ दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह अठारह उन्नीस
बीस इक्कीस बाईस तेईस चौबीस पच्चीस छब्बीस सत्ताईस अट्ठाईस उनतीस
तीस इकतीस बत्तीस तैंतीस चौंतीस पैंतीस छत्तीस सैंतीस अड़तीस उनतालीस
चालीस इकतालीस बयालीस तैंतालीस चौवालीस पैंतालीस छियालीस सैंतालीस अड़तालीस उनचास
पचास इक्यावन बावन तिरपन चौवन पचपन छप्पन सत्तावन अट्ठावन उनसठ
साठ इकसठ बासठ तिरसठ चौंसठ पैंसठ छियासठ सड़सठ अड़सठ उनहत्तर
सत्तर इकहत्तर बहत्तर तिहत्तर चौहत्तर पचहत्तर छिहत्तर सतहत्तर अठहत्तर उनासी
अस्सी इक्यासी बयासी तिरासी चौरासी पचासी छियासी सत्तासी अट्ठासी नवासी
नब्बे इक्यानवे बानवे तिरानवे चौरानवे पचानवे छियानवे सत्तानवे अट्ठानवे निन्यानवे
""".split()
SCALES = (
    (10**11, "खरब"),
    (10**9, "अरब"),
    (10**7, "करोड़"),
    (10**5, "लाख"),
    (10**3, "हज़ार"),
    (100, "सौ"),
)
FIRST = {1: "पहल", 2: "दूसर", 3: "तीसर", 4: "चौथ", 6: "छठ"}
MONTHS = tuple("जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर".split())
_WORDS = pairs("""
comma दशमलव|point दशमलव|minus माइनस|plus प्लस|times गुणा|over भाग|equals बराबर|to से|less से कम
greater से ज़्यादा|at_most से कम या बराबर|at_least से ज़्यादा या बराबर|unequal बराबर नहीं
about लगभग|plusminus प्लस माइनस|infinity अनंत|root वर्गमूल|arrow से|and और|percent प्रतिशत
permille प्रति हज़ार|section धारा|copyright कॉपीराइट|number नंबर|degrees डिग्री|squared का वर्ग
cubed का घन|power की घात|by बाय|ratio अनुपात|out_of बटा|zero शून्य|dot डॉट|at ऐट|slash स्लैश
dash डैश|underscore अंडरस्कोर|tilde टिल्ड|link लिंक|version संस्करण|sharp शार्प|hashtag हैशटैग
dated दिनांक तारीख|half आधा|per प्रति|fold गुना|codes पिन कोड ओटीपी otp पासवर्ड
""")
_UNITS = nouns("""
km m किलोमीटर|m m मीटर|cm m सेंटीमीटर|mm m मिलीमीटर|kg m किलोग्राम|g m ग्राम|mg m मिलीग्राम
l m लीटर|L m लीटर|ml m मिलीलीटर|mL m मिलीलीटर|s m सेकंड|min m मिनट|h m घंटा घंटे|GB m गीगाबाइट
MB m मेगाबाइट|KB m किलोबाइट|TB m टेराबाइट|GHz m गीगाहर्ट्ज़|MHz m मेगाहर्ट्ज़|Hz m हर्ट्ज़|W m वाट
kW m किलोवाट|kWh m किलोवाट_घंटा|V m वोल्ट|mAh m मिलीऐम्पियर_घंटा|°C m डिग्री_सेल्सियस
°F m डिग्री_फ़ारेनहाइट|° m डिग्री|km/h m किलोमीटर_प्रति_घंटा|m/s m मीटर_प्रति_सेकंड|m² m वर्ग_मीटर
km² m वर्ग_किलोमीटर|m³ m घन_मीटर|dB m डेसिबल|kcal m किलोकैलोरी|किमी m किलोमीटर|मी m मीटर
सेमी m सेंटीमीटर|मिमी m मिलीमीटर|किग्रा m किलोग्राम|ग्रा m ग्राम|मिली m मिलीलीटर
किमी/घंटा m किलोमीटर_प्रति_घंटा|ली m लीटर
""")
_CURRENCIES = currencies("""
₹/INR/Rs/रु m रुपया रुपये m पैसा पैसे|$ m डॉलर डॉलर m सेंट सेंट
US$/USD m अमेरिकी_डॉलर अमेरिकी_डॉलर m सेंट सेंट|€/EUR m यूरो यूरो m सेंट सेंट
£/GBP m पाउंड पाउंड m पेनी पेंस|¥ m येन येन m सेन सेन
""")
_MANY = {"लाख": " ", "करोड़": " ", "अरब": " ", "हज़ार": " ", "हजार": " ", "मिलियन": " "}
_PARTS = {
    2: ("आधा", "आधे"),
    3: ("एक तिहाई", "तिहाई"),
    4: ("एक चौथाई", "चौथाई"),
}
_SHORT = pairs("""
कि.मी. किलोमीटर|कि.ग्रा. किलोग्राम|से.मी. सेंटीमीटर|मि.मी. मिलीमीटर|ई.पू. ईसा पूर्व|उदा. उदाहरण
मि.ली. मिलीलीटर|भा.ज.पा. भाजपा|यू.एस. यूएस
""")
_TITLES = pairs("डॉ. डॉक्टर|प्रो. प्रोफ़ेसर|इंजी. इंजीनियर|सुश्री. सुश्री")
_COUNTED = pairs("पृ. पृष्ठ|क्र. क्रमांक|सं. संख्या|नं. नंबर|No. नंबर|§ धारा")
SHORT = re.compile(rf"(?<![\w.])(?:{alternatives(_SHORT)})(?!\w)")
TITLE = re.compile(rf"(?<![\w.])(?:{alternatives(_TITLES)})(?= ?[^\W\d_])")
COUNTED = re.compile(rf"(?<![\w.])(?:{alternatives(_COUNTED)})(?= ?[0-9])")
ORDINAL = re.compile(
    r"(?<![\w.,])([0-9]{1,4})(?:-|\s)?(?:(ला|ली|ले|रा|री|रे|था|थी|थे|ठा|ठी|ठे)(?!\w)|व(ां|ाँ|ीं|ें))"
)
HALVES = re.compile(
    r"(?<![\w.,])([0-9]{1,3})(?:½|\.5(?= ?(?:लाख|करोड़|अरब|हज़ार|हजार|किलो|घंटे|घंटा|साल|महीने|मीटर)))"
)
CLOCK = re.compile(r"(?<![\w.:,])([01]?[0-9]|2[0-4]):([0-5][0-9])(?: ?बजे)?(?![\w:]|[.,][0-9])")
LOCAL = re.compile(
    r"(?<![\w.,+-])(?:[6-9][0-9]{4} [0-9]{5}|0[0-9]{2,4}[ -][0-9]{6,8})(?![\w]|[.,-][0-9])"
)


def cardinal(n: int, _gender: str = "") -> str:
    """By crores and lakhs: 1234567 is "बारह लाख चौंतीस हज़ार पाँच सौ सड़सठ"."""
    if n < 0:
        return f"माइनस {cardinal(-n)}"
    if n == 100:
        return "सौ"
    said = []
    for size, name in SCALES:
        if n >= size:
            said.append(f"{cardinal(n // size)} {name}")
            n %= size
    if n or not said:
        said.append(ONES[n])
    return " ".join(said)


def year(n: int, _after: str = "") -> str:
    """Of the second millennium by hundreds, like other numbers that are written without marks."""
    hundreds, rest = divmod(n, 100)
    if 11 <= hundreds <= 19:
        return f"{ONES[hundreds]} सौ" + (f" {ONES[rest]}" if rest else "")
    return cardinal(n)


def half_more(n: int) -> str:
    """One and a half, two and a half, and a half more."""
    return {0: "आधा", 1: "डेढ़", 2: "ढाई"}.get(n) or f"साढ़े {cardinal(n)}"


def clock(hour: int, minute: int, second: int) -> str:
    """Quarters and halves by their names up to twelve o'clock."""
    if second:
        return f"{cardinal(hour)} बजकर {cardinal(minute)} मिनट {cardinal(second)} सेकंड"
    if not minute:
        return f"{cardinal(hour)} बजे"
    if 1 <= hour <= 12:
        named = {
            15: f"सवा {cardinal(hour)}",
            30: half_more(hour),
            45: f"पौने {cardinal(hour % 12 + 1)}",
        }
        if minute in named and not (minute == 45 and hour == 12):
            return f"{named[minute]} बजे"
    return f"{cardinal(hour)} बजकर {cardinal(minute)} मिनट"


def clocks(text: str) -> str:
    return CLOCK.sub(lambda m: clock(int(m[1]), int(m[2]), 0), text)


def day(n: int, _before: str) -> str:
    return cardinal(n)


def date(d: int, month: int, in_year: int, _before: str) -> str:
    return f"{cardinal(d)} {MONTHS[month - 1]}" + (f" {year(in_year)}" if in_year else "")


def money(units: int, cents: int, unit: Noun, small: Noun) -> str:
    """पचास रुपये पचास पैसे."""
    return " ".join(filter(None, romance.priced(units, cents, unit, small, cardinal)))


def ordinals(text: str) -> str:
    return ORDINAL.sub(_ordinal, HALVES.sub(lambda m: half_more(int(m[1])), text))


def _ordinal(m: Match[str]) -> str:
    n, ending = int(m[1]), (m[2] or m[3])
    vowel = next((c for c in ending if c in "ाीे"), "ा")
    if n in FIRST:
        return FIRST[n] + vowel
    return f"{cardinal(n)}व{vowel}{'ँ' if vowel == 'ा' else 'ं'}" if m[3] else m[0]


LANGUAGE = Language(
    code="hi",
    comma=False,
    decimals=False,
    cardinal=cardinal,
    gender_of=lambda word: "",
    ordinals=ordinals,
    year=year,
    numeral=lambda before, n, after: "",
    day=day,
    date=date,
    clock=clock,
    clocks=clocks,
    money=money,
    words=_WORDS,
    month_names=MONTHS,
    months=months(
        MONTHS, "जन फरवरी/फर मार्च अप्रैल मई जून जुल अग सितम्बर/सित अक्तूबर/अक्टू नवम्बर/नव दिसम्बर/दिस"
    ),
    units=_UNITS,
    currencies=_CURRENCIES,
    many=_MANY,
    parts=_PARTS,
    telephones=telephones("प्लस", LOCAL, cardinal),
    abbreviations=((TITLE, _TITLES), (COUNTED, _COUNTED), (SHORT, _SHORT)),
)
