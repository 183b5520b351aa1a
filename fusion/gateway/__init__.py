"""The public HTTP side: one file for each protocol that outsiders speak. No model and no conversation lives here.

    browser ──► doors (secret, origin) ──► page    the web page, its files and /config.json
                                       ├─► proxy   /transcription and /audio, straight to ports 6006 and 8888
                                       ├─► health  /health and its other spellings
                                       ├─► metrics /metrics, for Prometheus
                                       └─► dashboard  /events, what happens in the house, and the page that draws both

Towards the inside the gateway is one more client of the two public sockets, so it may run on another
host, and many times. `gateway.build_app` puts the parts together.
"""
