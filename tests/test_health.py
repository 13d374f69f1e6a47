"""What is suspicious in a recording: each trouble made on purpose, silence where all is well."""

from dataclasses import replace

import numpy as np
import pytest

from poyo import ROOT
from poyo.data.health import frozen, trouble, undecodable
from poyo.data.linear import linear_fit
from poyo.data.readers import read
from poyo.data.recording import Recording, RecordingError
from poyo.data.simulate import simulate
from poyo.data.sources import readout_of

WRIST = ROOT.parent / "shared/recordings/wrist"


@pytest.fixture(scope="module")
def clean(easy) -> Recording:
    """Four minutes, of which the validation split has 23 s; 12 units."""
    return easy(seconds=240, units=12, unit="cm/s", name="position")


def changed(recording: Recording, change, **more) -> Recording:
    """The target (T, D) replaced by change(times (T,), target)."""
    times, values = recording.series(recording.target)
    series = {"timestamps": times, "position": change(times, values.copy())}
    return replace(recording, behavior={"behavior": series}, **more)


def spiking(recording: Recording, times: np.ndarray, units: np.ndarray, **more) -> Recording:
    order = np.argsort(times, kind="stable")
    return replace(recording, spike_times=times[order], spike_units=units[order], **more)


def only(lines: list[str], *words: str) -> None:
    """There is one line, and it has these words."""
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines


def some(lines: list[str], *words: str) -> None:
    """One of the lines has these words."""
    assert any(all(word in line for word in words) for line in lines), lines


def test_a_clean_recording_is_silent(clean):
    assert trouble(clean) == []


@pytest.mark.parametrize("flavour, task", [("perich", "center_out_reaching"), ("nlb", "maze")])
def test_simulated_cortex_is_silent(flavour, task):
    one = simulate(animal="sim-c", day=1, task=task, flavour=flavour, minutes=5, units=(20, 30))
    assert trouble(replace(one, target=readout_of(one).target)) == []


# --- clocks -----------------------------------------------------------------------------------


def stretched(recording: Recording, spikes: float, target: float) -> Recording:
    times, values = recording.series(recording.target)
    label = recording.spike_units
    return Recording.from_arrays(
        recording.spike_times * spikes, label, times * target, values, session_id="x"
    )


@pytest.mark.parametrize("factor", [1e3, 3e4])
def test_milliseconds_and_samples_are_no_seconds(clean, factor):
    lines = trouble(stretched(clean, factor, factor))
    some(lines, "do not look like seconds", "samples a second", "Hz", "divide milliseconds")
    spikes = replace(clean, spike_times=clean.spike_times * factor)  # only of these
    some(trouble(spikes), "do not look like seconds")
    with pytest.raises(RecordingError, match="spikes lie in the span of the behaviour"):
        stretched(clean, factor, 1.0)


def test_microseconds_and_what_lasts_days(clean):
    with pytest.raises(RecordingError, match="its domain spans 2778 days; are the times in sec"):
        stretched(clean, 1e6, 1e6)
    some(trouble(stretched(clean, 1e4, 1e4)), "the session lasts 27.8 days")
    some(trouble(stretched(clean, 1e-6, 1e-6)), "5e+07 samples a second")


def test_spikes_and_target_that_hardly_meet(clean):
    late = replace(clean, spike_times=clean.spike_times + 200.0)
    some(trouble(late), "spikes run from 200", "the target 0 to 239.98 s", "one clock")
    half = clean.spike_times < 120
    part = spiking(clean, clean.spike_times[half], clean.spike_units[half])
    some(trouble(part), "spikes run from", "to 119.9")


def test_gaps_are_counted_unless_the_domain_leaves_them_out(clean):
    times, values = clean.series(clean.target)
    kept = ((times < 30) | (times >= 33.3)) & ((times < 100) | (times >= 101))
    arrays = clean.spike_times, clean.spike_units, times[kept], values[kept]
    torn = Recording.from_arrays(*arrays, session_id="x")
    only(trouble(torn), "2 gaps in the target's times, the longest of 3.32 s at 29.98 s")
    domain = np.array([[0.0, 30.0], [33.3, 100.0], [101.0, 240.0]])
    assert trouble(Recording.from_arrays(*arrays, session_id="x", domain=domain)) == []


def test_little_of_it(easy):
    some(trouble(easy(seconds=30, units=12)), "only 30 s are recorded")
    some(trouble(easy(seconds=240, units=3)), "only 3 units")
    assert trouble(easy(seconds=62, units=12)) == []  # a fit is not judged, but nothing is wrong


def test_what_looks_transposed():
    rng = np.random.default_rng(0)
    counts, starts = rng.poisson(0.5, (100, 300)), np.arange(100) * 1.0
    one = Recording.from_binned(counts, starts, 1.0, rng.normal(size=(100, 2)), session_id="x")
    some(trouble(one), "more units (300) than samples of the target (100)", "transpose")


# --- units ------------------------------------------------------------------------------------


