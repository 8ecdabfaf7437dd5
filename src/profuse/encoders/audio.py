"""A compact residual CNN over log-mel frames."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profuse.encoders._base import Encoder, Stage, chain
from profuse.encoders._cepstra import LEAST_VARIANCE, Cepstra
from profuse.encoders._warp import spec_warp
from profuse.errors import ConfigError, ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["AudioEncoder"]


class _Residual(nn.Module):
    """`x + drop(conv(relu(norm(conv(relu(norm(x)))))))` on `[row, channel, frame, mel]`, 0 outside the mask.

    The norm is over the channels of one place (LayerNorm), never over time, where padding would enter.
    """

    def __init__(self, dim: int, *, drop_prob: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)
        self.drop_prob = drop_prob

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        y = self.conv1(_activate(self.norm1, x) * real)
        y = self.conv2(_activate(self.norm2, y) * real)
        if self.training and self.drop_prob > 0:
            keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop_prob
            real = real * keep / (1 - self.drop_prob)
        return torch.addcmul(x, y, real)  # x is 0 outside the mask already


def _activate(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Normalises over channels and applies ReLU, `[row, channel, frame, mel]`."""
    normed: Tensor = norm(x.permute(0, 2, 3, 1))
    return F.relu(normed).permute(0, 3, 1, 2)


def _halved(mask: Tensor) -> Tensor:
    """`[row, frame]` -> `[row, ceil(frame / 2)]`: whether either of two neighbours is real."""
    return torch.unflatten(F.pad(mask, (0, mask.shape[1] % 2)), 1, (-1, 2)).any(2)


