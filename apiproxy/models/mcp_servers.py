"""MCP servers of agents."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from apiproxy.conf import gateway_settings
from apiproxy.core.addresses import is_listed, is_public, target_of
from apiproxy.core.agents import BUILT_IN_SERVER, McpServerSpec, McpTransport
from apiproxy.core.encryption import UnreadableError
from apiproxy.models.mcp_secrets import Secrets, checked_headers, checked_variables, decrypted
from apiproxy.models.names import validate_names

MAX_SERVER_NAME_CHARS = 64
MAX_TOOL_NAME_CHARS = 128
"""Of `mcp__SERVER__TOOL`; the CLI leaves out longer ones."""
MAX_ARGUMENTS = 64
MAX_TOOL_PATTERNS = 200
CLIENT_SERVER = "client"
"""Reserved for the tools of the client."""
_MAX_ARGUMENT_CHARS = 8_192
_NAME = re.compile(r"[A-Za-z0-9](?:_?[A-Za-z0-9-])*")


class Transport(models.TextChoices):
    """Connection type of a server."""

    HTTP = "http", "Streamable HTTP"
    SSE = "sse", "HTTP with server-sent events"
    STDIO = "stdio", "Command in the jail (stdio)"


TRANSPORTS: Mapping[str, McpTransport] = {"http": "http", "sse": "sse", "stdio": "stdio"}


def tool_name(server: str, tool: str) -> str:
    """Name of a server's tool in the requests of a run."""
    return f"mcp__{server}__{tool}"


def validate_server_name(value: str) -> None:
    """Validate a name that keeps `mcp__SERVER__TOOL` unambiguous."""
    if not _NAME.fullmatch(value):
        raise ValidationError("Letters, digits, hyphens and single underscores only.", code="name")
    if value.lower() in (BUILT_IN_SERVER, CLIENT_SERVER):
        raise ValidationError(f"{value} is a name of the gateway's own.", code="name")


def validate_arguments(value: object) -> None:
    """Validate a list of command-line arguments."""
    if not isinstance(value, list) or not all(isinstance(it, str) and "\0" not in it for it in value):
        raise ValidationError("Must be a list of texts.", code="arguments")
    if len(value) > MAX_ARGUMENTS or any(len(it) > _MAX_ARGUMENT_CHARS for it in value):
        raise ValidationError(
            f"At most {MAX_ARGUMENTS} arguments of {_MAX_ARGUMENT_CHARS:,} characters.", code="arguments"
        )


def validate_tool_patterns(value: object) -> None:
    """Validate a list of names of tools, with `*` for any characters."""
    validate_names(value)
    patterns = value if isinstance(value, list) else []
    if len(patterns) > MAX_TOOL_PATTERNS or any(len(it) > MAX_TOOL_NAME_CHARS for it in patterns):
        raise ValidationError(
            f"At most {MAX_TOOL_PATTERNS} patterns of {MAX_TOOL_NAME_CHARS} characters.", code="tools"
        )


def all_tools() -> list[str]:
    """The pattern for every tool."""
    return ["*"]


