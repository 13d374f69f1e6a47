"""params.yaml is read strictly: what is wrong is named, with what is known."""

import copy
import io
from dataclasses import fields
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from poyo import ROOT
from poyo.config import ConfigError, EmbeddingRecipe, Recipe, Windows, read_yaml
from poyo.model import POYO, SIZES
from poyo.study import profile
from poyo.study.profile import Configuration, LFADSConfiguration

PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))
FILES = [ROOT / "params.yaml", *PROFILES]
TREE = read_yaml(ROOT / "profiles/smoke.yaml")
NAN = float("nan")
LISTS_OF_ROWS = ("models", "tried", "transfer")  # whose keys are names, or as many as one likes


def changed(key: str, value=None, *, remove: bool = False) -> dict:
    """The smoke profile with one (dotted) key set or removed."""
    tree = copy.deepcopy(TREE)
    *path, leaf = key.split(".")
    section = tree
    for name in path:
        section = section[name]
    if remove:
        del section[leaf]
    else:
        section[leaf] = value
    return tree


def keys(tree, where="") -> set[str]:
    if not isinstance(tree, dict) or where.split(".")[-1] in LISTS_OF_ROWS:
        return {where}
    return {leaf for key, value in tree.items() for leaf in keys(value, f"{where}.{key}")}


