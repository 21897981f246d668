"""``python -m ccl_operator`` is ``ccl-operator``."""

from ccl_operator.cli import main

main()
