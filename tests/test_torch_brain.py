"""Interoperation with the field's own package: the same files, windows, tokens and numbers."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from torch_brain import models
from torch_brain.batching import collate
from torch_brain.data import (
    ArrayDict,
    Data,
    Interval,
    IrregularTimeSeries,
    RegularTimeSeries,
)
from torch_brain.datasets import Dataset, DatasetIndex, SpikingDatasetMixin
from torch_brain.samplers import RandomFixedWindowSampler, SequentialFixedWindowSampler
from torch_brain.transforms import TriangleDistribution

from poyo import optim
from poyo.data.intervals import intervals, subtract
from poyo.data.recording import Recording
from poyo.data.simulate import FLAVOURS, simulate
from poyo.decoder import Decoder
from poyo.evaluate import fitting
from poyo.model import POYO, SIZES
from poyo.sampling import TrainingWindows, grid, keep_units
from poyo.tokens import tokenize
from poyo.train import fit
from poyo.vocabulary import units_and_sessions


class Spiking(SpikingDatasetMixin, Dataset):
    """As the package's own datasets of spikes: units are named "session/unit"."""

    spiking_dataset_mixin_uniquify_unit_ids = True


def reference(size: str) -> models.POYO:
    s = SIZES[size]
    return models.POYO(
        sequence_length=1.0,
        latent_step=0.125,
        num_latents_per_step=s.latents_per_step,
        dim_out=2,
        dim=s.dim,
        depth=s.depth,
        cross_heads=s.cross_heads,
        self_heads=s.self_heads,
        atn_dropout=0.2,
    )


def as_interval(pairs: np.ndarray) -> Interval:
    return Interval(start=pairs[:, 0].copy(), end=pairs[:, 1].copy())


# --- a file saved here, opened there ----------------------------------------------------------


@pytest.fixture(
    scope="module",
    params=[(task, flavour) for flavour, lab in FLAVOURS.items() for task in lab.tasks],
    ids="-".join,
)
def made(request) -> Recording:
    """A minute of every task that a flavour of the simulation knows."""
    task, flavour = request.param
    return simulate(animal="sim-c", day=1, task=task, flavour=flavour, minutes=1, units=(10, 14))


@pytest.fixture(scope="module")
def opened(simulated, tmp_path_factory) -> Spiking:
    """The simulated session as a dataset of torch_brain."""
    return save(simulated, tmp_path_factory.mktemp("brainset"))


@pytest.fixture(scope="module")
def made_there(made, tmp_path_factory) -> Spiking:
    return save(made, tmp_path_factory.mktemp("brainset"))


def save(recording: Recording, folder: Path) -> Spiking:
    recording.save(folder / f"{recording.session_id}.h5")
    return Spiking(folder)


@pytest.fixture
def window(simulated, opened):
    """Cuts a window there: start, end -> Data."""
    return lambda start, end: opened[DatasetIndex(simulated.session_id, start, end)]


def test_ids_open_there(made, made_there):
    data = made_there.get_recording(made.session_id)
    assert data.session.id == made.session_id
    assert data.subject.id == made.subject
    assert data.brainset.id == made.brainset
    assert data.units.id.tolist() == made.unit_names
    for name, column in made.units.items():
        np.testing.assert_array_equal(getattr(data.units, name), column, err_msg=name)


def test_intervals_and_splits_open_there(made, made_there):
    data = made_there.get_recording(made.session_id)
    spans = {"domain": made.domain, **made.intervals}
    spans |= {f"{name}_domain": pairs for name, pairs in made.splits.items()}
    for name, pairs in spans.items():
        there = data.get_nested_attribute(name)
        np.testing.assert_array_equal(np.stack([there.start, there.end], -1), pairs, err_msg=name)


def test_windows_sliced_there_hold_the_same_spikes_and_behaviour(made, made_there):
    ((name, series),) = made.behavior.items()
    for start in [0.0, 0.004, 3.0, 17.313, 58.9]:
        data = made_there[DatasetIndex(made.session_id, start, start + 1.0)]
        spikes = (made.spike_times >= start) & (made.spike_times < start + 1)
        rows = (series["timestamps"] >= start) & (series["timestamps"] < start + 1)
        assert spikes.any() and rows.any()
        np.testing.assert_allclose(
            data.spikes.timestamps, made.spike_times[spikes] - start, atol=1e-9
        )
        np.testing.assert_array_equal(data.spikes.unit_index, made.spike_units[spikes])
        np.testing.assert_array_equal(getattr(data, name).vel, series["vel"][rows])


