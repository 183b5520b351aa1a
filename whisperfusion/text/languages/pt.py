"""Portuguese."""

from __future__ import annotations

from whisperfusion.text.languages.words import words

# not "é" or "muito": "O que é?", "Gosto muito."
WORDS = words(
    "(Responda em português.)",
    "Um momento.",
    failed="Desculpe, algo deu errado. Tente outra vez, por favor.",
    interrupted="Desculpe, houve uma interrupção.",
    hesitations="hum hã ahn éh tipo",
    open_words="""
        o a os as um uma uns umas de do da dos das em no na nos nas por pelo pela pelos pelas para
        pra com sem sobre entre e ou mas porque que se quando meu minha meus minhas teu tua seu sua
        seus suas nosso nossa tão até
    """,
    backchannels="""
        sim, certo, claro, entendi, pois, exatamente, tá, tá bom, isso, aham, uhum, legal, beleza,
        perfeito, com certeza, pois é, está bem, ok, ah
    """,
    commands="não, mas, oi, olá, desculpa, desculpe, ei",
    stops="para, pare, chega, espera, espere, silêncio, cala, cala a boca, cancela, basta, parar",
)
