"""Static files are served from where the packages keep them, and other requests pass."""

import pytest
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.test import AsyncRequestFactory

from proxy_site.middleware import StaticFiles

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
    assert "proxy_site.middleware.StaticFiles" in settings.MIDDLEWARE
