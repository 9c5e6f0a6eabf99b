"""Exception handlers shared by all ninja APIs; only the error format differs between dialects."""

import logging
from collections.abc import Callable

from django.core.exceptions import SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.db.guarded_query import DatabaseUnavailableError
from apiproxy.http.request import UNREADABLE, request_id

logger = logging.getLogger(__name__)


def register_exception_handlers(api: NinjaAPI, form: Callable[[ProxyError, str], HttpResponse]) -> None:
    """Registers the handlers. form: creates the response from an error and a request id."""

    @api.exception_handler(ProxyError)
    def on_proxy_error(request: HttpRequest, error: ProxyError) -> HttpResponse:
        return form(error, request_id(request))

    @api.exception_handler(InterfaceError)
    @api.exception_handler(OperationalError)
    def on_database_unavailable(request: HttpRequest, error: Exception) -> HttpResponse:
        """Database locked, full or unavailable."""
        logger.warning("request.database_away", exc_info=error, extra={"reqId": request_id(request)})
        return form(DatabaseUnavailableError("cannot serve the request"), request_id(request))

    @api.exception_handler(SuspiciousOperation)
    def on_unreadable(request: HttpRequest, error: SuspiciousOperation) -> HttpResponse:
        """Request that Django rejects, such as one with thousands of query parameters."""
        return form(UNREADABLE, request_id(request))

    @api.exception_handler(Exception)
    def on_bug(request: HttpRequest, error: Exception) -> HttpResponse:
        """Bug in the gateway: the client gets the request id and no details."""
        logger.error("request.crashed", exc_info=error, extra={"reqId": request_id(request)})
        return form(ProxyError(FailureKind.INTERNAL, "Internal server error"), request_id(request))
