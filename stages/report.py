"""Stage ``report``: write ``reports/index.html`` and ``reports/README.md`` from files alone."""

import sys

from l2dynamics import paths, report, theory_report, theory_results


def main() -> None:
    root = paths.find_root()
    theory = theory_report.section(theory_results.load(root))
    for path in report.write(root, theory):
        print(f"{path.relative_to(root)}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
