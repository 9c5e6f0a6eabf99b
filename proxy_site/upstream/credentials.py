"""Upstream credential of the CLI, read from the variables that the Claude CLI documents.

Sources: the "Environment variables", "Amazon Bedrock", "Google Vertex AI", "Microsoft Foundry" and "Corporate proxy"
pages of the Claude Code documentation.
"""

from collections.abc import Callable
from pathlib import Path

from apiproxy.conf import Credential
from apiproxy.conf.checks import boolean, url
from apiproxy.conf.setting import Setting
from proxy_site.env import Env, SettingError, read_secret, read_value
from proxy_site.upstream.demo import reject_demo_with
from proxy_site.upstream.network import network_env
from proxy_site.upstream.typos import reject_misspelt, reject_unset_credential

DEFAULT_BASE_URL = "https://api.anthropic.com"

_CONSUMER_LOGIN = (
    "a login to a Claude subscription, which the gateway rejects: it serves other users, for which Anthropic's terms "
    "require an API key, a gateway token or a cloud platform, and the CLI as started here (--bare) never reads such a "
    "login. Set ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, or CLAUDE_CODE_USE_BEDROCK, _VERTEX or _FOUNDRY."
)
_CONSUMER_TOKEN_PREFIX = "sk-ant-oat"  # noqa: S105 - a prefix, not a token

_BASE_URL = Setting(
    name="ANTHROPIC_BASE_URL",
    check=url("https", "http"),
    default="",
    description="The upstream's address, for an API key or a gateway token.",
)

_BEDROCK = (
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "ANTHROPIC_BEDROCK_BASE_URL",
    "CLAUDE_CODE_SKIP_BEDROCK_AUTH",
)
_VERTEX = (
    "ANTHROPIC_VERTEX_PROJECT_ID",
    "CLOUD_ML_REGION",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "ANTHROPIC_VERTEX_BASE_URL",
    "CLAUDE_CODE_SKIP_VERTEX_AUTH",
)
_HELPERS = ("PATH",)
"""For programs that a cloud profile runs to get its credentials, such as `credential_process` of AWS."""
_VERTEX_REGION_PREFIX = "VERTEX_REGION_"
_FOUNDRY = (
    "ANTHROPIC_FOUNDRY_RESOURCE",
    "ANTHROPIC_FOUNDRY_BASE_URL",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "CLAUDE_CODE_SKIP_FOUNDRY_AUTH",
)


def read_credential(env: Env, *, demo: bool | None = None) -> Credential:
    """The upstream credential, or the demo's if none is set. demo: CLAUDE_PROXY_DEMO.

    Raises SettingError for a consumer login, several credentials, an incomplete one, a misspelt name or an empty value.
    """
    reject_misspelt(env)
    _reject_consumer_login(env)
    chosen = {name: read for name, read in _READERS.items() if _is_set(env, name)}
    if len(chosen) > 1:
        raise SettingError(f"{' and '.join(chosen)} are all set; the gateway has one upstream: set one of them.")
    if not chosen:
        if read_value(_BASE_URL, env):
            raise SettingError(
                "ANTHROPIC_BASE_URL is set without a credential; set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN "
                "too, or unset it for the demo."
            )
        if not demo:
            reject_unset_credential(env)
        return Credential(kind="demo")
    reject_demo_with(next(iter(chosen)), demo=demo)
    return next(iter(chosen.values()))(env)


def _is_set(env: Env, name: str) -> bool:
    if name.startswith("CLAUDE_CODE_USE_"):
        return read_value(Setting(name=name, check=boolean(), default=False, description=""), env)
    return bool(read_secret(env, name))


def _reject_consumer_login(env: Env) -> None:
    if env.get("CLAUDE_CODE_OAUTH_TOKEN", "").strip():
        raise SettingError(f"CLAUDE_CODE_OAUTH_TOKEN is {_CONSUMER_LOGIN}")
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        if read_secret(env, name).startswith(_CONSUMER_TOKEN_PREFIX):
            raise SettingError(f"{name} holds {_CONSUMER_LOGIN}")


