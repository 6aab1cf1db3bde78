"""Writes clip/testdata/positions.json: positional embeddings before and after open_clip's resize_pos_embed."""
import json
import pathlib
from importlib.metadata import version

import open_clip
import torch
from open_clip.model import resize_pos_embed

torch.manual_seed(1)
cases = []
for old, new in ((4, 2), (4, 3), (3, 7), (2, 5)):
    config = dict(embed_dim=4, text_cfg=dict(context_length=4, vocab_size=8, width=64, heads=1, layers=1))
    model = open_clip.CLIP(vision_cfg=dict(image_size=8 * new, patch_size=8, width=64, layers=1), **config)
    before = torch.randn(1 + old * old, 3)
    state = {"visual.positional_embedding": before}
    resize_pos_embed(state, model)
    cases.append({"from": old, "to": new, "before": before.flatten().tolist(),
                  "after": state["visual.positional_embedding"].flatten().tolist()})
with open(pathlib.Path(__file__).resolve().parents[2] / "clip/testdata/positions.json", "w") as file:
    json.dump({"made_with": f"open_clip {version('open_clip_torch')}, torch {torch.__version__}", "cases": cases}, file)
