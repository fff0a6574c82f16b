"""Files of a model folder: which layout it has, its configuration, its weights as numpy arrays. No paddle.

Three layouts are read and written: ``"zoo"`` (`config.json`, `model.safetensors` with PaddleNLP's names),
``"paddlenlp"`` (`config.json` or `model_config.json`, `model_state.pdparams`) and ``"huggingface"`` (`config.json`,
`model.safetensors` with transformers' names). In each of them the weights may be in several files with an index, such
as `model.safetensors.index.json`.
"""

from __future__ import annotations

import functools
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save_file

from zoo_cli.base.errors import ArtifactError, Location
from zoo_cli.base.files import atomic_file, read_json
from zoo_cli.models.config import ModelConfig, flatten_legacy, parse
from zoo_cli.models.config import override as override_keys
from zoo_cli.models.conversion import HuggingFaceLayout
from zoo_cli.models.stored import (
    Converted,
    StoredTensor,
    broken,
    pickled_tensors,
    read_index,
    safetensors_tensors,
    widen,
)
from zoo_cli.registry import FAMILIES, FamilySpec, family, family_of, resolve

Layout = Literal["zoo", "paddlenlp", "huggingface"]

CONFIG = "config.json"
LEGACY_CONFIG = "model_config.json"
SAFETENSORS = "model.safetensors"
PDPARAMS = "model_state.pdparams"
INDEX = ".index.json"
"""Behind the name of a weight file: the index of several, of which `model-00001-of-00003.safetensors` is one."""
TORCH = "pytorch_model.bin"
BOOKKEEPING = "StructuredToParameterName@@"


# -- layout and configuration ---------------------------------------------------------------------------------------


def huggingface_layout(spec: FamilySpec) -> HuggingFaceLayout | None:
    """The family's layout at Hugging Face, or None where it has no twin there."""
    return resolve(spec.config.huggingface) if spec.config.huggingface else None


def find_layout(folder: Path) -> Layout:
    """Which layout a folder's weights have.

    Raises:
        ArtifactError: there are no weights that can be read (`missing-weights`, `torch-pickle`).
    """
    folder = Path(folder)
    if has_file(folder, SAFETENSORS):
        names = _safetensors(folder)
        layouts = (huggingface_layout(family(name)) for name in FAMILIES)
        return "huggingface" if any(layout and layout.owns(names) for layout in layouts) else "zoo"
    if has_file(folder, PDPARAMS):
        return "paddlenlp"
    if (folder / TORCH).is_file():
        raise ArtifactError(
            "torch-pickle",
            "pickled PyTorch weights are not read, as unpickling runs whatever code the file holds",
            at=Location.of(folder / TORCH),
            fix="write the model again as model.safetensors: AutoModel.from_pretrained(...).save_pretrained(...)",
        )
    raise ArtifactError(
        "missing-weights",
        "the folder has neither {safetensors} nor {pdparams}",
        at=Location.of(folder),
        safetensors=SAFETENSORS,
        pdparams=PDPARAMS,
    )


def normalise(
    values: Mapping[str, Any],
    architecture: str | None = None,
    at: Location | None = None,
    huggingface: bool | None = None,
) -> tuple[FamilySpec, dict[str, Any]]:
    """The family that configuration keys are for, and the keys in today's flat form.

    Args:
        values: keys of PaddleNLP (new or legacy) or Hugging Face.
        architecture: class wanted; decides on the family where given.
        at: the file they are from.
        huggingface: whether they are Hugging Face's; seen from the keys unless given.

    Raises:
        ArtifactError: the keys do not say which family it is (`unknown-model`).
    """
    flat = flatten_legacy(values, at) if "init_args" in values or "init_class" in values else dict(values)
    spec = family_of(architecture) if architecture else _family_named(flat, at)
    layout = huggingface_layout(spec)
    if huggingface is None:
        huggingface = "transformers_version" in flat and "paddlenlp_version" not in flat
    if layout and huggingface:
        flat = layout.config_from(flat, at)
    flat["model_type"] = flat.get("model_type") or spec.name
    return spec, flat


def _family_named(values: Mapping[str, Any], at: Location | None) -> FamilySpec:
    specs = [family(name) for name in FAMILIES]
    for name in values.get("architectures") or ():
        for spec in specs:
            if name in spec.architectures:
                return spec
    for spec in specs:
        layout = huggingface_layout(spec)
        if values.get("model_type") in (spec.name, layout and layout.model_type) and values.get("model_type"):
            return spec
    raise ArtifactError(
        "unknown-model",
        "the configuration does not name a class of any family (architectures: {names}, model_type: {model_type})",
        at=at,
        fix="say which class the weights are for",
        names=values.get("architectures"),
        model_type=values.get("model_type"),
    )


def load_config(
    folder: Path, architecture: str | None = None, overrides: Mapping[str, Any] | None = None
) -> ModelConfig:
    """The configuration of a model folder of any layout.

    Args:
        folder: has `config.json` or `model_config.json`.
        architecture: class wanted, where it is another than the file names.
        overrides: keys that replace those of the file.

    Raises:
        ArtifactError: the file is missing (`missing-file`), broken, or for no known family (`unknown-model`).
    """
    folder = Path(folder)
    place = folder / (
        CONFIG if (folder / CONFIG).is_file() or not (folder / LEGACY_CONFIG).is_file() else LEGACY_CONFIG
    )
    values = read_json(place)
    at = Location.of(place)
    if not isinstance(values, dict):
        raise ArtifactError("broken-json", "the configuration is not a JSON object", at=at)
    # Files converted from one layout to the other keep foreign keys, so the weights decide where there are any.
    has_weights = any(has_file(folder, name) for name in (SAFETENSORS, PDPARAMS))
    spec, flat = normalise(values, architecture, at, find_layout(folder) == "huggingface" if has_weights else None)
    return parse(spec.config, override_keys(flat, overrides or {}), at)


