"""A stream decodes what the model decodes offline, whatever the packets, clock and units."""

import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from poyo import stream as module
from poyo.config import Windows
from poyo.data.recording import Recording
from poyo.data.sources import readout_of
from poyo.decoder import Decoder
from poyo.model import POYO, SIZES, Network
from poyo.stream import Stream
from poyo.tokens import tokenize
from poyo.vocabulary import Vocabulary, VocabularyError

UNIT = {"scale": (1.0, 0.5), "offset": (0.3, -2.0)}  # of order one, and not the model's own


def untrained(recording: Recording, windows: Windows, size: str = "laptop") -> Decoder:
    """A seeded model whose outputs are of the order of one, of this session between two others."""
    sessions = Vocabulary(["before", recording.session_id, f"{recording.session_id}/night"])
    units = Vocabulary(
        ["before/0", *recording.unit_names, "before/1", f"{recording.session_id}/night/0"]
    )
    torch.manual_seed(0)
    model = POYO(size=SIZES[size], units=len(units), sessions=len(sessions), windows=windows)
    for table in (model.unit_emb, model.session_emb, model.token_type_emb, model.latent_emb):
        torch.nn.init.normal_(table.weight)
    with torch.no_grad():
        for matrix in model.groups()["matrices"]:
            matrix *= 2.0  # so that spikes make a difference
    torch.nn.init.normal_(model.readout.weight, std=0.2)
    readouts = {recording.session_id: replace(readout_of(recording), **UNIT)}
    return Decoder(
        model=model.eval(), units=units, sessions=sessions, windows=windows, readouts=readouts
    )


@pytest.fixture(scope="module")
def trained(simulated, windows) -> Decoder:
    return untrained(simulated, windows)


@pytest.fixture
def stream(trained, simulated) -> Stream:
    return Stream(trained, simulated.session_id)


@pytest.fixture(scope="module")
def offline(trained, simulated, windows):
    """Behaviour (Q, 2) of the window that ends `now`, of the recording or a part of its spikes."""

    def decode(now: float, *, at=(0.0,), spikes=slice(None), zero=0.0) -> np.ndarray:
        times, units = simulated.spike_times[spikes] + zero, simulated.spike_units[spikes]
        recording = replace(simulated, spike_times=times, spike_units=units)
        start = now - windows.length
        batch = tokenize([trained.session(recording)], np.array([0]), np.array([start]), 1.0)
        times = (now - np.array(at)) - start
        batch["output_timestamps"] = torch.from_numpy(times.astype(np.float32))[None]
        batch["output_mask"] = torch.ones(1, len(at), dtype=torch.bool)
        with torch.no_grad():
            return trained.model(**batch)[0].numpy() * UNIT["scale"] + UNIT["offset"]

    return decode


def between(recording: Recording, lo: float, hi: float) -> np.ndarray:
    """Rows of the spikes in [lo, hi)."""
    return np.arange(*np.searchsorted(recording.spike_times, [lo, hi]))


