"""OpenAI Realtime: one WebSocket client on one side, a call on the two sockets on the other."""
