"""Writes checkpoint/testdata: checkpoints as PyTorch and safetensors write them, and in golden.json the
versions that wrote them and the tensors that are in them (dtype, shape, bytes in hex).

    python3 scripts/golden/weights.py

Needs torch, numpy and safetensors. Run it from the repository's root; the values are the same every time.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections import OrderedDict

import numpy
import safetensors
import safetensors.torch
import torch

OUT = os.path.join("checkpoint", "testdata")
golden = {}


def ramp(*shape, dtype=torch.float32, start=0.0):
    """Different values, exact in every type."""
    n = int(numpy.prod(shape))
    return (torch.arange(n, dtype=torch.float64) / 4 + start).reshape(shape).to(dtype)


def expect(file, tensors):
    golden[file] = {
        name: {
            "dtype": str(t.dtype).removeprefix("torch."),
            "shape": list(t.shape),
            "data": t.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes().hex()
            if t.numel()
            else "",
        }
        for name, t in tensors.items()
    }


def save(file, what, tensors, **options):
    torch.save(what, os.path.join(OUT, file), **options)
    expect(file, tensors)


def dtypes():
    out = OrderedDict()
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8):
        out["weights." + str(dtype).removeprefix("torch.")] = ramp(2, 3, dtype=dtype, start=1)
    out["weights.bool"] = torch.tensor([True, False, True])
    out["scalar"] = torch.tensor(2.659260036932778)
    out["empty"] = torch.zeros(0, 4)
    out["parameter"] = torch.nn.Parameter(ramp(3))
    return out


def views():
    """Tensors that share a storage, and lie in it in every way."""
    base = ramp(6, 8)
    packed = ramp(12, 4, start=100)
    return OrderedDict(
        base=base,
        same=base,
        offset=base[2:4],
        transposed=base.t(),
        columns=base[:, 1:7:2],
        cell=base[3, 5],
        expanded=base[1:2].expand(3, 8),
        permuted=base.reshape(2, 3, 2, 4).permute(2, 0, 3, 1),
        q=packed[:4],
        k=packed[4:8],
        v=packed[8:],
        tail=torch.arange(20, dtype=torch.int64)[15:],
        nothing=base[2:2],
    )


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = torch.nn.Linear(width, width)
        self.ln = torch.nn.LayerNorm(width)
        self.register_buffer("scale", ramp(width, start=7))
        self.register_buffer("passing", ramp(2), persistent=False)

    def forward(self, x):
        return self.ln(self.fc(x)) * self.scale + self.mask(x)

    def mask(self, x):
        return x * 0


class Tower(torch.nn.Module):
    def __init__(self, width, blocks):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, width, 2, bias=False)
        self.blocks = torch.nn.Sequential(*[Block(width) for _ in range(blocks)])
        self.proj = torch.nn.Parameter(ramp(width, 2))

    def forward(self, x):
        return self.blocks(self.conv1(x).flatten(1)[:, : self.proj.shape[0]]) @ self.proj


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = Tower(4, 2)
        self.logit_scale = torch.nn.Parameter(torch.tensor(4.6052))
        self.register_buffer("input_resolution", torch.tensor(224))
        self.mask = ramp(3)  # a plain attribute: not in the state dict

    def forward(self, x):
        return self.visual(x) * self.logit_scale.exp()


def model():
    m = Model().eval()
    for i, p in enumerate(m.parameters()):
        p.data = ramp(*p.shape, start=10 * i)
    return m


def half(m):
    for p in m.parameters():
        p.data = p.data.half()
    return m


def training(prefix):
    m = model()
    optimizer = torch.optim.AdamW(m.parameters(), lr=1e-3)
    m(torch.ones(1, 3, 3, 3)).sum().backward()
    optimizer.step()
    return m, {
        "epoch": 3,
        "name": "run",
        "args": argparse.Namespace(lr=1e-3, workers=4),
        "best": numpy.float64(0.5),
        "rng": numpy.random.RandomState(0).get_state(),
        "state_dict": OrderedDict((prefix + k, v) for k, v in m.state_dict().items()),
        "optimizer": optimizer.state_dict(),
        "scaler": {"scale": 65536.0, "history": [0.5] * 10},
    }


def shards(kind):
    tensors = {f"layer.{i}.weight": ramp(2, 2, start=i) for i in range(5)}
    names = list(tensors)
    weight_map, total = {}, 0
    for i, part in enumerate((names[:2], names[2:])):
        stem = "pytorch_model" if kind == "bin" else "model"
        file = f"{stem}-{i + 1:05d}-of-00002.{kind}"
        inner = {n: tensors[n] for n in part}
        if kind == "bin":
            torch.save(inner, os.path.join(OUT, file))
        else:
            safetensors.torch.save_file(inner, os.path.join(OUT, file), metadata={"format": "pt"})
            os.chmod(os.path.join(OUT, file), 0o644)
        for n in part:
            weight_map[n] = file
            total += tensors[n].numel() * 4
    file = f"{stem}.{kind}.index.json"
    with open(os.path.join(OUT, file), "w") as f:
        json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, f, indent=1)
    expect(file, tensors)


def main():
    os.makedirs(OUT, exist_ok=True)
    torch.manual_seed(0)
    save("dtypes.pt", dtypes(), dtypes())
    save("views.pt", views(), views())
    save("views_legacy.pt", views(), views(), _use_new_zipfile_serialization=False)
    save("dict_protocol4.pt", dict(dtypes()), dtypes(), pickle_protocol=4)
    m, checkpoint = training("module.")
    save("training.pt", checkpoint, m.state_dict())
    save("training_legacy.pt", checkpoint, m.state_dict(), _use_new_zipfile_serialization=False)
    save("under_model.ckpt", {"model": model().state_dict(), "iteration": 7}, model().state_dict())
    save("module.pt", model(), model().state_dict())
    # What torch.jit.load finds, non-persistent buffers among it, but no other attributes.
    for file, module in (
        ("script.pt", torch.jit.script(half(model()))),
        ("traced.pt", torch.jit.trace(model(), torch.ones(1, 3, 3, 3))),
    ):
        path = os.path.join(OUT, file)
        module.save(path)
        expect(file, torch.jit.load(path).state_dict())
    torch.save({"weight": ramp(2), "other": numpy.ones(3)}, os.path.join(OUT, "numpy.pt"))
    torch.save({"weight": ramp(2), "other": torch.ones(3, dtype=torch.int16)}, os.path.join(OUT, "int16.pt"))
    torch.save({"lr": 0.1, "history": [1, 2]}, os.path.join(OUT, "no_weights.pt"))
    torch.save(ramp(2), os.path.join(OUT, "one_tensor.pt"))
    shards("bin")
    shards("safetensors")
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "safetensors": safetensors.__version__,
    }
    with open(os.path.join(OUT, "golden.json"), "w") as f:
        json.dump({"versions": versions, "files": golden}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    # TorchScript keeps the paths of all callers' sources; the machine's own aren't anyone's business.
    path = os.path.join("scripts", "golden", "weights.py")
    if main.__code__.co_filename == path:
        main()
    else:
        subprocess.run([sys.executable, "-c", f"exec(compile(open({path!r}).read(), {path!r}, 'exec'))"], check=True)
