import json
import re

import pytest
from ml_collections import ConfigDict

from configs import celeba
from trainer.runs import settings


def changed(**values: object) -> ConfigDict:
    config = celeba.get_config()
    config.update(values)
    return config


def test_the_batch_grows_with_the_replicas_unless_it_is_given() -> None:
    assert settings.resolve(changed(), 2).global_batch_size == 128
    assert settings.resolve(changed(global_batch_size=32), 2).global_batch_size == 32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"latent_dim": 0}, "^config.latent_dim=0 must be at least 1"),
        ({"latent_dim": 65_537}, "^config.latent_dim=65537 must be at most 65536"),
        (
            {"encoder_filters": (8, 65_537)},
            r"^config.encoder_filters=\(8, 65537\) must be .* from 1 to 65536, ",
        ),
        ({"keep_checkpoints": 0}, "^config.keep_checkpoints=0 must be at least 1"),
        ({"base_size": 0}, "^config.base_size=0 must be at least 1"),
        ({"checkpoint_every_secs": -1}, "_every_secs=-1 must not be negative"),
        ({"seed": -1}, "^config.seed=-1 must be from 0 to 4294967295"),
        ({"seed": 2**32}, "^config.seed=4294967296 must be from 0 to 4294967295"),
        (
            {"encoder_filters": (8, 0)},
            r"encoder_filters=\(8, 0\) must be whole numbers",
        ),
        ({"decoder_units": ("8,8",)}, r"decoder_units=\('8,8',\) must be whole numb"),
        ({"ema_decay": 1.0}, r"^config.ema_decay=1.0 must be in \[0, 1\)"),
        ({"learning_rate": 0.0}, "^config.learning_rate=0.0 must be positive"),
        ({"num_train_steps": -2}, "-1 for no limit"),
        ({"per_replica_batch_size": 0}, "at least 1"),
        (
            {"global_batch_size": 30, "num_batch_groups": 4},
            "num_batch_groups=4 equal groups",
        ),
        ({"global_batch_size": 31}, "31 examples cannot be shared equally by 2"),
        ({"num_batch_groups": -1}, "must be positive, or 0"),
        (
            {"gradient_accumulation_steps": 0},
            "^config.gradient_accumulation_steps=0 must be at least 1",
        ),
        (
            {"loss_scale_growth_steps": 0},
            "^config.loss_scale_growth_steps=0 must be at least 1",
        ),
        (
            {"gradient_clip_norm": -1.0},
            "^config.gradient_clip_norm=-1.0 must be a finite number of at least 0",
        ),
        (
            {"gradient_clip_norm": float("nan")},
            "^config.gradient_clip_norm=nan must be a finite number of at least 0",
        ),
        (
            {"global_batch_size": 32, "gradient_accumulation_steps": 3},
            "by 2 replicas in 3 slices each .*global_batch_size` to a multiple of 6",
        ),
        (
            {"num_batch_groups": 4, "gradient_accumulation_steps": 4},
            r"the 2 groups of a replica \(config.num_batch_groups=4\) cannot be "
            "shared equally by config.gradient_accumulation_steps=4: set "
            "`config.num_batch_groups` to a multiple of 8$",
        ),
    ],
)
def test_settings_out_of_range_are_named(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        settings.resolve(changed(**values), 2)


def test_groups_must_be_shared_equally() -> None:
    with pytest.raises(ValueError, match="3 replicas cannot share .*multiple of 3"):
        settings.resolve(changed(global_batch_size=96, num_batch_groups=4), 3)


@pytest.mark.parametrize(
    ("num_replicas", "num_groups"), [(1, 4), (2, 4), (3, 12), (4, 4), (5, 20), (8, 8)]
)
def test_the_flagship_runs_on_any_number_of_gpus(
    num_replicas: int, num_groups: int
) -> None:
    config = settings.resolve(changed(), num_replicas)
    assert config.global_batch_size == 64 * num_replicas
    assert config.num_batch_groups == num_groups


def test_an_odd_batch_has_fewer_groups() -> None:
    config = settings.resolve(changed(global_batch_size=6), 1)
    assert config.num_batch_groups == 2
    config = settings.resolve(changed(global_batch_size=9), 3)
    assert config.num_batch_groups == 3


def test_every_slice_has_whole_groups() -> None:
    for num_slices, num_groups in ((2, 4), (4, 8), (3, 12)):
        config = changed(global_batch_size=96, gradient_accumulation_steps=num_slices)
        assert settings.resolve(config, 2).num_batch_groups == num_groups


def test_only_what_is_learnt_must_stay() -> None:
    saved = json.loads(changed().to_json())
    later = json.loads(changed(num_train_steps=7, log_every_steps=1).to_json())
    assert settings.differences(saved, later) == []
    other = json.loads(changed(latent_dim=3, seed=1).to_json())
    assert settings.differences(saved, other) == [
        "`config.latent_dim` was 100 and is now 3",
        "`config.seed` was 0 and is now 1",
    ]


def test_cadence_names_exist() -> None:
    assert set(celeba.get_config()) >= settings.CADENCE


def test_no_setting_that_a_run_learns_by_may_change() -> None:
    patterns = r"(show|num_picture|keep)_\w+|\w+_every_(steps|secs)"
    # The last two change only where a run computes, and how it reads the same batches.
    others = {
        *("num_train_steps", "eval_line", "reconstruction_draw"),
        *("gpu_memory_fraction", "reader"),
    }
    assert {
        name for name in settings.CADENCE if not re.fullmatch(patterns, name)
    } <= others


def test_a_resumed_run_keeps_its_values_of_newer_defaults() -> None:
    new = settings.resolve(celeba.get_config(), 1)
    assert {name: new[name] for name in settings.NEW_DEFAULTS} == settings.NEW_DEFAULTS
    old = json.loads(new.to_json())
    del old["batch_norm_warmup"]
    old["shuffle_block_size"] = 32
    resumed = settings.resumed(new, old)
    assert settings.differences(old, json.loads(resumed.to_json())) == []
    assert (resumed.batch_norm_warmup, resumed.shuffle_block_size) == (False, 32)
    assert new.batch_norm_warmup, "the argument stays as it is"
    # A value that is no default is the user's wish.
    new.shuffle_block_size = 64
    resumed = settings.resumed(new, old)
    assert settings.differences(old, json.loads(resumed.to_json())) == [
        "`config.shuffle_block_size` was 32 and is now 64"
    ]


EARLIER = (
    *("classifier_weight", "condition", "decoder_start", "gradient_clip_norm"),
    *("gradient_accumulation_steps", "labelled_fraction", "learning_rate_decay_steps"),
    *("learning_rate_factors", "learning_rate_final_factor", "learning_rate_schedule"),
    *("learning_rate_steps", "learning_rate_warmup_steps", "loss_scale_growth_steps"),
    *("keep_best_checkpoints", "keep_checkpoint_every_steps", "num_classes"),
    *("num_picture_traversals", "precision", "show_neighbours", "reader"),
    *("classifier_filters", "classifier_units"),
)


def test_an_older_run_goes_on_as_before() -> None:
    new = settings.resolve(celeba.get_config(), 1)
    values = json.loads(new.to_json())
    old = {name: value for name, value in values.items() if name not in EARLIER}
    # The defaults of the flagship are the values of before.
    assert settings.complete(old) == values
    assert settings.differences(old, values) == []
    assert settings.resumed(new, old).to_json() == new.to_json()
    other = json.loads(changed(precision="mixed_bfloat16").to_json())
    assert "`config.precision` was 'float32' and is now 'mixed_bfloat16'" in (
        settings.differences(old, other)
    )


@pytest.mark.parametrize("name", [*EARLIER, "batch_norm_warmup"])
def test_an_older_config_file_gets_the_values_of_before(name: str) -> None:
    config = celeba.get_config()
    expected = settings.resolve(config, 1)
    with config.unlocked():
        del config[name]
    if name == "batch_norm_warmup":
        expected.batch_norm_warmup = False
    resolved = settings.resolve(config, 1)
    assert json.loads(resolved.to_json()) == json.loads(expected.to_json())


@pytest.mark.parametrize("name", ["latent_dim", "likelihood", "encoder_filters"])
def test_a_config_file_without_a_needed_setting_is_an_error(name: str) -> None:
    config = celeba.get_config()
    with config.unlocked():
        del config[name]
    with pytest.raises(ValueError, match=f"^the config file lacks the setting {name}:"):
        settings.resolve(config, 1)


@pytest.mark.parametrize("value", [-1, "32", None, True])
def test_a_kept_value_must_be_one_that_a_run_can_have(value: object) -> None:
    with pytest.raises(ValueError, match=f"shuffle_block_size is {value!r}"):
        settings.resumed(celeba.get_config(), {"shuffle_block_size": value})
