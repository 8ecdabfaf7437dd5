"""The modality graph against NumPy's GATv2, and nodes that are not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.fusion.graph.modality_graph import GATv2, ModalityGraph
from profuse.tokens import Tokens

CHANNELS = {"a": 5, "b": 3, "c": 4}
READOUTS = ("mean", "global")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(channels: dict[str, int] = CHANNELS, **options: object) -> ModalityGraph:
    torch.manual_seed(0)
    operator = ModalityGraph(channels, 8, **options).double().eval()  # type: ignore[arg-type]
    for parameter in operator.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return operator


def batch() -> dict[str, Tokens]:
    there = torch.tensor([[True, True, True], [True, False, True], [False, True, False], [False] * 3])
    tokens = {"a": Tokens(normal(4, 6, 5), (normal(4, 6, seed=9) > -0.5) & there[:, :1])}
    tokens["a"].mask[:2, 0] = True
    return tokens | {
        "b": Tokens.vector(normal(4, 3, seed=1), there[:, 1]),
        "c": Tokens.vector(normal(4, 4, seed=2), there[:, 2]),
    }


def numpys_layer(layer: GATv2, x: np.ndarray, neighbours: list[int]) -> np.ndarray:
    """GATv2 as the paper writes it, edge by edge, for one graph; only `neighbours` send."""
    v, bias, u = (p.detach().numpy() for p in (layer.source.weight, layer.source.bias, layer.target.weight))
    heads = np.split(np.arange(x.shape[1]), layer.n_heads)
    result = np.zeros_like(x)
    for i in range(len(x)):
        for a, head in zip(layer.attention.detach().numpy(), heads, strict=True):
            sent = {j: (v @ x[j] + bias)[head] for j in neighbours}
            pre = {j: sent[j] + (u @ x[i])[head] for j in neighbours}
            score = {j: np.exp(a @ np.where(p > 0, p, 0.2 * p)) for j, p in pre.items()}
            result[i, head] = sum(score[j] * sent[j] for j in neighbours) / sum(score.values())
    return result


@pytest.mark.parametrize("n_heads", [1, 2, 4])
def test_the_layer_is_numpys_gatv2_and_masked_nodes_send_nothing(n_heads: int) -> None:
    layer = made(n_heads=n_heads).layers[0]
    assert isinstance(layer, GATv2)
    x, mask = normal(3, 5, 8), torch.tensor([[True] * 5, [True, False, True, False, False], [False] * 4 + [True]])
    result, attention = layer(x, mask)
    for row in range(3):
        wanted = numpys_layer(layer, x[row].numpy(), mask[row].nonzero()[:, 0].tolist())
        np.testing.assert_allclose(result[row].detach().numpy(), wanted, atol=1e-12)
    torch.testing.assert_close(attention.sum(2), torch.ones(3, 5, n_heads).double())
    assert not attention.permute(0, 2, 1, 3)[~mask].any()


def test_the_receiver_decides_to_whom_it_listens() -> None:
    layer = made(n_heads=1).layers[0]
    _, attention = layer(normal(1, 12, 8), torch.ones(1, 12).bool())
    orders = attention[0, :, :, 0].argsort(1)  # the first graph attention has one order for all receivers
    assert len(orders.unique(dim=0)) > 1


@pytest.mark.parametrize("readout", READOUTS)
def test_a_missing_modality_is_as_good_as_one_that_was_never_declared(readout: str) -> None:
    operator, tokens, fewer = made(readout=readout), batch(), made({"a": 5, "c": 4}, readout=readout)
    state = operator.state_dict()
    renamed = {k.replace("maps.2.", "maps.1."): v for k, v in state.items() if "maps.1." not in k}
    fewer.load_state_dict(renamed)
    gone = {**tokens, "b": Tokens(tokens["b"].values, torch.zeros_like(tokens["b"].mask))}
    torch.testing.assert_close(operator(gone).vector, fewer({k: tokens[k] for k in "ac"}).vector)


@pytest.mark.parametrize("readout", READOUTS)
def test_modalities_of_one_type_can_be_exchanged(readout: str) -> None:
    operator = made({"a": 4, "b": 4, "c": 4}, readout=readout)
    x = [Tokens.vector(normal(6, 4, seed=i), normal(6, seed=i + 10) > -0.5) for i in range(3)]
    turned = dict(zip("abc", [x[2], x[0], x[1]], strict=True))
    straight = dict(zip("abc", x, strict=True))
    assert not torch.allclose(operator(turned).vector, operator(straight).vector, atol=1e-3)
    for i in (1, 2):
        operator.projection.maps[i].load_state_dict(operator.projection.maps[0].state_dict())
    torch.testing.assert_close(operator(turned).vector, operator(straight).vector)


def test_without_messages_the_nodes_are_the_projections_and_the_readout_their_mean() -> None:
    operator, tokens = made(), batch()
    for layer in operator.layers:
        assert isinstance(layer, GATv2)
        layer.source.weight.data.zero_()
        layer.source.bias.data.zero_()
    nodes = operator.norm(operator.projection({k: t.zeroed() for k, t in tokens.items()}))
    wanted = torch.stack([nodes[0].mean(0), nodes[1, [0, 2]].mean(0), nodes[2, 1], torch.zeros(8).double()])
    torch.testing.assert_close(operator(tokens).vector, operator.out(wanted))


@pytest.mark.parametrize("readout", READOUTS)
def test_a_message_reaches_every_other_modality_in_one_layer(readout: str) -> None:
    operator, tokens = made(n_layers=1, readout=readout), batch()
    other = {**tokens, "c": Tokens(normal(4, 1, 4, seed=7), tokens["c"].mask)}
    nodes, changed = operator(tokens).tokens.values[0, :2], operator(other).tokens.values[0, :2]
    assert ((nodes - changed).abs().amax(1) > 1e-3).all()
    torch.testing.assert_close(operator(tokens).tokens.values[2], operator(other).tokens.values[2])  # lacks c


@pytest.mark.parametrize("readout", READOUTS)
def test_weights_share_out_the_attention_among_the_present_modalities(readout: str) -> None:
    operator, tokens = made(readout=readout), batch()
    weights, present = operator(tokens).weights["attention"], operator.present(tokens)
    torch.testing.assert_close(weights.sum(1), present.any(1).double())
    assert not weights[~present].any()
    for layer in operator.layers:
        assert isinstance(layer, GATv2)
        layer.attention.data.zero_()
    torch.testing.assert_close(operator(tokens).weights["attention"][0], torch.full((3,), 1 / 3).double())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_heads": 3}, "width must be a multiple of n_heads; got width=8, n_heads=3"),
        ({"n_layers": 0}, "must be at least 1; got n_layers=0"),
        ({"n_heads": 0}, "n_heads=0"),
        ({"readout": "max"}, "readout must be mean or global; got readout='max'"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1; got dropout=1.0"),
    ],
)
def test_wrong_options_are_told(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^ModalityGraph: .*{message}"):
        ModalityGraph(CHANNELS, 8, **options)  # type: ignore[arg-type]
