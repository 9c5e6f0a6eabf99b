"""Proxies and certificates of the operator's network, for both engines.

The gateway decides here whether the upstream is reached through a proxy: the CLI and the http engine then get the same
answer, whatever each of them makes of NO_PROXY.
"""

import ssl
from urllib.parse import urlsplit

from apiproxy.core.proxies import ProxyAddressError, is_loopback, is_socks, proxy_for
from proxy_site.env import Env, SettingError

_CERTIFICATES = (
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "CLAUDE_CODE_CLIENT_CERT",
    "CLAUDE_CODE_CLIENT_KEY",
    "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE",
)
_PROXIES = ("https_proxy", "http_proxy", "no_proxy")
_ALLOWED_PROXY = "an address such as http://proxy.example:3128 or socks5://proxy.example:1080"


def network_env(env: Env, base_url: str | None) -> dict[str, str]:
    """Network variables for the upstream.

    base_url: its URL; None for a cloud platform, which has several.
    Raises SettingError for an invalid proxy, for a SOCKS proxy of a cloud platform, and for certificates that cannot be
    used.
    """
    passed = {name: env[name] for name in _CERTIFICATES if env.get(name, "").strip()}
    _check_certificates(passed)
    if base_url is None:
        return passed | _cloud_proxies(env)
    proxy = _proxy_for(base_url, env)
    if proxy is None or is_loopback(urlsplit(base_url).hostname or ""):
        return passed
    return passed | {f"{urlsplit(base_url).scheme.upper()}_PROXY": proxy}


def _cloud_proxies(env: Env) -> dict[str, str]:
    """Network variables for cloud platforms: unchanged, because only the CLI knows their hosts.

    ALL_PROXY, which the CLI ignores, is passed as HTTPS_PROXY.
    """
    proxy = _proxy_for("https://cloud.invalid", env)
    if is_socks(proxy):
        raise SettingError(
            "A SOCKS proxy is set (HTTPS_PROXY or ALL_PROXY), which the CLI cannot use for Bedrock, Vertex AI or "
            "Foundry: set HTTPS_PROXY to an HTTP proxy, or unset both."
        )
    forms = [form for name in _PROXIES for form in (name.upper(), name)]
    passed = {form: env[form] for form in forms if env.get(form, "").strip()}
    if proxy is not None and not passed.keys() & {"HTTPS_PROXY", "https_proxy"}:
        passed["HTTPS_PROXY"] = proxy
    return passed


def _proxy_for(url: str, env: Env) -> str | None:
    try:
        return proxy_for(url, env)
    except ProxyAddressError as error:
        # The value may contain a password.
        raise SettingError(f"{error.name}: its value is not allowed; it must be {_ALLOWED_PROXY}.") from None


def _check_certificates(env: Env) -> None:
    """Loads all of them once: else a wrong path or passphrase would fail each request."""
    for name in ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"):
        if path := env.get(name):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                context.load_verify_locations(path)
            except ssl.SSLError as error:
                raise SettingError(f"{name}: {path!r} has no certificate in PEM format.") from error
            except OSError as error:
                raise SettingError(f"{name}: {path!r} cannot be read ({error.strerror}).") from error
    if path := env.get("CLAUDE_CODE_CLIENT_CERT"):
        key = env.get("CLAUDE_CODE_CLIENT_KEY")
        phrase = env.get("CLAUDE_CODE_CLIENT_KEY_PASSPHRASE", "")
        try:
            # A function: without a password OpenSSL would ask for it on the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(path, key, lambda: phrase)
        except ssl.SSLError as error:
            raise SettingError(
                f"CLAUDE_CODE_CLIENT_CERT: {path!r} and its key cannot be used: not PEM, not a pair, or a wrong "
                "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE."
            ) from error
        except OSError as error:
            shown = f"{path!r}" if key is None else f"{path!r} or {key!r}"
            raise SettingError(f"CLAUDE_CODE_CLIENT_CERT: {shown} cannot be read ({error.strerror}).") from error
