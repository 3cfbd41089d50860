"""Labels and splits: conflicts, duplicates and persons are noticed, and order never matters."""

import numpy as np
import polars as pl
import pytest

from facedep_jax.cnn.settings import CnnSettings
from facedep_jax.dataset.folds import make_folds
from facedep_jax.errors import LabelError, SettingsError
from facedep_jax.sources.class_labels import collect_labels, make_target
from facedep_jax.sources.label_vocabulary import decode, parse_aliases
from facedep_jax.sources.labelled_items import labelled_items
from facedep_jax.sources.persons import with_columns_of_listings, with_persons
from facedep_jax.sources.subject_splits import (
    assign_splits,
    most_folds,
    split_name,
    subject_folds,
    take_part,
    tied_keys,
)
from facedep_jax.text_columns import text_frame
from facedep_jax.training.settings import TrainSettings


def listing(item, emotion, split=None, subject=None, path=None, source="/s"):
    return {
        "item": item,
        "path": path or f"{split}/{emotion}/{item}.jpg",
        "source": source,
        "emotion": emotion,
        "subject": subject,
        "split": split,
    }


def frame(*rows):
    return with_columns_of_listings(text_frame(rows, ("item", "path", "emotion", "subject", "split")))


def collect(*rows, **how):
    return collect_labels(with_persons(frame(*rows))[0], **how)


def test_emotions_match_whatever_their_case_and_spaces():
    labels = collect(listing("a", " SAD "), listing("b", "Very  Happy"))
    assert labels.items["emotion"].to_list() == ["sad", "very happy"]
    assert make_target(["Sad", "happy"], ("sAd",)).emotions == {"sad": 1, "happy": 0}


@pytest.mark.parametrize(
    ("words", "emotion"),
    [
        (("sad", "Sadness", "SAD ", "sadness"), "sad"),
        (("angry", "Anger"), "angry"),
        (("happy", "Happiness", "joy"), "happy"),
        (("fear", "fearful", "Afraid"), "fear"),
        (("disgust", "disgusted"), "disgust"),
        (("surprise", "Surprised"), "surprise"),
        (("neutral", "neutrality"), "neutral"),
    ],
)
def test_emotions_of_all_data_sets_have_one_name(words, emotion):
    labels = collect(*(listing(str(n), word) for n, word in enumerate(words)))
    assert labels.items["emotion"].unique().to_list() == [emotion]


def test_words_that_name_no_emotion_are_counted_where_others_do():
    target = make_target(["sad", "happy", "sadly", "natural", "natural"], ("sad",))
    assert target.warnings == (
        "these are no emotions that are known (`labels` lists them): natural 2 (neutral?), sadly 1 (sad?)",
    )
    assert make_target(["depressed", "control"], ("depressed",)).warnings == ()
    slip = make_target(["sad", "neutral", "happy"], ("sadd", "neutral")).warnings
    assert slip == ("positive is no emotion that is known: sadd (sad?); nothing counts as that",)
    assert make_target(["sad", "happy"], ("sad", "sadness", "neutral")).warnings == ()


@pytest.mark.parametrize(
    ("codes", "number", "emotion"),
    [
        ("fer2013", "4", "sad"),
        ("affectnet", "2", "sad"),
        ("raf-db", "5", "sad"),
        ("ck+", "6", "sad"),
        ("fer2013", "joy", "joy"),
        ("affectnet", " 2.0", "sad"),
        ("affectnet", "²", "²"),
    ],
)
def test_numbers_mean_what_their_data_set_says(codes, number, emotion):
    assert decode(number, codes) == emotion


@pytest.mark.parametrize(
    ("codes", "number"),
    [("fer2013", "7"), ("raf-db", "0"), ("affectnet", "8"), ("ck+", "1.5"), ("ck+", "nan"), ("jaffe", "1")],
)
def test_numbers_that_mean_nothing_are_refused(codes, number):
    with pytest.raises(SettingsError, match=r"expected one of|is none of"):
        decode(number, codes)


@pytest.mark.parametrize("settings", [TrainSettings, CnnSettings])
def test_aliases_may_say_what_is_positive(settings):
    assert settings(("Melancholy", "joy"), aliases=("melancholy=sad",)).positive == ("sad", "joy")


