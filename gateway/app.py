"""The ASGI application for other servers: `uvicorn gateway.app:app`."""

import sys

from gateway.api import create_app
from gateway.service.config import ConfigError

try:
    app = create_app()
except ConfigError as error:
    print(f"gateway: {error}", file=sys.stderr)
    # Status 3 tells the worker managers of uvicorn and gunicorn not to start the worker again.
    sys.exit(3)
