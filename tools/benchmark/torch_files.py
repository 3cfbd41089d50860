"""Features of a folder of pictures as one would write it in PyTorch: the peer of `cli extract-features`.

python -m benchmark.torch_files FOLDER COUNT PRECISION BATCH_SIZE SIZE CORES OUT.npy
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmark.memory import keep_memory
from benchmark.torch_networks import device, placed


class Pictures(Dataset):
    def __init__(self, folder: Path, count: int, size: int):
        self.files, self.size = sorted(folder.iterdir())[:count], size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        picture = Image.open(self.files[index]).convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(picture))


def main(folder: str, count: str, precision: str, batch_size: str, size: str, cores: str, out: str) -> None:
    keep_memory()
    network, on_gpu = placed(precision, int(cores)), device() == "cuda"
    pictures = Pictures(Path(folder), int(count), int(size))
    loader = DataLoader(pictures, int(batch_size), num_workers=int(cores), pin_memory=on_gpu)
    with torch.inference_mode():
        features = [torch.cat(network(batch.to(device(), non_blocking=True)), 1).float().cpu() for batch in loader]
    np.save(out, torch.cat(features).numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
