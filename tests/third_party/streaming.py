"""Run whisper-live's StreamingTranscriptionClient: PORT PCM_FILE (int16, 16 kHz) -> a JSON object.

Its own package, and nothing of ours, is on the path; `pyaudio` and `scipy`, which only its
microphone and its file reader use, are stubs beside it.
"""

import json
import sys
import time

from whisper_live.client import StreamingTranscriptionClient

port, path = sys.argv[1:]
with open(path, "rb") as recording:
    pcm = recording.read()
partial, committed, errors, closed = [], [], [], []
client = StreamingTranscriptionClient(
    "127.0.0.1",
    int(port),
    lang="en",
    on_partial_transcript=lambda text, _: partial.append(text),
    on_committed_transcript=lambda text, _: committed.append(text),
    on_error=lambda error: errors.append(repr(error)),
    on_close=lambda: closed.append(True),
)
try:
    client.connect()
except RuntimeError as error:
    print(json.dumps({"refused": str(error)}))
    sys.exit(0)
began = time.monotonic()
for start in range(0, len(pcm), 2000):  # like a microphone: a chunk when it has been spoken
    time.sleep(max(0.0, began + start / 32_000 - time.monotonic()))
    client.send(pcm[start : start + 2000])
# returns when the server closes, else much later than this test has patience
client.close(timeout=60)
print(
    json.dumps(
        {
            "partial": partial,
            "committed": committed,
            "errors": errors,
            "closed": bool(closed),
            "transcript": client.transcript,
        }
    )
)
