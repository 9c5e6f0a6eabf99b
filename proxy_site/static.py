"""WhiteNoise for an asynchronous site."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # WhiteNoise has no types
    """Serves static files and lets every other request pass, without a thread for it.

    WhiteNoise's own middleware is synchronous: Django would take every request through a thread on its way, and would
    warn about each static file, because a file cannot be sent asynchronously. Static files are small, so they are
    read as a whole.
    """

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        assert iscoroutinefunction(get_response)
        super().__init__(get_response)
        self._next = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """The static file at the request's path, or what the site answers."""
        static_file = self.files.get(request.path_info)
        if static_file is None:
            return await self._next(request)
        return await sync_to_async(_response, thread_sensitive=False)(static_file, request)


def _response(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
    found = static_file.get_response(request.method, request.META)
    content = b""
    if found.file is not None:
        with found.file as file:
            content = file.read()
    response = HttpResponse(content, status=int(found.status))
    del response["content-type"]  # WhiteNoise gives its own
    for name, value in found.headers:
        response[name] = value
    return response
