"""Outside worlds as servers that speak the real protocols: Mailgun and OpenAI, with scripted faults.

The development stack, the demo and the tests point the service at these, so that the code path that ships is the one
that is exercised. They keep everything in memory and know nothing about the service beyond the public protocols.
"""
