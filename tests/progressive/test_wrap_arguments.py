"""What `ProgressiveFusion.wrap` is given: every mistake is one error of ours, and what the wrapper shows of its module."""
# ruff: noqa: E501 (a table of mistakes)

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from profuse import ProgressiveFusion
from profuse.errors import ConfigError, ProfuseError

WRONG_INTO: list[Any] = [
    ["a", "b"],
    "a",
    {"a"},
    None,
    {},
    {"a": nn.Linear(2, 2)},
    {"a": 3},
    {"a": []},
    {"a": ["a", 3]},
    {1: "a"},
    {"": "a"},
]

X, Z = torch.randn(4, 6), torch.randn(4, 5)


class Late(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fusion, self.head = nn.Linear(6, 8), nn.Linear(5, 8), nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x: Any, z: Any, labels: Any = None) -> Any:
        out = self.head(self.fusion(torch.cat([self.a(x).relu(), self.b(z).relu()], 1)).relu())
        return out if labels is None else {"loss": nn.functional.cross_entropy(out, labels), "logits": out}


def wrap(module: Any = None, **options: Any) -> Any:
    given: dict[str, Any] = {"into": {"a": "a", "b": "b"}, "state": "fusion", "example": (X, Z)}
    return ProgressiveFusion.wrap(Late() if module is None else module, **{**given, **options})


