"""A decoder in memory and on disk: any target, new sessions, files that are not what they seem."""

import math
import os
from dataclasses import asdict, replace
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from poyo import evaluate, resume
from poyo.config import Windows
from poyo.data.intervals import intervals
from poyo.data.recording import RecordingError
from poyo.decoder import Decoder
from poyo.model import SIZES, Network
from poyo.resume import CheckpointError
from poyo.stream import Stream
from poyo.train import fit
from poyo.vocabulary import VocabularyError


def weights(decoder: Decoder) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in decoder.model.state_dict().items()}


@pytest.fixture
def pretrained(simulated, windows) -> Decoder:
    decoder = Decoder.new([simulated], size="smoke", windows=windows, seed=3)
    decoder.about = {"seed": 3, "recipe": {"steps": 1, "dropout": (0.1, 0.2, 0.3)}}
    decoder.model.eval()
    return decoder


# --- new --------------------------------------------------------------------------------------


def test_weights_are_drawn_from_the_seed(easy):
    one, same, other = (weights(Decoder.new([easy()], size="smoke", seed=s)) for s in (0, 0, 1))
    assert one == same
    changed = {name.split(".")[0] for name in one if one[name] != other[name]}
    assert changed >= {"unit_emb", "readout", "enc_atn"}


def test_a_size_is_a_name_or_one_of_ones_own(easy):
    size = replace(SIZES["smoke"], depth=3)
    assert len(Decoder.new([easy()], size=size).model.proc_layers) == 3
    with pytest.raises(ValueError, match=r"size: 'huge' is unknown; known: 1\.3M, .*laptop"):
        Decoder.new([easy()], size="huge")


def test_the_model_knows_the_windows(easy):
    decoder = Decoder.new([easy()], size="smoke", windows=Windows(length=2.0, latent_step=0.5))
    assert decoder.model.latent_timestamps.max() == 1.75
    assert decoder.decode(easy()).prediction.shape[1] == 2


def test_a_session_it_does_not_know_is_named(pretrained, easy):
    with pytest.raises(VocabularyError, match=r"'easy' is not in .*Decoder\.adopt"):
        pretrained.decode(easy())


def test_an_unknown_split_and_a_recording_that_is_no_list_say_so(pretrained, simulated):
    with pytest.raises(RecordingError, match="'tset' is unknown; known: train, valid, test"):
        pretrained.score([simulated], "tset")
    with pytest.raises(TypeError, match=r"a list of recordings is needed: \[recording\]"):
        Decoder.new(simulated)
    with pytest.raises(TypeError, match="a list of recordings is needed"):
        pretrained.adopt(simulated)


def test_scores_are_those_of_what_it_decodes(pretrained, simulated):
    for split in ("valid", "test"):
        r2 = pretrained.decode(simulated, split).r2
        assert np.isfinite(r2) and pretrained.score([simulated], split) == {
            simulated.session_id: r2
        }


def test_a_copy_is_trained_on_its_own(pretrained, simulated, training):
    before, twin = weights(pretrained), pretrained.copy()
    fit(twin, [simulated], training)
    assert weights(pretrained) == before != weights(twin)
    assert pretrained.about != twin.about


# --- any target -------------------------------------------------------------------------------


@pytest.mark.parametrize("dims, name, unit", [(1, "force", "N"), (3, "muscles", "mV")])
def test_any_continuous_target_goes_all_the_way(
    easy, learning, identifying, windows, tmp_path, dims, name, unit
):
    monday, tuesday = (
        easy(day, dims=dims, name=name, unit=unit, offset=50.0, units=units, seed=units)
        for day, units in (("monday", 8), ("tuesday", 11))
    )
    decoder = Decoder.new([monday], size="smoke", windows=windows)
    fit(decoder, [monday], learning)
    decoder.save(tmp_path / "monday.pt")
    back = Decoder.load(tmp_path / "monday.pt")
    assert (back.quantity, back.readouts["monday"].unit) == (name, unit)
    decoded, again = decoder.decode(monday), back.decode(monday)
    np.testing.assert_array_equal(again.prediction, decoded.prediction)
    series = monday.behavior["behavior"]
    rows = np.searchsorted(series["timestamps"], decoded.times)
    np.testing.assert_array_equal(decoded.target, series[name][rows])  # in its unit
    assert decoded.prediction.shape == (len(rows), dims) and decoded.r2 > 0.3

    adopted = back.adopt([tuesday], seed=0)
    fit(adopted, [tuesday], replace(identifying, steps=3))
    one = intervals(30.0, 31.0)  # a window that nothing overlaps
    session = adopted.session(tuesday)
    offline = evaluate.decode(adopted.model, session, one, windows)
    assert np.abs(offline.prediction - 50).max() < 5  # its offset, in its unit
    stream = Stream(adopted, "tuesday", at=31.0 - offline.times)
    a, b = np.searchsorted(tuesday.spike_times, one[0])
    stream.push(tuesday.spike_times[a:b], tuesday.unit_ids[tuesday.spike_units[a:b]])
    np.testing.assert_allclose(stream.decode(31.0), offline.prediction, rtol=0, atol=1e-4)


