"""What a run says of the features and pixels that it learned from. What they mean is the cache's to know."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from facedep_jax.checked_records import Amount, Count, Names, Share

TAP = r"^\w+:\w+@[1-9]\d{0,2}(~\w+)?$"


class WeightsRecord(Struct, frozen=True):
    """What a spec says of the weights of one backbone."""

    family: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    seed: Annotated[int, Meta(ge=0, lt=10**18)] | UnsetType = UNSET
    calibration: str | UnsetType = UNSET


class FeaturesRecord(Struct, frozen=True):
    """The part `features` of a spec: what decides the numbers of whatever pixels."""

    taps: Annotated[tuple[Annotated[str, Meta(pattern=TAP)], ...], Meta(min_length=1, max_length=64)]
    channels: dict[str, Count]
    weights: dict[str, WeightsRecord]
    size: dict[str, Annotated[int, Meta(ge=1, le=4096)]]
    imported: str | UnsetType = UNSET
    dtype: Annotated[str, Meta(pattern="^float32$")] | UnsetType = UNSET
    interpolation: str | UnsetType = UNSET
    color: str | UnsetType = UNSET
    precision: str | UnsetType = UNSET
    columns: dict[str, Names] = {}

    def __post_init__(self) -> None:
        if set(self.channels) != set(self.taps) or len(set(self.taps)) != len(self.taps):
            raise ValueError("cache.features.channels are not those of its taps, each once")
        needed = set() if self.imported else {tap.split(":")[0] for tap in self.taps}
        if not needed <= self.weights.keys() & self.size.keys():
            raise ValueError("cache.features.weights or size lacks a backbone of its taps")
        if not self.imported and UNSET in (self.interpolation, self.color, self.precision):
            raise ValueError("cache.features does not say interpolation, color and precision")


class InputRecord(Struct, frozen=True):
    """What a spec says of the pixels of one kind of file."""

    faces: str = ""
    decoder: Count | UnsetType = UNSET
    detector_sha256: str | UnsetType = UNSET
    detection: str | UnsetType = UNSET
    following: str | UnsetType = UNSET
    policy: str | UnsetType = UNSET
    align: bool = False
    margin: Annotated[float, Meta(ge=-1, le=10)] = 0.0
    min_face: Amount = 0.0
    min_sharpness: Amount = 0.0
    fps: Amount = 0.0
    confidence: Share = 0.0
