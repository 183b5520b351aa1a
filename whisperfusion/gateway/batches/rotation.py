"""Whose request is next: owners take turns, and each owner's batches come in their order.

So a batch of a thousand recordings does not keep another key's ten waiting for a day.
"""

from __future__ import annotations

from collections.abc import Iterable

from whisperfusion.gateway.batches.state import Batch


class Rotation:
    def __init__(self) -> None:
        self._served: dict[str, int] = {}  # when each owner had a turn, as a number of turns
        self._turns = 0

    def choose(self, waiting: Iterable[Batch]) -> Batch | None:
        """The batch whose request is next, of those that have one; its owner has had a turn."""
        order = sorted(
            waiting,
            key=lambda batch: (self._served.get(batch.owner, 0), batch.created_at, batch.id),
        )
        if not order:
            return None
        self._turns += 1
        owners = {batch.owner for batch in order}
        self._served = {name: turn for name, turn in self._served.items() if name in owners}
        self._served[order[0].owner] = self._turns
        return order[0]
