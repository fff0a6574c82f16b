"""The command line as a user and as a script meets it: real processes, exit codes, standard output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from zoo_cli.base.errors import DataError
from zoo_cli.cli.app import app


def zoo(*arguments: str, folder: Path, stdin: str | bytes = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `zoo` in a folder with a cache of its own."""
    variables = {**os.environ, "ZOO_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", **environment}
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [sys.executable, "-m", "zoo_cli", *arguments],
        cwd=folder,
        env=variables,
        input=data,
        capture_output=True,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a short tiny run of UIE."""
    folder = tmp_path_factory.mktemp("work")
    done = zoo(
        "finetune", "-r", "uie/msra.yaml", "--tiny", "--json", "train.max_steps=6", "train.eval_steps=3", folder=folder
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["steps"] == 6
    assert Path(folder, result["model"], "model.safetensors").is_file()
    return folder


def test_help_is_quick(tmp_path: Path) -> None:
    def seconds() -> float:
        before = os.times()
        assert zoo("--help", folder=tmp_path).returncode == 0
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # Processes that share a core's caches make each other slower, but not all the time.
    assert any(seconds() < 0.5 for _ in range(20))


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (["finetune", "-r", "uie/mrsa.yaml"], "unknown-recipe", 2),
        (["finetune", "-r", "uie/msra.yaml", "train.epoch=3"], "unknown-key", 2),
        (["finetune", "-r", "uie/msra.yaml", "model.init=uei-base"], "unknown-checkpoint", 2),
        (["finetune", "-r", "uie/msra.yaml", "--offline"], None, 3),
        (["finetune", "-r", "uie/msra.yaml", "--tiny", "data.train=missing.txt"], None, 3),
        (["finetune", "-r", "uie/msra.yaml", "--tiny", "--device", "tpu"], "bad-device", 2),
        (["evaluate", "-r", "uie/msra.yaml"], "no-model", 4),
        (["evaluate"], "no-recipe", 2),
        (["predict", "--from", "nowhere", "--text", "x"], "no-model", 4),
        (["weights", "fetch", "uie-bass"], "unknown-checkpoint", 2),
        (["weights", "fetch", "uie-nano", "--offline"], "offline", 4),
        (["export", "--from", "nowhere", "-r", "uie/msra.yaml"], "no-model", 4),
    ],
)
def test_errors_name_themselves_and_exit(tmp_path: Path, arguments: list[str], code: str | None, status: int) -> None:
    done = zoo(*arguments, "--json" if arguments[0] != "predict" else "--backend=onnx", folder=tmp_path)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    if arguments[0] == "predict":
        assert f"[{code}]" in done.stderr
    else:
        error = json.loads(done.stdout)["error"]
        assert error["exit_code"] == status
        assert code is None or error["code"] == code
    assert not (tmp_path / "runs").exists()


def test_wrong_options_exit_with_2(tmp_path: Path) -> None:
    assert zoo("finetune", "--recepi", "x", folder=tmp_path).returncode == 2
    assert zoo("fintune", folder=tmp_path).returncode == 2


def test_finished_run_is_refused_without_force(trained: Path) -> None:
    done = zoo("finetune", "-r", "uie/msra.yaml", "--tiny", "train.max_steps=6", "train.eval_steps=3", folder=trained)
    assert done.returncode == 2
    assert "[run-finished]" in done.stderr


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    done = zoo("finetune", "-r", "uie/msra.yaml", "--tiny", "--dry-run", "--json", folder=tmp_path)
    assert json.loads(done.stdout)["writes"] == "runs/uie/msra.tiny/finetune"
    assert list(tmp_path.iterdir()) == []


def test_evaluate(trained: Path) -> None:
    done = zoo("evaluate", "-r", "uie/msra.yaml", "--tiny", "--json", folder=trained)
    scores: dict[str, Any] = json.loads(done.stdout)
    assert set(scores["labels"]) == {"人物", "地点", "组织机构"}
    assert {"precision", "recall", "f1", "loss"} <= set(scores)


def test_predict_streams_lines(trained: Path) -> None:
    lines = '王芳在北京大学工作。\n\n{"text": "李明去了上海。", "schema": ["人物"]}\n'
    arguments = ["predict", "-r", "uie/msra.yaml", "--tiny", "--input", "-", "task.position_threshold=0.0"]
    done = zoo(*arguments, "--schema", '["人物", "地点"]', folder=trained, stdin=lines)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 3
    assert answers[1] == {}
    assert set(answers[2]) <= {"人物"}


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (b"ok\n{broken\n", 2),
        (b"ok\nok\n\xff\xfe\n", 3),
        (b'{"no": "text"}\n', 1),
        (b'ok\n{"text": 3}\n', 2),
        (b'{"text": "x", "schema": [1]}\n', 1),
    ],
)
def test_wrong_lines_are_located_and_leave_no_file(
    trained: Path, monkeypatch: pytest.MonkeyPatch, lines: bytes, line: int
) -> None:
    monkeypatch.chdir(trained)
    source, target = trained / "in.txt", trained / "out.jsonl"
    source.write_bytes(lines)
    arguments = ["predict", "--from", "runs/uie/msra.tiny/finetune", "--input", "in.txt", "--output", "out.jsonl"]
    error = CliRunner().invoke(app, arguments).exception  # within this process, which has loaded what it takes
    assert isinstance(error, DataError)
    assert str(error.at) == f"in.txt:{line}"
    assert not target.exists()
    assert not list(trained.glob(".partial-*"))


def test_exported_bundle_answers_the_same_without_paddle(trained: Path) -> None:
    done = zoo("export", "-r", "uie/msra.yaml", "--tiny", "--json", "--force", folder=trained)
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert receipt["failures"] == []
    assert len(receipt["parity"]) >= 24
    text = ["--text", "王芳在北京大学工作。", "--schema", '["人物"]']
    model = zoo("predict", "--from", "runs/uie/msra.tiny/finetune", *text, folder=trained)
    block = "import sys; sys.modules['paddle'] = None; from zoo_cli.cli.app import main; main()"
    bundle = subprocess.run(
        [sys.executable, "-c", block, "predict", "--from", receipt["bundle"], *text],
        cwd=trained,
        capture_output=True,
        text=True,
        check=False,
    )
    assert bundle.returncode == 0, bundle.stderr
    assert set(json.loads(bundle.stdout)) == set(json.loads(model.stdout))


def test_recipes_commands(tmp_path: Path) -> None:
    listed = json.loads(zoo("recipes", "list", "--json", "--family", "uie", folder=tmp_path).stdout)
    assert {"uie/msra.yaml", "uie/cluener.yaml", "uie/custom.yaml"} <= {row["name"] for row in listed}
    assert zoo("recipes", "copy", "uie/custom.yaml", "my.yaml", folder=tmp_path).returncode == 0
    assert zoo("recipes", "copy", "uie/custom.yaml", "my.yaml", folder=tmp_path).returncode == 2
    assert zoo("recipes", "validate", "my.yaml", folder=tmp_path).returncode == 0
    assert zoo("recipes", "new", "own.yaml", "--task", "token_classification", folder=tmp_path).returncode == 0
    assert zoo("recipes", "validate", "own.yaml", "my.yaml", folder=tmp_path).returncode == 0
    assert json.loads(zoo("recipes", "schema", folder=tmp_path).stdout)["title"] == "zoo recipe"
    shown = zoo("recipes", "show", "my.yaml", "--resolved", "--origin", folder=tmp_path).stdout
    assert "# recipe my.yaml:" in shown


def test_data_commands(trained: Path) -> None:
    done = zoo("data", "check", "-r", "uie/msra.yaml", "--tiny", "--json", folder=trained)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parts"][0]["rows"] == 120
    sample = Path(__file__).parents[2] / "zoo_cli" / "data" / "samples" / "doccano" / "train.jsonl"
    done = zoo(
        "data", "convert", str(sample), "out", "--format", "doccano", "--split", "0.8,0.2", "--json", folder=trained
    )
    assert set(json.loads(done.stdout)) == {"train.txt", "dev.txt"}
    done = zoo(
        "data", "split", str(sample), "parts", "--format", "doccano", "--sizes", "50,10", "--json", folder=trained
    )
    assert json.loads(done.stdout) == {"train": 50, "dev": 10}
    done = zoo("data", "preview", "-r", "uie/custom.yaml", "--tiny", "-n", "1", folder=trained)
    assert "prompts" in json.loads(done.stdout.splitlines()[0])


def test_weights_convert_round_trip(trained: Path) -> None:
    for layout in ("paddlenlp", "zoo"):
        source = "runs/uie/msra.tiny/finetune" if layout == "paddlenlp" else "as_paddlenlp"
        done = zoo("weights", "convert", source, f"as_{layout}", "--to", layout, "--json", "--force", folder=trained)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["missing"] == []
    first = (trained / "runs/uie/msra.tiny/finetune/best/model.safetensors").read_bytes()
    assert first == (trained / "as_zoo/model.safetensors").read_bytes()


def test_completion_knows_recipes(tmp_path: Path) -> None:
    variables = {"_ZOO_COMPLETE": "complete_bash", "COMP_WORDS": "zoo finetune --recipe uie/", "COMP_CWORD": "3"}
    code = "import sys; sys.argv = ['zoo']; from zoo_cli.cli.app import app; app(prog_name='zoo')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert "uie/msra.yaml" in done.stdout.split()
