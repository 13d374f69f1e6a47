"""What the architecture promises, whatever its weights."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from poyo.attention import RotaryTime
from poyo.config import Windows
from poyo.dropout import Dropout
from poyo.model import POYO, SIZES, Attention
from poyo.tokens import tokenize

STARTS = np.array([3.0, 20.5, 33.3, 59.7])
INPUT = ("input_unit_index", "input_timestamps", "input_token_type", "input_mask")
OUTPUT = ("output_timestamps", "output_mask")


def poyo(recording, size="laptop", **more) -> POYO:
    return POYO(size=SIZES[size], units=1 + len(recording.unit_ids), sessions=2, **more)


@pytest.fixture(scope="module")
def model(simulated) -> POYO:
    torch.manual_seed(0)
    return poyo(simulated).eval()


@pytest.fixture
def batch(simulated, prepared) -> dict[str, torch.Tensor]:
    """Four ragged windows; the last is cut short by the end of the recording."""
    return window(prepared(simulated), STARTS)


def window(sessions, starts) -> dict[str, torch.Tensor]:
    return tokenize(sessions, np.zeros(len(starts), dtype=int), np.array(starts), 1.0)


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
    model = poyo(simulated).train()
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

TIMES = "input", "latent", "output"


def shifted(model, batch, dt: float, which=TIMES) -> torch.Tensor:
    """What is decoded with the times of tokens, latents and queries moved by dt."""
    twin = deepcopy(model)
    if "latent" in which:
        twin.latent_timestamps += dt
    keys = [f"{one}_timestamps" for one in which if one != "latent"]
    return twin(**batch | {key: batch[key] + dt for key in keys})


@pytest.fixture
def exact(model, batch) -> tuple[POYO, dict]:
    """The model in double, with times and frequencies of so few bits that angles are exact.

    Times are multiples of 2^-10 s and frequencies have 11 significant bits: their float32
    products do not round, and what is left is the rounding of the rotation itself.
    """
    twin = deepcopy(model).double()
    twin.rotary_emb = RotaryTime()
    mantissa, exponent = torch.frexp(twin.rotary_emb.omega)
    twin.rotary_emb.omega = torch.ldexp((mantissa * 2**11).round() / 2**11, exponent)
    for name in ("input_timestamps", "output_timestamps"):
        batch[name] = (batch[name] * 1024).round() / 1024
    return twin, batch


@pytest.mark.parametrize("dt", [0.25, -0.5, 1.0])
def test_only_relative_times_matter(exact, dt):
    model, batch = exact
    close(model(**batch), shifted(model, batch, dt), atol=1e-5)


@pytest.mark.parametrize("left_behind", TIMES)
def test_every_one_of_the_three_times_counts(exact, left_behind):
    model, batch = exact
    rest = [which for which in TIMES if which != left_behind]
    assert (model(**batch) - shifted(model, batch, 0.25, rest)).abs().max() > 1e-3


def test_only_relative_times_matter_at_the_papers_frequencies(model, batch):
    # at 0.1 ms a float32 angle of a second is off by some 4e-3 rad, so this is only nearly so
    close(model(**batch), shifted(model, batch, 0.25), atol=1e-3)


@pytest.mark.parametrize("length, step", [(1.0, 0.125), (2.0, 0.5)])
@pytest.mark.parametrize("size", ["smoke", "1.3M"])
def test_every_latent_stands_once_at_the_middle_of_every_step(easy, size, length, step):
    model = poyo(easy(), size, windows=Windows(length=length, latent_step=step))
    k = SIZES[size].latents_per_step
    pairs = list(zip(model.latent_index.tolist(), model.latent_timestamps.tolist()))
    steps = round(length / step)
    assert set(pairs) == {(i, (n + 0.5) * step) for i in range(k) for n in range(steps)}
    assert len(pairs) == steps * k
    assert not [name for name in model.state_dict() if "latent_" in name and "emb" not in name]


# --- what training asks of it -----------------------------------------------------------------


def test_every_parameter_is_in_one_group(model):
    groups = model.groups()
    names = {id(p): name for name, p in model.named_parameters()}
    found = {group: {names.pop(id(p)) for p in some} for group, some in groups.items()}
    assert not names
    assert found["embeddings"] == {"unit_emb.weight", "session_emb.weight"}
    assert {"token_type_emb.weight", "latent_emb.weight", "readout.weight"} <= found["rest"]
    assert all(p.ndim == 2 for p in groups["matrices"])
    hidden = {name for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    assert found["matrices"] == {f"{name}.weight" for name in hidden - {"readout"}}


def test_dropout_rates_go_where_they_belong(simulated):
    model = poyo(simulated)
    model.set_dropout(0.125, 0.25, 0.5)
    assert model.dropout.p == 0.25
    rest = [m for m in model.modules() if isinstance(m, Dropout) and m is not model.dropout]
    assert {m.p for m in rest} == {0.125}
    attention = [m for m in model.modules() if isinstance(m, Attention)]
    assert {m.p for m in attention} == {0.5}
    assert {m.p for m in model.eval().modules() if isinstance(m, Attention)} == {0.0}


@pytest.mark.parametrize("outputs", [1, 3])
def test_behaviour_may_have_any_number_of_dims(simulated, batch, outputs):
    assert poyo(simulated, outputs=outputs)(**batch).shape[2] == outputs


def test_half_precision_decodes_nearly_the_same(model, batch):
    expected = model(**batch)
    for context in (torch.no_grad, torch.enable_grad):  # what a GPU computes with
        with context(), torch.autocast("cpu", torch.bfloat16):
            out = model(**batch)
        assert (out.float() - expected).abs().max() < 0.03 * expected.abs().max()
    out.float().square().sum().backward()
    assert model.unit_emb.weight.grad.isfinite().all()
