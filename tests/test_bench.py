"""What the speed page computes besides time: ratios, floors, two models that are the same one."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from poyo.config import Windows
from poyo.data.recording import Recording
from poyo.decoder import Decoder
from poyo.study import bench

MACHINE = bench.Machine(threads=1, stretch=0.0, repeats=2)


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [bench.crowd(f"crowd-{i}", i, units=5, seconds=60.0) for i in range(2)]


@pytest.fixture
def decoder(recordings) -> Decoder:
    return Decoder.new(recordings, size="smoke", windows=Windows(latent_step=0.25))


# --- lines ------------------------------------------------------------------------------------


def test_a_line_of_rates_is_better_when_larger(capsys):
    got = bench.line("leg", "1.3M", np.array([4.0, 6, 8]), np.array([2.0, 2, 2]), "w/s", floor=12)
    assert (got["ours"], got["reference"], got["ratio"]) == (6, 2, 3)
    assert got["fraction_of_floor"] == 0.5  # half as fast as the machine allows
    assert (got["ratio_low"], got["ratio_high"]) == pytest.approx((2.2, 3.8))
    assert "leg, 1.3M: 6 w/s; torch_brain: 2; ratio 3.00" in capsys.readouterr().out


def test_a_line_of_durations_is_better_when_smaller():
    got = bench.line("leg", "1.3M", np.array([4.0]), np.array([8.0]), "ms", floor=1, less=True)
    assert (got["ratio"], got["fraction_of_floor"]) == (2, 0.25)


def test_the_ratio_is_of_neighbours_not_of_medians():
    """A machine that slows down while it measures changes both alike."""
    got = bench.line("leg", "", np.array([1.0, 10, 100]), np.array([0.5, 5, 50]), "w/s")
    assert got["ratio_low"] == got["ratio"] == got["ratio_high"] == 2
    assert np.isnan(got["fraction_of_floor"])


def test_a_line_says_what_it_is_compared_with():
    assert bench.line("leg", "", np.ones(1), np.ones(1), "s")["against"] == "torch_brain"
    got = bench.line("leg", "", np.ones(1), np.ones(1), "s", against="ours, 2 sessions")
    assert got["against"] == "ours, 2 sessions"


@pytest.mark.parametrize(
    ("value", "text"), [(np.nan, ""), (0.01234, "0.0123"), (99.96, "100"), (20185.1, "20,185")]
)
def test_numbers_of_the_table(value, text):
    assert bench.shown(value) == text


# --- time -------------------------------------------------------------------------------------


def test_both_take_turns_after_a_round_to_warm_up():
    calls = []
    rates = MACHINE.in_turn(lambda: calls.append("ours"), lambda: calls.append("theirs"))
    assert rates.shape == (2, 2) and (rates > 0).all()
    assert calls == ["ours", "theirs"] * 3  # a stretch of 0 s is one call


def test_threads_of_torch_are_given_to_the_reference_alone():
    seen, machine = [], replace(MACHINE, threads=2)
    machine.in_turn(*[lambda: seen.append(torch.get_num_threads())] * 2)
    assert seen == [1, 2] * 3
    assert torch.get_num_threads() == 1


def test_the_floor_is_what_takes_longer():
    machine = replace(MACHINE)
    vars(machine)["limits"] = 100.0, 10.0  # as if measured: operations and bytes per second
    assert machine.floor(200.0, 10.0) == 2
    assert machine.floor(200.0, 50.0) == 5
    assert machine.floor(moved=5.0) == 0.5


# --- the same for both ------------------------------------------------------------------------


def test_the_two_models_of_a_pair_are_the_same(decoder, recordings):
    pair = bench.Pair(decoder, recordings, 4)
    pair.ours.eval(), pair.theirs.eval()
    ours = pair.decode()
    assert ours.shape == (4, 100, 2) and ours.abs().max() > 0.01
    torch.testing.assert_close(ours, pair.their_decode(), atol=1e-5, rtol=0)
    pair.gradients(), pair.their_gradients()
    for name in ("unit_emb.weight", "enc_atn.to_q.weight", "readout.weight"):
        expected = pair.theirs.get_parameter(name).grad
        torch.testing.assert_close(pair.ours.get_parameter(name).grad, expected)


def test_both_models_of_a_pair_drop_as_the_paper_does(decoder, recordings):
    pair = bench.Pair(decoder, recordings, 4)
    for model in (pair.ours, pair.theirs):
        rates = sorted({m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)})
        assert model.training and rates == [0.2, 0.4]
    assert pair.ours.enc_atn.dropout == pair.theirs.enc_atn.dropout == 0.2


def test_only_embeddings_of_a_frozen_pair_have_gradients(decoder, recordings):
    pair = bench.Pair(decoder, recordings, 4, frozen=True)
    pair.gradients(), pair.their_gradients()
    for model in (pair.ours, pair.theirs):
        learning = {name for name, p in model.named_parameters() if p.grad is not None}
        assert learning == {"unit_emb.weight", "session_emb.weight"}


def test_batches_go_on_and_drop_units(decoder, recordings):
    """Dropout keeps START and END tokens of the units it keeps, two for each of two or three."""
    batches = bench.batches(decoder, recordings, 4, kept=(2, 2, 3))
    one, other = next(batches), next(batches)
    assert len(one["session_index"]) == 4
    assert not torch.equal(one["session_index"], other["session_index"]) or not torch.equal(
        one["input_unit_index"], other["input_unit_index"]
    )
    ends = (one["input_token_type"] != 0).sum(1)
    assert ((4 <= ends) & (ends <= 6)).all()


def test_torch_brain_reads_the_same_files(decoder, recordings, tmp_path):
    for recording in recordings:
        recording.save(tmp_path / f"{recording.session_id}.h5")
    batches = bench.their_batches(tmp_path, bench.Pair(decoder).theirs, (30, 100, 300))
    units = next(batches)["input_unit_index"]
    assert len(units) == bench.BATCH
    assert set(units.unique().tolist()) == set(range(11))  # none, and 5 of each session


def test_too_few_windows_for_a_batch_end_the_batches(decoder, recordings, tmp_path):
    short = bench.crowd("crowd-0", 0, units=5, seconds=12.0)
    short.save(tmp_path / "crowd-0.h5")
    assert list(bench.their_batches(tmp_path, bench.Pair(decoder).theirs, (30, 100, 300))) == []


def test_operations_are_counted(decoder, recordings):
    pair = bench.Pair(decoder, recordings, 4)
    both, saved, forward = pair.needs(4)
    assert 2 * forward < both < 4 * forward  # a product has two gradients, a table none
    weights = sum(p.numel() for p in pair.ours.parameters())
    assert forward > 2 * weights and saved > 0


# --- legs -------------------------------------------------------------------------------------


def test_packets_hold_every_spike_once(recordings):
    recording = recordings[0]
    edges = [0.0, 0.5, 3.25, 60.0]
    packets = [bench.packet(recording, *pair) for pair in pairwise(edges)]
    times, units = (np.concatenate(parts) for parts in zip(*packets))
    np.testing.assert_array_equal(times, recording.spike_times)
    np.testing.assert_array_equal(units, recording.unit_ids[recording.spike_units])


def test_a_long_stream_holds_no_more_than_a_window(decoder, recordings):
    held = bench.long_stream(decoder, recordings[0], 30)
    most = np.histogram(recordings[0].spike_times, np.arange(61))[0].max()
    assert len(held) == 30 and 0 < held["held"].max() <= most
    assert (held["memory"] > 0).all()


def test_the_first_step_at_a_goal():
    r2 = pd.Series([0.1, 0.5, 0.4, 0.6], index=[50, 100, 150, 200])
    assert bench.first(r2, 0.5) == 100
    assert np.isnan(bench.first(r2, 0.7))


def test_a_curve_leaves_the_decoder_as_it_was(decoder, recordings, training):
    before = {key: value.clone() for key, value in decoder.model.state_dict().items()}
    r2 = bench.curve(decoder, recordings, replace(training, steps=4, eval_every=2), 0, "test")
    assert list(r2.index) == [2, 4]
    after = decoder.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
