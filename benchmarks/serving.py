"""Throughput, latency and overload of `zoo serve`, beside what its model could do at most, and PaddleNLP's server.

    python benchmarks/serving.py [--paddlenlp PEER/bin/python] [--vocab vocab.txt] [--texts tags.bio] [--json FILE]

Two models with drawn weights (which needs paddle): a text classifier with six layers of 384 on texts of very different
lengths, and a UIE of nano's shape that looks for three labels in sentences of a file in BIO format. The classifier's
ceiling is the same texts through the same back end, tokenised before, in ideal batches of what so many clients can ask
at the same time; shares of it are given in processor seconds of the server and in wall time, where the clients take
their part of the cores. Overload is twice the rate that 64 clients reached, for some seconds, with a deadline. PEER
holds paddlenlp 2.8.1 on paddlepaddle 2.6.2, whose SimpleServer gets the same weights and requests.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import quantiles
from typing import Any

from extraction import SCHEMA, make_model
from load import ROOT, Results, ask_all, draw_texts, flood, make_classifier, peer_server, zoo_server

from zoo_cli.runtime.loading import open_bundle

SAMPLES = ROOT / "zoo_cli" / "data" / "samples"
DEADLINE = 2.0
"""Seconds that the server has for each request under overload."""

CLASSIFIER_PEER = """
import paddle, uvicorn
from paddlenlp import SimpleServer
from paddlenlp.server import CustomModelHandler, MultiClassificationPostHandler
from paddlenlp.transformers import ErnieForSequenceClassification
model = ErnieForSequenceClassification.from_pretrained(arguments["folder"])
model.eval()
spec = [paddle.static.InputSpec([None, None], "int64", name) for name in ("input_ids", "token_type_ids")]
paddle.jit.save(paddle.jit.to_static(model, input_spec=spec), arguments["folder"] + "/static/inference")
app = SimpleServer()
app.register(
    "classify", model_path=arguments["folder"] + "/static", tokenizer_name=arguments["folder"],
    model_handler=CustomModelHandler, post_handler=MultiClassificationPostHandler,
)
uvicorn.run(app, port=arguments["port"], log_level="warning")
"""

UIE_PEER = """
import uvicorn
from paddlenlp import SimpleServer, Taskflow
flow = Taskflow("information_extraction", model="uie-nano", schema=arguments["schema"], task_path=arguments["folder"])
app = SimpleServer()
app.register_taskflow("uie", flow)
uvicorn.run(app, port=arguments["port"], log_level="warning")
"""


def ceilings(
    bundle: Path, bodies: list[Any], batch_tokens: int, threads: int, clients: Sequence[int]
) -> dict[int, dict[str, float]]:
    """Processor and wall seconds for each request in ideal batches, where so many clients ask: one alone has none."""
    opened = open_bundle(bundle, threads=threads)
    runner = opened.runner(batch_tokens)
    features = [feature for body in bodies for feature in next(opened.task.steps(opened.task.request(body)))]
    runner(features[:64])
    found = {}
    for together in clients:
        processor, wall = time.process_time(), time.perf_counter()
        for first in range(0, len(features), together):
            runner(features[first : first + together])
        seconds = {"processor": time.process_time() - processor, "wall": time.perf_counter() - wall}
        found[together] = {name: each / len(bodies) for name, each in seconds.items()}
    return found


def row_of(server: str, title: str, results: Results, best: dict[str, float] | None = None) -> dict[str, Any]:
    """One row of the table."""
    answered = results.seconds(200)
    cuts = quantiles(answered, n=100) if len(answered) > 1 else [0.0] * 99
    row: dict[str, Any] = {
        "server": server,
        "load": title,
        "a second": round(len(answered) / results.wall, 1),
        "p50 p95 p99 ms": " ".join(f"{cuts[place] * 1000:.0f}" for place in (49, 94, 98)),
        "processor ms": round(results.processor / max(1, len(answered)) * 1000, 2),
        "refused": results.count(429),
        "other": len(results.rows) - len(answered) - results.count(429),
    }
    if best and results.processor:
        row["of ceiling (processor)"] = round(best["processor"] * len(answered) / results.processor, 2)
        row["of ceiling (wall)"] = round(best["wall"] * len(answered) / results.wall, 2)
    return row


def overload(results: Results, usual: Results) -> dict[str, Any]:
    """What the excess cost.

    Args:
        results: of the flood.
        usual: without overload; what the event loop spends on an answer is taken from it.
    """
    answered, refused = results.seconds(200), results.seconds(429)
    spent = results.network - len(answered) * usual.network / max(1, usual.count(200))
    return {
        "p99 of the answers, s": round(answered[int(len(answered) * 0.99)], 3) if answered else None,
        "deadline, s": DEADLINE,
        "given up at the deadline": results.count(504),
        "median of the refusals, ms": round(refused[len(refused) // 2] * 1000, 2) if refused else None,
        "processor ms a refusal": round(max(0.0, spent) / len(refused) * 1000, 2) if refused else None,
        "neither answered, refused nor given up": len(results.rows) - len(answered) - len(refused) - results.count(504),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, ["---"] * len(columns), *([str(row.get(name, "")) for name in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How many times the peer's requests a second, at each load that both had."""
    theirs = {row["load"]: row["a second"] for row in rows if row["server"] != "zoo"}
    return {
        row["load"]: round(row["a second"] / theirs[row["load"]], 1)
        for row in rows
        if row["server"] == "zoo" and theirs.get(row["load"])
    }


