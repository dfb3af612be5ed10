"""The protocol over HTTP and WebSocket, as docs/protocol.md has it."""
