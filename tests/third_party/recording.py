"""Run whisper-live-client 0.6, with an older handshake: PORT PCM_FILE SRT_FILE -> a JSON object."""

import array
import json
import sys
import threading

from whisper_live.client import Client

port, path, subtitles = sys.argv[1:]
with open(path, "rb") as recording:
    pcm = memoryview(recording.read()).cast("h")
ready, closed = threading.Event(), threading.Event()
client = Client("127.0.0.1", int(port), lang="en", log_transcription=False)
client.register_callback("server_ready", ready.set)
client.register_callback("on_close", lambda *_: closed.set())
ready.wait(30)
for start in range(0, len(pcm), 4096):
    samples = [value / 32768 for value in pcm[start : start + 4096]]
    client.send_packet_to_server(array.array("f", samples).tobytes())
client.send_packet_to_server(Client.END_OF_AUDIO.encode())
ended = closed.wait(30)
client.write_srt_file(subtitles)
print(
    json.dumps(
        {
            "backend": client.server_backend,
            "closed": ended,
            "error": client.server_error,
            "transcript": client.transcript,
        }
    )
)
