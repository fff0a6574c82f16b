"""`/v1/completions` and `/v1/chat/completions`, asked by OpenAI's own client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serve.bundles import WORDS
from tests.serve.live import Live, serving
from tests.serve.writers import VOCABULARIES, make_writer
from zoo_cli.runtime import load
from zoo_cli.serve.openai_style import Cutter

openai = pytest.importorskip("openai")

TEXT = WORDS[:9]


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("writers")
    return {task: make_writer(folder / task, task) for task in VOCABULARIES}


@pytest.fixture(scope="module")
def writing(writers: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(tmp_path_factory.mktemp("writing"), *map(str, writers.values())) as live:
        yield live


@pytest.fixture(scope="module")
def client(writing: Live) -> Any:
    return openai.OpenAI(base_url=f"{writing.url}/v1", api_key="none", max_retries=0, timeout=30)


def written(bundle: Path, value: dict[str, Any], **decoding: Any) -> dict[str, Any]:
    return load(bundle)({**value, "decoding": decoding})


def test_a_completion(client: Any, writers: dict[str, Path]) -> None:
    expected = written(writers["generation"], {"text": TEXT})
    found = client.completions.create(model="generation", prompt=TEXT)
    (choice,) = found.choices
    assert choice.text == expected["text"]
    assert choice.finish_reason == {"eos": "stop", "length": "length"}[expected["finish_reason"]]
    assert found.usage.completion_tokens == expected["tokens"]
    assert found.usage.prompt_tokens > len(TEXT) / 2  # some of which are words of two characters
    assert (found.object, found.model) == ("text_completion", "generation")
    echoed = client.completions.create(model="generation", prompt=TEXT, echo=True, max_tokens=3)
    assert echoed.choices[0].text == TEXT + written(writers["generation"], {"text": TEXT}, max_new_tokens=3)["text"]


def test_several_prompts_and_several_texts(client: Any, writers: dict[str, Path]) -> None:
    prompts = [TEXT, WORDS]
    found = client.completions.create(model="generation", prompt=prompts, n=3, top_p=0.9, seed=5)
    drawn = {"decode_strategy": "sampling", "top_p": 0.9, "num_return_sequences": 3, "seed": 5}
    answers = [written(writers["generation"], {"text": prompt}, **drawn) for prompt in prompts]
    assert [choice.index for choice in found.choices] == list(range(6))
    assert [choice.text for choice in found.choices] == [each["text"] for one in answers for each in one["texts"]]
    beams = {"decode_strategy": "beam_search", "num_beams": 4}
    found = client.completions.create(model="generation", prompt=TEXT, extra_body={"decoding": beams})
    assert found.choices[0].text == written(writers["generation"], {"text": TEXT}, **beams)["text"]


def test_drawn_texts_differ_unless_there_is_a_seed(client: Any) -> None:
    def draw(**options: Any) -> set[str]:
        answers = [client.completions.create(model="generation", prompt=TEXT, **options) for _ in range(4)]
        return {answer.choices[0].text for answer in answers}

    assert len(draw(temperature=1.0)) > 1
    assert len(draw(temperature=1.0, seed=3)) == len(draw(temperature=0)) == 1


def test_a_completion_is_streamed(client: Any, writers: dict[str, Path]) -> None:
    expected = written(writers["generation"], {"text": TEXT})
    options = {"include_usage": True}
    *chunks, end, usage = client.completions.create(
        model="generation", prompt=TEXT, stream=True, echo=True, stream_options=options
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == TEXT + expected["text"]
    assert len(chunks) > 2  # a chunk has what was written since the one before, on a busy machine several tokens
    assert {chunk.choices[0].finish_reason for chunk in chunks} == {None}
    assert end.choices[0].finish_reason in ("stop", "length")
    assert not usage.choices and usage.usage.completion_tokens == expected["tokens"]
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_chat(client: Any, writers: dict[str, Path]) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "我住在北京"},
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": "你好，今天去哪里？"},
        {"role": "user", "content": [{"type": "text", "text": "去"}, {"type": "text", "text": "公司"}]},
    ]
    value = {"text": "去公司", "history": ["你好", "你好，今天去哪里？"], "persona": ["我住在北京"]}
    expected = written(writers["dialogue"], value)
    found = client.chat.completions.create(model="dialogue", messages=messages)
    assert found.object == "chat.completion"
    assert (found.choices[0].message.role, found.choices[0].message.content) == ("assistant", expected["text"])
    assert found.usage.total_tokens == found.usage.prompt_tokens + expected["tokens"]
    chunks = list(client.chat.completions.create(model="dialogue", messages=messages, stream=True))
    assert chunks[0].object == "chat.completion.chunk" and chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected["text"]
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")
    short = client.chat.completions.create(model="dialogue", messages=messages, max_completion_tokens=2)
    assert short.usage.completion_tokens <= 2


def test_a_text_ends_before_a_stop(client: Any, writers: dict[str, Path]) -> None:
    text = written(writers["generation"], {"text": TEXT})["text"]
    stops = ["不在其中", text[5:8]]
    for stop, left in ((stops, text[:5]), (text[3], text[:3])):
        found = client.completions.create(model="generation", prompt=TEXT, stop=stop).choices[0]
        assert (found.text, found.finish_reason) == (left, "stop")
        chunks = list(client.completions.create(model="generation", prompt=TEXT, stop=stop, stream=True))
        assert "".join(chunk.choices[0].text for chunk in chunks) == left
        assert chunks[-1].choices[0].finish_reason == "stop"


@given(
    text=st.text("ab", max_size=20), stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), data=st.data()
)
def test_cutting_in_pieces_is_cutting_the_whole(text: str, stops: list[str], data: st.DataObject) -> None:
    # The text up to each place, as it would be written: which is the first that ends with one of the strings?
    ends = (text[:end] for end in range(len(text) + 1))
    first = next((written for written in ends if written.endswith(tuple(stops))), None) if stops else None
    longest = max((stop for stop in stops if first is not None and first.endswith(stop)), key=len, default="")
    expected = text if first is None else first.removesuffix(longest)
    cutter, found, rest = Cutter(stops), "", text
    while rest and not cutter.found:
        size = data.draw(st.integers(1, len(rest)))
        found += cutter.add(rest[:size])
        rest = rest[size:]
    assert found + cutter.end() == expected
    assert cutter.found == (first is not None)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"n": 2, "stream": True}, "stream"),
        ({"prompt": [TEXT, TEXT], "stream": True}, "stream"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"max_tokens": 512}, None),
        ({"temperature": 0, "n": 2}, None),
    ],
)
def test_what_is_refused(client: Any, options: dict[str, Any], param: str | None) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.completions.create(**{"model": "generation", "prompt": TEXT, **options})
    assert caught.value.param == param


def test_models_answer_where_they_fit(client: Any, writing: Live) -> None:
    assert {model.id for model in client.models.list()} == set(VOCABULARIES)
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="dialogue", prompt=TEXT)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="generation", messages=[{"role": "user", "content": TEXT}])
    with pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(model="dialogue", messages=[{"role": "assistant", "content": TEXT}])
    paths = writing.client.get("/openapi.json").json()["paths"]
    assert {"/v1/completions", "/v1/chat/completions", "/v1/generation"} <= set(paths)


def test_servers_without_such_models_do_not_show_the_endpoints(server: Live) -> None:
    assert "/v1/completions" not in server.client.get("/openapi.json").json()["paths"]
    response = server.post("/v1/completions", {"prompt": TEXT})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown-model")