def test_a_recording_with_gaps_and_fractional_edges_slices_there(easy, tmp_path):
    recording = easy(seconds=20.0)
    late = 7.37
    series = recording.behavior["behavior"]
    recording = replace(
        recording,
        spike_times=recording.spike_times + late,
        behavior={"behavior": series | {"timestamps": series["timestamps"] + late}},
        domain=intervals([late, late + 9.9], [late + 8.25, late + 20]),
    )
    recording.save(tmp_path / "gaps.h5")
    dataset = Dataset(tmp_path)
    for start in [late, 9.0, 14.5, 17.27, late + 18.99]:
        spikes = dataset[DatasetIndex("gaps", start, start + 1.0)].spikes.timestamps + start
        here = recording.spike_times
        here = here[(here >= start) & (here < start + 1)]
        np.testing.assert_allclose(spikes, here, atol=1e-9)


# --- windows ----------------------------------------------------------------------------------


def test_an_epoch_has_as_many_windows_of_each_session():
    rng = np.random.default_rng(0)
    domains = [
        subtract(intervals(0, 60), intervals(a := rng.uniform(0, 60, 6), a + rng.uniform(0, 5, 6)))
        for _ in range(5)
    ]
    domains.append(intervals([0, 2], [1, 5]))  # exact multiples of a window
    here = np.bincount(TrainingWindows(domains, 1.0, seed=0).epoch(0)[0], minlength=6)
    sampler = RandomFixedWindowSampler(
        sampling_intervals={str(i): as_interval(domain) for i, domain in enumerate(domains)},
        window_length=1.0,
        generator=torch.Generator().manual_seed(0),
    )
    there = np.bincount([int(index.recording_id) for index in sampler], minlength=6)
    np.testing.assert_array_equal(here, there)


def test_evaluation_windows_are_the_same(simulated, prepared, windows):
    session = prepared(simulated)[0]
    rng = np.random.default_rng(1)
    begin = np.cumsum(rng.uniform(4, 6, 40))
    length = np.r_[1.0, 1.5, 2.0, 2.25, rng.uniform(1.0, 3.9, 36)]
    domains = [fitting(session, "test", windows), intervals(begin, begin + length)]
    for domain in domains:
        assert len(domain)
        sampler = SequentialFixedWindowSampler(
            sampling_intervals={"s": as_interval(domain)}, window_length=1.0, step=0.5
        )
        there = np.array([index.start for index in sampler])
        np.testing.assert_allclose(grid(domain, 1.0, 0.5), there, atol=1e-9)


# --- tokens -----------------------------------------------------------------------------------

KINDS = ["spike", "start", "end"]


@pytest.mark.parametrize("start", [0.0, 2.5, 31.07])
def test_a_window_gives_the_same_tokens(simulated, prepared, windows, window, start):
    units, _ = units_and_sessions([simulated])
    model = reference("1.3M")
    model.unit_emb.initialize_vocab(simulated.unit_names)
    model.session_emb.initialize_vocab([simulated.session_id])
    names = {row: name for name, row in model.unit_emb.vocab.items()}
    data = window(start, start + 1.0)
    there = collate([model.tokenize(data)])
    here = tokenize(prepared(simulated), np.array([0]), np.array([start]), 1.0)

    def tokens(batch, name_of):
        """Sorted (unit, kind, time) of the real tokens."""
        mask = batch["input_mask"][0]
        columns = [
            batch[f"input_{key}"][0][mask].tolist()
            for key in ("unit_index", "token_type", "timestamps")
        ]
        return sorted((name_of[u], KINDS[k], t) for u, k, t in zip(*columns))

    one, two = tokens(here, units.names), tokens(there, names)
    assert [token[:2] for token in one] == [token[:2] for token in two]
    np.testing.assert_allclose([t[2] for t in one], [t[2] for t in two], atol=1e-6)
    assert here["input_mask"].shape == there["input_mask"].shape  # padded alike

    ours = POYO(size=SIZES["1.3M"], units=2, sessions=2, windows=windows)
    grids = (
        (ours.latent_timestamps, ours.latent_index),
        (there["latent_timestamps"], there["latent_index"]),
    )
    pairs = [sorted(zip(*(part.flatten().tolist() for part in one))) for one in grids]
    np.testing.assert_allclose(*pairs, atol=1e-6)
    np.testing.assert_allclose(here["output_timestamps"][0], data.cursor.timestamps, atol=1e-6)


# --- a file written there, used here ----------------------------------------------------------


