"""Coordinated spaces against scikit-learn, NumPy and closed forms."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from profuse.errors import ConfigError
from profuse.fusion import CoordinatedFusion, Fusion
from profuse.fusion.constraint.contrastive import Contrastive, info_nce
from profuse.fusion.constraint.dcca import DCCA, correlation
from profuse.fusion.constraint.dcca_ey import DCCAEY, eckart_young
from profuse.fusion.constraint.ranking import Ranking, hinge
from profuse.fusion.constraint.shared_private import SharedPrivate, moment_discrepancy, overlap
from profuse.layers.correlation import canonical
from profuse.tokens import Tokens

Array = NDArray[np.float64]
COORDINATED = [DCCA, partial(DCCA, norm="fro2"), DCCAEY, Contrastive, Ranking, partial(Ranking, negatives="mean")]
OPERATORS = [*COORDINATED, SharedPrivate]
WIDTHS = {"a": 5, "b": 4, "c": 3}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def related(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two views of 4 and 3 numbers with three latent numbers in common, each below noise of its own."""
    latent, strength = normal(n, 3, seed=seed), torch.tensor([3.0, 1.0, 0.4], dtype=torch.float64)
    x = (latent * strength) @ normal(3, 4, seed=seed + 1) + normal(n, 4, seed=seed + 2)
    y = (latent * strength) @ normal(3, 3, seed=seed + 3) + normal(n, 3, seed=seed + 4)
    return x, y


def by_qr(x: Tensor, y: Tensor) -> Array:
    """The canonical correlations: the singular values of Q_x^T Q_y (Bjorck and Golub 1973)."""
    q = [np.linalg.qr((v - v.mean(0)).numpy())[0] for v in (x, y)]
    return np.linalg.svd(q[0].T @ q[1], compute_uv=False)


def everywhere(x: Tensor) -> Tensor:
    return torch.ones(len(x), dtype=torch.bool)


def tokens_of(n: int, seed: int = 0, present: Tensor | None = None) -> dict[str, Tokens]:
    given = torch.ones(n, 3, dtype=torch.bool) if present is None else present
    return {name: Tokens.vector(normal(n, d, seed=seed + i), given[:, i]) for i, (name, d) in enumerate(WIDTHS.items())}


def made(make: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    return make(WIDTHS, 8, **options).double().eval()


# -- canonical correlation


def test_the_nuclear_norm_is_the_sum_of_the_canonical_correlations() -> None:
    x, y = related(200)
    assert float(correlation(x, y, everywhere(x), ridge=0.0)) == pytest.approx(by_qr(x, y).sum(), abs=1e-12)
    squares = correlation(x, y, everywhere(x), norm="fro2", ridge=0.0)
    assert float(squares) == pytest.approx((by_qr(x, y) ** 2).sum(), abs=1e-12)


def test_the_correlations_are_those_of_scikit_learn() -> None:
    from sklearn.cross_decomposition import CCA

    x, y = related(500)
    u, v = CCA(n_components=3, max_iter=5000, tol=1e-12).fit_transform(x.numpy(), y.numpy())
    theirs = sum(np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(3))
    assert float(correlation(x, y, everywhere(x), ridge=0.0)) == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("norm", ["nuclear", "fro2"])
def test_an_invertible_affine_map_of_a_view_changes_nothing(norm: Any) -> None:
    x, y = related(100)
    moved = x @ normal(4, 4, seed=9) + normal(4, seed=10)
    now, before = (correlation(v, y, everywhere(x), norm=norm, ridge=0.0) for v in (moved, x))
    assert abs(float(now - before)) < 1e-10


@pytest.mark.parametrize("norm", ["nuclear", "fro2"])
def test_a_view_correlates_wholly_with_a_linear_map_of_itself(norm: Any) -> None:
    x, _ = related(100)
    y = x @ normal(4, 4, seed=9)
    assert float(correlation(x, y, everywhere(x), norm=norm, ridge=0.0)) == pytest.approx(4.0, abs=1e-9)


@pytest.mark.parametrize("norm", ["nuclear", "fro2"])
def test_rows_that_do_not_count_change_neither_the_correlation_nor_its_gradient(norm: Any) -> None:
    x, y = related(60)
    rows = normal(60, seed=5) > -0.5
    whole = x.clone().requires_grad_()
    part = x[rows].clone().requires_grad_()
    masked = correlation(whole, y, rows, norm=norm)
    alone = correlation(part, y[rows], torch.ones(int(rows.sum()), dtype=torch.bool), norm=norm)
    torch.stack([masked, alone]).sum().backward()
    torch.testing.assert_close(masked, alone)
    assert whole.grad is not None
    assert part.grad is not None
    torch.testing.assert_close(whole.grad[rows], part.grad)
    assert not whole.grad[~rows].any()


@pytest.mark.parametrize("norm", ["nuclear", "fro2"])
def test_the_gradient_is_the_slope_also_where_eigenvalues_repeat(norm: Any) -> None:
    signs = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64).repeat(3, 1)  # covariance ~ I
    y = signs @ normal(2, 2, seed=1) + 0.3 * normal(12, 2, seed=2)
    repeated = signs.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: correlation(v, y, everywhere(y), norm=norm), [repeated], atol=1e-5)


