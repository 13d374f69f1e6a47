"""A built corpus: its roles are the columns of the paper's tables, its scopes what pretrains."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from poyo.data import corpus, sources
from poyo.data.corpus import CO, RT
from poyo.data.intervals import intervals
from poyo.data.recording import TASKS, Recording, RecordingError
from poyo.study import paper

DATA = {
    "corpus": "simulated", "root": "", "seed": 0, "days": 1, "held_out_days": 2,
    "minutes": 0.5, "held_out_minutes": 1.0, "units": (10, 14),
}  # fmt: skip
ONE = Recording(
    session_id="one",
    spike_times=np.array([1.0]),
    spike_units=np.array([0]),
    unit_ids=np.array(["0"]),
    behavior={},
    domain=intervals(0.0, 10.0),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[pd.DataFrame, dict[str, list[Recording]]]:
    """The smallest corpus, its index and its recordings by role."""
    folder = tmp_path_factory.mktemp("corpus")
    return corpus.build(folder, **DATA), sources.load_corpus(folder)


# --- roles ------------------------------------------------------------------------------------


def test_the_simulated_corpus_has_a_session_for_every_column(built):
    _, roles = built
    assert list(roles) == ["pretrain", *paper.COLUMNS]
    assert {role: len(some) for role, some in roles.items() if role != "pretrain"} == {
        "C-CO": 2, "T-CO": 2, "T-RT": 2, "NLB-Maze": 1, "NLB-RTT": 1,
    }  # fmt: skip


def test_sessions_are_as_long_as_asked_for(built):
    index, _ = built
    minutes = index["seconds"] / 60
    expected = np.where(index["role"] == "pretrain", DATA["minutes"], DATA["held_out_minutes"])
    np.testing.assert_allclose(minutes, expected)


def test_held_out_sessions_are_other_days_of_known_animals_or_new_ones(built):
    _, roles = built
    pretrain = {one.session_id: one.subject for one in roles["pretrain"]}
    for role, some in roles.items():
        if role != "pretrain":
            assert not pretrain.keys() & {one.session_id for one in some}
            assert {one.subject in pretrain.values() for one in some} == {not role.startswith("T")}
    of_one_source = {one.subject for one in sources.scope(roles["pretrain"], "mp")}
    assert not of_one_source & {roles[role][0].subject for role in ("NLB-Maze", "NLB-RTT")}


def test_every_session_has_a_readout_whose_samples_are_scored(built):
    _, roles = built
    for some in roles.values():
        for one in some:
            readout = sources.readout_of(one)
            assert readout.evaluate is None or len(one.intervals[readout.evaluate])
            assert set(readout.weights) <= {*one.intervals, *sources.CENTER_OUT.weights}


def test_the_public_corpora_name_what_is_missing(tmp_path):
    data = DATA | {"corpus": "poyo_1", "root": str(tmp_path)}
    with pytest.raises(RecordingError, match=r"169 of 169 files of poyo_1 .*brainsets prepare"):
        corpus.build(tmp_path, **data)
    with pytest.raises(ValueError, match="known: simulated, poyo_mp, poyo_1"):
        corpus.build(tmp_path, **data | {"corpus": "poyo_2"})


@pytest.fixture
def public(simulated, tmp_path, monkeypatch):
    """Builds a public corpus of one file, in which the velocity is so many times what it was."""
    monkeypatch.setattr(corpus, "PUBLIC", {"pretrain": {"sim-perich": ["one"]}})

    def make(scale: float) -> pd.DataFrame:
        cursor = simulated.behavior["cursor"]
        series = cursor | {"vel": cursor["vel"] * scale}
        one = replace(simulated, behavior={"cursor": series})
        one.save(tmp_path / "sim-perich/one.h5")
        return corpus.build(tmp_path, **DATA | {"corpus": "poyo_mp", "root": str(tmp_path)})

    return make


@pytest.mark.filterwarnings("ignore:.*one.h5")
def test_a_public_file_that_was_replaced_changes_the_index(public):
    """So that what depends on the corpus runs again: its counts may be the same."""
    one, same, other = (public(scale) for scale in (1.0, 1.0, 2.0))
    assert one.equals(same) and not one.equals(other)
    assert one.drop(columns="sha256").equals(other.drop(columns="sha256"))


@pytest.mark.filterwarnings("ignore:.*one.h5")
def test_what_is_suspicious_in_a_public_file_is_warned_of(public):
    with pytest.warns(UserWarning, match=r"one\.h5: cursor.vel varies by .*is it in cm/s\?"):
        public(1000.0)


def test_the_index_has_a_row_of_facts_for_every_session(built):
    index, roles = built
    every = [(role, one) for role, some in roles.items() for one in some]
    assert list(index["role"]) == [role for role, _ in every]
    for name in ("brainset", "subject", "task", "session_id"):
        assert list(index[name]) == [getattr(one, name) for _, one in every], name
    assert set(index["task"]) == set(TASKS)
    assert list(index["units"]) == [len(one.unit_ids) for _, one in every]


def test_recordings_need_neither_torch_nor_the_method():
    modules = "recording readers sources corpus simulate layout intervals behaviour".split()
    code = f"""
