"""What an API answers when a view raises; only the form of an error is the dialect's own."""

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
    """Registers the handlers. form: makes the response of an error and a request's id."""

    @api.exception_handler(ProxyError)
    def on_proxy_error(request: HttpRequest, error: ProxyError) -> HttpResponse:
        """A refusal or failure before the first byte."""
        return form(error, request_id(request))

    @api.exception_handler(InterfaceError)
    @api.exception_handler(OperationalError)
    def on_database_away(request: HttpRequest, error: Exception) -> HttpResponse:
        """A database that is locked, full or gone, where the request needs it."""
        logger.warning("request.database_away", exc_info=error, extra={"reqId": request_id(request)})
        return form(DatabaseUnavailableError("cannot serve the request"), request_id(request))

    @api.exception_handler(SuspiciousOperation)
    def on_unreadable(request: HttpRequest, error: SuspiciousOperation) -> HttpResponse:
        """What Django will not read, such as thousands of query parameters."""
        return form(UNREADABLE, request_id(request))

    @api.exception_handler(Exception)
    def on_bug(request: HttpRequest, error: Exception) -> HttpResponse:
        """Our fault: the client learns the request id and nothing else."""
        logger.error("request.crashed", exc_info=error, extra={"reqId": request_id(request)})
        return form(ProxyError(FailureKind.INTERNAL, "Internal server error"), request_id(request))
