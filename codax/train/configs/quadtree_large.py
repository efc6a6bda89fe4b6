r"""quadtree-large: for an accelerator; twice the multiply-adds of quadtree-base.

    python tools/gpu.py lease quadtree-large --init quadtree-base --carry carry -o OUT

starts from the weights of `quadtree-base`, with more channels to learn with, in a lease
of some minutes (docs/training.md). No weights of it ship yet.
"""

from dataclasses import replace

from codax.train.configs.quadtree_base import config as base

config = replace(
    base,
    preset="large",
    model=replace(
        base.model,
        transforms=replace(base.model.transforms, fine=192, coarse=320),
        features=320,
        hidden=640,
    ),
    rate=1e-3,
    accumulate=1,
)
