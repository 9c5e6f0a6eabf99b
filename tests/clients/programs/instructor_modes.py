"""Instructor in each of its modes for the two APIs, on a model that takes forced tools and on one that does not."""

from itertools import product
from typing import Any

import anthropic
import instructor
import openai
from features import GATEWAY, KEY, MODEL, caught, feature, run
from instructor import Mode
from pydantic import BaseModel

OLDER = "claude-sonnet-4-6"
"""Takes forced tools."""
OPENAI_MODES = (Mode.TOOLS, Mode.JSON_SCHEMA, Mode.JSON, Mode.MD_JSON, Mode.RESPONSES_TOOLS)
ANTHROPIC_MODES = (Mode.ANTHROPIC_TOOLS, Mode.ANTHROPIC_JSON)
ADA = '{"name": "Ada", "age": 36}'
FENCED = f"```json\n{ADA}\n```"
IN_TEXT = {Mode.MD_JSON: FENCED, Mode.ANTHROPIC_JSON: FENCED}
"""Answers in the modes that ask for text."""


class Person(BaseModel):
    name: str
    age: int


def client(mode: Mode) -> Any:
    if mode in ANTHROPIC_MODES:
        return instructor.from_anthropic(anthropic.Anthropic(base_url=GATEWAY, api_key=KEY), mode=mode)
    return instructor.from_openai(openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key=KEY, max_retries=0), mode=mode)


def ask(mode: Mode, model: str, prompt: str, **fields: Any) -> Any:
    limit = {"max_tokens": 1000} if mode in ANTHROPIC_MODES else {}
    messages = [{"role": "user", "content": prompt}]
    return client(mode).create(model=model, response_model=Person, messages=messages, max_retries=0, **limit, **fields)


def answering(mode: Mode, model: str) -> str:
    """Prompt whose answer suits the mode: without a directive, the upstream makes one up from the schema."""
    if mode is Mode.JSON:  # any object: as a call of the gateway's where the model takes forced tools
        return f"[[tool=json_answer:{ADA}]]" if model == OLDER else f"[[say={ADA}]]"
    return f"[[say={IN_TEXT[mode]}]]" if mode in IN_TEXT else "Ada is 36."


@feature("structured output", over=product((*OPENAI_MODES, *ANTHROPIC_MODES), (MODEL, OLDER)))
def structured_output(case: tuple[Mode, str]) -> None:
    mode, model = case
    assert isinstance(ask(mode, model, answering(mode, model)), Person)


@feature("streaming", over=(Mode.TOOLS, Mode.JSON_SCHEMA))
def streaming(mode: Mode) -> None:
    messages = [{"role": "user", "content": "Ada is 36."}]
    partial = list(client(mode).create_partial(model=MODEL, response_model=Person, messages=messages, max_retries=0))
    assert partial[-1].name is not None, partial


@feature("errors", over=(Mode.TOOLS, Mode.ANTHROPIC_TOOLS))
def errors(mode: Mode) -> None:
    error = caught(Exception, lambda: ask(mode, MODEL, "[[status=529]] [[message=not now]]"))
    assert "not now" in str(error), error


run()
