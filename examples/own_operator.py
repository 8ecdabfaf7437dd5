"""A fusion operator of your own, with its contract.

`fuse` is only mathematics: the base class checks inputs and hides what is missing. `check_fusion` runs the contract.

It ends with:

    'closest' passes its contract and predicts 300 rows
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

import profuse
from profuse.fusion import Fused, Fusion
from profuse.testing import FUSION_CHECKS, SLOW_CHECKS


@profuse.register("fusion", "closest")
class Closest(Fusion):
    """h = sum_m a_m u_m, a = softmax over the present m of the cosine of u_m = W_m mean(x_m) and the sum of all u.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.
    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
    Reference:
        None.
    Example:
        >>> Closest({"a": 4}, 8)({"a": profuse.Tokens.vector(torch.ones(2, 4))}).vector.shape
        torch.Size([2, 8])
    """

    formula = "sum of a_m * u_m, a = softmax_m(cos(u_m, sum of u))"
    cost = "O(T d + M d width)"
    missing = "its weight is 0"
    reference = "none"

    def __init__(self, channels: Mapping[str, int], width: int) -> None:
        super().__init__(channels, width)
        self.maps = nn.ModuleList(nn.Linear(c, width) for c in self.channels.values())

    def fuse(self, tokens: dict[str, profuse.Tokens]) -> Fused:
        present = self.present(tokens)[..., None]
        u = torch.stack([f(t.mean()) for f, t in zip(self.maps, tokens.values(), strict=True)], 1) * present
        likeness = nn.functional.cosine_similarity(u, u.sum(1, keepdim=True), dim=2, eps=1e-6)[..., None]
        weights = likeness.masked_fill(~present, torch.finfo(u.dtype).min).softmax(1) * present
        return Fused((weights * u).sum(1), weights={"weights": weights[..., 0]})


if __name__ == "__main__":
    profuse.check_fusion(Closest, checks=[c for c in FUSION_CHECKS if c not in SLOW_CHECKS])
    rng, y = np.random.default_rng(0), np.arange(300) % 2
    data = profuse.from_tensors({name: rng.normal(y[:, None], 1, (300, 4)) for name in "ab"}, y)
    model = profuse.FusionClassifier(fusion="closest", width=8, epochs=2, members=1).fit(data)
    print("'closest' passes its contract and predicts", len(model.predict(data)), "rows")
