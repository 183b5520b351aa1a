"""French."""

from __future__ import annotations

from whisperfusion.text.languages.words import words

# not "vous", "est" or "plus": "Et vous ?", "Je ne sais plus."
WORDS = words(
    "(Réponds en français.)",
    "Un instant.",
    failed="Pardon, quelque chose s'est mal passé. Veuillez réessayer.",
    interrupted="Pardon, il y a eu une interruption.",
    hesitations="euh heu hum ben bah",
    open_words="""
        le la les l un une des du de d à au aux dans sur sous avec sans pour par chez entre vers et
        ou mais car parce que qu si quand lorsque comme mon ma mes ton ta tes son sa ses notre nos
        votre vos leur leurs ce cet cette ces je j très
    """,
    backchannels="""
        oui, ouais, exactement, voilà, daccord, entendu, bien, super, hum, mm, ah, bon, tout à fait,
        bien sûr, je vois, cest ça, je comprends, ça marche, absolument, ok
    """,
    commands="non, mais, pardon, excuse, excusez, bonjour, dis",
    stops="""
        stop, arrête, arrêtez, attends, attendez, silence, assez, taistoi, tais toi, taisez vous,
        ça suffit, annule
    """,
)
