"""Writes eval/testdata/metrics.json: metrics of random logits and features by CLIP_benchmark's own functions, scikit-learn and
SciPy.

    scripts/golden/run.sh metrics
"""
import json
import pathlib

import numpy as np
import torch
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval
from scipy.stats import linregress
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from versions import versions

OUT = pathlib.Path(__file__).parents[2] / "eval" / "testdata" / "metrics.json"


def ece(logits, targets, bins=15):
    """Guo et al. 2017, eq. 3 to 5: bins open below and closed above."""
    z = logits.astype(np.float64)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == targets
    total = 0.0
    for i in range(bins):
        inside = (confidence > i / bins) & (confidence <= (i + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


def classification(rng, images, classes, without):
    logits = (3 * rng.standard_normal((images, classes))).astype(np.float32)
    targets = rng.choice([c for c in range(classes) if c not in without], images)
    logits[np.arange(images), targets] += 2
    output, target = torch.from_numpy(logits), torch.from_numpy(targets)
    ks = (1, 5) if classes >= 5 else (1,)  # as zeroshot_classification.evaluate does
    accuracies = zeroshot_classification.accuracy(output, target, topk=ks)
    return {
        "logits": logits.tolist(), "targets": targets.tolist(),
        "acc1": accuracies[0], "acc5": accuracies[1] if len(ks) > 1 else None,
        "mean_per_class_recall": balanced_accuracy_score(target, output.argmax(axis=1)),
        "ece": ece(logits, targets),
        "confusion": confusion_matrix(targets, logits.argmax(axis=1), labels=range(classes)).tolist(),
    }


class Features:
    """A model whose towers give back features that are there already."""

    def encode_image(self, x):
        return x

    def encode_text(self, x):
        return x


def retrieval(rng, images, dim):
    captions = rng.integers(1, 6, images)
    unit = lambda v: v / np.linalg.norm(v, axis=-1, keepdims=True)
    image = unit(rng.standard_normal((images, dim)))
    image_of = np.repeat(np.arange(images), captions)
    text = unit(image[image_of] + 0.9 * rng.standard_normal((len(image_of), dim)))
    image, text = image.astype(np.float32), text.astype(np.float32)
    batches, at = [], 0
    for start in range(0, images, 7):
        part = range(start, min(start + 7, images))
        rows = []
        for i in part:
            rows.append([text[at + k] for k in range(captions[i])])
            at += captions[i]
        batches.append((torch.from_numpy(image[part.start:part.stop]), rows))
    metrics = zeroshot_retrieval.evaluate(
        Features(), batches, lambda rows: torch.from_numpy(np.stack(rows)), "cpu", amp=False, recall_k_list=[1, 5, 10])
    return {"images": image.tolist(), "texts": text.tolist(), "image_of": image_of.tolist(), "metrics": metrics}


def robustness(rng):
    logit = lambda p: np.log(p / (1 - p))
    ids = np.array([0.31, 0.48, 0.552, 0.69, 0.81])
    shifts = 1 / (1 + np.exp(-(0.9 * logit(ids) - 0.7 + 0.1 * rng.standard_normal(5))))
    fit = linregress(logit(ids), logit(shifts))
    model = [0.683, 0.605]
    predicted = 1 / (1 + np.exp(-(fit.slope * logit(model[0]) + fit.intercept)))
    return {"baseline": list(map(list, zip(ids.tolist(), shifts.tolist()))), "model": model,
            "slope": fit.slope, "intercept": fit.intercept, "effective_robustness": model[1] - predicted}


def main():
    rng = np.random.default_rng(3)
    golden = {
        "versions": versions("torch", "clip-benchmark", "scikit-learn", "scipy", "numpy"),
        "classification": [classification(rng, 60, 12, {3, 7}), classification(rng, 25, 4, set())],
        "retrieval": retrieval(rng, 23, 8),
        "robustness": robustness(rng),
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(golden) + "\n")


main()
