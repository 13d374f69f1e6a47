"""The plain attention is the paper's formula; the fast one gives its numbers and gradients."""

import numpy as np
import pytest
import torch

from poyo import kernels, threads
from poyo.attention import RotaryTime, attend, merge_heads, rotate, split_heads
from poyo.dropout import Dropout, keep_mask, seeded
from poyo.kernels import attend_, rotate_

CPU = torch.device("cpu")
H, K, T, LENGTHS = 2, 64, 5, [7, 3, 4]


# --- rotations --------------------------------------------------------------------------------


def test_periods_are_log_spaced_from_a_tenth_of_a_millisecond_to_two_seconds():
    omega = RotaryTime().omega.double()
    period = 2 * np.pi / omega[:16]
    expected = 1e-4 * (4.0 / 1e-4) ** (2 * torch.arange(16) / 32)  # the paper's own formula
    torch.testing.assert_close(period, expected.double(), rtol=1e-4, atol=0)
    assert (omega[16:] == 0).all()


def turning(rotation: torch.Tensor) -> torch.Tensor:
    """The (K, K) matrix of the rotation by one time, (K/4,)"""
    matrix = torch.eye(K, dtype=torch.float64)
    for i, angle in enumerate(rotation.angle().tolist()):
        cos, sin = np.cos(angle), np.sin(angle)
        matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor([[cos, -sin], [sin, cos]])
    return matrix


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_rotation_turns_pairs_of_the_first_half_and_back(dtype):
    atol = 1e-2 if dtype is torch.bfloat16 else 1e-5
    x = torch.randn(2, 5, K, generator=torch.Generator().manual_seed(0), dtype=dtype)
    rotation = RotaryTime()(torch.linspace(0, 1, 5))
    before, turned = x.clone(), rotate(x, rotation)
    assert torch.equal(x, before), "rotate overwrites nothing"
    expected = torch.stack([x[:, i].double() @ turning(r).T for i, r in enumerate(rotation)], 1)
    torch.testing.assert_close(turned.double(), expected, rtol=0, atol=atol)
    back = rotate(turned.to(dtype), rotation.conj())
    torch.testing.assert_close(back.double(), x.double(), rtol=0, atol=2 * atol)
    twin = x.clone()
    assert rotate_(twin, rotation) is twin and twin.dtype == dtype
    torch.testing.assert_close(twin.double(), turned.double(), rtol=0, atol=atol)


# --- the paper's formula ----------------------------------------------------------------------


