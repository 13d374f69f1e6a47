"""Checkpoints of torch_brain's POYO: read without running them, written so that it reads them."""

import builtins
import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_brain import models

from poyo import official
from poyo.adapt import identify_units
from poyo.config import Windows
from poyo.data.recording import RecordingError
from poyo.data.sources import CENTER_OUT, PUBLIC, RANDOM_TARGET, SELF_PACED, Readout
from poyo.decoder import Decoder
from poyo.model import SIZES, Network, Size
from poyo.resume import CheckpointError
from poyo.tokens import tokenize

SIZE = Size(dim=32, depth=2, cross_heads=1, self_heads=2, latents_per_step=4)
PERICH = "perich_miller_population_2018"
SESSIONS = ["c_20131003_center_out_reaching", "m_20140114_random_target_reaching"]


def theirs(units: list[str], sessions: list[str], *, dim_out=2, seed=0, **more) -> models.POYO:
    torch.manual_seed(seed)
    kinds = {"dim": SIZE.dim, "depth": SIZE.depth, "num_latents_per_step": SIZE.latents_per_step}
    kinds |= {"cross_heads": SIZE.cross_heads, "self_heads": SIZE.self_heads}
    kinds = {"sequence_length": 1.0, "latent_step": 0.125} | kinds | more
    model = models.POYO(dim_out=dim_out, **kinds)
    model.unit_emb.initialize_vocab(units)
    model.session_emb.initialize_vocab(sessions)
    model.kinds = kinds
    return model.eval()


def write(model: models.POYO, path: Path, **more) -> Path:
    """As PyTorch Lightning does."""
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters())
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    hyper = {"model": {"_target_": "torch_brain.models.POYO"} | model.kinds, "batch_size": 128}
    content = {"epoch": 3, "global_step": 40, "pytorch-lightning_version": "2.5.0"}
    content |= {"state_dict": OrderedDict(state), "loops": {}, "callbacks": {}}
    content |= {"optimizer_states": [optimizer.state_dict()], "lr_schedulers": []}
    content |= {"hyper_parameters": hyper} | more
    torch.save(content, path)
    return path


def units_of(sessions: list[str]) -> list[str]:
    return [f"{name}/group_M1/elec{i}/unit_{i}" for name in sessions for i in range(4)]


@pytest.fixture
def released(tmp_path) -> Path:
    """Two sessions of the public set, named as the released ones are."""
    sessions = [f"{PERICH}/{name}" for name in SESSIONS]
    return write(theirs(units_of(sessions), sessions), tmp_path / "poyo_mp.ckpt")


def outputs(decoder: Decoder, model: models.POYO, recording) -> list[torch.Tensor]:
    """Of both for the same ragged batch, (m, 2)."""
    starts = np.array([3.0, 20.5, recording.domain.max() - 0.3])
    batch = tokenize([decoder.session(recording)], np.zeros(3, int), starts, 1.0)
    inputs = {key: batch[key] for key in batch if key not in ("target", "weight", "index")}
    for key in ("latent_index", "latent_timestamps"):
        inputs[key] = getattr(decoder.model, key).expand(3, -1)
    with torch.no_grad():
        return [
            one(**x)[batch["output_mask"]]
            for one, x in ((decoder.model, batch), (model.eval(), inputs))
        ]


# --- theirs, read here ------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["", f"{PERICH}/", "PerichMillerPopulation2018/"])
def test_a_checkpoint_of_theirs_decodes_the_same_here(simulated, tmp_path, before):
    """Whether or not the brainset stands before the names."""
    units = [before + name for name in simulated.unit_names]
    model = theirs(units[::-1], [before + simulated.session_id])
    path = write(model, tmp_path / "poyo.ckpt")
    model = models.POYO.load_pretrained(path)
    decoder = Decoder.load_official(path, readout=CENTER_OUT)
    assert decoder.sessions.names == ["NA", simulated.session_id]
    assert decoder.units.names == ["NA", *simulated.unit_names[::-1]]
    assert (decoder.model.size, decoder.windows) == (SIZE, Windows())
    assert not decoder.model.training and decoder.about == {"official": "poyo.ckpt"}
    one, two = outputs(decoder, model, simulated)
    assert one.std() > 1e-3
    assert (one - two).abs().max() <= 1e-5


def test_the_published_sizes_are_seen_in_the_weights(tmp_path):
    for name in ("1.3M", "11.8M"):
        size = SIZES[name]
        kinds = {"dim": size.dim, "depth": size.depth, "cross_heads": size.cross_heads}
        kinds |= {"self_heads": size.self_heads, "num_latents_per_step": size.latents_per_step}
        model = theirs(units_of(SESSIONS), SESSIONS, **kinds)
        assert Decoder.load_official(write(model, tmp_path / "a.ckpt")).model.size == size


