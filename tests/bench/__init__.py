"""Benchmarks: workloads, an oracle for their results, and the peers they are compared with."""
