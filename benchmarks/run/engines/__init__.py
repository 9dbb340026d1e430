"""Who starts the processes of a suite.

- job.py: what an engine is asked: a command, threads, a log; interruption
- local.py: child processes, some at a time
- forkserver.py: processes forked from one that has imported torch
"""
