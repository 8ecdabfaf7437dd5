"""Cores that may be used: the least of what the machine has and what limits it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from known_answers import make_product
from threadpoolctl import threadpool_info

from profuse._cores import limit_threads, usable_cores
from profuse.data.split import Split
from profuse.models.options import ModelOptions
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of 16 cores, without limits."""
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    return tmp_path


def lay(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_without_limits_all_cores_are_used(machine: Path) -> None:
    assert usable_cores(machine) == 16


@pytest.mark.parametrize(
    ("variables", "n"),
    [
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": " 1 "}, 1),
        ({"SLURM_CPUS_PER_TASK": "6"}, 6),
        ({"SLURM_CPUS_PER_TASK": "6", "OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "64"}, 16),
        ({"OMP_NUM_THREADS": ""}, 16),
        ({"OMP_NUM_THREADS": "many"}, 16),
        ({"OMP_NUM_THREADS": "0"}, 1),
    ],
)
def test_variables_limit(machine: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], n: int) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert usable_cores(machine) == n


def test_affinity_limits(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert usable_cores(machine) == 2


V2 = "0::/jobs/one\n"
V1 = "4:memory:/x\n2:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("files", "n"),
    [
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/jobs/one/cpu.max": "400000 100000\n"}, 4),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/jobs/one/cpu.max": "250000 100000\n"}, 2),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/jobs/one/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/jobs/one/cpu.max": "max 100000\n"}, 16),
        (
            {
                "proc/self/cgroup": V2,
                "sys/fs/cgroup/jobs/one/cpu.max": "max 100000\n",
                "sys/fs/cgroup/jobs/cpu.max": "300000 100000\n",
            },
            3,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/../../elsewhere\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "500000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            5,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "500000\n",  # a container that sees its own group as the root
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            5,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            16,
        ),
        ({"proc/self/cgroup": "odd\n:\n", "sys/fs/cgroup/cpu.max": "odd"}, 16),
    ],
)
def test_quotas_of_containers_limit(machine: Path, files: dict[str, str], n: int) -> None:
    lay(machine, files)
    assert usable_cores(machine) == n


def test_threads_are_limited_and_given_back() -> None:
    before = torch.get_num_threads(), [lib["num_threads"] for lib in threadpool_info()]
    with limit_threads(1):
        assert torch.get_num_threads() == 1
        assert {lib["num_threads"] for lib in threadpool_info()} == {1}
    assert (torch.get_num_threads(), [lib["num_threads"] for lib in threadpool_info()]) == before


ALONE = {name: {"linear_path": False} for name in "ab"}


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_fit_and_its_predictions_take_the_threads_that_are_asked_for(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, int] = {}
    rows = np.arange(200)
    data = Prepared.make(make_product(), Split(rows[:120], rows[120:160], rows[160:]))
    model_options = ModelOptions(fusion="mean_logits", width=8, members=1, encoder_options=ALONE)
    data = data.choose(model_options, data.inputs)  # threads that wait for each other make every step slow
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        model = fit_model(
            data,
            model_options,
            TrainOptions(epochs=1, threads=threads, batch_size=200, refit=False),
            callbacks=[lambda epoch: seen.update(fit=torch.get_num_threads())],
        )
        forward = type(model.model).forward

        def spy(*args: object, **options: object) -> object:
            seen["predict"] = torch.get_num_threads()
            return forward(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(type(model.model), "forward", spy)
        model.predict(make_product())
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen == {"fit": threads, "predict": threads}
