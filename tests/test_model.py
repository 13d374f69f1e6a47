"""What the architecture promises, whatever its weights."""

import numpy as np
import pytest
import torch

from poyo import attention, threads
from poyo.attention import RotaryTime, attend, rotate_, seeded
from poyo.config import Windows
from poyo.model import POYO, Dropout
from poyo.tokens import cut, latents

STARTS = np.array([3.0, 20.5, 33.3, 59.7])
INPUT = ("input_unit_index", "input_timestamps", "input_token_type", "input_mask")
OUTPUT = ("output_timestamps", "output_mask")


@pytest.fixture(scope="module")
def model(simulated) -> POYO:
    torch.manual_seed(0)
    return POYO(size="laptop", units=1 + len(simulated.unit_ids), sessions=2).eval()


@pytest.fixture
def batch(simulated, prepared) -> dict[str, torch.Tensor]:
    """Four ragged windows; the last is cut short by the end of the recording."""
    return window(prepared(simulated), STARTS)


def window(sessions, starts) -> dict[str, torch.Tensor]:
    fixed = latents("laptop", Windows(length=1.0, latent_step=0.125, eval_step=0.5, queries=1000))
    return cut(sessions, np.zeros(len(starts), dtype=int), np.array(starts), 1.0) | fixed


def close(one, two, atol=2e-6) -> None:
    assert one.abs().max() > 1e-2
    torch.testing.assert_close(one, two, rtol=0, atol=atol)


# --- the batch is only a way to compute -------------------------------------------------------


def test_decoding_twice_gives_the_same_bits(model, batch):
    assert torch.equal(model(**batch), model(**batch))


def test_masked_outputs_are_zero(model, batch):
    out = model(**batch)
    assert (~batch["output_mask"]).any()
    assert (out[~batch["output_mask"]] == 0).all()


def test_more_padding_with_anything_in_it_changes_nothing(model, batch):
    expected = model(**batch)
    garbage = {"input_unit_index": 7, "input_timestamps": 1e4, "input_token_type": 3}
    padded = dict(batch)
    for key in INPUT:
        rest = batch[key].masked_fill(~batch["input_mask"], garbage.get(key, False))
        extra = torch.full((4, 24), garbage.get(key, False), dtype=rest.dtype)
        padded[key] = torch.cat([rest, extra], 1)
    for key in OUTPUT:
        fill = float("nan") if key == "output_timestamps" else False
        rest = batch[key].masked_fill(~batch["output_mask"], fill)
        padded[key] = torch.cat([rest, torch.full((4, 5), fill, dtype=rest.dtype)], 1)
    out = model(**padded)
    assert (out[:, expected.shape[1] :] == 0).all()
    close(expected, out[:, : expected.shape[1]])


def test_the_order_of_tokens_does_not_matter(model, batch):
    order = torch.randperm(batch["input_mask"].shape[1])
    shuffled = batch | {key: batch[key][:, order] for key in INPUT}
    close(model(**batch), model(**shuffled))


def test_the_order_of_queries_does_not_matter(model, batch):
    order = torch.randperm(batch["output_mask"].shape[1])
    shuffled = batch | {key: batch[key][:, order] for key in OUTPUT}
    close(model(**batch)[:, order], model(**shuffled))


def test_a_window_decodes_the_same_alone(model, batch, simulated, prepared):
    together = model(**batch)
    for i, start in enumerate(STARTS):
        alone = model(**window(prepared(simulated), [start]))
        close(alone[0], together[i, : alone.shape[1]])


def test_a_query_does_not_see_the_others(model, batch):
    fewer = batch | {key: batch[key][:, ::3] for key in OUTPUT}
    close(model(**batch)[:, ::3], model(**fewer))


# --- what does matter -------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["input_unit_index", "input_timestamps", "input_token_type"])
def test_what_a_token_says_matters(model, batch, key):
    other = batch | {key: torch.roll(batch[key], 1, 1)}
    assert (model(**batch) - model(**other))[batch["output_mask"]].abs().max() > 1e-4


def test_the_session_and_the_time_asked_for_matter(model, batch):
    expected = model(**batch)[0]
    session = batch | {"session_index": torch.zeros_like(batch["session_index"])}
    later = batch | {"output_timestamps": batch["output_timestamps"] + 0.3}
    for other in (session, later):
        assert (model(**other)[0] - expected).abs().max() > 1e-4


def test_every_parameter_learns(simulated, batch):
    torch.manual_seed(1)
    model = POYO(size="laptop", units=1 + len(simulated.unit_ids), sessions=2).train()
    model(**batch).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_only_units_of_the_batch_get_a_gradient(model, batch):
    model.zero_grad()
    model(**batch).square().sum().backward()
    seen = model.unit_emb.weight.grad.abs().sum(1) > 0
    assert not seen[0]  # padding points at row 0
    assert seen[1:].all()


