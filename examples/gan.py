"""Images from noise: a DCGAN (Radford et al., 2016), or with --penalty a WGAN-GP (Gulrajani et al., 2017)."""

import argparse
from dataclasses import dataclass

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops


@dataclass(frozen=True)
class Gan(bm.Layer):
    generator: bm.Layer
    critic: bm.Layer
    penalty: bool = False

    def __call__(self, noise, share):
        return (fake := self.generator(noise)), self.critic(fake), share

    def critic_loss(self, output, real):
        fake, scores, share = output
        if not self.penalty:
            return ops.mean(ops.softplus(scores)) + ops.mean(ops.softplus(-self.critic(real)))
        between = share * real + (1 - share) * fake
        slopes = ops.gradients(ops.sum(self.critic(between)), between)
        excess = ops.sqrt(ops.sum(slopes**2, axis=(1, 2, 3)) + 1e-12) - 1
        return ops.mean(scores) - ops.mean(self.critic(real)) + 10 * ops.mean(excess**2)

    def generator_loss(self, output, real):
        return -ops.mean(output[1]) if self.penalty else ops.mean(ops.softplus(-output[1]))


def main(steps: int, data: str, penalty: bool, file: str = "images.npy") -> None:
    images = bm.datasets.load(data).train.x[:]
    images = 2 * (images - images.min()) / np.ptp(images) - 1  # as tanh gives them
    L, side, half = bm.layers, images.shape[2] // 4, {"stride": 2, "padding": 1}
    make = [L.Dense(64 * side**2), L.Reshape((64, side, side)), L.BatchNorm(), L.Relu()]
    make += [L.ConvTranspose2d(32, 4, **half), L.BatchNorm(), L.Relu(), L.ConvTranspose2d(1, 4, **half)]
    judge = [L.Conv2d(32, 4, **half), L.LeakyRelu(0.2), L.Conv2d(64, 4, **half), L.LeakyRelu(0.2)]
    gan = Gan(bm.Sequential(*make, L.Tanh()), bm.Sequential(*judge, L.Flatten(), L.Dense(1)), penalty)
    adam = bm.optimizers.Adam(2e-4, beta1=0.5)
    critics = [bm.compile(gan, gan.critic_loss, adam, only="critic/*")] * (3 if penalty else 1)
    generator = bm.compile(gan, gan.generator_loss, adam, only="generator/*")
    draws = np.random.default_rng(0)
    for _ in range(steps):
        for step in (*critics, generator):
            noise, share = draws.normal(size=(64, 32)), draws.uniform(size=(64, 1, 1, 1))
            loss = step((noise, share), images[draws.integers(len(images), size=64)])
    print(f"the generator's loss is {loss:.4f}, 64 images are in {file}")
    np.save(file, gan.generator(draws.normal(size=(64, 32))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--data", default="fashion-mnist", help="or digits, which is bundled")
    parser.add_argument("--penalty", action="store_true", help="a Wasserstein GAN with gradient penalty")
    main(**vars(parser.parse_args()))