def _api_key(env: Env) -> Credential:
    base_url = read_value(_BASE_URL, env) or DEFAULT_BASE_URL
    own = {"ANTHROPIC_API_KEY": read_secret(env, "ANTHROPIC_API_KEY"), "ANTHROPIC_BASE_URL": base_url}
    passed = _pass_on(env, ("ANTHROPIC_CUSTOM_HEADERS",)) | network_env(env, base_url)
    return Credential(kind="api_key", env=own | passed, base_url=base_url)


def _gateway_token(env: Env) -> Credential:
    base_url = read_value(_BASE_URL, env) or DEFAULT_BASE_URL
    own = {"ANTHROPIC_AUTH_TOKEN": read_secret(env, "ANTHROPIC_AUTH_TOKEN"), "ANTHROPIC_BASE_URL": base_url}
    passed = _pass_on(env, ("ANTHROPIC_CUSTOM_HEADERS",)) | network_env(env, base_url)
    return Credential(kind="gateway_token", env=own | passed, base_url=base_url)


def _bedrock(env: Env) -> Credential:
    passed = _pass_on(env, (*_BEDROCK, *_HELPERS)) | network_env(env, None)
    if "AWS_REGION" not in passed:
        raise SettingError("CLAUDE_CODE_USE_BEDROCK needs AWS_REGION, such as us-east-1.")
    if "AWS_PROFILE" in passed and env.get("HOME"):
        # The worker has its own home directory, which contains no profiles.
        passed.setdefault("AWS_CONFIG_FILE", str(Path(env["HOME"], ".aws", "config")))
        passed.setdefault("AWS_SHARED_CREDENTIALS_FILE", str(Path(env["HOME"], ".aws", "credentials")))
    return Credential(kind="bedrock", env={"CLAUDE_CODE_USE_BEDROCK": "1"} | passed)


def _vertex(env: Env) -> Credential:
    regions = tuple(name for name in env if name.startswith(_VERTEX_REGION_PREFIX))
    passed = _pass_on(env, (*_VERTEX, *regions, *_HELPERS)) | network_env(env, None)
    missing = [name for name in ("ANTHROPIC_VERTEX_PROJECT_ID", "CLOUD_ML_REGION") if name not in passed]
    if missing:
        raise SettingError(f"CLAUDE_CODE_USE_VERTEX needs {' and '.join(missing)}.")
    return Credential(kind="vertex", env={"CLAUDE_CODE_USE_VERTEX": "1"} | passed)


def _foundry(env: Env) -> Credential:
    passed = _pass_on(env, (*_FOUNDRY, *_HELPERS)) | network_env(env, None)
    if not passed.keys() & {"ANTHROPIC_FOUNDRY_RESOURCE", "ANTHROPIC_FOUNDRY_BASE_URL"}:
        raise SettingError("CLAUDE_CODE_USE_FOUNDRY needs ANTHROPIC_FOUNDRY_RESOURCE or ANTHROPIC_FOUNDRY_BASE_URL.")
    key = read_secret(env, "ANTHROPIC_FOUNDRY_API_KEY")
    own = {"CLAUDE_CODE_USE_FOUNDRY": "1"} | ({"ANTHROPIC_FOUNDRY_API_KEY": key} if key else {})
    return Credential(kind="foundry", env=own | passed)


def _pass_on(env: Env, names: tuple[str, ...]) -> dict[str, str]:
    return {name: env[name] for name in names if env.get(name, "").strip()}


_READERS: dict[str, Callable[[Env], Credential]] = {
    "ANTHROPIC_API_KEY": _api_key,
    "ANTHROPIC_AUTH_TOKEN": _gateway_token,
    "CLAUDE_CODE_USE_BEDROCK": _bedrock,
    "CLAUDE_CODE_USE_VERTEX": _vertex,
    "CLAUDE_CODE_USE_FOUNDRY": _foundry,
}
