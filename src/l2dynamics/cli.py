"""The command ``l2dynamics``: suggest and predict coefficients, plan and clean the reproduction."""

import importlib
import json
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from l2dynamics import __version__

if TYPE_CHECKING:
    import typer

    from l2dynamics.suggestion.answer import Suggestion
    from l2dynamics.suggestion.probes import Probe
    from l2dynamics.suggestion.runs import MakeRun


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0, or 2 for bad input with one line on stderr.

    Args:
        argv: the arguments after the program's name; None takes those of the process.
    """
    try:
        import typer  # noqa: F401
    except ModuleNotFoundError:
        print(
            "l2dynamics: the command line needs typer and rich: pip install '.[cli]' in a checkout of l2dynamics",
            file=sys.stderr,
        )
        return 2
    try:
        _app()(args=None if argv is None else list(argv), prog_name="l2dynamics")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except ValueError as error:
        if not _is_ours(error):
            raise
        print(f"l2dynamics: {error}", file=sys.stderr)
        return 2
    return 0


def _is_ours(error: ValueError) -> bool:
    """Tell bad input to this library from a failure inside the user's training, which keeps its traceback."""
    *_, (frame, _line) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "l2dynamics"


def _app() -> "typer.Typer":
    import typer

    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    # Not imported at the top: without typer the command must still be able to say what is missing.
    option, argument = typer.Option, typer.Argument

    def print_version(wanted: bool) -> None:
        if wanted:
            print(f"l2dynamics {__version__}")
            raise typer.Exit

    @app.callback()
    def shared(
        version: Annotated[
            bool,
            option("--version", callback=print_version, is_eager=True, help="print the version and stop"),
        ] = False,
    ) -> None:
        """Predict the L2 coefficient of your training, and plan the reproduction of the paper."""

    @app.command()
    def suggest(
        function: Annotated[
            str,
            argument(
                metavar="MODULE:FUNCTION",
                help="your make_run(l2, seed); MODULE may lie in the working directory",
            ),
        ],
        budget: Annotated[
            float, option(help="length of the planned training, in the unit that make_run yields")
        ],
        first_decay: Annotated[
            float | None, option(help="first decay of the learning rate, as a fraction of the budget")
        ] = None,
        l2: Annotated[
            list[float] | None,
            option(
                help="coefficient to start the search from; given several times: measure at these, no search"
            ),
        ] = None,
        seed: Annotated[
            list[int] | None, option(help="seed to measure with, may be repeated [dim](0, 1 and 2)[/]")
        ] = None,
        learning_rate: Annotated[
            float | None, option(help="learning rate at the start: saves the search for the scale of l2")
        ] = None,
        momentum: Annotated[float | None, option(help="momentum that goes with it")] = None,
        steps_per_unit: Annotated[
            float | None, option(help="weight updates in a unit of the budget, such as those of an epoch")
        ] = None,
        metric: Annotated[str, option(help="what make_run yields, accuracy or loss")] = "accuracy",
        max_share: Annotated[float, option(help="most that the measurement may cost, of the budget")] = 0.5,
        tolerance: Annotated[
            float, option(help="distance from the best accuracy that counts as reached")
        ] = 0.005,
        chance: Annotated[
            float | None, option(help="accuracy of guessing, such as 0.1 for ten classes")
        ] = None,
        classes: Annotated[int | None, option(help="number of classes, in place of chance")] = None,
        decoupled: Annotated[
            bool | None, option(help="l2 is decoupled weight decay, as in AdamW", show_default=False)
        ] = None,
        as_json: Annotated[bool, option("--json", help="print the result, with all runs, as JSON")] = False,
    ) -> None:
        """Train briefly at large coefficients and suggest the coefficient for a budget.

        FUNCTION is called as [bold]make_run(l2, seed)[/] and yields (step, test accuracy) pairs, often.

        It starts a fresh training with the loss L + l2/2 · ‖θ‖² at a constant learning rate.

        Example: [bold]l2dynamics suggest --budget 200 --first-decay 0.3 my_training:make_run[/]
        """
        make_run = _load(function)
        from l2dynamics.suggestion.suggest import suggest_l2

        start = l2[0] if l2 and len(l2) == 1 else l2
        with _Progress() as progress, warnings.catch_warnings():
            # The result prints them itself.
            warnings.filterwarnings("ignore", message="suggest_l2:", category=UserWarning)
            found = suggest_l2(
                make_run,
                budget,
                first_decay=first_decay,
                l2=start,
                seeds=seed or (0, 1, 2),
                max_share=max_share,
                tolerance=tolerance,
                chance=chance,
                classes=classes,
                learning_rate=learning_rate,
                momentum=momentum,
                steps_per_unit=steps_per_unit,
                decoupled=decoupled,
                metric=metric,  # type: ignore[arg-type]  # checked there
                progress=progress,
            )
        if as_json:
            print(json.dumps(found.as_dict(), allow_nan=False))
        else:
            _print_suggestion(found)

    @app.command()
    def predict(
        c: Annotated[float, option(help="coefficient c = t* · l2 measured on a run with a large l2")],
        budget: Annotated[float, option(help="length of the planned training, in the unit of c")],
        first_decay: Annotated[
            float | None, option(help="first decay of the learning rate, as a fraction of the budget")
        ] = None,
        as_json: Annotated[bool, option("--json", help="print the result as JSON")] = False,
    ) -> None:
        """Predict the coefficient for a budget from a known c: l2 = c / budget, or c / (first_decay · budget).

        Example, the paper's Wide ResNet and 50 epochs: [bold]l2dynamics predict --c 0.0066 --budget 50[/]
        """
        from rich.console import Console

        from l2dynamics.prediction import predict_l2

        l2 = predict_l2(c, budget, first_decay=first_decay)
        if as_json:
            print(json.dumps({"l2": l2, "c": c, "budget": budget, "first_decay": first_decay}))
            return
        if first_decay is None:
            formula = f"c / budget = {c:g} / {budget:g}"
        else:
            formula = f"c / (first_decay · budget) = {c:g} / ({first_decay:g} · {budget:g})"
        Console(highlight=False).print(f"l2 = [bold]{l2:.4g}[/]  [dim]({formula})[/]")

    @app.command()
    def plan(
        scale: Annotated[str, option(help="smoke, laptop, workstation, accelerator or paper")] = "laptop",
        device: Annotated[
            str | None, option(help="device to estimate the hours for; default: this machine")
        ] = None,
        power: Annotated[
            bool, option("--power", help="what its runs can decide, instead of what they cost")
        ] = False,
        as_json: Annotated[bool, option("--json", help="print the plan as JSON")] = False,
    ) -> None:
        """Show runs, steps, FLOPs and hours of every sweep of a scale, before anyone starts."""
        if power:
            _pipeline("plan", "power_plan").power_command(scale=scale, as_json=as_json)
            return
        _pipeline("plan", "cost").plan_command(scale=scale, device=device, as_json=as_json)

    @app.command()
    def verify(
        scale: Annotated[str | None, option(help="scale to verify; default: that in force")] = None,
        per_sweep: Annotated[int, option(min=1, help="jobs of every sweep, of its shorter half")] = 1,
        minutes: Annotated[float, option(min=0, help="after which no further job is begun")] = 5.0,
        seed: Annotated[int | None, option(help="of the draw; default: another every time")] = None,
        renew: Annotated[
            bool, option("--renew", help="take the results of stages that agree as those of the present code")
        ] = False,
    ) -> None:
        """Train a random sample of the committed runs again and compare with the results."""
        agreed = _pipeline("verify", "verify").verify_command(
            scale=scale, per_sweep=per_sweep, minutes=minutes, seed=seed, renew=renew
        )
        if not agreed:
            raise typer.Exit(1)

    @app.command()
    def clean(
        yes: Annotated[bool, option("--yes", help="delete without asking")] = False,
        as_json: Annotated[bool, option("--json", help="print what is or would be deleted as JSON")] = False,
    ) -> None:
        """Show which checkpoints and finished runs under work/ would be deleted, then delete them."""
        _pipeline("clean", "clean").clean_command(yes=yes, as_json=as_json)

    return app


