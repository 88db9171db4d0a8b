"""What came out: tables and passports of the sweeps, and where their numbers come from."""
