"""What a number in a configuration file may be: ranges that catch slips of the pen, and the base of all sections."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_STEPS = 1_000_000_000
"""No run of the paper is longer; a longer one is taken for a slip of the pen."""
MAX_RUNS = 100_000


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a number: write one, such as 1, in place of true or false")
    return value


# YAML's true would pass for 1. The upper bounds only keep slips of the pen from filling the memory.
NUMBER = BeforeValidator(_no_switch)
PositiveInt = Annotated[int, Field(gt=0, lt=2**31), NUMBER]
PositiveFloat = Annotated[float, Field(gt=0), NUMBER]
NonNegative = Annotated[float, Field(ge=0), NUMBER]
Size = Annotated[int, Field(gt=0, le=100_000), NUMBER]
Depth = Annotated[int, Field(gt=0, le=1000), NUMBER]
Fraction = Annotated[float, Field(gt=0, lt=1), NUMBER]
Evaluations = Annotated[int, Field(ge=1, le=1000), NUMBER]


class Strict(BaseModel):
    """Base of all sections: immutable, unknown keys refused, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Positives = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
NonNegatives = Annotated[tuple[NonNegative, ...], Field(min_length=1)]