def test_silent_units(clean):
    assert trouble(replace(clean, unit_ids=np.append(clean.unit_ids, "12")))[0].startswith(
        "1 of 13 units (12) fire no spike"
    )


@pytest.mark.parametrize("share, told", [(0.01, True), (0.0005, False)])
def test_spikes_that_are_there_twice(clean, share, told):
    n = len(clean.spike_times)
    again = np.random.default_rng(0).choice(n, int(share * n), replace=False)
    times = np.append(clean.spike_times, clean.spike_times[again])
    units = np.append(clean.spike_units, clean.spike_units[again])
    lines = trouble(spiking(clean, times, units))
    if told:
        only(lines, f"{len(again)} spikes are at the very time of another", "Keep one of each")
    else:
        assert lines == []


def test_spikes_of_several_units_at_one_time_are_no_duplicates(clean):
    # within a time the units go 0 1 0, so that twins are not neighbours
    times, units = np.repeat(clean.spike_times, 3), np.repeat(clean.spike_units, 3)
    units[1::3] = (units[1::3] + 1) % 12
    some(trouble(spiking(clean, times, units)), f"{len(times) // 3} spikes are at the very time")
    apart = np.arange(len(times)) % 3 < 2
    lines = trouble(spiking(clean, times[apart], units[apart]))
    assert not any("very time" in line for line in lines)


def added(recording: Recording, times: np.ndarray, unit: str = "new") -> Recording:
    """With another unit."""
    rows = np.append(recording.spike_units, np.full(len(times), len(recording.unit_ids)))
    ids = np.append(recording.unit_ids, unit)
    return spiking(recording, np.append(recording.spike_times, times), rows, unit_ids=ids)


def test_exploding_units(clean):
    noise = np.random.default_rng(0).uniform(0, 240, 240 * 400)
    only(trouble(added(clean, noise)), "1 of 13 units (new) fire at more than 300 Hz")


def test_a_unit_twice(clean):
    copy = clean.spike_times[clean.spike_units == 4] + 1e-4
    only(trouble(added(clean, copy)), "1 pairs of units fire the same spikes, such as 4 and new")


def test_a_rate_that_changes_within_the_session(clean):
    rng = np.random.default_rng(0)
    weak = (clean.spike_times < 120) | (rng.random(len(clean.spike_times)) < 0.3)
    lines = trouble(spiking(clean, clean.spike_times[weak], clean.spike_units[weak]))
    only(lines, "all units together changes from", "at 120 s or so", "Keep one part")


def test_a_part_without_spikes(clean):
    stay = (clean.spike_times < 100) | (clean.spike_times > 130)
    lines = trouble(spiking(clean, clean.spike_times[stay], clean.spike_units[stay]))
    only(lines, "hardly a spike in the tenths of the session from 96 s")


def test_units_that_are_lost(clean):
    stay = (clean.spike_times < 144) | (clean.spike_units > 1)
    lines = trouble(spiking(clean, clean.spike_times[stay], clean.spike_units[stay]))
    only(lines, "2 of 12 units (0, 1) come or go at 144 s or so")


def test_artefacts_of_all_channels(clean):
    rng = np.random.default_rng(0)
    at = np.repeat(rng.uniform(0, 240, 48), 12 * 8) + rng.uniform(0, 0.02, 48 * 96)
    rows = np.append(clean.spike_units, np.tile(np.arange(12), 48 * 8))
    lines = trouble(spiking(clean, np.append(clean.spike_times, at), rows))
    only(lines, "most units fire together in", "artefact")


# --- the target -------------------------------------------------------------------------------


def test_missing_samples(clean):
    holes = changed(clean, lambda t, v: np.where((t % 4 < 0.5)[:, None], np.nan, v))
    only(trouble(holes), "12% of the samples of behavior.position are NaN")


def test_a_column_that_does_not_vary(clean):
    flat = changed(clean, lambda t, v: v * [1, 0])
    some(trouble(flat), "column 1 of behavior.position does not vary; leave it out")


def test_a_target_that_freezes(clean):
    torn = changed(clean, lambda t, v: np.where((t < 100)[:, None], v, [0.03, 0.1]))
    lines, share = trouble(torn), frozen(torn)
    some(lines, "does not move for 10 s and longer, 58% of the time", "Keep the part")
    some(lines, "column 0", "is 0.03 in 58% of its samples; is it stuck?")
    assert frozen(clean) == 0 and share == pytest.approx(140 / 240, abs=1e-3)
    assert undecodable(torn, linear_fit(torn)) and not undecodable(clean, linear_fit(clean))


def test_a_sensor_at_its_limit(clean):
    cut = changed(clean, lambda t, v: np.clip(v, -0.9, None))
    some(trouble(cut), "column 0 of behavior.position is cut off at -0.9; leave")
    rectified = changed(clean, lambda t, v: np.clip(v, 0, None))  # no limit but rest
    assert not any("cut off" in line for line in trouble(rectified))


