from __future__ import annotations

import torch

from ...._torch.modules.layers import BatchNorm
from ...._torch.state.random_states import seed_everything
from ....inputs.arguments import Arguments
from ... import Level, Skip, Subject, check
from ...measure.batch_independence import first_last
from ...measure.compare import FLOAT32_LIMIT, Leaf, detached, worst


@check("batch.training", Level.SHOULD)
def training(subject: Subject) -> None:
    """In training mode too, only batch norms make the output for a sample depend on the other samples.

    Batch norms are put in eval mode; the first sample is kept, then the last one, and the others are
    replaced. The generators are seeded alike, so that dropout leaves out the same values.

    Why: what mixes samples in training alone passes every check of eval mode, and makes gradients depend on
    which samples meet: a mean over axis 0 of an auxiliary branch, a mixing of features.
    Fix: mix in the training script, where it is seen, or over the other axes.
    Declare: an exemption: a loss or a mixing over the batch that is meant.
    """
    first, last = first_last(subject)
    others = subject.batch(seed=1, training=True)
    ours = subject.batch(training=True)
    before = _outputs(subject, ours)
    eval_paths = [leaf.path for leaf in subject.reference]
    if [leaf.path for leaf in before] != eval_paths:
        raise Skip("training mode gives other outputs than eval mode: their batch axes are not known")
    for kept in (first, last):
        after = _outputs(subject, ours.replace_others(kept, others))
        found = worst(subject.rows(after, [kept]), subject.rows(before, [kept]))
        if found is not None and found.error > FLOAT32_LIMIT:
            whose = "the other samples of its batch, in training mode only"
            raise found.failure(f"the output for sample {kept} changes with {whose}", FLOAT32_LIMIT)


def _outputs(subject: Subject, arguments: Arguments) -> list[Leaf]:
    subject.restore()
    subject.model.train()
    for module in subject.model.modules():
        if isinstance(module, BatchNorm):
            module.eval()
    seed_everything(subject.seed)
    with torch.no_grad():
        return detached(subject.call(arguments))
