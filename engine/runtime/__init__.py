"""Runtimes: what carries actors, in virtual and in real time."""
