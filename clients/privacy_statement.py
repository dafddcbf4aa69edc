"""A privacy statement in every language: both texts say the same facts, with the same numbers.

A test holds them to that for every mode and unit.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from clients.privacy_chinese import chinese
from clients.privacy_facts import Facts
from clients.privacy_words import Paragraph, english

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
VERSION = 1


def statement(facts: Facts) -> dict[str, Any]:
    """The statement as JSON can hold it: the facts, and the text in every language."""
    texts = {one: [{"heading": head, "text": text} for head, text in paragraphs(facts, one)] for one in LANGUAGES}
    return {"version": VERSION, "facts": facts.to_json(), "text": texts}


def paragraphs(facts: Facts, language: Language) -> list[Paragraph]:
    """The statement in one language."""
    return english(facts) if language == "en" else chinese(facts)
