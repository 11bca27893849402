"""Writes a trained model down in the artifact contract: one ONNX graph and what belongs to it, no pickle anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from modelyard.core.errors import IntegrityError
from modelyard.release.encode import Tensors, encode
from modelyard.release.score import OnnxModel
from modelyard.training.fit import logits
from modelyard.training.model import Trained

MAX_DIFFERENCE = 1e-3
"""Largest difference between the logits of torch and ONNX Runtime that is accepted (1e-3 of a logit moves a probability
by at most 0.00025; sums of floats in another order explain about 1e-5)."""

OPSET = 20


def export_onnx(trained: Trained, sample: pd.DataFrame) -> tuple[bytes, float]:
    """The network as an ONNX graph with a dynamic batch, and its largest difference from torch on the sample's logits.

    The bytes depend on the weights and shapes alone: names of files and lines of code are taken out.

    Raises:
        IntegrityError: the graph does not answer what the network answers.
    """
    feeds = encode({i.name: sample[i.name] for i in trained.signature.inputs}, trained.signature, units="model")
    content = _export(trained.fitted.network, feeds)
    return content, check_onnx(content, trained.fitted.network, feeds)


def check_onnx(content: bytes, network: Any, feeds: Tensors) -> float:
    """The largest difference between the logits of graph and network, for all rows at once and for some one by one.

    Raises:
        IntegrityError: it is beyond ``MAX_DIFFERENCE``, or not a number.
    """
    model = OnnxModel(content)
    wanted = logits(network, feeds)
    found = model.logits(feeds)
    singles = [{name: array[i : i + 1] for name, array in feeds.items()} for i in range(min(8, len(wanted)))]
    single = np.concatenate([model.logits(row) for row in singles])
    worst = max(float(np.abs(found - wanted).max()), float(np.abs(single - wanted[: len(single)]).max()))
    if not worst <= MAX_DIFFERENCE:
        raise IntegrityError(
            f"the ONNX graph is {worst:g} logits off the network; accepted: at most {MAX_DIFFERENCE:g}"
        )
    return worst


def _export(network: Any, feeds: Tensors) -> bytes:
    import logging
    import warnings

    import torch

    names = tuple(feeds)
    example = tuple(torch.from_numpy(feeds[name][:2].copy()) for name in names)
    batch = torch.export.Dim("n", min=1)
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # The exporter warns of its own internals, which nobody who trains a model can mend; the result is checked.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (),
            kwargs=dict(zip(names, example, strict=True)),
            input_names=list(names),
            output_names=["logit"],
            dynamic_shapes={name: {0: batch} for name in names},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    return _without_traces(program.model_proto)


def _without_traces(model: Any) -> bytes:
    """Serialise deterministically, without the exporter's notes on where in the code each node came from."""
    model.producer_name, model.producer_version, model.doc_string = "modelyard", "", ""
    del model.metadata_props[:]
    graph = model.graph
    graph.doc_string = ""
    inner = (graph.node, graph.input, graph.output, graph.value_info, graph.initializer, model.functions)
    for part in (graph, *(item for items in inner for item in items)):
        del part.metadata_props[:]
        part.doc_string = ""
    return bytes(model.SerializeToString(deterministic=True))


def weights(trained: Trained) -> bytes:
    """The network's parameters and buffers as safetensors."""
    from safetensors.torch import save

    state = {name: tensor.contiguous() for name, tensor in trained.fitted.network.state_dict().items()}
    return bytes(save(state))
