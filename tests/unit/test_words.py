"""Words, token positions and the alignment of two prompts."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p_core import Prompt, align
from p2p_core.alignment import Alignment
from p2p_core.errors import BadEdit, UnknownWord

from .. import tiny

TOKENIZER = tiny.tokenizer()
LENGTH = TOKENIZER.model_max_length
quick = settings(deadline=None, max_examples=120)


def parse(text: str) -> Prompt:
    return Prompt.parse(text, TOKENIZER)


def kinds(alignment: Alignment) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    return [(span.kind, span.source, span.target) for span in alignment.spans]


# Prompts as people write them, and as they don't.
ODD = "— #1 don't 漢字 é naïve 🙂 (hill) … ß İ"
WORDS = st.sampled_from(f"a red house, cat Cat hippopotamus teddy bear {ODD}".split())
PLAIN = st.lists(WORDS, max_size=10).map(" ".join)
WILD = st.text(max_size=40)
LONG = st.lists(WORDS, min_size=20, max_size=60).map("  ".join)
PROMPTS = st.one_of(PLAIN, WILD, LONG)


@quick
@given(PROMPTS)
def test_a_prompt_is_tokenized_as_the_pipeline_does_it(text: str) -> None:
    prompt = parse(text)
    clean = text.encode("utf-8", "replace").decode("utf-8")
    expected = TOKENIZER(clean, padding="max_length", truncation=True, max_length=LENGTH).input_ids
    assert list(prompt.ids) == expected
    assert prompt.ids[prompt.end] == TOKENIZER.eos_token_id
    positions = [t for piece in prompt.pieces for t in piece.tokens]
    assert positions == sorted(set(positions)), "no token has two homes, and they stand in order"
    assert all(0 < t < prompt.end for t in positions)
    for word in prompt.words:
        assert clean[slice(*word.span)] == word.text and word.text.strip() == word.text


@quick
@given(PLAIN)
def test_every_token_of_a_short_prompt_has_a_word_or_punctuation(text: str) -> None:
    prompt = parse(text)
    if not prompt.truncated_words and prompt.end < LENGTH - 1:
        assert [t for piece in prompt.pieces for t in piece.tokens] == list(range(1, prompt.end))


def test_punctuation_is_no_part_of_a_word() -> None:
    prompt = parse('a "red" house, (at night)!  …')
    assert [w.text for w in prompt.words] == ["a", "red", "house", "at", "night"]
    assert [p.text for p in prompt.pieces if not p.is_word] == ['"', '"', ",", "(", ")!", "…"]
    assert prompt.find("house") == prompt.find("house,") == prompt.find("HOUSE")


def test_words_are_found_by_text_phrase_and_number() -> None:
    prompt = parse("a teddy bear and a Bear with a hippopotamus")
    assert prompt.find_words("bear") == (2, 5)
    assert prompt.find_words("teddy bear") == (1, 2)
    assert prompt.find_words(5) == prompt.find_words("#5") == (5,)
    assert prompt.find_words("A") == (0, 4, 7)
    assert len(prompt.find("hippopotamus")) > 1
    assert prompt.find("bear") == tuple(t for n in (2, 5) for t in prompt.words[n].tokens)


@pytest.mark.parametrize("name", ["castle", "bear teddy", "", ",", 9, -1, "#9", 1.5, None, True])
def test_an_unknown_word_lists_the_words_there_are(name: object) -> None:
    with pytest.raises(UnknownWord) as error:
        parse("a teddy bear").find(name)  # type: ignore[arg-type]
    assert "teddy" in str(error.value) or "named by" in str(error.value)


def test_a_long_prompt_is_cut_by_tokens_and_says_which_words_fell_off() -> None:
    text = "hippopotamus " * 3 + "red house"
    prompt = parse(text)
    assert prompt.truncated_words and prompt.truncated_words[-1] == "house"
    assert prompt.end == LENGTH - 1
    assert prompt.find("house") == (), "a word that fell off has no tokens"
    assert not parse("red house").truncated_words


# --- alignment --------------------------------------------------------------------------------------


@quick
@given(PROMPTS, PROMPTS, st.sampled_from(["auto", "refine"]))
def test_every_column_is_new_or_sums_to_one(source: str, target: str, kind: str) -> None:
    s, t = parse(source), parse(target)
    alignment = align(s, t, kind)  # type: ignore[arg-type]
    A, n = alignment.matrix, alignment.new
    assert A.shape == (LENGTH, LENGTH) and A.dtype == np.float32 and n.dtype == bool
    assert (A >= 0).all()
    assert (A[:, n] == 0).all()
    assert np.allclose(A[:, ~n].sum(0), 1, atol=1e-6)
    assert A[0, 0] == 1 and A[s.end, t.end] == 1 and A[:, t.end].sum() == 1
    for p in range(t.end + 1, LENGTH):
        assert n[p] == (p <= s.end) and A[p, p] == (p > s.end)
    assert sorted(n for span in alignment.spans for n in span.target) == [
        i for i, w in enumerate(t.words) if i in {x for span in alignment.spans for x in span.target}
    ]


@quick
@given(PROMPTS, st.sampled_from(["auto", "refine", "swap"]))
def test_equal_prompts_give_the_identity(text: str, kind: str) -> None:
    alignment = align(parse(text), parse(text), kind)  # type: ignore[arg-type]
    assert (alignment.matrix == np.eye(LENGTH)).all() and not alignment.new.any()
    assert all(span.kind == "kept" for span in alignment.spans)


@quick
@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, min_size=1, max_size=2), st.integers(0, 4))
def test_deleting_what_was_inserted_is_the_identity_on_kept_words(
    words: list[str], inserted: list[str], at: int
) -> None:
    short = parse(" ".join(words))
    long = parse(" ".join([*words[:at], *inserted, *words[at:]]))
    if long.end == LENGTH - 1:  # something may have fallen off
        return
    there, back = align(short, long), align(long, short)
    assert all(span.kind in ("kept", "added") for span in there.spans)
    assert all(span.kind in ("kept", "removed") for span in back.spans)
    round_trip = there.matrix @ back.matrix
    assert np.allclose(round_trip[: short.end + 1, : short.end + 1], np.eye(short.end + 1))


def test_a_swap_of_unequal_token_counts_takes_the_mean_and_moves_nothing_else() -> None:
    """The public code reads what follows by position: wrong in every such pair."""
    s, t = parse("a cat sitting on a hill"), parse("a hippopotamus sitting on a hill")
    alignment = align(s, t)
    A = alignment.matrix
    (cat,) = s.find("cat")
    for column in t.find("hippopotamus"):
        assert A[cat, column] == 1 and A[:, column].sum() == 1
    for word in ("sitting", "on", "hill"):
        for i, j in zip(s.find(word), t.find(word), strict=True):
            assert A[i, j] == 1 and A[:, j].sum() == 1
    back = align(t, s).matrix
    rows = list(t.find("hippopotamus"))
    assert np.allclose(back[rows, cat], 1 / len(rows))


def test_runs_swap_word_by_word_or_as_a_whole() -> None:
    s, t = parse("a red house at night"), parse("a green castle at night")
    assert kinds(align(s, t))[1:3] == [("swapped", (1,), (1,)), ("swapped", (2,), (2,))]
    s, t = parse("a cat at night"), parse("a teddy bear at night")
    assert ("swapped", (1,), (1, 2)) in kinds(align(s, t))
    (cat,) = s.find("cat")
    assert all(align(s, t).matrix[cat, j] == 1 for j in t.find("teddy bear"))


def test_added_and_removed_words() -> None:
    s, t = parse("a house at night"), parse("a big house at night with a cat")
    alignment = align(s, t)
    assert kinds(alignment) == [
        ("kept", (0,), (0,)),
        ("added", (), (1,)),
        ("kept", (1,), (2,)),
        ("kept", (2,), (3,)),
        ("kept", (3,), (4,)),
        ("added", (), (5, 6, 7)),
    ]
    assert all(alignment.new[j] for j in t.find("cat"))
    assert [k for k, *_ in kinds(align(t, s))].count("removed") == 2


def test_refine_gives_swapped_words_their_own_maps() -> None:
    s, t = parse("a red house"), parse("a red castle")
    refined = align(s, t, "refine")
    assert all(refined.new[j] for j in t.find("castle"))
    assert kinds(refined)[2:] == [("removed", (2,), ()), ("added", (), (2,))]


def test_swap_demands_equal_word_counts() -> None:
    with pytest.raises(BadEdit, match=r"source has 3, the target 4"):
        align(parse("a red house"), parse("a big red house"), "swap")
    swapped = align(parse("red house"), parse("house red"), "swap")
    s, t = parse("red house"), parse("house red")
    assert swapped.matrix[s.find("red")[0], t.find("house")[0]] == 1
    with pytest.raises(BadEdit, match="auto, swap, refine"):
        align(s, t, "replace")  # type: ignore[arg-type]


def test_case_and_punctuation_do_not_break_the_alignment() -> None:
    alignment = align(parse("A Red house, at night"), parse("a red HOUSE at night!"))
    assert all(span.kind == "kept" for span in alignment.spans)
    s, t = parse("a cat, at night"), parse("a dog at night")
    column = align(s, t).matrix[:, t.find("dog")[0]]
    assert column[s.find("cat")[0]] == 1 and column.sum() == 1, "punctuation takes no part in a word's swap"


def test_ties_go_to_the_earliest_match() -> None:
    assert kinds(align(parse("red"), parse("red red")))[0] == ("kept", (0,), (0,))
    assert ("kept", (0,), (1,)) in kinds(align(parse("red big"), parse("big red")))


def every_subsequence(a: list[str], b: list[str]) -> list[list[tuple[int, int]]]:
    """All common subsequences as index pairs, by brute force."""
    found: list[list[tuple[int, int]]] = [[]]
    for i, j in product(range(len(a)), range(len(b))):
        if a[i] == b[j]:
            rest = every_subsequence(a[i + 1 :], b[j + 1 :])
            found += [[(i, j), *((x + i + 1, y + j + 1) for x, y in pairs)] for pairs in rest]
    return found


few = st.lists(st.sampled_from(["a", "red", "big", "castle"]), max_size=5)


@quick
@given(few, few)
def test_words_are_kept_along_a_heaviest_common_subsequence(source: list[str], target: list[str]) -> None:
    """That of most letters; of several the one of the earliest source words, then of the earliest target
    words."""

    def order(pairs: list[tuple[int, int]]) -> Any:
        return -sum(len(source[i]) for i, _ in pairs), [i for i, _ in pairs], [j for _, j in pairs]

    pairs = min(every_subsequence(source, target), key=order)
    alignment = align(parse(" ".join(source)), parse(" ".join(target)))
    same = [(span.source[0], span.target[0]) for span in alignment.spans if span.kind == "kept"]
    assert same == pairs
    for kind, s, t in kinds(alignment):
        assert (bool(s), bool(t)) == {"added": (False, True), "removed": (True, False)}.get(
            kind, (True, True)
        )
    assert sorted(n for _, s, _ in kinds(alignment) for n in s) == list(range(len(source)))
    assert sorted(n for _, _, t in kinds(alignment) for n in t) == list(range(len(target)))


def test_punctuation_swaps_with_punctuation_only() -> None:
    s, t = parse("a cat, at night"), parse("a big dog; at night")
    A = align(s, t).matrix
    (comma,) = (p.tokens[0] for p in s.pieces if p.text == ",")
    (semicolon,) = (p.tokens[0] for p in t.pieces if p.text == ";")
    assert A[comma, semicolon] == 1 and A[comma].sum() == 1
    cat = s.find("cat")
    for column in t.find("big dog"):
        assert np.allclose(A[list(cat), column], 1 / len(cat)) and np.isclose(A[:, column].sum(), 1)
    more = align(s, parse("a (big) dog; at night"))
    assert not more.matrix[comma].any(), "a run of another number of marks is removed and added"
    assert ("swapped", (1,), (1, 2)) in kinds(more)


# --- words as people write them ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1girl,red hair,blue sky", ["1girl", "red", "hair", "blue", "sky"]),
        ("cat;dog/bird|fish", ["cat", "dog", "bird", "fish"]),
        ("2boys,1girl", ["2boys", "1girl"]),
        ("cat\uff0cdog\uff1bbird\uff0ffish\uff5cox\u3001ant", ["cat", "dog", "bird", "fish", "ox", "ant"]),
        ("a 1,000 m race, 3/4 full", ["a", "1,000", "m", "race", "3/4", "full"]),
        ("close-up of o'neill's f.1 car", ["close-up", "of", "o'neill's", "f.1", "car"]),
        ('"cat,"dog', ['cat,"dog']),
        ("cat,,dog", ["cat", "dog"]),
    ],
)  # fmt: skip
def test_what_separates_two_words_without_a_space(text: str, words: list[str]) -> None:
    assert [word.text for word in parse(text).words] == words


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("sn\u200bowy hill", "snowy"),
        ("snowy hill", "sn\u00adowy"),
        ("cafe\u0301 table", "caf\u00e9"),
        ("caf\u00e9 table", "cafe\u0301"),
        ("\uff43\uff41\uff54 table", "cat"),
        ("stra\u00dfe", "STRASSE"),
        ("the dog\u2019s bone", "dog's"),
        ("the dog's bone", "dog\u2019s"),
        ("a close-up of it", "close up"),
        ("a close up of it", "close-up"),
        ("a close\u2010up of it", "close-up"),
        ("\ufb01sh tank", "fish"),
    ],
)
def test_letters_that_look_alike_are_found(written: str, named: str) -> None:
    prompt = parse(written)
    numbers = prompt.find_words(named)
    assert numbers and prompt.find(named) == tuple(t for n in numbers for t in prompt.words[n].tokens)


@pytest.mark.parametrize("named", ["close", "up", "redcar", "e", "", " ", "-"])
def test_parts_of_words_are_no_words(named: str) -> None:
    with pytest.raises(UnknownWord):
        parse("a close-up of the red car").find_words(named)


def test_words_that_look_alike_are_kept() -> None:
    alignment = align(parse("a cafe\u0301 at night"), parse("a CAF\u00c9 at n\u200bight"))
    assert {span.kind for span in alignment.spans} == {"kept"}


@pytest.mark.parametrize(
    ("text", "named", "other"),
    [
        ("\u7ea2\u8272\u7684\u6c7d\u8f66\u5728\u96ea\u5c71\u4e0a", "\u6c7d\u8f66", "\u98de\u673a"),
        ("\u96ea\u306e\u5c71\u306e\u8d64\u3044\u8eca", "\u8d64\u3044\u8eca", "\u9752\u3044\u8eca"),
        ("\u0e23\u0e16\u0e2a\u0e35\u0e41\u0e14\u0e07", "\u0e2a\u0e35\u0e41\u0e14\u0e07", "\u0e40\u0e02"),
    ],
)  # fmt: skip
def test_in_scripts_without_spaces_a_name_is_found_along_token_borders(
    text: str, named: str, other: str
) -> None:
    prompt = parse(text)
    assert len(prompt.words) > 1
    tokens = prompt.find(named)
    owned = [word for word in prompt.words if set(word.tokens) & set(tokens)]
    assert "".join(word.text for word in owned) == named
    assert tokens == tuple(range(tokens[0], tokens[-1] + 1))
    with pytest.raises(UnknownWord):
        prompt.find(other)
    swapped = align(prompt, parse(text.replace(named, other)))
    assert any(span.kind == "kept" for span in swapped.spans)


def test_a_long_word_outweighs_an_article() -> None:
    source, target = parse("a chinchilla"), parse("an origami chinchilla on a table")
    kept = [(s, t) for kind, s, t in kinds(align(source, target)) if kind == "kept"]
    assert kept == [((1,), (2,))]


def test_a_listing_of_words_is_bounded() -> None:
    with pytest.raises(UnknownWord) as raised:
        parse("x" * 3000 + " " + "y " * 400).find("cat")
    assert len(str(raised.value)) < 2000
