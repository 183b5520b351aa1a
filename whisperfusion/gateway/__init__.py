"""The public protocols over HTTP and WebSocket: one file or folder for each.

    client ──► access (Host, keys, limits, origin) ──► page         the web page and /config.json
                                                   ├─► proxy        /transcription and /audio: the
                                                   │                frames of ports 6006 and 8888
                                                   ├─► rest, bazarr, assistant   uploads, which
                                                   │                `decoding` decodes in children
                                                   ├─► batches      uploads that are worked off
                                                   │                when callers leave time
                                                   ├─► realtime, wyoming
                                                   └─► operations   health, metrics, events,
                                                                    dashboard

The gateway has no model and no conversation. It is a client of the two public sockets, so it can
run on another host, and many times. `gateway.build_app` assembles the application.
"""
