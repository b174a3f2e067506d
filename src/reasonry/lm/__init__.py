"""Where text comes from: one readable decoder and its engine, OpenAI-compatible endpoints, the shipped pocket models."""