class AudioEncoder(Encoder):
    """`mix = residual 3 x 3 convolutions over frame and mel`, down to at most `n_tokens` tokens in time.

    `embed` first takes the recording's mean spectrum out of its frames and puts it in a token of its own, the
    first: voice and microphone stand there, what is said in the rest, which is divided by its deviation: a noisy room
    makes it flat. Then it looks at each frame alone: a convolution
    of stride 2 along the mel bands, so that a token holds `dims[0]` channels for every second band and feedback
    reaches single bands. `mix` restores the plane of frame and mel, halves it from stage to stage, and joins the
    bands that are left into one token a frame; the mean's token is mapped to the same width and comes first.
    Everything outside the mask is 0 after every layer and no norm spans time: padding has no effect.

    Args:
        spec: Mel bands and the largest number of frames.
        width: Channels of the returned tokens.
        dims: Channels of each stage.
        depths: Residual blocks of each stage.
        n_tokens: Largest number of returned tokens, besides the mean's, for `spec.max_length` frames.
        dropout: Probability of leaving out a channel before the last map.
        drop_prob: Probability of leaving out the last residual branch; earlier ones less, linearly.
        mean_drop_prob: Probability of hiding a recording's mean spectrum, while training: what only tells voice and
            microphone is not to be relied on.
        augment: Whether training stretches bands and time at random, as another voice and another pace would.
        linear_path: Whether a ridge regression of the recording's `Cepstra` is added to the model's outputs
            (`Encoder.linear`). Off: speech by strangers was understood worse with it than by the network alone.

    Shape:
        Raw `[batch, frame, mel]` -> `embed` `[batch, 1 + frame, dims[0] * ceil(mel / 2)]` ->
        `[batch, <= 1 + n_tokens, width]`.
    """

    kind: ClassVar[str] = "audio"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        dims: tuple[int, ...] = (8, 16, 32),
        depths: tuple[int, ...] = (0, 1, 1),
        n_tokens: int = 16,
        dropout: float = 0.1,
        drop_prob: float = 0.1,
        mean_drop_prob: float = 0.5,
        augment: bool = True,
        linear_path: bool = False,
    ) -> None:
        super().__init__(spec, width)
        if len(dims) != len(depths) or not dims or min(dims) < 1 or min(depths) < 0 or n_tokens < 1:
            raise ConfigError(
                "AudioEncoder: dims and depths must have one entry a stage, dims at least 1, depths at least 0, and "
                f"n_tokens at least 1; got dims={dims}, depths={depths}, n_tokens={n_tokens}."
            )
        if not (0 <= dropout < 1 and 0 <= drop_prob < 1 and 0 <= mean_drop_prob < 1):
            raise ConfigError(
                "AudioEncoder: 0 <= dropout < 1, 0 <= drop_prob < 1 and 0 <= mean_drop_prob < 1 must hold; "
                f"got dropout={dropout}, drop_prob={drop_prob}, mean_drop_prob={mean_drop_prob}."
            )
        self.augment, self.mean_drop_prob = augment, mean_drop_prob
        self.cepstra = Cepstra(spec.n_channels) if linear_path else None
        self.n_linear = 0 if self.cepstra is None else self.cepstra.n_outputs
        n_bands = -(-spec.n_channels // 2)
        self.embed_width = dims[0] * n_bands
        self.frame = nn.Conv1d(1, dims[0], 5, stride=2, padding=2)
        self.level = nn.Parameter(torch.randn(n_bands, dims[0]) * 0.02)  # which band it is: convolutions cannot tell
        self.halvings = nn.ModuleList()
        self.stages = nn.ModuleList()  # of ModuleLists of blocks
        n_blocks, done, length = sum(depths), 0, spec.max_length
        self.planes, widths = [(dims[0], n_bands)], []  # channels and bands that each of `stages` leaves
        for i, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
            if i:
                self.halvings.append(nn.Conv2d(dims[i - 1], dim, 3, stride=2, padding=1))
                n_bands, length = -(-n_bands // 2), -(-length // 2)
                self.planes.append((dim, n_bands))
            blocks = nn.ModuleList()
            for _ in range(depth):
                done += 1
                blocks.append(_Residual(dim, drop_prob=drop_prob * done / n_blocks))
            self.stages.append(blocks)
            widths.append(max(self.embed_width, dim * n_bands))
        # without a block the first does nothing: it goes with the second
        self.ends = [0, *range(2 if len(dims) > 1 and not depths[0] else 1, len(dims) + 1)]
        self.stage_widths = (*(widths[end - 1] for end in self.ends[1:-1]), width)
        self.pool = max(1, -(-length // n_tokens))
        self.norm = nn.LayerNorm(dims[-1] * n_bands)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(dims[-1] * n_bands, width)
        self.spectrum_norm = nn.LayerNorm(self.embed_width)
        self.spectrum = nn.Linear(self.embed_width, width)
        self.position = nn.Parameter(torch.randn(-(-length // self.pool), width) * 0.02)

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> AudioEncoder:
        return cls(spec, width, dims=(8, 16, 32) if n_rows < 20_000 else (16, 32, 64), dropout=dropout)

    def _check(self, raw: Raw) -> None:
        _, n_frames, n_mels = raw.values.shape
        if n_mels != self.spec.n_channels or n_frames > max(1, self.spec.max_length):
            raise ShapeError(
                f"AudioEncoder: frames must be [batch, <= {self.spec.max_length}, {self.spec.n_channels}]; got "
                f"{tuple(raw.values.shape)}. Transform them with the preprocessor that gave the spec."
            )

    def linear(self, raw: Raw) -> Tensor:
        """Returns the cepstral coefficients of the recording's mean and of its course, without random changes."""
        if self.cepstra is None:
            return super().linear(raw)
        self._check(raw)
        numbers: Tensor = self.cepstra(raw.values, raw.mask)
        return numbers

    def embed(self, raw: Raw) -> Tokens:
        self._check(raw)
        n_rows, n_frames, n_mels = raw.values.shape
        # what is masked may hold anything, NaN too, and 0 * NaN would reach the weights' gradients
        frames, mask = raw.values.masked_fill(~raw.mask[..., None], 0.0), raw.mask
        if self.training and self.augment:
            frames, mask = spec_warp(frames, mask)
        n_real = mask.sum(1).clamp(min=1)[:, None, None]
        mean = frames.sum(1, keepdim=True) / n_real
        frames = (frames - mean).masked_fill(~mask[..., None], 0.0)
        variance = frames.square().sum((1, 2), keepdim=True) / (n_real * n_mels)
        frames = torch.cat([mean, frames / (variance + LEAST_VARIANCE).sqrt()], dim=1)
        bands = self.frame(frames.reshape(-1, 1, n_mels)).transpose(1, 2) + self.level
        heard = mask.any(1, keepdim=True)
        if self.training and self.mean_drop_prob > 0:
            heard = heard & (torch.rand(n_rows, 1, device=heard.device) >= self.mean_drop_prob)
        mask = torch.cat([heard, mask], dim=1)
        return Tokens(bands.reshape(n_rows, 1 + n_frames, self.embed_width), mask)

    def _stage(self, n: int, tokens: Tokens) -> Tokens:
        start, end = self.ends[n], self.ends[n + 1]
        dim, n_bands = self.planes[max(0, start - 1)]
        # the spectrum's token and the frames' may differ in width: the narrower ends in zeros, which are left behind
        spectrum, mask = tokens.values[:, :1, : self.embed_width], tokens.mask[:, 1:]
        n_rows, n_frames = mask.shape
        x = tokens.values[:, 1:, : dim * n_bands].reshape(n_rows, n_frames, n_bands, dim).permute(0, 3, 1, 2)
        for i in range(start, end):
            if i:
                # a frame of the halved series is real if either of the two it stands for was
                x, mask = self.halvings[i - 1](x), _halved(mask)
            real = mask[:, None, :, None].to(x.dtype)
            x = x * real
            for block in self.stages[i].children():
                x = block(x, real)
        x = x.permute(0, 2, 3, 1).flatten(2)
        if n < len(self.stage_widths) - 1:
            wide = [F.pad(part, (0, self.stage_widths[n] - part.shape[2])) for part in (spectrum, x)]
            return Tokens(torch.cat(wide, dim=1), torch.cat([tokens.mask[:, :1], mask], dim=1))
        if self.pool > 1:
            extra = -x.shape[1] % self.pool
            x, mask = F.pad(x, (0, 0, 0, extra)), F.pad(mask, (0, extra))
            real = torch.unflatten(mask, 1, (-1, self.pool))
            total = (torch.unflatten(x, 1, (-1, self.pool)) * real[..., None]).sum(2)
            x, mask = total / real.sum(2).clamp(min=1)[..., None], real.any(2)
        values = self.project(self.dropout(self.norm(x))) + self.position[: x.shape[1]]
        first = self.spectrum(self.dropout(self.spectrum_norm(spectrum)))
        return Tokens(torch.cat([first, values], dim=1), torch.cat([tokens.mask[:, :1], mask], dim=1))

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, n) for n in range(len(self.stage_widths)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)
