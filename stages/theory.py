"""Stage ``theory``: section 4 of the paper, Figure 5 and the claims 16 to 18.

Usage: ``python stages/theory.py``; reads params.yaml and section ``theory`` of ``scales/<scale>.yaml``, writes
``results/theory.csv`` and ``results/theory.json``. What is finished is kept in ``work/theory`` and not repeated.
"""

import json
import sys

from l2dynamics import config, paths, runtime


def main() -> None:
    root = paths.find_root()
    from l2dynamics import theory_stage
    from l2dynamics.locks import locked
    from l2dynamics.theory_config import TheoryConfig

    params = config.load_params(root)
    section = config.load_section(root, params.scale, "theory", TheoryConfig)
    with locked(root, "theory"):
        numbers = theory_stage.run(section, params.scale, params.seed, params.data["source"], root)
    summary = {"minimum": numbers["minimum"]["exponent"], "networks": len(numbers["training"])}
    print(f"results/theory.csv, results/theory.json: {json.dumps(summary)}")


if __name__ == "__main__":
    runtime.begin_stage("jax_cache")
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ValueError) else 1)
