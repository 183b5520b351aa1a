"""Italian."""

from __future__ import annotations

from whisperfusion.text.languages.words import words

# not "è", "come" or "perché": "Che cos'è?", "Perché?"
WORDS = words(
    "(Rispondi in italiano.)",
    "Un momento.",
    failed="Scusi, qualcosa è andato storto. Riprovi, per favore.",
    interrupted="Scusi, c'è stata un'interruzione.",
    hesitations="ehm eh mmm cioè",
    open_words="""
        il lo la i gli le un uno una di del dello della dei degli delle a al allo alla ai agli alle
        da dal dalla dai dalle in nel nella nei nelle con su sul sulla per tra fra e ed o ma che se
        quando mio mia miei mie tuo tua suo sua nostro nostra
    """,
    backchannels="""
        sì, si, certo, già, esatto, capisco, ecco, bene, giusto, vero, perfetto, va bene, ho capito,
        daccordo, come no, certamente, ok, ah, mm
    """,
    commands="no, ma, scusa, scusi, ciao, ehi",
    stops="ferma, fermati, si fermi, basta, aspetta, aspetti, zitto, zitta, silenzio, annulla",
)
