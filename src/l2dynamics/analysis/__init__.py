"""Which numbers follow from the tables: t*, accuracies, exponents, tuned λ, the coefficient c."""
