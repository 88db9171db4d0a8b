"""The numbers of stage ``theory``: section ``theory`` of ``scales/<scale>.yaml``."""

from itertools import pairwise
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from l2dynamics.experiments.fields import MAX_STEPS, Strict

_PIXELS = 28 * 28

Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
Decades = Annotated[tuple[PositiveFloat, ...], Field(min_length=3)]


class Modes(Strict):
    """Panels a and b: eigenmodes with the given γ/λ, one above and one below 1."""

    l2: PositiveFloat = 0.01
    ratios: tuple[PositiveFloat, PositiveFloat] = (100.0, 0.1)

    @model_validator(mode="after")
    def _sides(self) -> "Modes":
        if not self.ratios[0] > 1 > self.ratios[1]:
            raise ValueError("ratios: the first γ/λ must be above 1 and the second below")
        return self


class PanelC(Strict):
    """Panel c: gradient descent on a two-layer ReLU network in NTK parametrisation until λt = ``horizon``.

    η must stay below 2 / (largest kernel eigenvalue), about 2 / 72 for 200 MNIST samples.
    """

    l2: PositiveFloat = 0.002
    eta: PositiveFloat = 0.01
    width: PositiveInt
    horizon: PositiveFloat
    evaluations: int = Field(60, ge=10)


class Training(Strict):
    """Claim 17: such networks of ``widths`` × ``seeds``, each until soon after its theory's loss minimum.

    The claim asks for η · (largest kernel eigenvalue) ≤ 0.35. Evaluations are log-spaced: 200 tell the time of
    the minimum to about 2 %, of the 10 % that it may be off.
    """

    l2: PositiveFloat = 0.002
    eta: PositiveFloat
    widths: Widths
    seeds: PositiveInt = 1
    evaluations: int = Field(200, ge=10)


class TestMinimum(Strict):
    """Test-loss minimum predicted from the kernel: a network of ``width`` for each λ, until λt = ``horizon``."""

    width: PositiveInt = 1024
    l2: tuple[PositiveFloat, ...] = Field(default=(0.05, 0.1, 0.2), min_length=1)
    eta: PositiveFloat = 0.01
    horizon: PositiveFloat = 2.5
    evaluations: int = Field(60, ge=10)


class TestStar(Strict):
    """Claim c7: t* of the theory's own test curve, infinite width, for each λ, on so many ``test`` images.

    The curve is evaluated ``per_decade`` times a decade of time, until λt = ``horizon``.
    """

    l2: Decades = (
        *(0.0005, 0.0007, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015),
        *(0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0),
    )
    test: int = Field(10_000, ge=10)
    per_decade: int = Field(60, ge=12)
    horizon: PositiveFloat = 3.0


class FiniteStar(Strict):
    """Claim x5: t* of networks of ``widths`` × ``l2`` × ``seeds`` until λt = ``horizon``, on ``test`` images."""

    widths: Widths
    l2: Decades
    seeds: PositiveInt = 5
    eta: PositiveFloat
    test: int = Field(2000, ge=10)
    horizon: PositiveFloat = 2.5
    evaluations: int = Field(100, ge=10)


class Convergence(Strict):
    """Distance of the empirical kernel from the infinitely wide one on the first ``samples`` images."""

    widths: Widths
    samples: int = Field(50, ge=2)
    seeds: PositiveInt = 3


class Decay(Strict):
    """Claim 18: the kernel of networks with ``depths`` hidden layers until λt = ``horizon``."""

    depths: tuple[PositiveInt, ...] = Field((1, 2, 3), min_length=1)
    widths: Widths
    samples: int = Field(32, ge=2)
    seeds: PositiveInt = 2
    l2: PositiveFloat = 0.02
    eta: PositiveFloat = 0.05
    horizon: PositiveFloat = 0.5
    points: int = Field(8, ge=3)


class DeepLinear(Strict):
    """Fixed points of SM B.1 for λ = strength · n^(−L / (L + 1)), where S25 predicts the same f for every width n."""

    depths: tuple[PositiveInt, ...] = Field((1, 2, 3), min_length=1)
    widths: Widths
    strengths: tuple[PositiveFloat, ...] = Field((0.05, 0.1), min_length=1)
    eta: PositiveFloat = 0.1


