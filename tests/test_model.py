"""What the architecture promises, whatever its weights."""

import numpy as np
import pytest
import torch

from poyo.config import Windows
from poyo.model import POYO, Dropout, RotaryTime, rotate
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
    fixed = latents("laptop", Windows(length=1.0, latent_step=0.125, eval_step=0.5))
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
    x = torch.randn(5, 2, 64, generator=torch.Generator().manual_seed(0))
    times = torch.linspace(0, 1, 5)
    angle = times[:, None, None] * RotaryTime().omega[:16]
    cos, sin = angle.cos(), angle.sin()
    first, second = x[..., 0:32:2], x[..., 1:32:2]
    expected = x.clone()
    expected[..., 0:32:2] = first * cos - second * sin
    expected[..., 1:32:2] = first * sin + second * cos
    turned = rotate(x, RotaryTime()(times))
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(rotate(turned, RotaryTime()(times).conj()), x, rtol=0, atol=1e-5)


def test_the_gradient_of_a_rotation_is_its_inverse():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(5, 2, 64, generator=generator, requires_grad=True) for _ in range(2))
    rotation = RotaryTime()(torch.linspace(0, 1, 5))
    (rotate(x, rotation) * y).sum().backward()
    torch.testing.assert_close(x.grad, rotate(y, rotation.conj()).detach(), rtol=0, atol=1e-5)


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