@pytest.mark.parametrize("before", [True, False])
def test_public_sessions_are_read_out_as_their_brainset_is(tmp_path, before):
    names = [*SESSIONS, "c_20160923_center_out_reaching", "indy_20160407_02"]
    brainsets = [PERICH] * 3 + ["odoherty_sabes_nonhuman_2017"]
    long = [f"{b}/{n}" for b, n in zip(brainsets, names)] if before else names
    assert names[2] not in PUBLIC["pretrain"][PERICH]  # but it looks like those
    decoder = Decoder.load_official(write(theirs(units_of(long), long), tmp_path / "a.ckpt"))
    rows = [CENTER_OUT, RANDOM_TARGET, CENTER_OUT, SELF_PACED]
    assert decoder.readouts == dict(zip(names, rows)) and decoder.quantity == "velocity"
    assert decoder.units.names == ["NA", *units_of(names)]


def test_names_that_would_stand_twice_keep_what_is_before_them(tmp_path):
    long = ["one/monday", "two/monday"]
    path = write(theirs(units_of(long), long), tmp_path / "a.ckpt")
    decoder = Decoder.load_official(path, readout=SELF_PACED)
    assert decoder.sessions.names == ["NA", *long] and list(decoder.readouts) == long
    units = [name.split("/", 1)[1] for name in units_of(long)]
    assert decoder.units.names[1:] == units_of(long) != units


def test_names_may_be_strings_of_numpy(tmp_path):
    """As the package's own nested datasets have them."""
    long = [np.str_(f"{PERICH}/{name}") for name in SESSIONS]
    decoder = Decoder.load_official(write(theirs(units_of(long), long), tmp_path / "a.ckpt"))
    assert decoder.sessions.names == ["NA", *SESSIONS]
    assert {type(name) for name in decoder.sessions.names} == {str}


def test_what_an_unknown_brainset_decodes_must_be_said(tmp_path):
    path = write(theirs(["monday/1"], ["monday"]), tmp_path / "own.ckpt")
    with pytest.raises(CheckpointError, match=r"own\.ckpt: .*session 'monday'\? say .*readout="):
        Decoder.load_official(path)
    own = Readout(target="grip.force", scale=3.0, unit="N")
    assert Decoder.load_official(path, own).readouts == {"monday": own}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_become_floats(tmp_path, dtype):
    model = theirs(units_of(SESSIONS), SESSIONS).to(dtype)
    decoder = Decoder.load_official(write(model, tmp_path / "a.ckpt"))
    state = torch.load(tmp_path / "a.ckpt", weights_only=False)["state_dict"]
    one, two = decoder.model.state_dict(), {k[6:]: v for k, v in state.items()}
    assert all(torch.equal(value, two[name].float()) for name, value in one.items())


def test_new_sessions_start_from_the_official_network(released, simulated, identifying):
    pretrained = Decoder.load_official(released)
    adopted = pretrained.adopt([simulated], seed=0)
    one, two = pretrained.model.state_dict(), adopted.model.state_dict()
    rest = [name for name in one if name.split(".")[0] not in ("unit_emb", "session_emb")]
    assert all(torch.equal(one[name], two[name]) for name in rest)
    identify_units(adopted, [simulated], identifying, seed=0)
    assert np.isfinite(adopted.score([simulated])[simulated.session_id])


def test_sessions_with_another_target_are_refused(released, tmp_path, easy):
    with pytest.raises(
        RecordingError, match=r"'easy' holds a force of 1 .*decodes a velocity of 2"
    ):
        Decoder.load_official(released).adopt([easy(dims=1, name="force", unit="N")])
    three = write(theirs(units_of(SESSIONS), SESSIONS, dim_out=3), tmp_path / "three.ckpt")
    with pytest.raises(RecordingError, match=r"velocity of 2 dims, .* velocity of 3"):
        Decoder.load_official(three).adopt([easy()])


# --- ours, read there -------------------------------------------------------------------------


@pytest.fixture
def decoder(simulated, windows) -> Decoder:
    made = Decoder.new([simulated], size=SIZE, windows=windows, seed=3)
    made.model.eval()
    return made


def test_a_decoder_of_ours_decodes_the_same_there(decoder, simulated, tmp_path):
    decoder.save_official(tmp_path / "ours.ckpt")
    model = models.POYO.load_pretrained(tmp_path / "ours.ckpt")
    assert list(model.unit_emb.vocab) == decoder.units.names
    assert model.session_emb.tokenizer(simulated.session_id) == 1
    one, two = outputs(decoder, model, simulated)
    assert one.std() > 1e-3
    assert (one - two).abs().max() <= 1e-5
    model.unit_emb.extend_vocab(["tuesday/1"])  # it goes on from there
    assert model.unit_emb.tokenizer("tuesday/1") == len(decoder.units)


