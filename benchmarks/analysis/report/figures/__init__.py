"""The report's figures.

- `style`: colours, fonts, fills and signs
- `canvas`: sizes, legends, captions
- `frame`: what stands round a panel: ticks, labels, grid
- `inline`: a figure as a part of a page
- `files`: a figure as a file
- `panels`: single panels, a frame drawn on given axes
- `forest`: how far two arms differ, task by task, with intervals and verdicts
- `overview`: all tasks at a glance, and each task in full
- `attribution`: the baseline's effect and that of everything else
- `costs`: what an update costs, and curves by cost
- `probes`: baselines, gradients and the critic
- `claims`: each claim's measure over a setting
- `speed`: peers on equal work, how cost grows, runs an hour
- `theory`: the exact variance of the policy gradient
"""
