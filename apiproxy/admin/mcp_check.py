"""Test of an MCP server: connects to it and lists its tools."""

from dataclasses import dataclass
from functools import partial

from asgiref.sync import async_to_sync
from django.utils import timezone

from apiproxy.conf import gateway_settings
from apiproxy.core.addresses import checked_addresses
from apiproxy.core.encryption import UnreadableError
from apiproxy.mcp.errors import McpError
from apiproxy.mcp.session import McpSession
from apiproxy.mcp.tools import Offer
from apiproxy.models import McpServer
from apiproxy.models.mcp_servers import MAX_TOOL_NAME_CHARS, Transport, tool_name

_SHOWN_TOOLS = 30
_PROBLEM_CHARS = 500
NO_TEST = "A stdio server starts in the jail of a run, whose trace shows if it works."


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a test. problem: empty if the server works; text: for the administrator."""

    text: str
    problem: str = ""


def check(server: McpServer) -> Outcome:
    """Connect to a stored server, list its tools, and record the outcome."""
    if server.transport == Transport.STDIO:
        return Outcome(NO_TEST)
    try:
        outcome = _described(server.name, async_to_sync(_offer)(server))
    except (McpError, UnreadableError) as error:
        text = f"Its secrets cannot be read: {error}." if isinstance(error, UnreadableError) else str(error)
        outcome = Outcome(text, text)
    # Not `save`: the outcome is no change of the server, of which the catalog would be told.
    McpServer.objects.filter(pk=server.pk).update(
        checked_at=timezone.now(), check_problem=outcome.problem[:_PROBLEM_CHARS]
    )
    return outcome


async def _offer(server: McpServer) -> Offer:
    private_hosts = gateway_settings().allowed.private_hosts
    session = McpSession(server.spec(), resolve=partial(checked_addresses, private_hosts=private_hosts))
    try:
        await session.open()
        return session.offer
    finally:
        await session.close()


def _described(server: str, offer: Offer) -> Outcome:
    names = [tool.name for tool in offer.tools]
    too_long = [name for name in names if len(tool_name(server, name)) >= MAX_TOOL_NAME_CHARS]
    usable = [name for name in names if name not in too_long]
    shown = ", ".join(usable[:_SHOWN_TOOLS]) + (" …" if len(usable) > _SHOWN_TOOLS else "")
    text = f"{len(usable)} tool{'' if len(usable) == 1 else 's'}{f': {shown}' if usable else ''}."
    left_out = [*offer.left_out, *(f"{name}: its name is too long with the server's" for name in too_long)]
    if left_out:
        text += f" Left out: {'; '.join(left_out[:_SHOWN_TOOLS])}."
    problem = "" if usable else "The server offers no tool that the allowed tools match."
    return Outcome(problem or text, problem)