@pytest.mark.parametrize("norm", ["nuclear", "fro2"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_or_constant_rows_give_finite_gradients(norm: Any, n: int) -> None:
    for x in (normal(n, 16), torch.ones(n, 16, dtype=torch.float64)):
        x = x.float().requires_grad_()
        correlation(x, x * 1e3, everywhere(x), norm=norm).backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()


def test_the_penalty_of_dcca_is_one_less_the_mean_correlation_over_pairs_and_dimensions() -> None:
    operator = made(DCCA, space_dim=2, ridge=1e-9, weight=0.5)
    tokens = tokens_of(50)
    z = operator.space(tokens).detach()
    pairs = [by_qr(z[:, i], z[:, j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    got = operator(tokens).penalties["correlation"].item()
    assert got == pytest.approx(0.5 * (1 - np.mean(pairs)), abs=1e-6)


def test_canonical_variates_are_uncorrelated_but_for_their_partners() -> None:
    x, y = related(300)
    found = canonical([x, y], torch.ones(300, 2, dtype=torch.bool), 3, ridge=1e-12)
    u, v = ((s - m) @ w for s, m, w in zip((x, y), found.means, found.maps, strict=True))
    np.testing.assert_allclose(found.correlations, by_qr(x, y)[:3], atol=1e-8)
    np.testing.assert_allclose(np.cov(u.numpy().T), np.eye(3), atol=1e-8)
    np.testing.assert_allclose(u.T @ v / 299, np.diag(by_qr(x, y)[:3]), atol=1e-8)


def test_remembered_rows_turn_coordinates_so_that_partners_stand_close() -> None:
    torch.manual_seed(0)
    x = normal(400, 3)
    turned = x @ torch.linalg.qr(normal(3, 3, seed=8)).Q  # what no penalty of DCCA sees
    tokens = {"x": Tokens.vector(x), "y": Tokens.vector(turned + 0.1 * normal(400, 3, seed=9))}
    operator = DCCA({"x": 3, "y": 3}, 8, space_dim=2).double().eval()

    def closeness() -> float:
        u, v = operator.coordinates(tokens).values()
        return ((u * v).sum(1) - (u * v.roll(1, 0)).sum(1)).mean().item()

    before = closeness()
    with torch.no_grad():
        operator.remember(tokens)
    assert closeness() > max(before, 0.5)


# -- Eckart-Young


def test_the_least_eckart_young_loss_of_linear_maps_is_minus_the_sum_of_squared_correlations() -> None:
    x, y = related(200)
    maps = [(0.3 * normal(4, 2, seed=1)).requires_grad_(), (0.3 * normal(3, 2, seed=2)).requires_grad_()]
    both = torch.ones(200, 2, dtype=torch.bool)
    optimizer = torch.optim.LBFGS(maps, max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def loss() -> Tensor:
        return eckart_young(torch.stack([x @ maps[0], y @ maps[1]], dim=1), both, halves=False)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    assert loss().item() == pytest.approx(-float((by_qr(x, y)[:2] ** 2).sum()), abs=1e-6)


def test_the_eckart_young_loss_is_the_formula_in_numpy_with_absent_rows() -> None:
    z, present = normal(30, 3, 2), normal(30, 3, seed=1) > -0.6
    a, there = z.numpy(), present.numpy()
    shared = there.sum(1) >= 2

    def cov(i: int, j: int, rows: NDArray[np.bool_]) -> Array:
        p, q = a[rows, i] - a[rows, i].mean(0), a[rows, j] - a[rows, j].mean(0)
        return np.asarray(p.T @ q / (rows.sum() - 1))

    c = sum(cov(i, j, there[:, i] & there[:, j]) for i in range(3) for j in range(3) if i != j)
    v = np.sum([cov(i, i, there[:, i] & shared) for i in range(3)], axis=0)
    wanted = -2 * np.trace(c) + np.trace(v @ v)
    assert float(eckart_young(z, present, halves=False)) == pytest.approx(wanted, abs=1e-10)


def test_the_halves_make_the_eckart_young_loss_of_small_batches_unbiased() -> None:
    z = torch.stack(related(6000)[:1] * 2, dim=1)[..., :2]
    both = torch.ones(len(z), 2, dtype=torch.bool)
    whole = float(eckart_young(z, both, halves=False))
    errors = {}
    for halves in (True, False):
        parts = [float(eckart_young(p, both[: len(p)], halves=halves)) for p in z.split(8)]
        errors[halves] = (np.mean(parts) - whole) / (np.std(parts) / len(parts) ** 0.5)
    assert abs(errors[True]) < 4
    assert errors[False] > 6


def test_a_modality_of_too_few_rows_takes_no_part_in_the_eckart_young_loss() -> None:
    z, present = normal(40, 3, 2), torch.ones(40, 3, dtype=torch.bool)
    present[3:, 2] = False
    torch.testing.assert_close(eckart_young(z, present), eckart_young(z[:, :2], present[:, :2]))
    wanted = 1 + eckart_young(z[:, :2], present[:, :2]) / 2  # k (M - 1)^2 of the two that take part
    torch.testing.assert_close(made(DCCAEY, space_dim=2).disagreement(z, present), wanted)


# -- contrast and ranking


def numpy_info_nce(x: Array, y: Array, scale: float) -> float:
    s = scale * (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (y / np.linalg.norm(y, axis=1, keepdims=True)).T
    own = np.diag(s)
    return float(((logsumexp(s, axis=1) - own).mean() + (logsumexp(s, axis=0) - own).mean()) / 2)


def test_the_contrastive_penalty_is_the_loss_in_numpy_over_pairs_and_present_rows() -> None:
    present = normal(20, 3, seed=7) > -0.6
    operator = made(Contrastive, weight=0.5, temperature=0.2, space_dim=6)
    tokens = tokens_of(20, present=present)
    z = operator.space(tokens).detach().numpy()
    wanted = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        rows = (present[:, i] & present[:, j]).numpy()
        wanted.append(numpy_info_nce(z[rows, i], z[rows, j], 5.0))
    assert operator(tokens).penalties["contrast"].item() == pytest.approx(0.5 * np.mean(wanted), abs=1e-6)


def test_constant_embeddings_are_told_apart_by_chance() -> None:
    x = torch.full((7, 4), 0.5, dtype=torch.float64)
    rows = torch.tensor([True] * 5 + [False] * 2)
    scale = torch.tensor(14.0, dtype=torch.float64)
    assert float(info_nce(x, x, rows, scale)) == pytest.approx(math.log(5), abs=1e-12)
    assert float(hinge(x, x, rows, margin=0.2, negatives="hardest")) == pytest.approx(0.4, abs=1e-12)


def test_the_contrast_is_symmetric_and_bounded_below_by_zero() -> None:
    x, y = (v / v.norm(dim=1, keepdim=True) for v in (normal(9, 4), normal(9, 4, seed=1)))
    scale, rows = torch.tensor(3.0, dtype=torch.float64), everywhere(x)
    torch.testing.assert_close(info_nce(x, y, rows, scale), info_nce(y, x, rows, scale))
    assert 0 < float(info_nce(x, x, rows, 20 * scale)) < 1e-2


@pytest.mark.parametrize("ridge", [1e-3, 1e-6, 1e-8])
@pytest.mark.parametrize("n_rows", [9, 200])
def test_single_precision_gives_the_correlations_of_double(n_rows: int, ridge: float) -> None:
    x = (normal(n_rows, 3) @ normal(3, 16, seed=1)).float().requires_grad_()
    found = correlation(x, 10 * x, everywhere(x), ridge=ridge)
    wanted = correlation(x.double(), 10 * x.double(), everywhere(x), ridge=ridge)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(wanted.item(), abs=1e-4)
    (slope,) = torch.autograd.grad(found, x)
    assert slope.isfinite().all()


def test_the_temperature_does_not_fall_below_a_hundredth() -> None:
    operator = made(Contrastive)
    tokens = tokens_of(10)
    with torch.no_grad():
        operator.log_scale.fill_(math.log(100.0))
    at_bound = operator(tokens).penalties["contrast"].item()
    with torch.no_grad():
        operator.log_scale.fill_(9.0)
    beyond = operator(tokens).penalties["contrast"]
    assert beyond.item() == pytest.approx(at_bound)
    beyond.backward()
    assert operator.log_scale.grad > 0  # unlike things are told apart too sharply: it comes back


@pytest.mark.parametrize("negatives", ["hardest", "mean"])
def test_the_hinge_is_the_loss_in_numpy(negatives: Any) -> None:
    x, y = (v / v.norm(dim=1, keepdim=True) for v in (normal(9, 3), normal(9, 3, seed=1)))
    rows = normal(9, seed=4) > -0.7
    a, b = x[rows].numpy(), y[rows].numpy()
    s, n = a @ b.T, len(a)
    total = 0.0
    for i in range(n):
        for others in (np.delete(s[i], i), np.delete(s[:, i], i)):
            short = np.maximum(0, 0.2 - s[i, i] + others)
            total += short.max() if negatives == "hardest" else short.mean()
    got = float(hinge(x, y, rows, margin=0.2, negatives=negatives))
    assert got == pytest.approx(total / n, abs=1e-12)


def test_the_hardest_take_over_from_the_mean_during_warmup() -> None:
    tokens, operator, mean = tokens_of(12), made(Ranking, warmup_fraction=0.5), made(Ranking, negatives="mean")
    found = []
    for progress in (0.25, 0.5, 1.0):
        operator.progress = progress
        found.append(operator(tokens).penalties["ranking"].detach())
    torch.testing.assert_close(found[1], found[2])
    torch.testing.assert_close(found[0], (found[1] + mean(tokens).penalties["ranking"]).detach() / 2)
    assert found[0] < found[1]


# -- shared and private


def numpy_cmd(x: Array, y: Array, n_moments: int) -> float:
    total = np.linalg.norm(x.mean(0) - y.mean(0))
    for j in range(2, n_moments + 1):
        total += np.linalg.norm(((x - x.mean(0)) ** j).mean(0) - ((y - y.mean(0)) ** j).mean(0))
    return float(total)


def test_the_moment_discrepancy_is_the_formula_in_numpy_symmetric_and_zero_at_itself() -> None:
    x, y = normal(40, 3).sigmoid(), normal(40, 3, seed=1).mul(2).sigmoid()
    rows = normal(40, seed=2) > -0.5
    got = moment_discrepancy(x, y, rows)
    assert float(got) == pytest.approx(numpy_cmd(x[rows].numpy(), y[rows].numpy(), 5), abs=1e-12)
    torch.testing.assert_close(got, moment_discrepancy(y, x, rows))
    same = x.clone().requires_grad_()
    zero = moment_discrepancy(same, x, rows)
    zero.backward()
    assert zero.item() == 0
    assert same.grad is not None
    assert same.grad.isfinite().all()


def test_what_is_orthogonal_does_not_overlap_and_what_is_equal_overlaps_wholly_in_one_dimension() -> None:
    q = torch.linalg.qr(torch.cat([torch.ones(8, 1, dtype=torch.float64), normal(8, 4)], 1)).Q[:, 1:]
    # rows of one length, columns orthogonal to each other and to the mean
    hadamard = torch.tensor([[1, 1], [1, -1]], dtype=torch.float64)
    hadamard = torch.kron(torch.kron(hadamard, hadamard), hadamard)
    assert float(overlap(hadamard[:, 1:3], hadamard[:, 3:5], everywhere(q))) == pytest.approx(0, abs=1e-12)
    assert float(overlap(q[:, :1], -q[:, :1], everywhere(q))) == pytest.approx(1, abs=1e-12)
    assert float(overlap(q[:1], q[:1], everywhere(q[:1]))) == 0


def test_the_overlap_is_the_formula_in_numpy() -> None:
    x, y = normal(20, 3), normal(20, 4, seed=1)
    a, b = (v - v.mean(0) for v in (x.numpy(), y.numpy()))
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    wanted = np.square(a.T @ b / 20).sum()
    assert float(overlap(x, y, everywhere(x))) == pytest.approx(wanted, abs=1e-12)
    assert 0 < wanted < 1


def test_factors_scale_the_penalties_of_shared_private() -> None:
    tokens = tokens_of(20)
    one = made(SharedPrivate, difference=1.0, similarity=1.0, reconstruction=1.0)(tokens).penalties
    other = made(SharedPrivate, difference=0.5, similarity=0.0, reconstruction=2.0)(tokens).penalties
    for name, factor in (("difference", 0.5), ("similarity", 0.0), ("reconstruction", 2.0)):
        assert one[name].item() > 0
        torch.testing.assert_close(other[name], factor * one[name])


def test_the_difference_of_shared_private_is_a_mean_over_what_there_are_rows_for() -> None:
    tokens = tokens_of(20)
    operator = made(SharedPrivate, difference=1.0)
    _, shared, private = operator._split(tokens)
    rows = torch.ones(20, dtype=torch.bool)
    wanted = [overlap(shared[:, m], private[:, m], rows) for m in range(2)] + [
        overlap(private[:, 0], private[:, 1], rows)
    ]
    present = torch.tensor([True, True, False]).expand(20, 3)
    found = operator(tokens_of(20, present=present)).penalties["difference"]
    torch.testing.assert_close(found, torch.stack(wanted).mean())


# -- what all of them keep


@pytest.mark.parametrize("make", OPERATORS)
@pytest.mark.parametrize("n_shared", [0, 1])
def test_without_two_rows_that_share_modalities_nothing_has_to_agree(make: Any, n_shared: int) -> None:
    present = torch.eye(3, dtype=torch.bool).repeat(4, 1)
    present[:n_shared] = True
    operator = made(make)
    fused: dict[str, Tensor] = operator(tokens_of(12, present=present)).penalties
    agreement = fused["similarity"] if isinstance(operator, SharedPrivate) else next(iter(fused.values()))
    assert agreement.item() == 0
    torch.stack(list(fused.values())).sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in operator.parameters())


@pytest.mark.parametrize("make", OPERATORS)
def test_prediction_does_not_pay_for_the_penalty(make: Any) -> None:
    operator, tokens = made(make), tokens_of(6)
    with torch.no_grad():
        quick = operator(tokens)
    assert quick.penalties == {}
    assert torch.equal(quick.vector, operator(tokens).vector)


@pytest.mark.parametrize("make", OPERATORS)
def test_one_modality_has_nothing_to_agree_with(make: Any) -> None:
    operator: Fusion = make({"a": 5}, 8)
    penalties = operator({"a": Tokens.vector(torch.randn(6, 5))}).penalties
    assert all(name in ("difference", "reconstruction") for name, p in penalties.items() if p.item())


@pytest.mark.parametrize("make", OPERATORS)
@pytest.mark.parametrize("precision", [torch.bfloat16, "autocast"])
def test_half_precision_gives_finite_penalties(make: Any, precision: Any) -> None:
    dtype = torch.float32 if precision == "autocast" else precision
    tokens = {k: Tokens(t.values.to(dtype), t.mask) for k, t in tokens_of(30).items()}
    operator = made(make).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        fused = operator(tokens)
    total = torch.stack(list(fused.penalties.values())).sum()
    total.backward()
    assert total.isfinite()
    assert all(p.grad.isfinite().all() for p in operator.parameters() if p.grad is not None)


@pytest.mark.parametrize("make", COORDINATED)
def test_coordinates_have_length_one_and_are_zero_where_absent(make: Any) -> None:
    present = normal(10, 3, seed=3) > 0
    operator: CoordinatedFusion = made(make)
    found = operator.coordinates(tokens_of(10, present=present))
    assert list(found) == ["a", "b", "c"]
    lengths = torch.stack([v.norm(dim=1) for v in found.values()], dim=1)
    torch.testing.assert_close(lengths, present.double())


@pytest.mark.parametrize("make", [DCCA, DCCAEY, Contrastive, Ranking])
def test_training_on_the_penalty_alone_lowers_it_on_other_rows(make: Any) -> None:
    x, y = (torch.cat([v, normal(512, 6, seed=30 + i)], 1) for i, v in enumerate(related(512)))  # and as much noise
    torch.manual_seed(0)
    operator = make({"x": 10, "y": 9}, 8, space_dim=2, weight=1.0).double()
    optimizer = torch.optim.Adam(operator.parameters(), lr=0.02)

    def penalty(rows: slice) -> Tensor:
        fused = operator({"x": Tokens.vector(x[rows]), "y": Tokens.vector(y[rows])})
        value: Tensor = next(iter(fused.penalties.values()))
        return value

    held_out = slice(384, 512)
    before = penalty(held_out).item()
    for _ in range(30):
        optimizer.zero_grad()
        penalty(slice(0, 384)).backward()
        optimizer.step()
    assert penalty(held_out).item() < 0.9 * before


@pytest.mark.parametrize(
    ("make", "options", "told"),
    [
        (DCCA, {"space_dim": 0}, "space_dim must be at least 1"),
        (DCCA, {"norm": "trace"}, "norm must be 'nuclear' or 'fro2'"),
        (DCCA, {"ridge": 0.0}, "ridge above 0"),
        (DCCAEY, {"weight": -1.0}, "weight at least 0"),
        (Contrastive, {"temperature": 2.0}, "temperature must be 0.01 to 1"),
        (Ranking, {"margin": 0.0}, "margin must be above 0"),
        (Ranking, {"warmup_fraction": 2.0}, "warmup_fraction 0 to 1; got .*warmup_fraction=2.0"),
        (Ranking, {"negatives": "easy"}, "negatives 'hardest' or 'mean'"),
        (SharedPrivate, {"n_moments": 0}, "n_moments at least 1"),
        (SharedPrivate, {"n_heads": 3}, "n_heads must be at least 1 and divide width"),
    ],
)
def test_an_option_out_of_range_is_told(make: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make(WIDTHS, 8, **options)
