"""The kernel's floor without a C compiler: what floor.c does, in Python. `python -m benchmarks.servers.floor PORT`."""

import contextlib
import os
import select
import socket
import sys

from benchmarks.load.publisher import compact, data

ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)


def frame(pad: int, at: int) -> bytes:
    payload = compact({"data": data(pad, at)})
    size = len(payload)
    return bytes((0x81, size)) + payload if size < 126 else b"\x81\x7e" + size.to_bytes(2) + payload


def main(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    poll.register(0, select.EPOLLIN)
    opening: dict[int, socket.socket] = {}
    clients: list[socket.socket] = []
    rest = b""
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                opening[client.fileno()] = client
                poll.register(client.fileno(), select.EPOLLIN)
            elif fd:
                poll.unregister(fd)
                client = opening.pop(fd)
                if client.recv(65_536):
                    client.sendall(ANSWER)
                    clients.append(client)
            else:
                orders = os.read(0, 65_536)
                if not orders:
                    return
                *lines, rest = (rest + orders).split(b"\n")
                for line in lines:
                    count, pad, at = map(int, line.split()[:3])
                    frames = frame(pad, at) * count
                    for client in clients:
                        with contextlib.suppress(OSError):
                            client.sendall(frames)


if __name__ == "__main__":
    main(int(sys.argv[1]))
