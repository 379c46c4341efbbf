"""Scores of a trained model.

evaluation       all scores of a run on a split
scores           likelihoods and image quality of a split
latent_scores    use of the latents, probes, disentanglement
image_metrics    image quality and bits per dim, from arrays
posteriors       posteriors of a split, encoded or read
examples         examples of a split that satisfy a condition
user_images      converts a user's images to examples
user_conditions  converts a user's labels and attributes to condition vectors
nearest_images   nearest training images of generated images
latents          measures and models of the latents
"""
