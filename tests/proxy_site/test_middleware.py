"""Static files are served from where the packages keep them; sockets are for own and trusted origins."""

import pytest
from asgiref.sync import iscoroutinefunction
from django.conf import settings as site
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.test import AsyncRequestFactory
from pytest_django import Settings

from proxy_site.middleware import StaticFiles, is_same_origin

CSS = "/static/admin/css/base.css"


async def pages(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"page {request.path}")


@pytest.fixture(scope="module")
def middleware() -> StaticFiles:
    return StaticFiles(pages)


async def get(middleware: StaticFiles, path: str, **headers: str) -> HttpResponseBase:
    response = await middleware(AsyncRequestFactory().get(path, headers=headers))
    assert isinstance(response, HttpResponseBase)
    return response


async def test_serve_packages_file_with_type_and_age(middleware: StaticFiles) -> None:
    response = await get(middleware, CSS)
    assert isinstance(response, HttpResponse)
    assert (response.status_code, response["content-type"]) == (200, 'text/css; charset="utf-8"')
    assert response["cache-control"] == "max-age=60, public"
    assert len(response.content) == int(response["content-length"]) > 1000


async def test_answer_304_for_cached_file(middleware: StaticFiles) -> None:
    etag = (await get(middleware, CSS))["etag"]
    again = await get(middleware, CSS, **{"if-none-match": etag})
    assert isinstance(again, HttpResponse)
    assert (again.status_code, again.content) == (304, b"")


async def test_serve_part_of_file(middleware: StaticFiles) -> None:
    part = await get(middleware, CSS, range="bytes=2-5")
    whole = await get(middleware, CSS)
    assert isinstance(part, HttpResponse)
    assert isinstance(whole, HttpResponse)
    assert (part.status_code, part.content) == (206, whole.content[2:6])


@pytest.mark.parametrize("path", ["/dashboard/", "/static/missing.css", "/static/../manage.py"])
async def test_pass_other_paths_on_to_site(middleware: StaticFiles, path: str) -> None:
    response = await get(middleware, path)
    assert isinstance(response, HttpResponse)
    assert response.content.startswith(b"page /")


def test_use_no_thread_in_middleware(middleware: StaticFiles) -> None:
    assert iscoroutinefunction(middleware)
    assert "proxy_site.middleware.StaticFiles" in site.MIDDLEWARE


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://gw.test", "gw.test", True),
        ("http://gw.test:8000", "gw.test:8000", True),
        ("http://GW.test", "gw.test", True),
        ("http://gw.test:8001", "gw.test:8000", False),
        ("http://evil.test", "evil.test", False),
        ("https://a.trusted.test", "127.0.0.1:3456", True),
        ("https://trusted.test", "127.0.0.1:3456", False),
        ("https://a.trusted.test:8443", "127.0.0.1:3456", False),
        ("http://a.trusted.test", "127.0.0.1:3456", False),
        ("https://own.test", "127.0.0.1:3456", True),
        ("http://[::1]:3456", "[::1]:3456", True),
        ("http://[::1", "[::1", False),
        ("null", "gw.test", False),
        ("", "", False),
        ("file://", "", False),
    ],
)
def test_open_sockets_to_own_and_trusted_origins(settings: Settings, origin: str, host: str, allowed: bool) -> None:
    settings.ALLOWED_HOSTS = ["gw.test", "[::1]"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.trusted.test", "https://own.test"]
    assert is_same_origin(origin, host=host) is allowed
