"""`whisperfusion sessions [list|show|export|delete|purge] [ID ...]`: what the store of sessions
keeps, read and deleted without the server.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from whisperfusion.paths import COMMAND
from whisperfusion.sessions import Session, Store, StoreError, is_caller, is_id
from whisperfusion.sessions.opening import bare_store
from whisperfusion.sessions.owners import all_owners
from whisperfusion.settings import Settings

ACTIONS = ("list", "show", "export", "delete", "purge")
PAGE = 100
DESCRIPTION = """\
What the store of sessions keeps (STORE_URL), also while the server runs:

  list             the sessions, the newest first (the default)
  show ID ...      one or several as text: what was said, summary, timers
  export [ID ...]  as a JSON array on standard output; without ids, all
  delete ID ...    delete them; a call that goes on is not stored any more
  purge            delete what has expired; the server does that by itself

--caller NAME takes the sessions of that caller instead of ids. With show and export it adds
what is known of the caller, and with delete it forgets that too.
"""
EXAMPLES = f"""\
examples:
  {COMMAND} sessions
  {COMMAND} sessions export > sessions.json
  {COMMAND} sessions delete --caller anna
  {COMMAND} sessions delete --everything
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("action", nargs="?", default="list", choices=ACTIONS, metavar="ACTION")
    parser.add_argument("ids", nargs="*", metavar="ID", help="ids of sessions")
    parser.add_argument("--caller", default="", metavar="NAME", help="an identity, instead of ids")
    parser.add_argument(
        "--everything", action="store_true", help="every session, for show and delete"
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The exit status: 0 done, 1 an id is unknown or the store cannot be used, 2 wrong arguments.

    Raises SettingsError.
    """
    if problem := _problem(arguments):
        print(f"sessions {arguments.action}: {problem}", file=sys.stderr)
        return 2
    store = bare_store(settings)
    if store is None:
        print("sessions: STORE_URL=none, so none are kept", file=sys.stderr)
        return 1
    try:
        return _Command(arguments, settings, store).run()
    except StoreError as error:
        print(f"sessions {arguments.action}: {error}", file=sys.stderr)
        return 1
    finally:
        store.close()


def _problem(arguments: argparse.Namespace) -> str:
    """What is wrong with the arguments; "" = nothing."""
    ids, caller = arguments.ids, arguments.caller
    chosen = bool(ids) + bool(caller) + arguments.everything
    if wrong := [id for id in ids if not is_id(id)]:
        return f"{wrong[0]!r} is not the id of a session ({COMMAND} sessions list shows them)"
    if caller and not is_caller(caller):
        return "a caller has 1 to 200 printable characters"
    if chosen > 1:
        return "give ids, or --caller, or --everything"
    if arguments.action in ("show", "delete") and not chosen:
        return (
            f"name the sessions ({COMMAND} sessions list shows them), --caller NAME or --everything"
        )
    if arguments.action == "purge" and chosen:
        return "it takes no ids: it deletes what has expired"
    if arguments.action == "list" and (ids or arguments.everything):
        return "it takes no ids; show ID has more"
    return ""


class _Command:
    def __init__(self, arguments: argparse.Namespace, settings: Settings, store: Store) -> None:
        self._arguments, self._store = arguments, store
        self._owners = all_owners(settings) if arguments.caller else []
        self._unknown = 0

    def run(self) -> int:
        match self._arguments.action:
            case "list":
                _print_table(list(self._chosen()))
            case "show":
                for session in self._chosen():
                    print(_text(session))
                for fact in self._facts():
                    print(f"known of {self._arguments.caller}: {fact}")
            case "export":
                self._export()
            case "delete":
                self._delete()
            case "purge":
                print(f"deleted: {self._store.purge()}")
        return 1 if self._unknown else 0

    def _chosen(self) -> Iterator[Session]:
        """The sessions that the arguments name; unknown ids are reported."""
        for id in self._arguments.ids:
            found = self._store.load(id)
            if found is None:
                self._unknown += 1
                print(f"{id}: not kept (deleted, expired, or never there)", file=sys.stderr)
            else:
                yield found
        if not self._arguments.ids:
            caller = self._arguments.caller
            yield from (one for one in self._all() if not caller or one.caller == caller)

    def _all(self) -> Iterator[Session]:
        offset = 0
        while page := self._store.list(None, offset, PAGE):
            yield from page
            offset += PAGE

    def _facts(self) -> list[str]:
        caller = self._arguments.caller
        return [fact for owner in self._owners for fact in self._store.facts(owner, caller)]

    def _export(self) -> None:
        sessions: list[Any] = [json.loads(session.to_json()) for session in self._chosen()]
        if self._arguments.caller:
            sessions.append({"caller": self._arguments.caller, "facts": self._facts()})
        json.dump(sessions, sys.stdout, indent=2)
        print()

    def _delete(self) -> None:
        for session in list(self._chosen()):
            self._store.delete(session.id)
            print(f"{session.id}: deleted")
        for owner in self._owners:
            if self._store.delete_facts(owner, self._arguments.caller):
                print(f"{self._arguments.caller}: forgotten")


def _print_table(sessions: list[Session]) -> None:
    if not sessions:
        print("no sessions are kept")
        return
    print(f"{'id':<32}  {'updated':<19}  {'state':<5}  messages  agent, language, caller")
    for one in sessions:
        state = "ended" if one.ended is not None else "open"
        about = ", ".join(filter(None, (one.agent, one.language, one.caller)))
        print(
            f"{one.id}  {_when(one.updated)}  {state:<5}  {len(one.history):>8}  {about}".rstrip()
        )


def _text(session: Session) -> str:
    lines = [f"session {session.id}, created {_when(session.created)}"]
    if session.summary:
        lines.append(f"  (summary) {session.summary}")
    lines += [f"  {message.role}: {message.text}" for message in session.history]
    if session.pending is not None:
        lines.append(f"  (not answered to the end) user: {session.pending.user}")
    lines += [f"  (timer) {_when(timer.due_at)} {timer.text}" for timer in session.timers]
    return "\n".join(lines)


def _when(unix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix))
