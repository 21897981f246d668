"""The client knows the whole API, and needs little to do so."""

import inspect
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from typing import get_type_hints

from ccl_service.client import Client
from ccl_service.main import route_table
from ccl_service.platform.bounds import default_bounds
from ccl_service.platform.description import Description

DOCUMENT = Description(route_table(), version="1", bounds=default_bounds()).document
#: What the client may need besides the standard library: the extra ``client``, and what comes along with it.
NEEDED = {"aiohttp", "ccl_contract", "ccl_service", "email_validator", "phonenumbers", "pydantic"}
PRINT_IMPORTED = """
import sys
before = set(sys.modules)
import ccl_service.client
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))
"""


def called() -> Counter[str]:
    """The operations that the client's methods name."""
    hints = get_type_hints(Client)
    parts = [hints[field.name] for field in fields(Client)]
    methods = [method for part in parts for _, method in inspect.getmembers(part, inspect.isfunction)]
    return Counter(name for method in methods for name in getattr(method, "operations", ()))


def test_every_operation_of_the_document_has_one_method() -> None:
    # HEAD is GET without the body: a question of load balancers
    documented = {
        operation["operationId"]
        for methods in DOCUMENT["paths"].values()
        for method, operation in methods.items()
        if method != "head"
    }
    assert called() == Counter(documented)


def test_the_client_brings_no_server_along() -> None:
    done = subprocess.run([sys.executable, "-c", PRINT_IMPORTED], capture_output=True, text=True, check=True)
    servers = {
        "alembic",
        "asyncpg",
        "jinja2",
        "openai",
        "prometheus_client",
        "redis",
        "sqlalchemy",
        "structlog",
        "typer",
    }
    imported = set(done.stdout.split())
    assert imported >= NEEDED
    assert not imported & servers
