"""What a run is made of: one frozen dataclass, checked when it is made."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codax.codecs.families import family
from codax.coding.trees import read_config
from codax.errors import ConfigError
from codax.files.scripts import run_file
from codax.train.loss import DISTORTIONS

__all__ = [
    "TrainConfig",
    "find_config",
    "load_config",
    "read_run",
    "shipped_configs",
    "with_overrides",
]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run."""

    codec: str
    """Family of `codax.codecs.families`."""
    preset: str
    """The checkpoint's name is codec-preset."""
    model: Any = None
    """Configuration of the codec; None takes the family's defaults."""
    data: tuple[str, ...] = ()
    """Folders of pictures to train on; relative ones lie in $CODAX_DATA."""
    held_out_of: str = ""
    """The folder out of which `held_out` pictures are chosen by hash; "" for all."""
    held_out: int = 24
    """Pictures never trained on, for every choice."""
    seed: int = 0
    distortion: str = "mse"
    """`mse`, `ms-ssim`, or `mse-grounds`: mse, in which smooth ground counts more."""
    batch: int = 16
    crop: int = 128
    """Side of the crops on the trunk, a multiple of 64."""
    branch_batch: int = 8
    branch_crop: int = 256
    """The same on the decay branch."""
    accumulate: int = 1
    """Parts of a step's crops whose gradients are computed one after the other and
    summed: on a CPU smaller parts are faster (caches), on a GPU they save memory."""
    bfloat16: bool = False
    """Round to bfloat16 what layers of the transforms multiply, and gradients by what
    layers see, until the encoder is frozen; sums, weights and exact layers stay as they
    are. Faster on a GPU and on CPUs with AMX."""
    rescale: float = 0.5
    """Share of crops taken from a picture reduced by 0.5 to 1."""
    drawn: float = 0.0
    """Share of a step's crops, rounded to whole ones, that show letters, shapes and
    screens made from the seed (`codax.train.drawn`) instead of the data's pictures."""
    optimizer: str = "soap"
    """`soap` or `adam`."""
    betas: tuple[float, float] = (0.95, 0.95)
    """Decays of the optimiser's means of gradients and of their squares."""
    epsilon: float = 1e-8
    """Added to the root of the mean square."""
    weight_decay: float = 0.0
    """Share of the weights taken away at a rate of 1, decoupled as in AdamW."""
    rate: float = 3e-3
    """Peak learning rate."""
    linear_rate: float = 0.02
    """Share of the rate that the linear matrices get."""
    warmup: int = 50
    """Steps of linear warm-up at the start of a run."""
    clip: float = 1.0
    """Largest global norm of a gradient."""
    ema: float = 0.998
    """Decay of the weights' moving average."""
    branch: float = 0.2
    """Share of a time box given to the decay branch."""
    hard: float = 0.15
    """Last share of the branch in which the encoder is frozen and rounding is hard."""
    trellis: str = ""
    """A checkpoint whose tables of dependent quantisation are used where rounding is
    hard; its prior must be that of the run, frozen."""
    freeze: tuple[str, ...] = ()
    """Networks that stay as they are, such as `g_a` and `g_s` when a prior is fitted to
    trained transforms."""
    refresh: int = 10
    """Steps between refreshes of SOAP's bases."""
    adapt: int = 500
    """Steps between adaptations of what is fitted to pictures and not trained, such as
    the contexts of tokens; codes that died come back."""
    exact: bool = True
    """The prior on its integer grid; False trains its float twin."""
    weighted: bool = True
    """Divide each sample's loss by the running mean of its quality."""
    stream: bool = False
    """Decode pictures as they are wanted, for sets that do not fit into memory."""
    workers: int = 2
    """Processes that decode what is streamed, on each host; 0: a thread."""
    watch: float = 5.0
    """Minutes between evaluations of the held-out pictures through files; 0: none."""
    steps_per_call: int = 1
    """Steps in one compiled call (lax.scan); more on an accelerator."""
    quality: int = -1
    """Train this one quality (half steps) only; -1 trains all."""
    notes: str = ""
    """A note that travels with the run."""

    def __post_init__(self) -> None:
        """Checks the values."""
        _check_types(self)
        kind = family(self.codec)
        if self.model is None:
            object.__setattr__(self, "model", kind.config())
        if not dataclasses.is_dataclass(self.model) or isinstance(self.model, type):
            raise ConfigError(
                f"model: got {self.model!r}, a {type(self.model).__name__}; expected a "
                f"dataclass such as {kind.config.__name__}"
            )
        for name, low, high in (
            ("rescale", 0, 1),
            ("drawn", 0, 1),
            ("branch", 0, 1),
            ("hard", 0, 1),
            ("ema", 0, 1),
            ("rate", 0, 1),
            ("quality", -1, 200),
            ("linear_rate", 0, 1),
            ("epsilon", 0, 1),
            ("weight_decay", 0, 1),
            ("clip", 1e-6, 1e6),
            ("watch", 0, 1e6),
            ("held_out", 0, 100_000),
            ("seed", 0, 2**31 - 1),
            ("warmup", 0, 1_000_000),
            ("batch", 1, 4096),
            ("branch_batch", 1, 4096),
            ("accumulate", 1, 4096),
            ("refresh", 1, 100_000),
            ("adapt", 1, 1_000_000),
            ("steps_per_call", 1, 10_000),
            ("workers", 0, 1024),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name}: got {value}, expected {low} to {high}")
        for name in ("batch", "branch_batch"):
            value = getattr(self, name)
            if value % self.accumulate:
                raise ConfigError(
                    f"{name}: got {value}, expected a multiple of accumulate, "
                    f"{self.accumulate}"
                )
        for name in ("batch", "branch_batch"):
            size = getattr(self, name)
            if self.drawn and not round(self.drawn * size):
                raise ConfigError(
                    f"drawn: {self.drawn:g} of a {name} of {size} is no crop; raise "
                    "one of them, or give 0"
                )
        for name in ("crop", "branch_crop"):
            value = getattr(self, name)
            if value < 64 or value % 64:
                raise ConfigError(f"{name}: got {value}, expected a multiple of 64")
        if self.optimizer not in ("soap", "adam"):
            raise ConfigError(f"optimizer: got {self.optimizer!r}: soap or adam")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas: got {self.betas}, expected two of 0 to below 1")
        if self.distortion not in DISTORTIONS:
            names = " or ".join(DISTORTIONS)
            raise ConfigError(f"distortion: got {self.distortion!r}: {names}")

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        """Reads what `to_json` wrote.

        Fields that this version does not have are left out, so that older runs stay
        readable.

        Raises:
            ConfigError: no JSON, or a value that does not fit.
            ModelError: the codec's own configuration does not fit.
        """
        try:
            stored = json.loads(text)
            names = {f.name for f in dataclasses.fields(cls)}
            fields: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in stored.items()
                if name in names
            }
            kind = family(fields["codec"]).config
            fields["model"] = read_config(kind, fields["model"])
            return cls(**fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"config.json: {error!r}") from error


