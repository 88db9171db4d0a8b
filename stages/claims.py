"""Stage ``claims``: judge the claims on the results and write ``reports/claims/<id>.json``."""

from pathlib import Path

import checkout  # noqa: F401

from l2dynamics import paths
from l2dynamics.claims import absent, evaluation, theory
from l2dynamics.pipeline import stage


def main(root: Path) -> None:
    results = absent.load([*evaluation.RESULTS, *theory.RESULTS], root)
    records = evaluation.evaluate(results)
    for claim in theory.evaluate(results):
        records[claim.id] = claim.record()
    evaluation.write(records, paths.claims(root))
    evaluation.write_regimes(results, paths.claims(root))
    if missing := absent.missing(results):
        stage.say(f"not run yet at this scale, so not decided: {', '.join(missing)}")
    found = absent.tally(records)
    count = ", ".join(f"{number} {verdict}" for verdict, number in found.items())
    stage.say(f"of the paper's {sum(found.values())} claims {count}; {len(records)} files written")


if __name__ == "__main__":
    stage.short(main)
