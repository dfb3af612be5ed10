"""Nchan, the pub/sub module of nginx (C)."""

import contextlib
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.frames import upgrade
from benchmarks.load.fleet import Dialogue
from benchmarks.load.publisher import Order, Publisher, SocketPublisher, compact, post
from benchmarks.peers.base import printed
from benchmarks.process import Server, free_port

_FOLDERS = ("/usr/lib/nginx/modules", "/usr/share/nginx/modules", "/usr/lib64/nginx/modules")
_CONFIG = """
load_module {module};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  nchan_shared_memory_size 512m;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    tcp_nodelay on;
    location ~ ^/sub/(.+)$ {{
      nchan_subscriber websocket;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
    }}
    location ~ ^/pub/(.+)$ {{
      nchan_publisher http;
      nchan_channel_id $1;
      nchan_message_buffer_length 1000;
      nchan_message_timeout 5s;
    }}
  }}
}}
"""


def _publish(order: Order) -> bytes:
    body = compact(order.event())
    return b"".join(post(f"/pub/{room}", body) for room in order.rooms) * order.count


class Nchan:
    """One worker; a channel for each room, published to by pipelined HTTP requests. One room for each client."""

    name = "nchan"
    title = "Nchan (nginx)"
    unit_is_message = True
    has_rooms = False  # it has, but a client of several rooms is another kind of work there: it multiplexes channels

    def missing(self) -> str | None:
        found = shutil.which("nginx") and self._module()
        return None if found else "`apt-get install nginx libnginx-mod-nchan`"

    def version(self) -> str:
        package = printed("dpkg-query", "--show", "--showformat=${Version}", "libnginx-mod-nchan")
        return f"Nchan {package.removeprefix('1:')}, nginx {printed('nginx', '-v').rpartition('/')[2]}"

    @contextlib.contextmanager
    def start(self, core: int) -> Iterator[Server]:
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
            Path(folder).chmod(0o777)  # the worker, another user, keeps its bodies there
            config = Path(folder, "nginx.conf")
            config.write_text(_CONFIG.format(module=self._module(), folder=folder, port=port))
            command = ["nginx", "-p", folder, "-c", str(config)]
            # The worker does not end with a master that is killed, only with one that is signalled.
            with Server(command, port, core, end_signal=signal.SIGTERM) as server:
                yield server

    def dialogue(self, server: Server, rooms: Sequence[str], number: int) -> Dialogue:
        return Dialogue(upgrade(f"/sub/{rooms[0]}", server.port))

    def publisher(self, server: Server) -> Publisher:
        return SocketPublisher(server.port, _publish, refusal=b"HTTP/1.1 4")

    @staticmethod
    def _module() -> Path | None:
        return next((path for f in _FOLDERS if (path := Path(f, "ngx_nchan_module.so")).is_file()), None)
