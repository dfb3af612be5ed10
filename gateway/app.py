"""The application for other servers: `uvicorn gateway.app:app`."""

import sys

from gateway.api import create_app
from gateway.service.config import ConfigError

try:
    app = create_app()
except ConfigError as error:
    sys.exit(f"gateway: {error}")
