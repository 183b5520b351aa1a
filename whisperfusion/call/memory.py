"""What is kept of the calls of this process, so that a later connection goes on with one of them:
on the same server, after its death, or on another server of the same store.

A call is kept whenever what there is to keep has changed: after each turn, at each piece of a reply
that was heard, at each timer, and at its end. Nothing here waits for the store but the opening of a
call that asks for an earlier one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from whisperfusion.call.timers import Timers
from whisperfusion.messages import ExtractFacts, FactsExtracted, Ticket, Timer
from whisperfusion.sessions import (
    Pending,
    Session,
    SessionWriter,
    Store,
    StoreError,
    is_id,
    may_resume,
    new_id,
    open_store,
    owner_of,
)
from whisperfusion.settings import Settings
from whisperfusion.turns.conversation import Conversation
from whisperfusion.wire.asr_events import HistoryLine

LOAD_S = 3.0  # for a store that is slow; then the call starts anew
SETTLE_S = 1.0  # of them, for what the earlier call has not written yet
KEEP_S, KEEP_SHARE = 0.2, 20.0  # between two looks at a reply: seconds; times the length of one
MOST_EXTRACTING = 1000  # calls whose facts are awaited; a language model that died gives none
TAKEN = "this conversation goes on in another connection"

log = logging.getLogger("asr")


class Offer(NamedTuple):
    """What a client is told of the memory of its call."""

    session: str | None = None  # None: nothing is kept
    resumed: bool | None = None  # None: it did not ask
    messages: int = 0  # of the history that the call goes on with
    pending: bool = False  # the reply to the last of them was lost
    history: tuple[HistoryLine, ...] | None = None  # None: it did not ask
    summary: str = ""  # of what came before


def unfinished_timers(conversation: Conversation, timers: Timers) -> tuple[Timer, ...]:
    """Those that are due, until their announcement has ended, and those to come."""
    told = [
        Timer(one.timer, one.text, one.due_at, one.told) for one in conversation.unsaid if one.timer
    ]
    return (*told, *timers.running)


class CallMemory:
    """Of one call. `save` takes each new record; `on_taken` is called when another connection goes
    on with the session. `after`: the calls that had it before, as far as the store may know.
    `facts` are known of the caller from earlier calls.
    """

    def __init__(
        self,
        session: Session,
        resumed: bool | None,
        save: Callable[[Session], object],
        after: frozenset[str] = frozenset(),
        facts: tuple[str, ...] = (),
    ) -> None:
        self.after, self.facts = after, facts
        self.session, self.resumed, self._save = session, resumed, save
        self.on_taken: Callable[[str], object] = lambda reason: None
        self._of: tuple[Conversation, Timers] | None = None
        self._kept: object = None  # what the newest record has
        self._over = False
        self.elsewhere = False  # another connection goes on with the session
        self._ticket: Ticket | None = None  # of the reply in flight, when it was last looked at
        self._look_at = 0.0  # monotonic; not before, while the same reply is played
        self._later: asyncio.TimerHandle | None = None

    def offer(self, whole: bool) -> Offer:
        """`whole`: with the history."""
        session = self.session
        if not self.resumed:
            return Offer(session.id, self.resumed)
        offer = Offer(session.id, True, len(session.history), session.pending is not None)
        if not whole:
            return offer
        lines = tuple(HistoryLine(one.role, one.text) for one in session.history)
        return offer._replace(history=lines, summary=session.summary)

    @property
    def chain(self) -> str:
        """Of language models, that the call asks; "" = the server's."""
        return self._of[0].options.chain if self._of is not None else ""

    def of_agent(self, name: str) -> None:
        """The agent of the call; "" = none."""
        self.session = replace(self.session, agent=name)

    def start(self, conversation: Conversation, timers: Timers) -> None:
        """The call that has this memory, and its timers. A session that goes on says at once where
        it does.
        """
        self._of = conversation, timers
        timers.restore(self.session.timers)
        self._kept = self._state()
        if self.resumed:
            self._save(self.record())

    def keep(self) -> None:
        """If anything has changed. What was heard of a long reply takes long to find, so while one
        is played that is done seldom enough to cost a twentieth of the time.
        """
        if self._of is None or self._over:
            return
        ticket, began = self._of[0].reply_ticket, time.monotonic()
        if ticket is not None and ticket == self._ticket and began < self._look_at:
            if self._later is None:
                loop = asyncio.get_running_loop()
                self._later = loop.call_later(self._look_at - began, self._keep_later)
            return
        self._ticket = ticket
        self._keep()
        now = time.monotonic()
        self._look_at = now + max(KEEP_S, KEEP_SHARE * (now - began))

    def _keep_later(self) -> None:
        self._later = None
        self.keep()

    def store(self) -> None:
        """What has changed, at once."""
        if self._of is not None and not self._over:
            self._keep()

    def _keep(self) -> None:
        state = self._state()
        if state != self._kept:
            self._kept = state
            self._save(self.record())

    def record(self, ended: bool = False) -> Session:
        """As it is now."""
        if self._of is None:
            return self.session
        conversation, timers = self._of
        now, unfinished = time.time(), conversation.unfinished
        done = conversation.tools_used if unfinished else ()
        self.session = replace(
            self.session,
            updated=now,
            ended=now if ended else None,
            history=(*conversation.history, *done),
            summary=conversation.summary,
            timers=unfinished_timers(conversation, timers),
            language=conversation.options.language or "",
            pending=Pending(*unfinished) if unfinished else None,
        )
        return self.session

    def end(self) -> None:
        """The connection is gone. A call in which nothing was said leaves nothing."""
        if self._later is not None:
            self._later.cancel()
        if self._of is None or self._over:
            return
        record = self.record(ended=True)
        self._over = True
        if record.history or record.timers or record.summary:
            self._save(record)

    def taken(self) -> None:
        """Another connection goes on with it: nothing more is kept here."""
        self.elsewhere = True
        if not self._over:
            self._over = True
            self.on_taken(TAKEN)

    def _state(self) -> object:
        assert self._of is not None
        conversation, timers = self._of
        return (
            conversation.history,
            conversation.summary,
            conversation.unfinished,
            conversation.tools_used,
            unfinished_timers(conversation, timers),
            conversation.options.language,
        )


