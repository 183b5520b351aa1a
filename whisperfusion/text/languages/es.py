"""Spanish."""

from __future__ import annotations

from whisperfusion.text.languages.words import words

# not "es", "este", "está", "más" or "como": "¿Qué es?", "un poco más"
WORDS = words(
    "(Responde en español.)",
    "Un momento.",
    failed="Perdón, algo ha salido mal. Inténtelo otra vez, por favor.",
    interrupted="Perdón, hubo una interrupción.",
    hesitations="eh ehm em mmm este",
    open_words="""
        el la los las un una unos unas de del al a en con por para sin sobre entre y e o u ni pero
        porque que si aunque cuando mi mis tu tus su sus nuestro nuestra muy tan hacia desde hasta
        según pues
    """,
    backchannels="""
        sí, si, claro, vale, bueno, ajá, ya, exacto, entiendo, perfecto, bien, eso, cierto, genial,
        anda, ok, okay, por supuesto, de acuerdo, muy bien, ya veo, está bien, así es
    """,
    commands="hola, oye, perdón, perdona, disculpa, no, pero",
    stops="""
        para, alto, basta, espera, espere, silencio, cállate, detente, deténgase, cancela, cancelar,
        ya basta, un momento
    """,
)
