"""A client of the lab. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

COMMON = (
    "plain",
    "streaming",
    "tool loop",
    "structured output",
    "image and PDF",
    "errors",
    "cancel",
    "second user turn",
)
"""Features with a column of their own; a client's others are its extras."""
MODEL = "claude-sonnet-5-5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An unmodified client and the program that exercises it.

    title: unique. packages: pins, as pip (`name==1.0`) or npm (`name@1.0`) has them. program: a file of `programs/`; of
    a client from npm, Python if it is a coding agent, which is an optional dependency. requirements: the file of
    `requirements/` that has its Python packages, by its stem; None for a client from npm. connect: how to point it at
    the gateway, Markdown, with `GATEWAY` for its address and `KEY` for a key. reasons: why features fail that cannot
    pass, by feature or `feature (engine)`. in_ci: the tests run it too, so its installation takes less than a minute.
    """

    title: str
    packages: Sequence[str]
    program: str
    requirements: str | None = None
    features: Sequence[str]
    connect: str
    reasons: Mapping[str, str] = field(default_factory=dict)
    model: str = MODEL
    in_ci: bool = False

    @property
    def version(self) -> str:
        """The pinned versions, with names where there are several packages."""
        pins = [re.sub(r"\[.*\]", "", pin).replace("==", "@").rpartition("@") for pin in self.packages]
        return pins[0][2] if len(pins) == 1 else ", ".join(f"{name} {version}" for name, _, version in pins)

    @property
    def extras(self) -> Sequence[str]:
        """Features without a column of their own."""
        return [name for name in self.features if name not in COMMON]

    def reason(self, feature: str, engine: str) -> str | None:
        """Why a feature is expected to fail there; None: it has to pass."""
        return self.reasons.get(f"{feature} ({engine})") or self.reasons.get(feature)
