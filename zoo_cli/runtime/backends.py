"""What computes: one small class for each engine, all called with padded numpy inputs.

Each reads a bundle's graph and answers ``backend({"input_ids": [B, S], ...}) -> [[B, ...], ...]``, the outputs in the
order in which the task names them. Threads that compute at the same time each take a `clone`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zoo_cli.base.environment import owned_cores
from zoo_cli.base.errors import ArtifactError, Location, PlatformError, UsageError


class Backend(Protocol):
    """A loaded graph."""

    input_names: tuple[str, ...]

    def __call__(self, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs for padded inputs by name."""
        ...

    def clone(self) -> Backend:
        """The same weights for another thread; call it on the main thread."""
        ...


def _no_graph(path: Path, engine: str, precision: str) -> ArtifactError:
    return ArtifactError(
        "missing-file",
        "the bundle has no graph for {engine} of precision {precision}",
        at=Location.of(path),
        fix="`zoo export` and `zoo quantize` write them",
        engine=engine,
        precision=precision,
    )


_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


def open_onnx(path: Path, threads: int | None = None) -> Any:
    """A session of ONNX Runtime: on the graphics card where onnxruntime-gpu finds one, else on the CPU.

    Args:
        path: the graph.
        threads: threads inside of one operation; by default the cores that the process owns.

    Raises:
        PlatformError: ONNX Runtime is not installed (`missing-extra`).
        ArtifactError: the file is no graph (`broken-graph`).
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise PlatformError(
            "missing-extra", "ONNX Runtime is not installed", fix="pip install 'zoo-cli[serve]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or owned_cores()
    options.inter_op_num_threads = 1
    # Idle threads that spin take the processor from tokenisation and from other sessions.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [name for name in _PROVIDERS if name in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # of its own kinds, which have no common class
        raise ArtifactError(
            "broken-graph", "ONNX Runtime cannot read the graph: {reason}", at=Location.of(path), reason=str(error)
        ) from error


class OnnxBackend:
    """ONNX Runtime.

    Args:
        bundle: the bundle's folder.
        precision: folder below `onnx/`.
        threads: threads inside of one operation; by default the cores that the process owns.
    """

    def __init__(self, bundle: Path, precision: str = "fp32", threads: int | None = None) -> None:
        path = bundle / "onnx" / precision / "model.onnx"
        if not path.is_file():
            raise _no_graph(path, "ONNX Runtime", precision)
        self.session = open_onnx(path, threads)
        self.input_names = tuple(value.name for value in self.session.get_inputs())

    def clone(self) -> OnnxBackend:
        """The session itself, which threads may share."""
        return self

    def __call__(self, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
        return list(self.session.run(None, {name: batch[name] for name in self.input_names}))


class PaddleBackend:
    """Paddle Inference with oneDNN on the CPU; a predictor that threads share gives each the answers of others.

    Args:
        bundle: the bundle's folder.
        precision: only ``"fp32"``.
        threads: threads inside of one operation; by default the cores that the process owns.
    """

    def __init__(self, bundle: Path, precision: str = "fp32", threads: int | None = None) -> None:
        from zoo_cli.base.environment import prepare_paddle

        if precision != "fp32":
            raise UsageError("precision", "Paddle Inference runs this bundle in fp32 only")
        prepare_paddle("cpu")
        from paddle import inference

        graph, weights = (bundle / "paddle" / f"inference.{suffix}" for suffix in ("json", "pdiparams"))
        for path in (graph, weights):
            if not path.is_file():
                raise _no_graph(path, "Paddle Inference", precision)
        config = inference.Config(str(graph), str(weights))
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(threads or owned_cores())
        config.enable_onednn()  # the default of Paddle 3.3
        config.disable_glog_info()
        # In Paddle 3.3 this pass drops the tanh of a pooler that a ReLU follows; it makes nothing faster on the CPU.
        config.delete_pass("matmul_add_act_fuse_pass")
        self._open(inference.create_predictor(config))

    def _open(self, predictor: Any) -> None:
        self.predictor = predictor
        self.input_names: tuple[str, ...] = tuple(predictor.get_input_names())

    def clone(self) -> PaddleBackend:
        """Another predictor on the same weights, for another thread. Call it on the main thread."""
        twin = object.__new__(PaddleBackend)
        twin._open(self.predictor.clone())
        return twin

    def __call__(self, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
        for name in self.input_names:
            self.predictor.get_input_handle(name).copy_from_cpu(batch[name])
        self.predictor.run()
        names = self.predictor.get_output_names()
        return [self.predictor.get_output_handle(name).copy_to_cpu() for name in names]


class OpenVinoBackend:
    """OpenVINO on the CPU.

    Args:
        bundle: the bundle's folder.
        precision: folder below `openvino/`.
        threads: threads inside of one operation; by default the cores that the process owns.
    """

    def __init__(self, bundle: Path, precision: str = "fp32", threads: int | None = None) -> None:
        try:
            import openvino
        except ImportError as error:
            raise PlatformError(
                "missing-extra", "OpenVINO is not installed", fix="pip install 'zoo-cli[openvino]'"
            ) from error
        path = bundle / "openvino" / precision / "model.xml"
        for part in (path, path.with_suffix(".bin")):
            if not part.is_file():
                raise _no_graph(part, "OpenVINO", precision)
        options = {
            "INFERENCE_NUM_THREADS": threads or owned_cores(),
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # On processors with bfloat16 products the default would be those.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._compiled = openvino.Core().compile_model(path, "CPU", options)
        self._open()

    def _open(self) -> None:
        self._request = self._compiled.create_infer_request()
        self.input_names: tuple[str, ...] = tuple(value.any_name for value in self._compiled.inputs)

    def clone(self) -> OpenVinoBackend:
        """Another request on the same weights, for another thread."""
        twin = object.__new__(OpenVinoBackend)
        twin._compiled = self._compiled
        twin._open()
        return twin

    def __call__(self, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
        self._request.infer({name: batch[name] for name in self.input_names}, share_inputs=True)
        return [tensor.data.copy() for tensor in self._request.output_tensors]


BACKENDS: dict[str, Callable[..., Backend]] = {
    "onnx": OnnxBackend,
    "openvino": OpenVinoBackend,
    "paddle": PaddleBackend,
}
_GRAPHS = {"onnx": "onnx/*/model.onnx", "openvino": "openvino/*/model.xml"}


def graphs(bundle: Path) -> list[tuple[str, str]]:
    """Back end and precision of each graph in a bundle: fp32 first, back ends in the order of `BACKENDS`."""
    found = [
        (backend, path.parent.name) for backend, pattern in _GRAPHS.items() for path in sorted(bundle.glob(pattern))
    ]
    if (bundle / "paddle" / "inference.json").is_file():
        found.append(("paddle", "fp32"))
    order = list(BACKENDS)
    return sorted(found, key=lambda graph: (graph[1] != "fp32", order.index(graph[0])))
