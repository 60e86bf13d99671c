"""The command line: parse, one library call, print.

stdout is data, stderr is progress and log. Exit 0 done, 1 some slides failed, 2 wrong use, 3 a fault of ours,
130 stopped by Ctrl-C.
"""

from coverslip.cli.main import main

__all__ = ["main"]
