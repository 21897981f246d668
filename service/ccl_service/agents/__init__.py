"""The agents that work a lead. In here: RealtimeChat ("Cathy"), who answers in the chat.

Owns what an agent says and how a model is asked; conversations and turns belong to ``chat``, people to ``leads``.
"""
