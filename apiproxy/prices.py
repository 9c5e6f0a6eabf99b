"""The price of tokens, and what a run costs at it. Pure."""

from dataclasses import dataclass
from decimal import Decimal

from apiproxy.events import Usage

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """USD per million tokens. A request whose prompt has more than long_prompt_above tokens costs factor times that."""

    input: Decimal
    output: Decimal
    cache_write: Decimal
    cache_read: Decimal
    long_prompt_above: int | None = None
    long_prompt_factor: Decimal = Decimal(1)

    def cost(self, usage: Usage) -> float:
        """An estimate in USD. Cache writes count as five-minute ones: the usage does not tell them from dearer ones."""
        prompt = usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens
        total = (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_creation_input_tokens * self.cache_write
            + usage.cache_read_input_tokens * self.cache_read
        )
        long = self.long_prompt_above is not None and prompt > self.long_prompt_above
        return float(total * (self.long_prompt_factor if long else 1) / _MILLION)
