"""`zoo generate` and `zoo chat` as a user and as a script meet them."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

from zoo_cli.base.errors import UsageError, ZooError  # noqa: E402
from zoo_cli.cli.chat import chat  # noqa: E402
from zoo_cli.cli.decoding import decoding_changes, parse_parameters  # noqa: E402
from zoo_cli.cli.generate import generate  # noqa: E402
from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.export.job import export_recipe  # noqa: E402
from zoo_cli.recipe.loading import load_recipe  # noqa: E402


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with short tiny runs of a headline writer and a dialogue model."""
    folder = tmp_path_factory.mktemp("work")
    for name in ("unimo-text/lcsts", "plato/lccc"):
        steps = ["train.max_steps=40", "train.eval_steps=40", "train.learning_rate=5e-3", "train.batch_size=8"]
        steps += ["data.limit=8", "task.decoding.max_new_tokens=8"]
        finetune(load_recipe(name, steps, tiny=True), folder / name)
    return folder


def write(capsys: pytest.CaptureFixture[str], work: Path, **options: Any) -> str:
    """What `zoo generate` writes to standard output."""
    generate(source=work / "unimo-text" / "lcsts", **options)
    return capsys.readouterr().out


def test_generate_writes_text_json_and_streams(capsys: pytest.CaptureFixture[str], work: Path) -> None:
    lines = '本报讯，云安市的新医院建成。\n{"text": "松林镇公园关门。", "decoding": {"max_new_tokens": 3}}\n'
    (work / "in.txt").write_text(lines, encoding="utf-8")
    greedy: dict[str, Any] = {
        "input_file": str(work / "in.txt"),
        "decode_strategy": "greedy_search",
        "min_new_tokens": 2,
    }
    plain = write(capsys, work, **greedy)
    assert write(capsys, work, **greedy, stream=True) == plain
    answers = [json.loads(line) for line in write(capsys, work, **greedy, as_json=True).splitlines()]
    assert [answer["text"] for answer in answers] == plain.splitlines()
    found = [json.loads(line) for line in write(capsys, work, **greedy, as_json=True, stream=True).splitlines()]
    for index, answer in enumerate(answers):
        own = [line for line in found if line["index"] == index]
        assert own[-1] == {"index": index, **answer, "score": pytest.approx(answer["score"], rel=1e-3)}
        assert "".join(line["piece"] for line in own[:-1]) == answer["text"] != ""


def test_generate_from_a_bundle(capsys: pytest.CaptureFixture[str], work: Path) -> None:
    loaded = load_recipe("unimo-text/lcsts", ["export.backends=[onnx]", "data.limit=2"], tiny=True)
    export_recipe(loaded, work / "unimo-text" / "lcsts" / "best", work / "export")
    greedy: dict[str, Any] = {
        "text": "本报讯，云安市的新医院建成。",
        "decode_strategy": "greedy_search",
        "min_new_tokens": 2,
    }
    for stream in (False, True):
        generate(source=work / "export" / "bundle", stream=stream, **greedy)
        assert capsys.readouterr().out == write(capsys, work, **greedy) != "\n"


def test_generate_to_a_file_with_a_seed(capsys: pytest.CaptureFixture[str], work: Path) -> None:
    def draw(seed: int) -> list[str]:
        place = work / f"{seed}.jsonl"
        sampling = {"temperature": 5.0, "num_return_sequences": 3, "seed": seed}
        assert write(capsys, work, text="云安市", **sampling, as_json=True, output=str(place)) == ""
        (answer,) = [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]
        return [each["text"] for each in answer["texts"]]

    first = draw(1)
    assert len(set(first)) == 3
    assert first == draw(1)
    assert first != draw(2)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"top_k": 3, "num_beams": 2}, "bad-option"),
        ({"top_p": 2.0}, "bad-option"),
        ({"stream": True, "output": "y"}, "bad-option"),
        ({"stream": True, "num_return_sequences": 2}, "bad-option"),
        ({"num_return_sequences": 2, "decode_strategy": "greedy_search"}, "bad-decoding"),
        ({"max_new_tokens": 4000}, "bad-decoding"),
        ({"text": None}, "no-input"),
        ({"source": Path("nowhere")}, "no-model"),
    ],
)
def test_errors_name_themselves(work: Path, options: dict[str, Any], code: str) -> None:
    with pytest.raises(ZooError) as caught:
        generate(**{"source": work / "unimo-text" / "lcsts", "text": "x", **options})
    assert caught.value.code == code


def test_options_choose_the_strategy() -> None:
    assert decoding_changes(top_k=3, seed=None) == {"top_k": 3, "decode_strategy": "sampling"}
    assert decoding_changes(num_beams=3)["decode_strategy"] == "beam_search"
    assert decoding_changes(num_beams=3, top_k=2, decode_strategy="sampling")["num_beams"] == 3
    assert decoding_changes(repetition_penalty=1.2) == {"repetition_penalty": 1.2}
    assert parse_parameters(["top_p=0.5", "seed=null", "decode_strategy=sampling"]) == {
        "top_p": 0.5,
        "seed": None,
        "decode_strategy": "sampling",
    }
    for wrong in ("top_k", "top_k=x", "topk=3", "top_k=1.5"):
        with pytest.raises(UsageError):
            parse_parameters([wrong])


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        environment = {**os.environ, "ZOO_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "TERM": "dumb"}
        command = [sys.executable, "-m", "zoo_cli", *arguments]
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)

    def until(self, text: str, seconds: float = 300) -> str:
        """What appears up to a text."""
        end = time.monotonic() + seconds
        data = b""
        while text not in data.decode("utf-8", "ignore").replace("\r\n", "\n"):
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{text!r} did not appear in {data.decode('utf-8', 'replace')!r}"
            data += os.read(self.master, 4096)
        return data.decode("utf-8").replace("\r\n", "\n")

    def type(self, line: str) -> str:
        """Type a line; what appears below it, up to the next prompt."""
        os.write(self.master, line.encode() + b"\n")
        _, _, below = self.until("\n> ").partition("\n")
        return below


@pytest.fixture
def terminal(work: Path) -> Iterator[Terminal]:
    options = ["--param", "decode_strategy=greedy_search", "--param", "min_new_tokens=3"]
    opened = Terminal(work, "chat", "--from", "plato/lccc", *options)
    yield opened
    opened.process.kill()
    opened.process.wait()
    os.close(opened.master)


def test_chat_on_a_terminal(terminal: Terminal) -> None:
    terminal.until("> ")
    first = terminal.type("今天吃什么？")
    assert first.strip("\n> ")
    second = terminal.type("今天吃什么？")  # now with a history
    assert "forgotten" in terminal.type("/reset")
    assert terminal.type("今天吃什么？") == first
    assert second.strip("\n> ")
    shown = terminal.type("/params top_k=4 seed=9")
    assert "top_k=4" in shown and "seed=9" in shown and "decode_strategy=sampling" in shown
    assert "[bad-option]" in terminal.type("/params top_q=4")
    assert "/nothing" in terminal.type("/nothing")
    assert "/reset" in terminal.type("/help")
    os.write(terminal.master, b"/quit\n")
    assert terminal.process.wait(300) == 0


def test_chat_takes_lines_of_a_pipe_and_refuses_other_models(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("早上好！\n\n/quit\n再见\n"))
    chat(source=work / "plato" / "lccc")
    assert len(capsys.readouterr().out.splitlines()) == 1
    with pytest.raises(UsageError, match="zoo generate"):
        chat(source=work / "unimo-text" / "lcsts")
