"""The common base of typed files, and types of text that occur in several of them."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

A_VARIABLE = "a variable's name of letters, digits and '_', and text"


def _text_or_number(value: object) -> object:
    return str(value) if type(value) is int else value


Word = Annotated[str, Field(pattern=r"^\S+$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Text = Annotated[str, BeforeValidator(_text_or_number)]


class Strict(BaseModel):
    """No unknown keys, no conversions, no nulls where a value is expected."""

    # A part of a file is never validated alone: it needs no validator of its own.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _given(cls, value: object) -> object:
        if value is None:
            raise AssertionError  # worded by `translate`, from the field's description
        return value
