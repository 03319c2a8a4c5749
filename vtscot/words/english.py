"""Words of expressions and thoughts: which ones carry meaning, and when two of them are forms of the same."""

from __future__ import annotations

import re
from typing import Final

QUOTED_WORDS: Final = 40
"""A longer expression is quoted by its beginning."""


def word_set(words: str) -> frozenset[str]:
    """The words of a space-separated list."""
    return frozenset(words.split())


NUMBERS: Final = word_set("two three four five six both all every each several pair")
NEGATIONS: Final = word_set("not no never without except neither nor none isn't doesn't don't but")
_EMPTY: Final = word_set(
    "a an the this that these those of in on at to from by with and or as is are was were be been being it its his her "
    "their them they he she him which who whom whose what there here has have had do does did for into onto out up off "
    "over than then so such only just very one ones some any other another while when where s"
)
_WORD: Final = re.compile(r"[^\W_]+(?:'[a-z]+)?")
_ENDINGS: Final = ("ingly", "edly", "ing", "ied", "ies", "ed", "es", "ly", "s", "e", "y")


def words_of(text: str) -> list[str]:
    """All words and numbers, in lower case."""
    return _WORD.findall(text.lower().replace("\u2019", "'"))


def stem(word: str) -> str:
    """The word less a regular ending, so that forms of one verb or noun agree ("moves", "moving")."""
    word = word.removesuffix("'s")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def content_words(text: str) -> tuple[str, ...]:
    """The words that carry meaning, each once; all words where none does."""
    words = words_of(text)
    kept = [word for word in words if word not in _EMPTY]
    return tuple(dict.fromkeys(kept or words))


def quotable(expression: str) -> str:
    """The expression as it may stand between quotation marks inside a thought: one paragraph, no markup."""
    text = re.sub(r"[<>\[\]\"]", " ", expression)
    text = re.sub(r"\b(Step [123]|Action):", r"\1", text)
    words = text.split()
    return " ".join(words[:QUOTED_WORDS]) + (" ..." if len(words) > QUOTED_WORDS else "")


_FUNCTION: Final = (
    _EMPTY
    | NEGATIONS
    | NUMBERS
    | word_set(
        "i me my we our you your can could may might must shall should will would if because since although though "
        "before after between during about around above below near beside behind under through across along while "
        "until still again also too more most less least much many few no yes other first second third last next same "
        "all how why am let see look seen now frame frames target therefore however thus within rather quite"
    )
)


def function_share(text: str) -> float:
    """Share of the words outside quotations and numbers that are plain English function words; 0 for no words."""
    words = [
        word for word in words_of(re.sub(r"[\"\u201c][^\"\u201c\u201d]*[\"\u201d]", " ", text)) if not word.isdigit()
    ]
    return sum(word in _FUNCTION for word in words) / len(words) if words else 0.0