# --- time -------------------------------------------------------------------------------------


def shifted(batch, dt: float, keys=("input", "latent", "output")) -> dict:
    """The batch with the times of tokens, latents and queries moved by dt."""
    moved = {f"{key}_timestamps": batch[f"{key}_timestamps"] + dt for key in keys}
    return batch | moved


@pytest.fixture
def exact(model, batch) -> tuple[POYO, dict]:
    """The model in double, with times and frequencies of so few bits that angles are exact.

    Times are multiples of 2^-10 s and frequencies have 11 significant bits: their float32
    products do not round, and what is left is the rounding of the rotation itself.
    """
    twin = POYO(size="laptop", units=model.unit_emb.num_embeddings, sessions=2).double().eval()
    twin.load_state_dict(model.state_dict())
    twin.rotary_emb = RotaryTime()
    mantissa, exponent = torch.frexp(twin.rotary_emb.omega)
    twin.rotary_emb.omega = torch.ldexp((mantissa * 2**11).round() / 2**11, exponent)
    for key in ("input", "latent", "output"):
        name = f"{key}_timestamps"
        batch[name] = (batch[name] * 1024).round() / 1024
    return twin, batch


@pytest.mark.parametrize("dt", [0.25, -0.5, 1.0])
def test_only_relative_times_matter(exact, dt):
    model, batch = exact
    close(model(**batch), model(**shifted(batch, dt)), atol=1e-5)


@pytest.mark.parametrize("left_behind", ["input", "latent", "output"])
def test_every_one_of_the_three_times_counts(exact, left_behind):
    model, batch = exact
    keys = {"input", "latent", "output"} - {left_behind}
    assert (model(**batch) - model(**shifted(batch, 0.25, keys))).abs().max() > 1e-3


def test_only_relative_times_matter_at_the_papers_frequencies(model, batch):
    # at 0.1 ms a float32 angle of a second is off by some 4e-3 rad, so this is only nearly so
    close(model(**batch), model(**shifted(batch, 0.25)), atol=1e-3)


def test_periods_are_log_spaced_from_a_tenth_of_a_millisecond_to_two_seconds():
    omega = RotaryTime().omega.double()
    period = 2 * np.pi / omega[:16]
    expected = 1e-4 * (4.0 / 1e-4) ** (2 * torch.arange(16) / 32)  # the paper's own formula
    torch.testing.assert_close(period, expected.double(), rtol=1e-4, atol=0)
    assert (omega[16:] == 0).all()


def test_rotation_turns_pairs_of_the_first_half():
    x = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0))
    times = torch.linspace(0, 1, 5)
    angle = times[:, None] * RotaryTime().omega[:16]
    cos, sin = angle.cos(), angle.sin()
    first, second = x[..., 0:32:2], x[..., 1:32:2]
    expected = x.clone()
    expected[..., 0:32:2] = first * cos - second * sin
    expected[..., 1:32:2] = first * sin + second * cos
    turned = rotate_(x.clone(), RotaryTime()(times))
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-5)
    back = rotate_(turned, RotaryTime()(times).conj())
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5)


# --- attention --------------------------------------------------------------------------------

H, K, T, LENGTHS = 2, 64, 5, [7, 3, 4]


def heads(x: torch.Tensor) -> torch.Tensor:
    """(T, H*K) -> (H, T, K)"""
    return x.unflatten(-1, (-1, K)).transpose(0, 1)


def plainly(q, kv, q_rotation, kv_rotation, rotate_values) -> torch.Tensor:
    """One window, (T, HK) and (N, 2HK), by the formula of the paper."""

    def rotated(x, rotation):
        pairs = x[..., :32].unflatten(-1, (-1, 2))
        pairs = torch.view_as_complex(pairs.contiguous()) * rotation
        return torch.cat([torch.view_as_real(pairs).flatten(-2), x[..., 32:]], dim=-1)

    q, k, v = heads(q), *map(heads, kv.chunk(2, dim=-1))
    q, k = rotated(q, q_rotation), rotated(k, kv_rotation)
    v = rotated(v, kv_rotation) if rotate_values else v
    out = (q @ k.mT / K**0.5).softmax(-1) @ v
    out = rotated(out, q_rotation.conj()) if rotate_values else out
    return out.transpose(0, 1).flatten(-2)


def problem(ragged: bool, dtype=torch.float64):
    """q, kv, their rotations and lengths of three windows of a few queries and tokens."""
    generator = torch.Generator().manual_seed(0)
    n, windows = (sum(LENGTHS), 1) if ragged else (6, 3)
    q = torch.randn(windows, T, H * K, generator=generator, dtype=dtype, requires_grad=True)
    kv = torch.randn(windows, n, 2 * H * K, generator=generator, dtype=dtype, requires_grad=True)
    rotary = RotaryTime()
    rotations = (
        rotary(torch.rand(T, generator=generator)),
        rotary(torch.rand(n, generator=generator)),
    )
    return q, kv, *rotations, LENGTHS if ragged else None


