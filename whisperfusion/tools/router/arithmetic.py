"""A sum in words as an expression of the calculator: "24 times 17" is "24 * 17".

Only a text that asks for one sum and nothing else is read; stories with numbers in them are left to
a model.
"""

from __future__ import annotations

import re

NUMBER = r"(-?\d{1,15}(?:\.\d{1,9})?%?)"
ALONE = re.compile(NUMBER)
TWICE = re.compile(r"(% of \d{1,15}(?:\.\d{1,9})?)%$")
OPERATOR = re.compile(
    r" (to the power of|multiplied (?:by|with)|times|divided (?:by|through|with)|over|plus|"
    r"added to|minus|less|take away|and) | ?([-+*/^]) ?(?=[\d.])"
)
SIGNS = {"to": "^", "multiplied": "*", "times": "*", "divided": "/", "over": "/", "plus": "+"}
SIGNS |= {"added": "+", "minus": "-", "less": "-", "take": "-"}
FORMS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern.replace("N", NUMBER)), form)
    for pattern, form in (
        (r"N(?<=%) (?:of|from) N", "{0} of {1}"),
        (r"(?:the )?square root (?:of|from) N", "sqrt({0})"),
        (r"(?:the )?(?:cube|cubic|3rd) root (?:of|from) N", "{0} ^ (1 / 3)"),
        (r"N squared|(?:the )?square of N", "{0} ^ 2"),
        (r"N cubed|(?:the )?cube of N", "{0} ^ 3"),
        (r"(?:a |1 )?half (?:of )?N", "{0} / 2"),
        (r"(?:a |1 )?(?:third|3rd) of N", "{0} / 3"),
        (r"(?:a |1 )?quarter of N", "{0} / 4"),
        (r"(?:the )?(?:double|twice)(?: of)? N", "{0} * 2"),
        (r"(?:the )?sum of N and N|add N (?:and|to|with) N", "{0} + {1}"),
        (
            r"N and N (?:together|in total|added(?: up| together)?|altogether|combined)",
            "{0} + {1}",
        ),
        (r"(?:the )?product of N and N|multiply N (?:by|with|and) N", "{0} * {1}"),
        (r"divide N (?:by|through|with) N", "{0} / {1}"),
        (r"(?:subtract|take|deduct) N(?: away)? from N", "{1} - {0}"),
        (r"(?:the )?difference (?:between|of) N and N", "abs({0} - {1})"),
        (r"N to the (\d+)(?:th|nd|rd|st)(?: power)?", "{0} ^ {1}"),
    )
)
UNITS = re.compile(r"(?<=\d) ?(?:euros?|dollars?|pounds?|bucks|quid)\b")
CUES = re.compile(
    r"^(?:(?:how (?:much|many)|what)(?:'s| is| are| would| does| do| makes| will)?(?: it| that)?"
    r"(?: you get if (?:you|i)| you get (?:for|from)| be| make)*|calculate|compute|work out|"
    r"figure out|tell me|find|i need to know|i(?:'d| would) like to know|do you know|give me|solve|"
    r"(?:the )?(?:answer|solution|result) (?:to|of|for)|if you|if i|say) "
)
ENDS = re.compile(
    r"[ ,.]{1,3}(?:(?:so |and )?what(?:'s| is| would| does| do)?(?: that| it| this| you get)?"
    r"(?: be| make| equal)?|equals?(?: what)?|is(?: what)?|how much is (?:that|it)|"
    r"makes(?: what)?)$"
)


def expression(text: str) -> str | None:
    """Of a text in digits, without what asks for it politely; None for one that asks for more."""
    asked = UNITS.sub("", text).strip(" .,!?")
    before = None
    while before != asked:
        before, asked = asked, ENDS.sub("", CUES.sub("", asked)).strip(" .,!?")
    # the recognizer's "15% of 84%"
    asked = TWICE.sub(r"\1", asked)
    whole = _form(asked)
    if whole is None:
        return _chain(asked)
    return whole[1:-1] if whole.startswith("(") else None  # a number alone is no sum


def _form(part: str) -> str | None:
    if ALONE.fullmatch(part):
        return part
    for pattern, form in FORMS:
        found = pattern.fullmatch(part)
        if found:
            return f"({form.format(*(group for group in found.groups() if group))})"
    return None


def _chain(text: str) -> str | None:
    """Numbers, or forms like "the square root of 9", between operators."""
    parts = OPERATOR.split(text)
    written: list[str] = []
    for part, word, sign in zip(parts[::3], [*parts[1::3], ""], [*parts[2::3], ""], strict=True):
        operand = _form(part.strip())
        if operand is None or word == "and":
            return None
        written.append(operand)
        operator = sign or SIGNS.get(word.split()[0] if word else "", "")
        if operator:
            written.append(operator)
    return " ".join(written) if len(written) > 2 else None
