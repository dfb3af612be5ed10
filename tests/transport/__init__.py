"""Both transports over real sockets: handshakes, frames, slow consumers, slow and hostile HTTP."""
