"""What two parts must agree on: documents that travel between service, operator, backup runner and fakes.

Pure pydantic, no I/O; imports neither the service nor the operator. A document says its version in ``v`` and a
reader ignores fields it does not know, so that neighbouring versions can talk to each other.
"""
