"""Stage ``claims``: judge the claims on the results and write ``reports/claims/<id>.json``."""

from pathlib import Path

import checkout  # noqa: F401

from l2dynamics import paths
from l2dynamics.claims import evaluation, theory
from l2dynamics.pipeline import stage
from l2dynamics.results import tables


def main(root: Path) -> None:
    records = evaluation.evaluate(evaluation.load(root))
    for claim in theory.evaluate({"theory": tables.load("theory", root)}):
        records[claim.id] = claim.record()
    evaluation.write(records, paths.claims(root))
    verdicts = [record["ok"] for id, record in records.items() if id.isdigit()]
    held, failed = (sum(ok is wanted for ok in verdicts) for wanted in (True, False))
    stage.say(
        f"{held} of the paper's {len(verdicts)} claims hold, {failed} fail; {len(records)} files written"
    )


if __name__ == "__main__":
    stage.short(main)
