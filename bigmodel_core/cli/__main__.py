"""`python -m bigmodel_core.cli`: the program without its installed script."""

import sys

from bigmodel_core.cli.app import main

sys.exit(main())
