"""What an encoder quantises, beyond the analysis: two looks at one picture. No JAX.

**Analysis by synthesis.** The analysis knows nothing of rounding, nor of what the
networks of the synthesis make of rounded latents. So the encoder decodes what it would
write, analyses that picture as it did the original, and adds the difference:

    y' = y_hat + (analysis(x) - analysis(synthesis(y_hat)))

where y_hat are the quantised latents. Where nothing is lost y' is y. Quantised anew,
other latents make up for the errors that show, and those that the networks of the
synthesis remove are left to them.

**Refinement** is gradient descent, see `codax.coding.refining`.

Source: analysis by synthesis as in coders of speech (Atal and Remde 1982); the analysis
in the place of a derivative of the synthesis is this project's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from codax.coding.order import Order, State
from codax.coding.runtimes import Runtime
from codax.coding.telling import part
from codax.entropy.coder import Unwritten
from codax.errors import needs_extra

__all__ = ["closed", "refined"]

_TRIED, _SHOWN = 0.3, 0.6
"""Of what is told of a pass: where symbols and where the picture are done."""


def closed(
    order: Order,
    runtime: Runtime,
    code: Callable[..., State],
    latents: Mapping[str, np.ndarray],
    size: tuple[int, int],
    quality: int,
    passes: int,
) -> dict[str, np.ndarray]:
    """Latents after passes of analysis by synthesis.

    Args:
        order: the coding order.
        runtime: evaluates the networks.
        code: `(latents, sinks, begin, end) -> state`, quantises as the file will.
        latents: of the picture, by target float32[1 h w C] in steps, on padded grids.
        size: rows and columns of the picture.
        quality: half steps 0..200, as networks are told.
        passes: how often to look.
    """
    found = dict(latents)
    names = [name for name in runtime.synthesis_reads if name in latents]
    for number in range(passes):
        with part(number / passes, (number + 1) / passes):
            kept = code(found, [Unwritten()], 0.0, _TRIED)
            with part(_TRIED, _SHOWN):
                picture = runtime.synthesise(order.own(kept, *size), *size, quality)
            with part(_SHOWN, 1.0):
                seen = runtime.analyse(picture, quality)
        for name in names:
            steps = kept[name] / np.float32(order.sources[name].unit)
            found[name] = steps + latents[name] - seen[name]
    return found


def refined(
    networks: Callable[[], Any],
    rgb: np.ndarray,
    latents: dict[str, np.ndarray],
    quality: int,
    steps: int,
) -> dict[str, np.ndarray]:
    """Latents after steps of gradient descent.

    Args:
        networks: gives the networks on JAX; others as of `codax.coding.refining`.
        rgb: see there.
        latents: likewise.
        quality: likewise.
        steps: likewise.

    Raises:
        UnsupportedError: JAX is missing.
    """
    # Imported late: it takes JAX, and optax takes half a second.
    with needs_extra("refinement, of efforts 7 to 9,"):
        from codax.coding.refining import refine

    return refine(networks(), rgb, latents, quality, steps)
