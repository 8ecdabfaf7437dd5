"""What must hold for encoders only. Each check's docstring says it."""

from __future__ import annotations

from functools import partial

import torch

from profuse.encoders import Encoder, segments
from profuse.errors import ShapeError
from profuse.fusion import fusion
from profuse.heads import head_for
from profuse.kinds import KINDS
from profuse.models.fusion_model import FusionModel
from profuse.progressive import ProgressiveFusion
from profuse.schema import Spec
from profuse.testing._subject import WIDTH, Subject, close, must_raise, need, random, same
from profuse.tokens import Tokens

__all__ = ["feedback_enters_between", "shape", "stages_compose", "wrong_sizes_raise"]


def shape(s: Subject) -> None:
    """It returns `Tokens[batch, token, width]`, finite, 0 where masked; embed gives `embed_width` channels."""
    module = s.fresh()
    raw, result = s.inputs["raw"], s.run(module)
    assert isinstance(module, Encoder)
    assert isinstance(result, Tokens)
    need(
        len(result) == len(raw) and result.n_channels == WIDTH,
        f"tokens must be [batch, token, width]; got {tuple(result.values.shape)}.",
    )
    need(bool(result.values.isfinite().all()), "tokens must be finite; got NaN or infinity.")
    need(
        torch.equal(result.present, raw.present), "rows that hold something must give tokens, and no other; got others."
    )
    embedded = module.embed(raw)
    need(
        embedded.n_channels == module.embed_width,
        f"embed must give {module.embed_width} channels; got {embedded.n_channels}.",
    )
    n_tokens = embedded.values.shape[1]
    need(module.n_places in (1, n_tokens), f"n_places must be 1 or the tokens of embed, {n_tokens}; got others.")


def feedback_enters_between(s: Subject) -> None:
    """In a progressive model, feedback of 0 changes nothing, and any other decides the result."""
    module, inputs = s.fresh(), s.inputs
    assert isinstance(module, Encoder)
    operator, head = fusion("mean")({"raw": module.width}, WIDTH), head_for("regression")(WIDTH, 1)
    model = FusionModel({"raw": module}, operator, head).eval()
    for entry in ("early", "later"):
        around = ProgressiveFusion(model, rounds=2, entry=entry).eval()
        plain = model(inputs).outputs
        close(around(inputs).outputs, plain, f"the output with {entry} feedback of 0", tol=0.0)
        with torch.no_grad():
            for parameter in around.feedbacks.parameters():
                parameter.copy_(random(*parameter.shape))
        changed = not torch.allclose(around(inputs).outputs, plain, atol=1e-3)
        need(changed, f"mix must use the tokens that {entry} feedback returns; got the same result with others.")


def stages_compose(s: Subject) -> None:
    """The stages one after another are mix, of the widths declared; masked values set to 0 between change nothing."""
    module = s.fresh()
    assert isinstance(module, Encoder)
    tokens = module.embed(s.inputs["raw"]).zeroed()
    present, mixed = tokens.present, module.mix(tokens).zeroed()
    (whole,) = segments(module, 1)
    same(whole(tokens).zeroed(), mixed, "made by the stages one after another", tol=0.0)
    stages, widths = module.mix_stages(), module.stage_widths
    need(
        len(stages) == len(widths) and widths[-1] == module.width,
        f"stage_widths must have a width for each stage, the last one {module.width}; got {len(stages)} stages and "
        f"stage_widths={widths}.",
    )
    for i, (stage, width) in enumerate(zip(stages, widths, strict=True)):
        tokens = stage(tokens).zeroed()
        need(tokens.n_channels == width, f"stage {i} must give {width} channels; got {tokens.n_channels}.")
        need(torch.equal(tokens.present, present), f"stage {i} must leave rows present or missing; got others.")
    same(tokens, mixed, "made with masked values set to 0 between the stages", tol=1e-5)


def wrong_sizes_raise(s: Subject) -> None:
    """Another kind or a width below 1: a ShapeError that begins with the encoder's name."""
    module = s.fresh()
    assert isinstance(module, Encoder)
    other = Spec(kind=next(name for name in KINDS if name != module.kind), n_channels=3, image_size=(8, 8))
    must_raise(ShapeError, partial(type(module), other, WIDTH), "another kind", type(module).__name__)
    must_raise(ShapeError, partial(s.declare, 0), "a width of 0", type(module).__name__)
