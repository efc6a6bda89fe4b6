r"""quadtree-base: the flagship's larger preset.

    codax train quadtree-base --init checkpoints/trunk/quadtree-tiny.npz --minutes 60 \
        -o runs/quadtree-base

It begins as the `quadtree-tiny` that it starts from and has more channels and blocks to
learn with. On a GPU add `--set batch=64 --set steps_per_call=20`, see `tools/gpu.py`.
"""

from dataclasses import replace

from codax.train.configs.quadtree_tiny import config as tiny

config = replace(
    tiny,
    preset="base",
    model=replace(
        tiny.model,
        transforms=replace(tiny.model.transforms, fine=160, coarse=256),
        features=256,
        hidden=512,
    ),
    branch=0.25,
)
