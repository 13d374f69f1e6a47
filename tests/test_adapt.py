"""A trained decoder meets new sessions: the functions of `adapt`, and a newcomer's programs."""

from dataclasses import replace

import numpy as np
import pytest

from poyo import adapt
from poyo.config import EmbeddingRecipe, Recipe
from poyo.decoder import Decoder
from poyo.train import fit


@pytest.fixture(scope="module")
def pretrained(easy, learning, windows, tmp_path_factory) -> Decoder:
    """A decoder that has learned an easy session of another day."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POYO_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        sunday = easy("sunday", units=12, seed=7)
        decoder = Decoder.new([sunday], size="smoke", windows=windows)
        fit(decoder, [sunday], learning)
    return decoder


def learned(before: Decoder, after: Decoder) -> set[str]:
    """The tables and layers whose weights differ."""
    one, two = before.model.state_dict(), after.model.state_dict()
    return {name.split(".")[0] for name in one if not one[name].equal(two[name])}


# --- whole programs ---------------------------------------------------------------------------

NEW_DAY = """
from poyo import adapt
from poyo.data.recording import Recording
from poyo.decoder import Decoder
monday = Recording.load("monday.h5")
decoder = Decoder.load("runs/pretrain/poyo_1/decoder-0.pt").adopt([monday], seed=0)
adapt.identify_units(decoder, [monday]); print(decoder.score([monday], "test"))
decoder.save("monday.pt")
"""
FROM_ARRAYS = """
from poyo import adapt
from poyo.data.recording import Recording
from poyo.stream import Stream
monday = Recording.from_arrays(spike_times, channels, times, target=hand, session_id="monday")
decoder, history = adapt.from_scratch([monday], recipe, size="smoke", seed=0)
decoder.save("monday.pt")
stream = Stream(decoder, "monday")
stream.push(spike_times, channels)
velocity = stream.decode(now=58.0)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_newcomers_program_meets_a_new_day(pretrained, easy, here, capsys):
    pretrained.save("runs/pretrain/poyo_1/decoder-0.pt")
    easy("monday", units=9).save("monday.h5")
    assert len(NEW_DAY.strip().splitlines()) <= 10
    exec(NEW_DAY, {})
    (score,) = eval(capsys.readouterr().out).values()
    assert score > 0.3
    assert Decoder.load("monday.pt").score([easy("monday", units=9)]) == {"monday": score}


def test_a_newcomers_program_goes_from_arrays_to_a_stream(easy, learning, here):
    made = easy("monday")
    names = {
        "spike_times": made.spike_times,
        "channels": made.unit_ids[made.spike_units],
        "times": made.behavior["behavior"]["timestamps"],
        "hand": made.behavior["behavior"]["velocity"],
        "recipe": learning,
    }
    assert len(FROM_ARRAYS.strip().splitlines()) <= 10
    exec(FROM_ARRAYS, names)
    back = Decoder.load("monday.pt")
    assert back.score([made])["monday"] > 0.3
    decoded = names["velocity"]
    assert decoded.shape == (1, 2)
    nearest = np.abs(names["times"] - 58.0).argmin()
    assert np.abs(decoded - names["hand"][nearest]).max() < 1.0


# --- the functions ----------------------------------------------------------------------------


def test_the_recipes_are_of_their_kind():
    assert type(adapt.UNIT_IDENTIFICATION) is EmbeddingRecipe
    assert type(adapt.FINETUNE) is type(adapt.FROM_SCRATCH) is Recipe


def test_unit_identification_changes_embeddings_only(pretrained, easy, identifying):
    adopted = pretrained.adopt([easy()])
    after = adopted.copy()
    history = adapt.identify_units(after, [easy()], identifying, seed=4)
    assert learned(adopted, after) == {"unit_emb", "session_emb"}
    assert [row["step"] for row in history] == [5, 10, 12]
    assert (after.about["label"], after.about["seed"]) == ("unit identification", 4)


def test_unit_identification_refuses_a_recipe_that_trains_the_network(pretrained, easy, training):
    with pytest.raises(TypeError, match="takes an EmbeddingRecipe: the network is frozen"):
        adapt.identify_units(pretrained.adopt([easy()]), [easy()], training)


def test_finetuning_changes_everything(pretrained, easy, training):
    adopted = pretrained.adopt([easy()])
    after = adopted.copy()
    adapt.finetune(after, [easy()], replace(training, steps=1), seed=0)
    assert learned(adopted, after) >= {"unit_emb", "enc_atn", "proc_layers", "dec_ffn", "readout"}
    assert after.about["label"] == "finetuning"


def test_from_scratch_is_a_new_decoder_that_is_fitted(easy, training, windows, scratch):
    decoder, history = adapt.from_scratch(
        [easy()], training, size="smoke", windows=windows, seed=2
    )
    other = Decoder.new([easy()], size="smoke", windows=windows, seed=2)
    for file in scratch.iterdir():
        file.unlink()  # nothing to resume
    assert fit(other, [easy()], training, seed=2) == history
    assert not learned(decoder, other)


def test_sessions_adapt_together(pretrained, easy, identifying):
    days = [easy("monday", units=9, seed=1), easy("tuesday", units=7, seed=2)]
    adopted = pretrained.adopt(days)
    after = adopted.copy()
    adapt.identify_units(after, days, replace(identifying, batch_size=16))
    assert learned(adopted, after) == {"unit_emb", "session_emb"}
    for table in ("unit_emb", "session_emb"):
        rows = [getattr(d.model, table).weight.detach() for d in (adopted, after)]
        moved = (rows[1] - rows[0]).abs().max(1).values > 0
        assert moved[1:].all() and len(moved) == (17 if table == "unit_emb" else 3)
    assert after.score(days).keys() == {"monday", "tuesday"}


# --- few labelled trials ----------------------------------------------------------------------


def test_few_trials_are_train_trials_and_nested(simulated):
    few, more = (adapt.few_trials(simulated, n, 1.0, seed=0) for n in (3, 5))
    train = simulated.splits["train"]
    for one, n in ((few, 3), (more, 5)):
        assert len(one.splits["train"]) == n
        inside = [((a >= train[:, 0]) & (b <= train[:, 1])).any() for a, b in one.splits["train"]]
        assert all(inside), "nothing that was held out, nor its margin, is learned from"
        assert {k: v.tobytes() for k, v in one.splits.items() if k != "train"} == {
            k: v.tobytes() for k, v in simulated.splits.items() if k != "train"
        }
    assert set(map(tuple, few.splits["train"])) <= set(map(tuple, more.splits["train"]))
    other = adapt.few_trials(simulated, 3, 1.0, seed=1)
    assert other.splits["train"].tobytes() != few.splits["train"].tobytes()


def test_more_trials_than_there_are_is_an_error_that_says_how_many(simulated):
    with pytest.raises(ValueError, match=r"has \d+ train trials, not 500"):
        adapt.few_trials(simulated, 500, 1.0, seed=0)
