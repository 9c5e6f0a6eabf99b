"""Key gate: large bodies need a valid API key; paths without a key accept small ones."""

from apiproxy.core.errors import ProxyError
from apiproxy.http.request import authenticated, client_address, head_only, publish_rejection
from apiproxy.keys.login_throttle import network_of
from apiproxy.server.gated_request import Scope
from proxy_site.cors import error_headers
from proxy_site.routes import TURN_DIALECTS, canonical_path, route_of


class ApiKeyGate:
    """A `server.gated_request.KeyGate` for the API's paths."""

    def requires_key(self, path: str) -> bool:
        """Operations also accept a login; pages accept only that."""
        return route_of(path).api_key

    def client_network(self, scope: Scope) -> str:
        """The client's address, or the network of an IPv6 address."""
        request = head_only(scope, request_id="")
        return network_of(client_address(request))

    async def authenticate(self, scope: Scope, *, request_id: str) -> str:
        """The key's id.

        Raises ProxyError: UNAUTHENTICATED, RATE_LIMITED (many wrong keys) or DATABASE_UNAVAILABLE.
        """
        request = head_only(scope, request_id=request_id)
        try:
            principal = await authenticated(request)
        except ProxyError as error:
            dialect = TURN_DIALECTS.get(canonical_path(request.path).removeprefix("/v1"))
            if dialect is not None and request.method == "POST":
                publish_rejection(request, error, dialect=dialect)
            raise
        return f"key:{principal.key_id}"

    def cors_headers(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        """CORS headers that let a browser script read the rejection, for allowed origins."""
        return error_headers(origin)