import sys
for name in {modules}:
    __import__("poyo.data." + name)
print(sorted(m for m in sys.modules if m == "torch" or m.startswith("poyo") and
             not m.startswith("poyo.data") and m != "poyo"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- scopes -----------------------------------------------------------------------------------


def test_scopes_of_the_simulated_corpus(built):
    pretrain = built[1]["pretrain"]
    scopes = {name: sources.scope(pretrain, name) for name in sources.SCOPES}
    assert scopes["poyo_1"] == pretrain
    assert {one.brainset for one in scopes["mp"]} == {"sim-perich"}
    assert {one.brainset for one in pretrain} > {"sim-perich"}
    assert scopes["mp"] == [one for one in pretrain if one.brainset == "sim-perich"]
    assert {one.task for one in scopes["co"]} == {CO}
    assert {one.task for one in scopes["rt"]} == {RT}
    assert len(scopes["co"]) + len(scopes["rt"]) == len(scopes["mp"])


def test_scopes_of_the_public_corpus_have_the_papers_sessions():
    task = lambda name: next((task for task in TASKS if task in name), "")  # noqa: E731
    recordings = [
        replace(ONE, brainset=brainset, session_id=name, task=task(name))
        for brainset, names in sources.PUBLIC["pretrain"].items()
        for name in names
    ]
    sizes = {name: len(sources.scope(recordings, name)) for name in sources.SCOPES}
    # the paper's 158 and 100, of which five stand twice
    assert sizes == {"poyo_1": 153, "mp": 95, "co": 74, "rt": 21}


def test_a_share_takes_the_first_sessions_of_every_animal_and_task():
    recordings = [
        replace(
            ONE,
            brainset="sim-perich",
            subject=subject,
            session_id=f"{subject}{day}{task}",
            task=task,
        )
        for subject in "ab"
        for task in (CO, RT)
        for day in range(3)
    ]
    third = [r.session_id for r in sources.scope(recordings, "mp", 0.33)]
    assert third == [f"{s}{d}{task}" for s in "ab" for task in (CO, RT) for d in (0,)]
    assert [r.session_id[1] for r in sources.scope(recordings, "mp", 0.01)] == ["0"] * 4
    assert sources.scope(recordings, "mp") == recordings


def test_a_scope_that_is_unknown_or_empty_says_so(built):
    pretrain = built[1]["pretrain"]
    with pytest.raises(RecordingError, match=r"'all'; known: poyo_1, mp, co, rt"):
        sources.scope(pretrain, "all")
    others = [one for one in pretrain if one.brainset == "sim-odoherty"]
    with pytest.raises(RecordingError, match=r"scope 'mp'; 1 are there, of: sim-odoherty"):
        sources.scope(others, "mp")
    with pytest.raises(RecordingError, match="scope 'poyo_1'; 0 are there"):
        sources.scope([], "poyo_1")


# --- the paper's tables -----------------------------------------------------------------------


def test_table_1_adds_up_to_the_papers_headline():
    sessions, units = (sum(row[i] for row in paper.TABLE_1) for i in (4, 5))
    assert sessions == 178 + 2  # the abstract counts without the benchmark
    assert units == 29_453


def test_table_2_has_the_columns_of_the_corpus_in_the_order_of_its_methods():
    assert list(paper.TABLE_2) == [method for method in paper.METHODS if method in paper.TABLE_2]
    for method, row in paper.TABLE_2.items():
        columns = [column for column in paper.COLUMNS if column in row]
        assert list(row) == columns
        assert columns == list(paper.COLUMNS)[3 if method == "lfads" else 0 :]
        for column, (r2, std) in row.items():
            assert 0.5 < r2 < 1
            assert std is None if column.startswith("NLB") else 0 < std < 0.2


def test_unverified_numbers_are_not_the_papers():
    assert set(paper.METHODS) - set(paper.TABLE_2) == {"ndt", "ndt_supervised", "eit"}
