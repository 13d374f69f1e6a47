"""What is held out and stands in pretraining, too: found by spikes, whatever it is called."""

from dataclasses import replace

import numpy as np
import pytest

from poyo.data.leaks import check, leaks
from poyo.data.recording import Recording, RecordingError
from poyo.data.simulate import simulate


@pytest.fixture(scope="module")
def days() -> list[Recording]:
    """Four days of one animal, five minutes each: units by the same kind of name, same task."""
    task = "center_out_reaching"
    return [
        simulate(animal="sim-c", day=day, task=task, minutes=5, units=(22, 22))
        for day in range(1, 5)
    ]


def part(one: Recording, start: float, end: float, *, clock=0.0, units=None, name="b", **more):
    """The spikes of an interval, on another clock and of some units, in the order given."""
    inside = (one.spike_times >= start) & (one.spike_times < end)
    order = np.arange(len(one.unit_ids)) if units is None else np.asarray(units)
    row = np.full(len(one.unit_ids), -1)
    row[order] = np.arange(len(order))
    inside &= row[one.spike_units] >= 0
    more |= {"spike_times": one.spike_times[inside] + clock, "session_id": name}
    more |= {"spike_units": row[one.spike_units[inside]], "unit_ids": np.arange(len(order))}
    return replace(one, domain=np.array([[start, end]]) + clock, behavior={}, splits={}, **more)


def joined(one: Recording, other: Recording, name="b") -> Recording:
    """One recording after another, which are one second apart."""
    late = one.domain.max() - other.domain.min() + 1
    times = np.append(one.spike_times, other.spike_times + late)
    return replace(
        one,
        session_id=name,
        spike_times=times,
        spike_units=np.append(one.spike_units, other.spike_units),
        domain=np.array([[one.domain.min(), other.domain.max() + late]]),
        behavior={},
    )


def test_days_of_one_animal_and_other_animals_share_nothing(days):
    task = "center_out_reaching"
    other = simulate(animal="sim-m", day=1, task=task, minutes=5, units=(20, 24))
    assert leaks(days[:3], [days[3], other]) == []
    check(days[:3], [days[3], other])


@pytest.mark.parametrize(
    "copy, words",
    [
        (lambda one: part(one, 0, 300), ["in 300 s or more"]),
        (lambda one: part(one, 0, 300, clock=4000.0123), ["with clocks 4000.01 s apart"]),
        (lambda one: part(one, 0, 300, units=np.arange(20)[::-1]), ["20 units"]),
        (lambda one: part(one, 61.2345, 150, clock=-61.2345), ["clocks 61.2", "in 89 s or more"]),
        (lambda one: part(one, 100.01, 125), ["in 25 s or more"]),
        (lambda one: part(one, 0, 300, units=[3, 9, 4, 12, 7, 1]), ["6 units"]),
        (lambda one: part(one, 0, 300, subject="joe"), ["is 'sim-c' the same animal as 'joe'?"]),
    ],
    ids=["copy", "clock", "order", "cut", "short cut", "few units", "two names"],
)
def test_a_copy_is_found(days, copy, words):
    (line,) = leaks(days[:2], [copy(days[0])])
    head = "'sim-c_day01_center_out_reaching' (trained on) and 'b' (held out) share spikes"
    assert all(word in line for word in [head, *words]), line


def test_a_shared_stretch_is_found(days):
    mixed = joined(days[2], part(days[0], 30.02, 200))
    (line,) = leaks(days[:2], [mixed])
    assert "'sim-c_day01_center_out_reaching' (trained on) and 'b' (held out)" in line


def test_two_of_one_list_are_found_and_come_last(days):
    copy, again = part(days[0], 0, 200, name="copy"), part(days[1], 0, 200, name="again")
    lines = leaks([*days[:2], copy], [days[3], again])
    assert ["trained on) and 'again' (held out" in line for line in lines] == [True, False]
    assert "(trained on) and 'copy' (trained on)" in lines[1]


def binned(seed: int, width: float, name: str, first: int = 0) -> Recording:
    """A population of its own, whose counts are the same for every seed."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.uniform(0.05, 0.8, 30) * (width / 0.05), (6000, 30))[first:]
    starts, hand = (first + np.arange(len(counts))) * width, rng.normal(size=(len(counts), 2))
    return Recording.from_binned(counts, starts, width, hand, session_id=name, seed=seed)


@pytest.mark.parametrize("width", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("first", [0, 1111])
def test_counts_are_found_though_their_spikes_are_placed_anew(width, first):
    (line,) = leaks([binned(0, width, "a")], [binned(1, width, "b", first)])
    assert "share spikes" in line


def test_artefacts_of_all_channels_are_no_leak():
    """Bursts in which every channel fires, at the same times in unrelated sessions."""
    rng, sessions = np.random.default_rng(0), []
    bursts = rng.uniform(0, 200, 40)
    for name in "ab":
        times = rng.uniform(0, 200, 20_000)
        times = np.append(times, np.repeat(bursts, 400) + rng.uniform(0, 0.03, 16_000))
        units = rng.integers(0, 40, len(times))
        hand = rng.normal(size=(2000, 2))
        order = np.argsort(times)
        arrays = times[order], units[order], np.arange(2000) * 0.1, hand
        sessions.append(Recording.from_arrays(*arrays, session_id=name))
    assert leaks(sessions[:1], sessions[1:]) == []


def test_one_name_for_two_recordings(days):
    other = replace(days[1], session_id=days[0].session_id)
    (line,) = leaks(days[:1], [other])
    assert "have the same name but not the same spikes" in line


def test_what_is_found_stops_unless_it_is_accepted(days):
    copy = part(days[0], 0, 200, name="copy")
    first = days[0].session_id
    with pytest.raises(RecordingError, match=rf"(?s)share spikes.*accept=\['{first}=copy'\]"):
        check(days[:1], [copy])
    with pytest.raises(RecordingError):
        check(days[:1], [copy], accept=["other=copy"])
    for accept in ([f"{first}=copy"], [f"copy={first}"], "all", ["all"], f"copy={first}"):
        check(days[:1], [copy], accept=accept)


def test_recordings_without_spikes_or_of_a_moment(days):
    empty = part(days[0], 0, 0.01, name="c")
    assert leaks(days[:1], [empty]) == []
