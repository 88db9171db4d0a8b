"""Who executes the runs, where, and what happens when they are stopped. No number of the results depends on it."""
