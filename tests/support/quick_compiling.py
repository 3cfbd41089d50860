"""Programs of tests run once or twice, and compiling them takes longer than all else. Read before jax is used.

Without LLVM's passes, with the older emitters of loops and for short vectors, two trainings of small heads take 16 s
of the processor in the place of 37. What computes for long is slower so. Processes that tests start go half that way,
by JAX_DISABLE_MOST_OPTIMIZATIONS: XLA's own flags would be tried in a further process by each of them. With XLA_FLAGS
in the environment, empty or not, that is followed instead: `XLA_FLAGS= pytest` compiles as users' processes do.
"""

import os

from jaxlib import version, xla_client

QUICK = "--xla_backend_optimization_level=0 --xla_cpu_prefer_vector_width=128"
if version.__version_info__ < (0, 11):  # 0.12 no longer knows it, and ends a process that has it
    QUICK += " --xla_cpu_use_fusion_emitters=false"
FLAGS = os.environ.get("XLA_FLAGS", QUICK)
COMPILED_AS_USERS_DO = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}  # of a process that computes for long
COMPILED_ALIKE = os.environ | {"XLA_FLAGS": FLAGS}  # of a process that has to give the same bits as this one


def compile_quickly() -> None:
    """XLA looks at its flags once; processes that tests start do not see them."""
    before = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = FLAGS
    xla_client.CompileOptions()
    if before is None:
        del os.environ["XLA_FLAGS"]
