"""Kafka: market data from topics, messages about a run to topics."""
