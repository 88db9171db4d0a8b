"""What is run: the experiments of the paper, the numbers of a scale, and the list of runs they make."""
