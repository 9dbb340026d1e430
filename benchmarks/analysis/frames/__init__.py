"""Results as pandas frames. Each frame that is derived is worked out once and kept with its `Results`.

- `results`: `Results`, the frames of a suite, and what keeps those derived from them
- `load`: a results folder read into `Results`
- `join`: results of several folders as one
- `published`: results in a few parquet files, without the runs' folders
- `wandb_export`: an export from wandb read into `Results`
- `arms`: which arms run where, and which two are compared
- `parts`: a part of a suite's results: some arms and tasks, all but some seeds
- `outcomes`: what each run and each arm came to
- `prompts`: held-out prompts one by one
- `transcripts`: prompts with each arm's completion beside the others'
- `lengths`: tokens of completions that passed and that failed
- `costs`: seconds, memory and operations of completions
- `probes`: what the probes found, at start, middle and end
- `speed`: the cells that only the timing pass runs, peers beside their counterparts
- `throughput`: runs an hour by how many are at work at a time
- `attribution`: the baseline's effect and that of everything else
"""
