"""The upstream credential: one, of a kind that may answer for others, with all that the CLI needs for it."""

from pathlib import Path

import certifi
import pytest

from apiproxy.conf import Credential
from proxy_site.conf import read_site
from proxy_site.env import SettingError
from proxy_site.upstream import credentials


def read_credential(env: dict[str, str]) -> Credential:
    return credentials.read_credential(env, demo=read_site(env).demo)


def refused(env: dict[str, str]) -> str:
    with pytest.raises(SettingError) as caught:
        read_credential(env)
    return str(caught.value)


def test_run_demo_without_credential_and_call_nobody() -> None:
    credential = read_credential({"HTTPS_PROXY": "http://proxy.example:3128", "HOME": "/home/x"})
    assert (credential.kind, credential.env, credential.base_url) == ("demo", {}, None)


def test_send_api_key_to_anthropic_by_default() -> None:
    assert read_credential({"ANTHROPIC_API_KEY": "k"}).base_url == "https://api.anthropic.com"
    credential = read_credential({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "https://llm.example/base/"})
    assert (credential.kind, credential.base_url) == ("api_key", "https://llm.example/base")
    assert credential.env == {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "https://llm.example/base"}


def test_read_api_key_from_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-the-file\n")
    credential = read_credential({"ANTHROPIC_API_KEY_FILE": str(tmp_path / "key")})
    assert credential.env["ANTHROPIC_API_KEY"] == "from-the-file"


def test_send_gateway_token_unchanged() -> None:
    credential = read_credential({"ANTHROPIC_AUTH_TOKEN": "t", "ANTHROPIC_BASE_URL": "http://llm.example"})
    assert (credential.kind, credential.base_url) == ("gateway_token", "http://llm.example")
    assert credential.env == {"ANTHROPIC_AUTH_TOKEN": "t", "ANTHROPIC_BASE_URL": "http://llm.example"}


def test_pass_only_proxy_settings_to_worker() -> None:
    network = {"HTTPS_PROXY": "http://proxy.example:3128", "NODE_EXTRA_CA_CERTS": certifi.where()}
    own = {
        "DATABASE_URL": "postgres://u:p@h/n",
        "CLAUDE_PROXY_SECRET_KEY": "s",
        "AWS_REGION": "us-east-1",
        "HOME": "/h",
    }
    credential = read_credential({"ANTHROPIC_API_KEY": "k"} | network | own)
    assert credential.env.items() >= network.items()
    assert not credential.env.keys() & own.keys()


def test_bedrock_needs_a_region_and_gets_its_variables() -> None:
    assert "AWS_REGION" in refused({"CLAUDE_CODE_USE_BEDROCK": "1"})
    credential = read_credential(
        {"CLAUDE_CODE_USE_BEDROCK": "true", "AWS_REGION": "eu-west-1", "AWS_BEARER_TOKEN_BEDROCK": "b"}
    )
    assert (credential.kind, credential.base_url) == ("bedrock", None)
    assert credential.env == {
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "AWS_REGION": "eu-west-1",
        "AWS_BEARER_TOKEN_BEDROCK": "b",
    }


def test_find_aws_profile_from_workers_home() -> None:
    env = {"CLAUDE_CODE_USE_BEDROCK": "1", "AWS_REGION": "eu-west-1", "AWS_PROFILE": "work", "HOME": "/home/x"}
    credential = read_credential(env)
    assert credential.env["AWS_CONFIG_FILE"] == "/home/x/.aws/config"
    assert credential.env["AWS_SHARED_CREDENTIALS_FILE"] == "/home/x/.aws/credentials"
    assert read_credential(env | {"AWS_CONFIG_FILE": "/etc/aws"}).env["AWS_CONFIG_FILE"] == "/etc/aws"


