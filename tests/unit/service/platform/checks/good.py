"""A production environment with which nothing is wrong."""

from ccl_service.platform.db import BoundDb

GOOD = {
    "CCL_ENV": "production",
    "DATABASE_URL": "postgresql://ccl:8Zr1q0@db/ccl",
    "INTERNAL_API_KEY": "i" * 32,
    "JWT_SECRET": "j" * 32,
    "SESSION_SECRET": "s" * 32,
    "MAILGUN_API_KEY": "key-1",
    "MAILGUN_DOMAIN": "mg.example.com",
    "OPENAI_API_KEY": "sk-1",
    "CORS_ORIGIN": "https://cars.example.com",
    "PUBLIC_BASE_URL": "https://cars.example.com",
    "TRUST_PROXY": "10.0.0.0/8",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
}


class NoDb(BoundDb):
    """A database that these checks must not ask."""

    def __init__(self) -> None:
        """Nothing to connect to."""
