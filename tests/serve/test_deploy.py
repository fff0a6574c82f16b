"""What the documentation of the server tells to write is what the server takes."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.serve.live import ROOT, Live
from zoo_cli.cli.app import app
from zoo_cli.cli.serve import settings_of
from zoo_cli.recipe.schema import ServeLimits, ServeSection

DEPLOY = ROOT / "docs" / "deploy"
GUIDE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def options_of(verb: str) -> set[str]:
    """All options of a verb."""
    group: Any = typer.main.get_command(app)
    return {name for parameter in group.commands[verb].params for name in parameter.opts}


def check_serve(arguments: list[str]) -> ServeSection:
    """Settings that the arguments of `zoo serve` mean; every option and every key must exist."""
    named = [word for word in arguments if word.startswith("--")]
    assert set(named) <= options_of("serve"), named
    given = {word.removeprefix("--"): arguments[index + 1] for index, word in enumerate(arguments) if word in named}
    values = [f"serve.{name}={value}" for name, value in given.items()]
    values += [word for word in arguments if re.match(r"[\w.]+=", word)]
    return settings_of(["bundle"], values, None, None, False)


def documents(name: str) -> list[Any]:
    return [each for each in yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")) if each is not None]


def instructions(name: str) -> list[tuple[str, str]]:
    """Instructions of a Dockerfile with their arguments."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / name).read_text(encoding="utf-8"), flags=re.M).replace("\\\n", " ")
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())
    ]


def paths_of(server: Live) -> set[str]:
    return set(server.client.get("/openapi.json").json()["paths"])


# -- images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "extra"), [("Dockerfile.onnx", "serve"), ("Dockerfile.paddle", "all")])
def test_images(name: str, extra: str) -> None:
    found = instructions(name)
    known = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in found} <= known and found[0][0] == "FROM"
    runs = " ".join(rest for word, rest in found if word == "RUN")
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert f"[{extra}]" in runs and extra in setup["options.extras_require"]
    assert "paddle" not in setup["options.extras_require"]["serve"]
    users = [rest for word, rest in found if word == "USER"]
    assert users and users[-1] != "root"
    entry = json.loads(dict(found)["ENTRYPOINT"])
    assert entry[0] == "zoo" and isinstance(json.loads(dict(found)["CMD"]), list)


def test_the_slim_image_serves_where_it_is_looked_for(server: Live) -> None:
    found = dict(instructions("Dockerfile.onnx"))
    settings = check_serve(json.loads(found["CMD"]))
    assert settings.host == "0.0.0.0" and str(settings.port) == found["EXPOSE"]
    ((port, path),) = re.findall(r"127\.0\.0\.1:(\d+)(/\w+)", found["HEALTHCHECK"])
    assert int(port) == settings.port and path in paths_of(server)


def test_compose(server: Live) -> None:
    (compose,) = documents("compose.yaml")
    zoo = compose["services"]["zoo"]
    settings = check_serve(zoo["command"])
    assert zoo["ports"] == [f"127.0.0.1:{settings.port}:{settings.port}"]
    assert (DEPLOY / zoo["build"]["context"] / zoo["build"]["dockerfile"]).is_file()
    assert zoo["volumes"][0].endswith(f":{zoo['command'][0]}:ro")
    assert int(zoo["stop_grace_period"].removesuffix("s")) > settings.drain_delay + settings.drain_timeout
    prometheus = compose["services"]["prometheus"]
    assert set(prometheus["depends_on"]) <= set(compose["services"])
    (mounted,) = prometheus["volumes"]
    (config,) = documents(mounted.partition(":")[0].removeprefix("./"))
    (job,) = config["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"zoo:{settings.port}"]
    assert job["metrics_path"] in paths_of(server)


# -- systemd -----------------------------------------------------------------------------------------------------------


def test_systemd_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "zoo.service").read_text(encoding="utf-8")
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    service = unit["Service"]
    program, verb, *arguments = service["ExecStart"].split()
    settings = check_serve(arguments)
    assert program.endswith("/zoo") and verb == "serve"
    assert int(service["TimeoutStopSec"]) > settings.drain_delay + settings.drain_timeout
    assert settings.api_keys == "%d/keys" and service["LoadCredential"].startswith("keys:")
    assert {int(code) for code in service["RestartPreventExitStatus"].split()} == {2, 3, 4, 5}
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    copy = tmp_path / "zoo.service"
    copy.write_text(text.replace(program, shutil.which("true") or program))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "zoo.service" in line]
    assert done.returncode == 0 and not said, done.stderr


# -- Kubernetes --------------------------------------------------------------------------------------------------------


def test_kubernetes_manifest(server: Live) -> None:
    found = {each["kind"]: each for each in documents("kubernetes.yaml")}
    deployment = found["Deployment"]["spec"]["template"]
    (container,) = deployment["spec"]["containers"]
    settings = check_serve(container["args"])
    assert settings.host == "0.0.0.0"
    assert container["ports"] == [{"name": "http", "containerPort": settings.port}]
    assert deployment["metadata"]["annotations"]["prometheus.io/port"] == str(settings.port)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in paths_of(server)
    grace = deployment["spec"]["terminationGracePeriodSeconds"]
    assert grace > settings.drain_delay + settings.drain_timeout
    mounts, volumes = container["volumeMounts"], deployment["spec"]["volumes"]
    assert {mount["name"] for mount in mounts} == {volume["name"] for volume in volumes}
    labels = deployment["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels == found["Service"]["spec"]["selector"]
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    scaler = found["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]
    (metric,) = scaler["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert f"\n{name}{{" in server.client.get("/metrics").text
    assert int(metric["pods"]["target"]["averageValue"]) < settings.limits.queue_items
    (rule,) = yaml.safe_load(found["ConfigMap"]["data"]["config.yaml"])["rules"]
    assert rule["name"]["as"] == name and rule["seriesQuery"].startswith(name)


def test_kubernetes_manifest_by_its_schema() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for document in documents("kubernetes.yaml"):
        validate.validate(document, "1.32", strict=True)


# -- the guide ---------------------------------------------------------------------------------------------------------


def test_the_guide_names_what_there_is(server: Live) -> None:
    fields = {f"serve.{name}" for name in ServeSection.model_fields}
    fields |= {f"serve.limits.{name}" for name in ServeLimits.model_fields}
    named = set(re.findall(r"serve\.[a-z_.]*[a-z]", GUIDE))
    assert named <= fields and len(named) > 15
    assert set(re.findall(r"\bzoo_[a-z_]+", GUIDE)) <= metrics_of(server) | {"zoo_cli"}
    for verb, text in re.findall(r"^zoo (\w+) (.*)$", GUIDE, re.M):
        assert set(re.findall(r"(?<= )--[a-z-]+", text.partition("#")[0])) <= options_of(verb), text
    paths = paths_of(server)
    for path in re.findall(r"`(?:GET|POST|DELETE) (/[^`]*)`", GUIDE):
        if path not in ("/openapi.json", "/v1/<task>", "/<name>") and not path.startswith(("/v1/embed", "/v1/c")):
            assert path in paths, path
    for link in re.findall(r"\]\(([^)#:]+)\)", GUIDE):
        assert (ROOT / "docs" / link).exists(), link


def metrics_of(server: Live) -> set[str]:
    """Names of the metrics, as they are listed and as their series are."""
    text = server.client.get("/metrics").text
    return set(re.findall(r"^# TYPE (\w+)", text, re.M)) | set(re.findall(r"^(\w+)", text, re.M))
