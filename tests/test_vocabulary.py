"""Names to rows, and rows carried from one vocabulary to another."""

import pytest
import torch

from poyo.vocabulary import NA, Vocabulary, VocabularyError, transfer, units_and_sessions

ABC = Vocabulary(["a", "b", "c"])


def test_row_zero_is_nobody():
    assert ABC.names == [NA, "a", "b", "c"]
    assert Vocabulary().names == [NA]
    assert len(ABC) == 4
    assert "a" in ABC and "d" not in ABC


def test_rows_follow_the_names():
    assert ABC.rows(["c", "a", NA, "c"]).tolist() == [3, 1, 0, 3]
    assert ABC.rows([]).tolist() == []


def test_names_make_the_vocabulary_again():
    assert Vocabulary(ABC.names) == ABC
    assert Vocabulary(["b", "a", "c"]) != ABC


def test_extend_adds_at_the_end_and_leaves_the_old():
    assert ABC.extend(["e", "d"]).names == [NA, "a", "b", "c", "e", "d"]
    assert len(ABC) == 4


def test_keep_drops_and_reorders():
    assert ABC.keep(["c", "a"]).names == [NA, "c", "a"]


def test_drop_keeps_the_order_of_the_rest():
    assert ABC.drop(["b"]).names == [NA, "a", "c"]


@pytest.mark.parametrize("make", [lambda: Vocabulary(["a", "b", "a"]), lambda: ABC.extend(["a"])])
def test_a_name_that_stands_twice_is_named(make):
    with pytest.raises(VocabularyError, match="'a'"):
        make()


@pytest.mark.parametrize("method", ["rows", "keep", "drop"])
def test_an_unknown_name_is_named(method):
    with pytest.raises(VocabularyError, match="'x9' is not in the vocabulary of 3 names"):
        getattr(ABC, method)(["a", "x9"])


def test_an_unknown_name_comes_with_the_closest():
    known = Vocabulary(["session_1/unit_4", "other"])
    with pytest.raises(VocabularyError, match="closest: 'session_1/unit_4'") as caught:
        known.rows(["session_1/unit_5"])
    assert not str(caught.value).startswith('"')  # KeyError would quote the message


def test_a_corpus_has_a_row_per_unit_and_per_session(easy):
    units, sessions = units_and_sessions([easy("one", units=3), easy("two", units=2)])
    assert units.names == [NA, "one/0", "one/1", "one/2", "two/0", "two/1"]
    assert sessions.names == [NA, "one", "two"]


def test_two_sessions_of_one_name_are_refused(easy):
    with pytest.raises(VocabularyError, match="session_id"):
        units_and_sessions([easy("one", units=2), easy("one", units=2)])


def test_transfer_keeps_known_rows_by_name_and_draws_the_new():
    table = torch.arange(40.0).reshape(4, 10)
    new = Vocabulary(["c", "new", "a", *(f"n{i}" for i in range(200))])
    rows = transfer(table, ABC, new, torch.Generator().manual_seed(0))
    assert rows.shape == (204, 10)
    torch.testing.assert_close(rows[[0, 1, 3]], table[[0, 3, 1]])
    drawn = torch.cat([rows[2:3], rows[4:]])
    assert drawn.std() == pytest.approx(0.02, rel=0.1)
    assert abs(drawn.mean()) < 0.002


def test_transfer_draws_from_the_generator():
    table, new = torch.zeros(4, 3), Vocabulary(["d"])
    one, same, other = (
        transfer(table, ABC, new, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_transfer_leaves_the_table_alone():
    table = torch.nn.Parameter(torch.zeros(4, 3))
    rows = transfer(table, ABC, ABC, torch.Generator().manual_seed(0))
    rows += 1
    assert (table == 0).all()
    assert not rows.requires_grad
