r"""quadtree-base: the flagship's larger preset.

    codax train quadtree-base --init quadtree-base-v9 --set branch=1.0 --minutes 118 \
        -o runs/quadtree-base

goes on from the weights that ship; docs/training.md tells how they were made. It began
as `quadtree-tiny-v5`, with more channels and blocks to learn with. On a GPU add
`--set batch=64 --set steps_per_call=20 --set accumulate=1`, see `tools/gpu.py`.
"""

from dataclasses import replace

from codax.train.configs.quadtree_tiny import config as tiny

config = replace(
    tiny,
    preset="base",
    model=replace(
        tiny.model,
        transforms=replace(
            tiny.model.transforms, fine=128, coarse=224, synthesis_coarse=3
        ),
        features=224,
        hidden=448,
        blocks=3,
        enhancement=192,
    ),
    rate=1.5e-3,
    accumulate=8,
    bfloat16=True,
    branch=0.25,
)
