"""MNIST and the datasets made in its image: Fashion-MNIST, KMNIST.

mnist         the source, in any of the forms below
arrays        images that come as arrays
idx           the four idx files
npz           Keras's npz of four arrays
tfds_records  TFRecord files of TensorFlow Datasets
"""