def packet(recording: Recording, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times and unit ids of some spikes, as a rig would send them."""
    return recording.spike_times[rows], recording.unit_ids[recording.spike_units[rows]]


def same(one: np.ndarray, two: np.ndarray) -> None:
    assert np.abs(one).max() > 1e-2
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)


def clock(steps: int, first: float, seed: int = 0) -> np.ndarray:
    """(steps,) seconds, 10 to 50 ms apart."""
    return first + np.cumsum(np.random.default_rng(seed).uniform(0.01, 0.05, steps))


# --- the same numbers -------------------------------------------------------------------------


def test_every_update_is_what_the_model_gives_offline(stream, simulated, offline):
    before, outputs = 0.0, []
    for now in clock(160, 2.0):
        for piece in np.array_split(between(simulated, before, now), 4):
            stream.push(*packet(simulated, piece))
        outputs.append(stream.decode(now))
        same(outputs[-1], offline(now))
        before = now
    assert outputs[0].shape == (1, 2)
    assert np.std(outputs, axis=0).min() > 0.05  # so that 1e-5 is a demand
    assert (stream.unknown, stream.jumps) == (0, 0)
    assert stream.late == len(between(simulated, 0, clock(160, 2.0)[0] - 1.0))


def test_one_spike_makes_a_difference(offline, simulated):
    rows = between(simulated, 4.0, 5.0)
    assert np.abs(offline(5.0, spikes=rows[1:]) - offline(5.0)).max() > 1e-3


@pytest.mark.parametrize("before", [[], [6.8]])  # spikes that are new, or took part before
def test_spikes_on_the_edges_are_on_the_same_side(trained, simulated, windows, before):
    now = 7.3
    start = now - windows.length
    edges = (start, start + windows.length)
    times = np.sort([np.nextafter(t, to) for t in edges for to in (-9, t, 9)])
    units = np.arange(len(times)) % len(simulated.unit_ids)
    recording = replace(simulated, spike_times=times, spike_units=units)
    batch = tokenize([trained.session(recording)], np.array([0]), np.array([start]), 1.0)
    stream = Stream(trained, simulated.session_id)
    stream.push(*packet(recording, np.arange(6)))
    for update in [*before, now]:
        stream.decode(update)
    tokens = int(batch["input_mask"].sum()) - 2 * len(simulated.unit_ids)
    assert len(stream._window) == tokens
    assert stream.late == (0 if before else 1) and stream.held == 5


def test_a_clock_that_counts_from_1970(stream, simulated, offline):
    times, units = packet(simulated, between(simulated, 4.0, 6.0))
    stream.push(times + 1.7e9, units)
    for now in 1.7e9 + clock(5, 5.0):
        same(stream.decode(now), offline(now, zero=1.7e9))


def test_packets_out_of_order_and_late_within_the_window(stream, simulated, offline):
    rng = np.random.default_rng(1)
    rows = between(simulated, 1.0, 6.0)
    arrival = simulated.spike_times[rows] + rng.exponential(0.1, len(rows))  # what a network does
    before = 0.0
    for now in clock(60, 4.0):
        came = rows[(arrival >= before) & (arrival < now)]
        stream.push(*packet(simulated, rng.permutation(came)))
        same(stream.decode(now), offline(now, spikes=rows[arrival < now]))
        before = now
    missed = (arrival < now) & (simulated.spike_times[rows] < now - 1.0)
    assert 0 < stream.late <= missed.sum()


def test_a_late_spike_counts_from_the_next_update_on(stream, simulated, offline):
    rows = between(simulated, 4.0, 5.02)
    late, rest = np.array_split(rows, 2)
    stream.push(*packet(simulated, rest))
    same(stream.decode(5.0), offline(5.0, spikes=rest))
    stream.push(*packet(simulated, late))
    same(stream.decode(5.02), offline(5.02))


def test_a_spike_that_is_too_late_changes_nothing_and_is_counted(stream, simulated, offline):
    stream.push(*packet(simulated, between(simulated, 4.0, 5.0)))
    stream.decode(5.0)
    old = between(simulated, 0.0, 4.0)
    stream.push(*packet(simulated, old))
    same(stream.decode(5.0), offline(5.0))
    assert stream.late == len(old)


def test_spikes_from_the_future_wait_until_they_are_due(stream, simulated, offline):
    stream.push(*packet(simulated, between(simulated, 2.0, 6.0)))
    for now in (3.0, 3.04, 3.9, 4.85, 5.0, 6.0):
        same(stream.decode(now), offline(now))
    assert stream.late == 0


def test_several_times_at_once(trained, simulated, offline):
    at = (0.0, 0.1, 0.5, 1.0)
    stream = Stream(trained, simulated.session_id, at=at)
    stream.push(*packet(simulated, between(simulated, 4.0, 5.03)))
    for now in (5.0, 5.03):
        out = stream.decode(now)
        assert out.shape == (4, 2)
        same(out, offline(now, at=at))
    assert np.ptp(out, axis=0).min() > 1e-2


def test_a_unit_that_falls_silent_is_still_heard(stream, simulated, offline):
    rows = between(simulated, 3.0, 8.0)
    unit = np.bincount(simulated.spike_units[rows]).argmax()
    silent = (simulated.spike_units[rows] == unit) & (simulated.spike_times[rows] > 4.0)
    left = rows[~silent]
    stream.push(*packet(simulated, left))
    for now in (4.0, 4.5, 5.0, 5.5):  # since 5.0 not one spike of it is in the window
        same(stream.decode(now), offline(now, spikes=left))
    assert np.abs(offline(5.5, spikes=left) - offline(5.5)).max() > 1e-3


def test_a_window_without_a_spike(stream, offline):
    nothing = np.arange(0)
    same(stream.decode(5.0), offline(5.0, spikes=nothing))
    stream.push([], [])
    same(stream.decode(5.02), offline(5.02, spikes=nothing))


def test_decoding_changes_neither_the_model_nor_the_spikes(stream, simulated, trained):
    before = {key: x.clone() for key, x in trained.model.state_dict().items()}
    times, units = packet(simulated, between(simulated, 4.0, 5.0))
    copy = times.copy()
    stream.push(times, units)
    first = stream.decode(5.0)
    times[:] = 0.0  # a rig writes its next packet where the last one was
    assert first.tobytes() == stream.decode(5.0).tobytes()
    assert not np.array_equal(times, copy)
    for key, x in trained.model.state_dict().items():
        assert torch.equal(x, before[key]), key


def test_a_model_in_training_is_put_into_evaluation(trained, simulated, offline):
    trained.model.train()
    stream = Stream(trained, simulated.session_id)
    stream.push(*packet(simulated, between(simulated, 4.0, 5.0)))
    same(stream.decode(5.0), offline(5.0))


# --- units ------------------------------------------------------------------------------------


def test_units_are_those_of_the_session_and_of_no_other(stream, simulated):
    assert sorted(stream.unit_ids) == sorted(simulated.unit_ids)


def test_unknown_units_are_named_once_counted_and_left_out(stream, simulated, offline):
    times, units = packet(simulated, between(simulated, 4.0, 5.0))
    stream.push(times, units)
    with pytest.warns(UserWarning, match=r"not among the \d+ units .*: 997, 998;"):
        stream.push([4.5, 4.6, 4.7], ["998", "997", "998"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream.push([4.8], ["997"])
    with pytest.warns(UserWarning, match="units .*: night/0;"):  # another session's
        stream.push([4.8, times[0]], ["night/0", units[0]])
    assert stream.unknown == 5
    double = np.sort(np.append(between(simulated, 4.0, 5.0), between(simulated, 4.0, 5.0)[0]))
    same(stream.decode(5.0), offline(5.0, spikes=double))  # the known one of that call counts


def test_many_unknown_units_do_not_flood_the_screen(stream):
    with pytest.warns(UserWarning, match="and 992 more") as caught:
        stream.push(np.full(1000, 1.0), [f"x{i}" for i in range(1000)])
    assert len(caught) == 1 and stream.unknown == 1000 and stream.held == 0


@pytest.mark.parametrize("session_id", ["monday", "NA", ""])
def test_an_unknown_session_is_named_with_the_known_ones(trained, simulated, session_id):
    with pytest.raises(VocabularyError, match=f"no session {session_id!r}") as error:
        Stream(trained, session_id)
    assert f"'before', {simulated.session_id!r}" in str(error.value)


def test_a_model_that_is_no_poyo_is_refused(trained, simulated):
    class Other(Network):
        pass

    model = Other(
        size=SIZES["smoke"],
        units=len(trained.units),
        sessions=len(trained.sessions),
        outputs=2,
        windows=trained.windows,
    )
    with pytest.raises(TypeError, match="needs a POYO, not a Other"):
        Stream(replace(trained, model=model), simulated.session_id)


# --- the clock --------------------------------------------------------------------------------


def test_a_clock_that_goes_backwards_empties_the_memory(stream, simulated, offline):
    stream.push(*packet(simulated, between(simulated, 4.0, 5.5)))
    stream.decode(5.0)
    with pytest.warns(UserWarning, match=r"jumped from 5.0 s to 4.99 s: backwards"):
        out = stream.decode(4.99)
    same(out, offline(4.99, spikes=np.arange(0)))
    assert stream.jumps == 1 and stream.held == 0
    again = between(simulated, 3.99, 5.01)
    stream.push(*packet(simulated, again))
    same(stream.decode(5.01), offline(5.01, spikes=again))


def test_a_clock_that_leaps_leaves_the_old_spikes_behind(stream, simulated, offline):
    stream.push(*packet(simulated, between(simulated, 4.0, 7.5)))
    stream.decode(5.0)
    with pytest.warns(UserWarning, match=r"jumped from 5.0 s to 7.0 s: forwards"):
        out = stream.decode(7.0)
    same(out, offline(7.0))
    assert stream.jumps == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(stream.decode(7.0), out)  # standing still is no jump
        stream.decode(8.0)  # nor is a whole window
    assert stream.jumps == 1


@pytest.mark.parametrize("now", [np.nan, np.inf, -np.inf])
def test_a_clock_that_is_not_finite_changes_nothing(stream, simulated, offline, now):
    stream.push(*packet(simulated, between(simulated, 4.0, 5.0)))
    with pytest.raises(ValueError, match="clock must be finite"):
        stream.decode(now)
    same(stream.decode(5.0), offline(5.0))
    with pytest.raises(ValueError, match="clock must be finite"):
        stream.decode(now)
    same(stream.decode(5.0), offline(5.0))
    assert stream.jumps == 0


# --- bad packets ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "units", "message"),
    [
        ([4.1, np.nan, np.inf], 3, "2 of 3 spike times are NaN or infinite"),
        ([4.1, 4.2], 3, "one unit per spike time"),
        ([[4.1], [4.2]], 2, "one unit per spike time"),
        (4.1, 1, "one unit per spike time"),
        (np.float32([1.7e9, 1.7e9]), 2, "float32 of this size differ by 128 s; give float64"),
    ],
)
def test_a_bad_packet_is_refused_whole(stream, simulated, offline, times, units, message):
    stream.push(*packet(simulated, between(simulated, 4.0, 5.0)))
    held = stream.held
    with pytest.raises(ValueError, match=message):
        stream.push(times, ["nobody", *simulated.unit_ids[: units - 1]])
    assert (stream.held, stream.unknown) == (held, 0)
    same(stream.decode(5.0), offline(5.0))


@pytest.mark.parametrize("at", [(), (0.0, -0.1), (1.1,), (np.nan,)])
def test_times_outside_the_window_cannot_be_decoded(trained, simulated, at):
    with pytest.raises(ValueError, match=r"at: seconds before now in 0..1"):
        Stream(trained, simulated.session_id, at=at)


# --- memory -----------------------------------------------------------------------------------


def test_memory_is_flat_over_an_hour(easy):
    recording = easy(units=20)
    windows = Windows(length=4.0, latent_step=1.0, eval_step=1.0, queries=1000)
    stream = Stream(untrained(recording, windows, "smoke"), "easy")
    rng = np.random.default_rng(0)
    held, peaks = [], []
    tracemalloc.start()
    for half in range(2):
        tracemalloc.reset_peak()
        for minute in range(30 * half, 30 * (half + 1)):
            times = 60 * minute + rng.uniform(0, 60, 60 * 20 * 5)
            stream.push(times, rng.integers(0, 20, len(times)))
            for now in 60 * minute + np.arange(4.0, 64.0, 4.0):
                stream.decode(now)
                held.append(stream.held)
        peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert len(held) == 900 and stream.unknown == stream.late == stream.jumps == 0
    assert held[-1] < 500  # the window's: 20 units at 5 Hz for 4 s
    assert max(held[450:]) < 1.1 * max(held[:450])
    assert peaks[1] < 1.1 * peaks[0] < 5e6


def test_memory_is_bounded_where_nobody_decodes(stream, simulated, offline, monkeypatch):
    monkeypatch.setattr(module, "MOST", 4000)
    rng = np.random.default_rng(0)
    ids = simulated.unit_ids
    rows = between(simulated, 4.0, 5.0)
    with pytest.warns(UserWarning, match="more than 4000 spikes wait"):
        for second in range(-60, 4):
            stream.push(second + rng.uniform(0, 1, 100), rng.choice(ids, 100))
            assert stream.held <= 4000
    stream.push(*packet(simulated, rows))
    same(stream.decode(5.0), offline(5.0))
    assert stream.late == 6400  # every spike either took part, or is counted


def test_memory_is_bounded_where_a_window_has_too_many(stream, simulated, offline, monkeypatch):
    rows, most = between(simulated, 4.0, 5.0), 20
    monkeypatch.setattr(module, "MOST", most)
    assert len(rows) > 3 * most
    for piece in np.array_split(rows, len(rows) // most + 1):  # no more than may wait
        stream.push(*packet(simulated, piece))
        with warnings.catch_warnings(action="ignore"):
            stream.decode(5.0)
        assert stream.held <= most
    same(stream.decode(5.0), offline(5.0, spikes=rows[-most:]))
    assert stream.late == 0  # all took part once
    stream.push(*packet(simulated, rows[:9]))
    with pytest.warns(UserWarning, match=f"more than {most} spikes are in one window"):
        same(stream.decode(5.0), offline(5.0, spikes=rows[-most:]))
    assert stream.held == most and stream.late == 9
