"""What the records say: statistics, frames, verdicts, pages. No module here loads torch."""
