"""The voice assistant's protocol in two routes: POST /interact (a recording in, the reply as a
WAV out) and the WebSocket /ws.

/ws: binary chunks, then {"type": "end_stream"}; the reply is {"type": "metadata"}, binary sound as
it is made, then {"type": "audio_complete"}. What the chunks of a turn hold, joined, is a file of
any kind or raw s16 (16 kHz mono, unless the address says otherwise:
?format=raw&sample_rate=48000&channels=2). `?output=pcm`: s16 without a header. A client that
sends audio during a reply interrupts it. A first text frame with `uid` is a
WhisperLive client that was given this path (docs/wire.md).
"""
