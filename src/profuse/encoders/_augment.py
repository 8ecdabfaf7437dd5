"""Random changes of training inputs, on torch's own random numbers: what makes small data go further."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["affine", "recolour"]


def affine(pictures: Tensor, strength: float = 1.0, *, kept: float = 0.1) -> Tensor:
    """Returns each picture turned, scaled, sheared and moved at random: as another hand or camera would show it.

    At strength 1 by up to 15 degrees, a fifth of its size, 0.3 of its height, and 8 % of its sides, each drawn evenly;
    sides may differ by a fifth. The border is repeated. Nothing is mirrored: letters and scenes are not symmetric.

    Args:
        pictures: `[row, channel, height, width]`.
        strength: Factor of all ranges, at least 0.
        kept: Probability of leaving a picture as it is: what is between pixels is blurred, and a sharp picture would
            else be a stranger at prediction.
    """
    n_rows, _, height, width = pictures.shape
    change = (2 * torch.rand(n_rows, 6, device=pictures.device, dtype=pictures.dtype) - 1) * strength
    change = change * (torch.rand(n_rows, 1, device=pictures.device) >= kept)
    turn, shear = 0.26 * change[:, 0], 0.3 * change[:, 1]
    size, tall = (0.2 * change[:, 2]).exp(), (0.1 * change[:, 3]).exp()
    cos, sin = turn.cos() * size, turn.sin() * size
    across = torch.stack([cos * tall, (cos * shear - sin) / tall * (height / width), 0.16 * change[:, 4]], 1)
    down = torch.stack([sin * tall * (width / height), (sin * shear + cos) / tall, 0.16 * change[:, 5]], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def recolour(pictures: Tensor, strength: float = 1.0) -> Tensor:
    """Returns each picture with another contrast and brightness, and a tint: as in another light.

    Args:
        pictures: `[row, channel, height, width]`, standardised.
        strength: Factor of all ranges: at 1 a third of the contrast, and 0.3 (0.1 by channel) standard deviations.
    """
    n_rows, n_channels = pictures.shape[:2]
    draw = torch.rand(n_rows, 2 + n_channels, 1, 1, device=pictures.device, dtype=pictures.dtype)
    draw = (2 * draw - 1) * strength
    contrast, brightness, tint = (0.3 * draw[:, :1]).exp(), 0.3 * draw[:, 1:2], 0.1 * draw[:, 2:]
    return torch.addcmul(brightness + tint, pictures, contrast)
