"""A client's side, run by the Python that is tried: both official clients, and a browser's way to the dashboard.

python tests/pythons/client.py BASE_URL API_KEY ADMINISTRATOR PASSWORD
"""

import http.cookiejar
import sys
import urllib.parse
import urllib.request

from anthropic import Anthropic
from openai import OpenAI

DEMO = "demo answer"
TIMEOUT_S = 60


def ask_anthropic(base_url: str, key: str) -> None:
    with Anthropic(base_url=base_url, api_key=key, max_retries=0, timeout=TIMEOUT_S) as client:
        assert client.models.list().data
        message = client.messages.create(
            model="sonnet", max_tokens=200, messages=[{"role": "user", "content": "Hello"}]
        )
        assert message.content[0].type == "text"
        assert DEMO in message.content[0].text, message
        with client.messages.stream(
            model="sonnet", max_tokens=200, messages=[{"role": "user", "content": "Hello"}]
        ) as stream:
            assert DEMO in stream.get_final_text()


def ask_openai(base_url: str, key: str) -> None:
    with OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0, timeout=TIMEOUT_S) as client:
        answer = client.chat.completions.create(model="sonnet", messages=[{"role": "user", "content": "Hello"}])
        assert DEMO in str(answer.choices[0].message.content), answer
        chunks = client.chat.completions.create(
            model="sonnet", messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        assert DEMO in "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert DEMO in client.responses.create(model="sonnet", input="Hello").output_text


def open_dashboard(base_url: str, name: str, password: str) -> None:
    cookies = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(cookies))
    login = f"{base_url}/admin/login/?next=/dashboard/"
    browser.open(login, timeout=TIMEOUT_S).read()
    token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken")
    form = {"username": name, "password": password, "csrfmiddlewaretoken": str(token), "next": "/dashboard/"}
    request = urllib.request.Request(login, urllib.parse.urlencode(form).encode(), {"Referer": login})
    with browser.open(request, timeout=TIMEOUT_S) as page:
        html = page.read().decode()
        assert page.url == f"{base_url}/dashboard/", page.url
    assert "DEMO" in html.upper()
    assert "id_password" not in html


if __name__ == "__main__":
    address, api_key, administrator, secret = sys.argv[1:]
    ask_anthropic(address, api_key)
    ask_openai(address, api_key)
    open_dashboard(address, administrator, secret)
