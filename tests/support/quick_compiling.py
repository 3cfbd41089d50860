"""Programs of tests run once or twice: LLVM's passes over them take as long as all else. Read before jax is used."""

import os

from jaxlib import xla_client

FLAGS = os.environ.get("XLA_FLAGS", "--xla_backend_optimization_level=0")
COMPILED_ALIKE = os.environ | {"XLA_FLAGS": FLAGS}  # of a process that has to give the same bits as this one


def compile_quickly() -> None:
    """XLA looks at its flags once. Processes that tests start compile as users' do."""
    before = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = FLAGS
    xla_client.CompileOptions()
    if before is None:
        del os.environ["XLA_FLAGS"]
