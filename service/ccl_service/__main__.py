"""``python -m ccl_service``."""

from ccl_service.cli import main

main()
