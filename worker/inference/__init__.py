"""The two models: network, cards, registry, batcher, engine."""