def test_a_decoder_of_ours_comes_back(easy, tmp_path):
    """With its windows and readouts, which a checkpoint of theirs does not have."""
    monday = easy("monday", dims=1, name="force", unit="N", offset=50.0)
    decoder = Decoder.new([monday], size="smoke", windows=Windows(length=2.0, queries=7))
    decoder.save_official(tmp_path / "ours.ckpt")
    back = Decoder.load_official(tmp_path / "ours.ckpt")
    for name in ("units", "sessions", "windows", "readouts"):
        assert getattr(back, name) == getattr(decoder, name)
    one, two = decoder.model.state_dict(), back.model.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
    model = models.POYO.load_pretrained(tmp_path / "ours.ckpt")
    assert (model.sequence_length, model.latent_step) == (2.0, 0.125)


def test_what_is_written_is_plain_and_the_same_every_time(decoder, tmp_path):
    for name in ("one.ckpt", "two.ckpt"):
        decoder.save_official(tmp_path / name)
    assert (tmp_path / "one.ckpt").read_bytes() == (tmp_path / "two.ckpt").read_bytes()
    torch.load(tmp_path / "one.ckpt", weights_only=True)


def test_another_network_cannot_be_written(easy, tmp_path):
    class Other(Network):
        def __init__(self, **sizes):
            super().__init__(**sizes)

    with pytest.raises(ValueError, match="no model Other, only POYO"):
        Decoder.new([easy()], size="smoke", model=Other).save_official(tmp_path / "a.ckpt")
    assert not list(tmp_path.glob("*.ckpt"))


# --- files that are not what they seem --------------------------------------------------------


class Evil:
    """A pickle of it calls `function` when it is read."""

    def __init__(self, function, *args):
        self.how = function, args

    def __reduce__(self):
        return self.how


class Config(dict):
    """Stands for the config class of a package that is not installed."""


class Changer:
    """A pickle of it sets attributes of what it was made of."""

    def __reduce__(self):
        return OrderedDict, (), (None, {"get": 1, "items": 2})


@pytest.mark.parametrize("where", ["hyper_parameters", "state_dict", "callbacks"])
@pytest.mark.parametrize("function", [os.system, builtins.eval, builtins.exec])
def test_nothing_in_a_checkpoint_is_run(tmp_path, where, function):
    trace = tmp_path / "trace"
    code = f"touch {trace}" if function is os.system else f"open({str(trace)!r}, 'w')"
    path, model = tmp_path / "evil.ckpt", theirs(units_of(SESSIONS), SESSIONS)
    if where == "state_dict":
        state = {f"model.{name}": value for name, value in model.state_dict().items()}
        write(model, path, state_dict=state | {"model.readout.bias": Evil(function, code)})
        with pytest.raises(CheckpointError, match=r"evil\.ckpt .*a weight is made by "):
            Decoder.load_official(path)
    else:
        write(model, path, **{where: Evil(function, code)})
        assert Decoder.load_official(path).sessions.names == ["NA", *SESSIONS]
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # so it would have


def test_a_pickle_finds_nothing_that_can_be_called():
    found = official.Unpickler(io.BytesIO())
    for module, name in [
        ("builtins", "eval"),
        ("os", "system"),
        ("torch", "load"),
        ("builtins", "getattr"),
        ("torch._utils", "_rebuild_tensor_v2"),
    ]:
        assert issubclass(found.find_class(module, name), official.Inert)


@pytest.mark.parametrize("name", ["os system", "collections OrderedDict"])
@pytest.mark.parametrize("state", [{"name": "x"}, (None, {"name": "x", "args": 1, "get": 2})])
def test_a_pickle_cannot_change_what_reads_the_next_one(name, state):
    """By giving attributes to a class it was given."""
    before = dict(vars(official.Inert)), dict(vars(OrderedDict))
    names = b"c" + name.replace(" ", "\n").encode() + b"\n"
    pickled = pickle.PROTO + b"\x02" + names + pickle.dumps(state, 2)[2:-1] + b"b."
    try:
        official.Unpickler(io.BytesIO(pickled)).load()
    except TypeError as error:
        assert "OrderedDict" in str(error) or "mappingproxy" in str(error)
    assert (dict(vars(official.Inert)), dict(vars(OrderedDict))) == before


def test_unknown_classes_do_not_matter(released, tmp_path, monkeypatch):
    hyper = Config(model=Config(dim=5, sequence_length=7.0), deep=[Config(a={Path("b"), 1j})])
    model = theirs(units_of(SESSIONS), SESSIONS)
    path = write(model, tmp_path / "odd.ckpt", hyper_parameters=hyper, callbacks={"a": Changer()})
    monkeypatch.delattr(f"{__name__}.Config")  # as in a process where it is not installed
    decoder = Decoder.load_official(path)
    assert (decoder.model.size, decoder.windows) == (SIZE, Windows())
    assert torch.equal(decoder.model.readout.weight, model.readout.weight)
    assert decoder.units.names == Decoder.load_official(released).units.names


