"""Whether worker processes can be started from where a program stands. Knows nothing of what they will do."""

import ast
import linecache
import sys
from types import FrameType

from facedep_jax.errors import ClusterError


def check_main_guard() -> None:
    """Raises ClusterError where every worker would run the script that starts it again, from its beginning.

    A new process imports the main script, so whatever starts workers has to be kept from that by the usual guard.
    """
    frame = _main_frame()
    if frame is None or not _is_run_again():
        return
    file, line = frame.f_code.co_filename, frame.f_lineno
    tree = ast.parse("".join(linecache.getlines(file)))
    running = [statement for statement in tree.body if statement.lineno <= line <= (statement.end_lineno or line)]
    names = {node.id for statement in running for node in ast.walk(statement) if isinstance(node, ast.Name)}
    if running and "__name__" not in names:
        raise ClusterError(
            f"{file}, line {line}: workers are started outside of a main guard, and each would run this script again; "
            'put what it does under `if __name__ == "__main__":`, or leave workers out'
        )


def _main_frame() -> FrameType | None:
    """Where the main script stands; None in a thread, and at a prompt that has ended it."""
    main, frame = vars(sys.modules["__main__"]), sys._getframe()
    while frame.f_back and not (frame.f_globals is main and frame.f_code.co_name == "<module>"):
        frame = frame.f_back
    return frame if frame.f_globals is main and frame.f_code.co_name == "<module>" else None


def _is_run_again() -> bool:
    """Not what Python was given as a text, nor a package's `__main__.py`: multiprocessing.spawn leaves these out."""
    main = sys.modules["__main__"]
    name = getattr(main.__spec__, "name", None)
    return hasattr(main, "__file__") if name is None else not name.endswith("__main__")
