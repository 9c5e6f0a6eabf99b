"""The browser's side: what Django's own deployment check says, headers, cookies, and who may open what."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from proxy_site import databases
from tests.support.processes import ROOT, clean_environment

PRODUCTION = {
    "CLAUDE_PROXY_HTTPS": "1",
    "CLAUDE_PROXY_ALLOWED_HOSTS": "gateway.example.org",
    "CLAUDE_PROXY_CSRF_TRUSTED_ORIGINS": "https://gateway.example.org",
    "CLAUDE_PROXY_TRUSTED_PROXIES": "192.0.2.1",
}
_SHOW = """
from django.conf import settings as s
from django.core.management import call_command
call_command("check", deploy=True, fail_level="WARNING")
print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SESSION_COOKIE_HTTPONLY, s.SESSION_COOKIE_SAMESITE, s.DEBUG)
print(s.SECURE_HSTS_SECONDS >= 31536000, s.SECURE_SSL_REDIRECT, s.SECURE_REFERRER_POLICY, s.X_FRAME_OPTIONS)
"""


def manage(state_dir: Path, *arguments: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=clean_environment(CLAUDE_PROXY_STATE_DIR=str(state_dir), **env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_pass_production_check_with_secure_cookies_and_hsts(tmp_path: Path) -> None:
    said = manage(tmp_path, "shell", "-c", _SHOW, **PRODUCTION)

    assert "no issues" in said
    assert "True True True Lax False\nTrue True same-origin DENY" in said


@pytest.fixture
def site(settings: Settings) -> Client:
    settings.ALLOWED_HOSTS = ["testserver"]
    return Client()


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/login/", "/dashboard/", "/static/observability/theme.css", "/static/none"])
def test_send_protective_headers_with_every_page(site: Client, path: str) -> None:
    headers = site.get(path).headers

    for rule in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"):
        assert rule in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    if "static" not in path:
        assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.django_db
def test_reject_form_without_token(site: Client) -> None:
    strict = Client(enforce_csrf_checks=True)

    assert strict.post("/admin/login/", {"username": "a", "password": "b"}).status_code == 403


@pytest.mark.django_db
def test_redirect_login_within_site_only(site: Client, admin_user: object) -> None:
    form = {"username": "admin", "password": "password", "next": "//evil.example/"}

    assert site.post("/admin/login/?next=//evil.example/", form).headers["Location"].startswith("/")
    assert "evil" not in site.post("/admin/login/?next=//evil.example/", form).headers["Location"]


def test_files_are_made_for_this_user_alone_whatever_makes_them(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        databases.prepare_state_dir(tmp_path / "state")
        (tmp_path / "state" / "db.sqlite3").write_text("")
        mode = stat.S_IMODE((tmp_path / "state" / "db.sqlite3").stat().st_mode)
    finally:
        os.umask(before)

    assert mode == 0o600
