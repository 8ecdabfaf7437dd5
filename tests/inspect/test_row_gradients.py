"""One row explained, against integrated gradients (Sundararajan, Taly, Yan 2017): another method of the same total."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from profuse.data.dataset import Dataset
from profuse.data.target import TargetCodec
from profuse.data.tensors import from_tensors
from profuse.inspect import ask
from profuse.predictor import Predictor
from profuse.predictor.saving import PartStore
from profuse.tokens import Raw

SIZES = {"left": 3, "middle": 2, "right": 4}


class Net(Predictor):
    """Log-odds that a network makes of the numbers of three vectors; what is missing is 0."""

    def __init__(self, network: nn.Module) -> None:
        self.codec = TargetCodec.fit(np.array(["no", "yes"] * 5, dtype=object), "binary")
        self.modalities, self.schema, self.source, self.network = tuple(SIZES), None, "", network.double()

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Raw]:
        return {name: self.encode_one(dataset, name) for name in dataset.modalities}

    def encode_one(self, dataset: Dataset, name: str, kept: dict[Any, Any] | None = None) -> Raw:
        data = dataset.modalities[name]
        values = torch.as_tensor(np.nan_to_num(np.asarray(data.values, np.float64)))
        return Raw(values, torch.from_numpy(data.present.copy()))

    def numbers(self, inputs: Mapping[str, Raw]) -> Tensor:
        return torch.cat([inputs[n].values * inputs[n].present[:, None] for n in SIZES], dim=1)

    @torch.no_grad()
    def predict_encoded(self, inputs: Mapping[str, Raw], rows: np.ndarray | None = None) -> np.ndarray:
        second = self.network(self.numbers(inputs))[:, 0].sigmoid().numpy()
        outputs = np.stack([1 - second, second], axis=1)
        return outputs if rows is None else outputs[rows]

    def packed(self, parts: PartStore | None = None) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
        raise NotImplementedError


def integrated_gradients(network: nn.Module, x: Tensor, *, n_steps: int = 400) -> np.ndarray:
    """Returns `x * integral_0^1 d f(a x) / dx da` of each number, by the midpoint rule; the baseline is 0."""
    at = ((torch.arange(n_steps) + 0.5) / n_steps).double()[:, None] * x
    at.requires_grad_()
    (slopes,) = torch.autograd.grad(network(at).sum(), at)
    return np.asarray((x * slopes.mean(0)).detach())


def both(network: nn.Module, seed: int) -> tuple[Any, np.ndarray]:
    """Returns the details of the answer for the first row, and the integrated gradients of its numbers."""
    rng = np.random.default_rng(seed)
    given = from_tensors({n: rng.normal(size=(4, size)) for n, size in SIZES.items()}, None)
    model = Net(network)
    details = ask(model, given, "row", id=0, output="yes", scale="log-odds", nearest=0).details
    x = model.numbers(model.encode(given))[0]
    return details, integrated_gradients(model.network, x)


def by_modality(values: np.ndarray) -> dict[str, float]:
    parts = np.split(values, np.cumsum([*SIZES.values()])[:-1])
    return {name: float(part.sum()) for name, part in zip(SIZES, parts, strict=True)}


@pytest.mark.parametrize("seed", range(3))
def test_of_a_linear_network_they_are_the_same_number_by_number(seed: int) -> None:
    torch.manual_seed(seed)
    details, gradients = both(nn.Linear(sum(SIZES.values()), 1), seed)
    assert details["modalities"] == pytest.approx(by_modality(gradients))
    pieces = [p["value"] for name in SIZES for p in details["pieces"][name]]
    assert pieces == pytest.approx(gradients.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_of_any_network_both_share_out_the_same_total(seed: int) -> None:
    torch.manual_seed(seed)
    hidden = nn.Linear(sum(SIZES.values()), 16)
    nn.init.normal_(hidden.weight)
    details, gradients = both(nn.Sequential(hidden, nn.Tanh(), nn.Linear(16, 1)), seed)
    gained = details["whole"] - details["nothing"]
    assert abs(gained) > 0.01
    assert gradients.sum() == pytest.approx(gained, abs=1e-4)
    assert sum(details["modalities"].values()) == pytest.approx(gained)
    assert details["modalities"] != pytest.approx(by_modality(gradients), abs=1e-3)  # methods that differ in the shares
