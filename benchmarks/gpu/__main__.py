"""``python -m benchmarks.gpu``."""

import signal
import sys

from benchmarks.gpu.driver import main

# A shell has what it starts in the background ignore SIGINT, which the stages' programs would take over.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