def _load(name: str) -> "MakeRun":
    """Return the function that ``module:function`` names; the working directory comes first."""
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise ValueError(f"{name!r} names no function: write module:function, such as my_training:make_run")
    if module_name.startswith(".") or module_name.endswith(".py") or "/" in module_name:
        stem = Path(module_name).name.removesuffix(".py").strip(".") or "my_training"
        raise ValueError(
            f"{module_name} is a path, not a module: write {stem}:{attribute}, in the folder of that file"
        )
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that exists but lacks one of its own imports must say so itself.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"there is no module {module_name} in {Path.cwd()} or installed") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ValueError(f"module {module_name} has no {attribute}: name a function make_run(l2, seed)")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"{name} is not a function: name one that is called as make_run(l2, seed)")
    return found


def _pipeline(command: str, module: str) -> Any:
    try:
        from l2dynamics.training import numerics

        if "jax" not in sys.modules:
            numerics.configure()
        return importlib.import_module(f"l2dynamics.pipeline.{module}")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{command} needs the pipeline ({error}): pip install '.[pipeline]' in a checkout of l2dynamics"
        ) from error


class _Progress:
    """Shows the run in progress on stderr, and a line for each that ended."""

    def __enter__(self) -> "_Progress":
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status("starting")
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def __call__(self, probe: "Probe") -> None:
        if probe.status == "running":
            self._status.update(str(probe))
        else:
            self._console.print(str(probe))


def _print_suggestion(found: "Suggestion") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("l2", "seed", "followed to", "best", "t*", "c", "result")
    for probe in found.probes:
        peaked = probe.status == "peaked"
        table.add_row(
            f"{probe.l2:.3g}",
            str(probe.seed),
            f"{probe.length:g}",
            f"{probe.best:.3f}" if probe.best == probe.best else "",
            f"{probe.t_star:.3g}" if peaked else "",
            f"{probe.c:.3g}" if peaked else "",
            probe.status.replace("_", " "),
        )
    console.print(table)
    decay = "" if found.first_decay is None else f", first decay at {found.first_decay:g} of it"
    several = found.peaked > 1  # one run has no range
    span = f"  (measured range {found.low:.2g} to {found.high:.2g})" if several else ""
    console.print(f"l2 = [bold]{found.l2:.2g}[/]{span} for a budget of {found.budget:g}{decay}")
    span = f" ({found.c_low:.3g} to {found.c_high:.3g})" if several else ""
    runs = f"{found.peaked} of {len(found.probes)} runs peaked"
    c = f"c = {found.c:.3g}{span}, " if found.peaked else ""
    console.print(f"{c}{runs}; cost {found.spent:g}, {found.share:.0%} of the budget")
    for warning in found.warnings:
        console.print(f"[yellow]unsure:[/] {warning}")
