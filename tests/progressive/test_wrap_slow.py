"""Wrapped modules beyond one process and one library: exported, distributed, made of Hugging Face models."""

from __future__ import annotations

import importlib.util
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from forks import Forks
from torch import Tensor, nn
from torch.export import Dim, export

from profuse.progressive import ProgressiveFusion, WrappedProgressive

pytestmark = pytest.mark.slow


class Late(nn.Module):
    """Words through a Transformer, pictures through convolutions, a series through a GRU; fused late."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.words = nn.Embedding(11, 8)
        self.text = nn.TransformerEncoder(layer, 2)
        self.image = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3))
        self.series = nn.GRU(2, 8)
        self.fusion = nn.Linear(24, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, text: Tensor, image: Tensor, series: Tensor) -> Tensor:
        z = [self.text(self.words(text)).mean(1), self.image(image).mean((2, 3)), self.series(series)[0][-1]]
        outputs: Tensor = self.head(self.fusion(torch.cat(z, 1)).tanh())
        return outputs


def late(rounds: int = 3, returns: Any = "last") -> tuple[WrappedProgressive, tuple[Tensor, Tensor, Tensor]]:
    torch.manual_seed(0)
    inputs = (torch.randint(0, 11, (4, 5)), torch.randn(4, 3, 8, 8), torch.randn(6, 4, 2))
    wrapped = ProgressiveFusion.wrap(
        Late(),
        into={"t": "text.layers.0", "i": "image.3", "s": "series"},
        state="fusion",
        rounds=rounds,
        returns=returns,
        reuse=["words", "image.0"],
        example=inputs,
    ).eval()
    for parameter in wrapped.feedbacks.parameters():
        nn.init.normal_(parameter, std=0.3)
    return wrapped, inputs


@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights:UserWarning")
def test_it_is_exported_with_any_batch_and_parts_of_reuse_once() -> None:
    wrapped, inputs = late()
    batch = Dim("batch", min=2, max=64)
    with torch.no_grad():
        program = export(wrapped, inputs, dynamic_shapes=({0: batch}, {0: batch}, {1: batch}))
        more = (inputs[0].repeat(3, 1), inputs[1].repeat(3, 1, 1, 1), inputs[2].repeat(1, 3, 1))
        torch.testing.assert_close(program.module()(*more), wrapped(*more), atol=1e-5, rtol=1e-5)
    targets = [str(node.target) for node in program.graph.nodes]
    assert sum("embedding" in t for t in targets) == 1  # the words, which lie below
    assert sum("conv2d" in t for t in targets) == 1 + 3  # the first convolution lies below, the second is run anew


DISTRIBUTED = """
import sys
import torch
from torch import nn
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
sys.path.insert(0, {folder!r})
from test_wrap_slow import late

RETURNS = {returns!r}

def loss(model, given):
    if RETURNS == "last":
        return model(*given).square().mean()
    return sum(outputs.square().mean() for outputs in model(*given))

def run(rank, world, port):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{{port}}", rank=rank, world_size=world)
    wrapped, inputs = late(returns=RETURNS)
    model = DistributedDataParallel(wrapped.train())
    rows = slice(2 * rank, 2 * rank + 2)
    mine = (inputs[0][rows], inputs[1][rows], inputs[2][:, rows])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss(model, mine).backward()
        optimizer.step()
    flat = torch.cat([p.detach().flatten() for p in wrapped.parameters()])
    both = [torch.empty_like(flat) for _ in range(world)]
    dist.all_gather(both, flat)
    assert torch.equal(both[0], both[1])
    # what one process does: gradients averaged over the two halves
    alone, _ = late(returns=RETURNS)
    alone.train()
    halves = [(inputs[0][r], inputs[1][r], inputs[2][:, r]) for r in (slice(0, 2), slice(2, 4))]
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (sum(loss(alone, half) for half in halves) / 2).backward()
        optimizer.step()
    expected = torch.cat([p.detach().flatten() for p in alone.parameters()])
    torch.testing.assert_close(flat, expected, atol=1e-5, rtol=1e-4)
    assert all(f.linear.weight.grad.abs().sum() > 0 for f in wrapped.feedbacks.values())
    dist.destroy_process_group()

if __name__ == "__main__":
    torch.multiprocessing.start_processes(run, (2, {port}), nprocs=2, start_method="fork")
    sys.stdout.write("both agree")
