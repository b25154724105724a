"""What all typed files have in common: they are strict."""

from pydantic import BaseModel, ConfigDict, field_validator


class Strict(BaseModel):
    """No unknown keys, no conversions, no nulls where a value is expected."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _given(cls, value: object) -> object:
        if value is None:
            raise AssertionError  # worded by `translate`, from the field's description
        return value