# --- the files in the repository --------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_profile_is_read_and_its_sizes_are_known(path):
    params = profile.load(path)
    assert params.profile == ("laptop" if path.stem == "params" else path.stem)
    named = {
        params.size,
        params.evidence.size,
        *params.speed.sizes,
        *(row.size for row in params.models.values()),
    }
    assert named <= set(SIZES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_profile_has_the_same_keys(path):
    assert keys(read_yaml(path)) == keys(TREE)


def test_a_model_named_by_its_depth_has_it():
    rows = profile.load(ROOT / "profiles/paper.yaml").models
    depths = {name: SIZES[row.size].depth for name, row in rows.items() if "depth" in name}
    assert len(depths) == 2
    assert all(name == f"mp_depth{depth}" for name, depth in depths.items())


def test_the_largest_model_is_ten_times_the_smallest():
    rows = profile.load().models
    count = {}
    for name in ("mp_tiny", "poyo_mp", "mp_large"):
        model = POYO(size=SIZES[rows[name].size], units=1, sessions=1)
        count[name] = sum(p.numel() for p in model.parameters())
    tiny, middle, large = count.values()
    assert tiny < middle < large and large > 10 * tiny
    assert len({rows[name].recipe.steps for name in count}) == 1


def test_the_papers_profile_has_the_papers_numbers():
    params = profile.load(ROOT / "profiles/paper.yaml")
    assert params.size == "11.8M"
    pretrain, single = params.models["poyo_mp"].recipe, params.adapt.single_session
    for run in (pretrain, single):
        assert (run.optimizer, run.warmup, run.hold, run.weight_decay) == ("lamb", 0.0, 0.5, 1e-4)
        assert run.lr == pytest.approx(3.125e-5 * run.batch_size)
        assert run.dropout == (0.2, 0.4, 0.2)
    assert (pretrain.steps, params.models["poyo_1"].recipe.steps) == (97_000, 180_000)
    assert pretrain.unit_dropout == (30, 100, 300)
    assert single.unit_dropout == (60, 300, 1000)
    assert (params.windows.length, params.windows.latent_step) == (1.0, 0.125)
    for run in (pretrain, params.your_recording, params.adapt.finetune, single):
        assert run.embedding_lr == run.lr, "all parameters share a learning rate"


def test_the_papers_profile_decodes_every_sample_of_a_window_at_a_kilohertz():
    windows = profile.load(ROOT / "profiles/paper.yaml").windows
    assert windows.queries > 1000 * windows.length


# --- inheriting from `pretrain` ---------------------------------------------------------------


def test_rows_inherit_what_they_do_not_set():
    tree = changed("models.rt", TREE["models"]["rt"] | {"lr": 0.5, "steps": 7})
    params = profile.read(tree)
    recipe = params.models["rt"].recipe
    assert type(recipe) is Recipe and (recipe.lr, recipe.steps) == (0.5, 7)
    expected = {f.name: getattr(recipe, f.name) for f in fields(Recipe)} | {"lr": 2e-3, "steps": 4}
    assert vars(params.models["co"].recipe) == expected
    assert params.ablations.recipe.eval_every == TREE["ablations"]["eval_every"]
    assert params.speed.own.batch_size == TREE["pretrain"]["batch_size"]


def test_a_key_of_pretrain_that_nothing_inherits_is_an_error():
    with pytest.raises(ConfigError, match=r"pretrain\.steps: remove it"):
        profile.read(changed("pretrain.steps", 4))


def test_a_key_that_some_row_inherits_must_be_in_pretrain():
    with pytest.raises(ConfigError, match=r"missing key pretrain\.lr; "):
        profile.read(changed("pretrain.lr", remove=True))
    with pytest.raises(ConfigError, match=r"missing key pretrain\.steps; "):  # of the row `co`
        profile.read(changed("models.co.steps", remove=True))


def test_pretrain_itself_cannot_be_missing():
    with pytest.raises(ConfigError, match="missing key pretrain; "):
        profile.read(changed("pretrain", remove=True))


# --- no parameter that lies -------------------------------------------------------------------


def test_unit_identification_has_no_rates_of_the_network():
    params = profile.read(TREE)
    assert type(params.adapt.unit_identification) is EmbeddingRecipe
    for key in ("lr", "weight_decay", "frozen"):
        with pytest.raises(ConfigError, match=f"unknown key adapt.unit_identification.{key};"):
            profile.read(changed(f"adapt.unit_identification.{key}", 1.0))
    with pytest.raises(ConfigError, match=r"adapt: tried\.unit_identification: .* embedding_lr"):
        profile.read(changed("adapt.tried.unit_identification", [{"lr": 1.0}]))


def test_a_method_tries_its_own_rates_first():
    adapt = profile.load().adapt
    assert adapt.grid("finetune")[0] == adapt.finetune
    tried = [(r.lr, r.embedding_lr) for r in adapt.grid("single_session")]
    assert tried == [(1e-2, 2e-2), (2e-2, 2e-2), (1e-2, 1e-2)]
    rates = [r.embedding_lr for r in adapt.grid("unit_identification")]
    assert rates == [1e-1, 2e-2, 5e-2]


def test_every_row_of_table_2_tries_as_many_configurations():
    with pytest.raises(ConfigError, match=r"adapt\.tried\.finetune: .* must try as many"):
        profile.read(changed("adapt.tried.finetune", []))
    fewer = TREE["baselines"]["gru"]["tried"][:1]
    with pytest.raises(ConfigError, match="baselines: every method must try as many"):
        profile.read(changed("baselines.gru.tried", fewer))


@pytest.mark.parametrize("key, more", [("finetuning", {"value": []}), ("finetune", {"remove": 1})])
def test_rates_are_tried_for_every_method_and_no_other(key, more):
    with pytest.raises(ConfigError, match=r"adapt: tried: expected keys .*, got unit_"):
        profile.read(changed(f"adapt.tried.{key}", **more))


def test_a_configuration_counts_once():
    own = {"lr": TREE["adapt"]["finetune"]["lr"]}
    with pytest.raises(ConfigError, match=r"adapt: tried\.finetune: .* twice"):
        profile.read(changed("adapt.tried.finetune", [own]))
    twice = TREE["baselines"]["mlp"]["tried"][:1] * 2
    with pytest.raises(ConfigError, match=r"baselines\.mlp: tried: .* twice"):
        profile.read(changed("baselines.mlp.tried", twice))


def test_only_lfads_has_a_divergence():
    row = {"width": 8, "dropout": 0.2, "lr": 0.1, "kl": 0.1}
    with pytest.raises(ConfigError, match=r"unknown key baselines\.ndt\.tried\[0\]\.kl;"):
        profile.read(changed("baselines.ndt.tried", [row, row]))
    assert issubclass(LFADSConfiguration, Configuration) and LFADSConfiguration(**row).kl == 0.1


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("seeds", [], r"^seeds: expected some, each once, got \[\]"),
        ("seeds", [3, 3], "^seeds: expected some, each once"),
        ("seeds", [-1], r"^seeds\[0\]: -1 is not at least 0$"),
        ("speed.seeds", [], "^speed.seeds: expected some, each once"),
        ("threads", 0, "^threads: 0 is not more than 0$"),
        ("pretrain.lr", NAN, "^pretrain.lr: nan is not more than 0$"),
        ("pretrain.lr", -1.0, "^pretrain.lr: -1.0 is not more than 0$"),
        ("pretrain.embedding_lr", float("inf"), r"embedding_lr: expected a number, got inf$"),
        ("adapt.tried.finetune", [{"lr": NAN}], r"^adapt.tried.finetune\[0\].lr: nan is not"),
        ("pretrain.weight_decay", -0.1, "^pretrain.weight_decay: -0.1 is not at least 0$"),
        ("pretrain.dropout", [1.5, 0, 0], r"dropout\[0\]: 1.5 is not at least 0 and at most 1$"),
        ("pretrain.dropout", [1.0, 0, 0], r"dropout: rates must be in \[0, 1\)"),
        (
            "pretrain.warmup",
            0.9,
            "^models.poyo_mp: warmup, hold: not 0 <= warmup <= hold <= 1",
        ),
        ("pretrain.hold", 1.5, "^pretrain.hold: 1.5 is not at least 0 and at most 1$"),
        ("pretrain.batch_size", 0, "^pretrain.batch_size: 0 is not more than 0$"),
        ("models.co.steps", -5, "^models.co.steps: -5 is not more than 0$"),
        ("windows.eval_step", 0, "^windows.eval_step: 0 is not more than 0$"),
        ("windows.eval_step", 5, "^windows: eval_step: 5 s is more than a window, 1 s"),
        ("windows.latent_step", 0.3, "^windows: latent_step: a window is 3.33333 steps of 0.3 s"),
        ("windows.latent_step", 2.0, "^windows: latent_step: a window is 0.5 steps of 2 s"),
        ("data.days", 0, "^data.days: 0 is not more than 0$"),
        ("data.minutes", 0.0, "^data.minutes: 0.0 is not more than 0$"),
        (
            "data.units",
            [60, 25],
            "^data.units: expected the lowest and the highest, got ",
        ),
        ("evidence.units", [0, 5], r"^evidence.units\[0\]: 0 is not more than 0$"),
        ("evidence.trials", [], "^evidence.trials: expected some"),
        ("wiener.bin", 0.0, "^wiener.bin: 0.0 is not more than 0$"),
        ("baselines.bin", 0.0, "^baselines.bin: 0.0 is not more than 0$"),
        ("baselines.lfads.lr", [1.0, 0.1], "^baselines.lfads.lr: expected the lowest and the"),
        ("speed.goal", NAN, "^speed.goal: expected a number, got nan$"),
        ("models.a/b", TREE["models"]["co"], "models: 'a/b' is no name for a row"),
        ("models.a;b", TREE["models"]["co"], "models: 'a;b' is no name for a row"),
        ("models.12", TREE["models"]["co"], "models: '12' is no name for a row"),  # a number in -p
        ("models.a.b", None, None),  # see below
        ("runs", [*TREE["runs"], "nine"], "runs: 'nine' is no row of models; known: poyo_mp, "),
        ("runs", TREE["runs"] * 2, "^runs: expected some, each once"),
        ("adapt.transfer", {"nine": ["T-CO"]}, "'nine' is no row of models"),
        ("adapt.transfer", {}, "^adapt: transfer: expected some model"),
        *(
            ("runs", [run for run in TREE["runs"] if run != name], f"runs: '{name}' is missing")
            for name in ("poyo_mp", "poyo_1", "co")
        ),
        ("models.co.alone", True, r"models\.co: 05_adapt needs one model for all"),
        ("models.co.share", 0.0, "^models.co.share: 0.0 is not more than 0 and at most 1$"),
        ("models.co.optimizer", "sgd", r"models\.co: optimizer: 'sgd' is unknown"),
        ("windows.queries", 0, "^windows.queries: 0 is not more than 0$"),
        ("baselines.eit_step", 0.05, "baselines: eit_step: 0.05 s is not a whole number of bins"),
        ("processes", 0, "processes: 0"),
        ("baselines.eval_every", 0, "^baselines.eval_every: 0 is not more than 0$"),
    ],
)
def test_what_cannot_work_is_said_before_anything_runs(key, value, expected):
    tree = changed(key, value) if expected else copy.deepcopy(TREE)
    if expected is None:  # DVC reads a dot in `models.NAME` as a step down
        tree["models"]["a.b"] = tree["models"]["co"]
        expected = "models: 'a.b' is no name for a row"
    with pytest.raises(ConfigError, match=expected):
        profile.read(tree)


