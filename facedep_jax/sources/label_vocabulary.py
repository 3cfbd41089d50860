"""Words with one meaning: emotions and splits as data sets write them → the canonical ones. Knows no files.

Names of emotions: FER2013 (angry, fear, happy, sad), CK+ (anger, sadness), AffectNet (anger, happy, sad), RAF-DB
(happiness, sadness), KDEF (afraid), RAVDESS (fearful, surprised). Numbers mean something only with the data set's name.
"""

import difflib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

from facedep_jax.errors import SettingsError

EMOTIONS = {  # canonical name → its other names
    "angry": ("anger",),
    "contempt": ("contemptuous",),
    "disgust": ("disgusted",),
    "fear": ("afraid", "fearful", "scared"),
    "happy": ("happiness", "joy", "joyful"),
    "neutral": ("neutrality",),
    "sad": ("sadness",),
    "surprise": ("surprised",),
}
CODES = {  # what a data set's numbers stand for, each from its own documentation
    "affectnet": dict(enumerate(("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"))),
    "fer2013": dict(enumerate(("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"))),
    "raf-db": dict(enumerate(("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"), start=1)),
    "ck+": dict(enumerate(("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise"))),
}
SPLIT_NAMES = {  # words in use for a split, without `set` and what joins words; PublicTest and PrivateTest: FER2013
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "development": "val", "publictest": "val", "test": "test", "testing": "test", "privatetest": "test",
}  # fmt: skip
_CANONICAL = {word: name for name, others in EMOTIONS.items() for word in (name, *others)}


def plain(word: str) -> str:
    """NFC, in lower case, with one blank for whatever parts words."""
    return " ".join(unicodedata.normalize("NFC", word).casefold().replace("_", " ").replace("-", " ").split())


def canonical(word: str, aliases: Mapping[str, str] | None = None) -> str:
    """The canonical emotion that `word` names, by `aliases` (plain word → emotion) first; any other word `plain`."""
    text = plain(word)
    text = (aliases or {}).get(text, text)
    return _CANONICAL.get(text, text)


def is_emotion(word: str, aliases: Mapping[str, str] | None = None) -> bool:
    """Whether `word` names a canonical emotion."""
    return canonical(word, aliases) in EMOTIONS


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Emotions in the order of `EMOTIONS`, then other words in their own."""
    known = list(EMOTIONS)
    return tuple(sorted(names, key=lambda name: (known.index(name) if name in EMOTIONS else len(known), name)))


def column_names(emotions: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Emotions, `in_order`, and what a column of each is called: as itself, with `p_` before it where a column that is
    `taken`, or one of another emotion, is called so."""
    used, names = set(taken), {}
    for emotion in in_order(emotions):
        name = emotion
        while name in used:
            name = f"p_{name}"
        used.add(name)
        names[emotion] = name
    return names


def leading(probability: Mapping[str, float]) -> str:
    """The likeliest emotion and its probability, `sad 0.41`; empty where none is known."""
    if not probability:
        return ""
    name = max(probability, key=lambda emotion: probability[emotion])
    return f"{name} {probability[name]:.2f}"


def known_split(word: str) -> str | None:
    """train, val or test where `word` (Training, test_set, dev, PrivateTest …) names a split, else None."""
    text = plain(word).replace(" ", "")
    return SPLIT_NAMES.get(text) or SPLIT_NAMES.get(text.removesuffix("set"))


def parse_aliases(given: Iterable[str]) -> dict[str, str]:
    """`word=emotion` of the settings → plain word → canonical emotion. Raises SettingsError for any other form."""
    aliases: dict[str, str] = {}
    for text in given:
        word, equals, emotion = text.partition("=")
        if not equals or not plain(word) or not is_emotion(emotion):
            raise SettingsError(
                f"alias {text!r}: expected word=emotion with one of {', '.join(EMOTIONS)}, such as melancholy=sad"
            )
        aliases[plain(word)] = canonical(emotion)
    return aliases


def meant_by(names: Iterable[str], given: Iterable[str]) -> tuple[str, ...]:
    """`names` with the emotions that they stand for by the settings' aliases. Raises what `parse_aliases` raises."""
    aliases = parse_aliases(given)
    return tuple(aliases.get(plain(name), name) for name in names)


def decode(word: str, codes: str) -> str:
    """The emotion that a number stands for in the data set `codes`; a word is left as it is.

    Raises SettingsError for a data set that is not known, and for a number that it does not use.
    """
    if codes not in CODES:
        raise SettingsError(f"emotion codes {codes!r}: expected one of {', '.join(CODES)}")
    try:
        number = float(word)  # a column of whole numbers with a gap is written with points: 4.0
    except ValueError:
        return word
    known = CODES[codes]
    if number not in known:
        there = ", ".join(f"{number} {name}" for number, name in known.items())
        raise SettingsError(f"emotion {word.strip()} is none of {codes}'s: {there}; leave such rows out")
    return known[int(number)]


def unknown_words(words: Iterable[str], aliases: Mapping[str, str] | None = None) -> Counter[str]:
    """Words that name no emotion, counted, where others do; none where the labels are no emotions at all."""
    counts: Counter[str] = Counter()
    for word, count in Counter(words).items():
        counts[canonical(word, aliases)] += count
    if not counts.keys() & EMOTIONS.keys():
        return Counter()
    return Counter({word: count for word, count in counts.items() if word not in EMOTIONS})


def meant(word: str) -> str:
    """The emotion that somebody who wrote `word` may have meant; empty where none is near."""
    near = difflib.get_close_matches(plain(word), _CANONICAL, 1, 0.7)
    return _CANONICAL[near[0]] if near else ""


def say_unknown(counts: Mapping[str, int]) -> str:
    """`sadly 12 (sad?), natural 3 (neutral?)`."""
    said = ((word, count, meant(word)) for word, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
    return ", ".join(f"{word} {count:,}" + (f" ({emotion}?)" if emotion else "") for word, count, emotion in said)
