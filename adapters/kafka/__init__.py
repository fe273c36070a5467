"""Kafka: market data from topics."""
