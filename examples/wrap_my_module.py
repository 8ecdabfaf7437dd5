"""Progressive Fusion around a module of your own, without changing its code.

A reader of 8 numbers keeps only 2 of them; a key says which number counts. The plain module cannot know what to keep.
With feedback the fused state goes back to the reader, and the second look keeps what the key asks for.

It ends with:

    two rounds err less than one: True
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from profuse import ProgressiveFusion


class Mine(nn.Module):
    """A late fusion as it is usually written: two branches, a joint layer, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
        self.key = nn.Linear(8, 16)
        self.fusion = nn.Sequential(nn.Linear(18, 32), nn.ReLU(), nn.Linear(32, 32))
        self.head = nn.Linear(32, 1)

    def forward(self, numbers: Tensor, key: Tensor) -> Tensor:
        both = torch.cat([self.reader(numbers), self.key(key)], 1)
        answer: Tensor = self.head(self.fusion(both).relu())
        return answer


def rows(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    numbers, which = torch.randn(n, 8, generator=draw), torch.randint(8, (n,), generator=draw)
    return numbers, nn.functional.one_hot(which, 8).float(), numbers.gather(1, which[:, None])


def error(rounds: int) -> float:
    torch.manual_seed(0)
    numbers, key, target = rows(2000, seed=1)
    into = {"reader": "reader.2"}  # feedback enters before this layer, where 32 numbers become 2
    model = ProgressiveFusion.wrap(Mine(), into=into, state="fusion", rounds=rounds, example=(numbers[:4], key[:4]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(400):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(numbers, key), target).backward()
        optimizer.step()
    numbers, key, target = rows(2000, seed=2)
    return float(nn.functional.mse_loss(model.eval()(numbers, key), target).detach())


if __name__ == "__main__":
    plain, progressive = error(1), error(2)
    print(f"mean squared error: {plain:.3f} with one round, {progressive:.3f} with two")
    print("two rounds err less than one:", progressive < plain)
