"""Mistakes that a test must notice, each as a patch of one place in the code.

`make sabotage` makes every mistake in a copy of the checkout, and runs the tests that
must fail. Choose the cheapest tests that can notice a mistake.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sabotage:
    """A mistake, and the tests of which at least one must fail.

    Attributes:
        name: The mistake in words.
        path: File to change, relative to the checkout.
        old: Text that occurs once in the file.
        new: Text that takes its place.
        tests: File name, `FILE::TEST` for each test, all without the folder: no two
            test files have the same name.
        keyword: Expression of pytest's `-k` that chooses among the tests.
    """

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
    keyword: str = ""


def _config(name: str, config: str, old: str, new: str) -> Sabotage:
    """Returns a wrong setting of a published system."""
    path = f"configs/{config}.py"
    old, new = f"    config.{old}\n", f"    config.{new}\n"
    return Sabotage(name, path, old, new, ("test_published.py",), config)


PUBLISHED = (
    _config(
        "mnist_hafner: batches of 64",
        "mnist_hafner",
        "global_batch_size = 100",
        "global_batch_size = 64",
    ),
    _config(
        "mnist_hafner: 21 epochs",
        "mnist_hafner",
        "num_train_steps = 20 * 600",
        "num_train_steps = 21 * 600",
    ),
    _config(
        "mnist_hafner: beta 1 of 0.5",
        "mnist_hafner",
        "adam_beta_1 = 0.9",
        "adam_beta_1 = 0.5",
    ),
    _config(
        "mnist_hafner: no strip",
        "mnist_hafner",
        "show_strip = True",
        "show_strip = False",
    ),
    Sabotage(
        "mnist_hafner: another line for an evaluation",
        "configs/mnist_hafner.py",
        '"Epoch {evaluation} elbo {elbo:.2f}"',
        '"Epoch {evaluation} elbo {loss:.2f}"',
        ("test_monitor.py::test_a_line_has_the_values_of_its_evaluation",),
    ),
    _config(
        "mnist_dense: learning rate 0.5",
        "mnist_dense",
        "learning_rate = 1e-3",
        "learning_rate = 0.5",
    ),
    _config(
        "mnist_dense: the mean over the batch",
        "mnist_dense",
        'loss_reduction = "sum"',
        'loss_reduction = "mean"',
    ),
    _config(
        "mnist_dense: grey images",
        "mnist_dense",
        'binarize = "threshold"',
        'binarize = "none"',
    ),
    _config(
        "mnist_mlss: 20 steps",
        "mnist_mlss",
        "num_train_steps = 20_000",
        "num_train_steps = 20",
    ),
    _config(
        "mnist_mlss: grey images",
        "mnist_mlss",
        'binarize = "threshold"',
        'binarize = "none"',
    ),
    _config(
        "mnist_mlss: pictures of test images",
        "mnist_mlss",
        'eval_split = "validation"',
        'eval_split = "test"',
    ),
    _config(
        "mnist_mlss: four pairs",
        "mnist_mlss",
        "num_picture_pairs = 5",
        "num_picture_pairs = 4",
    ),
)

PIPELINE = (
    Sabotage(
        "a crop one pixel off the centre",
        "pipeline/images/squares.py",
        "    top, left = (height - side) // 2, (width - side) // 2\n",
        "    top, left = (height - side + 1) // 2, (width - side) // 2\n",
        ("test_squares.py::test_centre_crop",),
    ),
    Sabotage(
        "pixels that end below 1",
        "pipeline/contract.py",
        '"uint8": (1.0 / 127.5, -1.0)',
        '"uint8": (1.0 / 128, -1.0)',
        ("test_squares.py::test_it_is_pillows_crop_and_resize_scaled",),
    ),
    Sabotage(
        "levels of another scale after the legacy resize",
        "pipeline/images/squares.py",
        "np.rint((scaled + 1.0) * 127.5)",
        "np.rint((scaled + 1.0) * 127)",
        (
            "test_squares.py::test_legacy_bilinear_scales_crops_and_resizes_in_that_order",
        ),
    ),
    Sabotage(
        "a large JPEG that is decoded in spite of its header",
        "pipeline/images/squares.py",
        "            and int(height) * int(width) <= contract.MAX_IMAGE_PIXELS\n",
        "            and int(height) <= contract.MAX_IMAGE_PIXELS\n",
        ("test_squares.py::test_a_sound_image_has_at_most_the_allowed_pixels",),
    ),
    Sabotage(
        "another large image that is decoded in spite of its header",
        "pipeline/images/squares.py",
        "    if image.width * image.height > contract.MAX_IMAGE_PIXELS:\n",
        "    if image.width > contract.MAX_IMAGE_PIXELS:\n",
        ("test_squares.py::test_a_sound_image_has_at_most_the_allowed_pixels",),
    ),
    Sabotage(
        "a file that is renamed before its bytes are on the disk",
        "pipeline/storage/files.py",
        "    sync(temporary)\n    os.replace",
        "    os.replace",
        ("test_dataset_power_cuts.py::test_a_dataset_is_whole_once_it_is_announced",),
    ),
    Sabotage(
        "a new name that is not on the disk",
        "pipeline/storage/files.py",
        "    os.replace(temporary, path)\n    sync_names(path.parent)\n",
        "    os.replace(temporary, path)\n",
        ("test_dataset_power_cuts.py::test_a_dataset_is_whole_once_it_is_announced",),
    ),
    Sabotage(
        "a file that is written in place",
        "pipeline/storage/files.py",
        "            temporary.write_bytes(data)\n        put(temporary, path)\n",
        "            path.write_bytes(data)\n",
        ("test_files.py::test_a_file_is_written_in_full_or_not_at_all",),
    ),
    Sabotage(
        "a large file with its padding",
        "pipeline/storage/large_files.py",
        "        os.ftruncate(self._file, num_bytes)\n",
        "",
        ("test_files.py::test_a_large_file_has_what_was_written",),
    ),
    Sabotage(
        "a lock that others may share",
        "pipeline/storage/locks.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        ("test_workdir.py::test_a_workdir_has_one_trainer",),
    ),
    Sabotage(
        "the manifest before the other files",
        "pipeline/dataset/publishing.py",
        "    for name, text in tfds_files.file_texts(manifest).items():\n",
        "    _write_text(output, contract.MANIFEST_NAME, manifest.to_json())\n"
        "    for name, text in tfds_files.file_texts(manifest).items():\n",
        ("test_publishing.py::test_the_manifest_is_written_last",),
    ),
    Sabotage(
        "the allowed fraction of rejects as too many",
        "pipeline/dataset/reject_limit.py",
        "    if fraction > allowed:\n",
        "    if fraction >= allowed:\n",
        ("test_publishing.py::test_exactly_the_allowed_fraction_passes",),
    ),
    Sabotage(
        "a split without examples",
        "pipeline/dataset/reject_limit.py",
        "(split for split in splits if not num_examples[split])",
        "(split for split in () if not num_examples[split])",
        ("test_publishing.py::test_a_split_without_examples_is_an_error",),
    ),
    Sabotage(
        "a complete dataset whose shards are not hashed",
        "pipeline/dataset/publishing.py",
        "is_intact = hashes == [result.info.sha256 for result in by_name.values()]",
        "is_intact = len(hashes) == len(by_name)",
        ("test_prepare.py::test_a_damaged_dataset_is_restored",),
    ),
    Sabotage(
        "a shard of another hash that is kept",
        "pipeline/dataset/shards.py",
        "    return finished if sha256 == finished.info.sha256 else None\n",
        "    return finished if sha256 else None\n",
        ("test_shards.py::test_a_shard_that_is_not_intact_is_written_again",),
    ),
    Sabotage(
        "the old sidecar beside a shard that is written again",
        "pipeline/dataset/shards.py",
        "    paths.remove(sidecar_path(output, shard.name))\n",
        "",
        (
            "test_shards.py::"
            "test_a_run_that_dies_leaves_no_old_sidecar_beside_a_new_shard",
        ),
    ),
    Sabotage(
        "a reject that is counted twice",
        "pipeline/dataset/examples.py",
        "            rejects.append(Reject(key=key, reason=error.reason, "
        "detail=error.detail))\n",
        "            rejects += 2 * [Reject(key, error.reason, error.detail)]\n",
        ("test_shards.py::test_rejects_are_named_and_leave_no_record",),
    ),
    Sabotage(
        "a reject that is confirmed for any reason",
        "pipeline/dataset/examples.py",
        "            if error.reason == by_key[key].reason:\n",
        "            if error.reason:\n",
        ("test_shards.py::test_a_reject_is_confirmed_for_its_own_reason_alone",),
    ),
    Sabotage(
        "a checksum that is not compared",
        "pipeline/formats/records.py",
        "        if checksum(unframed(framed)) != stored_checksum(framed):\n",
        "        if not stored_checksum(framed):\n",
        (
            "test_verify.py::test_a_changed_byte",
            "test_fuzz.py::test_any_bytes_for_a_shard",
        ),
    ),
    Sabotage(
        "values of a record in the order of the machine",
        "pipeline/formats/records.py",
        'array.dtype.newbyteorder("<")',
        "array.dtype",
        ("test_shards.py::test_a_big_endian_image_is_written_little_endian",),
    ),
    Sabotage(
        "a name that occurs twice in a JSON object",
        "pipeline/contract.py",
        "    if len(values) < len(pairs):\n",
        "    if not values and pairs:\n",
        ("test_contract.py::test_a_field_twice_is_refused",),
    ),
    Sabotage(
        "a manifest that was changed",
        "pipeline/contract.py",
        "    if not is_sealed:\n",
        "    if is_sealed is None:\n",
        ("test_contract.py::test_every_changed_value_is_refused",),
    ),
    Sabotage(
        "the password of a URL in an error",
        "pipeline/contract.py",
        '    return _CREDENTIALS.sub(r"\\1***@", text)\n',
        "    return text\n",
        ("test_contract.py::test_no_password_of_a_url_is_shown",),
    ),
    Sabotage(
        "a shard name that leads out of the dataset",
        "pipeline/contract.py",
        "        if shard.name != shard_name(name, split_name, index, len(shards)):\n",
        "        if not shard_name(name, split_name, index, len(shards)):\n",
        ("test_fuzz.py::test_what_no_manifest_says_is_refused",),
    ),
    Sabotage(
        "two images with the same key",
        "pipeline/planning/plan.py",
        "            if images.keys[place] == images.keys[place + 1]:\n",
        "            if images.keys[place] is None:\n",
        ("test_plan.py::test_two_images_with_one_key_are_refused",),
    ),
    Sabotage(
        "keys that are hashed without the seed",
        "pipeline/sources/splits.py",
        '    secret = seed.to_bytes(8, "little")\n',
        '    secret = (0 * seed).to_bytes(8, "little")\n',
        ("test_plan.py::test_the_order_is_golden_and_depends_on_the_seed",),
    ),
    Sabotage(
        "splits that depend on the order in a shard",
        "pipeline/sources/splits.py",
        'hash_keys(keys, seed).view("<u8")',
        "hash_keys(keys, seed)",
        ("test_plan.py::test_the_splits_of_keys_are_golden",),
    ),
    Sabotage(
        "twice the shards",
        "pipeline/planning/plan.py",
        "(needed - 1).bit_length()",
        "needed.bit_length()",
        ("test_plan.py::test_num_shards",),
    ),
    Sabotage(
        "shards that a run with other settings keeps",
        "pipeline/planning/plan.py",
        '        "settings": settings.to_dict(),\n',
        '        "settings": {},\n',
        ("test_plan.py::test_fingerprints_see_every_change",),
    ),
    Sabotage(
        "the header of an idx file as pixels",
        "pipeline/sources/mnist/idx.py",
        "np.frombuffer(data, np.uint8, offset=start)",
        "np.frombuffer(data[: len(data) - start], np.uint8)",
        ("test_fuzz_sources.py::test_any_idx",),
    ),
    Sabotage(
        "validation images from the end of MNIST's training file",
        "pipeline/sources/mnist/mnist.py",
        '("validation", train.part(0, validation_images))',
        '("validation", train.part(len(train) - validation_images, len(train)))',
        ("test_mnist.py::test_the_first_training_images_are_for_validation",),
    ),
)

TRAINER = (
    Sabotage(
        "checkpoints chosen by the test split",
        "trainer/runs/setting_checks.py",
        '    if number and "test" in split.split("+"):\n',
        '    if number > 2 and "test" in split.split("+"):\n',
        ("test_workdir.py::test_the_test_split_chooses_no_checkpoint",),
    ),
    Sabotage(
        "a divergence without its -1",
        "trainer/optimization/losses.py",
        "tf.exp(log_var) - log_var - 1)",
        "tf.exp(log_var) - log_var)",
        ("test_losses.py::test_kl_of_the_prior_is_zero",),
    ),
    Sabotage(
        "a divergence of clipped variances",
        "trainer/optimization/losses.py",
        "    log_var = exact.branch(log_var)\n",
        "    log_var = tf.clip_by_value(exact.branch(log_var), -4.0, 4.0)\n",
        ("test_losses.py::test_kl_holds_for_any_variance",),
    ),
    Sabotage(
        "a density without its variance",
        "trainer/optimization/losses.py",
        "    density = squared + log_var + math.log(2 * math.pi)\n",
        "    density = squared + math.log(2 * math.pi)\n",
        ("test_losses.py::test_normal_density_is_scipys",),
    ),
    Sabotage(
        "latents that are drawn with the variance as the deviation",
        "trainer/models/vae.py",
        "tf.exp(posterior_log_var / 2) * noise",
        "tf.exp(posterior_log_var) * noise",
        ("test_vae.py::test_a_draw_is_the_mean_plus_scaled_noise",),
    ),
    Sabotage(
        "latents that are drawn with a clipped variance",
        "trainer/models/vae.py",
        "tf.exp(posterior_log_var / 2) * noise",
        "tf.exp(tf.clip_by_value(posterior_log_var, -6.0, 6.0) / 2) * noise",
        ("test_vae.py::test_a_draw_is_the_mean_plus_scaled_noise",),
    ),
    Sabotage(
        "a beta that does not warm up",
        "trainer/optimization/objectives.py",
        "        if not self.warmup_steps:\n",
        "        if self.warmup_steps >= 0:\n",
        ("test_objectives.py::test_the_weight_warms_up",),
    ),
    Sabotage(
        "a warm-up of beta that stays at step 0",
        "trainer/training/gradients.py",
        "terms = self._forward.terms(vae, part, step, training=True)",
        "terms = self._forward.terms(vae, part, 0 * step, training=True)",
        (
            "test_steps.py::"
            "test_the_weight_of_the_divergence_grows_with_the_steps_of_the_run",
        ),
    ),
    Sabotage(
        "free bits for the sum of the latents",
        "trainer/optimization/objectives.py",
        "tf.where(is_charged, kl_per_latent, self.free_bits)",
        "tf.where(is_charged, kl_per_latent, 0.0)",
        (
            "test_objectives.py::"
            "test_free_bits_charge_a_latent_by_its_mean_over_the_batch",
        ),
    ),
    Sabotage(
        "an importance-weighted bound of a sum",
        "trainer/optimization/objectives.py",
        "math.log(k) - tf.reduce_logsumexp",
        "-tf.reduce_logsumexp",
        ("test_objectives.py::test_many_samples_give_the_importance_weighted_bound",),
    ),
    Sabotage(
        "an equivalent variance twice as large",
        "trainer/optimization/objectives.py",
        "self.latent_weight / self.pixel_weight * self.num_values / 2",
        "self.latent_weight / self.pixel_weight * self.num_values",
        ("test_objectives.py::test_the_flagship_is_described_with_its_variance",),
    ),
    Sabotage(
        "pixels in [-1, 1] as probabilities",
        "trainer/models/likelihoods/bernoulli.py",
        "_cross_entropy((images + 1) / 2, outputs)",
        "_cross_entropy(images, outputs)",
        ("test_likelihoods.py::test_bernoulli_is_minus_kerass_binary_cross_entropy",),
    ),
    Sabotage(
        "images that are cut at another grey",
        "trainer/data/corruption.py",
        'if mode == "dynamic" else 0.0\n',
        'if mode == "dynamic" else 0.5\n',
        ("test_corruption.py::test_images_stay_grey_or_are_cut_at_the_middle",),
    ),
    Sabotage(
        "the learning rate of the next step",
        "trainer/optimization/schedules.py",
        "        now = tf.cast(step, tf.float64)\n",
        "        now = tf.cast(step, tf.float64) + 1\n",
        ("test_schedules.py::test_the_warmup_is_linear_from_0",),
    ),
    Sabotage(
        "an update at the rate of another step",
        "trainer/training/steps.py",
        "self._schedule.rate(state.step)",
        "self._schedule.rate(state.step + 1)",
        ("test_schedules.py::test_an_update_is_made_at_the_rate_of_its_step",),
    ),
    Sabotage(
        "a cosine that begins at step 0",
        "trainer/optimization/schedules.py",
        "tf.clip_by_value((now - warmup) / num_steps, 0, 1)",
        "tf.clip_by_value(now / num_steps, 0, 1)",
        (
            "test_schedules.py::"
            "test_the_cosine_goes_from_the_warmup_to_its_end_and_stays",
        ),
    ),
    Sabotage(
        "a sum that is a mean",
        "trainer/training/steps.py",
        '"sum": 1}',
        '"sum": config.global_batch_size}',
        ("test_gradients.py",),
        "a_sum or summed",
    ),
    Sabotage(
        "a setting that only messages name",
        "trainer/training/steps.py",
        "            ema_decay=config.ema_decay,\n",
        "            ema_decay=0.9995,\n",
        ("test_configs.py::test_every_key_is_read",),
    ),
    Sabotage(
        "no moving average of the weights",
        "trainer/training/steps.py",
        "            self._average_weights()\n",
        "",
        (
            "test_moving_average.py::"
            "test_the_average_is_a_weighted_sum_of_the_weights_of_all_steps",
        ),
    ),
    Sabotage(
        "a moving average without the statistics of batch norm",
        "trainer/training/steps.py",
        "            self._state.ema_vae.variables,\n"
        "            [variable.value for variable in self._state.vae.variables],\n",
        "            self._state.ema_vae.trainable_variables,\n"
        "            [var.value for var in self._state.vae.trainable_variables],\n",
        (
            "test_moving_average.py::"
            "test_the_average_is_a_weighted_sum_of_the_weights_of_all_steps",
        ),
    ),
    Sabotage(
        "an evaluation of the last weights",
        "trainer/training/steps.py",
        "                    self._state.ema_vae, examples, self._state.step, "
        "training=False\n",
        "                    self._state.vae, examples, self._state.step, "
        "training=False\n",
        (
            "test_steps.py::"
            "test_an_evaluation_weighs_examples_and_sees_the_averaged_weights",
        ),
    ),
    Sabotage(
        "an evaluation that counts padding",
        "trainer/training/steps.py",
        "forward.float64_sums([term * weight for term in terms])",
        "forward.float64_sums(terms)",
        (
            "test_steps.py::"
            "test_an_evaluation_weighs_examples_and_sees_the_averaged_weights",
        ),
    ),
    Sabotage(
        "statistics of a step that was skipped",
        "trainer/training/steps.py",
        "            self._assign_each(statistics, statistics_before)\n",
        "            pass\n",
        (
            "test_steps.py::"
            "test_a_gradient_that_overflows_skips_the_step_and_halves_the_scale",
        ),
    ),
    Sabotage(
        "short gradients that are made longer",
        "trainer/training/gradients.py",
        "factor = tf.minimum(factor, self._clip_norm / norm)",
        "factor = self._clip_norm / norm",
        (
            "test_gradients.py::"
            "test_longer_gradients_are_cut_to_the_norm_and_keep_their_direction",
        ),
    ),
    Sabotage(
        "gradients with the loss scale",
        "trainer/training/gradients.py",
        "            factor /= self._state.loss_scale.scale\n",
        "            factor /= 1\n",
        ("test_gradients.py::test_clipping_comes_after_the_loss_scale",),
    ),
    Sabotage(
        "an unbiased variance of batch norm",
        "trainer/models/batch_norm.py",
        "tf.cast(variance, tf.float64) * (num_values - 1) / num_values",
        "tf.cast(variance, tf.float64) + 0 * num_values",
        ("test_layers.py::test_outputs_and_gradients_are_those_of_keras",),
    ),
    Sabotage(
        "moving statistics that keep the batch",
        "trainer/models/batch_norm.py",
        "moving.assign(moving * keep + value * take)",
        "moving.assign(moving * take + value * keep)",
        ("test_gradients.py::test_the_momentum_of_batch_norm_warms_up",),
    ),
    Sabotage(
        "a record that an epoch takes twice",
        "trainer/data/shuffling.py",
        "            first += len(parts[-1])\n",
        "            first += max(1, len(parts[-1]) - 1)\n",
        ("test_shuffling.py::test_an_epoch_takes_each_record_once",),
    ),
    Sabotage(
        "a window that has one order for all epochs",
        "trainer/data/shuffling.py",
        "            (epoch, index),\n",
        "            (0, index),\n",
        ("test_shuffling.py",),
    ),
    Sabotage(
        "windows of the same shards in all epochs",
        "trainer/data/shuffling.py",
        "OrderStream.WINDOW_SHARDS), (epoch,)\n",
        "OrderStream.WINDOW_SHARDS), (0,)\n",
        ("test_shuffling.py",),
    ),
    Sabotage(
        "a block that has one order for all epochs",
        "trainer/data/lanes.py",
        "            (epoch, shard, block),\n",
        "            (0, shard, block),\n",
        ("test_lanes.py::test_epochs_blocks_lanes_and_seeds_have_orders_of_their_own",),
    ),
    Sabotage(
        "lanes that all take the first shards",
        "trainer/data/lanes.py",
        "        self._shards = range(lane, len(num_examples), lanes)\n",
        "        self._shards = range(0, len(num_examples), lanes)\n",
        ("test_lanes.py::test_a_lane_takes_each_of_its_records_once_in_an_epoch",),
    ),
    Sabotage(
        "hosts whose shares overlap",
        "trainer/data/input_pipeline.py",
        "self.context.input_pipeline_id * self.num_replicas + local",
        "local",
        ("test_input_pipeline.py::test_replicas_and_hosts_share_the_same_batches",),
    ),
    Sabotage(
        "records of step 0 after a resume",
        "trainer/data/input_pipeline.py",
        "order.places(start_step + step,",
        "order.places(step,",
        ("test_input_pipeline.py::test_a_resumed_order_is_the_rest_of_the_whole",),
    ),
    Sabotage(
        "padding that has a weight",
        "trainer/data/input_pipeline.py",
        "tf.cast(numbers < total, tf.float32)",
        "tf.cast(numbers <= total, tf.float32)",
        (
            "test_input_pipeline.py::test_evaluation_sees_every_record_once_and_fills_up",
        ),
    ),
    Sabotage(
        "a run that resumes with the records of step 0",
        "trainer/training/loop.py",
        "            start_step=run.step,\n",
        "            start_step=0,\n",
        (
            "test_loop.py::"
            "test_a_checkpoint_waits_for_pictures_and_is_followed_by_the_next_records",
        ),
    ),
    Sabotage(
        "a checkpoint before the pictures of its step",
        "trainer/training/loop.py",
        "            writer.wait()\n            workdir.check_held(run_dir, lock)\n",
        "            workdir.check_held(run_dir, lock)\n",
        (
            "test_loop.py::"
            "test_a_checkpoint_waits_for_pictures_and_is_followed_by_the_next_records",
        ),
    ),
    Sabotage(
        "a checkpoint before the logs of its step",
        "trainer/runs/checkpoint_saver.py",
        "        self._before()\n",
        "",
        ("test_checkpoint_saver.py::test_what_was_logged_is_on_the_disk_first",),
    ),
    Sabotage(
        "a retention that removes the newest",
        "trainer/runs/checkpoint_saver.py",
        "    kept = set(_keep(paths, retention.num_newest, is_whole))\n",
        "    kept = set(_keep(paths[::-1], retention.num_newest, is_whole))\n",
        ("test_checkpoint_saver.py::test_which_ones_stay",),
    ),
    Sabotage(
        "a retention of the worst",
        "trainer/runs/checkpoint_saver.py",
        "key=lambda path: elbos[path], reverse=True",
        "key=lambda path: elbos[path]",
        ("test_checkpoint_saver.py::test_what_is_among_the_best",),
    ),
    Sabotage(
        "a checkpoint whose hash is not compared",
        "trainer/runs/checkpoints.py",
        '        if _sha256(arrays_path) != meta["sha256"]:\n',
        '        if not meta["sha256"]:\n',
        ("test_checkpoints.py::test_damage_is_noticed_and_the_one_before_is_used",),
    ),
    Sabotage(
        "a description of a checkpoint that was changed",
        "trainer/runs/checkpoints.py",
        '            if meta["digest"] != _digest(sealed):\n',
        '            if not meta["digest"]:\n',
        ("test_checkpoints.py::test_every_changed_field_is_refused",),
    ),
    Sabotage(
        "a checkpoint of other settings",
        "trainer/runs/checkpoints.py",
        '("dataset_digest", "config_digest")',
        '("dataset_digest",)',
        ("test_checkpoints.py::test_one_of_another_run_is_refused",),
    ),
    Sabotage(
        "a checkpoint that is not on the disk",
        "trainer/runs/checkpoints.py",
        "        files.put(temporary, path)\n",
        "        os.replace(temporary, path)\n",
        ("test_run_power_cuts.py::test_a_run_loses_nothing_that_was_saved",),
    ),
    Sabotage(
        "a learning rate that may change on a resume",
        "trainer/runs/settings.py",
        '    {\n        "num_train_steps",\n',
        '    {\n        "learning_rate",\n        "num_train_steps",\n',
        ("test_settings.py::test_no_setting_that_a_run_learns_by_may_change",),
    ),
    Sabotage(
        "a last step that is neither logged nor evaluated",
        "trainer/training/cadence.py",
        "step % every_steps == 0 or step == self.num_train_steps",
        "step % every_steps == 0",
        ("test_cadence.py::test_events_come_at_their_multiples_and_at_the_end",),
    ),
    Sabotage(
        "steps that go beyond an event",
        "trainer/training/cadence.py",
        "                self.image_every_steps,\n                self.keep",
        "                self.keep",
        ("test_cadence.py::test_a_run_stops_at_every_event_and_at_its_end",),
    ),
    Sabotage(
        "events of TensorBoard one step late",
        "trainer/reporting/events.py",
        "event_pb2.Event(step=step, summary=summary)",
        "event_pb2.Event(step=step + 1, summary=summary)",
        ("test_events.py::test_it_is_what_tensorflow_writes",),
    ),
    Sabotage(
        "events that a resumed run writes again",
        "trainer/reporting/events.py",
        "            if event.step > last_step:\n",
        "            if event.step > last_step + 1:\n",
        ("test_run_writer.py::test_a_resume_cuts_off_what_it_will_write_again",),
    ),
    Sabotage(
        "exported models that scale levels otherwise",
        "trainer/serving/preprocessing.py",
        "        return tf.cast(levels, tf.float32) * factor + offset\n",
        "        return tf.cast(levels, tf.float32) / 255\n",
        ("test_preprocessing.py::test_levels_come_back_through_every_storage_type",),
    ),
    Sabotage(
        "exported models that crop one pixel off",
        "trainer/serving/preprocessing.py",
        "top, left = (height - side) // 2, (width - side) // 2",
        "top, left = (height - side + 1) // 2, (width - side) // 2",
        ("test_preprocessing.py::test_images_of_any_size_are_those_of_prepare",),
    ),
    Sabotage(
        "a score that leaves the divergence out",
        "trainer/analysis/scores.py",
        '        "elbo": log_likelihood - kl,\n',
        '        "elbo": log_likelihood,\n',
        ("test_scores.py::test_the_importance_estimate_is_the_marginal_likelihood",),
    ),
    Sabotage(
        "latents that move by their second moment",
        "trainer/training/validation.py",
        "usage.num_active(mean_square - mean**2)",
        "usage.num_active(mean_square)",
        (
            "test_validation.py::"
            "test_a_latent_that_is_large_but_never_moves_is_not_active",
        ),
    ),
    Sabotage(
        "a mean over batches",
        "trainer/training/validation.py",
        "(tf.add_n(parts) / self._num_examples)",
        "(tf.add_n(parts) / self._num_batches)",
        (
            "test_validation.py::"
            "test_padding_counts_neither_in_sums_nor_in_their_divisor",
        ),
    ),
    Sabotage(
        "no draw of the posterior in mode posterior",
        "trainer/generation/modes.py",
        "    z = sampling.draw_posteriors(run, shown, request.seed)\n",
        "    raise NotImplementedError\n",
        ("test_modes.py::test_latents_are_drawn_about_their_means_in_mode_posterior",),
    ),
    Sabotage(
        "no path between latents in mode interpolate",
        "trainer/generation/modes.py",
        "    latents, conditions, keys = _starts(run, request, 2)\n",
        "    raise NotImplementedError\n",
        (
            "test_modes.py::"
            "test_the_first_and_the_last_image_are_the_examples_in_mode_interpolate",
        ),
    ),
    Sabotage(
        "no picture in mode browse",
        "trainer/generation/modes.py",
        "    browser.browse(",
        "    raise NotImplementedError(",
        ("test_browser.py::test_the_command_answers_to_a_pipe_and_ends_cleanly",),
    ),
)

SABOTAGES = (*PUBLISHED, *PIPELINE, *TRAINER)
