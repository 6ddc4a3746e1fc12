"""``python -m benchmarks.gpu``."""

import sys

from benchmarks.gpu.driver import main

sys.exit(main())
