"""A run drawn: each chart is a function of a run or a row, and comes with the same in words."""
