"""Which client of 8888 listens to which call.

A client names its caller; the nameless WhisperFusion page is paired with its call by address and
order. The best proof listens, and what was shown once is not undercut later.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from enum import IntEnum
from typing import TYPE_CHECKING

from whisperfusion.messages import CallStarted
from whisperfusion.runtime.peers import is_local
from whisperfusion.wire import WireError

if TYPE_CHECKING:
    from whisperfusion.synthesis.calls import Call
    from whisperfusion.synthesis.listeners import Listener

Shown = dict[tuple[int, int], "Proof"]  # by the ids of a call and a listener
Candidates = dict[int, list["Listener"]]  # by the id of a call

WRONG_KEY = (
    "this uid belongs to a caller with another key; use the key of its connection to the "
    "other socket"
)
WRONG_SECRET = (
    "this listen_secret is not that of the caller with this uid; use the one of its "  # noqa: S105
    "latest SERVER_READY"
)
BETTER = (
    "another connection has shown better that this caller is its own; show the listen_secret "
    "of the caller's SERVER_READY"
)


class Proof(IntEnum):
    """What a listener shows of whose it is: the address alone, the uid, the uid at the
    caller's address, or the listen secret.
    """

    NONE = 0
    PLACE = 1
    NAME_FROM_AFAR = 2
    NAME = 3
    SECRET = 4


def proof_of(listener: Listener, started: CallStarted) -> Proof:
    """What shows that `listener` belongs to the caller of `started`.

    Raises WireError: it names the caller, and cannot be its own.
    """
    name, same_key = listener.name, listener.key == started.key
    at_home = same_key and (
        listener.address == started.address
        or (is_local(listener.address) and is_local(started.address))
    )
    if name.listen_secret:
        if same_key and hmac.compare_digest(
            name.listen_secret.encode(), started.listen_secret.encode()
        ):
            return Proof.SECRET
        if name.uid == started.uid:
            raise WireError(WRONG_SECRET, name.uid)
    elif name.uid == started.uid:
        if not same_key:
            raise WireError(WRONG_KEY, name.uid)
        return Proof.NAME if at_home else Proof.NAME_FROM_AFAR
    elif not name.uid and started.whole_replies and at_home:
        return Proof.PLACE
    return Proof.NONE


def pair(calls: Collection[Call], listeners: Collection[Listener]) -> list[tuple[Listener, str]]:
    """Give each call the listener that proves best that it is the caller's; of equals the one that
    came first.

    Returns the listeners that name a caller and are not (any more) its listener, and why.
    """
    candidates = _candidates(calls, listeners)
    shown, refused = _shown(calls, candidates)
    for proof in sorted(Proof, reverse=True)[:-1]:
        _assign(calls, candidates, proof, shown)
    for call in calls:
        for listener in candidates[id(call)]:
            proof = shown.get((id(call), id(listener)), Proof.NONE)
            if listener is not call.listener and Proof.PLACE < proof < call.proven:
                refused.append((listener, BETTER))
    return refused


def _candidates(calls: Collection[Call], listeners: Collection[Listener]) -> Candidates:
    """The listeners that may show anything of each call, in the order in which they came: to look
    at all of them for all calls held the loop for seconds with a few hundred of each. Thousands may
    be connected without a name: only calls of the stock page look at those.
    """
    nameless: list[int] = []
    naming: dict[tuple[str, str], list[int]] = {}
    for place, listener in enumerate(listeners):
        name = listener.name
        if not (name.uid or name.listen_secret):
            nameless.append(place)
        for key in (("uid", name.uid), ("secret", name.listen_secret)):
            if key[1]:
                naming.setdefault(key, []).append(place)
    all_listeners, found = list(listeners), {}
    for call in calls:
        started = call.started
        places = {
            *naming.get(("uid", started.uid), ()),
            *naming.get(("secret", started.listen_secret), ()),
        }
        if started.whole_replies and call.proven <= Proof.PLACE:
            places.update(nameless)
        found[id(call)] = [all_listeners[place] for place in sorted(places)]
    return found


def _shown(
    calls: Collection[Call], candidates: Candidates
) -> tuple[Shown, list[tuple[Listener, str]]]:
    """What each listener shows of each call, and those that cannot be what they claim, with why."""
    shown: Shown = {}
    refused = []
    for call in calls:
        for listener in candidates[id(call)]:
            try:
                shown[id(call), id(listener)] = proof_of(listener, call.started)
            except WireError as problem:
                refused.append((listener, problem.message))
        call.proven = max(call.proven, shown.get((id(call), id(call.listener)), Proof.NONE))
    return shown, refused


def _assign(calls: Collection[Call], candidates: Candidates, proof: Proof, shown: Shown) -> None:
    """Each call that has less than `proof` takes the first free listener that shows it."""
    taken = {id(call.listener) for call in calls if call.listener is not None}
    for call in calls:
        present = shown.get((id(call), id(call.listener)), Proof.NONE)
        if not present < proof >= call.proven:
            continue
        for listener in candidates[id(call)]:
            if shown.get((id(call), id(listener))) == proof and id(listener) not in taken:
                call.listener, call.proven = listener, proof
                taken.add(id(listener))
                break
