"""django-unfold settings: theme and navigation of the admin and the dashboard."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse, reverse_lazy

# Tailwind's indigo with a lighter 500, which the theme uses for text on dark backgrounds.
_PRIMARY = {
    "50": "oklch(96.2% .018 272.314)",
    "100": "oklch(93% .034 272.788)",
    "200": "oklch(87% .065 274.039)",
    "300": "oklch(78.5% .115 274.713)",
    "400": "oklch(67.3% .182 276.935)",
    "500": "oklch(68% .17 277.117)",
    "600": "oklch(51.1% .262 276.966)",
    "700": "oklch(45.7% .24 277.023)",
    "800": "oklch(39.8% .195 277.366)",
    "900": "oklch(35.9% .144 278.697)",
    "950": "oklch(25.7% .09 281.288)",
}


def _has_permission(permission: str) -> Callable[[HttpRequest], bool]:
    def has(request: HttpRequest) -> bool:
        return bool(request.user.has_perm(permission))

    return has


def _static(name: str) -> Callable[[HttpRequest], str]:
    return lambda _request: static(f"observability/{name}")


def _is_overview(request: HttpRequest) -> bool:
    return request.path == reverse("dashboard:overview")


def _link(title: str, icon: str, name: str, permission: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(name), "permission": _has_permission(permission)}


def _page(title: str, icon: str, name: str) -> dict[str, Any]:
    return _link(title, icon, f"dashboard:{name}", "observability.view_trace")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Claude gateway",
    "SITE_HEADER": "Claude gateway",
    "SITE_URL": "/dashboard/",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _static("favicon.svg")}],
    "COLORS": {"primary": _PRIMARY},
    "STYLES": [_static("theme.css")],
    "SCRIPTS": [_static("admin.js")],
    "BORDER_RADIUS": "8px",
    "LOGIN": {"redirect_after": "/dashboard/"},
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "Operations",
                "items": [
                    # Its path is a prefix of all the others.
                    _page("Overview", "monitoring", "overview") | {"active": _is_overview},
                    _page("Requests", "list_alt", "requests"),
                    _page("Errors", "error", "errors"),
                    _page("Sessions", "forum", "sessions"),
                    _page("Workers", "memory", "workers"),
                    _page("Usage", "payments", "usage"),
                    _page("Logs", "article", "logs"),
                ],
            },
            {
                "title": "Administration",
                "separator": True,
                "items": [
                    _link("API keys", "key", "admin:apiproxy_apikey_changelist", "apiproxy.view_apikey"),
                    _link("Models and prices", "smart_toy", "admin:apiproxy_model_changelist", "apiproxy.view_model"),
                    _link("Agents", "support_agent", "admin:apiproxy_agent_changelist", "apiproxy.view_agent"),
                    _link("MCP servers", "extension", "admin:apiproxy_mcpserver_changelist", "apiproxy.view_mcpserver"),
                    _link("Users", "person", "admin:auth_user_changelist", "auth.view_user"),
                    _link("Groups", "group", "admin:auth_group_changelist", "auth.view_group"),
                ],
            },
            {
                "title": "Records",
                "separator": True,
                "items": [
                    _link("Traces", "timeline", "admin:observability_trace_changelist", "observability.view_trace"),
                    _link(
                        "Error dumps", "bug_report", "admin:observability_errordump_changelist",
                        "observability.view_errordump",
                    ),
                    _link(
                        "Stored bodies", "inventory_2", "admin:observability_storedbody_changelist",
                        "observability.view_storedbody",
                    ),
                ],
            },
        ],
    },
}  # fmt: skip
