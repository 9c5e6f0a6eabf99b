"""Names of tools as offered to the model, and back."""

import pytest

from apiproxy.engines.agents.names import offered_name, split_name


@pytest.mark.parametrize(
    ("server", "tool", "offered"),
    [("db", "lookup", "mcp__db__lookup"), ("a.b", "ünï", "mcp__a_b___n_"), ("agent", "Bash", "Bash")],
)
def test_offer_tools_under_clis_names(server: str, tool: str, offered: str) -> None:
    assert offered_name(server, tool) == offered


@pytest.mark.parametrize(
    ("offered", "server", "tool"),
    [
        ("mcp__db__lookup", "db", "lookup"),
        ("mcp__db__x__lookup", "db__x", "lookup"),
        ("mcp__other__a__b", "other", "a__b"),
        ("mcp__a_b__t", "a.b", "t"),
        ("Bash", "agent", "Bash"),
    ],
)
def test_split_offered_names(offered: str, server: str, tool: str) -> None:
    assert split_name(offered, ["db", "db__x", "a.b"]) == (server, tool)
