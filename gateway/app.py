"""The application for other servers: `uvicorn gateway.app:app`."""

import sys

from gateway.api import create_app
from gateway.service.config import ConfigError

try:
    app = create_app()
except ConfigError as error:
    print(f"gateway: {error}", file=sys.stderr)
    # By this status the managers of workers, uvicorn's and gunicorn's, know that another start would fail likewise.
    sys.exit(3)