# --- what is wrong is named -------------------------------------------------------------------


@pytest.mark.parametrize(
    "key, close",
    [
        ("data.minuets", "minutes"),
        ("windows.lenght", "length"),
        ("pretrain.batchsize", "batch_size"),
        ("adapt.finetuning", "finetune"),
        ("adapt.finetune.step", "steps"),
        ("wiener.bins", "bin"),
        ("your_recording.optimiser", "optimizer"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_and_the_closest(key, close):
    with pytest.raises(ConfigError) as caught:
        profile.read(changed(key, 1))
    message = str(caught.value)
    assert message.startswith(f"unknown key {key};")
    assert message.endswith(f"did you mean {close}?")
    known = message.split("known: ")[1].split(";")[0].split(", ")
    section = TREE
    for name in key.split(".")[:-1]:
        section = section[name]
    assert sorted(known) == sorted(section)


@pytest.mark.parametrize("key, close", [("models.co.stepz", "steps"), ("seedss", "seeds")])
def test_an_unknown_key_of_a_row_or_section_too(key, close):
    with pytest.raises(ConfigError, match=rf"^unknown key {key}; .* did you mean {close}\?$"):
        profile.read(changed(key, 1))


def test_a_key_like_none_has_no_suggestion():
    with pytest.raises(ConfigError, match=r"unknown key zzz; known: [\w, ]+$"):
        profile.read(changed("zzz", 1))


@pytest.mark.parametrize(
    "key", ["size", "data.units", "your_recording.lr", "adapt.finetune", "wiener.ridge", "speed"]
)
def test_a_missing_key_is_named(key):
    with pytest.raises(ConfigError, match=f"missing key {key}; "):
        profile.read(changed(key, remove=True))


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("steps", 2.5, "expected int, got 2.5"),
        ("steps", "many", "expected int, got 'many'"),
        ("steps", True, "expected int, got True"),
        ("lr", "fast", "expected float, got 'fast'"),
        ("lr", None, "expected float, got None"),
        ("lr", False, "expected float, got False"),
        ("optimizer", 3, "expected str, got 3"),
        ("unit_dropout", 3, "expected a list, got 3"),
        ("unit_dropout", [1, 2], r"expected 3 values, got \[1, 2\]"),
    ],
)
def test_a_wrong_type_is_named(key, value, expected):
    with pytest.raises(ConfigError, match=rf"^your_recording\.{key}: {expected}"):
        profile.read(changed(f"your_recording.{key}", value))


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("data", 3, "expected keys corpus, root, .*, got 3"),
        ("adapt.finetune", [1], "expected keys optimizer, steps, "),
        ("pretrain", 3, "expected keys optimizer, .*, got 3"),
        ("models", 3, "expected names and their rows, got 3"),
        ("models.co", 3, "expected keys optimizer, .*, got 3"),
    ],
)
def test_a_wrong_section_is_named(key, value, expected):
    with pytest.raises(ConfigError, match=f"^{key}: {expected}"):
        profile.read(changed(key, value))