def test_aliases_are_words_of_known_emotions():
    assert parse_aliases(["Melancholy=sadness", "na tural=neutral"]) == {"melancholy": "sad", "na tural": "neutral"}
    for wrong in ("melancholy", "=sad", "melancholy=blue"):
        with pytest.raises(SettingsError, match="expected word=emotion"):
            parse_aliases([wrong])


def test_further_listings_of_an_item_are_counted_and_said_only_where_there_are_any():
    twice = collect(listing("a", "sad"), listing("a", "sad", path="copy.jpg"), listing("b", "happy"))
    assert twice.notes == ("1 further listings of items that are already there are left out",)
    assert collect(listing("a", "sad"), listing("b", "happy")).notes == ()


def test_positive_that_matches_nothing_lists_what_is_there():
    with pytest.raises(LabelError, match=r"positive emotions sad occurs; present are angry \(1\), happy \(2\)"):
        make_target(["happy", "happy", "anger"], ("sadness",))


def test_positive_that_matches_in_part_is_noted():
    target = make_target(["sad", "happy"])
    assert target.notes[0].startswith("positive emotions that do not occur: neutral; present are")
    assert make_target(["sad", "happy"], ("sad",)).notes == ()


def test_a_single_class_is_refused():
    with pytest.raises(LabelError, match="every item is positive"):
        make_target(["sad", "neutral"])
    with pytest.raises(LabelError, match="no item has an emotion"):
        make_target([])


@pytest.mark.parametrize(
    ("labels", "positive", "kind"),
    [
        (("Sadness", "happy", "neutrality"), ("sad",), "emotion"),
        (("sad", "happy", "bored"), ("sad",), "emotion"),  # most, in whatever words
        (("depressed", "control"), ("depressed",), "proxy"),
        (("0", "1"), ("1",), "proxy"),
        (("0", "1", "2", "3"), ("3",), "proxy"),
        (("happy", "sad"), ("sad",), "proxy"),
        (("sad", "sadness", "happy"), ("sad",), "proxy"),  # two labels in three words
        (("neutral", "mild", "severe"), ("severe",), "proxy"),
        (("sad", "happy", "mild", "severe"), ("sad",), "proxy"),  # half is not most
    ],
)
def test_emotions_are_learned_where_most_of_three_or_more_labels_are_some(labels, positive, kind):
    target = make_target(labels, positive, "auto")
    assert target.kind == kind and target.classes == make_target(labels, positive, kind).classes
    assert any(note.startswith(f"target: {kind}, ") for note in target.notes)
    assert not any(note.startswith("target: ") for note in make_target(labels, positive, kind).notes)


def test_target_emotion_keeps_classes_and_sums_to_the_proxy():
    target = make_target(["sad", "happy", "neutral"], kind="emotion")
    assert target.classes == ("happy", "neutral", "sad") and target.positive == (False, True, True)


def test_conflicting_labels_drop_the_item():
    labels = collect(listing("a", "sad"), listing("a", "happy"), listing("b", "happy"))
    assert labels.items["item"].to_list() == ["b"]
    assert labels.counts["conflicting"] == 1 and "sad" in labels.warnings[0]


def test_items_in_two_splits_stop_training():
    both = [listing("a", "sad", "train"), listing("a", "sad", "test"), listing("b", "happy", "train")]
    with pytest.raises(LabelError, match=r"1 items .*more than one split.*--allow-duplicates"):
        collect(*both)
    kept = collect(*both, allow_duplicates=True)
    assert kept.items.select("item", "split").rows() == [("a", "train"), ("a", "test"), ("b", "train")]
    assert kept.counts["duplicated"] == 1 and "too good" in kept.warnings[0]


def test_listings_without_emotion_and_repeated_ones_are_counted():
    labels = collect(
        listing("a", None), listing("b", ""), listing("c", "sad"), listing("c", "sad"), listing(None, "sad")
    )
    assert len(labels.items) == 1
    assert labels.counts == {"unlabelled": 2, "conflicting": 0, "duplicated": 0, "repeated": 1}


@pytest.mark.parametrize(
    "given, name",
    [
        ("Train", "train"),
        ("VALID", "val"),
        ("validation", "val"),
        ("dev", "val"),
        (" test ", "test"),
        (None, None),
        ("", None),
    ],
)
def test_names_of_splits(given, name):
    assert split_name(given) == name


