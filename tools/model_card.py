"""Print the facts of model files for their cards: python tools/model_card.py python/crystalnet/models/*.safetensors"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from crystalnet.model.checkpoint import load_model

for name in sys.argv[1:]:
    model = load_model(Path(name))
    parameters = sum(p.numel() for p in model.network.parameters())
    size = Path(name).stat().st_size
    print(name, f"{parameters / 1e6:.2f} M parameters, {size / 1e6:.1f} MB, SHA-256 {model.sha256}")
    print(json.dumps({"config": model.config.to_dict(), **model.about}, indent=1))