class TheoryConfig(Strict):
    """Everything stage ``theory`` computes."""

    samples: int = Field(200, ge=10)
    test: int = Field(500, ge=10)
    kernel_width: PositiveInt
    modes: Modes = Modes()
    panel_c: PanelC
    training: Training
    # λ of claim 16; the range must reach from well below to above the bulk of the kernel's eigenvalues.
    minimum_l2: Decades
    test_minimum: TestMinimum = TestMinimum()
    test_star: TestStar = TestStar()
    finite_star: FiniteStar
    convergence: Convergence
    decay: Decay
    deep_linear: DeepLinear
    # Convolutional networks in the Lemma-1 table; their third derivatives take a minute to compile.
    convolutional: bool = True
    # Gigabytes that the largest network may take; no number of the results depends on it.
    memory: PositiveFloat = Field(16.0, exclude=True)

    @model_validator(mode="after")
    def _fits(self) -> "TheoryConfig":
        for name, part in (("convergence", self.convergence), ("decay", self.decay)):
            if part.samples > self.samples:
                raise ValueError(f"{name}.samples {part.samples} is larger than samples {self.samples}")
        for name, l2 in (
            ("minimum_l2", self.minimum_l2),
            ("test_star.l2", self.test_star.l2),
            ("finite_star.l2", self.finite_star.l2),
        ):
            if any(b <= a for a, b in pairwise(l2)):
                raise ValueError(f"{name} must increase")
        return self

    @model_validator(mode="after")
    def _affordable(self) -> "TheoryConfig":
        networks = {
            "kernel_width": (self.kernel_width, 1),
            "panel_c.width": (self.panel_c.width, 1),
            "training.widths": (max(self.training.widths), 1),
            "test_minimum.width": (self.test_minimum.width, 1),
            "finite_star.widths": (max(self.finite_star.widths), 1),
            "convergence.widths": (max(self.convergence.widths), 1),
            "decay.widths": (max(self.decay.widths), max(self.decay.depths)),
            "deep_linear.widths": (max(self.deep_linear.widths), max(self.deep_linear.depths)),
        }
        tests = {"finite_star.widths": self.finite_star.test}
        for name, (width, depth) in networks.items():
            # Float32: seven copies of the weights (update, gradient, kernel), four of the activations.
            images = self.samples + tests.get(name, self.test)
            weights = width * (max(_PIXELS, self.samples) + 1) + (depth - 1) * width**2
            self._require(4 * (7 * weights + 4 * images * width * depth), f"{name} {width}", "it")
        images = self.samples + max(self.test, self.test_star.test, self.finite_star.test)
        self._require(4 * 8 * images * self.samples, f"samples {self.samples}", "samples or test")
        # A curve of f over time for all test images, its signs and the products behind it.
        curve = 3 * 8 * self.test_star.test * self.test_star.per_decade * 8
        self._require(curve, f"test_star.test {self.test_star.test}", "test or per_decade")
        for name, part, l2, eta in (
            ("panel_c", self.panel_c, self.panel_c.l2, self.panel_c.eta),
            ("test_minimum", self.test_minimum, min(self.test_minimum.l2), self.test_minimum.eta),
            ("finite_star", self.finite_star, min(self.finite_star.l2), self.finite_star.eta),
            ("decay", self.decay, self.decay.l2, self.decay.eta),
        ):
            if not (steps := part.horizon / l2 / eta) <= MAX_STEPS:
                raise ValueError(
                    f"{name}.horizon {part.horizon:g} needs {steps:.2g} steps, more than {MAX_STEPS:.0e}: lower it"
                )
        return self

    def _require(self, size: float, what: str, remedy: str) -> None:
        if size > self.memory * 1e9:
            raise ValueError(
                f"{what} needs about {size / 1e9:.3g} GB, more than memory ({self.memory:g}): "
                f"lower {remedy}, or raise memory"
            )
