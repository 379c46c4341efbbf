"""Trains the flagship's step in PyTorch, on images in memory.

    python benchmarks/peers/torch_vae.py --mode=compile --batch_size=64

Needs only torch. Architecture, loss and optimizer equal those of configs/celeba.py. A
step of trainer.train also averages the weights, keeps the ledger and checks for
non-finite values; this step does not.
"""

# pyright: reportMissingImports=false

import argparse
import time

import torch
from torch import nn

_LATENT_DIM, _LATENT_WEIGHT = 100, 0.005
_ENCODER_FILTERS, _DECODER_FILTERS = (32, 64, 64, 128, 256), (256, 128, 64, 64, 32)
_BASE_SIZE, _IMAGE_SIZE, _MOMENTUM = 4, 128, 0.01
_NUM_BATCHES = 4


class VAE(nn.Module):
    """Maps images `[b, 3, 128, 128]` to the loss, a scalar."""

    def __init__(self) -> None:
        """Makes the layers."""
        super().__init__()
        blocks: list[nn.Module] = []
        channels = 3
        for filters in _ENCODER_FILTERS:
            conv = nn.Conv2d(channels, filters, 5, 2, 2, bias=False)
            blocks += [conv, nn.BatchNorm2d(filters, momentum=_MOMENTUM), nn.ReLU()]
            channels = filters
        self.encoder = nn.Sequential(*blocks, nn.Flatten())
        self.heads = nn.Linear(channels * _BASE_SIZE**2, 2 * _LATENT_DIM)
        first, *others = _DECODER_FILTERS
        blocks = [nn.ConvTranspose2d(_LATENT_DIM, first, _BASE_SIZE, bias=False)]
        blocks += [nn.BatchNorm2d(first, momentum=_MOMENTUM), nn.ReLU()]
        channels = first
        for filters in others:
            deconv = nn.ConvTranspose2d(channels, filters, 5, 2, 2, 1, bias=False)
            blocks += [deconv, nn.BatchNorm2d(filters, momentum=_MOMENTUM), nn.ReLU()]
            channels = filters
        image = nn.ConvTranspose2d(channels, 3, 3, 2, 1, 1)
        self.decoder = nn.Sequential(*blocks, image, nn.Tanh())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the mean squared error plus 0.005 times the KL divergence."""
        mean, log_var = self.heads(self.encoder(images)).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        outputs = self.decoder(z[:, :, None, None])
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(dim=1)
        return (outputs - images).square().mean() + _LATENT_WEIGHT * kl.mean()


def main() -> None:
    """Trains for some seconds, and prints the images per second."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=["eager", "compile"], default="eager")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    vae = VAE().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(vae.parameters(), 1e-3, (0.95, 0.999), fused=True)
    loss_of = torch.compile(vae) if args.mode == "compile" else vae
    shape = (args.batch_size, 3, _IMAGE_SIZE, _IMAGE_SIZE)
    batches = [
        (2 * torch.rand(shape) - 1).to(memory_format=torch.channels_last)
        for _ in range(_NUM_BATCHES)
    ]

    def step(number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(batches[number % _NUM_BATCHES]).backward()
        optimizer.step()

    for number in range(3):
        step(number)
    num_steps, start_seconds = 0, time.monotonic()
    while (seconds := time.monotonic() - start_seconds) < args.seconds:
        step(num_steps)
        num_steps += 1
    print(f"{num_steps * args.batch_size / seconds:.1f} images a second")


if __name__ == "__main__":
    main()
