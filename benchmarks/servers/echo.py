"""The floor of publishing over HTTP: an ASGI application that reads a body as JSON and sends it back, under uvicorn
without any option that costs something. `python -m benchmarks.servers.echo PORT`."""

import json
import sys
from typing import Any

import uvicorn


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    answer = json.dumps(json.loads(body)).encode()
    headers = [(b"content-length", b"%d" % len(answer)), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(echo, port=int(sys.argv[1]), lifespan="off", access_log=False, log_level="warning")
