import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from keras_vgg.support.huge_pages import restart_with_huge_pages
print(os.getpid(), sys.argv[1:], os.environ.get("GLIBC_TUNABLES"), flush=True)
restart_with_huge_pages()
print("went on", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's tunables")
def test_starts_the_same_command_once_more_in_the_same_process():
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", PROGRAM, "--flag", "two words"]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    first, second, last = output.splitlines()
    number = first.split()[0]
    assert first == f"{number} ['--flag', 'two words'] None"
    assert second == f"{number} ['--flag', 'two words'] glibc.malloc.hugetlb=1"
    assert last == "went on"


def test_leaves_a_decision_alone():
    environment = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.check=0"}
    output = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert output.stdout.split()[-4:] == ["[]", "glibc.malloc.check=0", "went", "on"]
