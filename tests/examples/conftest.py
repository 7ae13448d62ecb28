"""Scripts of examples/studies import each other by name, as they do when they are run; tests import them so, too."""

import sys
from pathlib import Path

STUDIES = Path(__file__).parents[2] / "examples" / "studies"

sys.path.extend(str(folder) for folder in (STUDIES, *STUDIES.iterdir()) if folder.is_dir())