# -- reading weights ------------------------------------------------------------------------------------------------


def has_file(folder: Path, name: str) -> bool:
    """Whether a folder has a weight file of that name, or the index of several."""
    return any((folder / each).is_file() for each in (name, name + INDEX))


def _safetensors(folder: Path) -> dict[str, StoredTensor]:
    if (folder / SAFETENSORS).is_file():
        return safetensors_tensors(folder / SAFETENSORS)
    places = read_index(folder / (SAFETENSORS + INDEX))
    parts = {path: safetensors_tensors(path) for path in sorted(set(places.values()))}
    found = {name: parts[path].get(name) for name, path in sorted(places.items(), key=lambda item: str(item[1]))}
    for name, tensor in found.items():
        if tensor is None:
            raise broken(places[name], ValueError(f"the index says that {name!r} is here, which it is not"))
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def open_weights(folder: Path) -> dict[str, StoredTensor]:
    """A folder's weights under the names its files have, to be read one by one.

    Raises:
        ArtifactError: there are none (`missing-weights`), a part is missing (`missing-part`), a file is damaged
            (`broken-weights`, `broken-index`) or holds anything but arrays (`unsafe-pickle`).
    """
    folder = Path(folder)
    if find_layout(folder) != "paddlenlp":
        return _safetensors(folder)
    single = folder / PDPARAMS
    return pickled_tensors(single if single.is_file() else read_index(folder / (PDPARAMS + INDEX)), read_pdparams)


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """All of a folder's weights under the names its files have; half-precision ones as float32. Errors as of
    `open_weights`."""
    return {name: tensor.read() for name, tensor in open_weights(folder).items()}


def convert_weights(layout: HuggingFaceLayout, weights: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Hugging Face's weights under our names, each converted when it is read.

    Args:
        layout: converts a tensor without looking at others.
        weights: under their names.
    """
    converted: dict[str, StoredTensor] = {}
    for name, tensor in weights.items():
        outline = np.broadcast_to(np.float32(0), tensor.shape)  # the shape without the numbers
        for own, value in layout.weights_from({name: outline}).items():
            converted[own] = Converted(tensor, value.shape, functools.partial(_converted, layout, name, own))
    return converted


def _converted(layout: HuggingFaceLayout, name: str, own: str, whole: np.ndarray) -> np.ndarray:
    return layout.weights_from({name: whole})[own]


def safetensors_names(path: Path) -> list[str]:
    """Names of the tensors in a safetensors file; reads its header only.

    Raises:
        ArtifactError: the file is damaged (`broken-weights`).
    """
    return list(safetensors_tensors(path))


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file; half-precision ones as float32.

    Raises:
        ArtifactError: the file is damaged (`broken-weights`).
    """
    return {name: tensor.read() for name, tensor in safetensors_tensors(path).items()}


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    if kind is not np.ndarray:
        raise pickle.UnpicklingError("an array of another type than numpy's own")
    return np.ndarray(shape, "b")  # __setstate__ fills in shape, type and data


def _encode(text: str, encoding: str) -> bytes:
    if encoding.replace("-", "").lower() != "latin1":
        raise pickle.UnpicklingError(f"text in the encoding {encoding}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
    ("builtins", "tuple"): tuple,
    ("__builtin__", "tuple"): tuple,
    ("collections", "OrderedDict"): OrderedDict,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays, numbers, strings and containers; anything else in the file is refused before it can run."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the file asks for {module}.{name}") from None


def read_pdparams(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a `.pdparams` file; half-precision ones as float32.

    The file is a pickle. Only numpy arrays and plain containers are accepted, so that no code of the file is run.

    Raises:
        ArtifactError: the file asks for anything else (`unsafe-pickle`), or is damaged (`broken-weights`).
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise ArtifactError(
            "unsafe-pickle",
            "the weights cannot be read safely: {reason}",
            at=Location.of(path),
            fix="only files of plain arrays are accepted; save the model's state dict again",
            reason=str(error),
        ) from error
    except (EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError, MemoryError) as error:
        raise broken(path, error) from error
    if not isinstance(content, dict):
        raise broken(path, ValueError("it is not a table of arrays"))
    weights = {}
    for name, value in content.items():
        if name == BOOKKEEPING:
            continue
        if isinstance(value, tuple) and len(value) == 2:  # a tensor saved alone: (its name, its values)
            value = value[1]
        if not isinstance(name, str) or not isinstance(value, np.ndarray) or value.dtype.hasobject:
            raise broken(path, ValueError(f"the entry {name!r} is not an array of numbers"))
        weights[name] = widen(value)
    return weights


# -- writing weights ------------------------------------------------------------------------------------------------


def write_safetensors(path: Path, weights: Mapping[str, np.ndarray], made_for: Literal["np", "pt"]) -> None:
    """Write a safetensors file; `made_for` is what its readers look for in the header (transformers wants ``pt``)."""
    arrays = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    with atomic_file(path) as partial:
        save_file(arrays, partial, metadata={"format": made_for})


def write_pdparams(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Write a `.pdparams` file as `paddle.load` reads it. An array under several names is stored once."""
    with atomic_file(path) as partial, partial.open("wb") as file:
        pickle.dump(dict(weights), file, protocol=4)
