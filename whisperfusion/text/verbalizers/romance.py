"""What French, Italian, Portuguese and Spanish share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from whisperfusion.text.verbalizers.language import Noun


def scaled(
    n: int,
    scales: Sequence[tuple[int, str, str]],
    multiplier: Callable[[int], str],
    rest: Callable[[int], str],
) -> list[str]:
    """The parts of `n`: a count of each scale, (size, one, several), and the rest."""
    said = []
    for size, one, several in scales:
        if n >= size:
            said.append(one if n // size == 1 else f"{multiplier(n // size)} {several}")
            n %= size
    return [*said, rest(n)] if n or not said else said


def priced(
    units: int, cents: int, unit: Noun, small: Noun, cardinal: Callable[[int, str], str]
) -> tuple[str, str]:
    """Units with their noun, hundredths with theirs; "" for none of them."""
    whole = f"{cardinal(units, unit[0])} {unit[1 if units == 1 else 2]}"
    part = f"{cardinal(cents, small[0])} {small[1 if cents == 1 else 2]}" if cents else ""
    return ("" if cents and not units else whole), part


KINGS = frozenset(
    "Alfonso Felipe Carlos Fernando Isabel Juan Enrique Luis Pedro Jaime Sancho Benedicto Pío "
    "Francisco Pablo León Gregorio Clemente Jorge Eduardo Ricardo Guillermo Federico Napoleón "
    "Nicolás Alejandro Iván Catalina Gustavo Otón Urbano Inocencio María Leopoldo Ramsés Tolomeo "
    "Louis Charles Henri François Philippe Napoléon Jean Benoît Pie Léon Grégoire Clément Georges "
    "Édouard Richard Guillaume Frédéric Nicolas Alexandre Catherine Élisabeth Elizabeth Albert "
    "Vittorio Umberto Carlo Filippo Luigi Enrico Giovanni Benedetto Pio Leone Gregorio Federico "
    "Napoleone Nicola Alessandro Ferdinando Francesco Paolo Giorgio Edoardo Riccardo Guglielmo "
    "Elisabetta Caterina Emanuele Amedeo Cosimo Innocenzo "
    "João Pedro Dom Manuel Afonso Sebastião Henrique Filipe Luís Bento Leão Gregório Clemente "
    "Napoleão Nicolau Alexandre Catarina Francisco Paulo Isabel Maria José Fernando Duarte Sancho "
    "Dinis Miguel Jorge Eduardo Ricardo Guilherme Frederico Ivan".split()
)
QUEENS = frozenset(
    "Isabel Catalina María Catherine Élisabeth Elizabeth Elisabetta Caterina Catarina Maria".split()
)
COUNTED = frozenset(
    "siglo siglos capítulo tomo volumen acto título parte fase tipo clase libro guerra "
    "chapitre tome volume acte titre partie phase type classe livre "
    "capitolo volume atto titolo fase tipo classe libro "
    "século séculos capítulo volume ato título parte fase tipo classe livro".split()
)


def numerals(
    ordinal: Callable[[int, bool], str], cardinal: Callable[[int], str], last: int
) -> Callable[[str, int, str], str]:
    """`Language.numeral`: rulers have ordinals up to `last`; what is counted has cardinals."""

    def numeral(before: str, n: int, after: str) -> str:
        if before in KINGS:
            return ordinal(n, before in QUEENS) if n <= last else cardinal(n)
        return cardinal(n) if before.lower() in COUNTED else ""

    return numeral
