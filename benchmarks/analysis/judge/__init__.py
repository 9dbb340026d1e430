"""What may be said of results: findings, and verdicts on them.

- `pairs`: two arms' values, seed by seed
- `finding`: what was found on one question, and what a verdict says of it
- `comparisons`: findings on two arms, a function per kind of comparison
- `metrics`: the table of metrics, and each one's findings by task
- `verdicts`: each metric's verdict on two arms, as a sentence
- `claim_measures`: what a claim can be about
- `claims`: a suite's declared claims against its results
- `differences`: the final difference in full
"""