@pytest.mark.parametrize("regular", [True, False], ids=["regular", "irregular"])
def test_a_file_written_there_loads_and_trains_here(tmp_path, training, windows, regular):
    rng = np.random.default_rng(0)
    vel = rng.standard_normal((2500, 2))
    times = 5.0 + np.arange(2500) / 100.0
    spikes = np.sort(rng.uniform(5.0, 30.0, 3000))
    rows = rng.integers(0, 6, 3000)
    whole = Interval(5.0, 30.0)
    cursor = (
        RegularTimeSeries(vel=vel, sampling_rate=100.0, domain_start=5.0)
        if regular
        else IrregularTimeSeries(timestamps=times, vel=vel, domain=whole)
    )
    data = Data(
        session=Data(id="indy_20160407_02"),
        subject=Data(id="indy"),
        brainset=Data(id="odoherty_sabes_nonhuman_2017"),
        spikes=IrregularTimeSeries(timestamps=spikes, unit_index=rows, domain=whole),
        units=ArrayDict(id=np.array([f"unit_{i}" for i in range(6)]), depth=np.arange(6.0)),
        cursor=cursor,
        domain=whole,
        train_domain=Interval(5.0, 20.0),
        valid_domain=Interval(21.0, 24.0),
        test_domain=Interval(25.0, 30.0),
    )
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        data.to_hdf5(file)
    recording = Recording.load(tmp_path / "theirs.h5")
    assert recording.unit_names[5] == "indy_20160407_02/unit_5"
    assert recording.subject == "indy"
    np.testing.assert_array_equal(recording.spike_times, spikes)
    np.testing.assert_array_equal(recording.spike_units, rows)
    np.testing.assert_array_equal(recording.units["depth"], np.arange(6.0))
    np.testing.assert_allclose(recording.behavior["cursor"]["timestamps"], times, atol=1e-9)
    np.testing.assert_array_equal(recording.behavior["cursor"]["vel"], vel)
    np.testing.assert_array_equal(recording.splits["valid"], [[21.0, 24.0]])

    decoder = Decoder.new([recording], size="smoke", windows=windows)
    history = fit(decoder, [recording], replace(training, steps=2, eval_every=2))
    assert np.isfinite(history[-1]["loss"])


# --- the model --------------------------------------------------------------------------------


@pytest.mark.parametrize("size, count", [("1.3M", 1_254_018), ("11.8M", 11_717_378)])
def test_parameters_are_as_many(size, count):
    def total(model):
        named = model.named_parameters()
        tables = "unit_emb", "session_emb"
        return sum(p.numel() for name, p in named if name.split(".")[0] not in tables)

    assert total(reference(size)) == total(POYO(size=SIZES[size], units=3, sessions=2)) == count


@pytest.fixture(scope="module")
def both(simulated, prepared, windows) -> SimpleNamespace:
    """Both models with the same weights, the outputs and gradients of both for a ragged batch."""
    torch.manual_seed(0)
    theirs = reference("1.3M")
    theirs.unit_emb.initialize_vocab(simulated.unit_names)
    theirs.session_emb.initialize_vocab([simulated.session_id])
    state = {k: v for k, v in theirs.state_dict().items() if not k.endswith(".vocab")}
    ours = POYO(size=SIZES["1.3M"], units=1 + len(simulated.unit_ids), sessions=2)
    with torch.no_grad():
        ours.rotary_emb.omega.zero_()  # what is compared is the loaded one
    ours.load_state_dict(state, strict=True)
    # two full windows, one of two units, one that the end of the recording cuts short
    starts, keep = np.array([3.0, 20.5, 30.0, 59.7]), np.ones((4, len(simulated.unit_ids)), bool)
    keep[2, 2:] = False
    batch = tokenize(prepared(simulated), np.zeros(4, int), starts, 1.0, list(keep))
    assert batch["input_mask"].sum(1).min() < 0.6 * batch["input_mask"].shape[1]
    assert batch["output_mask"].sum(1).min() < 0.6 * batch["output_mask"].shape[1]
    mask = batch["output_mask"]
    weight = torch.randn(int(mask.sum()), 2)
    inputs = {key: batch[key] for key in batch if key not in ("target", "weight", "index")}
    for key in ("latent_index", "latent_timestamps"):
        inputs[key] = getattr(ours, key).expand(4, -1)
    outputs, gradients = [], []
    for model, given in ((ours, batch), (theirs, inputs)):
        out = model.eval()(**given)[mask]
        (out * weight).sum().backward()
        outputs.append(out.detach())
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    return SimpleNamespace(outputs=outputs, gradients=gradients, ours=ours, state=state)


def test_the_same_weights_decode_the_same(both):
    one, two = both.outputs
    assert one.std() > 1e-3
    assert (one - two).abs().max() <= 1e-5


def test_every_gradient_is_the_same(both):
    one, two = both.gradients
    assert one.keys() == two.keys()
    for name in one:
        scale = two[name].abs().max()
        assert scale > 0, name
        assert (one[name] - two[name]).abs().max() <= 1e-4 * scale, name


