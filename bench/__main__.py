"""Print the table of measurements as Markdown: ``python -m bench [PART …]``.

Parts are ``fc``, ``conv``, ``shapes``, ``overhead``, ``memory``, ``executors`` and ``precision``.

``python -m bench suggest [NAME …]`` measures suggestions and AutoL2 instead, see :mod:`bench.suggest`;
``python -m bench profile [SHAPE …]`` says where the time of a step goes, see :mod:`bench.profile`.
``fc`` and ``conv`` may name sweeps, as in ``conv:wrn``; ``--eager`` leaves out ``torch.compile``.
"""

import sys
from importlib import import_module

from bench import measure
from l2dynamics.training import numerics

PARTS = ("fc", "conv", "shapes", "overhead", "memory", "executors", "precision")


def main() -> None:
    """Run what the command line asks for."""
    if sys.argv[1:2] in (["suggest"], ["profile"]):
        sys.exit(import_module(f"bench.{sys.argv[1]}").main(sys.argv[2:]))
    chosen = [part for part in sys.argv[1:] if part != "--eager"] or list(PARTS)
    if unknown := [name for name in chosen if name.partition(":")[0] not in PARTS]:
        print(f"error: {unknown[0]} is unknown, choose from {', '.join(PARTS)}", file=sys.stderr)
        sys.exit(2)
    numerics.configure()  # before the parts import jax: `precision` trains in this process
    from bench import conv

    if "--eager" in sys.argv:
        conv.COMPETITORS = ("torch",)
    about = measure.machine()
    rows: list[measure.Row] = []
    for part in chosen:
        name, _, sweep = part.partition(":")
        rows += conv.measure(sweep) if sweep else import_module(f"bench.{name}").rows()
    print(f"\n{about}\n\n{measure.table(rows)}")


if __name__ == "__main__":
    main()
