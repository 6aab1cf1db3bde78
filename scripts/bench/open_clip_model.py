"""open_clip's model behind the interface of clip_model.CLIP."""

import open_clip
from torch import nn


class OpenCLIP(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    @property
    def visual(self):
        return self.model.visual

    @property
    def image_size(self):
        size = self.model.visual.image_size
        return size if isinstance(size, int) else size[0]

    @property
    def context(self):
        return self.model.context_length

    @property
    def logit_scale(self):
        return self.model.logit_scale

    def encode_image(self, pixels):
        return self.model.encode_image(pixels, normalize=True).float()

    def encode_text(self, ids, eos):
        """ids [N, context], padded with 0; open_clip finds the last token itself, as its configuration says."""
        return self.model.encode_text(ids, normalize=True).float()


def load(folder):
    """The CLIP in a folder of open_clip's layout, or ViT-B/32 of random weights where there is none."""
    if not folder:
        return OpenCLIP(open_clip.create_model("ViT-B-32"))
    return OpenCLIP(open_clip.create_model(f"local-dir:{folder}"))
