"""Scoped API keys: what they are, where they are kept, how a request finds its own."""