def problem(kind: str, dtype=torch.float64) -> tuple[list[torch.Tensor], dict]:
    """Arguments of `attend` for three windows of a few queries and tokens.

    kind: "dense", "ragged" windows of differing lengths, "own times" of every window's queries.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()

    n, windows = (sum(LENGTHS), 1) if kind == "ragged" else (6, 3)
    times = [torch.rand(T, generator=generator), torch.rand(n, generator=generator)]
    if kind == "own times":
        times[0] = torch.rand(windows, T, generator=generator)
    rotations = [RotaryTime()(t) for t in times]
    arguments = [normal(windows, T, H * K), normal(windows, n, 2 * H * K), *rotations]
    return arguments, {"lengths": LENGTHS if kind == "ragged" else None}


def by_hand(q, kv, q_rotation, kv_rotation, rotate_values) -> torch.Tensor:
    """One window, (T, HK) and (N, 2HK): head by head and query by query."""
    turn_q, turn_kv = [turning(r) for r in q_rotation], [turning(r) for r in kv_rotation]
    out = torch.zeros(len(q), H, K, dtype=torch.float64)
    for h in range(H):
        own = slice(h * K, (h + 1) * K)
        keys, values = kv[:, : H * K][:, own], kv[:, H * K :][:, own]
        for t, query in enumerate(q[:, own]):
            scores = [(turn_q[t] @ query) @ (r @ k) / K**0.5 for r, k in zip(turn_kv, keys)]
            weights = torch.stack(scores).softmax(0)
            if rotate_values:
                seen = [turn_q[t].T @ r @ v for r, v in zip(turn_kv, values)]
            else:
                seen = list(values)
            out[t, h] = sum(w * v for w, v in zip(weights, seen))
    return out.flatten(1)


@pytest.mark.parametrize("rotate_values", [True, False])
@pytest.mark.parametrize("kind", ["dense", "ragged", "own times"])
def test_attention_is_the_papers_formula(kind, rotate_values):
    (q, kv, q_rotation, kv_rotation), options = problem(kind)
    before = [x.detach().clone() for x in (q, kv)]
    out = attend(q, kv, q_rotation, kv_rotation, **options, rotate_values=rotate_values)
    for i, one in enumerate(out):
        queries = q_rotation[i] if kind == "own times" else q_rotation
        if kind == "ragged":
            window = q[0], kv[0].split(LENGTHS)[i], queries, kv_rotation.split(LENGTHS)[i]
        else:
            window = q[i], kv[i], queries, kv_rotation
        expected = by_hand(*window, rotate_values)
        torch.testing.assert_close(one, expected, rtol=0, atol=1e-6)
    assert torch.equal(q, before[0]) and torch.equal(kv, before[1]), "attend overwrites nothing"


# --- the fast way -----------------------------------------------------------------------------


def value_and_gradients(function, arguments, options) -> list[torch.Tensor]:
    q, kv, *rotations = arguments
    with seeded((1,), CPU):
        out = function(q, kv, *rotations, **options)
    w = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return [out, *torch.autograd.grad((out * w).sum(), (q, kv))]


@pytest.mark.parametrize("dtype, atol", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("rotate_values", [True, False])
@pytest.mark.parametrize("kind", ["dense", "ragged", "own times"])
def test_the_fast_attention_is_the_plain_one(kind, rotate_values, dropout, dtype, atol):
    arguments, options = problem(kind, dtype)
    options |= {"rotate_values": rotate_values, "dropout": dropout}
    plain = value_and_gradients(attend, arguments, options)
    fast = value_and_gradients(attend_, arguments, options)
    for one, two in zip(plain, fast):
        assert one.dtype == two.dtype == dtype and one.abs().max() > 0.1
        torch.testing.assert_close(two, one, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype, atol", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("rotate_values", [True, False])
@pytest.mark.parametrize("kind", ["dense", "ragged", "own times"])
def test_decoding_fast_is_decoding_plainly(kind, rotate_values, dtype, atol):
    (q, kv, *rotations), options = problem(kind, dtype)
    options["rotate_values"] = rotate_values
    with torch.no_grad():  # another kernel than in training
        expected = attend(q, kv, *rotations, **options)
        out = attend_(q.clone(), kv.clone(), *rotations, **options)
    torch.testing.assert_close(out, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("rotate_values", [True, False])
@pytest.mark.parametrize("kind", ["dense", "ragged", "own times"])
def test_in_half_precision_it_is_nearly_the_plain_one(kind, rotate_values):
    arguments, options = problem(kind, torch.float32)
    options["rotate_values"] = rotate_values
    plain = value_and_gradients(attend, arguments, options)

    def in_half(q, kv, *rotations, **options):
        return attend_(q.bfloat16(), kv.bfloat16(), *rotations, **options)

    fast = value_and_gradients(in_half, arguments, options)
    for one, two in zip(plain, fast):
        assert (one - two).abs().max() < 0.03 * one.abs().max()


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("kind", ["dense", "ragged", "own times"])
def test_the_fast_attention_leaves_the_rotations(kind, grad):
    (q, kv, *rotations), options = problem(kind)  # which all layers share
    before = [rotation.clone() for rotation in rotations]
    with torch.set_grad_enabled(grad):
        out = attend_(q.clone(), kv.clone(), *rotations, **options)
        if grad:
            out.sum().backward()
    assert all(torch.equal(one, two) for one, two in zip(rotations, before))


@pytest.mark.parametrize("kind", ["dense", "ragged"])
def test_the_gradient_by_hand_is_right_under_dropout(kind):
    (q, kv, *rotations), options = problem(kind)
    rotations = [rotation.to(torch.complex128) for rotation in rotations]

    def out(q, kv):
        with seeded((1,), CPU):
            return attend_(q, kv, *rotations, **options, dropout=0.3)

    assert (out(q, kv) - attend_(q, kv, *rotations, **options)).abs().max() > 0.1
    torch.autograd.gradcheck(out, (q, kv), eps=1e-6, atol=1e-6, fast_mode=True)


def test_packing_for_a_gpu_is_the_same(monkeypatch):
    def window_by_window(q, k, v, q_ends, k_ends, longest_q, longest_k):
        """What torch documents of `varlen_attn`, which needs a GPU."""
        assert (longest_q, longest_k) == (T, max(LENGTHS))
        cuts = zip(q_ends[:-1], q_ends[1:], k_ends[:-1], k_ends[1:])
        parts = [[x.transpose(0, 1) for x in (q[a:b], k[c:d], v[c:d])] for a, b, c, d in cuts]
        fused = torch.nn.functional.scaled_dot_product_attention
        return torch.cat([fused(*part).transpose(0, 1) for part in parts])

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", window_by_window)
    (q, kv, q_rotation, kv_rotation), options = problem("ragged")
    expected = attend(q, kv, q_rotation, kv_rotation, **options)
    q, kv = (split_heads(x.detach()) for x in (q, kv))
    q, kv = rotate(q, q_rotation), rotate(kv, kv_rotation)
    out = kernels._packed(q, *kv.chunk(2), LENGTHS)
    back = merge_heads(rotate(split_heads(out), q_rotation.conj()))
    torch.testing.assert_close(back, expected, rtol=0, atol=1e-6)


# --- dropout ----------------------------------------------------------------------------------


def test_dropout_of_the_weights_keeps_the_mean():
    (q, kv, *rotations), options = problem("ragged", torch.float32)
    expected = attend(q, kv, *rotations, **options)
    torch.manual_seed(0)
    with torch.no_grad():
        many = [attend(q, kv, *rotations, **options, dropout=0.2) for _ in range(2000)]
    many = torch.stack(many)
    assert ((many.mean(0) - expected).abs() / (many.std(0) / 2000**0.5)).max() < 5.5


@pytest.mark.parametrize("p", [0.2, 0.4])
def test_dropout_drops_its_share_and_keeps_the_mean(p):
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(500, 401))
    assert (out == 0).double().mean() == pytest.approx(p, abs=0.005)
    assert out.double().mean() == pytest.approx(1, abs=0.01)
    assert len(out.unique()) == 2


def test_dropout_is_off_in_evaluation_and_at_zero():
    x = torch.randn(7, 3)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_a_dropped_element_gets_no_gradient():
    torch.manual_seed(0)
    x = torch.ones(1000, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test_what_is_dropped_does_not_depend_on_what_is_there():
    masks = []
    for like in (torch.zeros(7, 9), torch.randn(7, 9, dtype=torch.float64)):
        with seeded((3,), CPU):
            mask, scale = keep_mask(like, 0.25)
        assert mask.dtype == like.dtype and scale == pytest.approx(4 / 3)
        masks.append(mask.double())
    assert torch.equal(*masks)


def test_dropout_draws_alike_from_the_same_seed_in_any_thread():
    x = torch.ones(1000)
    drop = Dropout(0.4)

    def draw(seed):
        with seeded((seed, 7), CPU):
            return drop(x)

    threads.use(2)
    one, two, again = threads.run(draw, [1, 2, 1])
    assert torch.equal(one, again) and not torch.equal(one, two)
    state = torch.get_rng_state()
    draw(1)
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is left alone
