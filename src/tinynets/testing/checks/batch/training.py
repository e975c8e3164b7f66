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
    """Also in training mode, only batch norms make the output for a sample depend on the other samples.

    The check puts batch norms in eval mode, keeps the first sample, then the last one, and replaces the
    others. Both calls use the same seed, so that dropout drops the same values.

    Why: code that mixes samples only in training passes every check in eval mode, and makes gradients depend
    on the composition of the batch: a mean over axis 0 in an auxiliary branch, a mixing of features.
    Fix: mix samples in the training script, where it is visible, or reduce over the other axes.
    Declare: an exemption, if a loss or mixing over the batch is intended.
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
