"""The other side of `make bench`: the work of a row as a straightforward PyTorch program does it.

Called by cmd/bench as `peer.py SETTINGS`, a JSON object (type work in cmd/bench/main.go). Prints one JSON
object with what it measured. Texts come as token ids: making them isn't measured here, though it is on our side.
"""

import json
import random
import sys
import time

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode

import clip_model

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def eval_transform(size):
    return transforms.Compose([
        transforms.Resize(size, InterpolationMode.BICUBIC), transforms.CenterCrop(size),
        transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def train_transform(size):
    return transforms.Compose([
        transforms.RandomResizedCrop(size, (0.9, 1.0), interpolation=InterpolationMode.BICUBIC),
        transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def read(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def padded(ids, length):
    return torch.tensor(ids + [0] * (length - len(ids)))


class Labelled(Dataset):
    """Images and the numbers of their classes."""

    def __init__(self, data, transform):
        self.images, self.transform = data["images"], transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.transform(read(self.images[i]["path"])), self.images[i]["label"]


class Finetune(Dataset):
    """Images with a prompt of their class; with anchors, also a caption and a retrieved pair, drawn anew each time."""

    def __init__(self, data, transform, context, anchors):
        self.data, self.transform, self.context, self.anchors = data, transform, context, anchors

    def __len__(self):
        return len(self.data["images"])

    def __getitem__(self, i):
        image = self.data["images"][i]
        item = [self.transform(read(image["path"])), padded(self.data["prompt_ids"][image["label"]], self.context)]
        if self.anchors:
            pair = self.data["pool"][random.choice(image["pairs"])]
            item += [padded(random.choice(image["caption_ids"]), self.context),
                     self.transform(read(pair["path"])), padded(pair["text_ids"], self.context)]
        return item


def load(s):
    """open_clip's model, or the plain one."""
    if s["open_clip"]:
        import open_clip_model  # only here: the import takes time, and start-up is measured

        return open_clip_model.load(s["model"]).eval()
    return clip_model.load(s["model"]).eval()


def autocast(s):
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=s["precision"] == "bfloat16")


def forward(s):
    """The image tower on ready pixels."""
    model = load(s)
    pixels = torch.randn(s["batch"], 3, model.image_size, model.image_size)
    times = []
    with torch.inference_mode():
        for _ in range(s["warmup"] + s["steps"]):
            began = time.perf_counter()
            with autocast(s):
                model.encode_image(pixels)
            times.append(time.perf_counter() - began)
    return {"rate": s["batch"] / sorted(times[s["warmup"]:])[s["steps"] // 2]}


def optimizer_of(model, s):
    decayed = [p for name, p in model.named_parameters() if p.dim() > 1 and "embedding" not in name]
    plain = [p for name, p in model.named_parameters() if not (p.dim() > 1 and "embedding" not in name)]
    groups = [{"params": decayed, "weight_decay": s["weight_decay"]}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=s["lr"], foreach=True)


def finetune(s, data, anchors):
    """Steps of FLYP, or with anchors of ARF: the images are encoded once, all texts in one call."""
    model = load(s)  # in eval mode: batch normalisation keeps the pretrained statistics
    convolutions = hasattr(model.visual, "layer1")  # a ModifiedResNet
    if convolutions:
        model.visual.to(memory_format=torch.channels_last)
    optimizer = optimizer_of(model, s)
    loader = DataLoader(
        Finetune(data, train_transform(model.image_size), model.context, anchors), batch_size=s["batch"], shuffle=True,
        drop_last=True, num_workers=s["workers"], persistent_workers=True)
    done, losses = 0, []
    while True:
        for batch in loader:
            if done == s["warmup"]:
                began = time.perf_counter()
            images, prompts = batch[:2]
            if anchors:
                captions, pool, pool_texts = batch[2:]
                images, texts = torch.cat([images, pool]), torch.cat([prompts, captions, pool_texts])
            else:
                texts = prompts
            if convolutions:
                images = images.to(memory_format=torch.channels_last)
            with autocast(s):
                f, t = model.encode_image(images), model.encode_text(texts, data["eos"])
            n = len(prompts)
            loss = clip_model.contrastive_loss(f[:n], t[:n], model.logit_scale)
            if anchors:
                loss = loss + clip_model.contrastive_loss(f[:n], t[n : 2 * n], model.logit_scale)
                loss = loss + clip_model.contrastive_loss(f[n:], t[2 * n :], model.logit_scale)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, 4.6052)
            losses.append(loss.item())
            done += 1
            if done == 1:
                print("step 1", flush=True)  # what the row "startup" waits for
            if done == s["warmup"] + s["steps"]:
                return {"rate": s["batch"] * s["steps"] / (time.perf_counter() - began), "loss": sum(losses) / done}


def evaluate(s, data):
    """Zero-shot classification of image files."""
    model = load(s)

    @torch.inference_mode()
    def top1(images):
        with autocast(s):
            ids = torch.stack([padded(ids, model.context) for ids in data["prompt_ids"]])
            head = torch.cat([model.encode_text(part, data["eos"]) for part in ids.split(s["batch"])])
        right = 0
        loader = DataLoader(
            Labelled({"images": images}, eval_transform(model.image_size)), batch_size=s["batch"], num_workers=s["workers"])
        for pixels, labels in loader:
            with autocast(s):
                f = model.encode_image(pixels)
            right += (f @ head.t()).argmax(-1).eq(labels).sum().item()
        return right / len(images)

    images = data["images"][: s["images"]]
    top1(images[: s["batch"]])
    began = time.perf_counter()
    accuracy = top1(images)
    return {"rate": len(images) / (time.perf_counter() - began), "accuracy": accuracy}


def peak_memory():
    with open("/proc/self/status", encoding="ascii") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmHWM:"))


def main():
    s = json.loads(sys.argv[1])
    torch.set_num_threads(s["threads"])
    data = None
    if s["data"]:
        with open(s["data"], encoding="utf-8") as f:
            data = json.load(f)
    match s["kind"]:
        case "forward":
            out = forward(s)
        case "flyp" | "arf":
            out = finetune(s, data, s["kind"] == "arf")
        case "eval":
            out = evaluate(s, data)
        case kind:
            sys.exit(f"peer.py: kind {kind!r} is not known")
    out |= {"peak_memory": peak_memory(), "engine": f"PyTorch {torch.__version__}"}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