def test_a_wrong_element_is_named_by_its_place():
    with pytest.raises(ConfigError, match=r"^wiener\.ridge\[1\]: expected float, got 'x'"):
        profile.read(changed("wiener.ridge", [1, "x", 3]))


def test_yaml_is_that_of_dvc(tmp_path):
    """1e-4 is a number and `no` a word (YAML 1.2), in params.yaml as in what DVC tracks of it."""
    assert read_yaml("{a: 1e-4, b: no, c: 2.0E+3}") == {"a": 1e-4, "b": "no", "c": 2000.0}
    path, text = tmp_path / "params.yaml", io.StringIO()
    YAML().dump(changed("your_recording.lr", 0.5), text)
    path.write_text(text.getvalue().replace("lr: 0.5", "lr: 1e-4"))
    assert profile.load(path).your_recording.lr == 1e-4


def test_whole_numbers_do_for_floats_and_lists_for_tuples():
    params = profile.read(changed("windows.length", 1))
    assert isinstance(params.windows.length, float)
    assert params.your_recording.unit_dropout == tuple(TREE["your_recording"]["unit_dropout"])


@pytest.mark.parametrize(
    "text, message",
    [
        (b"a: [1,", r"params.yaml is not valid YAML: line 1: "),
        (b"a: 1\nb: 2\na: 3", 'is not valid YAML: line 3: found duplicate key "a" with value "3"'),
        (
            "# Millisekunden, gez\u00e4hlt".encode("latin-1"),
            "params.yaml: its byte 20 is not UTF-8",
        ),
        (b"", "expected keys"),
    ],
)
def test_a_broken_file_says_so(tmp_path, text, message):
    path = Path(tmp_path / "params.yaml")
    with pytest.raises(ConfigError, match=r"params.yaml cannot be read: No such file"):
        profile.load(path)
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=message):
        profile.load(path)


@pytest.mark.parametrize(
    "key, value",
    [("lr", NAN), ("lr", 0.0), ("embedding_lr", -1.0), ("weight_decay", NAN), ("steps", -5)]
    + [("batch_size", 0), ("eval_every", 0), ("hold", 1.5), ("warmup", 0.5), ("warmup", NAN)]
    + [("dropout", (1.5, 0.0, 0.0)), ("optimizer", "sgd"), ("unit_dropout", (3, 2, 1))],
)
def test_a_recipe_made_in_python_is_checked_too(key, value):
    with pytest.raises(ValueError, match=f"^(warmup, )?{key}[:,] "):
        Recipe(**{key: value})


def test_windows_made_in_python_are_checked_too():
    for key, value in {"length": 0.0, "latent_step": NAN, "eval_step": 0.0, "queries": 0}.items():
        with pytest.raises(ValueError, match=f"^{key}: "):
            Windows(**{key: value})


def test_an_installed_package_without_the_repository_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(profile, "ROOT", tmp_path)
    with pytest.raises(ConfigError, match=r"from a clone .* `pip install -e \.`; the package al"):
        profile.load(tmp_path / "params.yaml")
