"""Which language a caller speaks: fixed by the client or the operator, or detected in each
utterance among those that the server speaks.

The recognizer decides for one utterance; what it needs for that is the language so far, and the one
that the utterance before pointed to without being clear (`engines.whisper.spoken_language`). Both
are kept here, and only a turn that is over changes them.
"""

from __future__ import annotations

from dataclasses import replace

from whisperfusion.engines import ASROptions, Hypothesis


class SpokenLanguage:
    """`fixed` None = detect, among `languages` (ISO codes; empty = all). `current` is the language
    that the call begins in, "" = not known.
    """

    def __init__(self, fixed: str | None, languages: tuple[str, ...], current: str = "") -> None:
        self.fixed, self.languages = fixed, languages
        first = languages[0] if languages else ""
        self.current = fixed or (current if self._may_be(current) else first)
        self.first = first or self.current  # which FILLER is in
        self._suspected = ""
        # another language than now has been spoken or asked for in this call
        self._switched = bool(current) and current != self.current

    def has_switched(self, language: str) -> bool:
        """Whether the call has been in another language than this, or calls begin in another."""
        begun = self.first and self.first != language
        return self._switched or bool(begun or (self.current and self.current != language))

    def options(self, options: ASROptions) -> ASROptions:
        """Of the next utterance."""
        if self.fixed is not None:
            return replace(options, language=self.fixed, languages=(), expected="", suspected="")
        return replace(
            options,
            language=None,
            languages=self.languages,
            expected=self.current,
            suspected=self._suspected,
        )

    def of(self, hypothesis: Hypothesis) -> str:
        """The language of an utterance, interim or final; "" = not known."""
        if self.fixed is not None or not self._may_be(hypothesis.language):
            return self.current
        return hypothesis.language

    def turn_ended(self, hypothesis: Hypothesis) -> None:
        """A turn had these words."""
        if self.fixed is not None or not hypothesis.text or hypothesis.language_assumed:
            return
        self._suspected = hypothesis.likeliest
        self._change(self.of(hypothesis))

    def typed(self, language: str) -> None:
        """A text of the caller is in this language."""
        if self.fixed is None and self._may_be(language):
            self._suspected = ""
            self._change(language)

    def choose(self, language: str | None) -> None:
        """The client asks for a language, None = that it is detected from now on."""
        self.fixed, self._suspected = language, ""
        if language is not None:
            self._change(language)
        elif not self.languages:
            self.current = ""

    def _may_be(self, language: str) -> bool:
        return bool(language) and (not self.languages or language in self.languages)

    def _change(self, language: str) -> None:
        self._switched = self._switched or bool(self.current and language != self.current)
        self.current = language
