import math

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import celeba_debug, mnist_iwae
from tests.trainer.small_steps import make_small_run
from trainer.optimization.schedules import Schedule
from trainer.runs import settings


def changed(**values: object) -> ConfigDict:
    config = celeba_debug.get_config()
    config.update(values)
    return settings.resolve(config, 1)


def schedule(config: ConfigDict) -> Schedule:
    return settings.select(config, Schedule)


def rates(config: ConfigDict, steps: list[int]) -> list[float]:
    return [float(schedule(config).rate(step)) for step in steps]


def test_without_settings_it_is_constant() -> None:
    config = changed(learning_rate=0.3)
    assert rates(config, [0, 1, 10**9]) == [pytest.approx(0.3)] * 3


def test_a_factor_is_as_exact_as_it_is_written() -> None:
    config = changed(
        learning_rate=1e-3, learning_rate_steps=(1,), learning_rate_factors=(0.1,)
    )
    assert schedule(config).rate(1).numpy() == np.float32(1e-3 * 0.1)


def test_each_step_has_a_factor() -> None:
    with pytest.raises(ValueError, match="zip"):
        Schedule(1.0, "constant", 0, (1, 2), (0.1,), 0, 0.0).rate(0)


def test_the_rate_goes_down_as_published() -> None:
    config = mnist_iwae.get_config()
    # Stages of 1, 3, 9, ... epochs of 3,000 steps; 3,280 epochs in all.
    assert config.num_train_steps == 3280 * 3000
    ends = [1, 4, 13, 40, 121, 364, 1093, 3280]
    for stage, (first, end) in enumerate(zip([0, *ends], ends, strict=False)):
        expected = pytest.approx(1e-3 * 10 ** (-stage / 7), rel=1e-5)
        assert rates(config, [3000 * first, 3000 * end - 1]) == [expected] * 2


def test_the_warmup_is_linear_from_0() -> None:
    config = changed(learning_rate=2.0, learning_rate_warmup_steps=4)
    assert rates(config, [0, 1, 3, 4, 5]) == [0.0, 0.5, 1.5, 2.0, 2.0]


def test_the_cosine_goes_from_the_warmup_to_its_end_and_stays() -> None:
    config = changed(
        learning_rate=2.0,
        learning_rate_warmup_steps=10,
        learning_rate_schedule="cosine",
        learning_rate_decay_steps=50,
        learning_rate_final_factor=0.1,
    )

    def expected(progress: float) -> float:
        return 2.0 * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)

    assert rates(config, [9, 10, 20, 30, 49, 50, 99]) == pytest.approx(
        [1.8, 2.0, expected(0.25), 1.1, expected(39 / 40), 0.2, 0.2], rel=1e-6
    )


def test_steps_and_cosine_are_multiplied() -> None:
    config = changed(
        learning_rate=1.0,
        learning_rate_steps=(50, 75),
        learning_rate_factors=(0.5, 0.25),
        learning_rate_schedule="cosine",
    )
    assert config.learning_rate_decay_steps == config.num_train_steps == 100
    assert rates(config, [50, 75]) == pytest.approx(
        [0.5 * 0.5, 0.25 * (1 + math.cos(0.75 * math.pi)) / 2]
    )


def test_an_update_is_made_at_the_rate_of_its_step() -> None:
    run = make_small_run(
        learning_rate_warmup_steps=2,
        learning_rate_steps=(3,),
        learning_rate_factors=(0.0,),
    )
    kernel = run.state.vae.encoder.get_layer("conv_0").kernel
    has_moved = []
    for _ in range(4):
        before = kernel.numpy()
        run.train(1)
        has_moved.append(bool((kernel.numpy() != before).any()))
    assert has_moved == [False, True, True, False]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate_schedule": "linear"}, "'linear' must be one of constant, cos"),
        (
            {"learning_rate_warmup_steps": -1},
            "^config.learning_rate_warmup_steps=-1 must not be negative",
        ),
        (
            {"learning_rate_decay_steps": -1},
            "^config.learning_rate_decay_steps=-1 must not be negative",
        ),
        (
            {"learning_rate_final_factor": 1.5},
            r"^config.learning_rate_final_factor=1.5 must be in \[0, 1\]",
        ),
        (
            {"learning_rate_decay_steps": 9},
            "^config.learning_rate_decay_steps=9 .*set config.learning_rate_sch",
        ),
        (
            {"learning_rate_final_factor": 0.5},
            "^config.learning_rate_final_factor=0.5 .*set config.learning_rate_sch",
        ),
        (
            {"learning_rate_schedule": "cosine", "num_train_steps": -1},
            "num_train_steps=-1 has none: set `config.learning_rate_decay_steps`",
        ),
        (
            {"learning_rate_schedule": "cosine", "learning_rate_warmup_steps": 100},
            "^config.learning_rate_warmup_steps=100 must be fewer than the 100",
        ),
        ({"learning_rate_steps": (10,)}, "must be increasing steps above 0, and"),
        (
            {
                "learning_rate_steps": (10, 5),
                "learning_rate_factors": (0.1, 0.2),
            },
            "must be increasing steps above 0, and",
        ),
        (
            {"learning_rate_steps": (0,), "learning_rate_factors": (0.1,)},
            "must be increasing steps above 0, and",
        ),
    ],
)
def test_settings_that_make_no_schedule_are_refused(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        changed(**values)


def test_a_resumed_run_cannot_move_the_end_of_its_cosine_unawares() -> None:
    def saved(**values: object) -> dict:
        return changed(learning_rate_schedule="cosine", **values).to_dict()

    assert settings.differences(saved(), saved(num_train_steps=200)) == [
        "`config.learning_rate_decay_steps` was 100 and is now 200"
    ]
    longer = saved(num_train_steps=200, learning_rate_decay_steps=100)
    assert settings.differences(saved(), longer) == []
