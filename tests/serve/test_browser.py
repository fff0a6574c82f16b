"""The page in a real browser: every kind of task asked as a person would."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.browser import CHROMIUM, Page, browsing
from tests.serve.bundles import WORDS, make_bundle
from tests.serve.live import Live, serving
from tests.serve.writers import make_writer
from zoo_cli.runtime import load
from zoo_cli.runtime.golden import same_answer

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
SCHEMA = ["人物", {"地点": ["人物", "时间"]}]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shown")
    return {
        "uie": make_bundle(folder / "uie", "extraction", schema=SCHEMA, max_length=64, overlap=16),
        "topics": make_bundle(folder / "topics", "sequence_classification", all_scores=True),
        "reader": make_bundle(folder / "reader", "question_answering"),
        "vectors": make_bundle(folder / "vectors", "embedding"),
        "writer": make_writer(folder / "writer", "generation"),
        "chat": make_writer(folder / "chat", "dialogue", layers=60),
    }


@pytest.fixture(scope="module")
def site(shown: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(tmp_path_factory.mktemp("site"), *map(str, shown.values())) as live:
        yield live


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page, site: Live) -> Iterator[Page]:
    browser.size(1000)
    browser.open(site.url)
    browser.wait("document.readyState === 'complete' && document.querySelectorAll('#model option').length === 6")
    yield browser
    assert browser.errors == []


def choose(page: Page, name: str, **fields: str) -> None:
    """Take a model, and fill in fields of its form."""
    page.run(f"$('model').value = {json.dumps(name)}; $('model').dispatchEvent(new Event('change'))")
    for field, text in fields.items():
        fill(page, field, text, "new Event('input', { bubbles: true })")


def fill(page: Page, field: str, text: str, event: str) -> None:
    place = f"document.querySelector('#form [name={field}]')"
    page.run(f"(field => {{ field.value = {json.dumps(text)}; field.dispatchEvent({event}) }})({place})")


def contents(page: Page, selector: str) -> list[str]:
    """Text of all nodes that a selector finds."""
    found: list[str] = page.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(node => node.textContent)")
    return found


def ask(page: Page) -> Any:
    """Press the button; what the page shows as JSON in the end."""
    page.run("$('go').click()")
    page.wait("!$('go').disabled && $('time').textContent !== ''")
    return json.loads(page.run("$('json').textContent"))


def test_extraction(page: Page, shown: dict[str, Path]) -> None:
    text = f"😀{WORDS}"  # offsets count characters, of which this one has two units
    choose(page, "uie", text=text, schema=json.dumps(SCHEMA))
    answer, expected = ask(page), load(shown["uie"])({"text": text, "schema": SCHEMA})
    assert same_answer(answer, expected, 1e-5)
    nodes = "[...document.querySelector('.marked').childNodes]"
    kept = "filter(node => !['SUP', 'svg'].includes(node.nodeName))"
    assert page.run(f"{nodes}.{kept}.map(node => node.textContent).join('')") == text
    wanted, relations = set(), 0
    for label, entries in expected.items():
        for entry in entries:
            wanted.add((label, entry["text"]))
            for name, others in entry.get("relations", {}).items():
                wanted |= {(name, other["text"]) for other in others}
                relations += len({(other["start"], other["end"]) for other in others})
    labels = set(contents(page, ".marked sup"))
    assert labels == {label for label, _ in wanted} and relations > 0
    # An arrow is a curve, a tip and a name.
    assert page.run("document.querySelectorAll('.marked svg path').length") >= 2 * relations
    assert set(contents(page, ".marked svg text")) <= labels


def test_classes_as_bars(page: Page, shown: dict[str, Path]) -> None:
    choose(page, "topics", text=WORDS)
    answer = ask(page)
    assert same_answer(answer, load(shown["topics"])(WORDS), 1e-5)
    order = sorted(answer["scores"], key=lambda label: -answer["scores"][label])
    assert contents(page, ".bars b") == order
    widths = page.run("[...document.querySelectorAll('.bars i')].map(bar => bar.getBoundingClientRect().width)")
    assert widths == sorted(widths, reverse=True) and widths[0] > widths[-1]
    assert contents(page, ".bars span")[0] == f"{answer['scores'][order[0]]:.1%}"


def test_the_answer_stands_in_its_text(page: Page, shown: dict[str, Path]) -> None:
    choose(page, "reader", question="谁？", context=WORDS)
    answer = ask(page)
    assert same_answer(answer, load(shown["reader"])({"question": "谁？", "context": WORDS}), 1e-5)
    assert page.run("document.querySelector('.marked mark').textContent") == answer["answer"] != ""
    assert page.run("document.querySelector('.marked').textContent").startswith(WORDS[: answer["end"]])


def test_a_dialogue_is_streamed(page: Page, shown: dict[str, Path]) -> None:
    choose(page, "chat", text=WORDS[:9])
    page.run(
        "window.seen = []; new MutationObserver(() => seen.push(document.querySelector('.writing')?.textContent))"
        ".observe($('view'), { childList: true, subtree: true, characterData: true })"
    )
    ask(page)
    pipeline = load(shown["chat"])
    first = pipeline(WORDS[:9])["text"]
    bubbles = ".talk .written"
    assert contents(page, bubbles) == [WORDS[:9], first]
    growing = [text for text in page.run("seen") if text]
    assert len(set(growing)) > 1 and all(first.startswith(text) for text in growing)
    # The second turn knows the first; Enter sends it.
    enter = "new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true })"
    fill(page, "text", "北京", enter)
    page.wait("document.querySelectorAll('.talk .written').length === 4 && !$('go').disabled")
    second = pipeline({"text": "北京", "history": [WORDS[:9], first]})["text"]
    assert contents(page, bubbles) == [WORDS[:9], first, "北京", second]
    assert contents(page, ".talk .mine") == [WORDS[:9], "北京"]
    page.run("$('again').click()")
    assert page.run("$('answer').hidden && turns.length === 0")


def test_writing_can_be_stopped(page: Page) -> None:
    choose(page, "chat", text=WORDS[:5], decoding='{"max_new_tokens": 400, "min_new_tokens": 400}')
    page.run("$('go').click()")
    page.wait("!$('stop').hidden && document.querySelector('.writing')?.textContent")
    page.run("$('stop').click()")
    page.wait("!$('go').disabled && $('stop').hidden")
    assert page.run("document.querySelectorAll('.writing').length") == 0
    assert page.run("turns.length") == 2 and page.run("turns[1]") != ""


def test_generation_and_vectors(page: Page, shown: dict[str, Path]) -> None:
    choose(page, "writer", text=WORDS)
    answer = ask(page)
    assert answer == json.loads(json.dumps(load(shown["writer"])(WORDS)))
    assert page.run("document.querySelector('#view .written').textContent") == answer["text"]
    several = '{"decode_strategy": "sampling", "num_return_sequences": 3, "seed": 1}'
    choose(page, "writer", text=WORDS, decoding=several)
    answer = ask(page)
    texts = contents(page, "#view .written")
    assert texts == [each["text"] for each in answer["texts"]] and len(texts) == 3
    choose(page, "vectors", text=WORDS)
    assert len(ask(page)["embedding"]) == page.run("document.querySelectorAll('.cells i').length") == 4


def test_the_snippets_give_the_same_answer(page: Page, tmp_path: Path) -> None:
    choose(page, "reader", question='谁\'s "x"？', context=WORDS)
    answer = ask(page)
    page.run("$('tabcurl').click()")
    done = subprocess.run(["bash", "-c", page.run("$('code').textContent")], capture_output=True, check=True)
    assert same_answer(json.loads(done.stdout)["answer"], answer, 1e-5)
    pytest.importorskip("requests")
    page.run("$('tabpython').click()")
    (tmp_path / "ask.py").write_text(page.run("$('code').textContent"), encoding="utf-8")
    done = subprocess.run([sys.executable, "ask.py"], capture_output=True, check=True, cwd=tmp_path)
    assert done.stdout.decode().strip() == str(answer)
    choose(page, "writer", text=WORDS)
    answer = ask(page)
    (tmp_path / "ask.py").write_text(page.run("$('code').textContent"), encoding="utf-8")
    done = subprocess.run([sys.executable, "ask.py"], capture_output=True, check=True, cwd=tmp_path)
    assert done.stdout.decode() == answer["text"]


def test_faults_are_told(page: Page) -> None:
    choose(page, "uie", text=WORDS, schema="[")
    page.run("$('go').click()")
    page.wait("document.querySelector('.error')?.textContent")
    choose(page, "uie", text=WORDS, schema=json.dumps([{"人物": 3}]))
    page.run("$('go').click()")
    page.wait("document.querySelector('.error')?.textContent.includes('[bad-schema]')")
    page.errors.clear()  # the browser notes the 422


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_in_both_languages(page: Page, dark: bool) -> None:
    page.size(390, dark=dark)
    for _ in range(2):
        page.run("$('language').click()")
        for name in ("uie", "topics", "reader", "chat", "vectors"):
            choose(page, name)
            ask(page)
            assert page.run("document.documentElement.scrollWidth") <= 390, name
    assert page.run("document.documentElement.lang") in ("en", "zh")
    colour = page.run("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))
    assert (brightness < 200) == dark
