"""German."""

from __future__ import annotations

from whisperfusion.text.languages.words import words

# not "an", "auf", "aus", "mit", "das" or "wie", which end sentences: "Mach das Licht an."
WORDS = words(
    "(Antworte auf Deutsch.)",
    "Einen Moment.",
    failed="Entschuldigung, da ist etwas schiefgegangen. Bitte versuchen Sie es noch einmal.",
    interrupted="Entschuldigung, ich wurde unterbrochen.",
    hesitations="äh ähm öh hm tja",
    open_words="""
        der die den dem des ein eine einen einem einer eines und oder aber sondern weil dass wenn ob
        im am vom zum zur für beim durch gegen ohne mein meine meinen meinem meiner dein deine
        deinen ihre ihren unser unsere unseren sehr ich
    """,
    backchannels="""
        ja, jaja, genau, klar, stimmt, achso, ach, gut, schön, verstehe, naja, jo, okay, aha,
        richtig, alles klar, ach so, mhm, hm, eben, super, prima, na klar, in ordnung
    """,
    commands="nein, nee, aber, hallo, hey, entschuldigung",
    stops="""
        stopp, stop, halt, warte, warten, moment, ruhe, genug, still, sei still, hör auf,
        abbrechen, schluss
    """,
)
