"""Stage ``claims``: judge the claims on the results and write ``reports/claims/<id>.json``."""

import sys

from l2dynamics.claims_theory import theory_claims

from l2dynamics import claims, paths


def main() -> None:
    root = paths.find_root()
    records = claims.evaluate(claims.load(root)) | dict(theory_claims(root))
    claims.write(records, paths.claims(root))
    main_claims = {id: record["ok"] for id, record in records.items() if id.isdigit()}
    held, failed = (sum(ok is wanted for ok in main_claims.values()) for wanted in (True, False))
    print(
        f"{held} of {len(main_claims)} claims of the paper hold, {failed} fail; {len(records)} files written"
    )


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
