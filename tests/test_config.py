"""params.yaml is read strictly: what is wrong is named, with what is known."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from poyo import ROOT
from poyo.config import SIZES, ConfigError, Params, build, load, to_dict
from poyo.model import POYO

PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))
FILES = [ROOT / "params.yaml", *PROFILES]
TREE = yaml.safe_load((ROOT / "profiles/smoke.yaml").read_text())


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


def read(tree: dict) -> Params:
    return build(Params, tree, "")


def keys(tree, where="") -> set[str]:
    if not isinstance(tree, dict):
        return {where}
    return {leaf for key, value in tree.items() for leaf in keys(value, f"{where}.{key}")}


# --- the files in the repository --------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_profile_builds(path):
    params = load(path)
    assert params.size in SIZES
    assert params.profile == ("laptop" if path.stem == "params" else path.stem)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_profile_has_the_same_keys(path):
    assert keys(yaml.safe_load(path.read_text())) == keys(TREE)


def test_a_profile_is_there_for_tests_and_one_for_the_paper():
    assert {"smoke", "paper"} <= {path.stem for path in PROFILES}


def test_the_papers_profile_has_the_papers_numbers():
    params = load(ROOT / "profiles/paper.yaml")
    assert params.size == "11.8M"
    for run in (params.pretrain, params.adapt.single_session):
        assert (run.optimizer, run.warmup, run.hold, run.weight_decay) == ("lamb", 0.0, 0.5, 1e-4)
        assert run.lr == pytest.approx(3.125e-5 * run.batch_size)
        assert run.dropout == (0.2, 0.4, 0.2)
    assert params.pretrain.unit_dropout == (30, 100, 300)
    assert params.adapt.single_session.unit_dropout == (60, 300, 1000)
    assert (params.windows.length, params.windows.latent_step) == (1.0, 0.125)


def test_in_the_papers_profile_all_parameters_share_a_learning_rate():
    params = load(ROOT / "profiles/paper.yaml")
    adapt = params.adapt
    runs = (params.pretrain, params.own, adapt.unit_identification, adapt.finetune)
    for run in (*runs, adapt.single_session):
        assert run.embedding_lr == run.lr


@pytest.mark.parametrize("size", SIZES)
def test_every_size_builds_a_model(size):
    model = POYO(size=size, units=2, sessions=2)
    assert len(model.proc_layers) == SIZES[size].depth
    assert model.readout.in_features == SIZES[size].dim


# --- what is wrong is named -------------------------------------------------------------------


@pytest.mark.parametrize(
    "key, close",
    [
        ("seedss", "seeds"),
        ("data.minuets", "minutes"),
        ("windows.lenght", "length"),
        ("pretrain.batchsize", "batch_size"),
        ("adapt.finetuning", "finetune"),
        ("adapt.finetune.step", "steps"),
        ("wiener.bins", "bin"),
        ("own.optimiser", "optimizer"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_and_the_closest(key, close):
    with pytest.raises(ConfigError) as caught:
        read(changed(key, 1))
    message = str(caught.value)
    assert message.startswith(f"unknown key {key};")
    assert message.endswith(f"did you mean {close}?")
    known = message.split("known: ")[1].split(";")[0].split(", ")
    section = TREE
    for name in key.split(".")[:-1]:
        section = section[name]
    assert sorted(known) == sorted(section)


def test_a_key_like_none_has_no_suggestion():
    with pytest.raises(ConfigError, match=r"unknown key zzz; known: [\w, ]+$"):
        read(changed("zzz", 1))


@pytest.mark.parametrize("key", ["size", "data.units", "own.lr", "adapt.finetune", "wiener.ridge"])
def test_a_missing_key_is_named(key):
    with pytest.raises(ConfigError, match=f"missing key {key}; "):
        read(changed(key, remove=True))


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("own.steps", 2.5, "expected int, got 2.5"),
        ("own.steps", "many", "expected int, got 'many'"),
        ("own.steps", True, "expected int, got True"),
        ("own.lr", "fast", "expected float, got 'fast'"),
        ("own.lr", None, "expected float, got None"),
        ("own.lr", False, "expected float, got False"),
        ("own.optimizer", 3, "expected str, got 3"),
        ("own.unit_dropout", 3, "expected a list, got 3"),
        ("own.unit_dropout", [1, 2], r"expected 3 values, got \[1, 2\]"),
        ("data", 3, "expected keys corpus, root, .*, got 3"),
        ("adapt.finetune", [1], "expected keys optimizer, steps, "),
    ],
)
def test_a_wrong_type_is_named(key, value, expected):
    with pytest.raises(ConfigError, match=f"^{key}: {expected}"):
        read(changed(key, value))


def test_a_wrong_element_is_named_by_its_place():
    with pytest.raises(ConfigError, match=r"^own\.unit_dropout\[1\]: expected int, got 'x'"):
        read(changed("own.unit_dropout", [1, "x", 3]))


def test_an_unknown_size_names_the_known():
    with pytest.raises(ConfigError, match=r"size: '2M' is unknown; known: 1\.3M, 11\.8M"):
        read(changed("size", "2M"))


def test_every_row_of_table_2_tries_as_many_configurations():
    fewer = TREE["adapt"]["tried"]["finetune"][:-1]
    with pytest.raises(ConfigError, match=r"adapt\.tried\.finetune: must try as many"):
        read(changed("adapt.tried.finetune", fewer))


def test_a_window_has_at_least_one_query():
    with pytest.raises(ConfigError, match=r"windows\.queries must be at least 1, got 0"):
        read(changed("windows.queries", 0))


def test_the_papers_profile_decodes_every_sample_of_a_window_at_a_kilohertz():
    windows = load(ROOT / "profiles/paper.yaml").windows
    assert windows.queries > 1000 * windows.length


def test_exponents_without_a_point_are_numbers(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed("own.lr", 0.5)).replace("lr: 0.5", "lr: 1e-4"))
    assert yaml.safe_load(path.read_text())["own"]["lr"] == "1e-4"  # YAML 1.1 takes it for text
    assert load(path).own.lr == 1e-4


def test_whole_numbers_do_for_floats_and_lists_for_tuples():
    params = read(changed("windows.length", 1))
    assert isinstance(params.windows.length, float)
    assert params.own.unit_dropout == tuple(TREE["own"]["unit_dropout"])


@pytest.mark.parametrize("text, message", [("a: [1,", "is not valid YAML"), ("", "expected keys")])
def test_a_broken_file_says_so(tmp_path, text, message):
    path = Path(tmp_path / "params.yaml")
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(path)


def test_a_config_goes_to_plain_values_and_back():
    params = load(ROOT / "profiles/smoke.yaml")
    assert read(to_dict(params)) == params
    assert read(to_dict(replace(params, threads=7))) != params