def test_unknown_split_is_refused():
    with pytest.raises(LabelError, match="'public'"):
        split_name("public")


def people(count, each=3):
    items = [f"i{p}-{k}" for p in range(count) for k in range(each)]
    return (
        items,
        [f"p{p}" for p in range(count) for _ in range(each)],
        [p % 2 for p in range(count) for _ in range(each)],
    )


def test_made_splits_keep_persons_whole_and_ignore_order():
    items, subjects, target = people(80)
    made = assign_splits([None] * len(items), items, subjects, target)
    assert made.made == ("test", "val")
    where = {}
    for subject, split in zip(subjects, made.names, strict=True):
        assert where.setdefault(subject, split) == split
    part = {s: made.names.count(s) / len(items) for s in ("train", "val", "test")}
    assert part == pytest.approx({"train": 0.7, "val": 0.15, "test": 0.15}, abs=0.02)
    for split in part:
        share = np.mean([t for t, name in zip(target, made.names, strict=True) if name == split])
        assert share == pytest.approx(0.5, abs=0.05)
    order = np.random.default_rng(0).permutation(len(items))
    again = assign_splits(
        [None] * len(items), [items[i] for i in order], [subjects[i] for i in order], [target[i] for i in order]
    )
    assert [made.names[i] for i in order] == list(again.names)
    assert assign_splits([None] * len(items), items, subjects, target, seed=1).names != made.names


def test_validation_is_made_from_train_only():
    items, subjects, target = people(60)
    given = ["test" if int(s[1:]) < 20 else "train" for s in subjects]
    made = assign_splits(given, items, subjects, target)
    assert made.made == ("val",)
    assert all((a == "test") == (b == "test") for a, b in zip(given, made.names, strict=True))
    assert made.names.count("val") == pytest.approx(0.15 * 120, abs=3)


def test_splits_of_the_data_are_kept_and_crossing_persons_warned_of():
    items, subjects, target = people(4, 6)
    given = ["train", "train", "val", "val", "test", "test"] * 4
    made = assign_splits(given, items, subjects, target)
    assert list(made.names) == given and made.made == ()
    assert "4 subjects are in more than one split" in made.warnings[0]


def test_too_few_subjects_for_a_validation_split():
    with pytest.raises(LabelError, match=r"split val .*2 subjects are too few"):
        assign_splits(["train"] * 6, list("abcdef"), ["p", "p", "p", "q", "q", "q"], [0, 0, 0, 1, 1, 1])


def test_a_test_split_alone_is_refused():
    with pytest.raises(LabelError, match="no item is in the split train"):
        assign_splits(["test"] * 4, list("abcd"), [None] * 4, [0, 1, 0, 1])


def test_items_without_a_subject_are_their_own():
    taken = take_part([f"item:{i}" for i in range(100)], [0] * 100, 0.2, "x")
    assert len(taken) == 20


def test_folds_keep_persons_whole_and_ignore_order():
    items, subjects, target = people(30)
    fold = subject_folds(items, subjects, target, 5)
    assert all(len(set(fold[np.array(subjects) == s])) == 1 for s in set(subjects))
    assert np.bincount(fold).tolist() == [18] * 5
    order = np.random.default_rng(1).permutation(len(items))
    again = subject_folds([items[i] for i in order], [subjects[i] for i in order], [target[i] for i in order], 5)
    assert (fold[order] == again).all()
    with pytest.raises(LabelError, match="31 folds"):
        subject_folds(items, subjects, target, 31)


def test_more_folds_than_subjects_of_a_class_are_refused():
    items, subjects, target = people(30)
    assert most_folds(subjects, target) == 15
    assert set(subject_folds(items, subjects, target, 15)) == set(range(15))
    with pytest.raises(LabelError, match=r"16 folds .*there are 15"):
        subject_folds(items, subjects, target, 16)


@pytest.mark.parametrize("salt", [f"{n}" for n in range(8)])
def test_a_group_belongs_to_the_class_of_most_of_its_items(salt):
    """Ten persons with one picture of class 0 and three of class 1, ten with four of class 0: half of either."""
    keys = [f"mixed{person}" for person in range(10) for _ in range(4)]
    keys += [f"plain{person}" for person in range(10) for _ in range(4)]
    taken = take_part(keys, [0, 1, 1, 1] * 10 + [0] * 40, 0.5, salt)
    assert len({keys[i] for i in taken if keys[i].startswith("mixed")}) == 5
    assert len({keys[i] for i in taken if keys[i].startswith("plain")}) == 5


