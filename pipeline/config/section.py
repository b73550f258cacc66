"""What all sections of the configuration share.

A validator of a key raises ValueError with the words that follow "expected"; a validator of a whole section
or of the whole configuration raises it with a sentence of its own, which names a key that is set.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
Texts = tuple[Text, ...]


class Section(BaseModel):
    """The keys of a section. Unknown keys and values of another type are refused, nothing is converted."""

    # hide_input: a secret must not stand in a traceback.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )


def split_texts(value: Any) -> Any:
    """A text with commas as a tuple of its parts; a pattern (`re:…`) is one part whatever it contains."""
    if not isinstance(value, str):
        return value
    if value.startswith("re:"):
        return (value,)
    return tuple(part.strip() for part in value.split(",") if part.strip())


# A list, or one text with commas.
OneOrMoreTexts = Annotated[
    Texts, BeforeValidator(split_texts, json_schema_input_type=Texts | str), Field(min_length=1)
]
