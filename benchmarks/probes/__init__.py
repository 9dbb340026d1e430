"""Probes: measurements on a frozen policy, whose time is never training time."""
