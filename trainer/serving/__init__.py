"""Exported models, which need nothing of this package.

saved_model     a run as a SavedModel and Keras files
exported_model  a run's signatures: functions of images that users have
plain_keras     encoder and decoder in Keras's own layers
preprocessing   pixels of any size to model inputs, in a graph
resizing        Pillow's filters, in a graph
jpeg            image files as upright pixels, in a graph
png             PNG files, in a graph
image_header    headers of image files, in a graph
"""