INTO = "into must be a dict, branch -> name of a layer or several in a list, as in "


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"module": Late}, "module must be an instance of torch.nn.Module, in Python and not TorchScript, so that its layers can be met; got the class Late."),
        ({"module": lambda x: x}, "got function."),
        *[({"into": wrong}, INTO) for wrong in WRONG_INTO],
        ({"into": {"a": 3}}, "got dict into={'a': 3}."),
        ({"into": {"a": "aa"}}, "layer must be a known name; got layer='aa'. Did you mean 'a'?"),
        ({"state": "fuse"}, "state must be a known name; got state='fuse'. Did you mean 'fusion'?"),
        ({"state": None}, "state must be the name of a layer, as in module.named_modules(); got NoneType"),
        ({"state": nn.Linear(2, 2)}, "got Linear state=Linear("),
        ({"example": None}, "example, or example_kwargs, must be given: sizes and axes are learned from it"),
        ({"example": {"x": X, "z": Z}}, "example=tuple(dict(x: a tensor of shape (4, 6), torch.float32, z: a tensor of shape (4, 5), torch.float32)), example_kwargs=dict(), on which Late raised TypeError"),
        ({"example": [X, Z]}, "a tuple (a list or a dict is one argument), those by name as example_kwargs."),
        ({"example": X}, "missing 1 required positional argument: 'z'. Give what it is called with"),
        ({"example": X, "example_kwargs": {"q": Z}}, "got an unexpected keyword argument 'q'"),
        ({"example": X, "example_kwargs": [Z]}, "example_kwargs must be a dict by name"),
        ({"example": (Z, X)}, "on which Late raised RuntimeError: mat1 and mat2"),
        ({"example": ("x", "z")}, "feedback must enter where floating numbers stand; the input of 'a' has none"),
        ({"feedback": "ad"}, "feedback must be a known name; got feedback='ad'. Did you mean 'add'?"),
        ({"feedback": nn.Linear(2, 2)}, "feedback must be one of scale_shift, "),
        ({"feedback": dict}, "or a Feedback class; got type feedback=<class 'dict'>"),
        ({"at": ["input"]}, "at must be input or output"),
        ({"at": {"a": "middle"}}, "at must be input or output, or one of them by branch in a dict; got dict at={'a': 'mid"),
        ({"at": {"c": "input"}}, "branch must be a known name; got branch='c'"),
        ({"channel_axis": "1"}, "channel_axis must be an axis, a whole number, or one by branch in a dict; got str"),
        ({"channel_axis": {"c": 1}}, "branch must be a known name; got branch='c'"),
        ({"batch_axis": {"a": 0.5}}, "batch_axis must be an axis, a whole number"),
        ({"folded": "a"}, "folded must be a list of branches; got str folded='a'"),
        ({"reuse": "a"}, "reuse must be a list of names of layers; got str reuse='a'"),
        ({"reuse": True}, "reuse must be a list of names of layers; got bool reuse=True"),
        ({"reuse": ["aa"]}, "reuse must be a known name; got reuse='aa'. Did you mean 'a'?"),
        ({"gradient_rounds": "1"}, "gradient_rounds must be at least 1; got gradient_rounds='1'"),
        ({"max_rounds": None}, "max_rounds must be a whole number; got NoneType max_rounds=None"),
        ({"max_rounds": 0}, "max_rounds must be at least 1, tolerance over 0"),
        ({"tolerance": "x"}, "tolerance must be a number"),
        ({"damping": True}, "damping must be a number"),
        ({"state_axis": "last"}, "state_axis must be an axis, a whole number"),
        ({"start": ["zero"]}, "start must be zero or learned"),
        ({"returns": 1}, "returns must be last or all"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_one_error_that_says_what_is_wanted(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfuseError, match=re.escape(message)) as caught:
        wrap(**options)
    assert str(caught.value).startswith("ProgressiveFusion.wrap: ")


def test_what_the_module_raises_on_its_example_is_the_cause_of_our_error() -> None:
    with pytest.raises(ConfigError) as caught:
        wrap(example=(Z, X))
    assert isinstance(caught.value.__cause__, RuntimeError)


class TestSignature:
    @staticmethod
    def plain(x: Tensor, z: Tensor) -> None: ...
    @staticmethod
    def named_only(x: Tensor, *, z: Tensor, scale: float = 1.0) -> None: ...
    @staticmethod
    def by_position(x: Tensor, z: Tensor, /, labels: Any = None) -> None: ...
    @staticmethod
    def anything(x: Tensor, *rest: Any, **more: Any) -> None: ...
    @staticmethod
    def nothing_known(*args: Any, **kwargs: Any) -> None: ...
    @staticmethod
    def odd_names(wrapper: Tensor, instance: Tensor, args: Any = None, kwargs: Any = None) -> None: ...

    @pytest.mark.parametrize("name", ["plain", "named_only", "by_position", "anything", "nothing_known", "odd_names"])
    def test_forward_shows_the_arguments_of_the_module(self, name: str) -> None:
        like = getattr(self, name)
        module: Any = Late()
        wrapped = wrap(module)
        module.forward = like
        assert inspect.signature(wrapped.forward).parameters == inspect.signature(like).parameters

    def test_calls_with_names_and_defaults_run_as_they_do_in_the_module(self) -> None:
        module = Late()
        wrapped = wrap(module)
        labels = torch.tensor([0, 1, 2, 0])
        for given in ({"x": X, "z": Z}, {"x": X, "z": Z, "labels": labels}):
            plain, found = module(**given), wrapped(**given)
            if isinstance(plain, dict):
                plain, found = plain["loss"], found["loss"]
            assert torch.equal(plain, found)
        with pytest.raises(TypeError):
            wrapped(X, nothing=Z)

    def test_what_a_module_says_of_arguments_for_its_loss_is_passed_on(self) -> None:
        module: Any = Late()
        assert not hasattr(wrap(module), "accepts_loss_kwargs")
        module.accepts_loss_kwargs = False
        assert wrap(module).accepts_loss_kwargs is False

    @pytest.mark.slow
    def test_hugging_face_finds_the_columns_of_the_module(self) -> None:
        trainer = pytest.importorskip("transformers.trainer").Trainer
        seen = SimpleNamespace(model=wrap(), _signature_columns=None, label_names=["labels"])
        trainer._set_signature_columns_if_needed(seen)
        assert {"x", "z", "labels"} <= set(seen._signature_columns)
        kinds = {p.kind for p in inspect.signature(seen.model.forward).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds  # else it would send num_items_in_batch


TRAINING = """
import copy, json, sys
import numpy as np, torch
from torch import nn
from transformers import Trainer, TrainingArguments
from profuse import ProgressiveFusion

class Late(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.fusion, self.head = nn.Linear(6, 8), nn.Linear(5, 8), nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x, z, labels=None):
        out = self.head(self.fusion(torch.cat([self.a(x).relu(), self.b(z).relu()], 1)).relu())
        return {"logits": out} if labels is None else {"loss": nn.functional.cross_entropy(out, labels), "logits": out}

example = torch.randn(4, 6), torch.randn(4, 5)
wrapped = ProgressiveFusion.wrap(Late(), into={"a": "a", "b": "b"}, state="fusion", example=example)
before = copy.deepcopy(wrapped.state_dict())
data = [{"x": torch.randn(6), "z": torch.randn(5), "labels": i % 3} for i in range(32)]
args = TrainingArguments(
    sys.argv[1], num_train_epochs=1, report_to=[], disable_tqdm=True, use_cpu=True, label_names=["labels"],
    **json.loads(sys.argv[2])
)
trainer = Trainer(model=wrapped, args=args, train_dataset=data, eval_dataset=data)
trainer.train()
assert any(not torch.equal(value, before[name]) for name, value in wrapped.state_dict().items() if "feedbacks" in name)
assert np.isfinite(trainer.evaluate()["eval_loss"])
assert trainer.predict(data).predictions.shape == (32, 3)
trainer.save_model(sys.argv[1] + "/saved")
trainer.train(resume_from_checkpoint=True)
print("trained")
"""


OPTIONS = ["{}", '{"remove_unused_columns": false}', '{"gradient_accumulation_steps": 2}']
IN_FORKS = f"""
import os, sys, traceback
import accelerate, transformers.trainer
folder, *options = sys.argv[1:]
code = {TRAINING!r}
for i, option in enumerate(options):
    if not os.fork():
        sys.stderr = sys.stdout = open(f"{{folder}}/{{i}}.txt", "w")
        sys.argv = ["train", f"{{folder}}/{{i}}", option]
        try:
            exec(code, {{"__name__": "__main__"}})
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a training with each of the options says, as a script: forks of one process that has imported the trainer."""
    pytest.importorskip("accelerate")
    folder = tmp_path_factory.mktemp("trained")
    paths = os.pathsep.join(p for p in sys.path if "tests" not in p)
    command = [sys.executable, "-c", IN_FORKS, str(folder), *OPTIONS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr[-2000:]
    return {option: (folder / f"{i}.txt").read_text() for i, option in enumerate(OPTIONS)}


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_the_trainer_of_hugging_face_trains_evaluates_and_saves_a_wrapped_module(
    options: str, trained: dict[str, str]
) -> None:
    assert trained[options].splitlines()[-1] == "trained", trained[options][-2000:]


@pytest.mark.filterwarnings("ignore")
class TestQuantised:
    quantisation: Any = torch.ao.quantization

    def dynamic(self, module: nn.Module) -> Any:
        return self.quantisation.quantize_dynamic(module.eval(), {nn.Linear}, dtype=torch.qint8)

    def static(self, module: nn.Module) -> Any:
        module.eval().qconfig = self.quantisation.get_default_qconfig("fbgemm")
        return self.quantisation.prepare(module)

    @pytest.mark.parametrize("how", ["dynamic", "static"])
    def test_a_module_with_quantised_layers_is_refused(self, how: str) -> None:
        message = (
            "no layer may be quantised, as feedback learns by gradients.*got '.*' of type torch.ao.*before torch.ao"
        )
        with pytest.raises(ConfigError, match=message):
            wrap(getattr(self, how)(Late()))

    @pytest.mark.parametrize("rounds", [3, "equilibrium"])
    def test_so_is_a_wrapper_that_was_quantised_whole(self, rounds: Any) -> None:
        small = self.dynamic(wrap(rounds=rounds))
        with pytest.raises(ConfigError, match="no layer may be quantised"):
            small(X, Z)
        with pytest.raises(ConfigError, match="no layer may be quantised"):
            small.anytime(X, Z)


def test_modules_without_floating_parameters_are_wrapped() -> None:
    class Free(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.fusion = nn.Identity(), nn.Identity()
            self.steps = nn.Parameter(torch.arange(6), requires_grad=False)

        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            joint: Tensor = self.fusion(torch.cat([self.a(x * self.steps), z], 1))
            return joint

    module = Free()
    wrapped = wrap(module, into={"a": "a"})
    assert torch.equal(wrapped(X, Z), module(X, Z))
    wrapped(X, Z).sum().backward()
    assert all(p.grad is not None for p in wrapped.feedbacks.parameters())


@pytest.mark.filterwarnings("ignore")
def test_a_module_of_torchscript_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="module must be an instance of torch.nn.Module, in Python and not TorchScript"
    ):
        wrap(torch.jit.trace(Late(), (X, Z)))
