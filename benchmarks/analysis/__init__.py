"""What the records say. No module here loads torch.

- stats/: intervals, tests, corrections and power, of numpy arrays
- frames/: results as pandas frames
- judge/: what may be said of results
- report/: how results are shown
- notebook.py: what `load` gives a notebook
"""
