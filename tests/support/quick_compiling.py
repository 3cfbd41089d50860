"""Programs of tests run once or twice, and compiling them takes longer than all else. Read before jax is used.

Without LLVM's passes, with the older emitters of loops and for short vectors, two trainings of small heads take 16 s
of the processor in the place of 37. What computes for long is slower so. With XLA_FLAGS in the environment, empty or
not, that is followed instead: `XLA_FLAGS= pytest` compiles as users' processes do.
"""

import os

from jaxlib import xla_client

QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_prefer_vector_width=128"
FLAGS = os.environ.get("XLA_FLAGS", QUICK)
COMPILED_ALIKE = os.environ | {"XLA_FLAGS": FLAGS}  # of a process that has to give the same bits as this one


def compile_quickly() -> None:
    """XLA looks at its flags once. Processes that tests start compile as users' do."""
    before = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = FLAGS
    xla_client.CompileOptions()
    if before is None:
        del os.environ["XLA_FLAGS"]