class McpServer(models.Model):
    """An MCP server that agents may use. Agents name it; a change applies to all their versions.

    secrets: encrypted headers and environment variables (`mcp_secrets`). checked_at, check_problem: time and outcome of
    the last test; empty if it worked.
    """

    name = models.CharField(
        primary_key=True,
        max_length=MAX_SERVER_NAME_CHARS,
        validators=[validate_server_name],
        help_text="Clients and the model see it before the tools' names. Cannot be changed.",
    )
    enabled = models.BooleanField(
        default=True, help_text="Off: agents run without it, or not at all if they require it."
    )
    transport = models.CharField(max_length=8, choices=Transport.choices, default=Transport.HTTP)
    url = models.CharField(
        "URL",
        max_length=2_000,
        blank=True,
        help_text="Not secret: put tokens into headers. Private addresses need CLAUDE_PROXY_ALLOWED_PRIVATE_HOSTS.",
    )
    command = models.CharField(
        max_length=1_000,
        blank=True,
        validators=[RegexValidator(r"^[^\0\r\n]*\Z", "One line.")],
        help_text="Runs in the agent's jail: without network, and with the jail's files only.",
    )
    args = models.JSONField(default=list, blank=True, validators=[validate_arguments])
    secrets = models.TextField(blank=True, editable=False)
    allowed_tools = models.JSONField(
        default=all_tools,
        validators=[validate_tool_patterns],
        help_text="Names of tools that agents may use; * stands for any characters.",
    )
    required = models.BooleanField(
        default=True, help_text="If it is down, runs fail with 503. Off: they go on without its tools."
    )

    checked_at = models.DateTimeField("last test", null=True, editable=False)
    check_problem = models.CharField(max_length=500, blank=True, editable=False)

    class Meta:
        verbose_name = "MCP server"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> str:
        """Destination of this server's secrets: its origin, or its command line."""
        if self.transport == Transport.STDIO:
            return repr([self.command, *self.args])
        target = target_of(self.url)
        return "" if target is None else f"{self.url.partition(':')[0].lower()} {target[0]} {target[1]}"

    def clean(self) -> None:
        """Reject an address that the gateway would not connect to, and fields of the other transports."""
        super().clean()
        problems = self._stdio_problems() if self.transport == Transport.STDIO else self._http_problems()
        if problems:
            raise ValidationError(problems)

    def _stdio_problems(self) -> dict[str, str]:
        problems = {} if self.command.strip() else {"command": "A stdio server needs one."}
        return problems | ({"url": "A stdio server has none."} if self.url else {})

    def _http_problems(self) -> dict[str, str]:
        problems = {name: "Only a stdio server has one." for name in ("command", "args") if getattr(self, name)}
        target = target_of(self.url)
        if target is None:
            problems["url"] = "Must be an http(s) address with a plain host name, and without a user name."
        elif not _may_connect(*target):
            problems["url"] = (
                f"{target[0]} is not a public address. CLAUDE_PROXY_ALLOWED_PRIVATE_HOSTS may list {target[0]} or "
                f"{target[0]}:{target[1]}."
            )
        return problems

    def read_secrets(self) -> Secrets:
        """Decrypted secrets. Raises UnreadableError."""
        return decrypted(self.secrets)

    def set_secrets(self, *, headers: Mapping[str, str], env: Mapping[str, str], moved: bool = False) -> None:
        """Encrypt headers and variables; masked values are the stored ones.

        moved: `place` has changed, so that stored values must be entered again. Raises ValidationError by field.
        """
        try:
            stored = Secrets() if moved else self.read_secrets()
        except UnreadableError:
            stored = Secrets()
        found: dict[str, dict[str, str]] = {"headers": {}, "env": {}}
        problems: dict[str, Any] = {}
        again = "the address or the command has changed, so that the stored value is not used" if moved else ""
        for name, given, kept, check in (
            ("headers", headers, stored.headers, checked_headers),
            ("env", env, stored.env, checked_variables),
        ):
            try:
                found[name] = check(given, kept, missing=again or "none is stored")
            except ValidationError as error:
                problems[name] = error.messages
        stdio = self.transport == Transport.STDIO
        if found["headers"] and stdio:
            problems["headers"] = "A stdio server has none."
        if found["env"] and not stdio:
            problems["env"] = "Only a stdio server has one."
        if found["headers"] and not stdio and not self._may_carry_secrets():
            problems["headers"] = (
                "Headers are sent over https only, or to a host in CLAUDE_PROXY_ALLOWED_PRIVATE_HOSTS."
            )
        if problems:
            raise ValidationError(problems)
        # The same secrets keep their token, so that an import without changes changes nothing.
        new = Secrets(found["headers"], found["env"])
        if moved or new != stored or not self.secrets:
            self.secrets = new.encrypted()

    def _may_carry_secrets(self) -> bool:
        target = target_of(self.url)
        if target is None or self.url[:6].lower() == "https:":
            return True
        return is_listed(*target, gateway_settings().allowed.private_hosts)

    def spec(self) -> McpServerSpec:
        """The server as runs use it, secrets included. Raises UnreadableError."""
        secrets = self.read_secrets()
        return McpServerSpec(
            name=self.name,
            transport=TRANSPORTS[self.transport],
            url=self.url,
            headers=secrets.headers,
            command=self.command,
            args=tuple(self.args),
            env=secrets.env,
            allowed_tools=tuple(self.allowed_tools),
            required=self.required,
        )


def _may_connect(host: str, port: int) -> bool:
    """False for an address that is not public; names are looked up at each connection."""
    try:
        address = ip_address(host)
    except ValueError:
        return True
    return is_public(address) or is_listed(host, port, gateway_settings().allowed.private_hosts)
