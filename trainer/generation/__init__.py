"""Images from a trained model.

requests              modes of trainer.generate, and their arguments
modes                 the images and files of each mode
sampling              images from latents, and latents from images
own_images            a user's image files as examples
latent_ranking        latents to traverse, by their divergence
attribute_directions  attributes as directions in latent space
browser               one picture after another, in the terminal
output_files          PNG, GIF, npz and tables
"""
