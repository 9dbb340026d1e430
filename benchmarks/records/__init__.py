"""What runs leave: the files, their columns, who writes and who reads them. No module here loads torch.

- folder.py: what lies where in a results folder; keys, locking, whole writes, hashes
- lock.py: suite.lock.yaml: the suite, its runs' keys and their seals; in what two suites differ
- schema.py: columns, phases, and checks of JSON
- seal.py: a hash over a document
- manifest.py: written last, checked first; is a run complete?
- recorder.py: writes a run's lines and tables
- read.py: reads a run as frames
- visible.py: texts as a page or a terminal can show them
- yaml_text.py: YAML as suites and locks have it, bounded
- throughput.py: throughput.jsonl
- union.py: two results folders as one
"""
