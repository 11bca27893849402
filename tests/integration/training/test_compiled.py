"""A network that torch.compile has taken over: its checkpoint and its weights are those of the network itself."""

from __future__ import annotations

from fixtures.small_fit import PARAMS, TRAIN, VALIDATION, network

from modelyard.training.fit import fit


def test_a_compiled_network_is_the_same_network() -> None:
    params = PARAMS.model_copy(update={"dropout": 0.0, "epochs": 1})
    plain = fit(network(params), TRAIN, VALIDATION, params, "cpu").network.state_dict()
    compiled = params.model_copy(update={"compiled": "aot_eager"})
    found = fit(network(params), TRAIN, VALIDATION, compiled, "cpu").network.state_dict()
    assert found.keys() == plain.keys()
    for name, tensor in found.items():
        assert not tensor.numel() or float((tensor - plain[name]).abs().max()) < 1e-4, name
