"""The administrators' HTTP API as the commands call it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from gateway.cli.errors import ClientError
from gathering_client import GatewayError
from gathering_client.address import Address
from gathering_client.http import Http, HttpPool

SECONDS: Final = 10.0
"""The longest time that a request may take."""

PAGE: Final = 200


class AdminApi:
    """The API of the gateway at `url`, called with `token`; `tenant` is that of all calls, by default the token's own.
    `silent` are the nodes that some page lacks, and `partial` says that others may be out of reach. Raises
    `ClientError`."""

    def __init__(self, url: str, token: str, tenant: str | None = None, seconds: float = SECONDS) -> None:
        if not token:
            raise ClientError("--token: is missing; pass an administrator's, or set GATEWAY_TOKEN")
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise ClientError("--token: not a valid token; get one with `gateway token --scope admin`")
        try:
            self._http = Http(Address.of(url), seconds, None)
        except ValueError as error:
            raise ClientError(f"--url: {error}") from None
        self._pool = HttpPool(self._http)
        self._token = token
        self._tenant = tenant
        self.silent: set[str] = set()
        self.partial = False

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    def get(self, path: str, **query: str | int | None) -> dict[str, Any]:
        return self._ask("GET", path, query)

    def pages(self, path: str, member: str) -> Iterator[dict[str, Any]]:
        """The items of all pages."""
        after: str | None = None
        while True:
            page = self.get(path, limit=PAGE, after=after)
            self.silent |= {*page.get("silent", ())}
            self.partial |= page.get("partial", False)
            yield from page[member]
            after = page["next"]
            if after is None:
                return

    def post(self, path: str, **body: str | None) -> dict[str, Any]:
        sent = {name: value for name, value in {**body, "tenant": self._tenant}.items() if value is not None}
        return self._ask("POST", path, {}, sent)

    def delete(self, path: str, name: str) -> None:
        self._ask("DELETE", f"{path}/{quote(name, safe='')}", {})

    def _ask(
        self, method: str, path: str, query: Mapping[str, str | int | None], body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        asked = dict(query) if body is not None else {"tenant": self._tenant, **query}
        parameters = urlencode({name: value for name, value in asked.items() if value is not None})
        try:
            return self._pool.request(method, f"{path}?{parameters}" if parameters else path, self._token, body)
        except GatewayError as error:
            raise ClientError(str(error), error.temporary) from None