@pytest.mark.parametrize("rotate_values", [True, False])
@pytest.mark.parametrize("ragged", [True, False])
def test_attention_is_the_papers_formula(ragged, rotate_values):
    q, kv, q_rotation, kv_rotation, lengths = problem(ragged)
    if ragged:
        parts = zip(kv[0].split(LENGTHS), kv_rotation.split(LENGTHS))
        expected = [plainly(q[0], kv_, q_rotation, r, rotate_values) for kv_, r in parts]
    else:
        expected = [plainly(*one, q_rotation, kv_rotation, rotate_values) for one in zip(q, kv)]
    expected = torch.stack(expected)
    options = {"lengths": lengths, "dropout": 0.0, "rotate_values": rotate_values}
    out = attend(q, kv, q_rotation, kv_rotation, **options)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6)
    w = torch.randn_like(out)
    gradients = (torch.autograd.grad((x * w).sum(), (q, kv)) for x in (out, expected))
    for one, two in zip(*gradients):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)
    with torch.no_grad():  # decoding takes another way
        out = attend(q.clone(), kv.clone(), q_rotation, kv_rotation, **options)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6)


def test_packing_for_a_gpu_is_the_same(monkeypatch):
    def window_by_window(q, k, v, q_ends, k_ends, longest_q, longest_k):
        """What torch documents of `varlen_attn`, which needs a GPU."""
        assert (longest_q, longest_k) == (T, max(LENGTHS))
        cuts = zip(q_ends[:-1], q_ends[1:], k_ends[:-1], k_ends[1:])
        parts = [[x.transpose(0, 1) for x in (q[a:b], k[c:d], v[c:d])] for a, b, c, d in cuts]
        attend = torch.nn.functional.scaled_dot_product_attention
        return torch.cat([attend(*part).transpose(0, 1) for part in parts])

    monkeypatch.setattr(attention, "varlen_attn", window_by_window)
    q, kv, q_rotation, kv_rotation, lengths = problem(ragged=True)
    expected = attend(q, kv, q_rotation, kv_rotation, lengths=lengths, dropout=0.0)
    q = rotate_(heads(q[0].detach().clone())[:, None], q_rotation)
    kv = rotate_(heads(kv[0].detach().clone())[:, None], kv_rotation)
    out = attention._packed(q, *kv.chunk(2), lengths)
    back = rotate_(out.unflatten(-1, (H, K)).transpose(1, 2), q_rotation.conj())
    torch.testing.assert_close(back.transpose(1, 2).flatten(-2), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ragged", [True, False])
def test_the_gradient_is_right_under_dropout_of_the_weights(ragged):
    q, kv, *rest, lengths = problem(ragged)
    rest = [rotation.to(torch.complex128) for rotation in rest]

    def out(q, kv):
        with seeded((1,), torch.device("cpu")):
            return attend(q, kv, *rest, lengths=lengths, dropout=0.3)

    assert (out(q, kv) - attend(q, kv, *rest, lengths=lengths, dropout=0.0)).abs().max() > 0.1
    torch.autograd.gradcheck(out, (q, kv), eps=1e-6, atol=1e-6, fast_mode=True)


def test_dropout_of_the_weights_keeps_the_mean():
    q, kv, *rest, lengths = problem(ragged=True, dtype=torch.float32)
    expected = attend(q, kv, *rest, lengths=lengths, dropout=0.0)
    torch.manual_seed(0)
    many = [attend(q, kv, *rest, lengths=lengths, dropout=0.2) for _ in range(2000)]
    many = torch.stack(many)
    assert ((many.mean(0) - expected).abs() / (many.std(0) / 2000**0.5)).max() < 5.5


def test_attention_in_bfloat16_is_that_in_float32(model, batch):
    expected = model(**batch)
    for context in (torch.no_grad, torch.enable_grad):  # what a GPU computes with
        with context(), torch.autocast("cpu", torch.bfloat16):
            out = model(**batch)
        assert (out.float() - expected).abs().max() < 0.03 * expected.abs().max()
    out.float().square().sum().backward()
    assert model.unit_emb.weight.grad.isfinite().all()


# --- dropout ----------------------------------------------------------------------------------


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


def test_dropout_draws_alike_from_the_same_seed_in_any_thread():
    x = torch.ones(1000)
    drop = Dropout(0.4)

    def draw(seed):
        with seeded((seed, 7), torch.device("cpu")):
            return drop(x)

    threads.use(2)
    one, two, again = threads.run(draw, [1, 2, 1])
    assert torch.equal(one, again) and not torch.equal(one, two)
    state = torch.get_rng_state()
    draw(1)
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is left alone
