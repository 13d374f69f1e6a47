"""Names to rows of the embedding tables."""

import pytest

from poyo.vocabulary import NA, Vocabulary, VocabularyError, units_and_sessions

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


def test_a_name_that_stands_twice_is_named():
    with pytest.raises(VocabularyError, match="2 names stand twice, among them 'a'"):
        Vocabulary(["a", "b", "a", "b", "c"])


def test_an_unknown_name_is_named_with_the_cure():
    with pytest.raises(VocabularyError, match=r"'x9' is not in .* of 3 names; .*Decoder\.adopt"):
        ABC.rows(["a", "x9"])


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
