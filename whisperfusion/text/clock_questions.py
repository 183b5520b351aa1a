"""Is the user asking for the time of day, or the date?

Only such questions get the time beside them (generation/instructions.py), so every other question
finds its prompt in the cache. What names a time and means another ("What year did the war end?",
"What time does it open?") is none of them.
"""

from __future__ import annotations

import re

_UNIT = r"(?:time|hour|date|day|weekday|month|year|season|week)"
_THEN = r"(?:it|now|today|tonight|tomorrow|yesterday|we|next|this|the (?:date|day|time|month|year))"
_STATE = (
    r"(?:morning|noon|midday|afternoon|evening|night|midnight|weekend|late|early|winter|spring"
    r"|summer|autumn|fall|(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april"
    r"|may|june|july|august|september|october|november|december)"
)
_ENGLISH = (
    rf"\b(?:what|which)(?: \w+){{0,2}} {_UNIT}(?: of the (?:week|month|year))?"
    rf"(?:'s| is| was| will| are| do| have| comes| it is| it's)? ?\b{_THEN}\b",
    r"\bwhat(?:'s| is| was| will)(?: be)? (?:the |today'?s? |tomorrow'?s? |yesterday'?s? |current )"
    r"(?:exact |current |local )?(?:time|date|day|month|year|season|weekday|hour)"
    r"(?: (?:now|today|tomorrow|yesterday|next (?:week|month|year)|after tomorrow|before yesterday"
    r"|please|right now|be next year))?[,.?! ]*$",
    r"\b(?:tell|give|say|know|have|got)\b(?: \w+){0,2} the (?:exact |current )?(?:time|date|day)\b"
    r"(?! (?:of|to))",
    r"\bhow (?:late|early) is it\b",
    rf"\b(?:is|was|will) (?:it|today|tomorrow|yesterday)(?: be)?(?: \w+){{0,3}} {_STATE}\b",
    r"\b(?:what|which) (?:month|year|season) (?:comes|is) next\b",
    r"\bwhat time ?zone\b",
    r"\bhow (?:long|many (?:days|weeks|months|hours))(?: \w+){0,3} (?:until|till|before)\b",
)
_OTHERS = (
    r"\bwie (?:spät|viel uhr)\b|\bwelche[rsn]? (?:\w+ )?(?:tag|datum|wochentag|monat|jahr)\b"
    r"|\b(?:den wievielten|der wievielte)\b|\buhrzeit\b",  # German
    r"\bquelle heure\b|\bquel (?:jour|mois)\b|\bquelle (?:date|année|est la date)\b"
    r"|\ble combien\b",  # French
    r"\bqué (?:hora|día|fecha|mes|año)\b",  # Spanish
    r"\bche (?:ora|ore|giorno|data|mese|anno)\b|\bquanti ne abbiamo\b",  # Italian
    r"\bque (?:horas|dia|data|mês|ano)\b",  # Portuguese
    r"\bhoe laat\b|\bwelke (?:dag|datum|maand)\b|\bwelk jaar\b",  # Dutch
    r"\bktóra (?:jest )?godzina\b|\bjaki (?:dziś|dzisiaj|jest|mamy)\b",  # Polish
    r"几点|幾點|几号|幾號|星期几|星期幾|今天是"  # Chinese
    r"|何時|何曜日|何日(?!あ|間)|今日は何",  # Japanese; 何日あり, 何日間: how many days
)
_ASKED = re.compile("|".join((*_ENGLISH, *_OTHERS)), re.IGNORECASE)
LONGEST = 300  # characters at the end of what the user says that are looked at


def asks_for_clock(text: str) -> bool:
    return _ASKED.search(text[-LONGEST:].replace("’", "'")) is not None
