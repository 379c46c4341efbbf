"""Exported models, which run without this package.

saved_model     exports a run as a SavedModel and Keras files
exported_model  signatures of a run: functions of users' images
plain_keras     encoder and decoder in Keras's own layers
preprocessing   turns pixels of any size into model inputs, in a graph
resizing        Pillow's filters, in a graph
jpeg            decodes image files to upright pixels, in a graph
png             decodes PNG files, in a graph
image_header    reads headers of image files, in a graph
"""
