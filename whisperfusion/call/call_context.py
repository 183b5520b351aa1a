"""What a call knows and the conversation does not: added to what the other processes are asked."""

from __future__ import annotations

from dataclasses import replace

from whisperfusion.call.dialects import View
from whisperfusion.call.service import Service
from whisperfusion.call.spoken_language import SpokenLanguage
from whisperfusion.call.timers import Timers
from whisperfusion.messages import Commit, Generate, Sentence, Trace
from whisperfusion.text.languages import words_of
from whisperfusion.turns.conversation import Conversation


class CallContext:
    """`tells_language`: sentences that the server says by itself go with the call's language."""

    def __init__(
        self,
        conversation: Conversation,
        language: SpokenLanguage,
        timers: Timers,
        trace: Trace,
        service: Service,
        view: View,
        tells_language: bool,
    ) -> None:
        self._conversation, self._language, self._timers = conversation, language, timers
        self._trace, self._service, self._view = trace, service, view
        self._tells_language = tells_language

    def added_to(self, command: Commit | Generate | Sentence) -> Commit | Generate | Sentence:
        language = self._conversation.options.language or ""
        match command:
            case Commit():
                return self._with_wait(self._with_filler(command, language))
            case Sentence():
                return replace(command, language=language) if self._tells_language else command
        known = replace(command, timers=self._timers.running, trace=self._trace)
        return replace(known, language=language, switched=self._language.has_switched(language))

    def _with_wait(self, commit: Commit) -> Commit:
        """A reply that cannot come soon: its client learns that now, and the filler, where there is
        one, is spoken at once.
        """
        wait = None if self._conversation.apologizing else self._service.estimate_wait()
        if wait is None:
            return commit
        self._view.waiting(commit.ticket.turn, wait)
        return replace(commit, filler_in_s=0.0)

    def _with_filler(self, commit: Commit, language: str) -> Commit:
        """FILLER is in the language that calls begin in; in another one it is ours, or none."""
        if commit.filler is None or not self._language.has_switched(language):
            return commit
        first = self._language.first
        filler = commit.filler if language == first else words_of(language).filler or None
        return replace(commit, filler=filler, language=language)
