"""How the DAG works: how its stages begin and end, which code each of them runs, what a scale costs."""
