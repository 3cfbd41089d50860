"""Compiled programs that outlive the process, in the user's cache directory. Knows nothing of what they compute."""

import warnings
from pathlib import Path
from typing import Any

import jax

from facedep_jax.file_system import user_cache

_SETTING = "jax_compilation_cache_dir"
_LEAST = "jax_persistent_cache_min_compile_time_secs"
LEAST_SECONDS = 0.1  # of compiling what is kept; at jax's own 1 s a head's program would be kept by chance
_DAMAGED = "Error reading persistent compilation cache"  # jax/_src/compiler.py says so, compiles, and leaves the file


def keep_compiled() -> str | None:
    """Have jax keep what it compiles, unless it was told where already; says why where the directory cannot be made.

    Saves about 2 s of 3 to 6 before the first batch of both networks, and 1.5 s before that of a head (2-core CPU).
    """
    if getattr(jax.config, _SETTING) is not None:
        return None
    folder = user_cache() / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        return f"compiled programs are not kept, {folder}: {error.strerror}"
    jax.config.update(_SETTING, str(folder))
    jax.config.update(_LEAST, LEAST_SECONDS)
    return None


def compile_kept(function: Any, *arguments: object, options: dict[str, Any] | None = None) -> jax.stages.Compiled:
    """`function`, which jax.jit made, compiled for the shapes of `arguments`: it can not compile a second time.
    `options` are XLA's, for this program.

    A kept program that cannot be read is removed, compiled again and kept again.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        compiled = function.lower(*arguments).compile(compiler_options=options)
    damaged = [warning for warning in said if str(warning.message).startswith(_DAMAGED)]
    for warning in said:
        if warning not in damaged:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if not damaged:
        return compiled
    for kept in Path(getattr(jax.config, _SETTING)).glob(f"jit_{function.__name__}-*"):
        kept.unlink(missing_ok=True)
    jax.clear_caches()  # or what was just compiled would be handed back without being kept
    return function.lower(*arguments).compile(compiler_options=options)