def test_sessions_may_differ_in_unit_and_scale_but_not_in_what_is_decoded(easy):
    def force(session_id="a", **more):
        return easy(session_id, **{"dims": 1, "name": "force", "unit": "N"} | more)

    decoder = Decoder.new([force(), force("b", unit="mN", offset=7.0)], size="smoke")
    assert [decoder.readouts[name].unit for name in "ab"] == ["N", "mN"]
    for other in (force("b", dims=2), force("b", name="torque")):
        with pytest.raises(
            RecordingError, match=r"must share .*force of 1 dims \('a'\); .*\('b'\)"
        ):
            Decoder.new([force(), other], size="smoke")
        with pytest.raises(RecordingError, match=r"'b' holds .*decodes a force of 1;"):
            decoder.adopt([other])
    with pytest.raises(RecordingError, match="there are none"):
        Decoder.new([])


# --- new sessions -----------------------------------------------------------------------------


def test_adopting_leaves_the_pretrained_decoder_as_it_was(pretrained, easy, training):
    before, names = weights(pretrained), list(pretrained.units.names)
    adopted = pretrained.adopt([easy()], seed=0)
    fit(adopted, [easy()], training)
    assert weights(pretrained) == before
    assert pretrained.units.names == names and "easy" not in pretrained.readouts


def test_an_adopted_decoder_knows_only_the_new_sessions(pretrained, easy):
    adopted = pretrained.adopt([easy(units=5)], seed=0)
    assert adopted.units.names == ["NA", *(f"easy/{i}" for i in range(5))]
    assert adopted.sessions.names == ["NA", "easy"] and list(adopted.readouts) == ["easy"]
    assert adopted.model.unit_emb.weight.shape[0] == 6
    assert (adopted.model.size, adopted.windows) == (pretrained.model.size, pretrained.windows)


def test_an_adopted_network_is_the_pretrained_one(pretrained, easy):
    one, two = weights(pretrained), weights(pretrained.adopt([easy()], seed=0))
    rest = [name for name in one if name.split(".")[0] not in ("unit_emb", "session_emb")]
    assert len(rest) == len(one) - 2
    assert {name: one[name] for name in rest} == {name: two[name] for name in rest}


def test_new_rows_are_drawn_like_the_learned_ones(pretrained, easy):
    with torch.no_grad():
        table = pretrained.model.unit_emb.weight
        table.copy_(3.0 + 0.5 * torch.randn(table.shape, generator=torch.manual_seed(0)))
        table[0] = 100.0  # the row of nobody does not count
    one, same, other = (
        pretrained.adopt([easy(units=300)], seed=seed).model.unit_emb.weight.detach()
        for seed in (0, 0, 1)
    )
    learned = pretrained.model.unit_emb.weight.detach()[1:]
    torch.testing.assert_close(one.mean(0), learned.mean(0), atol=0.2, rtol=0)
    assert one.std() == pytest.approx(float(learned.std()), rel=0.15)
    assert torch.equal(one, same) and not torch.equal(one, other)


# --- on disk ----------------------------------------------------------------------------------


def test_a_decoder_comes_back_and_decodes_the_same(pretrained, simulated, tmp_path):
    pretrained.save(tmp_path / "decoder.pt")
    back = Decoder.load(tmp_path / "decoder.pt")
    for name in ("units", "sessions", "windows", "readouts", "about"):
        assert getattr(back, name) == getattr(pretrained, name)
    assert back.model.size == pretrained.model.size and not back.model.training
    assert weights(back) == weights(pretrained)
    one, two = (d.decode(simulated).prediction for d in (pretrained, back))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_decoder_says_so_with_the_cure(pretrained, tmp_path, share):
    path = tmp_path / "decoder.pt"
    pretrained.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"decoder\.pt is not readable .*make it again"):
        Decoder.load(path)


