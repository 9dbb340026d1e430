"""The commands, a file a group; `__main__` names them in the order of the help.

- options.py: options that several commands take
- suites.py: what is there to run: init, import-trl, list, show
- runs.py: run, merge
- reports.py: what came out: view, report, compare, verify, publish
- machine.py: what a machine can do: doctor, predict, roofline

Modules are imported by the command that needs them, so that --help answers at once.
"""