def _check_types(config: TrainConfig) -> None:
    """Refuses values of another type than their field's; whole numbers are floats."""
    for name, kind in typing.get_type_hints(TrainConfig).items():
        value = getattr(config, name)
        if not _is_a(value, kind):
            plain = isinstance(kind, type) and not typing.get_origin(kind)
            raise ConfigError(
                f"{name}: got {value!r}, a {type(value).__name__}; expected "
                f"{kind.__name__ if plain else kind}"
            )


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value is of a class, of one of a union, or a tuple of such."""
    if kind is Any:
        return True
    if isinstance(kind, types.UnionType):
        return any(_is_a(value, part) for part in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:  # of parts that are all alike
        part = typing.get_args(kind)[0]
        return isinstance(value, tuple) and all(_is_a(v, part) for v in value)
    if isinstance(value, bool):  # which Python counts among the integers
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


def read_run(run: Path) -> TrainConfig:
    """The configuration of a run's folder.

    Raises:
        ConfigError: the run has none, or it cannot be read.
    """
    path = run / "config.json"
    if not path.is_file():
        raise ConfigError(f"{run}: no run here; expected its config.json")
    return TrainConfig.from_json(path.read_text())


def find_config(name: str) -> Path:
    """The file of a configuration: a path, or the name of one that ships.

    Args:
        name: `my_config.py`, or `quadtree-tiny`.

    Raises:
        ConfigError: neither a file nor a name; the nearest is suggested.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    near = difflib.get_close_matches(name, shipped, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(shipped)}"
    raise ConfigError(f"{name}: no such configuration file or name; {hint}")


def shipped_configs() -> dict[str, Path]:
    """The configurations that ship, by name."""
    folder = Path(__file__).parent / "configs"
    return {
        file.stem.replace("_", "-"): file
        for file in sorted(folder.glob("*.py"))
        if file.stem != "__init__"
    }


def load_config(path: Path) -> TrainConfig:
    """Reads the `config` of a Python file.

    Raises:
        ConfigError: the file is missing, fails or holds no `config`.
    """
    module = run_file(path, "codax_run_config")
    config = getattr(module, "config", None)
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"{path}: defines no `config = TrainConfig(...)`")
    return config


def with_overrides(config: Any, pairs: list[str]) -> Any:
    """Applies `field=value` pairs; `a.b=3` reaches into nested configurations.

    Raises:
        ConfigError: an unknown field (the nearest is named) or a value of another type.
    """
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign:
            raise ConfigError(f"{pair}: expected field=value")
        config = _override(config, name.split("."), text, name)
    return config


def _override(config: Any, path: list[str], text: str, full: str) -> Any:
    names = [f.name for f in dataclasses.fields(config)]
    if path[0] not in names:
        near = difflib.get_close_matches(path[0], names, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; fields: {', '.join(names)}"
        raise ConfigError(f"{full}: no field {path[0]!r}{hint}")
    old = getattr(config, path[0])
    if len(path) > 1:
        if not dataclasses.is_dataclass(old):
            raise ConfigError(f"{full}: {path[0]} has no fields of its own")
        return dataclasses.replace(
            config, **{path[0]: _override(old, path[1:], text, full)}
        )
    return dataclasses.replace(config, **{path[0]: _parse(old, text, full)})


def _parse(old: Any, text: str, full: str) -> Any:
    try:
        if isinstance(old, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(old, tuple):
            kind = type(old[0]) if old else str
            return tuple(kind(part) for part in text.split(",") if part)
        if isinstance(old, int | float | str):
            return type(old)(text)
    except (ValueError, KeyError):
        pass
    raise ConfigError(f"{full}={text}: expected a {type(old).__name__}")
