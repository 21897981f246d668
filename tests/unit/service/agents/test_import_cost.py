"""The SDK is loaded by processes that ask a model, and by no other."""

import subprocess
import sys


def test_wiring_the_service_does_not_load_the_sdk() -> None:
    code = "import sys, ccl_service.main; print('openai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