def test_what_a_later_listing_says_more_counts():
    """A second extraction brings the subject, a third, without emotions, the split."""
    labels = collect(
        listing("a", "sad", path="1.jpg"),
        listing("a", "sad", subject="p1", path="later/1.jpg"),
        listing("a", None, split="val", path="splits/1.jpg"),
        listing("b", "happy", subject="p2"),
        listing("b", None, subject="p2", path="later/b.jpg"),
    )
    assert labels.items.select("item", "subject", "split").rows() == [("a", "p1", "val"), ("b", "p2", None)]
    assert labels.warnings == ()


def test_two_persons_in_one_item_are_warned_of_with_both():
    labels = collect(listing("a", "sad", subject="p1"), listing("a", "sad", subject="p2", path="copy.jpg"))
    assert labels.warnings == (
        "1 items are said to show different persons, for example p1 by None/sad/a.jpg and p2 by copy.jpg; the first "
        "listing counts",
    )
    alike = listing("a", "sad", subject="P 1", path="copy.jpg")
    assert collect(listing("a", "sad", subject="p1"), alike).warnings == ()


def test_an_unknown_split_matters_only_where_there_is_a_label():
    labels = collect(listing("a", "sad", split="train"), listing("b", None, split="unlabelled"))
    assert labels.items["split"].to_list() == ["train"]
    with pytest.raises(LabelError, match="'unlabelled'"):
        collect(listing("b", "sad", split="unlabelled"))


@pytest.mark.parametrize(
    "named, said",
    [(60, "by subject: "), (0, "by picture: "), (30, "by subject where one is known, else by picture: ")],
)
def test_what_splits_are_made_by_is_said(named, said):
    items, subjects, target = people(60, 1)
    made = assign_splits([None] * 60, items, [name if i < named else None for i, name in enumerate(subjects)], target)
    assert made.notes == (f"made from the data {said}val and test",)


def test_persons_spelt_in_two_ways_are_not_learned_from_and_judged_by():
    """Each person is spelt in one way in one half of the pictures and in another in the other half."""
    rows = [
        listing(f"{i}-{k}", ("sad", "happy")[i % 2], subject=(f"P{i:02}", f"p{i:02} ", f"P {i:02}")[k])
        for i in range(40)
        for k in range(3)
    ]
    found = labelled_items(frame(*rows))
    assert found.items.group_by("subject").agg(pl.col("split").n_unique())["split"].to_list() == [1] * 40
    assert any("40 subjects are spelt in several ways" in note for note in found.notes)


def test_namesakes_of_two_sources_do_not_share_a_split():
    """As one person each, 001 to 015 of either source would have to be on one side."""
    rows = [
        listing(
            f"{source}{i}-{k}", ("sad", "happy")[k % 2], subject=f"{i:03}", source=f"/{source}", path=f"{i}-{k}.jpg"
        )
        for source in "ab"
        for i in range(1, 16)
        for k in range(4)
    ]
    found = labelled_items(frame(*rows))
    assert found.items["subject"].n_unique() == 30 and found.warnings == ()
    where = dict(found.items.select("subject", "split").unique().iter_rows())
    assert any(where[f"a:{i:03}"] != where[f"b:{i:03}"] for i in range(1, 16))
    assert any(note.startswith("15 subjects named alike in 2 sources") for note in found.notes)


def test_what_counts_as_positive_is_said_with_counts():
    rows = [listing(f"{i}", emotion, subject=f"{i}") for i, emotion in enumerate(["neutral", "sad", "angry"] * 20)]
    found = labelled_items(frame(*rows))
    assert found.label_counts == {"positive": {"neutral": 20, "sad": 20}, "rest": {"angry": 20}}
    assert "positive: neutral 20, sad 20; rest: angry 20" in found.notes


def segments(*rows):
    """Listings of segments: item, start, end, and what else they say."""
    times = {name: pl.Series([row[n] for row in rows], dtype=pl.Float64) for n, name in ((1, "start"), (2, "end"))}
    said = [listing(row[0], row[3], *row[4:], path=f"{row[0]}.mp4") for row in rows]
    return with_columns_of_listings(text_frame(said, ("item", "path", "emotion", "subject", "split"))).with_columns(
        **times
    )