def test_a_fresh_model_has_the_reference_rotation():
    ours, theirs = POYO(size=SIZES["1.3M"], units=2, sessions=2), reference("1.3M")
    torch.testing.assert_close(ours.rotary_emb.omega, theirs.rotary_emb.omega, rtol=2e-6, atol=0)


# --- optimisation -----------------------------------------------------------------------------


def lamb_by_hand(weight, gradients, *, lr, decay, sparse, b1=0.9, b2=0.999, eps=1e-6):
    """The paper's LAMB on one table, row by row, from the description of the reference."""
    w = weight.copy()
    m, v = np.zeros_like(w), np.zeros_like(w)
    for g in gradients:
        seen = [bool(np.any(row != 0)) or not sparse for row in g]
        for i in range(len(w)):
            if seen[i]:
                m[i] = b1 * m[i] + (1 - b1) * g[i]
                v[i] = b2 * v[i] + (1 - b2) * g[i] ** 2
            else:
                m[i] = v[i] = 0.0
        step = m / (np.sqrt(v) + eps) + decay * w
        trust = min(10.0, np.sqrt((w**2).sum())) / np.sqrt((step**2).sum())
        for i in range(len(w)):
            if seen[i]:
                w[i] = w[i] - lr * trust * step[i]
    return w


@pytest.mark.parametrize("scale", [0.1, 30.0], ids=["small", "clamped"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_lamb_is_that_of_the_reference(sparse, scale):
    rng = np.random.default_rng(0)
    weight = scale * rng.standard_normal((12, 5))
    gradients = rng.standard_normal((6, 12, 5))
    gradients[rng.random((6, 12)) < 0.5] = 0.0  # units that a batch lacks
    p = torch.nn.Parameter(torch.tensor(weight))
    lamb = optim.Lamb([{"params": [p], "sparse": sparse}], lr=0.02, weight_decay=0.3)
    for g in gradients:
        p.grad = torch.tensor(g)
        lamb.step()
    expected = lamb_by_hand(weight, gradients, lr=0.02, decay=0.3, sparse=sparse)
    assert np.abs(expected - weight).max() > 0.01
    np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


def test_lamb_leaves_unseen_rows_where_they_were():
    p = torch.nn.Parameter(torch.ones(3, 4))
    lamb = optim.Lamb([{"params": [p], "sparse": True}], lr=0.1)
    p.grad = torch.zeros(3, 4)
    p.grad[1] = 1.0
    lamb.step()
    assert (p[1] != 1).all()
    assert (p[[0, 2]] == 1).all()


@pytest.mark.parametrize("steps", [20, 37, 400])
def test_the_schedule_is_one_cycle_lr(training, steps):
    lr = 4e-3
    run = replace(
        training, optimizer="lamb", steps=steps, lr=lr, embedding_lr=lr, warmup=0.0, hold=0.5
    )
    (ours,) = optim.make(POYO(size=SIZES["smoke"], units=2, sessions=2).groups(), run)
    theirs = optim.Lamb([torch.nn.Parameter(torch.zeros(2))], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        theirs, lr, steps, pct_start=0.5, anneal_strategy="cos", div_factor=1, final_div_factor=1e4
    )
    theirs.param_groups[0]["params"][0].grad = torch.ones(2)
    for step in range(steps):
        optim.set_step([ours], run, step)
        expected = theirs.param_groups[0]
        for group in ours.param_groups:
            assert group["lr"] == pytest.approx(expected["lr"], rel=1e-9, abs=1e-12), step
            assert group["betas"][0] == pytest.approx(expected["betas"][0], rel=1e-9), step
        theirs.step()
        if step < steps - 1:
            cycle.step()


# --- unit dropout -----------------------------------------------------------------------------


@pytest.mark.parametrize("triangle", [(30, 100, 300), (20, 60, 80)])
def test_unit_dropout_keeps_as_many(triangle):
    n = 6000
    session = SimpleNamespace(unit_rows=np.arange(1000))
    masks = keep_units([session], np.zeros(n, dtype=int), triangle, (0,))
    here = np.array([mask.sum() for mask in masks])
    low, mode, high = triangle
    draw = TriangleDistribution(min_units=low, mode_units=mode, max_units=high, peak=4, seed=0)
    there = np.array([draw.sample(1000) for _ in range(n)])
    there = there[there <= high]  # after 100 rejections it keeps all
    width = high - low
    assert abs(here.mean() - there.mean()) < 0.02 * width
    levels = np.linspace(0.05, 0.95, 10)
    distance = np.quantile(here, levels) - np.quantile(there, levels)
    assert np.abs(distance).max() < 0.035 * width