@pytest.mark.parametrize(
    "env",
    [
        {"CLAUDE_CODE_USE_BEDROCK": "1", "AWS_REGION": "eu-west-1"},
        {"CLAUDE_CODE_USE_VERTEX": "1", "ANTHROPIC_VERTEX_PROJECT_ID": "p", "CLOUD_ML_REGION": "global"},
        {"CLAUDE_CODE_USE_FOUNDRY": "1", "ANTHROPIC_FOUNDRY_RESOURCE": "r"},
    ],
)
def test_find_programs_that_fetch_cloud_credentials(env: dict[str, str]) -> None:
    assert read_credential(env | {"PATH": "/opt/bin"}).env["PATH"] == "/opt/bin"
    assert "PATH" not in read_credential({"ANTHROPIC_API_KEY": "k", "PATH": "/opt/bin"}).env


def test_require_project_and_region_for_vertex() -> None:
    assert "ANTHROPIC_VERTEX_PROJECT_ID and CLOUD_ML_REGION" in refused({"CLAUDE_CODE_USE_VERTEX": "1"})
    given = {
        "CLAUDE_CODE_USE_VERTEX": "1",
        "ANTHROPIC_VERTEX_PROJECT_ID": "p",
        "CLOUD_ML_REGION": "global",
        "VERTEX_REGION_CLAUDE_4_5_OPUS": "us-east5",
        "GOOGLE_APPLICATION_CREDENTIALS": "/sa.json",
    }
    credential = read_credential(given)
    assert (credential.kind, credential.env) == ("vertex", given)


def test_foundry_needs_a_resource_or_an_address_and_gets_its_key() -> None:
    assert "ANTHROPIC_FOUNDRY_RESOURCE or" in refused({"CLAUDE_CODE_USE_FOUNDRY": "1"})
    given = {
        "CLAUDE_CODE_USE_FOUNDRY": "1",
        "ANTHROPIC_FOUNDRY_RESOURCE": "r",
        "ANTHROPIC_FOUNDRY_API_KEY": "k",
    }
    credential = read_credential(given)
    assert (credential.kind, credential.env) == ("foundry", given)


def test_ignore_disabled_platform() -> None:
    assert read_credential({"CLAUDE_CODE_USE_BEDROCK": "0"}).kind == "demo"
    assert "must be 1, true" in refused({"CLAUDE_CODE_USE_BEDROCK": "maybe"})


@pytest.mark.parametrize(
    "env",
    [
        {"CLAUDE_CODE_OAUTH_TOKEN": "anything"},
        {"CLAUDE_CODE_OAUTH_TOKEN": "anything", "ANTHROPIC_API_KEY": "sk-ant-api03-x"},
        {"ANTHROPIC_API_KEY": "sk-ant-oat01-secret"},
        {"ANTHROPIC_AUTH_TOKEN": "sk-ant-oat01-secret"},
    ],
)
def test_reject_consumer_login_with_reason(env: dict[str, str]) -> None:
    message = refused(env)
    assert message.startswith(("CLAUDE_CODE_OAUTH_TOKEN is a login", f"{next(iter(env))} holds a login"))
    assert "Anthropic's terms" in message
    assert "--bare" in message
    assert "secret" not in message


def test_reject_consumer_token_in_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-ant-oat01-secret")
    assert "Anthropic's terms" in refused({"ANTHROPIC_API_KEY_FILE": str(tmp_path / "key")})


def test_reject_two_credentials_by_name() -> None:
    message = refused({"ANTHROPIC_API_KEY": "k", "CLAUDE_CODE_USE_BEDROCK": "1"})
    assert "ANTHROPIC_API_KEY and CLAUDE_CODE_USE_BEDROCK" in message


def test_reject_address_without_credential() -> None:
    assert "without a credential" in refused({"ANTHROPIC_BASE_URL": "https://llm.example"})


def test_reject_bad_address_with_allowed_forms() -> None:
    message = refused({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "llm.example"})
    assert message.startswith(
        "ANTHROPIC_BASE_URL: 'llm.example' is not allowed; it must be an address such as https://"
    )


def test_secrets_stay_out_of_the_credentials_repr() -> None:
    assert "hunter2" not in repr(read_credential({"ANTHROPIC_API_KEY": "hunter2"}))