class Memory:
    """Of the calls of this process. Its methods are called on the event loop, but `close`.

    `post` takes messages to the language model.
    """

    def __init__(
        self, settings: Settings, store: Store, post: Callable[[ExtractFacts], object]
    ) -> None:
        self._settings, self._store, self._post = settings, store, post
        self._extracting: dict[str, tuple[str, str]] = {}  # owner and caller, by ticket
        self._writer = SessionWriter(
            store, settings.resume_s, settings.remember_callers, taken=self._written_elsewhere
        )
        self._live: dict[str, CallMemory] = {}  # by session
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(
        self, asked: str, call: str, key: int | None, agent: str = "", caller: str = ""
    ) -> CallMemory:
        """The memory of a new call, or that of the session `asked` for. Never fails: what cannot be
        found or may not be told starts anew.
        """
        self._loop = asyncio.get_running_loop()
        owner = "" if key is None else await asyncio.to_thread(owner_of, self._settings, key)
        found, after = None, frozenset[str]()
        if is_id(asked):
            found, after = await self._found(asked, owner)
        if found is None:
            now = time.time()
            session = Session(new_id(), now, now, owner, call, agent, caller=caller)
        else:
            after |= {found.call}
            session = replace(found, call=call, ended=None, caller=caller or found.caller)
        facts = await self._facts(session)
        return self._begun(session, found is not None if asked else None, after, facts)

    def metrics(self) -> tuple[tuple[str, float], ...]:
        return (("session_store_up", float(self._writer.up)),)

    async def stored(self, memory: CallMemory) -> None:
        """Writes what is known of a call now; waits for a store that is slow, but not for long."""
        memory.store()
        await asyncio.to_thread(self._writer.settled, memory.session.id, SETTLE_S)

    def close(self) -> None:
        """Write what waits. Blocks, for seconds at most."""
        self._writer.close()

    def _begun(
        self,
        session: Session,
        resumed: bool | None,
        after: frozenset[str],
        facts: tuple[str, ...],
    ) -> CallMemory:
        def save(record: Session) -> None:
            self._writer.save(record, after)

        memory = CallMemory(session, resumed, save, after, facts)
        self._live[session.id] = memory
        return memory

    def forget(self, memory: CallMemory) -> None:
        """Its call is over, here at least."""
        if self._live.get(memory.session.id) is memory:
            del self._live[memory.session.id]
            if not memory.elsewhere:
                self._extract(memory)

    # --- facts of callers ------------------------------------------------------------------------

    async def _facts(self, session: Session) -> tuple[str, ...]:
        if not (self._settings.remember_callers and session.caller):
            return ()
        owner, caller = session.owner, session.caller
        try:
            known = asyncio.to_thread(self._store.facts, owner, caller)
            return await asyncio.wait_for(known, LOAD_S)
        except (StoreError, TimeoutError, asyncio.TimeoutError) as error:
            log.warning("facts of a caller cannot be read: %s", error or "the store is slow")
            return ()

    def _extract(self, memory: CallMemory) -> None:
        """Have the language model look for facts in a call that is over."""
        session = memory.session
        said = any(message.role == "user" for message in session.history)
        if not (self._settings.remember_callers and session.caller and said):
            return
        ticket = Ticket(f"facts of {session.call}", 0)
        self._extracting[ticket.call] = session.owner, session.caller
        if len(self._extracting) > MOST_EXTRACTING:
            self._extracting.pop(next(iter(self._extracting)))
        self._post(ExtractFacts(ticket, session.history, memory.facts, memory.chain))

    def facts_extracted(self, message: FactsExtracted) -> None:
        whose = self._extracting.pop(message.ticket.call, None)
        if whose is not None and message.facts:  # a model that wrote nothing deletes nothing
            self._writer.save_facts(*whose, message.facts)

    async def _found(self, id: str, owner: str) -> tuple[Session | None, frozenset[str]]:
        """Taken from the call that has it now, with those before it, or from the store."""
        if id not in self._live:
            stored = await self._loaded(id)
            if id not in self._live:  # which a faster one may be meanwhile
                now, within_s = time.time(), self._settings.resume_s
                fits = stored is not None and may_resume(stored, owner, now, within_s)
                return (stored if fits else None), frozenset()
        older = self._live[id]
        if older.session.owner != owner:
            return None, frozenset()
        record = older.record()
        older.taken()
        return record, older.after

    async def _loaded(self, id: str) -> Session | None:
        def load() -> Session | None:
            self._writer.settled(id, SETTLE_S)
            return self._store.load(id)

        try:
            return await asyncio.wait_for(asyncio.to_thread(load), LOAD_S)
        except (StoreError, TimeoutError, asyncio.TimeoutError) as error:
            log.warning("a session cannot be taken up: %s", error or "the store is slow")
            return None

    def _written_elsewhere(self, record: Session) -> None:
        """In the thread of the writer: another server has the session now."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._taken_elsewhere, record)

    def _taken_elsewhere(self, record: Session) -> None:
        memory = self._live.get(record.id)
        if memory is not None and memory.session.call == record.call:
            memory.taken()
            self.forget(memory)


def memory_of(settings: Settings, post: Callable[[ExtractFacts], object]) -> Memory | None:
    """None where STORE_URL switches the store off. Raises SettingsError."""
    store = open_store(settings)
    return None if store is None else Memory(settings, store, post)
