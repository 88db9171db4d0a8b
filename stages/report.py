"""Stage ``report``: write ``reports/index.html`` and ``reports/README.md`` from files alone."""

from pathlib import Path

from l2dynamics import report, stage, theory_report, theory_results


def main(root: Path) -> None:
    theory = theory_report.section(theory_results.load(root))
    for path in report.write(root, theory):
        print(f"{path.relative_to(root)}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    stage.short(main)
