"""Names of variables that are nearly those of the upstream credential: without this, a typo would start a demo.

Names are compared by edit distance (Damerau-Levenshtein, restricted), upper and lower case alike. Of the 1,231 names in
the CLI that begin with `ANTHROPIC_` or `CLAUDE_`, none but these themselves is nearer than 4 to one of them.
"""

from collections.abc import Iterable

from proxy_site.env import Env, SettingError

MAX_DISTANCE = 2
"""Letters left out, added, changed or swapped in a name until it counts as another name."""

_SECRETS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_FOUNDRY_API_KEY")
CREDENTIAL_NAMES = (
    *_SECRETS,
    *(f"{name}_FILE" for name in _SECRETS),
    *("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY"),
    *("ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_BEDROCK_BASE_URL", "ANTHROPIC_VERTEX_BASE_URL"),
    *("ANTHROPIC_VERTEX_PROJECT_ID", "ANTHROPIC_FOUNDRY_BASE_URL", "ANTHROPIC_FOUNDRY_RESOURCE"),
    "CLAUDE_CODE_OAUTH_TOKEN",
)
"""All that decides which upstream is asked, and with what right."""

SWITCHES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", *CREDENTIAL_NAMES[6:9])
"""Those of them that choose the credential."""

_TAKEN_FOR = {
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
"""Farther away, and other programs may read them: wrong only where they would have been the credential."""
_UNSUPPORTED = ("CLAUDE_CODE_USE_ANTHROPIC_AWS", "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD", "CLAUDE_CODE_USE_MANTLE")
"""Platforms that the CLI knows and the gateway does not."""


def refuse_misspelt(env: Env) -> None:
    """Raises SettingError for a variable whose name is nearly that of the credential's."""
    for name in sorted(env):
        meant = _nearest(name)
        if meant is not None:
            raise SettingError(f"{name} is not a variable that the gateway reads; did you mean {meant}?")


def refuse_meant(env: Env) -> None:
    """Raises SettingError where no credential is set and a variable was meant to be one.

    It is empty, such as what a deployment sets from another that is missing; or its name is one that others use.
    """
    for name in (form for switch in SWITCHES for form in _forms(switch)):
        if name in env and not env[name].strip():
            raise SettingError(
                f"{name} is set and empty, so there is no upstream credential. Give it its value; or unset it, or set "
                "CLAUDE_PROXY_DEMO=1, for the demo."
            )
    for name in sorted(env):
        meant = _TAKEN_FOR.get(name.upper())
        if meant is not None:
            raise SettingError(f"{name} is not a variable that the gateway reads; did you mean {meant}?")
        if name in _UNSUPPORTED and env[name].strip():
            raise SettingError(f"{name} is set, and the gateway does not support that platform.")


def _forms(name: str) -> Iterable[str]:
    return (name,) if name.startswith("CLAUDE_CODE_USE_") else (name, f"{name}_FILE")


def _nearest(name: str) -> str | None:
    """The credential's variable that was meant, if the name is none itself and near enough to one."""
    if name in CREDENTIAL_NAMES:
        return None
    shouted = name.upper()
    distances = {known: distance(shouted, known) for known in CREDENTIAL_NAMES if _comparable(shouted, known)}
    nearest = min(distances, key=lambda known: distances[known], default=None)
    return nearest if nearest is not None and distances[nearest] <= MAX_DISTANCE else None


def _comparable(name: str, known: str) -> bool:
    """Whether the distance can be small enough at all, which is quick to say, and no for nearly every variable.

    Each edit spoils at most two neighbouring pieces of a name (a swap on their border), so that one more than twice as
    many pieces as edits leave one whole.
    """
    if abs(len(name) - len(known)) > MAX_DISTANCE:
        return False
    size = len(known) // (2 * MAX_DISTANCE + 1)
    return any(known[start : start + size] in name for start in range(0, size * (2 * MAX_DISTANCE + 1), size))


def distance(one: str, other: str) -> int:
    """How many letters have to be left out, added, changed or swapped with their neighbour."""
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