def test_random_bytes_are_no_decoder(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "decoder.pt"
    for _ in range(100):
        path.write_bytes(rng.bytes(int(rng.integers(1, 3000))))
        with pytest.raises(CheckpointError, match="is not readable"):
            Decoder.load(path)


def test_the_same_content_makes_the_same_bytes(pretrained, tmp_path, monkeypatch):
    """Also from another process: dvc.lock holds the hash of the file."""
    pretrained.save(tmp_path / "one.pt")
    monkeypatch.setattr(os, "getpid", lambda: 1)
    pretrained.copy().save(tmp_path / "two.pt")
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_a_missing_decoder_says_how_to_make_it(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist; `dvc repro` makes"):
        Decoder.load(tmp_path / "decoder.pt")


def test_a_file_of_something_else_names_what_it_lacks(tmp_path):
    torch.save({"model": {}, "epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"is not a decoder, it lacks class, size, outputs"):
        Decoder.load(tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="is not a decoder, it lacks model, class"):
        Decoder.load(tmp_path / "list.pt")


def test_a_decoder_cannot_run_code(tmp_path):
    torch.save({"model": math.sqrt}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="is not readable"):
        Decoder.load(tmp_path / "evil.pt")


def test_weights_of_another_size_are_refused(pretrained, tmp_path):
    pretrained.model.size = SIZES["laptop"]
    pretrained.save(tmp_path / "decoder.pt")
    with pytest.raises(CheckpointError, match="does not fit its own size"):
        Decoder.load(tmp_path / "decoder.pt")


@pytest.mark.parametrize(
    "key, value",
    [
        ("size", {"dim": 200_000}),
        ("size", {"depth": 10**9}),
        ("size", {"self_heads": 10**7}),
        ("size", {"latents_per_step": 10**9}),
        ("windows", {"length": 1e9, "latent_step": 1e-3, "eval_step": 1.0}),
        ("outputs", 10**10),
    ],
)
def test_a_small_file_that_asks_for_much_memory_is_refused_before_it_gets_it(
    pretrained, tmp_path, key, value
):
    content = pretrained._content()
    content[key] = content[key] | value if isinstance(value, dict) else value
    resume.write(tmp_path / "decoder.pt", content)
    message = r"does not fit its own size: (it asks for \d+ MB, but holds|\d+ layers, but)"
    with pytest.raises(CheckpointError, match=message):
        Decoder.load(tmp_path / "decoder.pt")


def test_a_compressed_file_is_none_of_ours(pretrained, tmp_path):
    """Of zeros it could hold a thousand times its size; torch compresses nothing."""
    pretrained.save(tmp_path / "decoder.pt")
    with (
        ZipFile(tmp_path / "decoder.pt") as plain,
        ZipFile(tmp_path / "small.pt", "w", 8) as small,
    ):
        for name in plain.namelist():
            small.writestr(name, plain.read(name))
    with pytest.raises(CheckpointError, match=r"small\.pt is not readable .* it is compressed"):
        Decoder.load(tmp_path / "small.pt")


def test_nonsense_in_a_decoder_is_named(pretrained, tmp_path):
    windows, size = asdict(pretrained.windows), asdict(pretrained.model.size)
    for change in (
        {"size": size | {"dim": -3}},
        {"size": {"width": 3}},
        {"windows": windows | {"length": float("nan")}},
        {"units": ["NA", "a/1", "a/1"]},
        {"readouts": {"a": {}}},
        {"model": [1]},
    ):
        resume.write(tmp_path / "decoder.pt", pretrained._content() | change)
        with pytest.raises(CheckpointError, match=r"decoder\.pt does not fit its own size: "):
            Decoder.load(tmp_path / "decoder.pt")


def test_another_model_class_is_refused_with_the_cure(pretrained, tmp_path):
    class Other(Network):
        pass

    pretrained.save(tmp_path / "decoder.pt")
    with pytest.raises(CheckpointError, match=r"model POYO, not Other; .*model=POYO\)"):
        Decoder.load(tmp_path / "decoder.pt", model=Other)


def test_a_full_disk_while_saving_keeps_the_last_file(pretrained, tmp_path, monkeypatch):
    save = torch.save

    def runs_out(content, file):
        save(content, file)
        file.truncate(file.tell() // 2)
        raise OSError(28, "No space left on device")

    path = tmp_path / "decoders" / "decoder.pt"
    pretrained.save(path)
    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", runs_out)
    for write in (pretrained.save, lambda path: resume.write(path, {"step": 1})):
        with pytest.raises(OSError, match="No space"):
            write(path)
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]
