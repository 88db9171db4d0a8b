"""What a reader is shown: the report with its figures, claims, curves and provenance."""
