"""Members: several models in one, that share all weights but a scale of what enters and a last linear map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from profuse.tokens import Tokens

__all__ = ["MemberLinear", "MemberScale", "members_apart", "members_together"]


def members_apart(x: Tensor, n_members: int) -> Tensor:
    """`[batch * member, ...]` -> `[batch, member, ...]`."""
    return x.reshape(-1, n_members, *x.shape[1:])


def members_together(x: Tensor) -> Tensor:
    """`[batch, member, ...]` -> `[batch * member, ...]`: a row of every member, then the next row."""
    return x.flatten(0, 1)


class MemberScale(nn.Module):
    """x_k = r_k * x: every member's own view of the same tokens, one after another for each row.

    r_k is drawn from N(0, 1) at first, so that the members differ from the start.

    Args:
        n_members: How many.
        n_channels: Of the tokens.
        n_places: Tokens that have a scale of their own, where each row has the same ones (a table's columns); 1: all
            tokens share one.

    Shape:
        `Tokens[batch, token, channel]` to `Tokens[batch * member, token, channel]`.

    Reference:
        Wen, Tran, Ba, "BatchEnsemble" (ICLR 2020), r of eq. 1; Gorishniy, Kotelnikov, Babenko, "TabM" (ICLR 2025),
        TabM-mini: r before the first shared layer alone.
    """

    def __init__(self, n_members: int, n_channels: int, *, n_places: int = 1) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(n_members, n_places, n_channels))

    def forward(self, tokens: Tokens) -> Tokens:
        values = tokens.values[:, None] * self.scale
        mask = tokens.mask[:, None].expand(values.shape[:3])
        return Tokens(members_together(values), members_together(mask))


class MemberLinear(nn.Module):
    """y_k = W_k x_k + b_k: a linear map of each member's own.

    Args:
        n_members: How many.
        n_inputs: Channels in.
        n_outputs: Channels out.

    Shape:
        `[batch * member, n_inputs]` to `[batch * member, n_outputs]`.
    """

    def __init__(self, n_members: int, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        bound = n_inputs**-0.5  # as torch.nn.Linear
        self.weight = nn.Parameter(torch.empty(n_members, n_outputs, n_inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_members, n_outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        apart = members_apart(x, len(self.weight))
        return members_together(torch.einsum("bki,koi->bko", apart, self.weight) + self.bias)
