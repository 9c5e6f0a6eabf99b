"""Mask quotes of a prompt in a text, including escaped ones."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice

PROMPT_MASK = "[prompt]"

_GRAM_CHARS = 12
_MIN_QUOTE_CHARS = 16
_MIN_WHOLE_CHARS = 8
_MAX_GRAMS = 400_000
_MAX_ORIGINS = 4
_MAX_WHOLES = 2_000
"""Maximum short prompt texts searched for, among those whose beginning occurs in the text."""
_MAX_WORD_TEXT_CHARS = 1_000_000
_ESCAPED_AT_ONCE = 256 * 1024
_OVERLAP_CHARS = 2_048
_WORD = re.compile(r"[^\W_][\w-]{5,}")


class Prompt:
    """Strings of a request, to be masked in everything stored about it.

    Detects every quote of 23 or more characters and most of 16 or more, whole texts of 8 or more, and words of six or
    more characters that contain a digit (names, numbers, codes). The quote lengths grow with prompts of more than 4.8
    million characters.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = [form for text in texts for form in _forms(text)]
        chars = sum(map(len, self._texts))
        self._gram = max(_GRAM_CHARS, chars // _MAX_GRAMS)
        self._words: frozenset[str] | None = None

    def remove_from(self, text: str) -> str:
        """Replace every quote in the text by `PROMPT_MASK`."""
        marks = bytearray(len(text))
        for start, end in self._quotes(text):
            marks[start:end] = b"\x01" * (end - start)
        for match in _WORD.finditer(text):
            if _is_telling(match.group()) and match.group() in self._telling_words():
                marks[match.start() : match.end()] = b"\x01" * len(match.group())
        return _masked(text, marks) if any(marks) else text

    def _quotes(self, text: str) -> Iterator[tuple[int, int]]:
        """Ranges of the text that also occur in the prompt.

        All n-grams of the text, which is short, are indexed; the prompt is scanned in steps of n. A quote of 2n
        characters contains one whole step at any offset.
        """
        gram = self._gram
        places: dict[str, list[int]] = {}
        for position in range(len(text) - gram + 1):
            places.setdefault(text[position : position + gram], []).append(position)
        origins_left = dict.fromkeys(places, _MAX_ORIGINS)  # else repetitive texts take quadratic time
        beginnings = {text[at : at + _MIN_WHOLE_CHARS] for at in range(len(text) - _MIN_WHOLE_CHARS + 1)}
        wholes: set[str] = set()
        for source in self._texts:
            for origin in range(0, len(source) - gram + 1, gram) if places else ():
                found = source[origin : origin + gram]
                if origins_left.get(found):
                    origins_left[found] -= 1
                    quotes = (_extended(text, position, source, origin, gram) for position in places[found])
                    yield from (quote for quote in quotes if quote[1] - quote[0] >= _MIN_QUOTE_CHARS)
            if _MIN_WHOLE_CHARS <= len(source) < 2 * gram and source[:_MIN_WHOLE_CHARS] in beginnings:
                wholes.add(source)
        for source in islice(wholes, _MAX_WHOLES):
            yield from _occurrences(source, text)

    def _telling_words(self) -> frozenset[str]:
        if self._words is None:
            budget, words = _MAX_WORD_TEXT_CHARS, set[str]()
            for source in self._texts:
                words.update(word for word in _WORD.findall(source[:budget]) if _is_telling(word))
                budget = max(0, budget - len(source))
            self._words = frozenset(words)
        return self._words


def _forms(text: str) -> Iterator[str]:
    """The text and its JSON-escaped forms, escaped in chunks so that no call is slow.

    Chunks overlap by more than two n-grams, else quotes across a boundary are missed.
    """
    yield text
    for at in range(0, max(1, len(text) - _OVERLAP_CHARS), _ESCAPED_AT_ONCE):
        part = text[at : at + _ESCAPED_AT_ONCE + _OVERLAP_CHARS]
        within = json.dumps(part, ensure_ascii=False)[1:-1]
        if within != part:
            yield within
        if not part.isascii():
            yield json.dumps(part)[1:-1]


def _occurrences(source: str, text: str) -> Iterator[tuple[int, int]]:
    start = text.find(source)
    while start >= 0:
        yield start, start + len(source)
        start = text.find(source, start + len(source))


def _is_telling(word: str) -> bool:
    return any(map(str.isdigit, word))


def _extended(text: str, position: int, source: str, origin: int, length: int) -> tuple[int, int]:
    """Extend a match by at most one n-gram to either side; the next n-gram is matched separately."""
    start, end, before, after = position, position + length, origin, origin + length
    first, last = max(0, start - length), min(len(text), end + length)
    while start > first and before and text[start - 1] == source[before - 1]:
        start, before = start - 1, before - 1
    while end < last and after < len(source) and text[end] == source[after]:
        end, after = end + 1, after + 1
    return start, end


def _masked(text: str, marks: bytearray) -> str:
    parts, position = [], 0
    for match in re.finditer(b"\x01+", marks):
        parts += [text[position : match.start()], PROMPT_MASK]
        position = match.end()
    return "".join([*parts, text[position:]])