def test_segments_of_one_item_have_labels_of_their_own():
    rows = segments(("a", 0, 1, "sad"), ("a", 1, 2, "happy"), ("a", 1, 2, "happy"), ("b", None, None, "sad"))
    found = collect_labels(with_persons(rows)[0])
    assert found.items.select("item", "start", "emotion").rows() == [
        ("a", 0.0, "sad"), ("a", 1.0, "happy"), ("b", None, "sad"),
    ]  # fmt: skip
    assert found.counts["repeated"] == 1 and "2 segments of 1 items" in found.notes


def test_overlapping_segments_and_files_that_are_there_whole_too_are_said():
    rows = segments(("a", 0, 2, "sad"), ("a", 1, 3, "happy"), ("a", None, None, "sad"), ("b", 0, 1, "sad"))
    found = collect_labels(with_persons(rows)[0])
    said = "3 segments of 2 items, 2 of which overlap another; 1 of these items are listed whole as well"
    assert said in found.notes


def test_one_segment_with_two_labels_is_dropped_and_named():
    rows = segments(("a", 0, 1, "sad"), ("a", 0, 1, "happy"), ("a", 1, 2, "happy"))
    found = collect_labels(with_persons(rows)[0])
    assert found.counts["conflicting"] == 1 and len(found.items) == 1
    assert "a.mp4 [0-1 s] says sad, a.mp4 [0-1 s] says happy" in found.warnings[0]


def test_segments_of_one_item_in_two_splits_are_the_leak_that_items_are():
    rows = segments(("a", 0, 1, "sad", "train"), ("a", 1, 2, "happy", "test"))
    with pytest.raises(LabelError, match=r"1 items .* a.mp4 \[0-1 s\] \(train\) and a.mp4 \[1-2 s\] \(test\)"):
        collect_labels(with_persons(rows)[0])
    kept = collect_labels(with_persons(rows)[0], allow_duplicates=True)
    assert kept.items["split"].to_list() == ["train", "test"]


def test_a_segment_without_a_split_is_in_that_of_its_item():
    rows = segments(("a", 0, 1, "sad", "val"), ("a", 1, 2, "happy"))
    assert collect_labels(with_persons(rows)[0]).items["split"].to_list() == ["val", "val"]


def of_items(items, places):
    """In how many places the segments of an item are, at most."""
    rows = pl.DataFrame({"item": items, "place": list(map(str, places))})
    return rows.group_by("item").agg(pl.col("place").n_unique())["place"].max()


@pytest.mark.parametrize("persons", [lambda n: None, lambda n: f"p{n // 2 % 20}" if n % 2 else None, lambda n: f"p{n}"])
def test_splits_and_folds_that_are_made_keep_an_item_together(persons):
    """Also where a segment names nobody, or its segments show different persons."""
    items, target = [f"i{n // 2}" for n in range(120)], [n % 2 for n in range(120)]
    subjects = [persons(n) for n in range(120)]
    assert of_items(items, assign_splits([None] * 120, items, subjects, target).names) == 1
    assert of_items(items, subject_folds(items, subjects, target, 4)) == 1
    made = make_folds(items, subjects, np.array(target, bool), 3)
    assert all(of_items(items, np.isin(np.arange(120), part)) == 1 for fold in range(3) for part in made.parts(fold))


def test_persons_who_share_a_file_are_tied_by_whoever_else_shares_one():
    items, subjects = ["a", "a", "b", "b", "c", "d"], ["p", "q", "q", None, "r", "p"]
    keys = tied_keys(items, subjects).to_list()
    assert len({*keys[:4], keys[5]}) == 1 and keys[4] == "subject:r"


def test_keys_are_what_they_were_where_no_item_is_there_twice():
    items, subjects = ["a", "b", "c"], ["p", "p", None]
    assert tied_keys(items, subjects).to_list() == ["subject:p", "subject:p", "item:c"]


def test_the_labels_of_a_run_are_recognised_by_their_segments_too():
    rows = [(f"i{n}", 0, 1, "sad" if n % 2 else "happy", None, f"p{n}") for n in range(12)]
    later = [(item, 0, 2, *said) for item, _, _, *said in rows]
    one, other = (labelled_items(segments(*which)).data["labels_sha256"] for which in (rows, later))
    assert one != other
