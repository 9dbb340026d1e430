"""How results are shown: pages, tables, figures, the terminal.

- `contents`: which tables and figures a suite has
- `tables`: tables that no other room makes, and numbers as text
- `first_page`: tables of the first page
- `other_pairs`: the pairs that are not judged, with their largest difference
- `lengths`: what the lengths of right and wrong completions say
- `transcripts`: a page of prompts with every arm's completion beside the others'
- `captions`: titles and explanations of tables and figures
- `write`: report.html, transcripts.html, report.md, claims.json, figures/ and tables/
- `publish`: report, lock and records, without the runs' folders
- `index`: one page of all suites of a results folder
- `verify`: a report against its runs
- `compare`: two results folders side by side
- `terminal`: what commands print
- `figures`: the drawings
- `templates`: the pages, as Jinja has them
"""
