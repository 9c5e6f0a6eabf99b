"""The command `llm` with the plugin llm-anthropic, and with extra-openai-models.yaml."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from features import EMPTY_PDF, GATEWAY, KEY, MODEL, PERSON, RED_PIXEL, WORK, feature, run, seen

FOLDER = WORK / "llm"
MODELS = (f"anthropic/{MODEL}", "gateway")
EXTRA = f"""
- model_id: gateway
  model_name: {MODEL}
  api_base: {GATEWAY}/v1
  api_key_name: gateway
  supports_tools: true
  supports_schema: true
  vision: true
"""
TOOL = "def weather(city: str) -> str:\n    'The weather of a city.'\n    return city + ': sunny'\n"


def llm(*arguments: str, given: bytes | None = None, fails: bool = False) -> str:
    env = {**os.environ, "LLM_USER_PATH": str(FOLDER), "ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": GATEWAY}
    command = [str(Path(sys.executable).with_name("llm")), *arguments]
    done = subprocess.run(command, env=env, input=given or b"", capture_output=True, timeout=60, check=False)
    words = done.stderr.decode()
    assert (done.returncode != 0) == fails, words
    return words if fails else done.stdout.decode().strip()


def prepare() -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "extra-openai-models.yaml").write_text(EXTRA, encoding="utf-8")
    (FOLDER / "keys.json").write_text(json.dumps({"gateway": KEY, "anthropic": KEY}), encoding="utf-8")


@feature("plain", over=MODELS)
def plain(model: str) -> None:
    assert llm("-m", model, "--no-stream", "[[say=Good day]]") == "Good day"


@feature("streaming", over=MODELS)
def streaming(model: str) -> None:
    assert llm("-m", model, "[[n=5]]") == "tok0 tok1 tok2 tok3 tok4"


@feature("tool loop", over=MODELS)
def tool_loop(model: str) -> None:
    prompt = '[[tool=weather:{"city": "Rome"}]] [[tool=weather:{"city": "Oslo"}]] [[then]] [[seen]]'
    found = seen(llm("-m", model, "--functions", TOOL, prompt))
    assert found["results"] == 2, found


@feature("structured output", over=MODELS)
def structured_output(model: str) -> None:
    found: Any = json.loads(llm("-m", model, "--schema", "name, age int", PERSON))
    assert found == {"name": "Ada", "age": 36}, found


@feature("image and PDF", over=MODELS)
def image_and_pdf(model: str) -> None:
    image, pdf = WORK / "a.png", WORK / "a.pdf"
    image.write_bytes(base64.b64decode(RED_PIXEL))
    pdf.write_bytes(base64.b64decode(EMPTY_PDF))
    files = [image, pdf] if model != "gateway" else [image]
    found = seen(llm("-m", model, "[[seen]]", *(word for file in files for word in ("-a", str(file)))))
    assert found["images"] == 1, found
    assert found["documents"] == len(files) - 1, found


@feature("errors", over=MODELS)
def errors(model: str) -> None:
    assert "not now" in llm("-m", model, "[[status=400]] [[message=not now]]", fails=True)


@feature("second user turn", over=MODELS)
def second_user_turn(model: str) -> None:
    llm("-m", model, "[[say=one]]")
    assert seen(llm("-m", model, "-c", "[[seen]]"))["messages"] == 3


prepare()
run()
