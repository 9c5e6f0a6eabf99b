"""Authentication and authorisation of API keys."""

from collections.abc import Mapping

import pytest
from asgiref.sync import async_to_sync
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.catalog import ResolvedModel
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.principal import Principal
from apiproxy.gateway import gateway
from apiproxy.keys.authentication import authenticate, client_ip, may_use, presented_secret, require, require_model
from apiproxy.keys.cache import create_key, digest_of

OPUS = ResolvedModel(
    id="claude-opus-5-5", max_output_tokens=128_000, names=frozenset({"claude-opus-5-5", "opus", "best"})
)


def principal(*, scopes: tuple[str, ...] = ("api",), models: tuple[str, ...] = ()) -> Principal:
    return Principal(key_id=1, label="ci", scopes=frozenset(scopes), allowed_models=models)


def ask(headers: Mapping[str, str]) -> Principal:
    made = gateway()
    return async_to_sync(authenticate)(headers, keyring=made.keyring, wrong_keys=made.wrong_keys)


def refusal(headers: Mapping[str, str]) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        ask(headers)
    return caught.value


@pytest.mark.django_db
def test_accept_key_from_either_header() -> None:
    key, secret = async_to_sync(create_key)("ci")
    for headers in (
        {"x-api-key": secret},
        {"x-api-key": f" {secret} "},
        {"authorization": f"Bearer {secret}"},
        {"authorization": f"bearer   {secret}"},
        {"x-api-key": "", "authorization": f"Bearer {secret}"},
        {"x-api-key": secret, "authorization": "Bearer something else"},
        {"x-api-key": "something else", "authorization": f"Bearer {secret}"},
        {"x-api-key": secret, "authorization": f"Bearer {secret}"},
        RequestFactory().get("/", headers={"X-Api-Key": secret}).headers,
    ):
        assert ask(headers).key_id == key.pk


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-api-key": "  "}, {"authorization": ""}, {"authorization": "Basic abc"}, {"authorization": "Bearer "}],
)
def test_without_a_key_the_answer_names_the_header(headers: dict[str, str]) -> None:
    error = refusal(headers)
    assert error.kind is FailureKind.UNAUTHENTICATED
    assert error.message == "x-api-key header is required"


@pytest.mark.django_db
@pytest.mark.parametrize("headers", [{"x-api-key": "sk-proxy-wrong"}, {"authorization": "Bearer sk-proxy-wrong"}])
def test_reject_wrong_key(headers: dict[str, str]) -> None:
    error = refusal(headers)
    assert error.kind is FailureKind.UNAUTHENTICATED
    assert error.message == "invalid x-api-key"


@pytest.mark.django_db
def test_reject_digest_as_key() -> None:
    _, secret = async_to_sync(create_key)("ci")
    assert refusal({"x-api-key": digest_of(secret)}).message == "invalid x-api-key"


@given(headers=st.dictionaries(st.sampled_from(["x-api-key", "authorization"]), st.text()))
def test_read_any_headers(headers: dict[str, str]) -> None:
    assert presented_secret(headers) == presented_secret(headers).strip()


def test_require_exact_scope() -> None:
    require(principal(scopes=("api", "admin")), scope="admin")
    with pytest.raises(ProxyError) as caught:
        require(principal(scopes=("api",)), scope="admin")
    assert caught.value.kind is FailureKind.FORBIDDEN
    with pytest.raises(ProxyError):
        require(principal(scopes=("admin",)), scope="api")


@pytest.mark.parametrize(
    ("allowed", "may"),
    [
        ((), True),
        (("claude-opus-5-5",), True),
        (("opus",), True),
        (("claude-haiku-5-5", "best"), True),
        (("claude-opus-*",), True),
        (("*",), True),
        (("claude-opus-5",), False),
        (("claude-opus-5-?",), False),
        (("claude-opus-5-[5]",), False),
        (("sonnet",), False),
        (("opus-*",), False),
    ],
)
def test_allow_models_in_list_of_key(allowed: tuple[str, ...], may: bool) -> None:
    assert may_use(principal(models=allowed), OPUS) is may
    if may:
        require_model(principal(models=allowed), OPUS)
    else:
        with pytest.raises(ProxyError) as caught:
            require_model(principal(models=allowed), OPUS)
        assert caught.value.kind is FailureKind.FORBIDDEN
        assert caught.value.param == "model"


def test_brackets_in_a_models_id_stand_for_themselves() -> None:
    long = ResolvedModel(id="claude-opus-5[1m]", max_output_tokens=1, names=frozenset({"claude-opus-5[1m]"}))
    assert may_use(principal(models=("claude-opus-5[1m]",)), long)


def test_answer_not_found_to_disabled_model() -> None:
    off = ResolvedModel(id="claude-old", max_output_tokens=1, names=frozenset({"claude-old"}), enabled=False)
    with pytest.raises(ProxyError) as caught:
        require_model(principal(), off)
    assert caught.value.kind is FailureKind.NOT_FOUND
    assert caught.value.message == "model: claude-old"


PROXIES = ("10.0.0.0/8", "192.0.2.1", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # not a trusted proxy: its header is ignored
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 192.0.2.1", "198.51.100.1"),  # the first was written by the client
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("fd00::1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1", ""),
        ("unix:/run/proxy", "198.51.100.1", "unix:/run/proxy"),
    ],
)
def test_take_client_address_from_trusted_proxies_only(peer: str, forwarded: str | None, client: str) -> None:
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    assert client_ip(headers, peer=peer, trusted=PROXIES) == client


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert client_ip({"x-forwarded-for": "198.51.100.1"}, peer="10.0.0.1", trusted=()) == "10.0.0.1"


@given(forwarded=st.text())
def test_read_addresses_from_any_header(forwarded: str) -> None:
    assert client_ip({"x-forwarded-for": forwarded}, peer="10.0.0.1", trusted=PROXIES)
