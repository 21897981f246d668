"""The chat: conversations, a visitor's messages, turns that are worked like any row, and their stream.

What is said belongs to ``agents``; the person behind a conversation to ``leads``.
"""