def classifier(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """The encoder of 6 x 384."""
    places = make_classifier(scratch)
    requests = [{"text": text} for text in draw_texts(options.requests, options.characters)]
    bodies = [json.dumps(request).encode() for request in requests]
    best = ceilings(places["bundle"], requests, options.batch_tokens, options.threads, options.clients)
    rows, found = [], {}
    settings = [f"serve.batch_tokens={options.batch_tokens}", f"serve.threads={options.threads}", *options.settings]
    with zoo_server([places["bundle"]], settings) as server:
        path = "/v1/sequence_classification"
        ask_all(server, path, bodies[:64], 8)
        for clients in options.clients:
            results = ask_all(server, path, bodies, clients)
            rows.append(row_of("zoo", f"{clients} clients", results, best[clients]))
        rate = rows[-1]["a second"]
        flooded = flood(server, path, bodies, 2 * rate, options.seconds, DEADLINE)
        rows.append(row_of("zoo", f"{2 * rate:.0f} a second", flooded))
        found = overload(flooded, results)
    if options.paddlenlp:
        parameters = {"max_seq_len": 128, "batch_size": 1}
        asked = [json.dumps({"data": {"text": [each["text"]]}, "parameters": parameters}).encode() for each in requests]
        with peer_server(options.paddlenlp, CLASSIFIER_PEER, {"folder": str(places["peer"])}) as server:
            ask_all(server, "/classify", asked[:16], 2)
            for clients in options.clients:
                results = ask_all(server, "/classify", asked[: options.peer_requests], clients)
                rows.append(row_of("PaddleNLP", f"{clients} clients", results))
    most = {
        f"{clients} clients": {name: round(1 / seconds, 1) for name, seconds in each.items()}
        for clients, each in best.items()
    }
    return {"ceiling, texts a second": most, "rows": rows, "overload": found, "times PaddleNLP": ratios(rows)}


def extraction(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """UIE with three labels."""
    from zoo_cli.data.readers import read

    texts = ["".join(example.tokens) for example in islice(read(options.texts, "bio"), options.sentences)]
    places = make_model(scratch, options.vocab)
    rows = []
    with zoo_server(
        [Path(places["bundles"]["fp32"])], [f"serve.threads={options.threads}", *options.settings]
    ) as server:
        bodies = [json.dumps({"text": text, "schema": SCHEMA}).encode() for text in texts]
        ask_all(server, "/v1/extraction", bodies[:16], 4)
        for clients in options.clients:
            rows.append(row_of("zoo", f"{clients} clients", ask_all(server, "/v1/extraction", bodies, clients)))
    if options.paddlenlp:
        asked = [json.dumps({"data": {"text": [text]}, "parameters": {}}).encode() for text in texts]
        with peer_server(options.paddlenlp, UIE_PEER, {"folder": places["peer"], "schema": SCHEMA}) as server:
            ask_all(server, "/uie", asked[:2], 1)
            for clients in options.clients:
                results = ask_all(server, "/uie", asked[: options.peer_requests], clients)
                rows.append(row_of("PaddleNLP", f"{clients} clients", results))
    return {"rows": rows, "times PaddleNLP": ratios(rows)}


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paddlenlp", help="interpreter that has paddlenlp")
    parser.add_argument("--vocab", type=Path, default=SAMPLES / "vocab" / "wordpiece" / "vocab.txt")
    parser.add_argument("--texts", type=Path, default=SAMPLES / "msra" / "train.txt", help="file in BIO format")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--requests", type=int, default=1000, help="to the classifier, at each number of clients")
    parser.add_argument("--sentences", type=int, default=256, help="to the UIE")
    parser.add_argument("--peer-requests", type=int, default=128, help="to PaddleNLP, which is slower")
    parser.add_argument("--characters", type=float, default=30, help="mean length of a text")
    parser.add_argument("--seconds", type=float, default=10.0, help="of overload")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--only", choices=["classifier", "extraction"])
    parser.add_argument("--json", type=Path, help="write all figures here, too")
    parser.add_argument("settings", nargs="*", help="serve.KEY=VALUE")
    options = parser.parse_args()
    report: dict[str, Any] = {"threads": options.threads}
    for name, run in (("classifier", classifier), ("extraction", extraction)):
        if options.only in (None, name):
            with tempfile.TemporaryDirectory() as scratch:
                part = report[name] = run(options, Path(scratch))
            print(f"\n## {name}\n\n{table(part['rows'])}\n")
            for title, figures in part.items():
                if title != "rows" and figures:
                    print(f"{title}: {json.dumps(figures)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
