"""WhisperFusion: a person speaks, a machine answers by voice.

                      main.py  spawns, routes, watches, restarts, stops
            +---------------+---------------+---------------+
   whisper_server.py   llm_service.py   tts_service.py   gateway.py
   hears   ws :6006    thinks           speaks ws :8888  translates  http/ws :8000
        +-- Generate -->    +-- Sentence -->   |             |
        ^<----- Sentence ------+               |             |
        ^<------- PlaybackProgress ------------+             |
   microphone PCM <-------- is a client of 6006 and 8888 ----+

Microphone audio never leaves the first process and speech never leaves the third; between them only
text and tickets travel (`messages`). `core` decides and knows no clock, `wire` turns bytes into
values, `engines` wraps one library per file, `worker` is the loop they run in, `settings` is what
the user chose, `models` finds the weights.
"""

__version__ = "0.2.0"  # the only place; the web client has the same in web/package.json