def test_single_samples_that_jump(clean):
    corrupt = changed(
        clean, lambda t, v: v + 30 * np.isin(np.arange(len(t)), [700, 9000])[:, None]
    )
    some(trouble(corrupt), "column 1", "jumps 4 times, by up to 30", "corrupt")


# --- trials -----------------------------------------------------------------------------------


def test_trials_that_overlap_or_are_short(clean):
    starts = np.arange(0, 230, 4.0)
    fine = replace(clean, intervals={"trials": np.stack([starts, starts + 4.005], -1)})
    assert trouble(fine) == []  # rounding
    over = replace(clean, intervals={"trials": np.stack([starts, starts + 4.5], -1)})
    only(trouble(over), "57 of 58 trials begin before the one before has ended")
    brief = replace(clean, intervals={"trials": np.stack([starts, starts + 0.5], -1)})
    only(trouble(brief), "58 of 58 trials are shorter than a window of 1 s")


def test_splits_that_share_time(clean):
    both = replace(clean, splits=clean.splits | {"test": np.array([[100.0, 103.0]])})
    some(trouble(both), "train and test share 3 s; save splits that are apart")


def test_a_velocity_in_another_unit_than_its_brainset(simulated):
    for factor, told in ((1.0, False), (0.01, True), (1000.0, True)):
        series = simulated.behavior["cursor"]
        series = series | {"vel": series["vel"] * factor}
        one = replace(simulated, behavior={"cursor": series}, target="cursor.vel")
        assert any("is it in cm/s?" in line for line in trouble(one)) == told, factor


# --- the linear filter --------------------------------------------------------------------------


def test_the_linear_filter_finds_the_target(clean):
    fit = linear_fit(clean)
    assert fit.r2 > 0.5 and fit.r2 == pytest.approx(fit.per_dim.mean())
    assert fit.shift == pytest.approx(0, abs=0.25) and fit.shifted_r2 - fit.r2 < 0.1
    assert fit.seconds == pytest.approx(23, abs=0.1)


@pytest.mark.parametrize("late", [-3.2, 0.9, 1.6])
def test_a_clock_that_is_late_is_found(easy, late):
    one = wandering(late)
    fit = linear_fit(one)
    assert fit.shift == pytest.approx(late, abs=0.25) and fit.shifted_r2 > 0.4
    some(
        trouble(one), "with its times shifted by", f"{-fit.shift:+.2f} s", "put both on one clock"
    )
    assert not undecodable(wandering(0.0), linear_fit(wandering(0.0)))


def wandering(late: float) -> Recording:
    """A target that never repeats itself, recorded on a clock that is `late` by so many s."""
    rng = np.random.default_rng(1)
    times = np.arange(0, 300, 0.05)
    walk = np.zeros((len(times), 2))
    for i in range(1, len(times)):
        walk[i] = 0.93 * walk[i - 1] + 0.37 * rng.standard_normal(2)
    angle = np.arange(20) * 2 * np.pi / 20
    counts = rng.poisson(np.exp(walk @ np.stack([np.cos(angle), np.sin(angle)]) * 0.6))
    row, unit = np.nonzero(counts)
    unit = np.repeat(unit, counts[row, unit])
    row = np.repeat(row, counts[np.nonzero(counts)])
    at = times[row] + rng.uniform(0, 0.05, len(row))
    order = np.argsort(at)
    return Recording.from_arrays(
        at[order], unit[order], times + 0.025 + late, walk, session_id="x", name="position"
    )


def test_a_target_of_another_session_is_not_found(clean):
    other = np.random.default_rng(0)
    noise = changed(clean, lambda t, v: np.cumsum(other.normal(size=v.shape), 0) % 7)
    fit = linear_fit(noise)
    some(trouble(noise), "a linear filter finds nothing of behavior.position", f"{fit.r2:.2f}")
    assert "finds nothing" in undecodable(noise, fit)


def test_one_column_that_is_not_found(clean):
    rng = np.random.default_rng(0)
    half = changed(clean, lambda t, v: np.stack([v[:, 0], rng.normal(size=len(t))], -1))
    some(trouble(half), "finds nothing of column 1 of behavior.position", "leave it out")


def test_too_little_to_fit_is_said(easy):
    one = easy(seconds=10, units=12)
    assert np.isnan(linear_fit(one).r2) and linear_fit(one).seconds == 0
    some(trouble(one), "0 s of validation cannot tell whether behavior.velocity is decodable")


@pytest.mark.skipif(not WRIST.is_dir(), reason="real recordings lie beside the repository only")
@pytest.mark.parametrize(
    "day, words", [("20120831", []), ("20120720", ["does not move", "stuck"])]
)
def test_real_days(day, words):
    one = read(WRIST / f"spike_{day}.npz", target="position", unit="cm")
    lines, fit = trouble(one), linear_fit(one)
    assert bool(lines) == bool(undecodable(one, fit)) == bool(words)
    for word in words:
        some(lines, word)
    assert abs(fit.shift) < 0.3
