"""What all sections of the configuration have in common: strict, frozen, described."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """One mapping of the configuration file: unknown keys are errors, nothing is converted."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
    )


def required(description: str, **more: Any) -> Any:  # noqa: ANN401 - stands where a value of the field's type will
    """Declare a key that must be there."""
    return Field(description=description, **more)


def setting(default: object, description: str, **more: Any) -> Any:  # noqa: ANN401 - as above
    """Declare a key that may be left out.

    Args:
        default: As it would be written in YAML; it goes through the same validation.
        description: For the reference and for editors.
        more: Bounds and other arguments of `pydantic.Field`.
    """
    return Field(default, description=description, **more)