@pytest.mark.parametrize("beside", [{}, {"ANTHROPIC_API_KEY": "k"}, {"CLAUDE_PROXY_DEMO": "1"}], ids="".join)
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ANTROPIC_API_KEY", "ANTHROPIC_API_KEY"),
        ("ANTHROPIC_APIKEY", "ANTHROPIC_API_KEY"),
        ("ANTHROPIC_API_KEYS", "ANTHROPIC_API_KEY"),
        ("ANTHORPIC_API_KEY", "ANTHROPIC_API_KEY"),
        ("anthropic_api_key", "ANTHROPIC_API_KEY"),
        ("ANTHROPIC_API_KEY_FILES", "ANTHROPIC_API_KEY_FILE"),
        ("ANTHROPIC_AUTHTOKEN", "ANTHROPIC_AUTH_TOKEN"),
        ("ANTHROPIC_BASE_URI", "ANTHROPIC_BASE_URL"),
        ("CLAUDE_CODE_USE_BEDROK", "CLAUDE_CODE_USE_BEDROCK"),
        ("CLAUDE_CODE_USE_VERTX", "CLAUDE_CODE_USE_VERTEX"),
        ("CLAUDE_CODE_USE_FOUNDARY", "CLAUDE_CODE_USE_FOUNDRY"),
    ],
)
def test_refuses_a_name_that_is_nearly_a_credentials(name: str, meant: str, beside: dict[str, str]) -> None:
    message = refused({name: "hunter2"} | beside)

    assert f"{name} is not a variable that the gateway reads; did you mean {meant}?" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "name",
    [
        *("ANTHROPIC_KEY", "ANTHROPIC_TOKEN", "CLAUDE_API_KEY", "CLAUDE_USE_BEDROCK", "CLAUDE_CODE_USE_AWS"),
        "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    ],
)
def test_refuses_other_names_only_in_place_of_a_credential(name: str) -> None:
    assert refused({name: "1"}).startswith(name)
    assert read_credential({name: "1", "ANTHROPIC_API_KEY": "k"}).kind == "api_key"
    assert read_credential({name: "1", "CLAUDE_PROXY_DEMO": "1"}).kind == "demo"


@pytest.mark.parametrize("value", ["", " ", "\n"])
@pytest.mark.parametrize(
    "name", ["ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY_FILE", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK"]
)
def test_refuses_an_empty_credential_unless_another_is_set(name: str, value: str) -> None:
    assert refused({name: value}).startswith(f"{name} is set but empty")
    other = "ANTHROPIC_AUTH_TOKEN" if "API_KEY" in name else "ANTHROPIC_API_KEY"
    assert read_credential({name: value, other: "k"}).kind != "demo"
    assert read_credential({name: value, "CLAUDE_PROXY_DEMO": "1"}).kind == "demo"


def test_takes_the_variables_that_others_read() -> None:
    others = [
        *("ANTHROPIC_MODEL", "ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_LOG", "ANTHROPIC_BETAS", "ANTHROPIC_AWS_API_KEY"),
        *("ANTHROPIC_API_HOST", "ANTHROPIC_API_URL", "ANTHROPIC_API_BASE", "ANTHROPIC_WEBHOOK_SIGNING_KEY"),
        *("ANTHROPIC_FOUNDRY_AUTH_TOKEN", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_OAUTH_SCOPES", "CLAUDE_CONFIG_DIR"),
        *("CLAUDE_CODE_USE_NATIVE_FILE_SEARCH", "CLAUDE_CODE_API_BASE_URL", "CLAUDE_CODE_SESSION_ACCESS_TOKEN"),
        *("CLAUDECODE", "OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "AZURE_API_KEY", "API_KEY", "PATH", "A"),
    ]
    assert read_credential(dict.fromkeys(others, "x")).kind == "demo"


def test_refuses_a_demo_beside_a_credential() -> None:
    message = refused({"CLAUDE_PROXY_DEMO": "1", "ANTHROPIC_API_KEY": "k"})
    assert message.startswith("CLAUDE_PROXY_DEMO and ANTHROPIC_API_KEY are both set")
    assert read_credential({"CLAUDE_PROXY_DEMO": "0", "ANTHROPIC_API_KEY": "k"}).kind == "api_key"
