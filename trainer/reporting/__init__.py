"""TensorBoard events, pictures and the HTML report of a run.

run_writer          events, metrics.jsonl and PNG files of a run
events              event files, named in the order of the starts
tags                TensorBoard's tags: groups, order and descriptions
sample_grids        grids of reconstructions, samples and latents
image_grid          images in rows, as PNG
plots               scatter of latents, curves, labelled rows
summaries           texts and pictures written once per run
hparams             settings for TensorBoard's HParams page
projector           latents for TensorBoard's embedding projector
projector_points    points that trainer.generate made, shown beside the runs
workdirs            workdirs that a user names, and their names
tensorboard_server  TensorBoard, started on runs
html                HTML page of a run
"""