@pytest.mark.parametrize("hyper", [None, [], {"model": None}, {"model": {"latent_step": "x"}}])
def test_hyper_parameters_are_not_needed(tmp_path, hyper):
    path = write(theirs(units_of(SESSIONS), SESSIONS), tmp_path / "a.ckpt", hyper_parameters=hyper)
    assert Decoder.load_official(path).windows == Windows()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_says_so(released, share):
    whole = released.read_bytes()
    released.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"poyo_mp\.ckpt is not readable .*download it"):
        Decoder.load_official(released)


def test_a_weight_that_is_larger_than_the_file_is_refused(tmp_path):
    path, model = tmp_path / "large.ckpt", theirs(units_of(SESSIONS), SESSIONS)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    state["model.readout.bias"] = torch.zeros(1).expand(10**6, 10**6)  # 4 TB
    write(model, path, state_dict=state)
    with pytest.raises(CheckpointError, match=r"large\.ckpt .* of 1000000000000 numbers has 1 in"):
        Decoder.load_official(path)


def test_a_compressed_checkpoint_is_refused(released, tmp_path):
    path = tmp_path / "small.ckpt"
    with zipfile.ZipFile(released) as one, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as two:
        for name in one.namelist():
            two.writestr(name, one.read(name))
    with pytest.raises(CheckpointError, match=r"small\.ckpt is not readable .*it is compressed"):
        Decoder.load_official(path)


def test_changed_bytes_are_noticed(released):
    whole = bytearray(released.read_bytes())
    weight = torch.load(released, weights_only=False)["state_dict"]["model.readout.weight"]
    at = whole.index(weight.numpy().tobytes())
    whole[at + 5] ^= 1
    released.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"poyo_mp\.ckpt is not readable .*CRC"):
        Decoder.load_official(released)


def test_a_missing_checkpoint_says_where_it_comes_from(tmp_path):
    with pytest.raises(CheckpointError, match=r"poyo_1\.ckpt does not exist; download it"):
        Decoder.load_official(tmp_path / "poyo_1.ckpt")


def test_another_architecture_is_refused(decoder, tmp_path):
    path = tmp_path / "other.ckpt"
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LSTM(4, 5))
    state = {f"model.{name}": value for name, value in net.state_dict().items()}
    for content in ({"state_dict": state}, {"a": 1}, [1], {"state_dict": {}}):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match=r"other\.ckpt is no POYO .*lacks unit_emb\.w"):
            Decoder.load_official(path)
    decoder.save(path)  # our own file is another thing, and is told so
    with pytest.raises(CheckpointError, match=r"other\.ckpt is no POYO of torch_brain"):
        Decoder.load_official(path)


@pytest.mark.parametrize(
    "change, what",
    [
        ("more", r"does not fit its own size: (?s:.)*Unexpected key.*task_emb"),
        ("fewer", r"does not fit its own size: (?s:.)*Missing key.*dec_atn"),
        ("heads", "has heads of 32 dims; those of every POYO have 64"),
        ("vocabulary", r"does not fit its own size: (?s:.)*mismatch for unit_emb"),
    ],
)
def test_a_relative_of_poyo_is_refused(tmp_path, change, what):
    path = tmp_path / "other.ckpt"
    more = {"dim_head": 32} if change == "heads" else {}
    model = theirs(units_of(SESSIONS), SESSIONS, **more)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    if change == "more":  # as POYO+
        state["model.task_emb.weight"] = torch.zeros(3, SIZE.dim)
    elif change == "fewer":
        del state["model.dec_atn.norm.weight"]
    elif change == "vocabulary":
        state["model.unit_emb.vocab"].popitem()
    write(model, path, state_dict=state)
    with pytest.raises(CheckpointError, match=rf"other\.ckpt {what}"):
        Decoder.load_official(path)


# --- contamination ----------------------------------------------------------------------------


def test_sessions_that_were_pretrained_on_are_found(tmp_path):
    held_out = PUBLIC["C-CO"][PERICH]
    names = [*PUBLIC["pretrain"][PERICH], *held_out]  # as the released one was
    long = [f"{PERICH}/{name}" for name in names]
    decoder = Decoder.load_official(write(theirs(["u"], long), tmp_path / "poyo_mp.ckpt"))
    for known in (decoder.sessions.names, names, long):
        for before in ("", f"{PERICH}/", "PerichMillerPopulation2018/"):
            asked = [before + name for name in [*held_out, *PUBLIC["T-CO"][PERICH]]]
            assert official.seen(known, asked) == asked[: len(held_out)]
    clean = PUBLIC["pretrain"][PERICH]
    assert official.seen(clean, [*held_out, "NA/monday", "monday"]) == []
