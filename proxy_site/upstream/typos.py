"""Detection of misspelt credential variables; without it, a typo would start a demo.

Names are compared by case-insensitive edit distance (restricted Damerau-Levenshtein). Of the 1,231 names in the CLI
that begin with `ANTHROPIC_` or `CLAUDE_`, no other is nearer than 4 to one of these.
"""

from collections.abc import Iterable

from proxy_site.env import Env, SettingError

MAX_DISTANCE = 2
"""Maximum edit distance of a typo."""

_SECRETS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_FOUNDRY_API_KEY")
_PLATFORMS = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")
CREDENTIAL_NAMES = (
    *_SECRETS,
    *(f"{name}_FILE" for name in _SECRETS),
    *_PLATFORMS,
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_BEDROCK_BASE_URL",
    "ANTHROPIC_VERTEX_BASE_URL",
    "ANTHROPIC_VERTEX_PROJECT_ID",
    "ANTHROPIC_FOUNDRY_BASE_URL",
    "ANTHROPIC_FOUNDRY_RESOURCE",
    "CLAUDE_CODE_OAUTH_TOKEN",
)
"""Variables that decide the upstream and its credential."""

SWITCHES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", *_PLATFORMS)
"""Variables that select the kind of credential."""

_CONFUSED_WITH = {
    "ANTHROPIC_KEY": "ANTHROPIC_API_KEY",
    "ANTHROPIC_SECRET_KEY": "ANTHROPIC_API_KEY",
    "ANTHROPIC_TOKEN": "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_API_TOKEN": "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_API_KEY": "ANTHROPIC_API_KEY",
    "CLAUDE_KEY": "ANTHROPIC_API_KEY",
    "CLAUDE_AUTH_TOKEN": "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_USE_BEDROCK": "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_USE_VERTEX": "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_USE_FOUNDRY": "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_BEDROCK": "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_VERTEX": "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_FOUNDRY": "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_AWS": "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_GCP": "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_AZURE": "CLAUDE_CODE_USE_FOUNDRY",
}
"""Beyond the edit distance, and other programs may read them: an error only if no credential is set."""
_UNSUPPORTED = ("CLAUDE_CODE_USE_ANTHROPIC_AWS", "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD", "CLAUDE_CODE_USE_MANTLE")
"""Platforms that the CLI supports and the gateway does not."""


def reject_misspelt(env: Env) -> None:
    """Raises SettingError for a probable typo of a credential variable."""
    for name in sorted(env):
        meant = _nearest(name)
        if meant is not None:
            raise SettingError(f"{name} is not a variable that the gateway reads; did you mean {meant}?")


def reject_unset_credential(env: Env) -> None:
    """Raises SettingError for a variable that was probably meant as the credential.

    Called if no credential is set.
    Such a variable is empty, as when a deployment copies it from a missing one, or its name is one other programs use.
    """
    for name in (form for switch in SWITCHES for form in _forms(switch)):
        if name in env and not env[name].strip():
            raise SettingError(
                f"{name} is set but empty, so there is no upstream credential. Set its value; for the demo, unset it "
                "or set CLAUDE_PROXY_DEMO=1."
            )
    for name in sorted(env):
        meant = _CONFUSED_WITH.get(name.upper())
        if meant is not None:
            raise SettingError(f"{name} is not a variable that the gateway reads; did you mean {meant}?")
        if name in _UNSUPPORTED and env[name].strip():
            raise SettingError(f"{name} is set, but the gateway does not support that platform.")


def _forms(name: str) -> Iterable[str]:
    return (name,) if name.startswith("CLAUDE_CODE_USE_") else (name, f"{name}_FILE")


def _nearest(name: str) -> str | None:
    """The credential variable of which the name is a probable typo, if any."""
    if name in CREDENTIAL_NAMES:
        return None
    shouted = name.upper()
    distances = {known: distance(shouted, known) for known in CREDENTIAL_NAMES if _comparable(shouted, known)}
    nearest = min(distances, key=lambda known: distances[known], default=None)
    return nearest if nearest is not None and distances[nearest] <= MAX_DISTANCE else None


def _comparable(name: str, known: str) -> bool:
    """Fast check that rules out nearly all names before the distance is computed.

    Each edit changes at most two adjacent pieces of a name (a swap at their border), so of 2 * MAX_DISTANCE + 1 pieces
    at least one stays intact.
    """
    if abs(len(name) - len(known)) > MAX_DISTANCE:
        return False
    size = len(known) // (2 * MAX_DISTANCE + 1)
    return any(known[start : start + size] in name for start in range(0, size * (2 * MAX_DISTANCE + 1), size))


def distance(one: str, other: str) -> int:
    """Restricted Damerau-Levenshtein distance."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, above, row = row, before, [i]
        for j, its in enumerate(other, 1):
            cost = min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != its))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == its:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]
