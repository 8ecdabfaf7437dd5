"""The residual perceptron that the encoders of tables and vectors are made of."""

from __future__ import annotations

from torch import Tensor, nn

from profuse.errors import ConfigError

__all__ = ["ResidualMLP", "check_attention", "check_layers", "heads_for"]


def check_layers(who: str, **values: float) -> None:
    """Checks that every size is at least 1 (a name that begins with n_: 0), and what ends with dropout in [0, 1).

    Raises:
        ConfigError: One is not; all faults are told together.
    """
    faults = [
        f"{name} must be at least {least}; got {name}={value}"
        for name, value in values.items()
        if not name.endswith("dropout") and value < (least := 0 if name.startswith("n_") else 1)
    ]
    faults += [
        f"{name} must be in [0, 1); got {name}={value}"
        for name, value in values.items()
        if name.endswith("dropout") and not 0.0 <= value < 1.0
    ]
    if faults:
        raise ConfigError(f"{who}: {'; '.join(faults)}.")


def check_attention(who: str, width: int, *, n_blocks: int, n_heads: int, augment: float) -> None:
    """Checks the blocks of attention of an encoder that changes its training rows.

    Raises:
        ConfigError: They cannot be.
    """
    if n_blocks < 1 or n_heads < 1 or width % n_heads or augment < 0:
        raise ConfigError(
            f"{who}: n_blocks and n_heads must be at least 1, width a multiple of n_heads, augment at least 0; got "
            f"n_blocks={n_blocks}, n_heads={n_heads}, width={width}, augment={augment}."
        )


def heads_for(width: int) -> int:
    """Returns as many heads, up to 4, as divide the width."""
    return next(n for n in (4, 3, 2, 1) if width % n == 0)


class ResidualMLP(nn.Module):
    """h = A x; h <- h + C dropout(relu(B norm(h))), `n_blocks` times; y = D relu(norm(h)).

    Args:
        in_width: Channels in.
        out_width: Channels out.
        hidden_width: Channels of h.
        n_blocks: Number of residual blocks.
        dropout: Probability of dropping a hidden channel.

    Shape:
        `[..., in_width]` to `[..., out_width]`.

    Reference:
        Gorishniy, Rubachev, Khrulkov, Babenko, "Revisiting Deep Learning Models for Tabular Data" (2021), ResNet,
        section 3.2.

    Differs from the paper:
        Layer norm in place of batch norm, so that rows do not see each other.
    """

    def __init__(self, in_width: int, out_width: int, *, hidden_width: int, n_blocks: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(in_width, hidden_width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(hidden_width),
                nn.Linear(hidden_width, hidden_width),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(hidden_width, hidden_width),
            )
            for _ in range(n_blocks)
        )
        self.last = nn.Sequential(
            nn.LayerNorm(hidden_width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_width, out_width)
        )

    @property
    def step_widths(self) -> tuple[int, ...]:
        """Channels after each step: one step a block, the first map before the first, the last map after the last."""
        last: nn.Linear = self.last[-1]  # type: ignore[assignment]
        return (*[self.first.out_features] * (len(self.blocks) - 1), last.out_features)

    def step(self, i: int, x: Tensor) -> Tensor:
        """Returns what step `i` makes of what the one before it returned."""
        h: Tensor = self.first(x) if i == 0 else x
        for block in list(self.blocks)[i : i + 1]:
            h = h + block(h)
        return self.last(h) if i == len(self.step_widths) - 1 else h

    def forward(self, x: Tensor) -> Tensor:
        for i in range(len(self.step_widths)):
            x = self.step(i, x)
        return x
