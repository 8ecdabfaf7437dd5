"""FiLM: a modality says which channels of the others' tokens count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from profuse._lookup import nearest
from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.layers.projection import checked_dropout, normalise
from profuse.tokens import Tokens

__all__ = ["FiLM"]


class FiLM(Fusion):
    """h = mean over the present m of mean_t gelu((1 + A_m c_m) * s_mt + B_m c_m), s_mt = W_m LayerNorm(x_mt) + b_m.

    c_m is what conditions m: with `conditioner=None` the mean, over the present modalities other than m, of their
    mean_t s_jt, so that each conditions all others; with a name the mean_t s_jt of that modality j, which is itself
    not conditioned. A and B start at 0 and have no bias: then, and in a row where nothing conditions m, its tokens
    stay as they are.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`; joint tokens `[batch, T, width]`: those of all
        modalities, one modality after the other.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector and tokens.
        conditioner: The modality that conditions the others; if None, each conditions all others.
        dropout: Probability that a joint channel is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `conditioner` is not one of the modalities, or `dropout` is out of range.

    Reference:
        Perez, Strub, de Vries, Dumoulin, Courville, FiLM: Visual Reasoning with a General Conditioning Layer, AAAI
        2018, equations 1 and 2. *Differs from the paper*: once, after the encoders, not in every block of one; the
        conditioner's own tokens count too, so that it speaks where all others are missing; every modality may
        condition.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"image": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "question": Tokens.vector(torch.randn(2, 3))}
        >>> fused = FiLM({"image": 4, "question": 3}, 8, conditioner="question")(tokens)
        >>> fused.vector.shape, fused.tokens.values.shape
        (torch.Size([2, 8]), torch.Size([2, 6, 8]))
    """

    formula: ClassVar[str] = "mean of gelu((1 + A_m c_m) * s_mt + B_m c_m), c_m = mean of the other modalities' s"
    cost: ClassVar[str] = "O(T d width + M width^2)"
    missing: ClassVar[str] = "conditions nothing; left out of the mean"
    reference: ClassVar[str] = "Perez et al. 2018 (AAAI), equations 1 and 2"

    def __init__(
        self, channels: Mapping[str, int], width: int, *, conditioner: str | None = None, dropout: float = 0.1
    ) -> None:
        super().__init__(channels, width)
        if conditioner is not None and conditioner not in self.names:
            near = nearest(conditioner, self.names)
            raise ConfigError(
                f"FiLM: conditioner must be one of {', '.join(self.names)}, or None; got conditioner={conditioner!r}. "
                + (f"Did you mean {near[0]!r}?" if near else "With None each modality conditions all others.")
            )
        self.conditioner, self.dropout = conditioner, checked_dropout("FiLM", dropout)
        self.norms = nn.ModuleList(normalise(c) for c in self.channels.values())
        self.maps = nn.ModuleList(nn.Linear(c, width) for c in self.channels.values())
        self.conditioned = tuple(n for n in self.names if n != conditioner) if len(self.names) > 1 else ()
        self.films = nn.ModuleList(nn.Linear(width, 2 * width, bias=False) for _ in self.conditioned)
        self.drop = nn.Dropout(dropout)
        for film in self.films:
            nn.init.zeros_(film.weight)  # type: ignore[arg-type]

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        s = {
            name: Tokens(linear(norm(t.values)), t.mask)
            for norm, linear, (name, t) in zip(self.norms, self.maps, tokens.items(), strict=True)
        }
        means = {name: t.mean() for name, t in s.items()}
        present = self.present(tokens)
        total, n_present = torch.stack([*means.values()]).sum(0), present.sum(1, keepdim=True)
        for name, film in zip(self.conditioned, self.films, strict=True):
            if self.conditioner is None:
                n_others = n_present - s[name].present[:, None].to(n_present)
                context = (total - means[name]) / n_others.clamp(min=1)
            else:
                context = means[self.conditioner]
            scale, shift = film(context)[:, None].chunk(2, dim=-1)
            s[name] = Tokens((1 + scale) * s[name].values + shift, s[name].mask)
        y = [Tokens(functional.gelu(t.values), t.mask) for t in s.values()]
        joint = torch.stack([t.mean() for t in y]).sum(0) / n_present.clamp(min=1)
        told = Tokens(torch.cat([t.values for t in y], dim=1), torch.cat([t.mask for t in y], dim=1)).zeroed()
        return Fused(self.drop(joint), tokens=told)
