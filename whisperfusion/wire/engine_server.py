"""An engine as a server (`cluster/`), and how cells use it (`engines/ray/`): the frames of
`engine_pipe` over HTTP.

| address | what |
| --- | --- |
| `GET healthz` | 200, or 503 while it ends or when the engine is lost for good; needs no key |
| `GET about` | `{"protocol", "kind", "attributes"}` of the engine, with its abilities |
| `POST call` | one frame with a `Call`; its pieces stream back as frames, then `Done` or `Failed` |
| `WebSocket utterance` | one utterance of live speech, each message one frame |

Jobs without state are requests, which a balancer may send to any replica; an utterance has state
and stays where its socket is. What is wrong with a request is a status of 4xx with
`{"error": {"message"}}`; what fails in the engine is a `Failed`, with its kind. `Failed` of the
kind `LOST`, a status of 5xx and a connection that ends say that the same call may succeed at
another replica.

Of an utterance:

| the cell sends | and receives |
| --- | --- |
| `create_utterance` (options, passes) | Done, or Failed for options that the engine refuses |
| `audio` with samples | nothing |
| `accept_audio` (which, upto, final), with samples or not | Done with the hypothesis, or Failed |
| `finish` (which) | the same |

A cell that sends a call again with more words has given up the one before, and both may arrive at
the same time. So each call has an id of the cell's own (header `CALL`), and names those that were
given up last (`ENDED`): they end first, and what they have read is there for the new one.

The audio is sent once, and both passes over it, the interim and the final one, read it up to the
sample that each call names. At most `engine_pipe.WINDOW` calls are read before they are answered.
"""

from __future__ import annotations

PROTOCOL = 1
MODEL = "serve_multiplexed_model_id"  # header with the name of a model; Ray Serve's own name for it
CALL = "x-call"  # header with the id of a call, chosen by the cell
ENDED = "x-ended"  # header with the ids of calls that were given up, with commas
SAMPLE_RATE = "sample-rate"  # header of an answer with speech
LOST = "EngineLost"
INTERIM, FINAL = 0, 1  # passes
# why the server closed the socket of an utterance
ENDS, WRONG, FULL = 1012, 1008, 1013
