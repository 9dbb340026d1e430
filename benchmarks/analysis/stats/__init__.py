"""Numbers: arrays in, estimates and p-values out; numpy and scipy only.

- `intervals`: means and shares with their intervals, exact tests, effect sizes
- `evidence`: two arms' values as an estimate, its interval and its p-values, a function per kind of comparison
- `ruling`: p-values of a family as verdicts in words; Holm's correction
- `power`: what a number of seeds can show
- `curves`: areas under curves and places where they reach a threshold
"""