"""


@pytest.mark.parametrize("returns", ["last", "all"])
def test_it_trains_in_several_processes_as_in_one(tmp_path: Path, returns: str, forks: Forks) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = tmp_path / "train.py"
    text = DISTRIBUTED.format(folder=str(Path(__file__).parent), port=port, returns=returns)
    script.write_text(text, encoding="utf-8")
    done = forks.run_script(script)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "both agree"


needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers is not installed: pip install profuse[hf]"
)


def hugging_face(attention: str = "sdpa") -> tuple[nn.Module, dict[str, Tensor]]:
    """A ViT and a BERT, small and of random weights, in one late fusion."""
    from transformers import BertConfig, BertModel, ViTConfig, ViTModel

    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "attn_implementation": attention,
    }

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            vit = ViTConfig(image_size=16, patch_size=4, **sizes)
            bert = BertConfig(vocab_size=30, max_position_embeddings=20, **sizes)
            self.vit, self.bert = ViTModel(vit, add_pooling_layer=False), BertModel(bert, add_pooling_layer=False)
            self.fusion, self.head = nn.Linear(32, 8), nn.Linear(8, 2)

        def forward(self, *, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
            seen = self.vit(pixel_values=pixel_values).last_hidden_state[:, 0]
            read = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
            return {"logits": self.head(self.fusion(torch.cat([seen, read], 1)).tanh())}

    torch.manual_seed(0)
    mask = torch.ones(4, 7, dtype=torch.long)
    mask[1, 5:] = 0
    batch = {
        "pixel_values": torch.randn(4, 3, 16, 16),
        "input_ids": torch.randint(0, 30, (4, 7)),
        "attention_mask": mask,
    }
    return Both(), batch


def layer_names(module: nn.Module, n: int) -> tuple[str, str]:
    """The n-th layers of both, whatever the release calls the lists that hold them."""
    vit, bert = (
        next(name for name, _ in module.named_modules() if re.fullmatch(rf"{branch}\..*layers?\.{n}", name))
        for branch in ("vit", "bert")
    )
    return vit, bert


@needs_transformers
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
class TestHuggingFace:
    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    @pytest.mark.parametrize("n", [0, 2])
    def test_at_zero_feedback_it_equals_the_model_bit_for_bit(self, attention: str, n: int) -> None:
        module, batch = hugging_face(attention)
        vit, bert = layer_names(module, n)
        wrapped = ProgressiveFusion.wrap(
            module, into={"image": vit, "text": bert}, state="fusion", rounds=3, example_kwargs=batch
        )
        wrapped.eval()
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                expected = module(**batch)["logits"]
                assert all(torch.equal(found["logits"], expected) for found in wrapped.all_rounds(**batch))
        torch.manual_seed(1)
        expected = module.train()(**batch)["logits"]
        torch.manual_seed(1)
        assert torch.equal(wrapped.train().all_rounds(**batch)[0]["logits"], expected)

    def test_embeddings_and_layers_of_reuse_run_once_per_batch(self) -> None:
        module, batch = hugging_face()
        vit, bert = layer_names(module, 1)
        outputs, below = [], ["vit.embeddings", "bert.embeddings", *layer_names(module, 0)]
        for reuse in (below, []):
            wrapped = ProgressiveFusion.wrap(
                module, into={"image": vit, "text": bert}, state="fusion", rounds=4, example_kwargs=batch, reuse=reuse
            ).eval()
            torch.manual_seed(2)
            for feedback in wrapped.feedbacks.values():
                nn.init.normal_(feedback.linear.weight, std=0.1)  # type: ignore[arg-type, union-attr]
            calls = dict.fromkeys([*below, vit, bert], 0)
            inside = {
                name: next(f"{name}.{part}" for part, _ in module.get_submodule(name).named_children())
                for name in calls
            }
            hooks = []
            for name, part in inside.items():

                def count(*_: Any, name: str = name, calls: dict[str, int] = calls) -> None:
                    calls[name] += 1

                hooks.append(module.get_submodule(part).register_forward_hook(count))
            outputs.append(wrapped(**batch)["logits"])
            for hook in hooks:
                hook.remove()
            assert calls == {**dict.fromkeys(below, 1 if reuse else 4), vit: 4, bert: 4}
        assert torch.equal(*outputs)

    def test_it_trains_with_gradient_checkpoints_as_without(self) -> None:
        gradients: list[list[Any]] = []
        for saves in (False, True):
            module, batch = hugging_face()
            vit, bert = layer_names(module, 1)
            wrapped = ProgressiveFusion.wrap(
                module, into={"image": vit, "text": bert}, state="fusion", rounds=2, example_kwargs=batch
            )
            for part in module.modules():
                if isinstance(part, nn.Dropout):
                    part.p = 0.0
            torch.manual_seed(2)
            for feedback in wrapped.feedbacks.values():
                nn.init.normal_(feedback.linear.weight, std=0.1)  # type: ignore[arg-type, union-attr]
            if saves:
                branch: Any
                for branch in (module.vit, module.bert):
                    branch.gradient_checkpointing_enable({"use_reentrant": False})
            wrapped.train()(**batch)["logits"].square().sum().backward()
            gradients.append([p.grad for p in wrapped.parameters()])
        assert sum(g is not None for g in gradients[0]) > 90
        torch.testing.assert_close(*gradients)

    def test_words_that_are_padding_do_not_tell_pictures_what_to_look_at(self) -> None:
        module, batch = hugging_face()
        vit, bert = layer_names(module, 1)
        row = {name: x[1:2] for name, x in batch.items()}
        short = row | {name: row[name][:, :5] for name in ("input_ids", "attention_mask")}
        agree = []
        for masks in ({}, {"mask": {"text": "attention_mask"}, "state_mask": "attention_mask"}):
            wrapped = ProgressiveFusion.wrap(
                module, into={"image": vit, "text": bert}, state="bert", state_of="last_hidden_state",
                example_kwargs=batch, **masks,
            ).eval()  # fmt: skip
            torch.manual_seed(2)
            for feedback in wrapped.feedbacks.values():
                nn.init.normal_(feedback.linear.weight, std=0.3)  # type: ignore[arg-type, union-attr]
            agree.append(wrapped(**row)["logits"].isclose(wrapped(**short)["logits"], atol=1e-5).all().item())
        assert agree == [False, True]
