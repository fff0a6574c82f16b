"""The page to try a model, and other clients of the models' list."""

from __future__ import annotations

import re

import pytest

from tests.serve.live import Live


def test_the_page_needs_nothing_from_elsewhere(server: Live) -> None:
    response = server.client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert not re.search(r"(src|href)=\"(?!data:)", response.text)
    assert set(re.findall(r"https?://[\w./]+", response.text)) == {"http://www.w3.org/2000/svg"}


def test_both_languages_say_the_same(server: Live) -> None:
    text = server.client.get("/").text
    english, chinese = re.findall(r"^  (?:en|zh): \{(.*?)\} \},$", text, re.M | re.S)
    keys = re.compile(r"(?:^|[{,])\s*(\w+): (?=[\"{])", re.M)
    assert keys.findall(english) == keys.findall(chinese) and len(keys.findall(english)) > 15
    assert set(re.findall(r'data-say="(\w+)"', text)) <= set(keys.findall(english))


def test_models_as_the_openai_client_lists_them(server: Live) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    assert {"uie", "single", "multi"} <= {model.id for model in client.models.list()}
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="single", input="a")
