"""usage: parse.py MODULE CLASS FILE...; see ../README.md"""

import importlib
import json
import sys
from pathlib import Path

module = importlib.import_module(sys.argv[1])
made = getattr(module, sys.argv[2])
for file in sys.argv[3:]:
    made.model_validate_json(Path(file).read_bytes())
print(json.dumps([name for name, kind in vars(module).items()
                  if isinstance(kind, type) and kind.__module__ == module.__name__]))
